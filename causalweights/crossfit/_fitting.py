"""Fitting a learner with sampling weights: Pipelines, both metadata-routing modes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn import config_context, get_config
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter


def check_takes_weights(estimator: Any) -> str:
    """Return the keyword by which ``fit`` takes weights without metadata routing.

    ``"sample_weight"``, or ``"<last step>__sample_weight"`` for a Pipeline; a
    ValueError for a learner whose ``fit`` has no such argument.
    """
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        return f"{name}__{check_takes_weights(last)}"
    if _is_search(estimator):
        check_takes_weights(estimator.estimator)
        return "sample_weight"
    if not hasattr(estimator, "fit") or not has_fit_parameter(
        estimator, "sample_weight"
    ):
        raise ValueError(
            f"{_name(estimator)} cannot be fitted with sample_weight: its fit has no "
            "such argument. Use a learner whose fit takes sample_weight (for a "
            "Pipeline, as its last step), or leave sample_weight out."
        )
    return "sample_weight"


def fit_with_weights(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
    """Fit an estimator, passing the weights in the way it takes them.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Fitted in place: clone it before where it belongs to a user. A Pipeline's last
        step gets the weights. With metadata routing enabled, an earlier step gets
        them too where it was set to request them; requests that nobody set are then
        filled in on the estimator, True for the last step, False for earlier ones. A
        search over parameters fits and scores its candidates with them.
    X : array-like of shape (n, d)
        Covariates.
    y : array-like of shape (n,)
        Outcome or labels.
    sample_weight : array-like of shape (n,) or None, default=None
        None fits without weights.

    Returns
    -------
    estimator
        The estimator itself.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from causalweights.crossfit import fit_with_weights
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 5.0])
    >>> model = make_pipeline(StandardScaler(), LinearRegression())
    >>> model = fit_with_weights(model, X, y, [1.0, 1.0, 1e-12])
    >>> bool(np.allclose(model.predict([[2.0]]), 2.0, atol=1e-4))
    True
    """
    if sample_weight is None:
        return estimator.fit(X, y)
    keyword = check_takes_weights(estimator)
    if _is_search(estimator):
        return _fit_search(estimator, X, y, sample_weight)
    if not get_config()["enable_metadata_routing"]:
        return estimator.fit(X, y, **{keyword: sample_weight})
    if not _earlier_step_asks(estimator):
        # The same call as without routing: learners that cannot route, and the
        # scorers inside others, which nobody could ask to, work in both modes.
        with config_context(enable_metadata_routing=False):
            return estimator.fit(X, y, **{keyword: sample_weight})
    _fill_requests(estimator, True)
    _check_requested(estimator)
    return estimator.fit(X, y, sample_weight=sample_weight)


def _is_search(estimator: Any) -> bool:
    """Tell whether this is a search over another estimator's parameters."""
    return all(hasattr(estimator, name) for name in ("estimator", "refit", "scoring"))


def _fit_search(search: Any, X: Any, y: Any, sample_weight: Any) -> Any:
    """Fit a search whose candidates are fitted, and scored if possible, by weight."""
    with config_context(enable_metadata_routing=True):
        _fill_requests(search.estimator, True)
        scoring = search.scoring
        if isinstance(scoring, str):
            search.scoring = get_scorer(scoring).set_score_request(sample_weight=True)
        elif scoring is None:
            _request_in_score(search.estimator)
        return search.fit(X, y, sample_weight=sample_weight)


def _request_in_score(estimator: Any) -> None:
    """Let an estimator's own score take weights, a Pipeline's and its last step's."""
    if hasattr(estimator, "set_score_request"):
        estimator.set_score_request(sample_weight=True)
    if isinstance(estimator, Pipeline):
        _request_in_score(estimator.steps[-1][1])


def _earlier_step_asks(estimator: Any) -> bool:
    """Return whether a Pipeline step before the last was set to request weights."""
    if not isinstance(estimator, Pipeline):
        return False
    *earlier, (_, last) = estimator.steps
    return any(_asks(step) for _, step in earlier) or _earlier_step_asks(last)


def _asks(step: Any) -> bool:
    if not (hasattr(step, "fit") and hasattr(step, "get_params")):
        return False
    request = _weight_request(step, unknown=None)
    if request is True or isinstance(request, str):
        return True
    return any(_asks(part) for part in _parts(step))


def _fill_requests(estimator: Any, wanted: bool) -> None:
    """Set the weight requests of an estimator and its parts where nobody has."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            _fill_requests(step, False)
        _fill_requests(estimator.steps[-1][1], wanted)
        return
    if not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        return  # "passthrough", a column selector
    if _weight_request(estimator, unknown=True) is None:
        estimator.set_fit_request(sample_weight=wanted)
    for part in _parts(estimator):
        _fill_requests(part, wanted)


def _weight_request(estimator: Any, unknown: Any) -> Any:
    """Return the request for weights in fit: None unset, ``unknown`` if it has none."""
    if not hasattr(estimator, "set_fit_request"):
        return unknown
    routing = get_routing_for_object(estimator)
    # A meta-estimator's router keeps what the meta-estimator itself asks for apart.
    own = getattr(routing, "_self_request", routing)
    requests = own.fit.requests if own is not None else {}
    return requests.get("sample_weight", unknown)


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield the estimators among the parameters, bare or in lists of tuples."""
    for value in estimator.get_params(deep=False).values():
        entries = value if isinstance(value, (list, tuple)) else [value]
        for entry in entries:
            yield from entry if isinstance(entry, tuple) else [entry]


def _check_requested(pipeline: Pipeline) -> None:
    last = pipeline.steps[-1][1]
    if isinstance(last, Pipeline):
        _check_requested(last)
        return
    request = _weight_request(last, unknown=True)
    if request is not True:
        raise ValueError(
            f"{_name(last)} was set to request sample_weight={request!r}, so the "
            "Pipeline would drop the weights silently: call "
            "set_fit_request(sample_weight=True) on it, or leave sample_weight out."
        )


def _name(estimator: Any) -> str:
    return estimator if isinstance(estimator, str) else type(estimator).__name__
