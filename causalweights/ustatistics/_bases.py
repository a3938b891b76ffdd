"""Bases of functions on the unit cube, and which products of them to take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import comb

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import cholesky, solve_triangular
from sklearn.preprocessing import PolynomialFeatures

from causalweights._typing import FloatArray

BASES = ("polynomial", "cosine", "legendre", "haar", "bspline")
# Bases of which all products are taken; others up to a total degree.
_TENSORS = ("haar", "bspline")
_CUBIC = 3


def basis_size(basis: str, degree: int, d: int) -> int:
    """Return the number of functions of a basis on the d-dimensional cube."""
    if basis in _TENSORS:
        return _line_size(basis, degree) ** d
    return comb(d + degree, degree)


def evaluate_basis(basis: str, degree: int, U: FloatArray) -> FloatArray:
    """Return the functions' values at points of the unit cube, (n, p).

    Parameters
    ----------
    basis : {"polynomial", "cosine", "legendre", "haar", "bspline"}
        All but monomials are orthonormal for the uniform law.
    degree : int
        Largest total degree of a product of monomials, cosines or Legendre
        polynomials; step functions (Haar wavelets up to this level) and cubic splines
        have 2^degree intervals along each coordinate, and all products.
    U : ndarray of shape (n, d)
    """
    if basis == "polynomial":
        return PolynomialFeatures(degree).fit_transform(U)
    n, d = U.shape
    lines = [_LINES[basis](U[:, k], degree) for k in range(d)]
    indices = list(_indices(basis, degree, d))
    out = np.ones((n, len(indices)))
    for k, line in enumerate(lines):
        out *= line[:, [index[k] for index in indices]]
    return out


def _indices(basis: str, degree: int, d: int) -> Iterator[tuple[int, ...]]:
    """Yield which function of each coordinate every product has."""
    if basis in _TENSORS:
        yield from product(range(_line_size(basis, degree)), repeat=d)
    elif d == 0:
        yield ()
    else:
        for first in range(degree + 1):
            for rest in _indices(basis, degree - first, d - 1):
                yield (first, *rest)


def _line_size(basis: str, degree: int) -> int:
    return 2**degree + (_CUBIC if basis == "bspline" else 0)


def _cosines(u: FloatArray, degree: int) -> FloatArray:
    q = np.arange(degree + 1)
    return np.where(q > 0, np.sqrt(2.0), 1.0) * np.cos(np.pi * q * u[:, None])


def _legendre(u: FloatArray, degree: int) -> FloatArray:
    values = np.polynomial.legendre.legvander(2 * u - 1, degree)
    return values * np.sqrt(2 * np.arange(degree + 1) + 1)


def _steps(u: FloatArray, degree: int) -> FloatArray:
    """Return scaled indicators of dyadic intervals, which span the Haar wavelets."""
    count = 2**degree
    cell = np.minimum((u * count).astype(np.intp), count - 1)
    return np.sqrt(count) * (cell[:, None] == np.arange(count))


def _splines(u: FloatArray, degree: int) -> FloatArray:
    """Cubic splines, made orthonormal by the exact Gram matrix of B-splines."""
    count = 2**degree
    knots = np.r_[[0.0] * _CUBIC, np.linspace(0, 1, count + 1), [1.0] * _CUBIC]
    nodes, weights = np.polynomial.legendre.leggauss(_CUBIC + 1)
    points = ((np.arange(count)[:, None] + (nodes + 1) / 2) / count).ravel()
    at = BSpline.design_matrix(points, knots, _CUBIC).toarray()
    gram = at.T @ (np.tile(weights / 2 / count, count)[:, None] * at)
    values = BSpline.design_matrix(np.clip(u, 0, 1), knots, _CUBIC).toarray()
    return solve_triangular(cholesky(gram, lower=True), values.T, lower=True).T


_LINES: dict[str, Callable[[FloatArray, int], FloatArray]] = {
    "cosine": _cosines, "legendre": _legendre, "haar": _steps, "bspline": _splines,
}  # fmt: skip
