"""Sigmoid and ReLU functions of one linear combination, with bounded parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from causalweights._numba import _ridge_climb
from causalweights._typing import FloatArray

# Random functions that start the cutting planes, and that a search looks at.
START, CANDIDATES = 60, 200
# Best candidates that a search climbs from, how many times as many with more effort,
# and functions it returns.
POLISHED, POLISHED_EFFORT, RETURNED = 6, 4, 4
CLIMB_STEPS = 60
# Climbs of a ReLU function with its bend moved in between.
BENDS = 5
TINY = 1e-300


@dataclass(frozen=True)
class _RidgeFunctions:
    """Functions x -> s(theta'x + b) with |theta| <= bound and |b| <= bound radius.

    `radius` is the length of the longest row, so that no function is out of reach
    because of where it bends; None until the rows are known.
    """

    bound: float = 1.0
    radius: float | None = None

    exact = False
    _code = -1

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"bound must be positive, got {self.bound!r}.")

    def resolve(self, Z: FloatArray, rng: np.random.RandomState):
        """Return the class with the radius of these rows."""
        longest = float(np.sqrt(np.max(np.einsum("ij,ij->i", Z, Z))))
        return type(self)(self.bound, longest if longest > 0 else 1.0)

    def evaluate(self, Z: FloatArray, parameters: FloatArray) -> FloatArray:
        """Return the values (n, k) of functions with parameters (theta, b)."""
        return self._link(Z @ parameters[:, :-1].T + parameters[:, -1])

    def draw(self, Z: FloatArray, rng: np.random.RandomState) -> FloatArray:
        """Return random functions, half of them of the largest slope."""
        return self._random(Z.shape[1], START, rng)

    def _random(self, d: int, k: int, rng: np.random.RandomState) -> FloatArray:
        assert self.radius is not None, "resolve the class on the rows first"
        theta = rng.normal(size=(k, d))
        lengths = np.where(np.arange(k) % 2, 1.0, rng.uniform(size=k))
        theta *= (self.bound * lengths / np.linalg.norm(theta, axis=1))[:, None]
        b = self.bound * self.radius * rng.uniform(-1.0, 1.0, size=k)
        return np.column_stack([theta, b])

    def search(
        self,
        Z: FloatArray,
        measure: FloatArray,
        near: FloatArray,
        rng: np.random.RandomState,
        effort: int = 1,
    ) -> FloatArray:
        """Return functions of large difference: random ones, then climbed."""
        drawn = self._candidates(Z, measure, CANDIDATES * effort, rng)
        candidates = np.vstack([drawn, near])
        sizes = np.abs(measure @ self.evaluate(Z, candidates))
        polished = POLISHED * min(effort, POLISHED_EFFORT)
        best = candidates[np.argsort(-sizes, kind="stable")[:polished]]
        climbed = self._climb(Z, measure, best)
        sizes = np.abs(measure @ self.evaluate(Z, climbed))
        order = np.argsort(-sizes, kind="stable")
        return _distinct(climbed[order])[:RETURNED]

    def _candidates(
        self, Z: FloatArray, measure: FloatArray, k: int, rng: np.random.RandomState
    ) -> FloatArray:
        return self._random(Z.shape[1], k, rng)

    def _climb(
        self, Z: FloatArray, measure: FloatArray, starts: FloatArray
    ) -> FloatArray:
        """Return local maxima of the difference, one a start and never below it.

        In free coordinates u, v: theta = bound u / sqrt(1 + |u|^2) and
        b = bound radius tanh(v) reach the whole interior of the constraints.
        """
        assert self.radius is not None
        edge = self.bound * self.radius
        before = measure @ self.evaluate(Z, starts)
        inside = starts[:, :-1] / self.bound
        lengths = np.linalg.norm(inside, axis=1, keepdims=True)
        inside *= np.minimum(1.0, 0.99 / np.maximum(lengths, TINY))
        u = inside / np.sqrt(1.0 - np.sum(inside**2, axis=1, keepdims=True))
        v = np.arctanh(np.clip(starts[:, -1] / edge, -0.99, 0.99))
        ends = _ridge_climb.climb(
            np.ascontiguousarray(Z.T), measure, np.column_stack([u, v]),
            np.where(before < 0, -1.0, 1.0), self.bound, edge, self._code, CLIMB_STEPS,
        )  # fmt: skip
        scale = np.sqrt(1.0 + np.sum(ends[:, :-1] ** 2, axis=1, keepdims=True))
        ends = np.column_stack(
            [self.bound * ends[:, :-1] / scale, edge * np.tanh(ends[:, -1])]
        )
        after = measure @ self.evaluate(Z, ends)
        return np.where((np.abs(after) >= np.abs(before))[:, None], ends, starts)

    @staticmethod
    def _link(eta: FloatArray) -> FloatArray:
        raise TypeError("a class of ridge functions defines its link.")


def _distinct(parameters: FloatArray) -> FloatArray:
    """Drop functions that are one already kept, to eight digits."""
    kept: list[FloatArray] = []
    for p in parameters:
        if all(np.max(np.abs(p - q)) > 1e-8 for q in kept):
            kept.append(p)
    return np.stack(kept)


@dataclass(frozen=True)
class Sigmoid(_RidgeFunctions):
    """The functions x -> 1 / (1 + exp(-(theta'x + b))) with bounded parameters.

    The sigmoid IPM of Kong et al. (2023) leaves theta unrestricted; its optimum drifts
    to step functions. Bounded, it is a class of smooth functions.

    Parameters
    ----------
    bound : float, default=1.0
        Largest length of theta, on the covariates' scale; |b| is at most ``bound``
        times the length of the longest row.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.discrepancy import Sigmoid, supremum
    >>> X = np.array([[0.0], [1.0]])
    >>> round(supremum(Sigmoid(), X, X + 1.0).value, 3)
    0.231
    """

    _code = _ridge_climb.SIGMOID

    @staticmethod
    def _link(eta: FloatArray) -> FloatArray:
        return expit(eta)


@dataclass(frozen=True)
class ReLU(_RidgeFunctions):
    """The functions x -> max(0, theta'x + b) with bounded parameters.

    Parameters
    ----------
    bound : float, default=1.0
        Largest length of theta; |b| is at most ``bound`` times the length of the
        longest row.

    Examples
    --------
    >>> from causalweights.discrepancy import ReLU, supremum
    >>> round(supremum(ReLU(), [[0.0], [2.0]], [[1.0]]).value, 6)
    0.5
    """

    _code = _ridge_climb.RELU

    @staticmethod
    def _link(eta: FloatArray) -> FloatArray:
        return np.maximum(eta, 0.0)

    def _candidates(
        self, Z: FloatArray, measure: FloatArray, k: int, rng: np.random.RandomState
    ) -> FloatArray:
        """Return k steepest functions, each with its best bend at a row.

        Along a direction the difference is piecewise linear in b, so its extremes are
        at rows. Directions through rows reach the tails, where cones are narrow.
        """
        n, d = Z.shape
        theta = rng.normal(size=(k, d))
        theta[1::3] = Z[rng.randint(n, size=len(theta[1::3]))]
        pair = rng.randint(n, size=(2, len(theta[2::3])))
        theta[2::3] = Z[pair[0]] - Z[pair[1]]
        lengths = np.linalg.norm(theta, axis=1, keepdims=True)
        theta = np.where(lengths > 0, theta, 1.0)
        theta *= self.bound / np.linalg.norm(theta, axis=1, keepdims=True)
        return np.column_stack([theta, _best_bends(Z, measure, theta)])

    def _climb(
        self, Z: FloatArray, measure: FloatArray, starts: FloatArray
    ) -> FloatArray:
        """Return local maxima: climbs, between them the best bend along theta."""
        best = starts.copy()
        sizes, open_ = np.abs(measure @ self.evaluate(Z, best)), np.arange(len(best))
        for _ in range(BENDS):
            ends = super()._climb(Z, measure, best[open_])
            lengths = np.linalg.norm(ends[:, :-1], axis=1, keepdims=True)
            theta = ends[:, :-1] * (self.bound / np.maximum(lengths, TINY))
            bent = np.column_stack([theta, _best_bends(Z, measure, theta)])
            found = np.stack(
                [np.abs(measure @ self.evaluate(Z, p)) for p in (ends, bent)]
            )
            larger = np.where((found[0] >= found[1])[:, None], ends, bent)
            gains = found.max(axis=0) > sizes[open_] * (1.0 + 1e-9)
            open_ = open_[gains]
            best[open_], sizes[open_] = larger[gains], found.max(axis=0)[gains]
            if not len(open_):
                break
        return best


def _best_bends(Z: FloatArray, measure: FloatArray, theta: FloatArray) -> FloatArray:
    """Return the b (k,) at which functions of slope theta (k, d) differ most."""
    projections = theta @ Z.T
    order = np.argsort(projections, axis=1)
    p = np.take_along_axis(projections, order, axis=1)
    c = measure[order]
    above, weighted = (np.cumsum(x[:, ::-1], axis=1)[:, ::-1] for x in (c, c * p))
    best = np.argmax(np.abs(weighted - above * p), axis=1)
    return -p[np.arange(len(theta)), best]
