"""Choice of D for the classifier: by minimax risk, or importance-weighted validation.

The validation scores held-out source rows with the weights of D = 1, those for the
whole target (Sugiyama, Krauledat & Müller 2007). Rules of the folds use the weights of
all rows, which know no label, so that a fold costs a rule and no weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

from causalweights._typing import FloatArray, IntArray
from causalweights.crossfit import kept_splits, make_folds
from causalweights.diagnostics._weights import kish
from causalweights.shift._classifier_fit import (
    LabelledSamples,
    WeightedRule,
    probabilities,
)
from causalweights.shift._matching import D_GRID, MatchingProblem
from causalweights.shift._rule import Loss, MinimaxRule
from causalweights.shift._solution import DoubleWeights, WeightPath
from causalweights.shift._weighter import FEW_EFFECTIVE_ROWS

if TYPE_CHECKING:
    import pandas as pd

FitRule = Callable[
    [LabelledSamples, DoubleWeights, FloatArray, MinimaxRule | None], WeightedRule
]


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierPath:
    """What a classifier was chosen from, by D.

    Attributes
    ----------
    D : ndarray of shape (k,)
        Increasing; those from which on the weights no longer change are left out.
    minimax_risk : ndarray of shape (k,)
    mmd2, ess_source, ess_target : ndarray of shape (k,)
        Of the weights.
    converged : ndarray of bool, shape (k,)
        Of weights and rule.
    iwcv_loss : ndarray of shape (k,) or None
        Importance-weighted loss of held-out source rows, where that selects.
    selected : int
        Position of the choice.
    """

    D: FloatArray
    minimax_risk: FloatArray
    mmd2: FloatArray
    ess_source: FloatArray
    ess_target: FloatArray
    converged: np.ndarray
    iwcv_loss: FloatArray | None
    selected: int

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each D, the index."""
        import pandas as pd

        names = ["minimax_risk", "mmd2", "ess_source", "ess_target", "converged"]
        columns = {name: getattr(self, name) for name in names}
        if self.iwcv_loss is not None:
            columns["iwcv_loss"] = self.iwcv_loss
        columns["selected"] = np.arange(len(self.D)) == self.selected
        return pd.DataFrame(columns, index=pd.Index(self.D, name="D"))

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(float_format="{:.4g}".format)


def check_grid(D_grid: Any) -> list[float]:
    """Return the values of D to try, increasing; None is the authors' grid."""
    if D_grid is None:
        return list(D_GRID)
    try:
        grid = np.unique(np.asarray(D_grid, dtype=np.float64))
    except (TypeError, ValueError):
        grid = np.zeros(0)
    if not grid.size or not np.all(grid >= 1.0):
        raise ValueError(
            f"D_grid={D_grid!r}: give numbers of at least 1 (inf: the robust program)."
        )
    return grid.tolist()


def distinct_weights(path: WeightPath) -> list[DoubleWeights]:
    """Return the solutions of a path in order, without those that repeat the last."""
    kept: list[DoubleWeights] = []
    for found in path.solutions:
        same = kept and all(
            np.array_equal(getattr(found, name), getattr(kept[-1], name))
            for name in ("beta", "alpha")
        )
        if not same:
            kept.append(found)
    return kept


def fit_path(
    solutions: Sequence[DoubleWeights], data: LabelledSamples, fit: FitRule
) -> list[WeightedRule]:
    """Return the rule of each solution, started from the one before."""
    rules: list[WeightedRule] = []
    for weights in solutions:
        start = rules[-1].rule if rules else None
        rules.append(fit(data, weights, weights.beta, start))
    return rules


def label_folds(
    cv: Any, codes: IntArray, random_state: Any
) -> list[tuple[IntArray, IntArray]]:
    """Return folds of the source rows; an int shuffles and stratifies by class."""
    if isinstance(cv, Integral) and not isinstance(cv, bool):
        seed = 0 if random_state is None else random_state
        cv = StratifiedKFold(int(cv), shuffle=True, random_state=seed)
    if hasattr(cv, "split") and not isinstance(cv, str):
        cv = list(cv.split(np.zeros((len(codes), 1)), codes))
    return make_folds(cv, len(codes))


def validation_losses(
    solutions: Sequence[DoubleWeights],
    data: LabelledSamples,
    fit: FitRule,
    folds: Sequence[tuple[IntArray, IntArray]],
    importance: FloatArray,
    alphas: Sequence[FloatArray] | None,
) -> FloatArray:
    """Return the importance-weighted mean loss out of fold of each solution.

    Parameters
    ----------
    solutions : sequence of DoubleWeights
    data : LabelledSamples
    fit : callable
        ``fit(data, weights, beta, start)`` returns the rule of some rows.
    folds : sequence of (train, test)
    importance : ndarray of shape (n,)
        Weights of D = 1 times sample weights.
    alphas : sequence of ndarray of shape (n,), or None
        Target weights of the source rows under each solution, which the rule's
        probabilities need; None judges the label of the largest score.
    """
    total = np.zeros(len(solutions))
    for train, test in folds:
        start, part = None, data.take(train)
        for k, weights in enumerate(solutions):
            rule = fit(part, weights, weights.beta[train], start).rule
            scores = data.source[test] @ rule.mu.T
            if alphas is None:
                losses = (scores.argmax(axis=1) != data.codes[test]).astype(float)
            else:
                h = probabilities(rule.loss, scores, alphas[k][test])
                losses = row_losses(rule.loss, h, data.codes[test])
            total[k] += importance[test] @ losses
            start = rule
    return total / importance.sum()


def row_losses(loss: Loss, h: FloatArray, codes: IntArray) -> FloatArray:
    """Return each row's expected loss under probabilities h."""
    own = h[np.arange(len(codes)), codes]
    if loss == "0-1":
        return 1.0 - own
    # Rows whose class has no probability at all cost what a double can tell from zero.
    return -np.log(np.maximum(own, np.finfo(np.float64).tiny))


def path_of(
    rules: Sequence[WeightedRule], iwcv_loss: FloatArray | None
) -> ClassifierPath:
    """Return the path with its choice: the smallest loss, or else minimax risk."""
    weights = [found.weights for found in rules]
    risk = np.array([found.rule.risk for found in rules])
    return ClassifierPath(
        D=np.array([w.D for w in weights]),
        minimax_risk=risk,
        mmd2=np.array([w.mmd2 for w in weights]),
        ess_source=np.array([w.ess_source for w in weights]),
        ess_target=np.array([w.ess_target for w in weights]),
        converged=np.array([found.converged for found in rules]),
        iwcv_loss=iwcv_loss,
        selected=int(np.argmin(risk if iwcv_loss is None else iwcv_loss)),
    )


def choose(
    model: Any,
    problem: MatchingProblem,
    data: LabelledSamples,
    source_kept: np.ndarray,
    fit: FitRule,
) -> tuple[WeightedRule, ClassifierPath]:
    """Return the rule for the D that a classifier's options choose, and the path.

    ``source_kept`` tells which source rows those of ``data`` are, for splits given as
    positions.
    """
    searched = isinstance(model.D, str)
    grid = check_grid(model.D_grid) if searched else [model.D]
    path = problem.path(grid, model.B, model.kappa, tol=model.tol)
    solutions = distinct_weights(path)
    rules = fit_path(solutions, data, fit)
    losses = None
    if searched and model.D_selection == "iwcv":
        folds = label_folds(
            kept_splits(model.cv, source_kept), data.codes, model.random_state
        )
        alphas = None
        if model.loss == "log" or model.prediction == "randomized":
            rows = problem.points[: problem.n]
            alphas = [
                problem.functions(w).target(rows, model.n_jobs) for w in solutions
            ]
        losses = validation_losses(
            solutions, data, fit, folds, _importance(model, problem, solutions), alphas
        )
    chosen = path_of(rules, losses)
    return rules[chosen.selected], chosen


def _importance(
    model: Any, problem: MatchingProblem, solutions: Sequence[DoubleWeights]
) -> FloatArray:
    """Return the weights of source rows that stand for the whole target."""
    first = solutions[0]
    if first.D != 1.0:
        first = problem.solve(1.0, model.B, model.kappa, tol=model.tol)
    importance: FloatArray = first.beta * problem.source_weight
    size = kish(importance)
    if size < FEW_EFFECTIVE_ROWS:
        warnings.warn(
            f"D was chosen by importance-weighted validation that rests on {size:.1f} "
            "effective rows. Raise kappa, or give D.",
            UserWarning,
            stacklevel=5,
        )
    return importance
