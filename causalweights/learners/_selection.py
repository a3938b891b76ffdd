"""Bandwidth and ridge by closed-form leave-one-out, at a cost that stays low in n."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import eigh, solve_triangular
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.kernels import (
    Energy,
    Gaussian,
    Kernel,
    Laplace,
    Linear,
    LowRankFactor,
    Matern,
)
from causalweights.learners._loo import (
    ExactFit,
    Sample,
    Spectrum,
    exact_fit,
    factor_spectrum,
    gram_spectrum,
    loo_table,
)

FAMILIES = {"gaussian": Gaussian, "laplace": Laplace, "matern": Matern}
PLAIN = {"energy": Energy, "linear": Linear}

# Multiples of the median rule: from local to nearly linear.
BANDWIDTH_MULTIPLES = (0.5, 1.0, 2.0, 4.0)
# In units of the centred kernel's trace: from interpolation to the mean.
RIDGE_GRID = np.logspace(-9, 2, 15)

# Up to here a full eigendecomposition a bandwidth is cheap.
_DENSE_ROWS = 400
# Bandwidths are compared on at most so many rows, through a factor whose residual is
# a hundredth of the smallest ridge.
SEARCH_ROWS = 2000
_SEARCH_TOL, _SEARCH_RANK, _CORE_TOL = 1e-11, 300, 1e-13
# The low-rank route takes its pivots from at most so many rows.
PIVOT_ROWS = 4000
# An exact leave-one-out error this close to the factor's confirms the table.
_AGREEMENT = 0.01


@dataclass(slots=True)
class Path:
    """Rows of the table of leave-one-out errors, in the order they were computed."""

    bandwidth: list[float] = field(default_factory=list)
    ridge: list[float] = field(default_factory=list)
    loo_error: list[float] = field(default_factory=list)
    n_rows: list[int] = field(default_factory=list)

    def add(self, kernel: Kernel, ridges: Any, errors: Any, sample: Sample) -> None:
        """Append errors, turned into squared units of y."""
        h = bandwidth_of(kernel)
        number = float(h) if isinstance(h, (int, float)) else np.nan
        for ridge, error in zip(np.atleast_1d(ridges), np.atleast_1d(errors)):
            self.bandwidth.append(number)
            self.ridge.append(float(ridge))
            self.loo_error.append(float(error) * sample.variance)
            self.n_rows.append(len(sample.root))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the table as a dict of columns."""
        return {
            "bandwidth": np.array(self.bandwidth, dtype=np.float64),
            "ridge": np.array(self.ridge, dtype=np.float64),
            "loo_error": np.array(self.loo_error, dtype=np.float64),
            "n_rows": np.array(self.n_rows, dtype=np.intp),
        }


def bandwidth_of(kernel: Kernel) -> Any:
    """Return a resolved kernel's bandwidth, None where it has none of its own."""
    return getattr(kernel, "bandwidth", None)


def check_grid(name: str, value: Any) -> None:
    """Refuse a grid that is not a list of positive numbers."""
    if isinstance(value, str):
        return
    grid = np.asarray(value, dtype=np.float64)
    if grid.ndim > 1 or grid.size == 0 or not np.all(np.isfinite(grid) & (grid > 0)):
        raise ValueError(
            f"{name}={value!r}: give 'auto', a positive number or a list of positive "
            "numbers."
        )


def candidate_kernels(
    kernel: str | Kernel, bandwidth: Any, Z: FloatArray, seed: Any
) -> list[Kernel]:
    """Return the kernels to choose from, their bandwidths resolved on rows Z."""
    named = isinstance(bandwidth, str)
    if isinstance(kernel, Kernel) or kernel in PLAIN:
        if not named:
            raise ValueError(
                f"bandwidth={bandwidth!r} has no place in kernel={kernel!r}: a kernel "
                "object brings its own bandwidth, 'energy' and 'linear' have none. "
                "Leave bandwidth='auto'."
            )
        chosen = kernel if isinstance(kernel, Kernel) else PLAIN[kernel]()
        return [chosen.resolve(Z, random_state=seed)]
    family = FAMILIES[kernel]
    if not named:
        return [family(bandwidth=float(h)) for h in np.atleast_1d(bandwidth)]
    base = family().resolve(Z, random_state=seed)
    multiples = BANDWIDTH_MULTIPLES if bandwidth == "auto" else (1.0,)
    return [family(bandwidth=m * bandwidth_of(base)) for m in multiples]


def ridge_grid(ridge: Any, spectrum: Spectrum) -> FloatArray:
    """Return the ridges to choose from, increasing."""
    if isinstance(ridge, str):
        trace = float(spectrum.values.sum())
        return RIDGE_GRID * (trace if trace > 0 else 1.0)
    return np.unique(np.atleast_1d(np.asarray(ridge, dtype=np.float64)))


def best(errors: FloatArray) -> int:
    """Return the position of the smallest error; of equal ones the last."""
    return len(errors) - 1 - int(np.argmin(errors[::-1]))


def search_rows(n: int, seed: Any, limit: int = SEARCH_ROWS) -> np.ndarray | slice:
    """Return all rows, or a draw of ``limit`` of them, in their order."""
    if n <= limit:
        return slice(None)
    return np.sort(check_random_state(seed).choice(n, limit, replace=False))


def search_pivots(kernels: list[Kernel], Z: FloatArray) -> np.ndarray | None:
    """Return landmark rows for every kernel, None where the search is dense.

    One greedy factorisation, of the kernel with the smallest bandwidth (its rank is
    the largest), serves all: for the smoother ones its rows are spread out enough.
    """
    if len(Z) <= _DENSE_ROWS:
        return None
    sharpest = min(kernels, key=lambda k: np.min(bandwidth_of(k) or 0.0))
    return centered_low_rank(sharpest, Z, _SEARCH_TOL, _SEARCH_RANK).pivots


def centered_low_rank(
    kernel: Kernel, Z: FloatArray, tol: float, rank: int
) -> LowRankFactor:
    """Return the factor whose residual is ``tol`` of the centred kernel's trace.

    A wide bandwidth makes a kernel nearly constant: most of its plain trace is what
    the intercept fits, and a share of that could be all the rest.
    """
    operator = kernel.operator(Z)
    total = float(operator.diagonal().mean())
    centered = total - float(operator.row_mean().mean())
    share = max(centered / total, 0.0) if total > 0 else 1.0
    return operator.low_rank(tol=tol * share, rank=rank)


def search_spectrum(
    kernel: Kernel, Z: FloatArray, sample: Sample, pivots: np.ndarray | None
) -> Spectrum:
    """Return the spectrum that the search uses: dense for few rows, else Nystrom's."""
    operator = kernel.operator(Z)
    if pivots is None:
        return gram_spectrum(operator.dense(), sample)
    columns = operator.block(None, pivots)
    values, vectors = eigh(columns[pivots], check_finite=False, driver="evd")
    kept = values > _CORE_TOL * values[-1]
    factor = columns @ (vectors[:, kept] / np.sqrt(values[kept]))
    return factor_spectrum(factor, sample)[0]


def low_rank_factor(
    kernel: Kernel, Z: FloatArray, *, tol: float, rank: int, seed: Any
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the factor of the Gram matrix, (n, r), its core and its pivot rows of Z.

    Greedy pivoting passes over the factor once a column; drawing the pivots from at
    most 4000 rows leaves one blocked triangular solve for all the others.
    """
    part = search_rows(len(Z), seed, PIVOT_ROWS)
    low = centered_low_rank(kernel, Z[part], tol, rank)
    core, landmarks = low.factor[low.pivots], Z[part][low.pivots]
    if isinstance(part, slice):
        return low.factor, core, landmarks
    columns = kernel.operator(Z, landmarks).dense()
    factor = solve_triangular(core, columns.T, lower=True, overwrite_b=True).T
    return factor, core, landmarks


@dataclass(frozen=True, slots=True)
class Table:
    """Leave-one-out errors of one kernel over a grid of ridges."""

    kernel: Kernel
    ridges: FloatArray
    errors: FloatArray


def search_kernels(
    kernels: list[Kernel], ridge: Any, Z: FloatArray, sample: Sample, path: Path
) -> Table:
    """Return the table of the kernel with the smallest leave-one-out error."""
    tables, pivots = [], search_pivots(kernels, Z)
    for kernel in kernels:
        spectrum = search_spectrum(kernel, Z, sample, pivots)
        ridges = ridge_grid(ridge, spectrum)
        errors = loo_table(spectrum, sample, ridges)
        path.add(kernel, ridges, errors, sample)
        tables.append(Table(kernel, ridges, errors))
    return tables[best(np.array([table.errors.min() for table in tables]))]


def confirm_ridge(
    K: FloatArray, sample: Sample, table: Table, path: Path
) -> tuple[float, ExactFit]:
    """Return the ridge and its exact fit, starting from the table's minimum.

    A factor's error at a small ridge leaves out the directions that the exact fit
    goes on to use. Where the two errors differ, exact ones are compared, walking
    along the grid as long as they fall.
    """
    at = best(table.errors)
    fits = {at: exact_fit(K, sample, table.ridges[at])}
    expected = table.errors[at]
    if abs(fits[at].loo_error - expected) > _AGREEMENT * expected:
        for step in (1, -1):
            while 0 <= at + step < len(table.ridges):
                fits[at + step] = exact_fit(K, sample, table.ridges[at + step])
                if fits[at + step].loo_error >= fits[at].loo_error:
                    break
                at += step
            if len(fits) > 2:  # it fell on this side, so not on the other
                break
        order = sorted(fits)
        errors = [fits[j].loo_error for j in order]
        path.add(table.kernel, table.ridges[order], errors, sample)
    return float(table.ridges[at]), fits[at]
