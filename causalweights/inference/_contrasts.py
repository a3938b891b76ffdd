"""Contrasts of arm means with the control arm, by the delta method."""

from __future__ import annotations

import numpy as np

from causalweights._typing import FloatArray


def contrast_gradient(
    means: FloatArray, control: int, contrast: str
) -> tuple[FloatArray, FloatArray]:
    """Return the contrasts (K-1,) and their derivatives (K-1, K).

    Differences mu_k - mu_0, ratios mu_k / mu_0, or odds ratios, for every arm k but
    the control arm, in order.
    """
    others = [k for k in range(len(means)) if k != control]
    jacobian = np.zeros((len(others), len(means)))
    base = means[control]
    if contrast == "difference":
        values = means[others] - base
        jacobian[np.arange(len(others)), others] = 1.0
        jacobian[:, control] = -1.0
        return values, jacobian
    if contrast == "ratio":
        if np.any(means <= 0):
            raise ValueError(
                "contrast='ratio' needs positive arm means, got "
                f"{np.array2string(means, precision=4)}; use 'difference'."
            )
        log_slope = 1 / means
        values = means[others] / base
    else:
        if np.any((means <= 0) | (means >= 1)):
            raise ValueError(
                "contrast='odds_ratio' needs arm means strictly between 0 and 1, got "
                f"{np.array2string(means, precision=4)}; use 'difference'."
            )
        log_slope = 1 / (means * (1 - means))
        odds = means / (1 - means)
        values = odds[others] / odds[control]
    jacobian[np.arange(len(others)), others] = values * log_slope[others]
    jacobian[:, control] = -values * log_slope[control]
    return values, jacobian
