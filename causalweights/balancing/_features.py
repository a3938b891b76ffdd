"""Features that weights balance: moments, products, and a full-rank basis of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalweights._scaling import Scaling, fit_scaling
from causalweights._typing import FloatArray

# A direction whose spread is below this share of the largest is a rounding error.
_RANK_TOL = 1e-9

Term = tuple[int, ...]


def moment_terms(Z: FloatArray, moments: int, interactions: bool) -> list[Term]:
    """Return the terms as tuples of column positions whose product is taken.

    A column of two values has no square of its own: it is a linear function of it.
    """
    d = Z.shape[1]
    terms: list[Term] = [(j,) for j in range(d)]
    if moments == 2:
        terms += [
            (j, j) for j in range(d) if np.any((Z[:, j] > Z[:, j].min())
                                               & (Z[:, j] < Z[:, j].max()))
        ]  # fmt: skip
    if interactions:
        terms += [(j, k) for j in range(d) for k in range(j + 1, d)]
    return terms


def term_names(terms: Sequence[Term], names: Sequence[str]) -> list[str]:
    """Return a readable name of each term."""
    return [
        names[t[0]]
        if len(t) == 1
        else f"{names[t[0]]}^2"
        if t[0] == t[1]
        else f"{names[t[0]]} * {names[t[1]]}"
        for t in terms
    ]


def expand(Z: FloatArray, terms: Sequence[Term]) -> FloatArray:
    """Return the products of columns, shape (n, number of terms)."""
    return np.stack([np.prod(Z[:, list(t)], axis=1) for t in terms], axis=1)


def whitening(F: FloatArray, masses: FloatArray) -> FloatArray:
    """Return W of shape (p, r) such that F W has second moments I under the masses.

    r is the numerical rank of F: collinear columns leave no direction behind, and the
    result F W W' is the same whatever the order of the columns. Cost n p^2.
    """
    size = np.sqrt(masses @ F**2)
    size[size == 0] = 1.0
    weighted = np.sqrt(masses)[:, None] * (F / size)
    upper = np.linalg.qr(weighted, mode="r")
    _, spread, axes = np.linalg.svd(upper)
    kept = spread > _RANK_TOL * spread[0]
    axes = axes[: len(spread)][kept]
    return (axes / spread[kept, None]).T / size[:, None]


@dataclass(frozen=True, slots=True)
class Features:
    """The map from standardised covariates to standardised balancing features.

    Attributes
    ----------
    terms : list of tuple
        Products of columns, one a feature that varies.
    names : list of str
    scaling : Scaling
        Mean and SD of the features in the full sample.
    basis : ndarray of shape (p, r)
        Whitening of the features; r < p where some are linear in others.
    """

    terms: list[Term]
    names: list[str]
    scaling: Scaling
    basis: FloatArray

    def transform(self, Z: FloatArray) -> FloatArray:
        """Return the standardised features of new rows, shape (n, p)."""
        return self.scaling.transform(expand(Z, self.terms))


def fit_features(
    Z: FloatArray,
    sample_weight: FloatArray,
    names: Sequence[str],
    *,
    moments: int = 1,
    interactions: bool = False,
) -> Features:
    """Return the features of standardised covariates and their full-rank basis."""
    terms = moment_terms(Z, moments, interactions)
    labels = term_names(terms, names)
    products = expand(Z, terms)
    scaling = fit_scaling(products, sample_weight)
    kept = scaling.kept
    basis = whitening(scaling.transform(products), sample_weight / sample_weight.sum())
    # The constant features are gone: the kept terms get a scaling of their own.
    own = Scaling(
        scaling.mean, scaling.scale, np.arange(len(kept)), np.empty(0, dtype=np.intp)
    )
    return Features([terms[j] for j in kept], [labels[j] for j in kept], own, basis)
