"""The median-distance rule for bandwidths."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from causalweights._numba import _gram, _pairs
from causalweights._numba._strips import ABSOLUTE, SQUARED
from causalweights._threads import run_pieces
from causalweights.kernels._points import as_points, pack_columns, pack_rows

EXACT_ROWS = 5000
SAMPLED_ROWS = 2000
# Of the work: each has a histogram of 1 MB.
PIECES = 8
_METRICS = {"sqeuclidean": SQUARED, "euclidean": SQUARED, "cityblock": ABSOLUTE}


def median_distance(
    X: ArrayLike,
    metric: str = "sqeuclidean",
    *,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Return the median distance over the pairs i < j of the rows of X.

    Exact up to 5000 rows; above, over the pairs of 2000 rows drawn without replacement.
    With ``random_state=None`` the draw uses seed 0, so that a refit is identical. Time
    O(n^2 d). Pairs are sorted into bins first and only those of the median's bin are
    kept, some tenth of them.

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
    if metric not in _METRICS:
        raise ValueError(f"metric must be one of {sorted(_METRICS)}, got {metric!r}.")
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[0] < 2:
        raise ValueError(
            "median_distance needs a two-dimensional X with at least two rows, got "
            f"shape {X.shape}."
        )
    if X.shape[0] > EXACT_ROWS:
        rng = check_random_state(0 if random_state is None else random_state)
        X = X[rng.choice(X.shape[0], SAMPLED_ROWS, replace=False)]
    pairs = _Pairs(as_points(X), _METRICS[metric])
    middle = pairs.median_pair()
    if metric == "euclidean":
        middle = np.sqrt(middle)
    if middle.mean() > 0:
        return float(middle.mean())
    distances = pairs.kept(0, _pairs.BINS - 1)
    positive = distances[distances > 0]
    if metric == "euclidean":
        positive = np.sqrt(positive)
    return float(positive.mean()) if positive.size else 1.0


class _Pairs:
    """Distances of the pairs i < j of some rows, computed again at each look."""

    def __init__(self, X: np.ndarray, kind: int) -> None:
        self.n, self.kind = len(X), kind
        self.pieces = min(PIECES, -(-self.n // _gram.ROWS))
        nothing = np.zeros(1)
        rows, panel = pack_rows(X), pack_columns(X)
        self._points = _gram.Points(
            X.shape[1], 0, 0, 0, rows, panel, nothing, nothing, nothing, nothing
        )
        program = _gram.Program(0, nothing, nothing, nothing, nothing)
        self._table = _gram.table(program, self._points)
        self.counts = np.zeros((self.pieces, 4, _pairs.BINS), np.int64)
        self._visit(-1, 0, [np.empty(1)] * self.pieces)

    def _visit(self, first: int, last: int, kept: list[np.ndarray]) -> None:
        run_pieces(
            self.pieces,
            lambda p: _pairs.visit_pairs(
                self._table, self.kind, p, self.pieces, self.n, first, last,
                self.counts[p], kept[p],
            ),
            values=self.n * self.n,
            n_threads=None,
        )  # fmt: skip

    def kept(self, first: int, last: int) -> np.ndarray:
        """Return the distances in some bins, unordered."""
        sizes = self.counts[:, :, first : last + 1].sum(axis=(1, 2))
        kept = [np.empty(size + 1) for size in sizes]
        self._visit(first, last, kept)
        return np.concatenate([part[:-1] for part in kept])

    def median_pair(self) -> np.ndarray:
        """Return the two middle distances; they coincide for an odd number."""
        below = np.cumsum(self.counts.sum(axis=(0, 1)))
        ranks = np.array([(below[-1] - 1) // 2, below[-1] // 2])
        first, last = np.searchsorted(below, ranks, side="right")
        ranks -= below[first - 1] if first else 0
        return np.partition(self.kept(int(first), int(last)), ranks)[ranks]
