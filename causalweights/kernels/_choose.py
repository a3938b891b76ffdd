"""Which rows to take as landmarks of Nystrom's approximation."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray, IntArray
from causalweights.kernels._families import Kernel
from causalweights.kernels._low_rank import pivoted_cholesky
from causalweights.kernels._operator import GramOperator, as_points

Chooser = Literal["pivoted", "kmeans++", "leverage", "uniform"]


def choose_landmarks(
    kernel: Kernel,
    X: ArrayLike,
    rank: int,
    *,
    method: Chooser = "pivoted",
    sample: int = 20_000,
    random_state: Any = None,
) -> IntArray:
    """Return rows of X to take as landmarks.

    Only a sample of the rows is looked at: time O(sample rank (d + rank)), memory
    O(sample rank), however many rows there are (beyond a check of X).

    Parameters
    ----------
    kernel : Kernel
        A bandwidth ``"median"`` is resolved on the sample.
    X : array-like of shape (n, d)
    rank : int
        Landmarks to choose, at least 1. Fewer come back where there are fewer rows,
        or, with the first two methods, fewer that differ by more than rounding.
    method : {"pivoted", "kmeans++", "leverage", "uniform"}, default="pivoted"
        ``"pivoted"``: the pivots of a randomly pivoted Cholesky, in their order.
        ``"kmeans++"``: each in proportion to its squared distance, in the kernel's
        feature space, from the nearest one before it. ``"leverage"``: in proportion
        to ridge leverage scores ``(K (K + c I)^{-1})_ii``, without replacement, from
        a pilot factor of ``rank`` columns; c is that factor's residual trace over
        ``rank``. ``"uniform"``: at random.
    sample : int, default=20_000
        Rows drawn without replacement to choose from, at least ``rank``.
    random_state : int, RandomState or None, default=None
        None is seed 0, so that a refit is identical.

    Returns
    -------
    ndarray of int of shape (at most rank,)

    Raises
    ------
    ValueError
        Where an option is none of the above.

    References
    ----------
    Arthur & Vassilvitskii (2007), SODA (kmeans++); Musco & Musco (2017), Advances in
    Neural Information Processing Systems 30 (leverage); Chen, Epperly, Tropp & Webber
    (2022), arXiv:2207.06503 (pivoted).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian, choose_landmarks
    >>> X = np.array([[0.0], [0.0], [5.0], [5.0], [9.0]])
    >>> rows = choose_landmarks(Gaussian(bandwidth=1.0), X, 3)
    >>> np.sort(X[rows, 0])
    array([0., 5., 9.])
    """
    X = as_points(X)
    if method not in get_args(Chooser):
        raise ValueError(f"method must be one of {get_args(Chooser)}, got {method!r}.")
    if rank != int(rank) or rank < 1:
        raise ValueError(f"rank must be an integer >= 1, got {rank!r}.")
    if sample < rank:
        raise ValueError(
            f"sample={sample!r} rows cannot hold rank={rank} landmarks: let sample be "
            "at least rank, and better ten times that."
        )
    rng = check_random_state(0 if random_state is None else random_state)
    rank, n = int(rank), len(X)
    if method == "uniform":
        return rng.choice(n, min(rank, n), replace=False)
    rows = np.arange(n)
    if n > sample:
        rows = np.sort(rng.choice(n, int(sample), replace=False))
    operator = kernel.operator(X[rows])
    chosen = _CHOOSERS[method](operator, rank, rng)
    return rows[chosen]


def _pivots(operator: GramOperator, rank: int, rng: np.random.RandomState) -> IntArray:
    return pivoted_cholesky(
        operator, 0.0, rank, method="random", random_state=rng
    ).pivots


def _spread(operator: GramOperator, rank: int, rng: np.random.RandomState) -> IntArray:
    """Draw rows one by one in proportion to squared distances in feature space."""
    diagonal = operator.diagonal()
    floor = 32 * float(np.finfo(operator.dtype).eps) * diagonal.max(initial=0.0)
    chosen = [int(rng.randint(len(diagonal)))]
    nearest = np.full(len(diagonal), np.inf)
    while len(chosen) < rank:
        last = chosen[-1]
        squared = diagonal + diagonal[last] - 2.0 * operator.block([last], None)[0]
        squared[squared <= floor] = 0.0  # a copy, up to rounding
        squared[last] = 0.0
        np.minimum(nearest, squared, out=nearest)
        chance = np.cumsum(nearest)
        if chance[-1] <= 0.0:
            break
        drawn = np.searchsorted(chance, rng.uniform() * chance[-1], side="right")
        # A draw that rounds up to the whole sum is the last row with a chance.
        chosen.append(min(int(drawn), int(np.searchsorted(chance, chance[-1]))))
    return np.array(chosen, dtype=np.intp)


def _by_leverage(
    operator: GramOperator, rank: int, rng: np.random.RandomState
) -> IntArray:
    scores = ridge_leverage(operator, rank, rng)
    rank = min(rank, int(np.count_nonzero(scores)))
    if rank == 0:
        return np.zeros(0, dtype=np.intp)
    return rng.choice(len(scores), rank, replace=False, p=scores / scores.sum())


def ridge_leverage(
    operator: GramOperator, rank: int, rng: np.random.RandomState
) -> FloatArray:
    """Return ridge leverage scores (n,) of K, taken as a factor plus a diagonal."""
    low = pivoted_cholesky(operator, 0.0, rank, method="random", random_state=rng)
    L, residual = low.factor, low.residual
    floor = float(np.finfo(np.float64).eps) * max(operator.diagonal().sum(), 0.0)
    ridge = max(float(residual.sum()) / rank, floor)
    if ridge == 0.0:  # K is zero
        return np.zeros(len(L))
    values, vectors = np.linalg.eigh(L.T @ L)
    values = np.maximum(values, 0.0)
    projected = np.square(L @ vectors) / (values + ridge)
    return projected.sum(axis=1) + residual / (residual + ridge)


_CHOOSERS = {"pivoted": _pivots, "kmeans++": _spread, "leverage": _by_leverage}
