"""Cross-fitting of two, three and four ways (Fisher & Fisher, arXiv 2306.07230)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import delayed

from causalweights._progress import run_jobs
from causalweights._typing import FloatArray, IntArray
from causalweights.cate._nuisances import Data, check_outcomes, fit_nuisance
from causalweights.crossfit import check_arms, make_folds


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Who trains and who is predicted.

    Attributes
    ----------
    trains, tests : list of J ndarray
        Rows that each set of nuisance models learns from, and rows it predicts.
    fold : ndarray of shape (n,)
        The part that each unit belongs to.
    units : ndarray of shape (N,)
        Unit of each stacked row; n rows under two-way cross-fitting.
    sources : ndarray of shape (N, 3)
        Training sets of the stacked row's pi, kappa and outcome means.
    """

    trains: list[IntArray]
    tests: list[IntArray]
    fold: IntArray
    units: IntArray
    sources: IntArray

    def by_unit(self, values: FloatArray) -> FloatArray:
        """Return each unit's average over its stacked rows, (n, ...)."""
        out = np.zeros((len(self.fold), *values.shape[1:]))
        np.add.at(out, self.units, values)
        return out / (len(self.units) / len(out))


def make_plan(
    cv: Any, cf_order: int, data: Data, groups: Any, labels: Any, seed: int
) -> Plan:
    """Return the plan of two-way cross-fitting by ``cv``, or of three or four parts.

    Of three parts, models learn from one part and predict the others; a unit then has
    a row for each ordered pair of the parts that it is not in, propensity from the
    first and outcome means from the second. Of four, for each ordered triple, kappa
    from a part of its own.
    """
    n, codes = len(data.y), data.a if data.n_arms else None
    folds = make_folds(
        cv if cf_order == 2 else _parts_of(cv, cf_order), n,
        codes=codes, groups=groups, labels=labels, random_state=seed,
    )  # fmt: skip
    fold = np.empty(n, dtype=np.intp)
    for k, (_, test) in enumerate(folds):
        fold[test] = k
    if cf_order == 2:
        trains, tests = ([pair[i] for pair in folds] for i in (0, 1))
        return Plan(trains, tests, fold, np.arange(n), np.tile(fold[:, None], 3))
    trains = [test for _, test in folds]
    tests = [np.flatnonzero(fold != k) for k in range(cf_order)]
    if codes is not None:
        check_arms(trains, codes, labels)
    others = [[k for k in range(cf_order) if k != own] for own in range(cf_order)]
    orders = [list(permutations(rest)) for rest in others]
    rows = np.array(orders)[fold]  # (n, orders, parts)
    count = rows.shape[1]
    sources = rows.reshape(n * count, -1)
    if cf_order == 3:
        sources = sources[:, [0, 0, 1]]
    return Plan(trains, tests, fold, np.repeat(np.arange(n), count), sources)


def _parts_of(cv: Any, cf_order: int) -> Any:
    """Return what makes the parts: a given list of that many splits, or a number."""
    if cv is None or isinstance(cv, (int, np.integer)) or hasattr(cv, "split"):
        return cf_order
    if len(cv) != cf_order:
        raise ValueError(
            f"cf_order={cf_order} takes {cf_order} parts, cv lists {len(cv)} splits."
        )
    return cv


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """Nuisance predictions of the stacked rows, and the models behind them.

    Attributes
    ----------
    plan : Plan
    propensity, complement : ndarray of shape (N, K) or (N,) for doses
        From their own sources; not clipped.
    means : ndarray of shape (N, K) or None
    mean : ndarray of shape (N,) or None
    models : dict
        Lists of J models by kind; a known propensity has none.
    """

    plan: Plan
    propensity: FloatArray
    complement: FloatArray
    means: Any
    mean: Any
    models: dict[str, list[Any]]


def average_prediction(models: list[Any], X: Any) -> FloatArray:
    """Return the average of fold models' predictions at rows that none of them saw."""
    return np.mean([model.predict(X) for model in models], axis=0)


def cross_fit(
    plan: Plan,
    models: dict[str, Any],
    strategy: str,
    data: Data,
    *,
    propensity: FloatArray | None,
    seed: int,
    n_jobs: int | None,
) -> CrossFit:
    """Fit every kind of nuisance model on every training set, and predict.

    Parameters
    ----------
    plan : Plan
    models : dict
        Unfitted model by kind: ``"propensity"``, ``"means"``, ``"mean"``.
    strategy : {"single", "separate"}
    data : Data
    propensity : ndarray of shape (n, K) or (n,), or None
        Known ones.
    seed : int
        Of learners whose ``random_state`` is None.
    n_jobs : int or None
    """
    trains = plan.trains
    if data.weight is not None:
        trains = [train[data.weight[train] > 0] for train in trains]
    if "means" in models:
        check_outcomes(models["means"], data, trains)
    tasks = [(kind, j) for kind in models for j in range(len(trains))]
    jobs = (
        delayed(_fit_predict)(
            kind, models[kind], strategy, data, trains[j], plan.tests[j], seed + j
        )
        for kind, j in tasks
    )
    found = run_jobs(jobs, n_jobs, "nuisance models")
    fitted: dict[str, list[Any]] = {kind: [] for kind in models}
    predicted: dict[str, FloatArray] = {}
    for (kind, j), (model, values) in zip(tasks, found, strict=True):
        fitted[kind].append(model)
        shape = (len(trains), len(data.y), *values.shape[1:])
        predicted.setdefault(kind, np.full(shape, np.nan))[j, plan.tests[j]] = values
        if not np.all(np.isfinite(values)):
            name = "propensity_model" if kind == "propensity" else "outcome_model"
            raise ValueError(
                f"{name}={type(models[kind]).__name__} predicted NaN or infinity."
            )

    def stacked(kind: str, source: int) -> Any:
        if kind == "propensity" and propensity is not None:
            return propensity[plan.units]
        if kind not in predicted:
            return None
        return predicted[kind][plan.sources[:, source], plan.units]

    return CrossFit(
        plan, stacked("propensity", 0), stacked("propensity", 1),
        stacked("means", 2), stacked("mean", 2), fitted,
    )  # fmt: skip


def _fit_predict(
    kind: str, model: Any, strategy: str, data: Data, train: IntArray, test: IntArray,
    seed: int,
) -> tuple[Any, FloatArray]:  # fmt: skip
    fitted = fit_nuisance(kind, model, strategy, data, train, seed)
    return fitted, fitted.predict(_safe_indexing(data.X, test))
