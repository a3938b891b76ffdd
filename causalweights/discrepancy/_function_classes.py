"""Function classes whose supremum of mean differences has no closed form.

Each says how its functions are evaluated and how those of a large difference are found;
`supremum` measures two weighted samples with it, and `SourceOracle` serves the cutting
planes of `causalweights.optimize`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.discrepancy._mmd import two_samples

# Times as many starts where the value of a supremum is what is wanted.
THOROUGH = 10


@runtime_checkable
class FunctionClass(Protocol):
    """Functions with parameters P (k, p), one function a row."""

    @property
    def exact(self) -> bool:
        """Whether `search` is certain to find the largest difference."""
        ...

    def resolve(self, Z: FloatArray, rng: np.random.RandomState) -> FunctionClass:
        """Return the class with everything that depends on the rows fixed."""
        ...

    def evaluate(self, Z: FloatArray, parameters: FloatArray) -> FloatArray:
        """Return the values (n, k) of the functions at rows Z (n, d)."""
        ...

    def draw(self, Z: FloatArray, rng: np.random.RandomState) -> FloatArray:
        """Return the parameters of some functions of the class."""
        ...

    def search(
        self,
        Z: FloatArray,
        measure: FloatArray,
        near: FloatArray,
        rng: np.random.RandomState,
        effort: int = 1,
    ) -> FloatArray:
        """Return parameters of functions f with large |sum_i measure_i f(z_i)|.

        The largest first; `near` holds parameters worth starting from, `effort`
        multiplies the number of starts.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Supremum:
    """The largest difference of means over a function class.

    Attributes
    ----------
    value : float
    parameters : ndarray of shape (p,)
        Of the function that attains it.
    exact : bool
        False where it was searched for: then `value` is a lower bound.
    """

    value: float
    parameters: FloatArray
    exact: bool


def supremum(
    function_class: FunctionClass,
    X: ArrayLike,
    Y: ArrayLike,
    *,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    random_state: Any = 0,
) -> Supremum:
    """Return the largest difference of weighted means over a function class.

    Parameters
    ----------
    function_class : FunctionClass
        `Sigmoid`, `ReLU`, `HalfSpaces` or `MeanDifferences`.
    X : array-like of shape (n, d)
        First sample. The function does not standardise.
    Y : array-like of shape (m, d)
        Second sample.
    x_weights, y_weights : array-like of shape (n,), (m,) or None, default=None
        Non-negative weights, normalised to sum one; None is equal weights.
    random_state : int, RandomState or None, default=0
        Of random directions and of the search's starts.

    Returns
    -------
    Supremum

    Examples
    --------
    >>> from causalweights.discrepancy import HalfSpaces, supremum
    >>> supremum(HalfSpaces(), [[0.0], [1.0]], [[0.0], [0.0], [1.0], [3.0]]).value
    0.25
    """
    X, Y, a, b = two_samples(X, Y, x_weights, y_weights)
    Z = np.vstack([X, Y]).astype(np.float64)
    rng = check_random_state(random_state)
    resolved = function_class.resolve(Z, rng)
    measure = np.concatenate([a, -b])
    none = resolved.draw(Z, rng)[:0]
    found = resolved.search(Z, measure, none, rng, effort=THOROUGH)
    value = np.abs(measure @ resolved.evaluate(Z, found[:1]))
    return Supremum(float(value[0]), found[0], resolved.exact)


class SourceOracle:
    """A function class seen from source rows and a target, for cutting planes."""

    def __init__(
        self,
        function_class: FunctionClass,
        source: FloatArray,
        target: FloatArray,
        target_masses: FloatArray,
        seed: int,
    ) -> None:
        self._class, self._n = function_class, len(source)
        self._rng = np.random.RandomState(seed)
        self.exact = function_class.exact
        self._target_masses = target_masses
        self._Z = np.vstack([source, target])

    def start(self) -> FloatArray:
        """Return the parameters of the first functions."""
        return self._class.draw(self._Z, self._rng)

    def search(
        self, weights: FloatArray, near: FloatArray, thorough: bool = False
    ) -> FloatArray:
        """Return parameters of functions of large difference, the largest first."""
        measure = np.concatenate([weights, -self._target_masses])
        effort = THOROUGH if thorough else 1
        return self._class.search(self._Z, measure, near, self._rng, effort)

    def values(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values at the source rows (n, k) and target means (k,)."""
        values = self._class.evaluate(self._Z, parameters)
        return values[: self._n], self._target_masses @ values[self._n :]
