"""Progress of long fits, told to scikit-learn's callbacks where it has them.

Loops of many fits run through `run_jobs`. While an estimator with callbacks is fitted,
`reports_progress` has their hooks called: a task for the fit, one for each loop in it,
one for each of its jobs. Otherwise nothing is said, and nothing costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

from sklearn.utils.parallel import Parallel

try:
    from sklearn.callback import CallbackSupportMixin as ProgressMixin
except ImportError:  # before scikit-learn 1.9

    class ProgressMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's, which has `set_callbacks`."""


# The estimator that is fitted, and the context of its fit; workers have none.
_FITTED: ContextVar[tuple[Any, Any] | None] = ContextVar("fitted", default=None)


def reports_progress(fit: Callable) -> Callable:
    """Decorate ``fit``, within scikit-learn's ``_fit_context``, to tell callbacks.

    That context has the callbacks torn down.
    """

    @wraps(fit)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = partial(fit, self, *args, **kwargs)
        if hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx"):
            return _tell(self, call)
        return call()

    return told


def _tell(estimator: Any, call: Callable[[], Any]) -> Any:
    context = estimator._init_callback_context(max_subtasks=None)
    context.call_on_fit_task_begin(estimator=estimator)
    token = _FITTED.set((estimator, context))
    try:
        return call()
    finally:
        _FITTED.reset(token)
        context.call_on_fit_task_end(estimator=estimator)


def run_jobs(jobs: Iterable[Any], n_jobs: int | None, name: str) -> list[Any]:
    """Return the results of joblib's delayed calls, in order.

    Parameters
    ----------
    jobs : iterable of delayed calls
    n_jobs : int or None
        Processes.
    name : str
        What a callback calls the loop.
    """
    fitted = _FITTED.get()
    if fitted is None:
        return Parallel(n_jobs=n_jobs)(jobs)
    estimator, context = fitted
    jobs, found = list(jobs), []
    loop = context.subcontext(task_name=name, max_subtasks=len(jobs))
    loop.call_on_fit_task_begin(estimator=estimator)
    results = iter(Parallel(n_jobs=n_jobs, return_as="generator")(jobs))
    for _ in jobs:
        one = loop.subcontext(task_name="job")
        one.call_on_fit_task_begin(estimator=estimator)
        found.append(next(results))
        # Every fold is needed: a callback's wish to stop is not granted.
        one.call_on_fit_task_end(estimator=estimator)
    loop.call_on_fit_task_end(estimator=estimator)
    return found
