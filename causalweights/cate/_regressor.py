"""Effects given covariates by pseudo-outcome regression (Fisher, ICML 2024)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._formula import rows_by_formula
from causalweights._from_formula import EffectFormulaMixin
from causalweights._progress import ProgressMixin, reports_progress
from causalweights._typing import WEIGHT_TYPES, FloatArray
from causalweights._validation import check_covariates, check_same_rows
from causalweights.cate._evaluation import Evaluation
from causalweights.cate._first_stage import fit_first_stage
from causalweights.cate._options import (
    allows_missing,
    check_first,
    check_learners,
    check_options,
    final_learner,
    known_propensities,
    select_modifiers,
    unfitted_learners,
    warn_of_modifiers,
)
from causalweights.cate._pseudo_outcomes import PSEUDO_OUTCOMES
from causalweights.cate._report import store_stages, warn_of
from causalweights.cate._rows import checked_rows
from causalweights.cate._second_stage import fit_second_stage
from causalweights.crossfit import repeat_seeds

# What refit_final may change: nothing that the nuisance models depend on.
_SECOND = ("pseudo_outcome", "weights", "final_model", "modifiers",
           "min_relative_weight", "aggregate", "target", "n_jobs")  # fmt: skip


class PseudoOutcomeRegressor(
    ProgressMixin, EffectFormulaMixin, Evaluation, RegressorMixin, BaseEstimator
):
    r"""Estimate how an effect varies with covariates.

    Nuisance models, cross-fitted, make a pseudo-outcome f whose mean given covariates
    is the effect; a learner of any kind regresses f on them with weights w. The weights
    matter more than f: the default, inverse-variance weights with the doubly robust f,
    keeps its double robustness and has no inverse propensity left in variance or bias.

    Parameters
    ----------
    pseudo_outcome : {"dr", "u", "cov", "ra", "ipw", "plugin", "x"}, default="dr"
        Doubly robust; residual ratio (Y - eta) / (A - pi), which with weights ``"r"``
        is the R-learner; covariance (A - pi) (Y - eta) / (pi kappa); regression
        adjustment; transformed outcome; difference of the outcome models; X-learner.
    weights : {"ivw", "uniform", "r", "x_only", "het"} or callable, default="ivw"
        ``"ivw"``: inverse variance under equal noise, pi kappa for ``"dr"`` and
        ``"cov"``, (A - pi)^2 (or ``"r"``) for ``"u"``. ``"het"``: under noise estimated
        by arm, with ``"dr"``. ``"x_only"``: of ``"u"`` given covariates alone. The
        others take ``"uniform"``. A function of (pi, kappa) returns one weight a row.
    outcome_model : "auto", regressor or classifier, default="auto"
        ``"auto"`` is a convex stack (`StackedRegressor`). A classifier needs outcomes 0
        and 1.
    propensity_model : "auto" or classifier, default="auto"
        ``"auto"`` is a convex stack (`StackedClassifier`); a calibrated one is
        scikit-learn's ``CalibratedClassifierCV``. A regressor for doses.
    final_model : "auto" or regressor, default="auto"
        Second stage, fitted once on all rows; ``"auto"`` is a convex stack. A search
        over parameters is nested here and in the nuisance models.
    outcome_strategy : {"single", "separate"}, default="single"
        One outcome model of covariates and treatment, or one an arm.
    treatment_type : {"discrete", "continuous"}, default="discrete"
        A dose is for ``"u"`` alone: the effect of a unit more, given covariates.
    modifiers : sequence of int or str, or None, default=None
        Columns that the effect may depend on; None is all.
    cv : int, splitter, list of splits or None, default=5
        Folds of two-way cross-fitting.
    cf_order : {2, 3, 4}, default=2
        Three and four split the data in as many parts, so that propensity and outcome
        means (and pi and kappa) of a row come from different parts; a row then stands
        for its 2 or 6 arrangements.
    n_rep : int, default=1
        Repetitions with other folds.
    aggregate : {"median", "mean"}, default="median"
        Over repetitions.
    clip : float, default=0.01
        Estimated propensities stay in [clip, 1 - clip]; counted in ``n_clipped_``.
    min_relative_weight : float, default=0.0
        Rows below this share of the mean weight are dropped from the second stage:
        with ``"u"`` their pseudo-outcomes are huge, and trees take them at face value.
    target : {"population", "overlap"}, default="population"
        What the average effect and the best linear predictor are about, where their
        own argument says nothing.
    control : label or None, default=None
        None: the smallest numeric label, the first ordered category; for text it must
        be given.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Meaning of ``sample_weight``.
    random_state : int, RandomState or None, default=None
        Of folds, and of learners whose own is None. None is seed 0.
    n_jobs : int or None, default=None
        Models fitted at once; results do not depend on it.

    Attributes
    ----------
    cate_models_ : list
        Second-stage models by repetition (a list of K-1 for K > 2 arms).
    pseudo_outcome_, weights_ : ndarray of shape (N,), (N, K-1) or (n_rep, N[, K-1])
        Of the stacked rows; weights have mean one over kept rows, and exact zeros on
        dropped ones.
    units_ : ndarray of shape (N,) or (n_rep, N)
        Row of the data that each stacked row stands for; N = n with ``cf_order=2``.
    folds_ : ndarray of shape (n,) or (n_rep, n)
        -1 on rows of zero ``sample_weight``.
    nuisances_ : dict
        Out-of-fold ``"propensity"`` (n, K), and ``"means"`` (n, K) or ``"mean"`` (n,),
        averaged over repetitions; of the rows of positive weight.
    n_clipped_, n_dropped_ : int
    treatments_, control_ : as resolved; None for doses
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    RLearner, DRLearner : Presets.
    causalweights.learners.SeriesRegressor : A final model with confidence bands.

    Notes
    -----
    Assumes unconfoundedness given X, overlap and no interference. ``"dr"`` with
    ``"ivw"`` errs by (pi - pi^) times the outcome models' error, with no inverse
    propensity; ``"u"`` with ``"r"`` by that and (pi - pi^)^2. Where the final model
    cannot be right, weights decide what is approximated: the effect in the overlap
    population.

    Time: (2 or 3) fits a fold, and one second stage, a repetition; memory: the data,
    which the fit keeps for `refit_final` and the evaluations, and all fold models.

    References
    ----------
    .. [1] Fisher (2024). The connection between R-learning and inverse-variance
       weighting for estimation of heterogeneous treatment effects. ICML.
    .. [2] Nie & Wager (2021). Quasi-oracle estimation of heterogeneous treatment
       effects. Biometrika 108(2).
    .. [3] Kennedy (2023). Towards optimal doubly robust estimation of heterogeneous
       causal effects. Electronic Journal of Statistics 17(2).
    .. [4] Kuenzel, Sekhon, Bickel & Yu (2019). Metalearners for estimating
       heterogeneous treatment effects using machine learning. PNAS 116(10).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> from causalweights import PseudoOutcomeRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2))
    >>> a = (X[:, 0] + rng.logistic(size=500) > 0).astype(int)
    >>> y = X[:, 0] + a * (1 + X[:, 1]) + rng.normal(size=500)
    >>> model = PseudoOutcomeRegressor(
    ...     outcome_model=LinearRegression(), propensity_model=LogisticRegression(),
    ...     final_model=LinearRegression(), outcome_strategy="separate",
    ... ).fit(X, y, treatment=a)
    >>> [round(float(v)) for v in model.predict([[0.0, 0.0], [0.0, 1.0]])]
    [1, 2]
    """

    __metadata_request__fit = {
        "treatment": True, "propensity": True, "sample_weight": True, "groups": True,
    }  # fmt: skip
    __metadata_request__score = {
        "treatment": True, "propensity": True, "sample_weight": True,
    }  # fmt: skip

    _parameter_constraints: dict = {
        "pseudo_outcome": [StrOptions(set(PSEUDO_OUTCOMES))],
        "weights": [StrOptions({"ivw", "uniform", "r", "x_only", "het"}), callable],
        "outcome_model": [StrOptions({"auto"}), HasMethods(["fit", "predict"])],
        "propensity_model": [StrOptions({"auto"}), HasMethods("fit")],
        "final_model": [StrOptions({"auto"}), HasMethods(["fit", "predict"])],
        "outcome_strategy": [StrOptions({"single", "separate"})],
        "treatment_type": [StrOptions({"discrete", "continuous"})],
        "modifiers": ["array-like", None],
        "cv": ["cv_object"],
        "cf_order": [Interval(Integral, 2, 4, closed="both")],
        "n_rep": [Interval(Integral, 1, None, closed="left")],
        "aggregate": [StrOptions({"median", "mean"})],
        "clip": [Interval(Real, 0, 0.5, closed="left")],
        "min_relative_weight": [Interval(Real, 0, 1, closed="left")],
        "target": [StrOptions({"population", "overlap"})],
        "control": "no_validation",
        "weight_type": [StrOptions(set(WEIGHT_TYPES))],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        *,
        pseudo_outcome="dr",
        weights="ivw",
        outcome_model="auto",
        propensity_model="auto",
        final_model="auto",
        outcome_strategy="single",
        treatment_type="discrete",
        modifiers=None,
        cv=5,
        cf_order=2,
        n_rep=1,
        aggregate="median",
        clip=0.01,
        min_relative_weight=0.0,
        target="population",
        control=None,
        weight_type="sampling",
        random_state=None,
        n_jobs=None,
    ):
        self.pseudo_outcome = pseudo_outcome
        self.weights = weights
        self.outcome_model = outcome_model
        self.propensity_model = propensity_model
        self.final_model = final_model
        self.outcome_strategy = outcome_strategy
        self.treatment_type = treatment_type
        self.modifiers = modifiers
        self.cv = cv
        self.cf_order = cf_order
        self.n_rep = n_rep
        self.aggregate = aggregate
        self.clip = clip
        self.min_relative_weight = min_relative_weight
        self.target = target
        self.control = control
        self.weight_type = weight_type
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    @reports_progress
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        treatment: Any = None,
        propensity: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Cross-fit the nuisance models and fit the effect.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates, handed to the learners as given; missing values where all of
            them take those.
        y : array-like of shape (n,)
            Outcome.
        treatment : array-like of shape (n,)
            Label of each row's arm, or its dose.
        propensity : array-like of shape (n,) or (n, K), or None, default=None
            Known probabilities of the arms (a vector: of the arm that is not the
            control); the mean of a dose. No propensity model is fitted, and nothing
            clipped.
        sample_weight : array-like of shape (n,) or None, default=None
            Used in every stage; rows of weight zero are removed first.
        groups : array-like of shape (n,) or None, default=None
            Clusters, for the folds and for standard errors.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input, learners that cannot take weights, and combinations of
            options that the theory forbids.
        """
        check_same_rows(
            X=X, y=y, treatment=treatment, propensity=propensity,
            sample_weight=sample_weight, groups=groups,
        )  # fmt: skip
        with unchanged_on_error(self):
            check_options(self)
            data, rows, arms, groups = checked_rows(
                self, X, y, treatment, sample_weight, groups
            )
            known = known_propensities(propensity, len(rows), arms)
            learners = unfitted_learners(self, data.n_arms, known is not None)
            check_learners(self, learners, data.y, data.weight, data.n_arms)
            seed = 0 if self.random_state is None else self.random_state
            self._first = fit_first_stage(
                self, learners, data, rows, arms, groups,
                None if known is None else known[rows], repeat_seeds(seed, self.n_rep),
            )  # fmt: skip
            self._fit_second()
        return self

    def _fit_second(self) -> None:
        """Fit and store the second stage; warn."""
        modifiers = select_modifiers(self.modifiers, self._first.data.X)
        self._second = fit_second_stage(
            self, final_learner(self), self._first, modifiers
        )
        store_stages(self, self._first, self._second)
        warn_of(self, self._first, self._second)
        warn_of_modifiers(self)

    def refit_final(self, **changes: Any) -> Self:
        """Return a new estimator on the same nuisances with another second stage.

        Parameters
        ----------
        **changes
            Any of ``pseudo_outcome``, ``weights``, ``final_model``, ``modifiers``,
            ``min_relative_weight``, ``aggregate``, ``target`` and ``n_jobs``.

        Returns
        -------
        PseudoOutcomeRegressor
            Fitted; this one stays as it is.
        """
        check_is_fitted(self)
        fixed = sorted(set(changes) - set(_SECOND))
        if fixed:
            raise ValueError(
                f"{fixed[0]} belongs to the first stage: fit again. refit_final takes "
                f"{', '.join(_SECOND)}."
            )
        new = clone(self).set_params(**changes)
        new._validate_params()
        check_options(new)
        for name in (
            "n_features_in_", "feature_names_in_", "_categories", "_formula_spec",
            "_first",
        ):  # fmt: skip
            if hasattr(self, name):
                setattr(new, name, getattr(self, name))
        check_first(new, new._first)
        new._fit_second()
        return new

    def predict(self, X: Any) -> FloatArray:
        """Return the effect at rows of covariates.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)

        Returns
        -------
        ndarray of shape (m,), or (m, K-1) in the order of ``treatments_``
        """
        check_is_fitted(self)
        X = self._new_covariates(X)
        modifiers = select_modifiers(self.modifiers, X)
        effects = self._second.predict(modifiers, X, self.aggregate)
        return effects[:, 0] if effects.shape[1] == 1 else effects

    def _new_covariates(self, X: Any) -> Any:
        X = rows_by_formula(self, X)
        checked = check_covariates(
            self, X, dtype=None, reset=False, min_rows=1, allow_nan=self._allow_nan()
        )
        return X if hasattr(X, "columns") else checked

    def _allow_nan(self) -> bool:
        models = unfitted_learners(self, 0, False) | {"final": final_learner(self)}
        return allows_missing(list(models.values()))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.regressor_tags.poor_score = True
        tags.input_tags.allow_nan = self._allow_nan()
        return tags
