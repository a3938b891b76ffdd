"""Nearest rows with ties, and outcome variances from them (Abadie & Imbens, 2006)."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from causalweights._typing import FloatArray, IntArray

# Distances that differ by rounding are ties.
_ROUNDING = 1e-10


def neighbor_residuals(
    X: FloatArray,
    y: FloatArray,
    codes: IntArray,
    *,
    n_neighbors: int = 4,
    frequency: FloatArray | None = None,
) -> FloatArray:
    """Return sqrt(J / (J + 1)) (y_i - mean of the J nearest other rows of its arm).

    The square is unbiased for the outcome's variance given covariates and arm where
    mean and variance are constant among these rows ([1]_, section 4). All rows as near
    as the J-th count, so that nothing depends on the order of the rows; J is then their
    number.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Covariates in the metric of the matching (Euclidean), e.g. standardized.
    y : ndarray of shape (n,)
    codes : ndarray of shape (n,)
        Arm of each row, 0..K-1; -1 for a row of no arm, which gets zero.
    n_neighbors : int, default=4
        J, below the number of rows in every arm.
    frequency : ndarray of shape (n,) or None, default=None
        Rows that each row stands for.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        For an arm of too few rows, and for bad input.

    Notes
    -----
    Equal rows are merged before a k-d tree is searched: O(n J log n) in few
    dimensions, up to O(n^2) in many; memory O(n J).

    References
    ----------
    .. [1] Abadie & Imbens (2006). Large sample properties of matching estimators for
       average treatment effects. Econometrica 74(1).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import neighbor_residuals
    >>> X, y = np.array([[0.0], [1.0], [3.0]]), np.array([0.0, 2.0, 3.0])
    >>> residuals = neighbor_residuals(X, y, np.zeros(3, dtype=int), n_neighbors=1)
    >>> (residuals**2).round(9)
    array([2. , 2. , 0.5])
    """
    X, y, codes = check_rows(X, y, codes, n_neighbors)
    copies = np.ones(len(y)) if frequency is None else np.asarray(frequency, float)
    out = np.zeros(len(y))
    for a in range(int(codes.max()) + 1):
        rows = np.flatnonzero(codes == a)
        weight = copies[rows]
        require_rows(round(weight.sum()) - 1, a, n_neighbors, "others in the arm")
        points, index = distinct_rows(X[rows])
        counts = np.asarray(np.bincount(index, weights=weight), dtype=np.float64)
        near = neighborhoods(points, counts, points, n_neighbors, own=1)
        # Centered, so that taking a row's own outcome from a sum loses no digits.
        values = y[rows] - np.average(y[rows], weights=weight)
        sums = np.bincount(index, weights=weight * values)
        others = (near @ counts)[index] - 1.0
        mean = ((near @ sums)[index] - values) / others
        out[rows] = np.sqrt(others / (others + 1)) * (values - mean)
    return out


def neighbor_variance(
    X: FloatArray,
    y: FloatArray,
    codes: IntArray,
    *,
    n_neighbors: int = 4,
    frequency: FloatArray | None = None,
) -> FloatArray:
    """Estimate each row's outcome variance given covariates and arm.

    sigma2_i = J / (J + 1) (y_i - mean of the J nearest other rows of its arm)^2: noisy
    by itself, consistent in weighted sums. Parameters, errors and sources are those of
    `neighbor_residuals`.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import neighbor_variance
    >>> X, y = np.array([[0.0], [1.0], [3.0]]), np.array([0.0, 2.0, 3.0])
    >>> neighbor_variance(X, y, np.zeros(3, dtype=int), n_neighbors=1).round(9)
    array([2. , 2. , 0.5])
    """
    residuals = neighbor_residuals(
        X, y, codes, n_neighbors=n_neighbors, frequency=frequency
    )
    return residuals**2


def nearest_rows(X: FloatArray, queries: FloatArray) -> csr_array:
    """Return a 0/1 matrix (queries, rows of X) of each query's nearest rows, ties all.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import nearest_rows
    >>> X = np.array([[0.0], [1.0], [1.0]])
    >>> nearest_rows(X, np.array([[0.1], [0.9]])).toarray()
    array([[1., 0., 0.],
           [0., 1., 1.]])
    """
    points, index = distinct_rows(X)
    near = neighborhoods(points, np.ones(len(points)), queries, 1, own=0)
    return csr_array(near[:, index])


def neighborhoods(
    points: FloatArray, counts: FloatArray, queries: FloatArray, J: int, *, own: int
) -> csr_array:
    """Return a 0/1 matrix (queries, points) of the points as near as the J-th row.

    ``counts`` are the rows at each point; ``own`` = 1 where the queries are the points
    themselves and one row of each is not its own neighbor.
    """
    tree, n = cKDTree(points), len(points)
    # One more than is asked for shows whether the last one is tied.
    k = min(J + own + 1, n)
    distance, nearest = tree.query(queries, k=np.arange(1, k + 1))
    last = np.argmax(np.cumsum(counts[nearest], axis=1) >= J + own, axis=1)
    radius = distance[np.arange(len(queries)), last] * (1 + _ROUNDING)
    within = distance <= radius[:, None]
    lengths = within.sum(axis=1)
    open_end = np.flatnonzero(within[:, -1]) if k < n else np.zeros(0, dtype=np.intp)
    sets = tree.query_ball_point(queries[open_end], radius[open_end])
    lengths[open_end] = [len(s) for s in sets]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    columns = np.empty(starts[-1], dtype=np.intp)
    is_open = np.zeros(len(queries), dtype=bool)
    is_open[open_end] = True
    from_ball = np.repeat(is_open, lengths)
    columns[~from_ball] = nearest[within & ~is_open[:, None]]
    columns[from_ball] = np.concatenate([*sets, []]).astype(np.intp)
    return csr_array((np.ones(len(columns)), columns, starts), shape=(len(queries), n))


def distinct_rows(X: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return distinct rows and the position of each row among them."""
    points, index = np.unique(X, axis=0, return_inverse=True)
    return points, index.reshape(-1)


def require_rows(available: int, arm: int, n_neighbors: int, what: str) -> None:
    """Refuse an arm of too few rows."""
    if available < n_neighbors:
        raise ValueError(
            f"arm {arm} offers {max(available, 0)} {what} for "
            f"n_neighbors={n_neighbors}: use fewer neighbors or more rows."
        )


def check_rows(
    X: FloatArray, y: FloatArray, codes: IntArray, n_neighbors: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return the arrays with their shapes and values checked."""
    X, y, codes = np.asarray(X, float), np.asarray(y, float), np.asarray(codes)
    if X.ndim != 2 or y.shape != (len(X),) or codes.shape != y.shape:
        raise ValueError(
            f"X, y and codes have shapes {X.shape}, {y.shape} and {codes.shape}: pass "
            "(n, d), (n,) and (n,)."
        )
    if not (np.all(np.isfinite(X)) and np.all(np.isfinite(y[codes >= 0]))):
        raise ValueError("X or y contains NaN or infinity: remove those rows.")
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors must be 1 at least, got {n_neighbors}.")
    return X, y, codes
