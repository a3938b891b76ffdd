"""The kernel of two samples, its bandwidth from the pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.kernels import Gaussian, Kernel

# "50nn": the bandwidth is the mean distance to this other row.
NEIGHBOR = 50
# Above this many rows, distances from as many drawn ones.
EXACT_ROWS = 20_000


def neighbor_distance(
    X: FloatArray, neighbor: int = NEIGHBOR, *, random_state: Any = None
) -> float:
    """Return the mean distance of the rows to their k-th nearest other row.

    The rule of Segovia-Martin, Mazuelas & Liu (2023), who count the row itself: their
    50th is the 49th other. A row's copies are other rows. Where there are at most k
    other rows the farthest is meant. Where more than half of the distances are zero,
    the positive ones are averaged; where all are, the root of the summed variances of
    the columns takes their place, and 1.0 where all rows coincide.

    Parameters
    ----------
    X : ndarray of shape (N, d)
        At least two rows: source and target together.
    neighbor : int, default=50
        k.
    random_state : int, RandomState or None, default=None
        Draws the rows whose distances are averaged, where there are more than 20,000;
        None is seed 0.

    Returns
    -------
    float

    Notes
    -----
    k-d tree up to 15 columns, else all distances block by block: O(N^2 d) time, O(N k)
    memory.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._bandwidth import neighbor_distance
    >>> neighbor_distance(np.array([[0.0], [1.0], [3.0]]), 1)
    1.33
    """
    # Imported here: half a second that nobody else need wait for.
    from sklearn.neighbors import NearestNeighbors

    n = len(X)
    k = min(neighbor, n - 1)
    index = NearestNeighbors(n_neighbors=k).fit(X)
    if n <= EXACT_ROWS:
        distances = index.kneighbors()[0][:, k - 1]
    else:
        rng = check_random_state(0 if random_state is None else random_state)
        rows = X[rng.choice(n, EXACT_ROWS, replace=False)]
        # The row itself is the first, or a copy of it is.
        distances = index.kneighbors(rows, k + 1)[0][:, k]
    return _typical(distances, X)


def _typical(distances: FloatArray, X: FloatArray) -> float:
    positive = distances[distances > 0]
    if 2 * positive.size > distances.size:
        return float(distances.mean())
    if positive.size:
        return float(positive.mean())
    spread = float(np.linalg.norm(X.std(axis=0)))
    return spread if spread > 0 else 1.0


def pooled_kernel(
    kernel: Kernel | str, bandwidth: float | str, X: FloatArray, random_state: Any
) -> Kernel:
    """Return the kernel with its bandwidth fixed on the pooled rows X (N, d).

    ``"gaussian"`` with the bandwidth ``"50nn"``, ``"median"`` or a number; a kernel
    object brings its own.
    """
    if isinstance(kernel, Kernel):
        return kernel.resolve(X, random_state=random_state)
    if kernel != "gaussian":
        raise ValueError(
            f"kernel={kernel!r}: give 'gaussian', or a kernel object such as "
            "kernels.Laplace(2.0)."
        )
    if bandwidth == "50nn":
        bandwidth = neighbor_distance(X, random_state=random_state)
    return Gaussian(bandwidth).resolve(X, random_state=random_state)
