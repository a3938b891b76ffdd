"""Double-weighting kernel mean matching (Segovia-Martin, Mazuelas & Liu 2023)."""

from __future__ import annotations

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, Options, StrOptions

from causalweights._typing import FloatArray
from causalweights.kernels import Kernel
from causalweights.shift._matching import AT_BOUND
from causalweights.shift._matching_fit import matching_problem
from causalweights.shift._samples import Samples
from causalweights.shift._weighter import _BaseShiftWeighter

_POSITIVE = Interval(Real, 0, None, closed="neither")
_KERNEL_CONSTRAINTS: dict = {
    "kappa": [Interval(Real, 0, None, closed="left")],
    "B": [_POSITIVE],
    "kernel": [StrOptions({"gaussian"}), Kernel],
    "bandwidth": [StrOptions({"50nn", "median"}), _POSITIVE],
    "standardize": ["boolean"],
    "weight_type": [StrOptions({"sampling", "frequency"})],
    "solver": [StrOptions({"auto", "dense", "low_rank"})],
    "rank": [Interval(Integral, 1, None, closed="left")],
    "tol": [_POSITIVE],
    "random_state": ["random_state"],
    "n_jobs": [None, Integral],
}
_D_RANGE = [Interval(Real, 1, None, closed="left"), Options(Real, {np.inf})]


class _MatchingWeighter(_BaseShiftWeighter):
    """Fit of both weighters; a subclass has ``D`` as parameter or constant."""

    D: float

    def _weigh(
        self, samples: Samples, source: FloatArray, target: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        problem = matching_problem(self, samples, source, target)
        found = problem.solve(self.D, self.B, self.kappa, tol=self.tol)
        self.kernel_ = problem.kernel
        self.bandwidth_ = getattr(problem.kernel, "bandwidth", None)
        self.objective_, self.mmd2_ = found.objective, found.mmd2
        self.mmd2_before_ = problem.mmd2_before()
        self.gap_, self.relative_gap_ = found.gap, found.relative_gap
        self.ball_active_, self.cap_active_ = found.ball_active, found.cap_active
        self.n_iter_, self.converged_ = found.n_iter, found.converged
        self._functions = problem.functions(found)
        if found.cap_active:
            at_cap = int(np.sum(found.beta >= found.cap * (1.0 - AT_BOUND)))
            warnings.warn(
                f"{at_cap} source weights are at their bound B / sqrt(D) = "
                f"{found.cap:g}. Raise B, unless that bound is meant.",
                UserWarning,
                stacklevel=5,
            )
        if not found.converged:
            warnings.warn(
                f"the weights are not optimal to tol={self.tol:g}: the relative gap is "
                f"{found.relative_gap:.2g}. Raise tol, kappa or rank.",
                ConvergenceWarning,
                stacklevel=5,
            )
        return found.beta, found.alpha

    def _source_function(self, Z: FloatArray) -> FloatArray:
        return self._functions.source(Z, self.n_jobs)

    def _target_function(self, Z: FloatArray) -> FloatArray:
        return self._functions.target(Z, self.n_jobs)


class DoubleKernelMeanMatching(_MatchingWeighter):
    """Weights of source and target rows under which the two samples agree.

    Kernel mean matching gives every source row the weight that the target's density
    over the source's would; where target rows lie beyond the source's reach, few rows
    then carry everything. Double weighting lets such target rows lose weight: with beta
    on source and alpha on target rows, ``beta p_source = alpha p_target`` has solutions
    with bounded beta. The weights solve, with K the Gram matrix of both samples and v =
    (beta / n, -alpha / t)::

        minimise    v'Kv + kappa (|beta - 1|^2 / n + |alpha - 1|^2 / t)
        subject to  0 <= beta <= B / sqrt(D),  0 <= alpha <= 1,
                    |mean beta - mean alpha| <= 1 - 1 / sqrt(n),
                    |alpha - 1| <= (1 - 1 / sqrt(D)) sqrt(t),

    exactly, with a duality gap. Fit a learner with ``sample_weight=beta_``, e.g. by
    `ShiftWeightedEstimator`: it is then for the target as far as the source reaches.

    Parameters
    ----------
    D : float >= 1 or inf, default=4.0
        How far alpha may leave one. 1: not at all, which is `KernelMeanMatching`. inf:
        the robust program, beta = 1 and only alpha free. With a ridge the ball around
        alpha = 1 stops binding at some D (``ball_active_``), beyond which nothing
        changes; see `weight_path`.
    kappa : float, default=1e-3
        Ridge, not in the paper: without it (0) many weights reach the minimum to
        rounding, solvers differ in which they return, and effective sample sizes are
        small even without a shift (of those weights, 1e-9 picks the ones nearest to
        one). Larger values give smoother functions of the covariates: for weights of
        new rows 1e-2 is often better, by `score`.
    B : float, default=1000.0
        Bound on beta, times sqrt(D). The default is inactive in practice.
    kernel : "gaussian" or Kernel, default="gaussian"
        A kernel object brings its own bandwidth.
    bandwidth : {"50nn", "median"} or float, default="50nn"
        Of the Gaussian kernel exp(-|x - x'|^2 / (2 h^2)): the mean distance to the 50th
        nearest other row of both samples together; ``"median"`` sets 2 h^2 to the
        median squared distance.
    standardize : bool, default=False
        Divide centred columns by their standard deviations, both of the two samples
        together. Advised unless the columns share a unit: in a Pipeline a scaler before
        this estimator sees X, but X_target only through ``transform_input``.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Whether a sample weight is scale-free, or the number of rows that a row is.
    solver : {"auto", "dense", "low_rank"}, default="auto"
        ``"auto"`` forms the Gram matrix up to 4000 rows of both samples; above,
        low-rank models propose and products with the kernel decide.
    rank : int, default=400
        Of those models.
    tol : float, default=1e-8
        Relative gap that counts as converged; up to 4000 rows the solution is exact.
    random_state : int, RandomState instance or None, default=None
        Draws rows for the bandwidth above 20,000 (``"median"``: 5000) of them, and
        pivots. None is seed 0.
    n_jobs : int or None, default=None
        Threads of kernel evaluations.

    Attributes
    ----------
    beta_ : ndarray of shape (n,)
        Weights of the source rows, in their order. Their mean is near that of alpha,
        below one: scaling the two apart would break their balance.
    alpha_ : ndarray of shape (t,)
        Weights of the target rows.
    objective_, mmd2_ : float
        With and without the ridge.
    mmd2_before_ : float
        v'Kv of weights of one.
    gap_, relative_gap_ : float
        Duality gap: objective_ - minimum <= gap_; and its share of the gain on weights
        of one. Of the kernel itself for every solver.
    ess_source_, ess_target_ : float
        Kish's effective sample sizes.
    ball_active_, cap_active_ : bool
        Whether the bounds on alpha and on beta bind.
    kernel_, bandwidth_ : Kernel, and its bandwidth or None
    n_iter_, converged_ : int, bool
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    weight_path : The weights for several D.
    LogisticRatio, RuLSIF : Density ratios, with the same interface.

    Notes
    -----
    Assumes that the outcome given the covariates is the same in both populations.
    Means are weighted by sample weights throughout. Time O((n + t)^3), memory 2 (n +
    t)^2 numbers up to 4000 rows; see `MatchingProblem` above. `predict_weights` and
    `target_weights` follow from the conditions of optimality where kappa > 0, and equal
    ``beta_`` and ``alpha_`` on the rows of the fit; for kappa = 0 they are ratios of
    smoothed densities (clipped), and do not.

    Deviations from the paper: the ridge; the bandwidth counts other rows only (its
    50th neighbour is the row itself and 49 others); weights of new rows, for which it
    has no rule; D = inf, where it has none and a literal one would be all zeros.

    References
    ----------
    .. [1] Segovia-Martin, Mazuelas & Liu (2023). Double-weighting for covariate shift
       adaptation. ICML, PMLR 202, 30439-30457.
    .. [2] Huang, Smola, Gretton, Borgwardt & Schölkopf (2007). Correcting sample
       selection bias by unlabeled data. NeurIPS 19.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import DoubleKernelMeanMatching
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.5, 1.0, size=(150, 1))
    >>> weighter = DoubleKernelMeanMatching().fit(X, X_target=X_target)
    >>> weighter.mmd2_ < 0.01 * weighter.mmd2_before_
    True

    Target rows out of the source's reach lose weight:

    >>> weighter.target_weights([[0.0], [3.0]]).round(1)
    array([1., 0.])
    """

    _advice = "A larger D or kappa"

    _parameter_constraints: dict = {"D": _D_RANGE, **_KERNEL_CONSTRAINTS}

    def __init__(
        self,
        *,
        D=4.0,
        kappa=1e-3,
        B=1000.0,
        kernel="gaussian",
        bandwidth="50nn",
        standardize=False,
        weight_type="sampling",
        solver="auto",
        rank=400,
        tol=1e-8,
        random_state=None,
        n_jobs=None,
    ):
        self.D = D
        self.kappa = kappa
        self.B = B
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.standardize = standardize
        self.weight_type = weight_type
        self.solver = solver
        self.rank = rank
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs


class KernelMeanMatching(_MatchingWeighter):
    """Source weights under which the source sample agrees with the target sample.

    Kernel mean matching (Huang et al., 2007) with a ridge: `DoubleKernelMeanMatching`
    with ``D=1``, where all target rows keep weight one. Consistent for the density
    ratio where the source covers the target; where it does not, see ``ess_source_``.

    Parameters
    ----------
    kappa : float, default=1e-3
        Ridge. 0 is the original program, whose weights overfit: without a shift (n =
        300) they keep an eighth of the sample.
    B : float, default=1000.0
        Largest weight.
    kernel : "gaussian" or Kernel, default="gaussian"
    bandwidth : {"50nn", "median"} or float, default="50nn"
    standardize : bool, default=False
    weight_type : {"sampling", "frequency"}, default="sampling"
    solver : {"auto", "dense", "low_rank"}, default="auto"
    rank : int, default=400
    tol : float, default=1e-8
    random_state : int, RandomState instance or None, default=None
    n_jobs : int or None, default=None
        These nine as in `DoubleKernelMeanMatching`.

    Attributes
    ----------
    beta_ : ndarray of shape (n,)
        Weights of the source rows, of mean near one.
    alpha_ : ndarray of shape (t,)
        Ones; zero for target rows of sample weight zero.
    objective_, mmd2_, mmd2_before_, gap_, relative_gap_ : float
    ess_source_, ess_target_ : float
    ball_active_, cap_active_ : bool
    kernel_, bandwidth_ : Kernel, and its bandwidth or None
    n_iter_, converged_ : int, bool
        All as in `DoubleKernelMeanMatching`.
    n_features_in_, feature_names_in_ : as in scikit-learn

    References
    ----------
    .. [1] Huang, Smola, Gretton, Borgwardt & Schölkopf (2007). Correcting sample
       selection bias by unlabeled data. NeurIPS 19.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import KernelMeanMatching
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(0.5, 0.8, size=(150, 1))
    >>> weighter = KernelMeanMatching().fit(X, X_target=X_target)
    >>> weighter.mmd2_ < 0.1 * weighter.mmd2_before_
    True
    """

    D = 1.0

    _advice = "A larger kappa"

    _parameter_constraints: dict = _KERNEL_CONSTRAINTS

    def __init__(
        self,
        *,
        kappa=1e-3,
        B=1000.0,
        kernel="gaussian",
        bandwidth="50nn",
        standardize=False,
        weight_type="sampling",
        solver="auto",
        rank=400,
        tol=1e-8,
        random_state=None,
        n_jobs=None,
    ):
        self.kappa = kappa
        self.B = B
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.standardize = standardize
        self.weight_type = weight_type
        self.solver = solver
        self.rank = rank
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
