"""Any scikit-learn estimator fitted for the target, by source weights."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from causalweights._base import unchanged_on_error
from causalweights._typing import FloatArray
from causalweights.crossfit import check_takes_weights, fit_with_weights
from causalweights.shift._samples import source_rows, split_samples


def _estimator_has(name: str) -> Any:
    def check(self: ShiftWeightedEstimator) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class ShiftWeightedEstimator(MetaEstimatorMixin, BaseEstimator):
    """A classifier or regressor whose loss on the source stands for the target's.

    Computes weights of the source rows, multiplies them by sample weights, and fits the
    estimator on the source with them. It is a classifier where the estimator is one,
    and a regressor where that is.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Its ``fit`` takes ``sample_weight`` (a Pipeline: its last step's).
    weighter : estimator
        Such as `KernelMeanMatching`, `DoubleKernelMeanMatching`, `LogisticRatio` or
        `RuLSIF`: ``fit(X, X_target=...)`` stores ``beta_``.

    Attributes
    ----------
    estimator_, weighter_ : estimator, fitted clones
    weights_ : ndarray of shape (n,)
        What the estimator was fitted with: weights of the source rows times sample
        weights, of mean one, so that penalties keep their meaning.
    n_features_in_, feature_names_in_ : as in scikit-learn

    Notes
    -----
    ``score`` is the estimator's own, unweighted. In a search over labelled source rows
    use `ImportanceWeightedScorer`, which scores for the target.

    Scale inside: ``ShiftWeightedEstimator(make_pipeline(StandardScaler(), ...),
    KernelMeanMatching(standardize=True))``. As the last step of a Pipeline it receives
    scaled X and raw X_target, unless the Pipeline has ``transform_input=["X_target"]``
    (with metadata routing) or the samples come by ``sample_domain``.

    With ``sample_domain`` in a search, y of target rows is a placeholder that no score
    should see: enable metadata routing, by which ``score`` gets ``sample_domain`` too.

    References
    ----------
    .. [1] Shimodaira (2000). Improving predictive inference under covariate shift by
       weighting the log-likelihood function. Journal of Statistical Planning and
       Inference 90(2).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from causalweights.shift import KernelMeanMatching, ShiftWeightedEstimator
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 1)), rng.normal(1.5, 0.5, size=(200, 1))
    >>> y = X[:, 0] ** 2
    >>> model = ShiftWeightedEstimator(LinearRegression(), KernelMeanMatching())
    >>> model = model.fit(X, y, X_target=X_target)

    A line through the curve on the right, where it rises:

    >>> model.estimator_.coef_.round(1)
    array([2.1])
    """

    __metadata_request__fit = {
        "X_target": True, "sample_domain": True, "sample_weight": True,
    }  # fmt: skip
    __metadata_request__score = {"sample_domain": True, "sample_weight": True}

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"])],
        "weighter": [HasMethods(["fit", "predict_weights"])],
    }

    def __init__(self, estimator, weighter):
        self.estimator = estimator
        self.weighter = weighter

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit weighter and estimator; exactly one of X_target, sample_domain is needed.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates: of the source, or with ``sample_domain`` of both samples.
        y : array-like of shape (n,)
            Outcome; that of target rows is not looked at.
        X_target : array-like, frame or TargetSample of shape (t, d), default=None
            Covariates of the target; in cross-validation a `TargetSample`.
        sample_domain : array-like of shape (n,) or None, default=None
            1 for source rows, -1 for target rows of X.
        sample_weight : array-like of shape (n,) or None, default=None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As the weighter's and the estimator's fit, and for an estimator that takes
            no weights.
        """
        if y is None:
            raise ValueError(
                "y is missing: this estimator requires y to be passed, but the target "
                "y is None. Pass one outcome a row of X."
            )
        check_takes_weights(self.estimator)
        with unchanged_on_error(self):
            validate_data(self, X, skip_check_array=True)
            split = split_samples(X, X_target, sample_domain, sample_weight)
            kept = np.flatnonzero(split.source_weight > 0)
            source, outcome = split.source_of(X, kept), split.source_of(y, kept)
            given = split.source_weight[kept]
            self.weighter_ = clone(self.weighter).fit(
                source,
                X_target=split.target_of(X),
                **({"sample_weight": given} if split.weighted else {}),
            )
            weights = self.weighter_.beta_ * given
            if not weights.sum() > 0:
                raise ValueError(
                    "all source weights are zero: no source row is like the target."
                )
            weights = weights / weights.mean()
            self.estimator_ = fit_with_weights(
                clone(self.estimator), source, outcome, weights
            )
            self.weights_ = np.zeros(len(split.source))
            self.weights_[kept] = weights
            self._by_domain = sample_domain is not None
        return self

    @property
    def classes_(self) -> np.ndarray:
        """Labels of a fitted classifier."""
        return self.estimator_.classes_

    @available_if(_estimator_has("predict"))
    def predict(self, X: Any) -> np.ndarray:
        """Return the estimator's predictions of rows (m, d)."""
        return self._call("predict", X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any) -> FloatArray:
        """Return the estimator's class probabilities of rows (m, d)."""
        return self._call("predict_proba", X)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return the estimator's log probabilities of rows (m, d)."""
        return self._call("predict_log_proba", X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any) -> FloatArray:
        """Return the estimator's decision values of rows (m, d)."""
        return self._call("decision_function", X)

    def _call(self, method: str, X: Any) -> Any:
        check_is_fitted(self)
        return getattr(self.estimator_, method)(X)

    def predict_weights(self, X: Any) -> FloatArray:
        """Return the weighter's source weights of new rows (m, d)."""
        check_is_fitted(self)
        return self.weighter_.predict_weights(X)

    @available_if(_estimator_has("score"))
    def score(
        self, X: Any, y: Any, *, sample_domain: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the estimator's own score; on the source rows where domains are given.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
        y : array-like of shape (m,)
        sample_domain : array-like of shape (m,) or None, default=None
            None: all rows have an outcome.
        sample_weight : array-like of shape (m,) or None, default=None

        Returns
        -------
        float
        """
        check_is_fitted(self)
        rows = source_rows(X, y, sample_domain, sample_weight)
        if self._by_domain and sample_domain is None:
            self._refuse_placeholders(rows[1])
        weights = {} if rows[2] is None else {"sample_weight": rows[2]}
        return self.estimator_.score(rows[0], rows[1], **weights)

    def _refuse_placeholders(self, y: Any) -> None:
        """Refuse labels of rows that are likely the target's."""
        if not is_classifier(self):
            return  # NaN is refused by the score itself
        unknown = set(np.unique(np.asarray(y)).tolist()) - set(self.classes_.tolist())
        if unknown:
            raise ValueError(
                f"y holds the label {unknown.pop()!r}, which no source row has: pass "
                "sample_domain, as to fit; in a scikit-learn search or "
                "cross-validation through metadata routing, "
                "set_config(enable_metadata_routing=True)."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.target_tags.required = True
        return tags
