"""Maximum mean discrepancy and energy distance of weighted samples, streamed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights._typing import FloatArray
from causalweights._validation import check_sample_weight
from causalweights.kernels import Energy, Kernel

# A square below this many rounding units of the terms it is the difference of is zero.
_ROUNDING_UNITS = 100


def squared_mmd(
    kernel: Kernel,
    X: ArrayLike,
    Y: ArrayLike,
    *,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
) -> float:
    """Return the squared maximum mean discrepancy of two weighted samples.

    The V-statistic (biased, never negative): with weights a and b of sum one,
    ``sum a_i a_j k(x_i, x_j) + sum b_i b_j k(y_i, y_j) - 2 sum a_i b_j k(x_i, y_j)``.
    For samples without weights its expectation exceeds the squared discrepancy of the
    two distributions by a term of order 1/n + 1/m.

    Parameters
    ----------
    kernel : Kernel
        A bandwidth rule takes its value from the rows of X and Y together, also those
        of weight zero: weights do not change the kernel.
    X : array-like of shape (n, d)
        First sample. The function does not standardise.
    Y : array-like of shape (m, d)
        Second sample.
    x_weights, y_weights : array-like of shape (n,), (m,) or None, default=None
        Non-negative weights, normalised to sum one; None is equal weights.

    Returns
    -------
    float
        Negative values of rounding size are set to zero.

    See Also
    --------
    mmd_matrix : All pairs of samples that differ in their weights only.
    energy_distance : Twice this for the distance-induced kernel.

    Notes
    -----
    Time O((n^2 + n m + m^2) d) over the rows of positive weight, memory O((n + m) d):
    the Gram matrices are never formed.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf & Smola (2012), Journal of Machine Learning
    Research 13, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.discrepancy import squared_mmd
    >>> from causalweights.kernels import Linear
    >>> X, Y = np.array([[0.0], [2.0]]), np.array([[3.0]])
    >>> squared_mmd(Linear(), X, Y)  # the squared difference of the means, 1 and 3
    4.0
    >>> squared_mmd(Linear(), X, Y, x_weights=[1, 3])
    2.25
    """
    X, Y, a, b = two_samples(X, Y, x_weights, y_weights)
    kernel = kernel.resolve(np.vstack([X, Y]))
    X, a = X[a > 0], a[a > 0]
    Y, b = Y[b > 0], b[b > 0]
    within_x = kernel.operator(X).quadratic_form(a)
    within_y = kernel.operator(Y).quadratic_form(b)
    between = kernel.operator(X, Y).quadratic_form(a, b)
    value = within_x + within_y - 2 * between
    return float(_without_rounding(value, within_x + within_y, X.dtype))


def energy_distance(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
) -> float:
    """Return the energy distance of two weighted samples.

    ``2 E|x - y| - E|x - x'| - E|y - y'|`` with Euclidean distances, the expectations
    over the weighted samples (pairs of a row with itself included). Zero exactly where
    the two weighted samples are the same distribution; no bandwidth to choose.

    Parameters
    ----------
    X : array-like of shape (n, d)
        First sample. The function does not standardise.
    Y : array-like of shape (m, d)
        Second sample.
    x_weights, y_weights : array-like of shape (n,), (m,) or None, default=None
        Non-negative weights, normalised to sum one; None is equal weights.

    Returns
    -------
    float
        In the units of X. ``scipy.stats.energy_distance`` (one column) is its square
        root.

    Notes
    -----
    Twice the squared maximum mean discrepancy of `causalweights.kernels.Energy`,
    whatever its origin. The origin here is the mean of the rows: terms far larger than
    their difference would lose its digits.

    References
    ----------
    Székely & Rizzo (2013), Journal of Statistical Planning and Inference 143;
    Sejdinovic, Sriperumbudur, Gretton & Fukumizu (2013), Annals of Statistics 41.

    Examples
    --------
    >>> from causalweights.discrepancy import energy_distance
    >>> energy_distance([[0.0], [1.0]], [[1.0]])  # 2 (1/2) - 1/2 - 0
    0.5
    >>> energy_distance([[0.0], [1.0]], [[1.0]], x_weights=[0, 1])
    0.0
    """
    X, Y = _points(X, "X"), _points(Y, "Y")
    origin = (len(X) * _center(X) + len(Y) * _center(Y)) / (len(X) + len(Y))
    kernel = Energy(origin=tuple(origin))
    return 2 * squared_mmd(kernel, X, Y, x_weights=x_weights, y_weights=y_weights)


def mmd_matrix(
    kernel: Kernel,
    X: ArrayLike,
    masses: ArrayLike,
    *,
    n_threads: int | None = None,
) -> FloatArray:
    """Return the squared discrepancies between all pairs of weightings of one sample.

    One pass over the Gram matrix serves all pairs: the arms of a treatment before and
    after weighting and their target are columns of weights on the same rows.

    Parameters
    ----------
    kernel : Kernel
        A bandwidth rule takes its value from X.
    X : array-like of shape (n, d)
        Rows.
    masses : array-like of shape (n, G)
        One weighting a column, non-negative, normalised to sum one; zero outside the
        rows of that sample.
    n_threads : int or None, default=None
        Threads of the Gram operator.

    Returns
    -------
    ndarray of shape (G, G)
        Squared maximum mean discrepancies; symmetric with zeros on the diagonal.

    Notes
    -----
    Time O(n^2 (d + G)) over the rows with some mass, memory O(n (d + G)).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.discrepancy import mmd_matrix
    >>> from causalweights.kernels import Linear
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> mmd_matrix(Linear(), X, np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1]]))
    array([[0.  , 6.25, 1.  ],
           [6.25, 0.  , 2.25],
           [1.  , 2.25, 0.  ]])
    """
    X = _points(X, "X")
    masses = np.asarray(masses, dtype=np.float64)
    if masses.ndim != 2:
        raise ValueError(
            f"masses must hold one weighting a column, got shape {masses.shape}."
        )
    columns = [_shares(m, len(X), "masses") for m in masses.T]
    shares = np.column_stack(columns)
    kernel = kernel.resolve(X)
    used = shares.any(axis=1)
    X, shares = X[used], shares[used]
    products = kernel.operator(X, n_threads=n_threads).matvec(shares)
    return squares_of(shares, products, X.dtype)


def squares_of(shares: FloatArray, products: FloatArray, dtype: Any) -> FloatArray:
    """Return the table of `mmd_matrix` from shares S (n, G) and the products K S.

    ``dtype`` is the precision of the products.
    """
    inner = shares.T @ products
    inner = (inner + inner.T) / 2
    own = inner.diagonal()
    size = own[:, None] + own[None, :]
    squares = _without_rounding(size - 2 * inner, size, np.dtype(dtype))
    np.fill_diagonal(squares, 0.0)
    return squares


def two_samples(
    X: ArrayLike,
    Y: ArrayLike,
    x_weights: ArrayLike | None,
    y_weights: ArrayLike | None,
) -> tuple[np.ndarray, np.ndarray, FloatArray, FloatArray]:
    """Return two finite samples of the same columns and their shares of sum one."""
    X, Y = _points(X, "X"), _points(Y, "Y")
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} columns and Y has {Y.shape[1]}: both samples must "
            "hold the same covariates."
        )
    a = _shares(x_weights, len(X), "x_weights")
    b = _shares(y_weights, len(Y), "y_weights")
    return X, Y, a, b


def _points(X: ArrayLike, name: str) -> np.ndarray:
    """Return a finite float32 or float64 matrix with at least one row."""
    X = np.asarray(X)
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if X.ndim != 2 or X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(f"{name} must be a matrix with rows, got shape {X.shape}.")
    if not np.all(np.isfinite(X)):
        raise ValueError(f"{name} contains NaN or infinity.")
    return X


def _shares(weights: ArrayLike | None, n: int, name: str) -> FloatArray:
    """Return the weights normalised to sum one; name them where they are bad."""
    try:
        checked = check_sample_weight(weights, n)
    except ValueError as error:
        raise ValueError(str(error).replace("sample_weight", name)) from None
    return checked / checked.sum()


def _center(X: np.ndarray) -> FloatArray:
    return X.mean(axis=0, dtype=np.float64)


def _without_rounding(value, size, dtype: np.dtype) -> np.ndarray:
    """Set negative values of rounding size to zero; larger ones are real: keep them."""
    tiny = _ROUNDING_UNITS * np.finfo(dtype).eps * np.abs(size)
    return np.where((value < 0) & (value >= -tiny), 0.0, value)
