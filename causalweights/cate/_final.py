"""The second stage: a learner fitted to pseudo-outcomes with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import has_fit_parameter

from causalweights._typing import FloatArray, IntArray
from causalweights.cate._pseudo_outcomes import Nuisances, pseudo_outcome_and_weights
from causalweights.crossfit import fit_with_weights, mean_prediction, seeded_clone


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Stacked rows of one contrast, ready for a second stage.

    Attributes
    ----------
    f : ndarray of shape (N,)
        Pseudo-outcomes.
    weight : ndarray of shape (N,)
        With the sample weights in it, mean one over the rows that are kept (and their
        copies), exact zeros on the others.
    n_dropped : int
        Rows of a positive weight below the bar.
    treated : ndarray of shape (N,)
        For the X-learner.
    """

    f: FloatArray
    weight: FloatArray
    n_dropped: int
    treated: FloatArray

    def kept(self, rows: IntArray | None = None) -> IntArray:
        """Return the positions of positive weight, among rows where given."""
        positive = self.weight > 0
        if rows is None:
            return np.flatnonzero(positive)
        return rows[positive[rows]]


def make_targets(
    pseudo_outcome: str,
    weights: Any,
    v: Nuisances,
    base: FloatArray,
    copies: FloatArray,
    min_relative_weight: float,
) -> Targets:
    """Return pseudo-outcomes and normalised weights.

    Parameters
    ----------
    pseudo_outcome, weights : as `PseudoOutcomeRegressor`'s
    v : Nuisances
        Of the N stacked rows.
    base, copies : ndarray of shape (N,)
        Sample weights, and the rows that each stands for; ones where there are none.
    min_relative_weight : float
        Rows whose weight is below this share of the mean weight are dropped.
    """
    f, w = pseudo_outcome_and_weights(pseudo_outcome, weights, v)
    in_pair = w > 0
    mean = np.average(w[in_pair], weights=base[in_pair])
    low = in_pair & (w < min_relative_weight * mean)
    total = np.where(low, 0.0, w) * base
    kept = total > 0
    if not np.any(kept):
        raise ValueError(
            "no row has a positive weight in the second stage: lower "
            "min_relative_weight, or check overlap."
        )
    weight = total * (copies[kept].sum() / total[kept].sum())
    return Targets(np.where(kept, f, 0.0), weight, int(low.sum()), v.treated)


def fit_final(
    model: Any,
    X: Any,
    units: IntArray,
    targets: Targets,
    rows: IntArray | None,
    groups: np.ndarray | None,
    seed: int,
) -> Any:
    """Fit a clone of the second-stage learner on stacked rows of positive weight.

    Parameters
    ----------
    model : estimator
    X : array or frame of shape (n, q)
        Effect modifiers of the units.
    units : ndarray of shape (N,)
        Unit of each stacked row.
    targets : Targets
    rows : ndarray or None
        Stacked rows to learn from; None is all.
    groups : ndarray of shape (N,) or None
        Rows that belong together, for a learner that takes ``groups``.
    seed : int
    """
    kept = targets.kept(rows)
    copy, weight = seeded_clone(model, seed), targets.weight[kept]
    Z, f = _safe_indexing(X, units[kept]), targets.f[kept]
    if groups is not None and has_fit_parameter(copy, "groups"):
        return copy.fit(Z, f, sample_weight=weight, groups=groups[kept])
    equal = np.all(weight == weight[0])
    return fit_with_weights(copy, Z, f, None if equal else weight)


class ArmBlend:
    """The X-learner's two effect models, each arm's weighted by the other's share.

    tau(x) = pi(x) tau_0(x) + (1 - pi(x)) tau_1(x), tau_a learnt from arm a.
    """

    def __init__(self, models: tuple[Any, Any], share: Any):
        self.models, self._share = models, share

    @classmethod
    def learn(
        cls,
        model: Any,
        X: Any,
        units: IntArray,
        targets: Targets,
        rows: IntArray | None,
        groups: np.ndarray | None,
        seed: int,
        share: Any,
    ) -> ArmBlend:
        """Fit both; ``share(X)`` returns pi at new rows."""
        rows = np.arange(len(targets.f)) if rows is None else rows
        arms = [rows[targets.treated[rows] == a] for a in (0, 1)]
        pair = tuple(
            fit_final(model, X, units, targets, arm, groups, seed) for arm in arms
        )
        return cls(pair, share)

    def predict(self, modifiers: Any, X: Any) -> FloatArray:
        pi = self._share(X)
        first, second = (mean_prediction(model, modifiers) for model in self.models)
        return pi * first + (1 - pi) * second
