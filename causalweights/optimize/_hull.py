"""Exact minimisation over the convex hull of a few points with known gradients."""

from __future__ import annotations

import numpy as np

from causalweights.optimize._active_set import solve_active_set
from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._interior_point import solve_interior_point
from causalweights.optimize._problem import DenseQP, Simplices


class Hull:
    """The last `size` points of a quadratic problem and their gradients.

    The gradient of a mixture is the mixture of the gradients, so that searching the
    hull costs no product with the matrix (simplicial decomposition with few columns).
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._points: list[FloatArray] = []
        self._gradients: list[FloatArray] = []

    def add(self, point: FloatArray, gradient: FloatArray) -> None:
        self._points = [*self._points[1 - self._size :], point]
        self._gradients = [*self._gradients[1 - self._size :], gradient]

    def clear(self) -> None:
        self._points, self._gradients = [], []

    def minimize(self) -> tuple[FloatArray, FloatArray]:
        """Return the best mixture and its gradient."""
        k = len(self._points)
        base, slope = self._points[0], self._gradients[0]
        # Differences to one point: products of nearly equal points would cancel.
        moves = [p - base for p in self._points[1:]]
        turns = [g - slope for g in self._gradients[1:]]
        H, linear = np.zeros((k, k)), np.zeros(k)
        for i, move in enumerate(moves):
            H[i + 1, 1:] = [float(move @ turn) for turn in turns]
            linear[i + 1] = -float(move @ slope)
        simplex = Simplices(np.zeros(k, np.intp), np.ones(1), np.full(k, np.inf))
        problem = DenseQP(0.5 * (H + H.T), np.zeros(k), linear, simplex)
        found = solve_active_set(problem)
        if not found.finished:
            found = solve_interior_point(problem)
        point, gradient = base.copy(), slope.copy()
        for share, move, turn in zip(found.v[1:], moves, turns, strict=True):
            if share > 0.0:
                point += share * move
                gradient += share * turn
        return point, gradient
