"""Weighted local polynomial regression, point by point.

A fit at x is a row of weights on the outcomes: everything else follows from these rows.
Rows of the training data come sorted by their first coordinate, so that a window of the
kernel is a range of them to start from.
"""

import numpy as np
from numba import njit

EPANECHNIKOV, TRIANGULAR, GAUSSIAN = 0, 1, 2
# A monomial whose part beyond the earlier ones has a smaller mean square than this is
# left out: rows in few distinct places then give a fit of lower degree.
_DEPENDENT = 1e-10
# The smallest standard deviation of a window that is not rounding; X is standardised.
_ONE_VALUE = 1e-12


@njit(cache=True, nogil=True, error_model="numpy")
def _profile(squared, kernel):
    """Return the kernel at a squared distance in bandwidths."""
    if kernel == GAUSSIAN:
        return np.exp(-0.5 * squared)
    if squared >= 1.0:
        return 0.0
    return 1.0 - squared if kernel == EPANECHNIKOV else 1.0 - np.sqrt(squared)


@njit(cache=True, nogil=True, error_model="numpy")
def _monomials(X, i, center, inverse, parents, coordinates, z):
    """Write the monomials of row i, centred and scaled, each from a lower one."""
    z[0] = 1.0
    for k in range(1, z.shape[0]):
        c = coordinates[k]
        z[k] = z[parents[k]] * (X[i, c] - center[c]) * inverse[c]


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(G, b):
    """Solve G c = b in place by a Cholesky factor; dependent columns get a zero."""
    p = b.shape[0]
    for k in range(p):
        whole = G[k, k]
        for j in range(k):
            G[k, k] -= G[k, j] * G[k, j]
        kept = G[k, k] > _DEPENDENT * max(whole, 1.0)
        G[k, k] = np.sqrt(G[k, k]) if kept else 0.0
        for i in range(k + 1, p):
            for j in range(k):
                G[i, k] -= G[i, j] * G[k, j]
            G[i, k] = G[i, k] / G[k, k] if kept else 0.0
    for k in range(p):
        for j in range(k):
            b[k] -= G[k, j] * b[j]
        b[k] = b[k] / G[k, k] if G[k, k] > 0.0 else 0.0
    for k in range(p - 1, -1, -1):
        for j in range(k + 1, p):
            b[k] -= G[j, k] * b[j]
        b[k] = b[k] / G[k, k] if G[k, k] > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _smoother_row(points, at, h, X, weight, basis, kernel, first, last, work, row):
    """Write the weights on the outcomes of rows first to last of the fit at a point.

    Monomials are taken about the window's own mean and in its own spread: the system
    is then well conditioned wherever the point lies.
    """
    parents, coordinates = basis
    center, inverse, z, c, G = work
    d, p = X.shape[1], parents.shape[0]
    total, reciprocal = 0.0, 1.0 / h
    center[:], inverse[:] = 0.0, 0.0
    for i in range(first, last):
        squared = 0.0
        for a in range(d):
            squared += ((X[i, a] - points[at, a]) * reciprocal) ** 2
        row[i] = weight[i] * _profile(squared, kernel)
        total += row[i]
        for a in range(d):
            center[a] += row[i] * X[i, a]
    for a in range(d):
        center[a] /= total
    for i in range(first, last):
        for a in range(d):
            inverse[a] += row[i] * (X[i, a] - center[a]) ** 2
    for a in range(d):
        spread = np.sqrt(inverse[a] / total)
        # The monomials of a single value vanish, and are left out.
        inverse[a] = 1.0 / spread if spread > _ONE_VALUE else 1.0
    G[:] = 0.0
    for i in range(first, last):
        if row[i] > 0.0:
            _monomials(X, i, center, inverse, parents, coordinates, z)
            for k in range(p):
                share = row[i] * z[k] / total
                for j in range(k + 1):
                    G[k, j] += share * z[j]
    _monomials(points, at, center, inverse, parents, coordinates, c)
    _solve(G, c)
    for i in range(first, last):
        if row[i] > 0.0:
            _monomials(X, i, center, inverse, parents, coordinates, z)
            value = 0.0
            for k in range(p):
                value += c[k] * z[k]
            row[i] *= value / total


@njit(cache=True, nogil=True, error_model="numpy")
def _work(d, p):
    return np.empty(d), np.empty(d), np.empty(p), np.empty(p), np.empty((p, p))


@njit(cache=True, nogil=True, error_model="numpy")
def _window(x, h, X, kernel):
    """Return the range of sorted rows whose first coordinate is within reach."""
    if kernel == GAUSSIAN or not np.isfinite(h):
        return 0, X.shape[0]
    first = np.searchsorted(X[:, 0], x[0] - h)
    return first, np.searchsorted(X[:, 0], x[0] + h, side="right")


@njit(cache=True, nogil=True, error_model="numpy")
def smooth(points, h, X, y, weight, basis, kernel, own, values, leverages):
    """Write local fits at points, and the weight of each point's own row in its fit.

    Parameters
    ----------
    points : ndarray of shape (m, d)
    h : ndarray of shape (m,)
        Bandwidths; infinity is a global fit.
    X : ndarray of shape (n, d)
        Sorted by the first coordinate.
    y, weight : ndarray of shape (n,)
    basis : tuple of two int ndarrays of shape (p,)
        Monomial k is the ``basis[0][k]``-th times coordinate ``basis[1][k]``.
    kernel : int
    own : ndarray of int of shape (m,)
        Each point's row of X; -1 for none.
    values, leverages : ndarray of shape (m,)
        Overwritten; a leverage is zero where there is no own row.
    """
    work = _work(X.shape[1], basis[0].shape[0])
    row = np.empty(X.shape[0])
    for i in range(points.shape[0]):
        first, last = _window(points[i], h[i], X, kernel)
        _smoother_row(points, i, h[i], X, weight, basis, kernel, first, last, work, row)
        values[i] = 0.0
        for j in range(first, last):
            values[i] += row[j] * y[j]
        leverages[i] = row[own[i]] if own[i] >= 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def smoother_rows(points, h, X, weight, basis, kernel, out):
    """Write the weights on the outcomes, (m, n), zero beyond a window; see `smooth`."""
    work = _work(X.shape[1], basis[0].shape[0])
    for i in range(points.shape[0]):
        first, last = _window(points[i], h[i], X, kernel)
        out[i] = 0.0
        _smoother_row(
            points, i, h[i], X, weight, basis, kernel, first, last, work, out[i]
        )
