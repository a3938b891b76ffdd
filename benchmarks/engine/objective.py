"""One judge for all: objective and certificate from the weights and the matrices.

min w'(K + ridge I)w/2 - q'w over 0 <= w <= upper, low <= sum w <= high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Rows that stand for all in the objective at uniform weights of a large problem.
SAMPLED_ROWS, EXACT_ROWS = 8_000, 20_000


@dataclass(frozen=True)
class Problem:
    """The quadratic program; `multiply(w)` is K w.

    `constant` is the target's own mean kernel value: with it
    w'Kw - 2 q'w + constant is the squared discrepancy.
    """

    multiply: Callable[[np.ndarray], np.ndarray]
    q: np.ndarray
    ridge: float
    uniform_value: float
    constant: float = np.nan
    upper: float = np.inf
    total: tuple[float, float] = (1.0, 1.0)

    def judge(self, weights: np.ndarray) -> dict[str, float]:
        """Return objective, relative gap, discrepancy and support of cleaned weights.

        Weights are clipped to their bounds and scaled to an admissible sum first,
        which forgives a solver's tolerance on its constraints.
        """
        w = np.clip(np.asarray(weights, dtype=np.float64), 0.0, self.upper)
        w *= np.clip(w.sum(), *self.total) / w.sum()
        product = self.multiply(w)
        gradient = product + self.ridge * w - self.q
        value = 0.5 * float(w @ (gradient - self.q))
        gap = float((w - self.vertex(gradient)) @ gradient)
        gain = self.uniform_value - value
        return {
            "objective": value,
            "relative_gap": gap / gain if gain > 0 else np.inf,
            "discrepancy": float(w @ (product - 2 * self.q)) + self.constant,
            "support": float(np.count_nonzero(w > 1e-3 / w.size * w.sum())),
        }

    def vertex(self, gradient: np.ndarray) -> np.ndarray:
        """Minimise the linearised objective: fill rows in order of their gradient."""
        low, high = self.total
        order = np.argsort(gradient, kind="stable")
        room = np.full(order.size, min(self.upper, high))
        wanted = float(room[gradient[order] < 0].sum())
        mass = float(np.clip(wanted, low, high))
        filled = np.clip(mass - (np.cumsum(room) - room), 0.0, room)
        out = np.empty_like(filled)
        out[order] = filled
        return out


def dense_problem(K: np.ndarray, q: np.ndarray, ridge: float, **more) -> Problem:
    """Return the problem of a matrix that is in memory, its weights of sum one or n."""
    total = more.get("total", (1.0, 1.0))
    w = np.full(q.size, 0.5 * sum(total) / q.size)
    value = 0.5 * float(w @ (K @ w + ridge * w)) - float(q @ w)
    return Problem(lambda v: K @ v, q, ridge, value, **more)


def operator_problem(operator, rows, q, ridge: float, constant: float) -> Problem:
    """Return the simplex problem of an operator, products taken over the support.

    `rows(index)` is the operator of some rows against all. Beyond 20,000 rows the
    objective at uniform weights is unbiasedly estimated: the row means of K are
    correlated with q, whose mean is known, so a sample of rows has to average the
    difference only.
    """

    def multiply(w: np.ndarray) -> np.ndarray:
        support = np.flatnonzero(w)
        return operator.matvec(w[support], columns=support)

    n = q.size
    if n <= EXACT_ROWS:
        mean = float(operator.matvec(np.full(n, 1 / n)).mean())
    else:
        some = np.random.default_rng(0).choice(n, SAMPLED_ROWS, replace=False)
        mean = float((rows(some).row_mean() - q[some]).mean() + q.mean())
    value = 0.5 * (mean + ridge / n) - float(q.mean())
    return Problem(multiply, q, ridge, value, constant)
