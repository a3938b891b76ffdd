"""The programs of a matching weighter's options: its own, and those of other D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from causalweights._typing import FloatArray
from causalweights.shift._bandwidth import pooled_kernel
from causalweights.shift._matching import D_GRID, MatchingProblem
from causalweights.shift._samples import Samples, check_samples
from causalweights.shift._solution import WeightPath


def matching_problem(
    weighter: Any, samples: Samples, source: FloatArray, target: FloatArray
) -> MatchingProblem:
    """Return the program of a weighter's options; rows in the kernel's scale."""
    kernel = pooled_kernel(
        weighter.kernel, weighter.bandwidth, np.vstack([source, target]),
        weighter.random_state,
    )  # fmt: skip
    return MatchingProblem(
        source, target, kernel, source_weight=samples.source_weight,
        target_weight=samples.target_weight, weight_type=weighter.weight_type,
        solver=weighter.solver, rank=weighter.rank,
        random_state=weighter.random_state, n_threads=weighter.n_jobs,
    )  # fmt: skip


def weight_path(
    weighter: Any,
    X: Any,
    *,
    D: Sequence[float] = D_GRID,
    X_target: Any = None,
    sample_domain: Any = None,
    sample_weight: Any = None,
) -> WeightPath:
    """Return the weights for several D, with the options of a weighter.

    With D the discrepancy falls and the effective size of the source rises, at the
    price of target mass. With a ridge the path ends where the ball around alpha = 1
    stops binding.

    Parameters
    ----------
    weighter : DoubleKernelMeanMatching
        Not changed; its D does not matter.
    X, X_target, sample_domain, sample_weight :
        As in its ``fit``. The solutions have no rows of sample weight zero.
    D : sequence of float, default=1, 1.23, 1.56, 2.04, 2.78, 4, 6.25, 11.1, 25, 100
        At least 1; inf is the robust program.

    Returns
    -------
    WeightPath

    Raises
    ------
    ValueError
        As ``fit``.

    Notes
    -----
    One Gram matrix or factor serves all; after the first, a D takes about three linear
    systems.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import DoubleKernelMeanMatching
    >>> from causalweights.shift import weight_path
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 1.0, size=(150, 1))
    >>> path = weight_path(DoubleKernelMeanMatching(), X, X_target=X_target)
    >>> round(path.first_inactive, 2), path.n_solved
    (2.78, 5)
    """
    fresh = clone(weighter)
    fresh._validate_params()
    samples = check_samples(fresh, X, X_target, sample_domain, sample_weight)
    source, target = fresh._both(samples)
    problem = matching_problem(fresh, samples, source, target)
    return problem.path(D, fresh.B, fresh.kappa, tol=fresh.tol)
