"""The penalty of the instrument function, by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.utils.parallel import delayed

from causalweights._blas import single_blas_thread
from causalweights._progress import run_jobs
from causalweights._typing import FloatArray, IntArray
from causalweights.moments._dual import Factor
from causalweights.moments._kernel_design import KernelDesign
from causalweights.moments._moment_covariance import moment_covariance
from causalweights.moments._moment_features import fit_block_scale, kernel_features
from causalweights.moments._profile import KernelObjective, Minimum, minimize

Criterion = Literal["variance", "moment", "mmr", "hsic"]
LAM_GRID = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
# Where the covariance that makes the common norm is taken, and that norm's own ridge.
REFERENCE_LAM = 1e-4
_NORM_RIDGE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutScores:
    """Moments that fits on other folds combine, of every row.

    Attributes
    ----------
    scores : ndarray of shape (n, p)
        A m_j, with A = (G'WG)^{-1} G'W and theta of the other folds.
    slopes : ndarray of shape (p, p)
        Mean of A dm_j/dtheta.
    """

    scores: FloatArray
    slopes: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class LamChoice:
    """Cross-validated lam.

    Attributes
    ----------
    lam : float
    grid, scores : ndarray of shape (k,)
        Candidates, and the criterion of each, the smaller the better.
    theta : ndarray of shape (p,)
        Fit of all rows at `REFERENCE_LAM`: a start.
    held_out : HeldOutScores or None
        At lam; only ``"variance"`` has them.
    """

    lam: float
    grid: FloatArray
    scores: FloatArray
    theta: FloatArray
    held_out: HeldOutScores | None


def choose_lam(
    design: KernelDesign,
    theta: FloatArray,
    folds: Sequence[tuple[IntArray, IntArray]],
    *,
    criterion: Criterion = "variance",
    instruments: FloatArray | None = None,
    groups: IntArray | None = None,
    grid: Sequence[float] = LAM_GRID,
    tol: float = 1e-7,
    max_iter: int = 200,
    n_jobs: int | None = None,
) -> LamChoice:
    """Choose lam by K-fold cross-validation.

    A fit weights the features of the instruments by A = (G'WG)^{-1} G'W: it solves p
    moments A m(theta) = 0. ``"variance"`` learns A on the training folds and takes, on
    the held-out rows together, the sandwich covariance of the estimator that solves
    them, H^{-1} E[(A m)(A m)'] H^{-T} with H = E[A dm/dtheta]. Its log-determinant
    does not depend on the units of theta. A learned from noise loses there.

    ``"moment"`` sums m_v'(Omega + c I)^{-1} m_v over folds, m_v the held-out mean
    moments and Omega the covariance of all rows at a fit with lam = 1e-4: one norm for
    all candidates, but with few terms, and noisy. ``"mmr"`` has the identity for a
    norm and favours too large a penalty. ``"hsic"``, the dependence of residuals and
    instruments, is the authors' default; it asks for more than zero conditional means
    and misleads where the variance of the residual depends on the instruments.

    Parameters
    ----------
    design : KernelDesign
        With the sample as reference.
    theta : ndarray of shape (p,)
        Start.
    folds : list of (train, test)
        Positions of rows.
    criterion : {"variance", "moment", "mmr", "hsic"}, default="variance"
    instruments : ndarray of shape (n, k) or None, default=None
        Needed by ``"hsic"``.
    groups : ndarray of shape (n,) or None, default=None
        Clusters, for ``"variance"``.
    grid : sequence of float
        Candidates, 1e-8 to 1e-2 by factors of 10.
    tol, max_iter : float and int
        Of each fit.
    n_jobs : int or None, default=None
        Processes over folds.

    Returns
    -------
    LamChoice
    """
    reference = minimize(design.objective(REFERENCE_LAM), theta, tol, max_iter)
    held_out = _HeldOut(design, reference.theta, criterion, instruments)
    order = sorted(grid, key=lambda lam: abs(np.log(lam / REFERENCE_LAM)))
    jobs = (
        delayed(_fold)(held_out, train, test, order, tol, max_iter)
        for train, test in folds
    )
    parts = run_jobs(jobs, n_jobs, "folds of lam")
    tests = [test for _, test in folds]
    scores = np.empty(len(grid))
    kept: list[HeldOutScores | None] = []
    for k, lam in enumerate(grid):
        own = [part[lam] for part in parts]
        if any(part is None for part in own):
            scores[k] = np.inf
            kept.append(None)
        elif criterion == "variance":
            joined = _joined(own, tests)
            kept.append(joined)
            scores[k] = _log_variance(joined, design.w, groups)
        else:
            kept.append(None)
            scores[k] = sum(own)
    best = int(np.argmin(scores))
    return LamChoice(
        float(grid[best]), np.asarray(grid, dtype=float), scores, reference.theta,
        kept[best],
    )  # fmt: skip


def _joined(parts: Sequence[HeldOutScores], tests: Sequence[IntArray]) -> HeldOutScores:
    """Return the scores of all rows, and the sum of the folds' slopes."""
    n = sum(len(test) for test in tests)
    scores = np.empty((n, parts[0].scores.shape[1]))
    for part, test in zip(parts, tests, strict=True):
        scores[test] = part.scores
    return HeldOutScores(scores, np.sum([part.slopes for part in parts], axis=0))


def _log_variance(
    held_out: HeldOutScores, w: FloatArray, groups: IntArray | None
) -> float:
    """Return the log-determinant of the sandwich, up to a constant."""
    omega = moment_covariance(
        held_out.scores, w, cov_type="robust" if groups is None else "cluster",
        groups=groups,
    )  # fmt: skip
    sign, size = np.linalg.slogdet(held_out.slopes)
    return float(np.linalg.slogdet(omega)[1] - 2 * size) if sign else np.inf


def _fold(
    held_out: _HeldOut,
    train: IntArray,
    test: IntArray,
    lams: Sequence[float],
    tol: float,
    max_iter: int,
) -> dict[float, Any]:
    """Return what held-out rows say of each lam, each fit from the nearest before."""
    training = held_out.design.take(train)
    fits: dict[float, Minimum] = {}
    parts: dict[float, Any] = {}
    with single_blas_thread:
        for lam in lams:
            start, near = held_out.theta, None
            if fits:
                last = fits[min(fits, key=lambda other: abs(np.log(other / lam)))]
                start, near = last.theta, last.at
            objective = KernelObjective(training.restriction, training.problem(lam))
            found = minimize(objective, start, tol, max_iter, near)
            parts[lam] = None
            if np.isfinite(found.at.value):
                fits[lam] = found
                parts[lam] = held_out.part(objective, found, test)
    return parts


class _HeldOut:
    """What held-out rows say of a fit, by criterion."""

    def __init__(
        self,
        design: KernelDesign,
        theta: FloatArray,
        criterion: Criterion,
        instruments: FloatArray | None,
    ) -> None:
        self.design, self.theta = design, theta
        self.criterion, self.instruments = criterion, instruments
        if criterion == "moment":
            M = design.restriction.moments(theta)
            centered = M - design.w @ M
            omega = (design.w[:, None] * centered).T @ centered
            self._norm = Factor(omega + _NORM_RIDGE * np.eye(len(omega)))

    def part(
        self, objective: KernelObjective, found: Minimum, test: IntArray
    ) -> HeldOutScores | float:
        held = self.design.restriction.take(test)
        w = self.design.w[test]
        if self.criterion == "hsic":
            assert self.instruments is not None
            return dependence(held.residual(found.theta), self.instruments[test])
        M = held.moments(found.theta)
        if self.criterion == "variance":
            A = combination(objective, found)
            slopes = held.mean_slopes(held.jacobian(found.theta), w)
            return HeldOutScores(M @ A.T, A @ slopes)
        mean = (w @ M) / w.sum()
        norm = self._norm.solve(mean) if self.criterion == "moment" else mean
        return float(mean @ norm)


def combination(objective: KernelObjective, found: Minimum) -> FloatArray:
    """Return A = (G'WG)^{-1} G'W, the p moments that a fit solves, (p, q)."""
    dual = found.at.dual
    assert dual is not None
    restriction = objective.restriction
    W = objective.problem.weight_matrix(dual)
    G = restriction.mean_slopes(restriction.jacobian(found.theta), dual.p)
    weighted = G.T @ W
    return np.linalg.lstsq(weighted @ G, weighted)[0]


def dependence(residual: FloatArray, instruments: FloatArray) -> float:
    """Return the Hilbert-Schmidt independence criterion, Gaussian kernels.

    Bandwidths by the median rule; low-rank features of 100 landmarks.
    """
    share = np.full(len(residual), 1.0 / len(residual))
    sides = []
    for name, block in (("residuals", residual), ("instruments", instruments)):
        scale = fit_block_scale({name: block}, share)
        features, _ = kernel_features(scale.transform(block))
        sides.append(features - features.mean(axis=0))
    return float(np.sum((sides[0].T @ sides[1] / len(residual)) ** 2))
