"""Prediction intervals for a target population, by weighted split conformal prediction.

Tibshirani, Barber, Candès & Ramdas (2019) with any regressor and any shift weighter.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    RegressorMixin,
    _fit_context,
)
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
)
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from causalweights._base import unchanged_on_error
from causalweights._categories import is_frame
from causalweights._typing import FloatArray, IntArray
from causalweights._validation import (
    check_covariates,
    check_outcome,
    check_same_rows,
)
from causalweights.crossfit import mean_prediction, seeded_clone
from causalweights.diagnostics._weights import kish
from causalweights.shift._conformal import (
    conformity_scores,
    density_ratio,
    prediction_limits,
    warn_of_intervals,
    weighted_quantiles,
)
from causalweights.shift._conformal_band import check_band, fit_band
from causalweights.shift._samples import source_rows, split_samples

_REGRESSOR = HasMethods(["fit", "predict"])


class WeightedConformalRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Regression with prediction intervals that cover outcomes of the target.

    One part of the source rows and the target's covariates fit the weighter and the
    regressor; on the other part, for calibration, absolute residuals are weighted by
    the density ratio of target to source. An interval reaches as far from the
    prediction as their weighted quantile, with the new row's own weight at infinity.

    Parameters
    ----------
    estimator : regressor or Pipeline
    weighter : estimator or None
        Such as `KernelMeanMatching`, `DoubleKernelMeanMatching`, `LogisticRatio` or
        `RuLSIF`. None: all weights are one, which is ordinary split conformal
        prediction, and no target sample is needed.
    scale_estimator : regressor or None, default=None
        Fitted to the absolute residuals of the rows that fitted ``estimator``; widths
        are in proportion to its predictions, which are kept above a tenth of the mean
        residual. None: all intervals have one width, up to their own weights.
    quantile_estimators : tuple of two regressors or None, default=None
        Of a low and a high quantile, such as ``HistGradientBoostingRegressor(
        loss="quantile", quantile=0.05)``. Intervals are theirs, moved outwards or
        inwards (conformalised quantile regression). Not with ``scale_estimator``.
    calibration_size : float in (0, 1) or int, default=0.5
        Share or number of the source rows that calibrate.
    weighted_fit : bool, default=True
        Whether regressors are fitted with the weights. Intervals are valid without,
        and False admits regressors that take none.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Sampling weights have mean one; the number of rows that a row is, as given.
    random_state : int, RandomState instance or None, default=None
        Draws the calibration rows, and seeds what is left unseeded in the estimators.
        None is seed 0.

    Attributes
    ----------
    estimator_, weighter_, scale_estimator_ : estimators, fitted clones; or None
    quantile_estimators_ : tuple of fitted clones, or None
    calibration_rows_ : ndarray of shape (c,)
        Positions among the source rows.
    calibration_scores_ : ndarray of shape (c,)
        Absolute residuals; over the scale, or from the band of quantiles, with signs.
    calibration_weights_ : ndarray of shape (c,)
        Density ratios times sample weights.
    ess_calibration_ : float
        Kish's effective size of the calibration rows. An interval of level .95 needs 20
        at least: `predict_interval` warns below 1 / (1 - level).
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    ShiftWeightedEstimator : The weighted fit alone, from all source rows.

    Notes
    -----
    Assumes that the outcome given the covariates is the same in both populations. With
    the true density ratio w, up to a factor, an interval covers the outcome of a new
    target row with probability ``level`` at least, for any regressor and sample sizes:
    on average over samples and rows, not at each x. With estimated weights this holds
    for the population of density w p_source, and so for the target up to half of
    E_source |w / E_source w - true ratio| [2]_. Both need a weighter that has not seen
    the calibration rows: even without outcomes, weights of the rows of a fit and those
    of new rows are not exchangeable. Of target rows that the weighter has seen, each is
    one of t. Sampling weights of new rows are not known; each counts as one of mean
    weight.

    Weighters differ at the edge of the source. `DoubleKernelMeanMatching` has the ratio
    beta / alpha; where alpha < 0.1 the source does not reach: calibration rows there
    do not count, and new ones get infinite intervals, so that the whole target is
    covered (with beta alone, it would be the reachable part only).
    `KernelMeanMatching` bounds the weights of new rows also where the source has hardly
    any, `RuLSIF` by 1 / mixture (``mixture=0`` is the ratio itself). `LogisticRatio`
    does not, and far rows get infinite intervals. None recognises a row apart from both
    samples.

    Cross-validated intervals are not offered: with weights, only their leave-one-out
    form has a guarantee, of 1 - 2 (1 - level), for n fits and the true ratio [5]_.

    Time O(c log c) beside the fits; O(m log c) for m new rows.

    References
    ----------
    .. [1] Tibshirani, Barber, Candès & Ramdas (2019). Conformal prediction under
       covariate shift. NeurIPS 32.
    .. [2] Lei & Candès (2021). Conformal inference of counterfactuals and individual
       treatment effects. Journal of the Royal Statistical Society B 83(5).
    .. [3] Romano, Patterson & Candès (2019). Conformalized quantile regression.
       NeurIPS 32. (``quantile_estimators``)
    .. [4] Lei, G'Sell, Rinaldo, Tibshirani & Wasserman (2018). Distribution-free
       predictive inference for regression. Journal of the American Statistical
       Association 113(523), section 5.2. (``scale_estimator``)
    .. [5] Prinster, Liu & Saria (2022). JAWS: auditing predictive uncertainty under
       covariate shift. NeurIPS 35.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from causalweights.shift import LogisticRatio, WeightedConformalRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(600, 1)), rng.normal(0.7, 1.0, size=(400, 1))
    >>> y = X[:, 0] + np.exp(0.5 * X[:, 0]) * rng.normal(size=600)
    >>> model = WeightedConformalRegressor(LinearRegression(), LogisticRatio())
    >>> model = model.fit(X, y, X_target=X_target)
    >>> low, high = model.predict_interval([[0.7]], level=0.9)[0]
    >>> bool(low < model.predict([[0.7]])[0] < high)
    True
    """

    __metadata_request__fit = {
        "X_target": True, "sample_domain": True, "sample_weight": True,
    }  # fmt: skip
    __metadata_request__score = {"sample_domain": True, "sample_weight": True}

    _parameter_constraints: dict = {
        "estimator": [_REGRESSOR],
        "weighter": [HasMethods(["fit", "predict_weights"]), None],
        "scale_estimator": [_REGRESSOR, None],
        "quantile_estimators": [tuple, list, None],
        "calibration_size": [
            Interval(RealNotInt, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "weighted_fit": ["boolean"],
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        weighter,
        *,
        scale_estimator=None,
        quantile_estimators=None,
        calibration_size=0.5,
        weighted_fit=True,
        weight_type="sampling",
        random_state=None,
    ):
        self.estimator = estimator
        self.weighter = weighter
        self.scale_estimator = scale_estimator
        self.quantile_estimators = quantile_estimators
        self.calibration_size = calibration_size
        self.weighted_fit = weighted_fit
        self.weight_type = weight_type
        self.random_state = random_state

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
        """Fit weighter and regressors on one part of the source, score the other.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates: of the source, or with ``sample_domain`` of both samples.
        y : array-like of shape (n,)
            Outcome; that of target rows is not looked at.
        X_target : array-like, frame or TargetSample of shape (t, d), default=None
            Covariates of the target; in cross-validation a `TargetSample`.
        sample_domain : array-like of shape (n,) or None, default=None
            1 for source rows, -1 for target rows of X. Exactly one of this and
            X_target is needed, unless ``weighter`` is None.
        sample_weight : array-like of shape (n,) or None, default=None
            Rows of weight zero are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As the weighter's and the estimators' fit; for too few rows, an estimator
            that takes no weights while ``weighted_fit``, and weights that are all zero.
        """
        models = self.estimator, self.scale_estimator, self.quantile_estimators
        check_band(*models, weighted=self.weighted_fit and self.weighter is not None)
        with unchanged_on_error(self):
            if is_frame(X):
                validate_data(self, X, skip_check_array=True)
            else:
                X = check_covariates(self, X, dtype=None, min_rows=1)
            check_same_rows(X=X, y=y)
            if self.weighter is None and X_target is None and sample_domain is None:
                X_target = X
            split = split_samples(X, X_target, sample_domain, sample_weight)
            kept = np.flatnonzero(split.source_weight > 0)
            outcome = check_outcome(
                None if y is None else split.source_of(y, kept), len(kept)
            )
            given = split.source_weight[kept]
            if self.weight_type == "sampling":
                given = given / given.mean()
            fitting, held_out, seed = self._draw(len(kept))
            rows = split.source_of(X, kept[fitting])
            weights = given[fitting] if split.weighted else None
            weights = self._fit_weighter(rows, split.target_of(X), weights, seed)
            self._band = fit_band(
                *models, rows, outcome[fitting], weights if self.weighted_fit else None,
                seed,
            )  # fmt: skip
            self.estimator_ = self._band.mean
            self.scale_estimator_ = self._band.scale
            self.quantile_estimators_ = self._band.quantiles
            self.calibration_rows_ = kept[held_out]
            rows = split.source_of(X, kept[held_out])
            self._calibrate(rows, outcome[held_out], given[held_out])
        return self

    def _draw(self, n: int) -> tuple[IntArray, IntArray, int]:
        """Return the rows that fit and those that calibrate, sorted, and a seed."""
        rng = check_random_state(0 if self.random_state is None else self.random_state)
        size = self.calibration_size
        count = int(np.ceil(size * n)) if size < 1 else int(size)
        if n - count < 2:
            raise ValueError(
                f"calibration_size={size} leaves {max(n - count, 0)} source row(s) to "
                f"fit with (n_samples={n}): pass more rows, or a smaller size."
            )
        order = rng.permutation(n)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        return np.sort(order[count:]), np.sort(order[:count]), seed

    def _fit_weighter(
        self, X: Any, target: Any, given: FloatArray | None, seed: int
    ) -> FloatArray | None:
        """Fit the weighter; return its rows' total weights, None where all are one."""
        self.weighter_ = None
        if self.weighter is None:
            return given
        options = {} if given is None else {"sample_weight": given}
        self.weighter_ = seeded_clone(self.weighter, seed)
        self.weighter_.fit(X, X_target=target, **options)
        weights = self.weighter_.beta_ * (1.0 if given is None else given)
        return _some(weights, "rows that fit the regressor")

    def _calibrate(self, X: Any, y: FloatArray, given: FloatArray) -> None:
        self.calibration_scores_ = conformity_scores(y, *self._band.at(X))
        weights = _some(given * self._ratio(X, 0.0), "calibration rows")
        self.calibration_weights_ = weights
        counted = self.weight_type == "frequency"
        self.ess_calibration_ = kish(weights, given if counted else None)

    def _ratio(self, X: Any, beyond: float) -> FloatArray:
        """Return density ratios of rows; ``beyond`` where the source does not reach."""
        if self.weighter_ is None:
            return np.ones(_num_samples(X))
        beta = np.asarray(self.weighter_.predict_weights(X), dtype=np.float64)
        alpha = np.ones(len(beta))
        if hasattr(self.weighter_, "target_weights"):
            alpha = self.weighter_.target_weights(X)
        return density_ratio(beta, alpha, beyond)

    def predict(self, X: Any) -> FloatArray:
        """Return the regressor's predictions of rows (m, d)."""
        check_is_fitted(self)
        return mean_prediction(self.estimator_, X)

    def predict_interval(self, X: Any, level: float = 0.95) -> FloatArray:
        """Return limits that cover the outcomes of target rows with probability level.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
        level : float, default=0.95

        Returns
        -------
        ndarray of shape (m, 2)
            Infinite where no finite limits are valid, of which there is a warning.

        Raises
        ------
        ValueError
            For a level that is not between 0 and 1.
        """
        check_is_fitted(self)
        if not (isinstance(level, Real) and 0 < level < 1):
            raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
        band, own = self._band.at(X), self._ratio(X, np.inf)
        quantiles = weighted_quantiles(
            self.calibration_scores_, self.calibration_weights_, own, level
        )
        warn_of_intervals(quantiles, own, self.ess_calibration_, level, 3)
        return prediction_limits(*band, quantiles)

    def score(
        self, X: Any, y: Any, *, sample_domain: Any = None, sample_weight: Any = None
    ) -> float:
        """Return R^2 of the predictions, on the source rows where domains are given.

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
        rows = source_rows(X, y, sample_domain, sample_weight)
        return super().score(*rows)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags = get_tags(self.estimator).regressor_tags
        return tags


def _some(weights: FloatArray, which: str) -> FloatArray:
    if not weights.sum() > 0:
        raise ValueError(
            f"all weights of the {which} are zero: none is like the target."
        )
    return weights
