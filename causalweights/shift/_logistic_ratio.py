"""Density ratios from a classifier that tells target rows from source rows."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from causalweights._typing import FloatArray
from causalweights.crossfit import fit_with_weights
from causalweights.shift._samples import Samples
from causalweights.shift._weighter import _BaseShiftWeighter


class LogisticRatio(_BaseShiftWeighter):
    """Source weights from the odds that a row is a target row.

    With P(target | x) of a classifier on both samples, the density ratio of target to
    source is its odds times n / t. The baseline of covariate-shift adaptation: fast and
    stable, as good as the classifier's form, without any claim to balance the samples.

    Parameters
    ----------
    classifier : classifier or None, default=None
        Any with ``predict_proba`` and sample weights, or a Pipeline ending in one,
        fitted on 0 (source) and 1 (target). None = logistic regression with
        scikit-learn's default penalty on covariates standardised over both samples.
        A flexible one needs a strong penalty: it is not cross-fitted.
    max_weight : float or None, default=None
        Largest ratio.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Sampling weights reach the classifier with mean one in each sample, frequency
        weights as they are.

    Attributes
    ----------
    beta_ : ndarray of shape (n,)
        Density ratio at the source rows, of mean about one.
    alpha_ : ndarray of shape (t,)
        Ones; zero for target rows of sample weight zero.
    classifier_ : classifier
    ess_source_, ess_target_ : float
    n_features_in_, feature_names_in_ : as in scikit-learn

    References
    ----------
    .. [1] Bickel, Brückner & Scheffer (2009). Discriminative learning under covariate
       shift. Journal of Machine Learning Research 10.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift import LogisticRatio
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(400, 1)), rng.normal(1.0, 1.0, size=(300, 1))
    >>> weighter = LogisticRatio().fit(X, X_target=X_target)

    The true ratio is exp(x - 1/2):

    >>> bool(np.allclose(weighter.predict_weights([[0.5]]), 1.0, atol=0.2))
    True
    """

    standardize = True

    _advice = "A stronger penalty or max_weight"

    _parameter_constraints: dict = {
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
        "max_weight": [Interval(Real, 0, None, closed="neither"), None],
        "weight_type": [StrOptions({"sampling", "frequency"})],
    }

    def __init__(self, *, classifier=None, max_weight=None, weight_type="sampling"):
        self.classifier = classifier
        self.max_weight = max_weight
        self.weight_type = weight_type

    def _weigh(
        self, samples: Samples, source: FloatArray, target: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        weights = self._relative_weights([samples.source_weight, samples.target_weight])
        labels = np.repeat([0, 1], [len(source), len(target)])
        self.classifier_ = fit_with_weights(
            _new_classifier(self.classifier), np.vstack([source, target]), labels,
            np.concatenate(weights),
        )  # fmt: skip
        self._prior = float(weights[0].sum() / weights[1].sum())
        return self._source_function(source), np.ones(len(target))

    def _source_function(self, Z: FloatArray) -> FloatArray:
        p = np.asarray(self.classifier_.predict_proba(Z), dtype=np.float64)
        with np.errstate(divide="ignore"):
            ratio = np.minimum(
                self._prior * p[:, 1] / p[:, 0], self.max_weight or np.inf
            )
        if not np.all(np.isfinite(ratio)):
            raise ValueError(
                "the classifier is certain that some rows are target rows: their "
                "density ratio is infinite. Give max_weight, or a stronger penalty."
            )
        return ratio


def _new_classifier(classifier: Any) -> Any:
    if classifier is not None:
        return clone(classifier)
    # Imported here: scikit-learn's linear models take a tenth of a second.
    from sklearn.linear_model import LogisticRegression

    # The score equations solved to rounding, so that copies of rows equal weights.
    return LogisticRegression(tol=1e-10, max_iter=1000)
