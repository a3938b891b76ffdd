"""Whether weights exist that make all moments vanish: whether zero is in their hull."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from causalweights._typing import FloatArray


def hull_depth(M: FloatArray, w: FloatArray) -> float:
    """Return the largest t such that weights p >= t w with sum one have M'p = 0.

    Positive: zero is inside the convex hull of the rows of M. Zero: on its boundary,
    where only weights with zeros do. Negative or -inf: outside, so that no weights
    satisfy the moments and the dual of `inner_dual` is unbounded. One linear program
    in N variables.

    Parameters
    ----------
    M : ndarray of shape (N, q)
        Moments of each row.
    w : ndarray of shape (N,)
        Positive reference weights, sum one.

    Returns
    -------
    float
        At most 1, reached where w itself satisfies the moments.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments._hull import hull_depth
    >>> hull_depth(np.array([[-1.0], [1.0], [3.0]]), np.full(3, 1 / 3)) > 0
    True
    >>> hull_depth(np.array([[1.0], [2.0]]), np.full(2, 1 / 2)) < 0
    True
    """
    scale = np.max(np.abs(M), axis=0)
    unit = M / np.where(scale > 0, scale, 1.0)
    # p = t w + r with r >= 0, so that sum r = 1 - t.
    constraints = np.vstack([unit.T, np.ones(len(M))])
    shares = np.concatenate([unit.T @ w, [1.0]])
    found = linprog(
        np.concatenate([np.zeros(len(M)), [-1.0]]),
        A_eq=np.column_stack([constraints, shares]),
        b_eq=np.concatenate([np.zeros(M.shape[1]), [1.0]]),
        bounds=[(0, None)] * len(M) + [(None, 1.0)],
        method="highs",
    )
    return float(found.x[-1]) if found.status == 0 else -np.inf


def separates(heights: FloatArray) -> bool:
    """Return whether a direction has all rows strictly on one side, beyond rounding.

    ``heights`` (N,) are the rows' inner products with the direction. One that
    separates proves that zero is outside the hull, without a linear program.
    """
    return bool(np.min(heights) > 1e-12 * np.max(np.abs(heights)))
