r"""Kernel test of a conditional moment restriction (Muandet et al., 2020).

Residuals have mean zero given the instruments iff their mean times every function of a
characteristic kernel's space is zero. The statistic is the largest such mean, squared:
``n ||n^{-1} sum_i r_i k(z_i, .)||^2 = r'K r / n``.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from causalweights._blas import single_blas_thread
from causalweights._typing import FloatArray, IntArray
from causalweights.inference._bands import MULTIPLIERS, Multiplier, draw_multipliers
from causalweights.moments._data import MomentData
from causalweights.moments._models import MomentModel
from causalweights.moments._moment_bootstrap import whole_copies
from causalweights.moments._moment_features import (
    KernelName,
    fit_block_scale,
    kernel_features,
)
from causalweights.moments._moment_result import TestResult

# Up to so many rows the kernel matrix is factorised to rounding, above to a rank.
_EXACT_ROWS = 2000
_RANK = 300
# Entries of the largest block of multipliers.
_ENTRIES = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ResidualSample:
    """Residuals at an estimate, with what estimating it does to them.

    Attributes
    ----------
    residual : ndarray of shape (n, r)
        Times the sampling weights.
    slopes : ndarray of shape (n, r, p)
        Their derivatives in theta.
    influence : ndarray of shape (n, p)
        The estimate's error is about the mean of these.
    Z : ndarray of shape (n, k)
        Instruments.
    copies : ndarray of shape (n,)
        Rows each row stands for.
    share : ndarray of shape (n,)
        Row weights, sum one.
    groups : ndarray of shape (n,) or None
    """

    residual: FloatArray
    slopes: FloatArray
    influence: FloatArray
    Z: FloatArray
    copies: FloatArray
    share: FloatArray
    groups: IntArray | None

    @classmethod
    def of(
        cls,
        model: MomentModel,
        data: MomentData,
        theta: FloatArray,
        influence: FloatArray,
    ) -> ResidualSample:
        """Return the residuals of a model, each of mean square one.

        In an order that does not depend on the caller's, so that the multipliers do
        not either.
        """
        share = data.sample_weight / data.n_samples
        residual = model.residual(theta, data)
        size = np.sqrt(share @ residual**2)
        size = np.where(size > 0, size, 1.0)
        weight = data.moment_weight[:, None] / size
        order = np.lexsort((*residual.T, *data.Z.T))
        return cls(
            (weight * residual)[order],
            (weight[:, :, None] * model.residual_jac(theta, data))[order],
            influence[order], data.Z[order], data.copies[order], share[order],
            None if data.groups is None else data.groups[order],
        )  # fmt: skip


def conditional_moment_test(
    sample: ResidualSample,
    *,
    kernel: KernelName = "gaussian",
    bandwidth: float | Literal["median"] = "median",
    multiplier: Multiplier = "rademacher",
    n_boot: int = 999,
    n_components: int | None = None,
    random_state: Any = None,
) -> TestResult:
    r"""Test that residuals have mean zero given the instruments.

    See `MomentInferenceMixin.conditional_moment_test`.

    Parameters
    ----------
    sample : ResidualSample
    kernel, bandwidth, multiplier, n_boot, n_components, random_state
        As there.
    """
    _check_options(multiplier, n_boot)
    n = len(sample.Z)
    rank = n_components
    if rank is None and n > _EXACT_ROWS:
        rank = _RANK
    scale = fit_block_scale(
        {"instruments": sample.Z}, sample.share, bandwidth, kernel, random_state
    )
    points = scale.transform(sample.Z)
    Phi, _ = kernel_features(points, kernel, rank, random_state)
    rng = check_random_state(0 if random_state is None else random_state)
    with single_blas_thread:
        observed, draws = _norms(sample, Phi, multiplier, int(n_boot), rng)
    # Rounding must not decide between a draw that repeats the sample and the sample.
    reached = int(np.sum(draws >= observed * (1.0 - 1e-12)))
    return TestResult(
        "Kernel conditional moment test", observed, None, (1 + reached) / (n_boot + 1),
        "the residuals have mean zero given the instruments",
    )  # fmt: skip


def _norms(
    sample: ResidualSample,
    Phi: FloatArray,
    multiplier: str,
    n_boot: int,
    rng: np.random.RandomState,
) -> tuple[float, FloatArray]:
    """Return the squared norm of the process, and of its bootstrap draws.

    At the estimate the process is, to first order, the sum of ``r_i phi_i + Gamma'
    IF_i`` with Gamma the mean of ``dr_j phi_j``: draws multiply these terms.
    """
    copies, total = sample.copies, float(sample.copies.sum())
    weighted = copies[:, None] * sample.residual
    mean_slopes = [
        (copies[:, None] * slopes).T @ Phi / total
        for slopes in sample.slopes.transpose(1, 0, 2)
    ]
    observed = float(np.sum((weighted.T @ Phi) ** 2)) / total
    draws = np.empty(n_boot)
    width = max(1, _ENTRIES // int(total))
    for start in range(0, n_boot, width):
        stop = min(start + width, n_boot)
        xi = _row_multipliers(sample, stop - start, multiplier, rng)
        errors = xi @ sample.influence
        squares = np.zeros(stop - start)
        for residual, slopes in zip(sample.residual.T, mean_slopes, strict=True):
            term = (xi * residual) @ Phi + errors @ slopes
            squares += np.einsum("bd,bd->b", term, term)
        draws[start:stop] = squares / total
    return observed, draws


def _row_multipliers(
    sample: ResidualSample, n_draws: int, multiplier: str, rng: np.random.RandomState
) -> FloatArray:
    """Return the multipliers of rows, (n_draws, n): a sum over the copies of each."""
    if sample.groups is not None:
        n_units = int(sample.groups.max()) + 1
        xi = draw_multipliers(rng, (n_draws, n_units), multiplier)
        factor = np.sqrt(n_units / (n_units - 1.0))
        return factor * sample.copies * xi[:, sample.groups]
    counts = whole_copies(sample.copies)
    xi = draw_multipliers(rng, (n_draws, int(counts.sum())), multiplier)
    if len(counts) == xi.shape[1]:
        return xi
    return np.add.reduceat(xi, np.cumsum(counts) - counts, axis=1)


def _check_options(multiplier: Any, n_boot: Any) -> None:
    if multiplier not in MULTIPLIERS:
        raise ValueError(
            f"multiplier={multiplier!r} is unknown: choose one of "
            f"{', '.join(map(repr, MULTIPLIERS))}."
        )
    if not isinstance(n_boot, Integral) or n_boot < 1:
        raise ValueError(f"n_boot must be a whole number from 1 on, got {n_boot!r}.")
