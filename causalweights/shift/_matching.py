"""The quadratic program of double weighting, of two given samples.

minimise v'Kv + kappa (sum_i a_i (beta_i - 1)^2 + sum_j b_j (alpha_j - 1)^2) with v =
(a beta, -b alpha), a and b the rows' shares of their samples (Segovia-Martin, Mazuelas
& Liu 2023, without the ridge), over 0 <= beta <= B / sqrt(D), 0 <= alpha <= 1,
|sum a beta - sum b alpha| <= eps and sum b (alpha - 1)^2 <= (1 - 1 / sqrt(D))^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from causalweights._typing import FloatArray
from causalweights.diagnostics._weights import kish
from causalweights.kernels import Kernel
from causalweights.optimize import Ball, BoxQPResult, ball_path, box_qp
from causalweights.shift._model_steps import (
    KernelHessian,
    scaled_factor,
    solve_by_models,
)
from causalweights.shift._new_rows import WeightFunctions
from causalweights.shift._solution import DoubleWeights, WeightPath

MatchingSolver = Literal["auto", "dense", "low_rank"]
# Up to this many rows of both samples the Gram matrix is formed (128 MB).
DENSE_ROWS = 4000
# Weights this close to their upper bound, relative to it, are at it.
AT_BOUND = 1e-9
# The grid of the authors: the ball's radius in tenths of sqrt(t).
D_GRID = tuple(100.0 / (10.0 - k) ** 2 for k in range(10))


class MatchingProblem:
    """Double weighting of two samples: what its programs share, built once.

    Parameters
    ----------
    X_source, X_target : ndarray of shape (n, d), (t, d)
        Finite covariates, in the scale of the kernel.
    kernel : Kernel
        Its bandwidth rule, if any, takes its value from both samples together.
    source_weight, target_weight : ndarray of shape (n,), (t,) or None, default=None
        Positive sampling or frequency weights: means become weighted means.
    weight_type : {"sampling", "frequency"}, default="sampling"
        With ``"frequency"`` a row counts as so many rows where their number matters:
        in eps and in effective sizes.
    solver : {"auto", "dense", "low_rank"}, default="auto"
        ``"auto"`` forms the Gram matrix up to 4000 rows of both samples.
    rank, rank_tol : int and float, default=400 and 1e-4
        Where the low-rank factor stops: columns, and share of the trace left.
    random_state : int, RandomState or None, default=None
        Seed of the factor's pivots; None is seed 0.
    n_threads : int or None, default=None
        Threads of kernel evaluations.

    Notes
    -----
    Dense: exact, memory 2 N^2 numbers of 8 bytes at most with N = n + t, time that of
    4-10 linear systems a multiplier of the ball. ``"low_rank"``: `solve_by_models`,
    memory O(N rank), time O(N rank^2) a system and one product with the kernel, O(N^2
    d), a step; only the proposals are of low rank, the certificate is of the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian
    >>> from causalweights.shift import MatchingProblem
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(80, 1)), rng.normal(1.0, 0.8, size=(60, 1))
    >>> problem = MatchingProblem(X, X_target, Gaussian(0.5))
    >>> path = problem.path([1.0, 2.0, 4.0])
    >>> bool(np.all(np.diff(path.values("objective")) < 0))
    True
    >>> path.solutions[0].ess_source < path.solutions[2].ess_source
    True
    """

    def __init__(
        self,
        X_source: FloatArray,
        X_target: FloatArray,
        kernel: Kernel,
        *,
        source_weight: FloatArray | None = None,
        target_weight: FloatArray | None = None,
        weight_type: str = "sampling",
        solver: MatchingSolver = "auto",
        rank: int = 400,
        rank_tol: float = 1e-4,
        random_state: Any = None,
        n_threads: int | None = None,
    ):
        self.n, self.t = len(X_source), len(X_target)
        self.points = np.vstack([X_source, X_target])
        self.kernel = kernel.resolve(self.points, random_state=random_state)
        s = np.ones(self.n) if source_weight is None else source_weight
        r = np.ones(self.t) if target_weight is None else target_weight
        self.source_weight, self.target_weight = s, r
        self.weight_type = weight_type
        # Signed shares: v = signs * (beta, alpha).
        self.signs = np.concatenate([s / s.sum(), -r / r.sum()])
        counted = weight_type == "frequency"
        n, t = float(self.n), float(self.t)
        self._sizes = (float(s.sum()), float(r.sum())) if counted else (n, t)
        # In alpha * unit the ball around one, weighted by shares, is a plain one.
        self._unit = np.concatenate([np.ones(self.n), np.sqrt(-self.signs[self.n :])])
        self._unit[self.n :] *= np.sqrt(self.t)
        self._scale = self.signs / self._unit
        if solver == "auto":
            solver = "dense" if self.n + self.t <= DENSE_ROWS else "low_rank"
        self.solver = solver
        self._factor_options = {
            "rank": rank, "tol": rank_tol, "random_state": random_state,
        }  # fmt: skip
        self._operator = self.kernel.operator(self.points, n_threads=n_threads)

    @cached_property
    def _gram(self) -> FloatArray:
        gram = self._operator.dense()
        gram *= 2.0 * self._scale[:, None]
        gram *= self._scale
        return gram

    @cached_property
    def _model(self) -> tuple[KernelHessian, Any]:
        low = self._operator.low_rank(**self._factor_options)
        return KernelHessian(self._operator, self._scale), scaled_factor(
            low, self._scale
        )

    def solve(
        self,
        D: float = 4.0,
        B: float = 1000.0,
        kappa: float = 1e-3,
        *,
        tol: float = 1e-8,
        start: DoubleWeights | None = None,
    ) -> DoubleWeights:
        """Return the weights for one D.

        Parameters
        ----------
        D : float, default=4.0
            1 fixes alpha = 1: kernel mean matching. Larger values let target rows far
            from the source lose weight. inf fixes beta = 1, the robust program: 0 <=
            alpha <= 1, eps with t in place of n.
        B : float, default=1000.0
            Largest source weight, times sqrt(D).
        kappa : float, default=1e-3
            Ridge. 0 is the paper's program, whose minimum many weights reach: those
            returned are near the centre of them where an interior point solves it.
        tol : float, default=1e-8
            Relative gap that counts as converged.
        start : DoubleWeights or None, default=None
            A neighbouring solution.

        Raises
        ------
        ValueError
            For D < 1, negative kappa, and a B so small that no weights are feasible.
        """
        ridge, constraints = self._ridge(kappa), self._constraints(D, B)
        first = None if start is None else self._unit * _pair(start)
        if self.solver == "dense":
            result = box_qp(
                self._gram, ridge * self._unit, ridge, **constraints, start=first,
                tol=tol,
            )  # fmt: skip
        else:
            result = solve_by_models(
                *self._model, ridge * self._unit, ridge, **constraints, start=first,
                tol=tol,
            )  # fmt: skip
        return self._weights(result, D, B, kappa)

    def path(
        self,
        D: Sequence[float] = D_GRID,
        B: float = 1000.0,
        kappa: float = 1e-3,
        *,
        tol: float = 1e-8,
    ) -> WeightPath:
        """Return the weights for several D, each from the last, smaller one.

        Where the ball is inactive and larger D leave the solution feasible, nothing is
        solved. Parameters are those of `solve`.
        """
        asked = [float(d) for d in D]
        inner = sorted({d for d in asked if 1.0 < d < np.inf})
        ends = {d for d in asked} - set(inner)
        found = {d: self.solve(d, B, kappa, tol=tol) for d in ends}
        n_solved = len(ends)
        if self.solver == "dense":
            n_solved += self._dense_path(found, inner, B, kappa, tol)
        else:
            n_solved += self._stepwise_path(found, inner, B, kappa, tol)
        inactive = [d for d in inner if not found[d].ball_active]
        first = inactive[0] if inactive else None
        return WeightPath(tuple(found[d] for d in asked), first, n_solved)

    def _dense_path(
        self,
        found: dict[float, DoubleWeights],
        grid: list[float],
        B: float,
        kappa: float,
        tol: float,
    ) -> int:
        """Add the solutions of increasing D to ``found``; return how many it took."""
        if not grid:
            return 0
        ridge = self._ridge(kappa)
        programs = [self._constraints(d, B) for d in grid]
        ball = programs[0]["ball"]
        path = ball_path(
            self._gram, ridge * self._unit, ridge, rows=ball.rows, center=ball.center,
            radii=[p["ball"].radius for p in programs],
            uppers=[p["upper"] for p in programs], tol=tol,
            coupling=programs[0]["coupling"],
            coupling_bounds=programs[0]["coupling_bounds"],
        )  # fmt: skip
        for d, result in zip(grid, path.results):
            found[d] = self._weights(result, d, B, kappa)
        return path.n_solved

    def _stepwise_path(
        self,
        found: dict[float, DoubleWeights],
        grid: list[float],
        B: float,
        kappa: float,
        tol: float,
    ) -> int:
        """Do as `_dense_path` with one solution after the other."""
        last, n_solved = None, 0
        for d in grid:
            if last is None or last.ball_active or last.beta.max() > B / np.sqrt(d):
                last = self.solve(d, B, kappa, tol=tol, start=last)
                n_solved += 1
            found[d] = replace(last, D=d, cap=B / np.sqrt(d))
        return n_solved

    def _ridge(self, kappa: float) -> FloatArray:
        if not (np.isfinite(kappa) and kappa >= 0.0):
            raise ValueError(f"kappa must be a number >= 0, got {kappa!r}.")
        return 2.0 * kappa * np.abs(self.signs) / self._unit**2

    def _constraints(self, D: float, B: float) -> dict[str, Any]:
        """Return the constraints on (beta, alpha * unit) as keywords of `box_qp`."""
        if not D >= 1.0:
            raise ValueError(f"D must be at least 1 (inf: robust), got {D!r}.")
        if not (np.isfinite(B) and B > 0.0):
            raise ValueError(f"B must be a positive number, got {B!r}.")
        n, unit = self.n, self._unit
        lower, upper, ball = np.zeros(len(unit)), unit.copy(), None
        size = self._sizes[0]
        if D == np.inf:
            lower[:n], size = 1.0, self._sizes[1]
        else:
            upper[:n] = B / np.sqrt(D)
        if D == 1.0:
            lower[n:] = unit[n:]
        elif D < np.inf:
            radius = (1.0 - 1.0 / np.sqrt(D)) * np.sqrt(self.t)
            ball = Ball(np.arange(n, len(unit)), unit[n:], radius)
        eps = max(1.0 - 1.0 / np.sqrt(size), 0.0)
        return {
            "lower": lower, "upper": upper, "ball": ball,
            "coupling": self._scale, "coupling_bounds": (-eps, eps),
        }  # fmt: skip

    def _weights(
        self, result: BoxQPResult, D: float, B: float, kappa: float
    ) -> DoubleWeights:
        """Return a solution in the caller's units."""
        weights = result.weights / self._unit
        beta, alpha = weights[: self.n], np.minimum(weights[self.n :], 1.0)
        shares = np.abs(self.signs)
        mmd2 = max(self._square(np.concatenate([beta, alpha])), 0.0)
        off = (np.concatenate([beta, alpha]) - 1.0) ** 2
        ball = np.inf if D == 1.0 else 0.5 * self.t * result.multipliers.ball
        cap = B / np.sqrt(D) if D < np.inf else 1.0
        return DoubleWeights(
            beta=beta,
            alpha=alpha,
            D=float(D),
            kappa=float(kappa),
            cap=float(cap),
            objective=mmd2 + kappa * float(shares @ off),
            mmd2=mmd2,
            gap=result.gap,
            relative_gap=result.relative_gap,
            ess_source=self._effective_size(beta, self.source_weight),
            ess_target=self._effective_size(alpha, self.target_weight),
            ball_active=ball > 0.0,
            cap_active=D < np.inf and bool(np.any(beta >= cap * (1.0 - AT_BOUND))),
            level=result.multipliers.coupling,
            ball=float(ball),
            n_iter=result.n_iter,
            converged=result.converged,
            solver=result.solver,
            status=result.status,
        )

    def _effective_size(self, weights: FloatArray, own: FloatArray) -> float:
        return kish(weights * own, own if self.weight_type == "frequency" else None)

    def _square(self, weights: FloatArray) -> float:
        """Return v'Kv of weights (beta, alpha)."""
        if self.solver == "dense":
            z = self._unit * weights
            return 0.5 * float(z @ (self._gram @ z))
        return self._operator.quadratic_form(self.signs * weights)

    def mmd2_before(self) -> float:
        """Return the squared discrepancy of the samples without weights."""
        return max(self._square(np.ones(len(self.signs))), 0.0)

    def functions(self, solution: DoubleWeights) -> WeightFunctions:
        """Return what a solution says of new rows."""
        return WeightFunctions(
            self.kernel, self.points, self.signs, self._sizes, solution
        )

    def source_weights(self, X: FloatArray, solution: DoubleWeights) -> FloatArray:
        """Return the source weights of new rows (m, d), in the kernel's scale."""
        return self.functions(solution).source(X)

    def target_weights(self, X: FloatArray, solution: DoubleWeights) -> FloatArray:
        """Return the target weights of new rows (m, d), in the kernel's scale."""
        return self.functions(solution).target(X)


def _pair(weights: DoubleWeights) -> FloatArray:
    return np.concatenate([weights.beta, weights.alpha])
