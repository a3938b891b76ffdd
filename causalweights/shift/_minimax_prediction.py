"""What a fitted minimax classifier says of new rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import FloatArray
from causalweights.shift._classifier_fit import probabilities
from causalweights.shift._features import feature_rows
from causalweights.shift._labels import refuse_placeholders
from causalweights.shift._new_rows import WeightFunctions
from causalweights.shift._rule import MinimaxRule
from causalweights.shift._samples import source_rows
from causalweights.shift._weighter import _BaseShiftWeighter


def _has_logarithms(self: _MinimaxPrediction) -> bool:
    return self.loss == "log"


class _MinimaxPrediction(ClassifierMixin, _BaseShiftWeighter):
    """Labels, probabilities and weights of rows, from the rule that ``fit`` stored."""

    loss: Any
    prediction: str
    random_state: Any
    n_jobs: int | None
    classes_: np.ndarray
    features_: Any
    _rule: MinimaxRule
    _functions: WeightFunctions
    _intercept: bool

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the largest unweighted score; or draw classes.

        Drawn, where ``prediction="randomized"``, from `predict_proba`: by the order of
        the rows, and the same in every call for an integer ``random_state``.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)

        Returns
        -------
        ndarray of shape (m,)
        """
        if self.prediction == "randomized":
            h = self.predict_proba(X)
            seed = 0 if self.random_state is None else self.random_state
            draws = check_random_state(seed).random_sample((len(h), 1))
            best = np.sum(np.cumsum(h[:, :-1], axis=1) <= draws, axis=1)
        else:
            scores = self.decision_function(X)
            binary = scores.ndim == 1
            best = (scores > 0).astype(int) if binary else np.argmax(scores, axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the rule's probabilities: of scores times target weights.

        Uniform where a row's target weight is 0, since nothing is known there. For
        such rows the most probable class can differ from `predict`; with the 0-1 loss
        ties go to the class of `predict`, by a rounding error.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)

        Returns
        -------
        ndarray of shape (m, C)
            Columns in the order of ``classes_``.
        """
        Z = self._new_rows(X)
        return probabilities(self._rule.loss, self._scores(Z), self._target_function(Z))

    @available_if(_has_logarithms)
    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return the logarithms of `predict_proba`, for the log loss.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)

        Returns
        -------
        ndarray of shape (m, C)
        """
        Z = self._new_rows(X)
        weighted = self._target_function(Z)[:, None] * self._scores(Z)
        return np.asarray(log_softmax(weighted, axis=1))

    def decision_function(self, X: Any) -> FloatArray:
        """Return unweighted scores; of two classes the second's minus the first's.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)

        Returns
        -------
        ndarray of shape (m,) or (m, C)
        """
        scores = self._scores(self._new_rows(X))
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_domain: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return the accuracy; on the source rows where domains are given.

        On the source as it is: see `ImportanceWeightedScorer` for the target.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
        y : array-like of shape (m,)
        sample_domain : array-like of shape (m,) or None, default=None
            None: all rows have a label.
        sample_weight : array-like of shape (m,) or None, default=None

        Returns
        -------
        float
        """
        check_is_fitted(self)
        X, y, weight = source_rows(X, y, sample_domain, sample_weight)
        if self._by_domain and sample_domain is None:
            refuse_placeholders(y, self.classes_)
        return float(accuracy_score(y, self.predict(X), sample_weight=weight))

    def _scores(self, Z: FloatArray) -> FloatArray:
        return feature_rows(self.features_, Z, self._intercept) @ self._rule.mu.T

    def _source_function(self, Z: FloatArray) -> FloatArray:
        return self._functions.source(Z, self.n_jobs)

    def _target_function(self, Z: FloatArray) -> FloatArray:
        return self._functions.target(Z, self.n_jobs)
