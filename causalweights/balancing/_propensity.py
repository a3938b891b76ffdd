"""Inverse propensity, odds and overlap weights (Li, Morgan and Zaslavsky 2018)."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import ESTIMANDS, FloatArray
from causalweights._validation import (
    Arms,
    check_covariates,
    check_same_rows,
    covariate_names,
)
from causalweights.balancing._tilting import (
    balancing_ratio,
    crump_threshold,
    overlap_tilt,
    refuse_unusable,
    warn_separation,
)
from causalweights.balancing._weighter import (
    Design,
    _BaseWeighter,
    normalize_per_arm,
    unchanged_on_error,
    warn_concentration,
)
from causalweights.crossfit import check_propensity
from causalweights.inference._weight_model import TargetModel, WeightModel

_SHARE = Interval(Real, 0, 0.5, closed="neither")


def _has_model(weighter: PropensityWeighter) -> bool:
    # Before fit the method is there, and its call says that fit comes first.
    if getattr(weighter, "propensity_model_", weighter) is None:
        raise AttributeError(
            "fit was given the propensities, so there is no model to predict with."
        )
    return True


class PropensityWeighter(_BaseWeighter):
    """Weight arms by functions of the propensity score e_a(x) = P(A = a | X = x).

    Weights are h(x) / e_a(x), with h = 1 (ATE), the target arm's probability (ATT, ATC)
    or 1 / sum_k 1/e_k (ATO), normalised within each arm (Hajek). They balance what
    the propensity model gets right, on average over samples; `IPMBalancer` and
    `EntropyBalancer` balance in the sample at hand. Prefer ``estimand="ato"`` where
    overlap is poor: its weights are bounded.

    Parameters
    ----------
    estimand : {"ate", "att", "atc", "ato"}, default="ate"
        Target population. ``"ato"``: the overlap population, in which every arm is
        likely. Case-insensitive.
    propensity_model : classifier or None, default=None
        Any classifier with ``predict_proba``, or a Pipeline ending in one; it is fitted
        on positions 0, ..., K - 1 in ``treatments_``. None = logistic regression
        (multinomial for K > 2) without a penalty, solved to rounding, whatever the
        units of X; constant columns are ignored. A plain ``LogisticRegression`` with
        ``C=inf`` means the same and is solved the same way.
    cv : int, splitter, list of splits or None, default=None
        Out-of-fold probabilities; an int makes folds stratified by arm. Advised for
        flexible models. None = in sample.
    trim : float in (0, 0.5), "crump" or None, default=None
        Rows with any probability outside ``[trim, 1 - trim]`` get weight zero and leave
        the target: the estimand becomes the effect in the rows kept. ``"crump"``
        chooses the rows by the optimal rule for the ATE. The model is not refitted.
    clip : float in (0, 0.5) or None, default=None
        Bring probabilities into ``[clip, 1 - clip]`` (after trimming; K > 2: then
        rescaled to sum one). The target stays, at the price of some bias.
    control : label or None, default=None
        Control arm; None = the smallest label of a bool or numeric treatment, the first
        of ordered categories. Required for other labels.
    focal : label or None, default=None
        Arm of the ATT; None = the other arm of two.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Sampling weights reach the model with mean one, frequency weights as given.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds of an int ``cv``.
    n_jobs : int or None, default=None
        Folds fitted at a time.

    Attributes
    ----------
    propensity_ : ndarray of shape (n, K)
        Probabilities in the order of ``treatments_``, before trimming and clipping; NaN
        for rows of sample weight zero.
    propensity_model_ : classifier or None
        Fitted on all rows (with ``cv`` it serves new rows only); None where ``fit`` was
        given the propensities.
    weights_ : ndarray of shape (n,)
        Mean one in each weighted arm, one in the focal arm (before trimming).
    masses_ : ndarray of shape (n,)
        Weights times sampling weights, sum one an arm.
    target_masses_ : ndarray of shape (n,)
        Masses of the target, sum one: of the kept rows; for the ATO proportional to h.
    kept_ : ndarray of shape (n,), bool
        Rows of positive sample weight that trimming left.
    trim_threshold_ : float or None
        With ``trim="crump"``, the largest ``sum_k 1 / e_k`` kept.
    ess_ : dict
        Kish's effective sample size by arm.
    estimand_, treatments_, control_, focal_ : as resolved.
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    EntropyBalancer : Exact balance of means by the same kind of weights.

    Notes
    -----
    Assumptions: no unmeasured confounding, overlap, a consistent propensity model. The
    default model costs about ten steps of n (K - 1)^2 d^2 operations and memory n d.
    With an unpenalised logistic model in sample, `WeightedEffect` adds the estimation
    of the propensities to the standard error, the set of trimmed rows being taken as
    given; for the ATO this concerns the weighted contrast, since with an outcome model
    the target moves with the propensities as well.

    References
    ----------
    Hirano, K., Imbens, G. and Ridder, G. (2003). Efficient estimation of average
    treatment effects using the estimated propensity score. Econometrica 71, 1161-1189.
    Crump, R., Hotz, V., Imbens, G. and Mitnik, O. (2009). Dealing with limited overlap
    in estimation of average treatment effects. Biometrika 96, 187-199.
    Li, F., Morgan, K. and Zaslavsky, A. (2018). Balancing covariates via propensity
    score weighting. Journal of the American Statistical Association 113, 390-400.
    Li, F. and Li, F. (2019). Propensity score weighting for causal inference with
    multiple treatments. Annals of Applied Statistics 13, 2389-2415.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.balancing import PropensityWeighter
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> a = rng.random(200) < 1 / (1 + np.exp(-X[:, 0]))
    >>> weighter = PropensityWeighter(estimand="ato").fit(X, a)

    Overlap weights of a logistic model balance the means exactly:

    >>> bool(np.allclose(weighter.masses_[a] @ X[a], weighter.masses_[~a] @ X[~a]))
    True
    """

    _estimands = ESTIMANDS

    _parameter_constraints: dict = {
        "estimand": [str],
        "propensity_model": [HasMethods(["fit", "predict_proba"]), None],
        "cv": ["cv_object"],
        "trim": [_SHARE, StrOptions({"crump"}), None],
        "clip": [_SHARE, None],
        "control": "no_validation",
        "focal": "no_validation",
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    __metadata_request__fit = {"propensity": True}

    def __init__(
        self,
        *,
        estimand="ate",
        propensity_model=None,
        cv=None,
        trim=None,
        clip=None,
        control=None,
        focal=None,
        weight_type="sampling",
        random_state=None,
        n_jobs=None,
    ):
        self.estimand = estimand
        self.propensity_model = propensity_model
        self.cv = cv
        self.trim = trim
        self.clip = clip
        self.control = control
        self.focal = focal
        self.weight_type = weight_type
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        treatment: Any,
        *,
        sample_weight: Any = None,
        propensity: Any = None,
    ) -> PropensityWeighter:
        """Compute the weights.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates; finite numbers. Columns of strings or categories of a pandas or
            polars frame become one indicator a level, ``name=level``, and the model is
            fitted on numbers.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights; rows of weight zero are removed first and
            receive weight zero.
        propensity : array-like of shape (n,) or (n, K) or None, default=None
            Known or outside probabilities: of the non-control arm (two arms), or of
            every arm in the order of ``treatments_``. No model is fitted then.

        Returns
        -------
        self
        """
        check_same_rows(X=X, propensity=propensity)
        with unchanged_on_error(self):
            design = self._validate(X, treatment, sample_weight)
            masses = self._weigh(design, propensity)
            self._store(design, masses, self._target(design))
        return self

    def _weigh(self, design: Design, propensity: Any = None) -> FloatArray:
        # Imported here: scikit-learn's linear models take a tenth of a second, which
        # who only balances covariates need not wait.
        from causalweights.balancing._propensity_model import (
            FittedPropensity,
            fit_propensity,
        )

        arms, rows = design.arms, design.rows
        if propensity is not None:
            e = check_propensity(propensity, rows, arms.control, arms.n_arms)
            found = FittedPropensity(e, None, None)
        else:
            found = fit_propensity(
                self.propensity_model,
                design,
                self.cv,
                weight_type=self.weight_type,
                random_state=self.random_state,
                n_jobs=self.n_jobs,
            )
        e, self.propensity_model_, self._scores = found.e, found.model, found.scores
        warn_separation(e, arms, found.describe(covariate_names(self)))
        self.propensity_ = np.full((len(rows), arms.n_arms), np.nan)
        self.propensity_[rows] = e
        self.trim_threshold_ = None
        if self.trim == "crump":
            if design.estimand != "ate":
                raise ValueError(
                    "trim='crump' is the rule for estimand='ate' only: give a number."
                )
            self.trim_threshold_ = crump_threshold(e, design.sample_weight)
        kept = self._inside(e)
        self.kept_ = np.zeros(len(rows), dtype=bool)
        self.kept_[rows] = kept
        if not np.all(kept):
            _refuse_emptied(arms, kept, self.trim)
        ratio = self._ratio(e, arms.codes, design.estimand, design.focal)
        refuse_unusable(ratio, arms)
        raw = design.sample_weight * ratio
        totals = np.bincount(arms.codes, weights=design.sample_weight)
        self._norms = totals / np.bincount(arms.codes, weights=raw)
        self._codes, self._focal = arms.codes, design.focal
        masses = normalize_per_arm(raw, arms)
        advice = "estimand='ato', trim or clip spread the weights"
        warn_concentration(design, masses, advice)
        return masses

    def _inside(self, e: FloatArray) -> np.ndarray:
        """Return which rows trimming keeps."""
        if self.trim is None:
            return np.ones(len(e), dtype=bool)
        if self.trim == "crump":
            with np.errstate(divide="ignore"):
                return np.sum(1.0 / e, axis=1) <= self.trim_threshold_
        return np.all((e >= self.trim) & (e <= 1 - self.trim), axis=1)

    def _bounded(self, e: FloatArray) -> FloatArray:
        if self.clip is None:
            return e
        e = np.clip(e, self.clip, 1 - self.clip)
        return e / e.sum(axis=1, keepdims=True)

    def _clipped(self, e: FloatArray) -> np.ndarray:
        """Return which rows have a probability outside the clip."""
        clip = 0.0 if self.clip is None else self.clip
        return np.any((e < clip) | (e > 1 - clip), axis=1)

    def _ratio(self, e, codes, estimand, focal) -> FloatArray:
        """Return the unnormalised weights, zero for trimmed rows."""
        ratio = balancing_ratio(self._bounded(e), codes, estimand, focal)
        return np.where(self._inside(e), ratio, 0.0)

    def _targeted(self, design: Design, fitting: bool) -> Design:
        if fitting or design.estimand != "ato":
            return design
        e = np.asarray(self.propensity_model_.predict_proba(design.X))
        return replace(design, tilt=overlap_tilt(self._bounded(e)))

    def _target(self, design: Design) -> FloatArray:
        e = self.propensity_[design.rows]
        target = np.where(self.kept_[design.rows], design.target_masses(), 0.0)
        if design.estimand == "ato":
            target *= overlap_tilt(self._bounded(e))
        return target / target.sum()

    @available_if(_has_model)
    def predict_propensity(self, X: Any) -> FloatArray:
        """Return the model's probabilities of new rows, before trimming and clipping.

        Parameters
        ----------
        X : array-like of shape (m, d)

        Returns
        -------
        ndarray of shape (m, K)
            In the order of ``treatments_``. With ``cv``, from the model of all rows.
        """
        check_is_fitted(self)
        X = check_covariates(self, X, reset=False, min_rows=1)
        return np.asarray(self.propensity_model_.predict_proba(X), dtype=np.float64)

    @available_if(_has_model)
    def predict_weights(self, X: Any, treatment: Any) -> FloatArray:
        """Return h(x) / e_a(x) of new rows on the scale of the training weights.

        On the training rows these are ``weights_`` (with ``cv``: up to the out-of-fold
        models). They are not normalised to the new rows; rows that the trimming rule
        excludes get zero.

        Parameters
        ----------
        X : array-like of shape (m, d)
        treatment : array-like of shape (m,)
            Labels seen in `fit`.

        Returns
        -------
        ndarray of shape (m,)
        """
        e = self.predict_propensity(X)
        codes = self._arm_codes(treatment, len(e))
        return self._ratio(e, codes, self.estimand_, self._focal) * self._norms[codes]

    def _weight_model(self) -> WeightModel | None:
        """Return the first-order behaviour of the weights in the caller's rows.

        None unless the probabilities are those of an unpenalised logistic regression
        in sample. The trimmed set counts as given, clipped rows do not respond.
        """
        from causalweights.balancing._logistic import weight_model

        if self._scores is None:
            return None
        rows = ~np.isnan(self.propensity_[:, 0])
        e = self.propensity_[rows]
        clipped = self._clipped(e)
        if e.shape[1] > 2 and np.any(clipped):
            return None
        fixed = ~self._inside(e) | clipped
        model = weight_model(
            self._scores, self._codes, e, self.estimand_, self._focal, rows
        )
        model.log_gradient[np.flatnonzero(rows)[fixed]] = 0.0
        return model

    def _target_model(self) -> TargetModel | None:
        """Return how an overlap population follows the model, None for others."""
        from causalweights.balancing._logistic import target_model

        if self._scores is None or self.estimand_ != "ato":
            return None
        rows = ~np.isnan(self.propensity_[:, 0])
        e = self.propensity_[rows]
        model = target_model(self._scores, e, rows)
        model.log_gradient[np.flatnonzero(rows)[self._clipped(e)]] = 0.0
        return model


def _refuse_emptied(arms: Arms, kept: np.ndarray, trim: Any) -> None:
    left = np.bincount(arms.codes, weights=kept, minlength=arms.n_arms)
    if np.any(left == 0):
        raise ValueError(
            f"with trim={trim!r} arm {arms.label(int(np.argmin(left)))!r} has no row "
            "left: lower trim, or use estimand='ato'."
        )
