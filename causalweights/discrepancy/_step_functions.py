"""Classes whose supremum is found exactly: half-spaces along directions, means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray

# Directions of the largest differences that a search returns.
RETURNED = 5


@dataclass(frozen=True)
class HalfSpaces:
    """The indicators of half-spaces ``direction'x <= threshold``.

    Along the coordinates alone the supremum is the largest Kolmogorov-Smirnov distance
    of a covariate's distribution functions; random directions see joint differences.

    Parameters
    ----------
    n_directions : int, default=0
        Random directions beside the coordinates. The supremum over all half-spaces is
        NP-hard to find in many dimensions.

    Examples
    --------
    >>> from causalweights.discrepancy import HalfSpaces, supremum
    >>> supremum(HalfSpaces(), [[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0]]).value
    0.5
    """

    n_directions: int = 0
    directions: FloatArray | None = None

    exact = True

    def __post_init__(self) -> None:
        if self.n_directions < 0:
            raise ValueError(
                f"n_directions must be 0 or more, got {self.n_directions!r}."
            )

    def resolve(self, Z: FloatArray, rng: np.random.RandomState) -> HalfSpaces:
        """Return the class with its directions drawn."""
        d = Z.shape[1]
        drawn = rng.normal(size=(self.n_directions, d))
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return HalfSpaces(self.n_directions, np.vstack([np.eye(d), drawn]))

    def evaluate(self, Z: FloatArray, parameters: FloatArray) -> FloatArray:
        """Return the indicators (n, k) of parameters (direction, threshold)."""
        return (Z @ parameters[:, :-1].T <= parameters[:, -1]).astype(np.float64)

    def draw(self, Z: FloatArray, rng: np.random.RandomState) -> FloatArray:
        """Return the half-spaces at the median along every direction."""
        assert self.directions is not None, "resolve the class on the rows first"
        levels = [np.sort(Z @ v)[len(Z) // 2] for v in self.directions]
        return np.column_stack([self.directions, levels])

    def search(
        self,
        Z: FloatArray,
        measure: FloatArray,
        near: FloatArray,
        rng: np.random.RandomState,
        effort: int = 1,
    ) -> FloatArray:
        """Return the largest differences along the directions, by sorting."""
        assert self.directions is not None, "resolve the class on the rows first"
        sizes, found = [], []
        for v in self.directions:
            # The same product as in `evaluate`, so that ties stay ties.
            values = (Z @ v[None].T)[:, 0]
            order = np.argsort(values, kind="stable")
            ordered = values[order]
            last = np.append(ordered[1:] > ordered[:-1], True)
            gaps = np.where(last, np.abs(np.cumsum(measure[order])), -1.0)
            at = int(np.argmax(gaps))
            sizes.append(gaps[at])
            found.append(np.append(v, ordered[at]))
        best = np.argsort(-np.asarray(sizes), kind="stable")[:RETURNED]
        return np.stack([found[i] for i in best])


@dataclass(frozen=True)
class MeanDifferences:
    """Linear functions with coefficients of absolute sum one: the largest mean gap.

    Its supremum is the largest absolute difference of a covariate's means, the
    criterion of stable balancing weights (Zubizarreta 2015).

    Examples
    --------
    >>> from causalweights.discrepancy import MeanDifferences, supremum
    >>> supremum(MeanDifferences(), [[0.0, 1.0]], [[1.0, 4.0]]).value
    3.0
    """

    exact = True

    def resolve(self, Z: FloatArray, rng: np.random.RandomState) -> MeanDifferences:
        """Return the class itself: nothing depends on the rows."""
        return self

    def evaluate(self, Z: FloatArray, parameters: FloatArray) -> FloatArray:
        """Return the linear functions (n, k) of coefficients (k, d)."""
        return Z @ parameters.T

    def draw(self, Z: FloatArray, rng: np.random.RandomState) -> FloatArray:
        """Return every coordinate."""
        return np.eye(Z.shape[1])

    def search(
        self,
        Z: FloatArray,
        measure: FloatArray,
        near: FloatArray,
        rng: np.random.RandomState,
        effort: int = 1,
    ) -> FloatArray:
        """Return the coordinate of the largest difference."""
        return np.eye(Z.shape[1])[[int(np.argmax(np.abs(measure @ Z)))]]
