"""Residuals that stand for a row's noise in the influence of a linear smoother."""

from __future__ import annotations

import numpy as np

from causalweights._typing import FloatArray
from causalweights.inference._robust_regression import HC_POWERS, SMALLEST_SLACK

COV_TYPES: tuple[str, ...] = tuple(HC_POWERS)


def noise_residuals(
    residual: FloatArray,
    leverage: FloatArray,
    masses: FloatArray,
    n_coefs: int,
    cov_type: str = "HC3",
) -> FloatArray:
    """Return residuals inflated for the share of its noise that a row has absorbed.

    HC0 leaves them, HC1 multiplies by sqrt(n / (n - n_coefs)), HC2 divides by the root
    of 1 - leverage, HC3 by 1 - leverage itself, which makes them leave-one-out
    residuals (MacKinnon & White, 1985).

    A row of leverage one shows nothing of its noise: under HC2 and HC3 it gets the
    root mean square of the other rows' results. Where all rows are such, as where
    they are no more than coefficients, all is NaN.

    Parameters
    ----------
    residual, leverage : ndarray of shape (n,)
    masses : ndarray of shape (n,)
        Weights of the mean square.
    n_coefs : int
    cov_type : {"HC0", "HC1", "HC2", "HC3"}, default="HC3"
    """
    n, power = len(residual), HC_POWERS[cov_type]
    slack = 1.0 - leverage
    decided = slack < SMALLEST_SLACK
    if np.all(decided):
        return np.full(n, np.nan)
    out = residual / np.where(decided, 1.0, slack) ** power
    if cov_type == "HC1":
        out *= np.sqrt(n / (n - n_coefs))
    if power:
        others = ~decided
        out[decided] = np.sqrt(np.average(out[others] ** 2, weights=masses[others]))
    return out


def refuse_undetermined(residuals: FloatArray, n_coefs: int) -> None:
    """Raise where `noise_residuals` found nothing to learn the noise from."""
    if np.any(np.isnan(residuals)):
        raise ValueError(
            f"standard errors need more rows of positive weight than the {n_coefs} "
            f"coefficients of the fit; there are {len(residuals)}: use a smaller "
            "basis, or more rows."
        )
