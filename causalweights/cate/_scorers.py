"""scikit-learn scorers of effect regressions, their metadata routed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest

from causalweights._validation import check_same_rows
from causalweights.cate._contrast import contrast_of
from causalweights.cate._evaluation import Evaluation, arms_only, without
from causalweights.cate._held_out import held_out_rows, held_out_treatment
from causalweights.cate._ranking import qini_score, rate_score
from causalweights.cate._scores import dr_loss, r_loss


def _r_loss(rows: dict[str, Any]) -> float:
    """Return the R-loss; the overall mean follows from the arms' where not given."""
    v = contrast_of(**without(rows, "effects", "sample_weight"), residual=True)
    return r_loss(mean=v.mean, **without(rows, "mean", "mean_0", "mean_1"))


_METRICS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "r_loss": lambda rows: -_r_loss(rows),
    "dr_loss": lambda rows: -dr_loss(**arms_only(rows)),
    "ivw_dr_loss": lambda rows: -dr_loss(**arms_only(rows), weights="ivw"),
    "autoc": lambda rows: rate_score(**arms_only(rows)).effect,
    "qini": lambda rows: qini_score(**arms_only(rows)).effect,
}
_METADATA = ("treatment", "sample_weight", "propensity", "mean", "mean_0", "mean_1",
             "complement")  # fmt: skip


def effect_scorer(
    metric: Literal["r_loss", "dr_loss", "ivw_dr_loss", "autoc", "qini"],
) -> EffectScorer:
    """Return a scikit-learn scorer of predicted effects; larger is better.

    Parameters
    ----------
    metric : {"r_loss", "dr_loss", "ivw_dr_loss", "autoc", "qini"}
        Minus `r_loss`, minus `dr_loss` with uniform or inverse-variance weights, the
        AUTOC of `rate_score`, or `qini_score`. A dose has ``"r_loss"`` alone.

    Returns
    -------
    EffectScorer
        A callable ``(estimator, X, y, *, treatment, sample_weight, propensity, mean,
        mean_0, mean_1, complement)`` for ``scoring=`` of scikit-learn's searches and
        cross-validation. It requests all that metadata, where given, and passes over
        what is not; ``set_score_request`` changes that, or names an alias.

    Raises
    ------
    ValueError
        For another metric. When called: where the treatment is missing, which in a
        search needs ``set_config(enable_metadata_routing=True)``; where no nuisances
        are at hand, or those given are not what the metric takes; and for doses with a
        metric of arms.

    See Also
    --------
    PseudoOutcomeRegressor.score : A weighted R^2, the score without a scorer.

    Notes
    -----
    Without means among the metadata, the nuisances are those of the fit: the fold
    models of a `PseudoOutcomeRegressor`, averaged, which never saw the scored rows;
    the score is the mean over contrasts, and ``propensity`` is what `fit` calls so.
    Losses are comparable under the same nuisances only. A search over ``final_model``,
    ``weights`` or ``modifiers`` keeps them; one over nuisance models, or over
    ``pseudo_outcome`` where ``"u"`` and ``"cov"`` fit other outcome means, does not.

    With means given, cross-fitted once before the search, every candidate is scored by
    the same numbers, and any regressor with ``predict`` can be. They are those of one
    contrast, as `r_loss` and `dr_loss` take them; ``mean_0`` and ``mean_1`` suffice
    for all metrics. The treatment is coded 1, 0 and NaN, or holds the labels of a
    fitted `PseudoOutcomeRegressor` of two arms. y is the outcome, also for a regressor
    fitted on pseudo-outcomes: a search over such a one would hand over those instead.
    A `PseudoOutcomeRegressor` takes a ``propensity`` that it is handed as known; where
    the scorer alone should have it, call ``set_fit_request(propensity=False)`` on it.

    O(n log n) beside the predictions.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from causalweights import PseudoOutcomeRegressor
    >>> from causalweights.cate import effect_scorer
    >>> rng = np.random.default_rng(0)
    >>> X, a = rng.normal(size=(300, 2)), rng.integers(0, 2, size=300)
    >>> y = X[:, 0] + a * (1 + X[:, 1]) + rng.normal(size=300)
    >>> model = PseudoOutcomeRegressor(
    ...     outcome_model=LinearRegression(), propensity_model=LogisticRegression())
    >>> finals = {"final_model": [DummyRegressor(), LinearRegression()]}
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     search = GridSearchCV(model, finals, scoring=effect_scorer("r_loss"), cv=3)
    ...     search = search.fit(X, y, treatment=a)
    >>> search.best_params_
    {'final_model': LinearRegression()}
    """
    if metric not in _METRICS:
        raise ValueError(f"metric={metric!r}: choose one of {', '.join(_METRICS)}.")
    return EffectScorer(metric)


class EffectScorer:
    """What `effect_scorer` returns."""

    def __init__(self, metric: str):
        self._metric = metric
        self._requests: dict[str, Any] = dict.fromkeys(_METADATA, True)

    def __repr__(self) -> str:
        return f"effect_scorer({self._metric!r})"

    def set_score_request(self, **requests: Any) -> Self:
        """Set which metadata a search passes to the scorer; others stay as they are.

        Parameters
        ----------
        **requests : True, False, None or str
            By name of a keyword of the call. A string is the name that the search gets
            the metadata under; None makes the search refuse it.

        Returns
        -------
        self
        """
        unknown = sorted(set(requests) - set(_METADATA))
        if unknown:
            raise TypeError(
                f"{unknown[0]} is no metadata of {self!r}: choose from "
                f"{', '.join(_METADATA)}."
            )
        self._requests |= requests
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Return the requests, as scikit-learn's routers read them."""
        routing = MetadataRequest(owner=repr(self))
        for name, alias in self._requests.items():
            routing.score.add_request(param=name, alias=alias)
        return routing

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        treatment: Any = None,
        sample_weight: Any = None,
        propensity: Any = None,
        mean: Any = None,
        mean_0: Any = None,
        mean_1: Any = None,
        complement: Any = None,
    ) -> float:
        """Return the score of a fitted regressor on rows that it did not see.

        Parameters
        ----------
        estimator : regressor
        X : array-like or frame of shape (m, d)
        y : array-like of shape (m,)
            Outcome.
        treatment : array-like of shape (m,)
        sample_weight : array-like of shape (m,) or None, default=None
        propensity, mean, mean_0, mean_1, complement : array-like or None, default=None
            Of shape (m,), or see `effect_scorer`.

        Returns
        -------
        float
        """
        if treatment is None:
            raise ValueError(
                f"{self!r} needs the treatment: pass treatment=, one label a row; in a "
                "scikit-learn search or cross-validation through metadata routing, "
                "set_config(enable_metadata_routing=True)."
            )
        nuisances = {
            "mean": mean, "mean_0": mean_0, "mean_1": mean_1, "complement": complement,
        }  # fmt: skip
        if any(values is not None for values in nuisances.values()):
            nuisances |= {"propensity": propensity, "sample_weight": sample_weight}
            contrasts = [_given_rows(estimator, X, y, treatment, nuisances)]
        elif isinstance(estimator, Evaluation):
            contrasts = held_out_rows(
                estimator, X, y, treatment, propensity, sample_weight
            )
        else:
            raise ValueError(
                f"{type(estimator).__name__} has no nuisance models of its own: pass "
                "cross-fitted propensity=, mean_0= and mean_1= (r_loss: propensity= "
                "and mean=) to the scorer."
            )
        return float(np.mean([_METRICS[self._metric](rows) for rows in contrasts]))


def _given_rows(
    estimator: Any, X: Any, y: Any, treatment: Any, given: dict[str, Any]
) -> dict[str, Any]:
    """Return the rows of one contrast with nuisances and weights that were given."""
    check_same_rows(X=X, y=y, treatment=treatment, **given)
    if given["propensity"] is None:
        raise ValueError(
            "the nuisances given lack propensity=: pass it with the means."
        )
    rows = {"y": y, "effects": estimator.predict(X), **given}
    if not isinstance(estimator, Evaluation):
        return rows | {"treatment": treatment}
    first = estimator._first
    a = held_out_treatment(first, treatment, len(y))
    if first.arms is None:
        return without(rows, "mean_0", "mean_1") | {"treatment": a}
    if first.arms.n_arms > 2:
        raise ValueError(
            f"{type(estimator).__name__} has {first.arms.n_arms} arms, the nuisances "
            "given are those of one contrast: leave them out, so that those of its "
            "fit are used."
        )
    return rows | {"treatment": a != first.arms.control}
