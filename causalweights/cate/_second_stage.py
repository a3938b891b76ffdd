"""The second stage of every repetition and contrast, and its out-of-fold effects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed

from causalweights._progress import run_jobs
from causalweights._typing import FloatArray, IntArray
from causalweights.cate._crossfit import CrossFit, average_prediction
from causalweights.cate._final import ArmBlend, Targets, fit_final, make_targets
from causalweights.cate._first_stage import FirstStage
from causalweights.crossfit import mean_prediction


@dataclass(frozen=True, slots=True, eq=False)
class SecondStage:
    """Models of the effect, by repetition and contrast.

    Attributes
    ----------
    targets : list of list of Targets
    models : list of list of fitted learner or ArmBlend
    held_out : dict
        What `held_out_effects` returned, by ``sequential``, once it was asked for.
    """

    targets: list[list[Targets]]
    models: list[list[Any]]
    held_out: dict[bool, FloatArray] = field(default_factory=dict)

    def predict(self, modifiers: Any, X: Any, aggregate: str) -> FloatArray:
        """Return effects (m, contrasts), aggregated over the repetitions."""
        effects = np.array(
            [
                np.column_stack([_predict(model, modifiers, X) for model in row])
                for row in self.models
            ]
        )
        return effects[0] if len(effects) == 1 else AGGREGATES[aggregate](effects)


AGGREGATES = {
    "median": lambda values: np.median(values, axis=0),
    "mean": lambda values: np.mean(values, axis=0),
}


def _predict(model: Any, modifiers: Any, X: Any) -> FloatArray:
    if isinstance(model, ArmBlend):
        return model.predict(modifiers, X)
    return mean_prediction(model, modifiers)


def fit_second_stage(
    estimator: Any, learner: Any, first: FirstStage, modifiers: Any
) -> SecondStage:
    """Fit the effect model of every repetition and contrast, once on all rows.

    Parameters
    ----------
    estimator : PseudoOutcomeRegressor
        Options.
    learner : estimator
    first : FirstStage
    modifiers : array or frame of shape (n, q)
    """
    targets = [
        [
            make_targets(
                estimator.pseudo_outcome, estimator.weights, first.nuisances(rep, k),
                *first.stacked_weights(rep),
                estimator.min_relative_weight,
            )
            for k in first.contrasts
        ]
        for rep in range(len(first.crosses))
    ]  # fmt: skip
    jobs = [
        _job(estimator, learner, first, modifiers, rep, c, one)
        for rep, row in enumerate(targets)
        for c, one in enumerate(row)
    ]
    calls = (delayed(_fit)(*job, None) for job in jobs)
    found = iter(run_jobs(calls, estimator.n_jobs, "final models"))
    return SecondStage(targets, [[next(found) for _ in row] for row in targets])


def held_out_effects(
    estimator: Any,
    learner: Any,
    first: FirstStage,
    second: SecondStage,
    modifiers: Any,
    *,
    sequential: bool,
) -> FloatArray:
    """Return each unit's effect by models that did not learn from it, (n_rep, n, K-1).

    Models learn from all other folds; sequentially from the earlier ones alone, and the
    first fold is NaN. The pseudo-outcomes of the rows that do train come from nuisance
    models that have seen the unit, as is usual.
    """
    tasks = [
        (rep, c, part)
        for rep, row in enumerate(second.targets)
        for c in range(len(row))
        for part in range(sequential, int(first.crosses[rep].plan.fold.max()) + 1)
    ]
    found = Parallel(n_jobs=estimator.n_jobs)(
        delayed(_fit_part)(
            *_job(estimator, learner, first, modifiers, rep, c, second.targets[rep][c]),
            first.data.X, first.crosses[rep].plan.fold, part, sequential,
        )
        for rep, c, part in tasks
    )  # fmt: skip
    shape = (len(second.targets), len(first.data.y), len(first.contrasts))
    out = np.full(shape, np.nan)
    for (rep, c, part), effects in zip(tasks, found, strict=True):
        out[rep, first.crosses[rep].plan.fold == part, c] = effects
    return out


def _job(
    estimator: Any, learner: Any, first: FirstStage, modifiers: Any, rep: int, c: int,
    targets: Targets,
) -> tuple:  # fmt: skip
    """Return what fitting one effect model takes, and nothing that it does not."""
    cross = first.crosses[rep]
    units, groups, share = cross.plan.units, None, None
    if first.groups is not None:
        groups = first.groups[units]
    elif len(units) > len(first.data.y):
        groups = units
    if estimator.pseudo_outcome == "x" and first.arms is not None:
        share = Share(cross, (first.contrasts[c], first.arms.control), first.clip)
    return learner, modifiers, units, targets, groups, first.seeds[rep], share


def _fit(
    learner: Any, modifiers: Any, units: IntArray, targets: Targets, groups: Any,
    seed: int, share: Any, rows: IntArray | None,
) -> Any:  # fmt: skip
    common = (learner, modifiers, units, targets, rows, groups, seed)
    return fit_final(*common) if share is None else ArmBlend.learn(*common, share)


def _fit_part(
    learner: Any, modifiers: Any, units: IntArray, targets: Targets, groups: Any,
    seed: int, share: Any, X: Any, fold: IntArray, part: int, sequential: bool,
) -> FloatArray:  # fmt: skip
    train = fold[units] < part if sequential else fold[units] != part
    rows, own = np.flatnonzero(train), np.flatnonzero(fold == part)
    model = _fit(learner, modifiers, units, targets, groups, seed, share, rows)
    return _predict(model, _safe_indexing(modifiers, own), _safe_indexing(X, own))


class Share:
    """pi at new rows, of an arm against the control arm."""

    def __init__(self, cross: CrossFit, arms: tuple[int, int], clip: float):
        self._models, self._arms, self._clip = cross.models["propensity"], arms, clip

    def __call__(self, X: Any) -> FloatArray:
        p = average_prediction(self._models, X)
        treated, control = np.clip(p[:, self._arms].T, self._clip, 1 - self._clip)
        return treated / (treated + control)
