"""The first stage: nuisance predictions of every repetition, for all later uses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import Arms
from causalweights.cate._crossfit import CrossFit, cross_fit, make_plan
from causalweights.cate._nuisances import Data
from causalweights.cate._pseudo_outcomes import Nuisances
from causalweights.crossfit import kept_splits, make_folds, outcome_predictions
from causalweights.learners import WeightedKernelRidge

# Share of an arm's mean squared residual below which no noise is estimated.
_NOISE_FLOOR = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class FirstStage:
    """Rows of positive weight and their cross-fitted nuisances.

    Attributes
    ----------
    data : Data
    rows : ndarray of bool of shape (number of given rows,)
        Those that are in ``data``.
    arms : Arms or None
        None for a dose.
    groups : ndarray of shape (n,) or None
    frequency : bool
        Whether weights count rows.
    known : bool
        Whether propensities were given, which are never clipped.
    clip : float
    seeds : list of int
        One a repetition.
    crosses : list of CrossFit
        One a repetition.
    variances : list of ndarray of shape (n, K), or None
        Noise by arm, for heteroscedastic weights.
    """

    data: Data
    rows: np.ndarray
    arms: Arms | None
    groups: np.ndarray | None
    frequency: bool
    known: bool
    clip: float
    seeds: list[int]
    crosses: list[CrossFit]
    variances: list[FloatArray] | None

    @property
    def base(self) -> FloatArray:
        """Sample weights, ones where there are none."""
        weight = self.data.weight
        return np.ones(len(self.data.y)) if weight is None else weight

    def stacked_weights(self, rep: int) -> tuple[FloatArray, FloatArray]:
        """Return sample weights of the stacked rows, and the rows each stands for."""
        base = self.base[self.crosses[rep].plan.units]
        return base, base if self.frequency else np.ones(len(base))

    @property
    def contrasts(self) -> list[int]:
        """Arms compared with the control arm; one dummy for a dose."""
        return [0] if self.arms is None else self.arms.contrasts()

    def clipped(self, p: FloatArray) -> FloatArray:
        """Return probabilities kept away from zero and one, unless they are known."""
        if self.known or self.arms is None:
            return p
        return np.clip(p, self.clip, 1 - self.clip)

    def nuisances(self, rep: int, k: int) -> Nuisances:
        """Return what the stacked rows of a repetition say of arm k and the control."""
        cross = self.crosses[rep]
        units = cross.plan.units
        y = self.data.y[units]
        if self.arms is None:
            dose = np.full(len(units), np.nan)
            return Nuisances(
                y, self.data.a[units], cross.propensity, dose, mean=cross.mean
            )
        control = self.arms.control
        code = self.data.a[units]
        a = np.where(code == k, 1.0, np.where(code == control, 0.0, np.nan))
        found = Nuisances(
            y, a, self.clipped(cross.propensity[:, k]),
            self.clipped(cross.complement[:, control]), mean=cross.mean,
        )  # fmt: skip
        if cross.means is not None:
            mean_0, mean_1 = cross.means[:, control], cross.means[:, k]
            pi = found.pair_propensity
            mean = pi * mean_1 + (1 - pi) * mean_0 if found.mean is None else found.mean
            found = replace(found, mean_0=mean_0, mean_1=mean_1, mean=mean)
        if self.variances is not None:
            noise = self.variances[rep][units]
            found = replace(found, variance_0=noise[:, control], variance_1=noise[:, k])
        return found

    def by_unit(self, rep: int, kind: str) -> FloatArray:
        """Return a nuisance of a repetition, a row a unit; propensities clipped."""
        cross = self.crosses[rep]
        values = getattr(cross, kind)
        return cross.plan.by_unit(
            self.clipped(values) if kind == "propensity" else values
        )

    def n_clipped(self) -> int:
        """Return how many predicted probabilities were clipped, of all repetitions."""
        if self.known or self.arms is None:
            return 0
        return int(
            sum(
                np.sum(np.any(p != self.clipped(p), axis=1))
                for p in (cross.propensity for cross in self.crosses)
            )
        )


def fit_first_stage(
    estimator: Any,
    learners: dict[str, Any],
    data: Data,
    rows: np.ndarray,
    arms: Arms | None,
    groups: np.ndarray | None,
    propensity: FloatArray | None,
    seeds: list[int],
) -> FirstStage:
    """Cross-fit the nuisance models in every repetition.

    ``estimator`` holds the options; ``learners`` the unfitted models by kind;
    ``propensity`` the known ones of the rows of ``data``.
    """
    labels = None if arms is None else [arms.label(k) for k in range(arms.n_arms)]
    cv, crosses = kept_splits(estimator.cv, rows), []
    for seed in seeds:
        plan = make_plan(cv, estimator.cf_order, data, groups, labels, seed)
        crosses.append(
            cross_fit(
                plan, learners, estimator.outcome_strategy, data,
                propensity=propensity, seed=seed, n_jobs=estimator.n_jobs,
            )
        )  # fmt: skip
    variances = None
    if estimator.weights == "het":
        variances = [
            _arm_variances(data, cross, groups, seed, estimator.n_jobs)
            for cross, seed in zip(crosses, seeds, strict=True)
        ]
    return FirstStage(
        data, rows, arms, groups, estimator.weight_type == "frequency",
        propensity is not None, estimator.clip, seeds, crosses, variances,
    )  # fmt: skip


def _arm_variances(
    data: Data, cross: CrossFit, groups: Any, seed: int, n_jobs: int | None
) -> FloatArray:
    """Return the outcome's variance given covariates in each arm, (n, K).

    Kernel ridge of squared out-of-fold residuals, out of fold again; never below a
    twentieth of the arm's mean.
    """
    n, K = len(data.y), data.n_arms
    means = cross.plan.by_unit(cross.means)
    squares = (data.y - means[np.arange(n), data.a]) ** 2
    folds = make_folds(5, n, codes=data.a, groups=groups, random_state=seed)
    noise = outcome_predictions(
        WeightedKernelRidge(random_state=seed), data.X, squares, data.a, K, folds,
        sample_weight=data.weight, n_jobs=n_jobs,
    )  # fmt: skip
    base = np.ones(n) if data.weight is None else data.weight
    totals = np.bincount(data.a, weights=base * squares, minlength=K)
    floor = _NOISE_FLOOR * totals / np.bincount(data.a, weights=base, minlength=K)
    if np.any(floor <= 0):
        raise ValueError(
            "weights='het': an arm's outcomes are fitted without error, so that noise "
            "cannot be compared. Use weights='ivw'."
        )
    return np.maximum(noise, floor)
