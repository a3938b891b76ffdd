"""What a fitted effect regression says beyond its predictions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import FloatArray
from causalweights.cate._average import average_effect, median_result
from causalweights.cate._calibration import calibration_test
from causalweights.cate._contrast import InfluenceResult
from causalweights.cate._first_stage import FirstStage
from causalweights.cate._groups import gates
from causalweights.cate._held_out import held_out_rows
from causalweights.cate._intervals import effect_bands
from causalweights.cate._linear_predictor import linear_predictor
from causalweights.cate._options import final_learner, select_modifiers
from causalweights.cate._ranking import qini_score, rate_score, targeting_curve
from causalweights.cate._scores import dr_score, r_score
from causalweights.cate._second_stage import (
    AGGREGATES,
    SecondStage,
    held_out_effects,
)
from causalweights.cate._unit_rows import unit_rows


def arms_only(rows: dict[str, Any]) -> dict[str, Any]:
    """Return what functions of two arms take; refuse doses."""
    if "mean_0" not in rows:
        raise ValueError(
            "this is for arms, of which it takes the outcome means, not for doses "
            "(treatment_type='continuous'): use the R-loss or calibration_test."
        )
    return without(rows, "mean")


def without(rows: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return keyword arguments but some."""
    return {name: value for name, value in rows.items() if name not in names}


class Evaluation:
    """Scores, intervals, averages and tests from the nuisances of a fit."""

    _first: FirstStage
    _second: SecondStage
    modifiers: Any
    predict: Any
    _new_covariates: Any
    target: str
    aggregate: str

    @property
    def oof_effect_(self) -> FloatArray:
        """Effects of the fitted rows by models that did not learn from them.

        Computed at the first use, (n,) or (n, K-1) for the rows of positive weight;
        over repetitions as in predictions. For pictures and choosing models; for tests
        and standard errors see ``sequential_effect_``.
        """
        found = AGGREGATES[self.aggregate](self._held_out(sequential=False))
        return found[:, 0] if found.shape[1] == 1 else found

    @property
    def sequential_effect_(self) -> FloatArray:
        """Effects of the fitted rows by models of the earlier folds; NaN in the first.

        What `group_effects` and the tests rank by, (n,) or (n_rep, n), with K-1 columns
        for K > 2 arms. Of effects from all other folds, a row's outcome is in those of
        other rows, and theirs in its own: tests then reject too often.
        """
        found = self._held_out(sequential=True)
        found = found[:, :, 0] if found.shape[2] == 1 else found
        return found[0] if len(found) == 1 else found

    def _held_out(self, *, sequential: bool) -> FloatArray:
        """Return and keep effects by models that left out the row, (n_rep, n, K-1)."""
        check_is_fitted(self)
        kept = self._second.held_out
        if sequential not in kept:
            modifiers = select_modifiers(self.modifiers, self._first.data.X)
            kept[sequential] = held_out_effects(
                self, final_learner(self), self._first, self._second, modifiers,
                sequential=sequential,
            )  # fmt: skip
        return kept[sequential]

    def predict_interval(
        self,
        X: Any,
        level: float = 0.95,
        *,
        kind: Literal["pointwise", "uniform"] = "pointwise",
        n_draws: int = 1000,
    ) -> FloatArray:
        """Return confidence limits of the effect at rows of covariates.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
        level : float, default=0.95
        kind : {"pointwise", "uniform"}, default="pointwise"
            Whether each interval has the level, or all m at once (multiplier
            bootstrap).
        n_draws : int, default=1000

        Returns
        -------
        ndarray of shape (m, 2), or (m, K-1, 2) for K > 2 arms

        Raises
        ------
        ValueError
            For a final model without ``linear_influence``: `SeriesRegressor` and
            `LocalPolynomialRegressor` have it.

        Notes
        -----
        The limits are of the weighted fit: of the effect itself where the final model
        is rich enough for its bias to be small against the standard error.
        """
        check_is_fitted(self)
        X = self._new_covariates(X)
        center = np.asarray(self.predict(X)).reshape(X.shape[0], -1)
        bands = effect_bands(
            self._first, self._second, select_modifiers(self.modifiers, X), center,
            level=level, kind=kind, n_draws=n_draws, seed=self._first.seeds[0],
        )  # fmt: skip
        return bands[:, 0] if bands.shape[1] == 1 else bands

    def average_effect(
        self, estimand: str | None = None, *, arm: Any = None
    ) -> InfluenceResult:
        """Return the average effect from the fit's own nuisances, doubly robust.

        Parameters
        ----------
        estimand : {"ate", "att", "atc", "ato"} or None, default=None
            None is ``target``'s: the ATE, or the ATO for ``"overlap"`` and doses.
        arm : label or None, default=None
            Compared with the control arm; needed for more than two arms.

        Returns
        -------
        InfluenceResult
            Over repetitions the median, with their spread in the standard error.
        """
        if estimand is None:
            overlap = self.target == "overlap" or self._first.arms is None
            estimand = "ato" if overlap else "ate"
        return self._over_repetitions(
            arm, lambda rows: average_effect(**rows, estimand=estimand)
        )

    def best_linear_predictor(
        self, V: Any = None, *, target: str | None = None, arm: Any = None
    ) -> InfluenceResult:
        """Return the coefficients of the best linear approximation of the effect.

        Parameters
        ----------
        V : array-like or frame of shape (n, q) or None, default=None
            Regressors of the fitted rows; None is the modifiers. A constant is added.
        target : {"population", "overlap"} or None, default=None
            Where the approximation is best: regression of doubly robust
            pseudo-outcomes, or of Y - eta on (A - pi) times the regressors. None is
            the estimator's.
        arm : label or None, default=None

        Returns
        -------
        InfluenceResult
            Robust (HC3, or by cluster) standard errors.
        """
        target = self.target if target is None else target
        if target not in ("population", "overlap"):
            raise ValueError(f"target={target!r}: choose 'population' or 'overlap'.")
        given = select_modifiers(self.modifiers, self._first.data.X) if V is None else V
        return self._over_repetitions(
            arm, lambda rows: linear_predictor(rows, given, target)
        )

    def group_effects(self, n_groups: int = 5, *, arm: Any = None) -> InfluenceResult:
        """Return average effects of groups by predicted effect (GATES): see `gates`.

        Like the tests and scores below it learns sequentially: a fold's rows are ranked
        by second-stage models of the earlier folds, the first fold's not at all. So no
        row's outcome is in a ranking that is tested on an earlier row, and standard
        errors are right with no heterogeneity as well (Wager, 2024).
        """
        return self._validated(
            arm, lambda rows: gates(n_groups=n_groups, **arms_only(rows))
        )

    def calibration_test(
        self, form: Literal["r", "dr"] = "r", *, arm: Any = None
    ) -> InfluenceResult:
        """Test calibration and heterogeneity: see `calibration_test`."""
        return self._validated(arm, lambda rows: calibration_test(form=form, **rows))

    def rank_score(
        self, metric: Literal["autoc", "qini"] = "autoc", *, arm: Any = None
    ) -> InfluenceResult:
        """Return the area under the targeting curve: see `rate_score`, `qini_score`."""
        scores = {"autoc": rate_score, "qini": qini_score}
        if metric not in scores:
            raise ValueError(f"metric={metric!r}: choose 'autoc' or 'qini'.")
        return self._validated(arm, lambda rows: scores[metric](**arms_only(rows)))

    def targeting_curve(
        self, shares: Any = None, *, arm: Any = None
    ) -> InfluenceResult:
        """Return what treating the best first would gain: see `targeting_curve`."""
        return self._validated(
            arm, lambda rows: targeting_curve(shares=shares, **arms_only(rows))
        )

    def _over_repetitions(self, arm: Any, evaluate: Any) -> InfluenceResult:
        """Return the median over repetitions of ``evaluate(rows)``."""
        check_is_fitted(self)
        c = self._contrast(arm)

        def effects() -> FloatArray:
            return np.asarray(self.oof_effect_).reshape(len(self._first.data.y), -1)[
                :, c
            ]

        return self._median(
            lambda rep: evaluate(
                unit_rows(self._first, rep, self._first.contrasts[c], effects)
            )
        )

    def _validated(self, arm: Any, evaluate: Any) -> InfluenceResult:
        """Return the median of ``evaluate(rows)``, effects by earlier folds' models."""
        check_is_fitted(self)
        first, c = self._first, self._contrast(arm)
        effects = np.nan_to_num(self._held_out(sequential=True)[:, :, c])

        def once(rep: int) -> InfluenceResult:
            fold, g = first.crosses[rep].plan.fold, effects[rep]
            rows = unit_rows(first, rep, first.contrasts[c], lambda: g)
            counts = "frequency" if first.frequency else "sample_weight"
            weight = 1.0 if rows[counts] is None else rows[counts]
            return evaluate(
                rows | {counts: weight * (fold > 0), "effects": g, "folds": fold}
            )

        return self._median(once)

    def _median(self, once: Any) -> InfluenceResult:
        results = [once(rep) for rep in range(len(self._first.crosses))]
        return median_result(results) if len(results) > 1 else results[0]

    def _modifier_positions(self) -> list[int]:
        """Return the positions of the columns that the effect may depend on."""
        X = self._first.data.X
        if hasattr(X, "columns"):
            names = list(X.columns)
            return [names.index(k) for k in select_modifiers(self.modifiers, X).columns]
        numbers = np.arange(X.shape[1])[None, :]
        return select_modifiers(self.modifiers, numbers)[0].tolist()

    def _contrast(self, arm: Any) -> int:
        """Return the position of an arm among the contrasts."""
        arms = self._first.arms
        if arms is None or (arm is None and arms.n_arms == 2):
            return 0
        labels = [arms.label(k) for k in arms.contrasts()]
        if arm not in labels:
            raise ValueError(f"arm={arm!r}: choose one of {labels}.")
        return labels.index(arm)

    def score(
        self,
        X: Any,
        y: Any,
        *,
        treatment: Any = None,
        propensity: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return the weighted R^2 of held-out pseudo-outcomes.

        Of doubly robust ones with weights pi kappa, or, where the outcome means were
        fitted without the treatment, of the residual ratio with (A - pi)^2. Nuisances
        are the fold models', averaged; compare estimators with the same ones.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
        y : array-like of shape (m,)
        treatment : array-like of shape (m,)
        propensity : array-like of shape (m,) or (m, K), or None, default=None
            Needed where `fit` was given it.
        sample_weight : array-like of shape (m,) or None, default=None

        Returns
        -------
        float
            1 - loss / loss of the best constant effect; the mean over contrasts.
        """
        scores = []
        for rows in held_out_rows(self, X, y, treatment, propensity, sample_weight):
            if "mean" in rows:
                scores.append(r_score(**without(rows, "mean_0", "mean_1")))
            else:
                scores.append(dr_score(**rows, weights="ivw"))
        return float(np.mean(scores))
