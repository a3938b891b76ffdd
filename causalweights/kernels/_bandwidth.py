"""The median-distance rule for bandwidths."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist
from sklearn.utils import check_random_state

EXACT_ROWS = 5000
SAMPLED_ROWS = 2000


def median_distance(
    X: ArrayLike,
    metric: str = "sqeuclidean",
    *,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Return the median distance over the pairs i < j of the rows of X.

    Exact up to 5000 rows (O(n^2 d) time, 8 n^2/2 bytes); above, over the pairs of
    2000 rows drawn without replacement. With ``random_state=None`` the draw uses seed
    0, so that a refit is identical.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Finite values, n >= 2.
    metric : {"sqeuclidean", "euclidean", "cityblock"}, default="sqeuclidean"
        Distance between rows.
    random_state : int, RandomState or None, default=None
        Seed of the draw above 5000 rows.

    Returns
    -------
    float
        The median; the mean of the positive distances where more than half of the
        pairs coincide, and 1.0 where all do.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import median_distance
    >>> median_distance(np.array([[0.0], [1.0], [3.0]]), "euclidean")
    2.0
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[0] < 2:
        raise ValueError(
            "median_distance needs a two-dimensional X with at least two rows, got "
            f"shape {X.shape}."
        )
    if X.shape[0] > EXACT_ROWS:
        rng = check_random_state(0 if random_state is None else random_state)
        X = X[rng.choice(X.shape[0], SAMPLED_ROWS, replace=False)]
    distances = pdist(X, metric=metric)
    median = float(np.median(distances))
    if median > 0:
        return median
    positive = distances[distances > 0]
    return float(positive.mean()) if positive.size else 1.0
