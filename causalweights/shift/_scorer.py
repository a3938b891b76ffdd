"""Scores for the target of models that are judged on labelled source rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import FloatArray
from causalweights.diagnostics._weights import kish
from causalweights.shift._samples import source_rows
from causalweights.shift._weighter import FEW_EFFECTIVE_ROWS

_METADATA = ("sample_domain", "sample_weight")


class ImportanceWeightedScorer:
    """scikit-learn scorer of held-out source rows for the target: sum w l / sum w.

    With w the density ratio of target to source, the weighted mean of the losses on
    source rows estimates the mean loss on the target; dividing by the sum of the
    weights makes it less variable. Use it as ``scoring=`` of `cross_val_score` or
    `GridSearchCV`. The weights come from one fitted weighter, the same for all
    candidates: a candidate's own weights would each score another population.

    Parameters
    ----------
    weighter : fitted weighter
        ``predict_weights(X)`` gives the weights. Fit it on the source and target
        before the search, the rows to be scored included: they then have the weights
        of that fit, and since no outcome is used, nothing leaks. With ``D=1``, or a
        density ratio, the score is for the target; with larger D for the part of it
        that keeps weight.
    scoring : str, scorer or None, default=None
        A scorer whose metric takes ``sample_weight``; None is the estimator's
        ``score``.
    loss : callable or None, default=None
        ``loss(y, prediction)`` returns one loss a row; the score is minus their
        weighted mean. In place of ``scoring``.
    response_method : str, default="predict"
        Method of the estimator whose result ``loss`` receives.

    Raises
    ------
    ValueError
        When called: for both scoring and loss, a metric without ``sample_weight``, and
        rows whose weights are all zero.

    Notes
    -----
    Assumes that the outcome given the covariates is the same in both populations, and
    that the source's support covers the target's. It warns where the weights of the
    held-out rows are worth fewer than 10 rows.

    The scorer requests ``sample_domain`` and ``sample_weight``. Where X holds rows of
    both samples, metadata routing must bring ``sample_domain``, and the source rows are
    scored.

    References
    ----------
    .. [1] Sugiyama, Krauledat & Müller (2007). Covariate shift adaptation by
       importance weighted cross validation. Journal of Machine Learning Research 8.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import cross_val_score
    >>> from causalweights import ImportanceWeightedScorer, KernelMeanMatching
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 1)), rng.normal(1.0, 0.5, size=(200, 1))
    >>> y = X[:, 0] ** 2
    >>> weighter = KernelMeanMatching().fit(X, X_target=X_target)
    >>> scorer = ImportanceWeightedScorer(weighter, "neg_mean_squared_error")
    >>> scores = cross_val_score(Ridge(), X, y, scoring=scorer)
    >>> scores.shape
    (5,)
    """

    def __init__(
        self,
        weighter: Any,
        scoring: Any = None,
        *,
        loss: Callable[[Any, Any], Any] | None = None,
        response_method: str = "predict",
    ):
        self.weighter = weighter
        self.scoring = scoring
        self.loss = loss
        self.response_method = response_method
        self._requests: dict[str, Any] = dict.fromkeys(_METADATA, True)

    def __repr__(self) -> str:
        how = f"loss={self.loss!r}" if self.loss is not None else repr(self.scoring)
        return f"ImportanceWeightedScorer({self.weighter!r}, {how})"

    def set_score_request(self, **requests: Any) -> Self:
        """Set which metadata a search passes to the scorer; others stay as they are.

        Parameters
        ----------
        **requests : True, False, None or str
            By name: ``sample_domain``, ``sample_weight``. A string is the name that the
            search gets the metadata under.

        Returns
        -------
        self
        """
        unknown = sorted(set(requests) - set(_METADATA))
        if unknown:
            raise TypeError(
                f"{unknown[0]} is no metadata of this scorer: choose from "
                f"{', '.join(_METADATA)}."
            )
        self._requests |= requests
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Return the requests, as scikit-learn's routers read them."""
        routing = MetadataRequest(owner=type(self).__name__)
        for name, alias in self._requests.items():
            routing.score.add_request(param=name, alias=alias)
        return routing

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_domain: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return the weighted score of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
        X : array-like or frame of shape (m, d)
        y : array-like of shape (m,)
        sample_domain : array-like of shape (m,) or None, default=None
            1 for source rows, which are scored; None: all rows.
        sample_weight : array-like of shape (m,) or None, default=None
            Multiplies the weights.

        Returns
        -------
        float
        """
        if self.scoring is not None and self.loss is not None:
            raise ValueError("scoring and loss were both given: pass one of the two.")
        X, y, given = source_rows(X, y, sample_domain, sample_weight)
        weights = self._weights(X, given)
        if self.loss is not None:
            losses = self.loss(y, getattr(estimator, self.response_method)(X))
            return _minus_mean(np.asarray(losses), weights)
        scorer = check_scoring(estimator, self.scoring)
        try:
            return float(scorer(estimator, X, y, sample_weight=weights))
        except TypeError as error:
            if "sample_weight" not in str(error):
                raise
            raise ValueError(
                f"the metric of scoring={self.scoring!r} takes no sample_weight: "
                "choose one that does, or pass loss=, a loss a row."
            ) from error

    def _weights(self, X: Any, given: FloatArray | None) -> FloatArray:
        check_is_fitted(self.weighter)
        weights = np.asarray(self.weighter.predict_weights(X), dtype=np.float64)
        if given is not None:
            weights = weights * given
        if not weights.sum() > 0:
            raise ValueError(
                "all held-out rows have weight zero: none is like the target. Use "
                "fewer folds, or a larger kappa."
            )
        size = kish(weights)
        if size < FEW_EFFECTIVE_ROWS:
            warnings.warn(
                f"an importance-weighted score rests on {size:.1f} effective rows of "
                f"{len(weights)}. Use fewer folds, or a larger kappa.",
                UserWarning,
                stacklevel=3,
            )
        return weights


def _minus_mean(losses: np.ndarray, weights: FloatArray) -> float:
    if losses.shape != weights.shape:
        raise ValueError(
            f"loss returned an array of shape {losses.shape} for {len(weights)} rows: "
            "it must return one number a row."
        )
    return -float(weights @ losses / weights.sum())
