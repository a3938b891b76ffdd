"""IPM covariate balancing: weights that make arms agree in a function class.

Kong, Park, Jung, Lee & Kim (ICML 2023), solved exactly as a convex quadratic program.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions

from causalweights._typing import FloatArray
from causalweights._validation import check_same_rows
from causalweights.balancing._blocks_dask import dask_design
from causalweights.balancing._discriminators import default_ridge
from causalweights.balancing._ipm_fit import fit_balance, outside_goal, report_fit
from causalweights.balancing._log_linear_influence import log_linear_model
from causalweights.balancing._mass_problem import MassProblem, refuse_row_data
from causalweights.balancing._new_rows import _WeighsNewRows
from causalweights.balancing._overlap_target import _TargetsOverlap
from causalweights.balancing._weighter import (
    Design,
    unchanged_on_error,
    warn_concentration,
)
from causalweights.discrepancy import Wasserstein
from causalweights.inference import WeightModel
from causalweights.kernels import Kernel

SOLVERS = ("auto", "active_set", "interior_point", "low_rank", "adam")
CLASS_METHODS = ["resolve", "evaluate", "draw", "search"]


class IPMBalancer(_TargetsOverlap, _WeighsNewRows):
    """Balance covariates between treatment arms by an integral probability metric.

    Each arm receives non-negative weights under which its covariate distribution is
    as close to the target's as the discriminator class can tell: the convex program is
    solved exactly and certified by a Frank-Wolfe gap. No propensity or outcome model
    is needed; what matters is that the outcome's mean given the covariates is close to
    the class. Where arms do not overlap do not use it: look at ``ess_`` and the balance
    table.

    Parameters
    ----------
    estimand : {"ate", "att", "atc", "ato"}, default="ate"
        Target: the whole sample, the focal arm, the control arm, or the overlap
        population by an unpenalised logistic propensity.
    discriminator : str, Kernel, function class or None, default="energy"
        ``"energy"`` (energy distance; no bandwidth), ``"gaussian"``, ``"laplace"``,
        ``"matern"`` (nu = 3/2), ``"linear"`` (distance of the mean vectors), or a
        kernel of `causalweights.kernels`: the criterion is the energy distance or the
        squared maximum mean discrepancy. ``"sigmoid"``, ``"relu"`` (of bounded
        parameters) or `Sigmoid`, `ReLU`, `HalfSpaces`, `MeanDifferences` of
        `causalweights.discrepancy`: the largest difference of means over the class,
        not squared, for separate arms, by cutting planes. ``"wasserstein"`` or
        `Wasserstein`: for separate arms; nearest neighbours without ridge and entropy.
        None: the least variable weights that meet ``moments``, stable balancing ones.
    bandwidth : {"median", "maxvar"}, float or list of float, default="median"
        Of a kernel given by name, on standardised covariates; ``"maxvar"`` makes the
        kernel matrix vary most; a list is an average.
    ridge : "auto" or float, default="auto"
        Penalty on the sum of squared masses; ``"auto"`` is 1e-2, 0.1 for a function
        class, 0 for Wasserstein. Larger values trade discrepancy for effective sample
        size; R's WeightIt has ``lambda = 2 ridge``.
    between_arms : bool, default=True
        ATE only: also balance the arms against one another in one joint problem.
    moments : {0, 1, 2}, default=0
        Constrain the weighted means of the covariates to the target's, or means and
        squares (of standardised columns of more than two values), beside the criterion.
    interactions : bool, default=False
        Constrain all pairwise products too.
    quantiles : sequence of float, default=()
        Constrain the shares below the target's quantiles at these levels too.
    moment_tol : float or array-like, default=0.0
        Tolerance of the constraints in standard deviations, one for all or for each
        of ``moment_names_``; 0 is exact.
    target : array-like of shape (m, d) or None, default=None
        Covariates of another population to weight the arms to (``estimand="ate"``).
    target_weight : array-like of shape (m,) or None, default=None
        Weights of the target's rows.
    min_weight, max_weight : float, default=0.0 and None
        Bounds of ``weights_`` (mean one an arm).
    standardize : bool, default=True
        Scale by the full sample's (weighted) mean and ddof-0 standard deviation.
    categorical_scale : float, default=0.5**0.5
        Factor of a categorical column's indicators, one a level, beside the scaling. At
        the default two levels count in Euclidean distances as a 0/1 column does.
    weight_model : {"nonparametric", "loglinear"}, default="nonparametric"
        One weight a row, or log-linear in the covariates (of a kernel or the energy
        distance, not convex: several starts, the best is kept).
    solver : {"auto", "active_set", "interior_point", "low_rank", "adam"}, \
            default="auto"
        ``"auto"`` is exact up to about 4000 rows; above, it prices columns and, where
        the optimum is dense, descends without a matrix until ``tol``: 1e-3 is advised.
        ``"low_rank"``, the choice of "auto" for a dask array, solves for ``rank``
        features block by block. ``"adam"`` is the paper's training, see `kong2023`.
    rank : int, default=400
        Landmarks of ``"low_rank"``; more bring its weights closer to the exact ones.
    epochs, learning_rate : int and float, default=1000 and 0.03
        Of ``"adam"``.
    tol : float, default=1e-6
        Relative Frank-Wolfe gap that counts as converged. Not where to stop: the
        exact routes run to their finite end.
    control, focal : label or None, default=None
        Control arm (None: the smallest label of a numeric treatment; strings need it)
        and the arm of an ATT (None: the other arm).
    weight_type : {"sampling", "frequency"}, default="sampling"
        Meaning of ``sample_weight``; a frequency of k is the same as k equal rows.
    random_state : int, RandomState or None, default=None
        Rows drawn for the median rule above 5000 rows (None: seed 0).
    n_jobs : int or None, default=None
        Threads of the kernel loops; results are the same bits for any number.

    Attributes
    ----------
    weights_ : ndarray of shape (n,)
        Mean one in each weighted arm; one for the target arm.
    masses_, target_masses_ : ndarray of shape (n,)
        ``sample_weight * weights_`` with sum one an arm; the target's (zero for an
        outside ``target``).
    discrepancy_, discrepancy_before_ : float or dict
        Criterion without the penalty, after and before (of the arms as sampled, also
        where base weights are given); by arm label for separate problems.
    objective_, gap_, relative_gap_ : float or dict
        Objective; its distance to the optimum at most; that over what was gained on
        uniform weights. Of sigmoids and ReLUs the largest difference is searched for,
        so the objective itself may be above what was found.
    pairwise_discrepancy_ : dict
        By pair of labels (of kernels), and label with ``"target"``.
    converged_ : bool
    n_iter_, solver_ : int and str, or dicts
    ess_ : dict
        Kish's effective sample size by arm label.
    ridge_, bandwidth_ : float, float or None
    kernel_, function_class_ : Kernel or None, function class or None
    moment_names_ : list of str
        The constrained moments.
    estimand_, treatments_, control_, focal_ : as resolved
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    EntropyBalancer : Exact balance of chosen moments.
    PropensityWeighter : Inverse-probability weights.

    Notes
    -----
    Solves min d^2(P_w, Q) + ridge sum_i (m_i - b_i)^2 over masses m on the simplex, b
    those of the base weights, zero without any. With ``discriminator=None`` that is the
    least squared distance to the base weights under the moments. With groups the
    unknowns are the clusters' masses. The effect needs unconfoundedness and overlap.
    Time about the support's size cubed; memory 8 n^2 bytes up to about 4000 rows (or
    clusters), above it O(n) with at most 1.2 GB for a low-rank factor.

    ``solver="low_rank"`` needs ridge > 0 and takes O(n rank^2) time and O(n rank)
    memory for the weights of the kernel's Nystrom approximation plus the diagonal it
    leaves. X may be a dask array: its rows stay on the cluster, in blocks, with their
    features; only sums and vectors of length n come back, and the weights are those of
    the same array in memory to rounding. ``discrepancy_`` and ``gap_`` are exact, by
    one pass over all pairs of rows, so ``converged_`` tells how near the weights are
    to those of the kernel itself; tol=1e-2 is a usual bar.

    The exact solution and the ridge replace the paper's Adam and early stopping.

    References
    ----------
    .. [1] Kong, Park, Jung, Lee & Kim (2023). Covariate balancing using the integral
       probability metric for causal inference. ICML, PMLR 202, 17430-17461.
    .. [2] Huling & Mak (2024). Energy balancing of covariate distributions. Journal
       of Causal Inference 12(1).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import IPMBalancer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> a = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
    >>> balancer = IPMBalancer(estimand="att").fit(X, a)
    >>> balancer.discrepancy_[0] < 0.1 * balancer.discrepancy_before_[0]
    True
    >>> round(float(balancer.masses_[a == 0].sum()), 9)
    1.0
    """

    _parameter_constraints: dict = {
        "estimand": [str],
        "discriminator": [None, str, Kernel, Wasserstein, HasMethods(CLASS_METHODS)],
        "bandwidth": [
            StrOptions({"median", "maxvar"}),
            Interval(Real, 0, None, closed="neither"),
            list,
            tuple,
            np.ndarray,
        ],
        "ridge": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "between_arms": ["boolean"],
        "moments": [Options(Integral, {0, 1, 2})],
        "interactions": ["boolean"],
        "quantiles": [list, tuple, np.ndarray],
        "moment_tol": [Interval(Real, 0, None, closed="left"), "array-like"],
        "target": "no_validation",
        "target_weight": "no_validation",
        "min_weight": [Interval(Real, 0, 1, closed="left")],
        "max_weight": [None, Interval(Real, 1, None, closed="neither")],
        "standardize": ["boolean"],
        "categorical_scale": [Interval(Real, 0, None, closed="neither")],
        "solver": [StrOptions(set(SOLVERS))],
        "weight_model": [StrOptions({"nonparametric", "loglinear"})],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "rank": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "control": "no_validation",
        "focal": "no_validation",
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    # Folds by group do not mean that groups share a weight: ask for it.
    __metadata_request__fit = {"base_weights": True, "groups": None}

    _estimands = ("ate", "att", "atc", "ato")

    def __init__(
        self,
        *,
        estimand="ate",
        discriminator="energy",
        bandwidth="median",
        ridge="auto",
        between_arms=True,
        moments=0,
        interactions=False,
        quantiles=(),
        moment_tol=0.0,
        target=None,
        target_weight=None,
        min_weight=0.0,
        max_weight=None,
        standardize=True,
        categorical_scale=0.5**0.5,
        weight_model="nonparametric",
        solver="auto",
        rank=400,
        epochs=1000,
        learning_rate=0.03,
        tol=1e-6,
        control=None,
        focal=None,
        weight_type="sampling",
        random_state=None,
        n_jobs=None,
    ):
        self.estimand = estimand
        self.discriminator = discriminator
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.between_arms = between_arms
        self.moments = moments
        self.interactions = interactions
        self.quantiles = quantiles
        self.moment_tol = moment_tol
        self.target = target
        self.target_weight = target_weight
        self.min_weight = min_weight
        self.max_weight = max_weight
        self.standardize = standardize
        self.categorical_scale = categorical_scale
        self.solver = solver
        self.rank = rank
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_model = weight_model
        self.tol = tol
        self.control = control
        self.focal = focal
        self.weight_type = weight_type
        self.random_state = random_state
        self.n_jobs = n_jobs

    @classmethod
    def kong2023(
        cls,
        *,
        discriminator: str = "gaussian",
        weight_model: str = "nonparametric",
        **parameters: Any,
    ) -> Self:
        """Return the algorithm of the paper's released code, at its defaults.

        Adam with learning rate 0.03 for 1000 epochs, no ridge, arms balanced to the
        target one by one, Gaussian bandwidth 10 on standardised covariates. It is kept
        for comparison: it stops short of the optimum, warns of it, and for the Gaussian
        kernel `relative_gap_` shows by how much.

        Parameters
        ----------
        discriminator : {"gaussian", "sigmoid", "wasserstein"}, default="gaussian"
        weight_model : {"nonparametric", "loglinear"}, default="nonparametric"
        **parameters
            Others, such as estimand and random_state.

        Returns
        -------
        IPMBalancer
        """
        preset = {"bandwidth": 10.0, "between_arms": False, "solver": "adam"}
        return cls(
            discriminator=discriminator,
            weight_model=weight_model,
            **{**preset, **parameters},
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        treatment: Any,
        *,
        sample_weight: Any = None,
        base_weights: Any = None,
        groups: Any = None,
    ) -> Self:
        """Compute the weights.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates; finite numbers. Columns of strings or categories of a pandas or
            polars frame become one indicator a level, ``name=level``. A dask array
            stays in its chunks of rows.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights; rows of weight zero are removed first and
            receive weight zero.
        base_weights : array-like of shape (n,) or None, default=None
            Positive weights that the ridge pulls to, such as inverse propensities, in
            place of uniform ones; only their ratios in an arm matter.
        groups : array-like of shape (n,) or None, default=None
            Clusters: rows of one cluster in one arm share one weight.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For NaN or infinity, missing levels, one arm only, all columns constant,
            inputs whose indexes hold the same labels in another order, base weights
            without a ridge, and base weights or groups where they are not available
            (Wasserstein, log-linear weights, "adam", "low_rank").
        """
        data = {"base_weights": base_weights, "groups": groups}
        check_same_rows(X=X, **data)
        with unchanged_on_error(self):
            self._row_data = refuse_row_data(self, X, data)
            design = self._validate(X, treatment, sample_weight)
            self._store(design, self._weigh(design, **data))
        return self

    def _block_design(self, X: Any, treatment: Any, sample_weight: Any) -> Design:
        if self.solver not in ("auto", "low_rank") or self.estimand.lower() == "ato":
            raise ValueError(
                f"solver={self.solver!r}, estimand={self.estimand!r}: a dask array "
                "needs solver='auto' or 'low_rank' and an estimand other than 'ato'."
            )
        return dask_design(self, X, treatment, sample_weight)

    def _weigh(
        self, design: Design, base_weights: Any = None, groups: Any = None
    ) -> FloatArray:
        self.ridge_ = default_ridge(self)
        self._goal = outside_goal(self, design)
        problem = MassProblem.of(self, design, base_weights, groups)
        fit = fit_balance(self, design, self._goal, problem)
        report_fit(self, fit)
        self._keep_dual(design, fit.dual)
        warn_concentration(design, fit.masses)
        return fit.masses

    def _weight_model(self) -> WeightModel | None:
        """Return the first-order behaviour of log-linear weights, None for others."""
        dual: Any = self._dual
        tilts = getattr(dual, "tilts", [])
        return log_linear_model(tilts, dual.rows) if tilts else None

    def _store(
        self, design: Design, masses: FloatArray, target: FloatArray | None = None
    ) -> None:
        if self._goal is not None:
            target = self._goal.of_sample
        super()._store(design, masses, target)
