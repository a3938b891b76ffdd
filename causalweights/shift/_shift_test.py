"""Is there a shift at all: a permutation test by maximum mean discrepancy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from causalweights._blas import single_blas_thread
from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray
from causalweights.discrepancy._mmd import two_samples
from causalweights.kernels import GramOperator, Kernel
from causalweights.shift._bandwidth import pooled_kernel
from causalweights.shift._matching import DENSE_ROWS

# Permutations whose weights are in memory at a time, in each job.
BLOCK = 64
# Statistics that differ by less, relative to the largest, are ties.
TIES = 1e-10
RANK = 400


@dataclass(frozen=True, slots=True, eq=False)
class ShiftTest:
    """Result of `shift_test`.

    Attributes
    ----------
    mmd2 : float
        Squared maximum mean discrepancy of the two samples (V-statistic).
    p_value : float
        (1 + number of permutations with at least this discrepancy) over (1 + number of
        permutations): valid in finite samples.
    permuted : ndarray of shape (n_permutations,)
        Discrepancies under permuted labels.
    kernel : Kernel
        With its bandwidth.
    rank : int or None
        Columns of the factor that stood for the Gram matrix, None where that was
        formed. The p-value is then that of the factor's kernel, and as valid.
    """

    mmd2: float
    p_value: float
    permuted: FloatArray
    kernel: Kernel
    rank: int | None


def shift_test(
    X: ArrayLike,
    X_target: ArrayLike,
    *,
    kernel: str | Kernel = "gaussian",
    bandwidth: float | str = "median",
    standardize: bool = False,
    n_permutations: int = 999,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> ShiftTest:
    """Test whether two samples come from one distribution.

    Under the hypothesis the labels source and target are exchangeable: the discrepancy
    is compared with those under permuted labels. A large p-value says that there is
    nothing to adapt to; a small one does not say that adapting helps.

    Parameters
    ----------
    X, X_target : array-like of shape (n, d), (t, d)
        Finite covariates of unweighted rows.
    kernel, bandwidth, standardize :
        As in `DoubleKernelMeanMatching`. The median bandwidth is the default here: it
        sees shifts of location and scale better than a local one.
    n_permutations : int, default=999
    random_state : int, RandomState instance or None, default=None
        None is seed 0.
    n_jobs : int or None, default=None
        Blocks of permutations at a time, in threads; the result does not depend on it.

    Returns
    -------
    ShiftTest

    Raises
    ------
    ValueError
        For NaN, empty samples, different columns and fewer than one permutation.

    Notes
    -----
    Kernel values are computed once. Up to 4000 rows of both samples N the Gram matrix
    is formed: time O(N^2 (d + n_permutations)), memory 8 N^2 bytes. Above, a factor of
    at most 400 columns takes its place: O(N 400 n_permutations) and 8 N 400 bytes.

    References
    ----------
    .. [1] Gretton, Borgwardt, Rasch, Schölkopf & Smola (2012). A kernel two-sample
       test. Journal of Machine Learning Research 13.
    .. [2] Phipson & Smyth (2010). Permutation p-values should never be zero.
       Statistical Applications in Genetics and Molecular Biology 9(1).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift import shift_test
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(80, 2)), rng.normal(size=(60, 2))
    >>> shift_test(X, X_target).p_value > 0.05, shift_test(X, X_target + 1).p_value
    (True, 0.001)
    """
    X, X_target, _, _ = two_samples(X, X_target, None, None)
    if n_permutations != int(n_permutations) or n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1, got {n_permutations!r}.")
    pooled: FloatArray = np.vstack([X, X_target]).astype(np.float64)
    if standardize:
        pooled = fit_scaling(pooled).transform(pooled)
    kernel = pooled_kernel(kernel, bandwidth, pooled, random_state)
    square, rank = _quadratic_form(kernel.operator(pooled))
    weights = np.repeat([1.0 / len(X), -1.0 / len(X_target)], [len(X), len(X_target)])
    rng = check_random_state(0 if random_state is None else random_state)
    starts = range(0, int(n_permutations), BLOCK)
    seeds = rng.randint(np.iinfo(np.int32).max, size=len(starts))

    def permuted(start: int, seed: int) -> FloatArray:
        draws = np.random.RandomState(seed)
        count = min(BLOCK, int(n_permutations) - start)
        return square(np.stack([draws.permutation(weights) for _ in range(count)], 1))

    with single_blas_thread:
        observed = float(square(weights[:, None])[0])
        blocks = Parallel(n_jobs, prefer="threads")(
            delayed(permuted)(start, seed) for start, seed in zip(starts, seeds)
        )
    values = np.concatenate(blocks)
    slack = TIES * max(observed, float(values.max()))
    as_large = int(np.sum(values >= observed - slack))
    p_value = (1 + as_large) / (1 + len(values))
    return ShiftTest(max(observed, 0.0), p_value, values, kernel, rank)


def _quadratic_form(operator: GramOperator) -> tuple[Any, int | None]:
    """Return V -> diag(V'KV) for V (N, m), with the rank of the factor in K's place."""
    if operator.shape[0] <= DENSE_ROWS:
        K = operator.dense()
        return lambda V: np.einsum("ij,ij->j", V, K @ V), None
    L = operator.low_rank(rank=RANK).factor
    return lambda V: np.square(L.T @ V).sum(axis=0), L.shape[1]
