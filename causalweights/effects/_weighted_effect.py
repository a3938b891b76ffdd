"""Average effects from any weights and an optional outcome model, with uncertainty.

The augmented estimator of Hirshberg & Wager (2021) and its influence function.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from causalweights._base import unchanged_on_error
from causalweights._progress import ProgressMixin, reports_progress
from causalweights._validation import (
    check_covariates,
    check_estimand,
    check_same_rows,
    check_treatment,
)
from causalweights.crossfit import kept_splits
from causalweights.effects._by_influence import by_influence
from causalweights.effects._matched import by_matching
from causalweights.effects._report import details_of
from causalweights.effects._resolve_weights import (
    arm_weights,
    resolve_weighter,
)
from causalweights.effects._subsampled import by_subsampling
from causalweights.inference._effect_mixin import EffectMixin
from causalweights.inference._sample import checked_sample


class WeightedEffect(EffectMixin, ProgressMixin, BaseEstimator):
    """Estimate an average treatment effect from weights and an outcome model.

    The default balances covariates by `IPMBalancer` and augments the weighted contrast
    with cross-fitted kernel ridge regressions, one an arm: the remaining bias is a
    product of two errors, and the influence function gives a standard error that does
    not charge the outcome variance that balancing removes. Use it for any discrete
    treatment under unconfoundedness. Where arms hardly overlap no weighting
    estimator is reliable: read the effective sample size in `summary`.

    Parameters
    ----------
    weighter : "ipm", weighter, Pipeline, array-like of shape (n,) or None
        ``"ipm"`` (the default) is ``IPMBalancer(estimand=estimand)``. An estimator is
        cloned and fitted on (X, treatment); one in scikit-learn's ``FrozenEstimator``
        is used as it is; a vector holds weights, one a row, and needs ``estimand``;
        None is regression adjustment: ``WeightedEffect(None,
        outcome_model=LinearRegression(), cv=None)``.
    outcome_model : "auto", regressor, classifier or None, default="auto"
        ``"auto"`` is `WeightedKernelRidge`. A classifier is used through
        ``predict_proba`` (0/1 outcomes). None: the normalised weighted contrast, with
        the influence function's residuals from the ``"auto"`` model.
    cv : int, splitter, list of splits or None, default=5
        Cross-fitting folds, stratified by arm (by groups where given); None is in
        sample.
    n_rep : int, default=1
        Repetitions of the folds; out-of-fold predictions are averaged.
    se : {"influence", "m_estimation", "subsample", "matching"}, default="influence"
        ``"m_estimation"`` accounts for the estimated parameters of smooth weights
        (`EntropyBalancer`, unpenalised logistic `PropensityWeighter`, log-linear
        `IPMBalancer`) and of the outcome model: None, or least squares or unpenalised
        logistic regression in sample (``cv=None``).
        ``"subsample"`` fits any weighter, and the outcome model, again on subsamples
        of rows (clusters, with ``groups``): intervals and p-values are theirs.
        ``"matching"`` is Abadie and Imbens', for weights that match: `IPMBalancer`
        with ``discriminator="wasserstein"`` and no ridge. For these ``"influence"``
        estimates the same variance. Neither counts the bias of the plain contrast, of
        order n^(-1/d) in d covariates: for d > 1 correct it by an outcome model.
    n_subsamples : int, default=500
        Of each of 20 sizes, for ``se="subsample"``; at least 20.
    inference : {"population", "sample"}, default="population"
        ``"sample"``: given the covariates of the sample's target.
    contrast : {"difference", "ratio", "odds_ratio"}, default="difference"
        Of the arm means, by the delta method.
    estimand : {"ate", "att", "atc", "ato"} or None, default=None
        None is the weighter's, or ``"ate"``.
    control, focal : label or None, default=None
        As in the weighter; None is the weighter's.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Meaning of ``sample_weight``.
    random_state : int, RandomState or None, default=None
        Seed of folds and subsamples (None: seed 0, so that a refit gives the same
        number).
    n_jobs : int or None, default=None
        Outcome models or subsamples fitted at once; results do not depend on it.

    Attributes
    ----------
    effect_, se_ : float, or ndarray of shape (K-1,)
        Contrasts with the control arm in the order of ``treatments_``.
    influence_ : ndarray of shape (n,) or (n, K-1), or None
        ``se_ = sqrt(sum(influence_**2)) / n`` over the n rows of positive weight
        (frequency weights: ``sqrt(sum(s * influence_**2)) / sum(s)``). None with
        ``se="subsample"`` or ``"matching"``.
    cov_ : ndarray of shape (K-1, K-1)
    means_, means_cov_ : ndarray of shape (K,) and (K, K)
        Mean outcome of the target under each arm.
    result_ : EffectResult
    weighter_ : fitted weighter or None
    masses_, target_masses_ : ndarray of shape (n,)
    estimand_, treatments_, control_, focal_ : as resolved
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    IPMBalancer, EntropyBalancer, PropensityWeighter : Weighters.

    Notes
    -----
    mu_a = sum t_i m_a(X_i) + sum_{A_i = a} M_i (Y_i - m_a(X_i)) with target masses t
    and arm masses M. Assumes unconfoundedness, overlap and no interference. The
    influence standard error is first-order: it holds where the weights balance
    functions like the outcome model's error. Clusters: contributions summed within,
    times G / (G - 1). Time: the weights', plus one outcome fit a fold and arm.

    Subsamples hold from sqrt(n) to 3 sqrt(n) units ([3]_; more where the smallest arm
    needs it), keep the bandwidth of all rows, and are 20 ``n_subsamples`` fits. The
    size is that of the least volatile 95 % interval, and ``se_`` the standard deviation
    of the rescaled estimates at it. It takes a limit law at the rate root n, and no
    smoothness.

    Matching with an outcome model is the bias-corrected estimator of [5]_, whose
    theory is of smooth models fitted in sample, as least squares with ``cv=None``;
    out-of-fold predictions change it by a product of two errors. Outcome variances
    are from residuals of each row's four nearest neighbors in its arm ([4]_).

    References
    ----------
    .. [1] Hirshberg & Wager (2021). Augmented minimax linear estimation. Annals of
       Statistics 49(6).
    .. [2] Stefanski & Boos (2002). The calculus of M-estimation. The American
       Statistician 56(1).
    .. [3] Politis, Romano & Wolf (1999). Subsampling. Springer.
    .. [4] Abadie & Imbens (2006). Large sample properties of matching estimators for
       average treatment effects. Econometrica 74(1).
    .. [5] Abadie & Imbens (2011). Bias-corrected matching estimators for average
       treatment effects. Journal of Business & Economic Statistics 29(1).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import WeightedEffect
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> a = (X[:, 0] + rng.normal(size=400) > 0).astype(int)
    >>> y = X.sum(axis=1) + a + rng.normal(size=400)
    >>> effect = WeightedEffect(estimand="ate").fit(X, y, treatment=a)
    >>> low, high = effect.conf_int()[0]
    >>> bool(low < 1 < high)
    True
    """

    __metadata_request__fit = {"treatment": True, "sample_weight": True, "groups": True}

    _parameter_constraints: dict = {
        "weighter": [StrOptions({"ipm"}), HasMethods("fit"), "array-like", None],
        "outcome_model": [StrOptions({"auto"}), HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "n_rep": [Interval(Integral, 1, None, closed="left")],
        "se": [StrOptions({"influence", "m_estimation", "subsample", "matching"})],
        "n_subsamples": [Interval(Integral, 20, None, closed="left")],
        "inference": [StrOptions({"population", "sample"})],
        "contrast": [StrOptions({"difference", "ratio", "odds_ratio"})],
        "estimand": [str, None],
        "control": "no_validation",
        "focal": "no_validation",
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        weighter="ipm",
        *,
        outcome_model="auto",
        cv=5,
        n_rep=1,
        se="influence",
        n_subsamples=500,
        inference="population",
        contrast="difference",
        estimand=None,
        control=None,
        focal=None,
        weight_type="sampling",
        random_state=None,
        n_jobs=None,
    ):
        self.weighter = weighter
        self.outcome_model = outcome_model
        self.cv = cv
        self.n_rep = n_rep
        self.se = se
        self.n_subsamples = n_subsamples
        self.inference = inference
        self.contrast = contrast
        self.estimand = estimand
        self.control = control
        self.focal = focal
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
        sample_weight: Any = None,
        groups: Any = None,
    ) -> WeightedEffect:
        """Estimate the effect.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates; passed to the weighter and the outcome model as given.
        y : array-like of shape (n,)
            Outcome; numeric.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        sample_weight : array-like of shape (n,) or None, default=None
            Rows of weight zero are removed first.
        groups : array-like of shape (n,) or None, default=None
            Clusters, for the folds and for cluster-robust standard errors.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input, and where no valid standard error exists for the options.
        """
        check_same_rows(
            X=X, y=y, treatment=treatment, sample_weight=sample_weight, groups=groups
        )
        with unchanged_on_error(self):
            checked = check_covariates(self, X, dtype=None)
            n = checked.shape[0]
            X = X if hasattr(X, "columns") else checked
            weighter, agreed = resolve_weighter(
                self.weighter,
                {k: getattr(self, k)
                 for k in ("estimand", "control", "focal", "weight_type")},
            )  # fmt: skip
            estimand = check_estimand(agreed["estimand"])
            arms = check_treatment(
                treatment, n, control=agreed["control"], focal=agreed["focal"]
            )
            sample, rows = checked_sample(
                X, y, arms, sample_weight, groups, self.weight_type
            )
            weights = arm_weights(weighter, sample, estimand, rows)
            cv = kept_splits(self.cv, rows)
            if self.se == "subsample":
                found = by_subsampling(self, weighter, sample, weights, estimand)
            else:
                route = by_matching if self.se == "matching" else by_influence
                found = route(self, sample, weights, estimand, cv)
            self.masses_, self.target_masses_ = np.zeros(n), np.zeros(n)
            self.masses_[rows] = weights.masses
            self.target_masses_[rows] = weights.target_masses
            self.weighter_ = weights.weighter
            masses = None if weights.label == "none" else weights.masses
            details = details_of(self, sample, weights)
            self._store_estimate(found, sample, masses, estimand, rows, details)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
