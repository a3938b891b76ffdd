"""Balancing a supremum over infinitely many functions by cutting planes.

minimise sup_f |mean_w f - target mean of f| + (w - c)'diag(ridge)(w - c) / 2 over one
bounded simplex. A supremum of affine functions is convex whatever the class, so a
program over finitely many functions bounds the minimum from below, and the supremum at
its solution bounds it from above (Kelley 1960, J. SIAM 8, 703-712).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalweights.optimize._certificate import FloatArray, relative_gap
from causalweights.optimize._checks import check_options, check_ridge, check_vector
from causalweights.optimize._minimax import MinimaxResult, simplex_minimax

# Relative gap of the programs over finitely many functions: their prices are the dual
# solution, which a looser one would blur.
MASTER_TOL = 1e-8
# Cuts that had no price for this many rounds are dropped.
IDLE_ROUNDS = 5

Array = NDArray[Any]


class FunctionOracle(Protocol):
    """Finds functions that tell weighted source rows from the target.

    Functions come as parameters P (k, p): `values(P)` returns their values at the
    source rows, (n, k), and their target means, (k,).
    """

    exact: bool

    def start(self) -> Array:
        """Return the parameters of the first functions."""
        ...

    def search(self, weights: Array, near: Array, thorough: bool = False) -> Array:
        """Return parameters of functions of large difference, the largest first.

        `near` holds parameters worth starting from. An oracle that is not `exact` is
        asked to be thorough before the rounds end.
        """
        ...

    def values(self, parameters: Array) -> tuple[Array, Array]:
        """Return values at the source rows (n, k) and target means (k,)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SupremumResult:
    """Solution of `simplex_supremum`.

    Attributes
    ----------
    weights : ndarray of shape (n,)
    value : float
        Largest difference that the oracle found at the weights, plus the ridge term.
    supremum : float
        The first term alone.
    bound : float
        Lower bound of the minimum, by the last program over finitely many functions.
    gap : float
        value - bound. Certified where the oracle is exact; where it searches, the
        supremum may be larger than what it found.
    relative_gap : float
        gap over what the weights gain on uniform ones.
    supremum_before : float
        Largest difference found at uniform weights.
    parameters, prices : ndarrays of shape (k, p) and (k,)
        Functions that hold the weights and their signed multipliers.
    level : float
        With ridge > 0, w_i = center_i + (level - sum_k prices_k f_k(x_i)) / ridge_i,
        within the bounds.
    witness : ndarray of shape (p,)
        The function of the largest difference at the weights.
    n_iter : int
        Rounds.
    converged : bool
    solver : str
        ``"cutting_planes"``.
    """

    weights: FloatArray
    value: float
    supremum: float
    bound: float
    gap: float
    relative_gap: float
    supremum_before: float
    parameters: FloatArray
    prices: FloatArray
    level: float
    witness: FloatArray
    n_iter: int
    converged: bool
    solver: str = "cutting_planes"


def simplex_supremum(
    oracle: FunctionOracle,
    n: int,
    ridge: ArrayLike = 0.0,
    *,
    center: ArrayLike = 0.0,
    lower: ArrayLike = 0.0,
    upper: ArrayLike | None = None,
    tol: float = 1e-4,
    max_iter: int = 200,
) -> SupremumResult:
    """Minimise the largest difference over a function class, plus a ridge.

    Parameters
    ----------
    oracle : FunctionOracle
        `start()`, `search(weights, near)` and `values(parameters)`.
    n : int
        Source rows.
    ridge : float or array-like of shape (n,), default=0.0
        Non-negative; the penalty is (w - center)'diag(ridge)(w - center) / 2.
    center : float or array-like of shape (n,), default=0.0
    lower, upper : float or array-like of shape (n,), default=0.0 and None
        Bounds on the weights.
    tol : float, default=1e-4
        Relative gap at which the rounds end.
    max_iter : int, default=200
        Limit on the rounds.

    Returns
    -------
    SupremumResult
        Of the round with the smallest value.

    Notes
    -----
    A round is one `simplex_minimax` over the functions collected so far, O(n k^2) a
    step of it, and one search.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import simplex_supremum
    >>> class Coordinates:  # all linear functions with coefficients of sum one
    ...     exact = True
    ...     X, target = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 3.0]]), np.ones(2)
    ...     def start(self):
    ...         return np.array([[1.0, 0.0]])
    ...     def search(self, weights, near, thorough=False):
    ...         j = np.argmax(np.abs(weights @ self.X - self.target))
    ...         return np.eye(2)[[j]]
    ...     def values(self, parameters):
    ...         return self.X @ parameters.T, parameters @ self.target
    >>> found = simplex_supremum(Coordinates(), 3)
    >>> bool(found.supremum < 1e-6)
    True
    """
    check_options(("cutting_planes",), "cutting_planes", tol, max_iter)
    ridge = check_ridge(ridge, n)
    low = check_vector("lower", lower, n)
    high = check_vector("upper", np.inf if upper is None else upper, n, True)
    rounds = _Rounds(oracle, ridge, check_vector("center", center, n), low, high, tol)
    for step in range(1, max_iter + 1):
        rounds.advance()
        if rounds.relative <= tol:
            break
    return rounds.result(step)


class _Rounds:
    """The functions collected so far, the bounds, and the best weights."""

    def __init__(
        self,
        oracle: FunctionOracle,
        ridge: FloatArray,
        center: FloatArray,
        low: FloatArray,
        high: FloatArray,
        tol: float,
    ) -> None:
        self.oracle, self.ridge, self.low, self.high = oracle, ridge, low, high
        self.center, self.tol = center, tol
        n = ridge.size
        uniform = low + (np.minimum(high, 1.0) - low) * _share(low, high)
        start = oracle.start()
        found = oracle.search(uniform, start[:0], thorough=True)
        self.parameters = np.vstack([found, start])
        self.F, self.h = oracle.values(self.parameters)
        self.idle = np.zeros(len(self.parameters), np.intp)
        k = len(found)
        self.supremum_before = _largest(uniform, self.F[:, :k], self.h[:k])[0]
        off = uniform - center
        self.at_start = self.supremum_before + 0.5 * float(off @ (ridge * off))
        self.bound, self.upper, self.relative = -np.inf, np.inf, np.inf
        self.best: tuple[FloatArray, float, FloatArray] = (uniform, 0.0, found[0])
        self.certain = True
        self.master: MinimaxResult | None = None
        self.floor = 16.0 * np.finfo(np.float64).eps * (1.0 + float(ridge.max())) * n

    def advance(self) -> None:
        """Solve over the functions known, search for more, and update both bounds."""
        master = simplex_minimax(
            self.F, self.h, self.ridge, center=self.center, lower=self.low,
            upper=self.high, tol=MASTER_TOL,
        )  # fmt: skip
        self.bound = max(self.bound, master.value - master.gap)
        priced = np.abs(master.prices) > 1e-9
        near = self.parameters[priced]
        found = self.oracle.search(master.weights, near)
        F, h = self.oracle.values(found)
        largest, worst = _largest(master.weights, F, h)
        certain = self.oracle.exact
        if not certain and self._closes(master, largest):
            certain = True
            found = self.oracle.search(master.weights, near, thorough=True)
            F, h = self.oracle.values(found)
            largest, worst = _largest(master.weights, F, h)
        witness = found[worst]
        if master.largest > largest:  # a known function is worse than what was found
            largest, worst = _largest(master.weights, self.F, self.h)
            witness = self.parameters[worst]
        value = largest + master.value - master.largest
        if value < self.upper:
            self.upper, self.best = value, (master.weights, largest, witness)
            self.certain = certain
            self.master, self.held = master, (self.parameters, priced)
        self._keep(priced, found, F, h)
        self._close()
        if self.relative <= self.tol and not self.certain:
            self._confirm()
            self._close()

    def _close(self) -> None:
        """Set the relative gap of the best weights."""
        gap = max(0.0, self.upper - self.bound)
        self.relative = relative_gap(gap, self.at_start - self.upper, self.floor)

    def _confirm(self) -> None:
        """Search thoroughly at the best weights, whose value a quick search gave.

        It may have missed the largest difference there, and left an upper bound that
        the lower one rises to, or above.
        """
        weights, largest, witness = self.best
        parameters, priced = self.held
        found = self.oracle.search(weights, parameters[priced], thorough=True)
        F, h = self.oracle.values(found)
        again, worst = _largest(weights, F, h)
        if again > largest:
            self.upper += again - largest
            largest, witness = again, found[worst]
            self._keep(np.ones(len(self.parameters), dtype=bool), found, F, h)
        self.best, self.certain = (weights, largest, witness), True

    def _closes(self, master: MinimaxResult, largest: float) -> bool:
        """Tell whether a supremum would end the rounds."""
        gap = largest + master.value - master.largest - self.bound
        return gap <= 2.0 * self.tol * (self.at_start - self.bound)

    def _keep(
        self, priced: np.ndarray, found: FloatArray, F: FloatArray, h: FloatArray
    ) -> None:
        """Add the functions found, with their values; drop what is long idle."""
        self.idle = np.where(priced, 0, self.idle + 1)
        kept = self.idle < IDLE_ROUNDS
        self.parameters = np.vstack([self.parameters[kept], found])
        self.F = np.column_stack([self.F[:, kept], F])
        self.h = np.append(self.h[kept], h)
        self.idle = np.append(self.idle[kept], np.zeros(len(found), np.intp))

    def result(self, n_iter: int) -> SupremumResult:
        """Return the weights of the smallest value."""
        assert self.master is not None
        weights, supremum, witness = self.best
        parameters, priced = self.held
        return SupremumResult(
            weights=weights,
            value=self.upper,
            supremum=supremum,
            bound=self.bound,
            gap=max(0.0, self.upper - self.bound),
            relative_gap=self.relative,
            supremum_before=self.supremum_before,
            parameters=parameters[priced],
            prices=self.master.prices[priced],
            level=self.master.level,
            witness=witness,
            n_iter=n_iter,
            converged=self.relative <= self.tol,
        )


def _largest(weights: FloatArray, F: FloatArray, h: FloatArray) -> tuple[float, int]:
    """Return the largest difference of means, and which function has it."""
    differences = np.abs(weights @ F - h)
    worst = int(np.argmax(differences))
    return float(differences[worst]), worst


def _share(low: FloatArray, high: FloatArray) -> float:
    room = float((np.minimum(high, 1.0) - low).sum())
    return (1.0 - float(low.sum())) / room if room > 0.0 else 0.0
