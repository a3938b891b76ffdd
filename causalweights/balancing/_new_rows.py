"""What a fitted `IPMBalancer` says of new rows: weights, witness, held-out distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from causalweights._categories import scale_indicators
from causalweights._scaling import Scaling
from causalweights._typing import FloatArray
from causalweights._validation import check_covariates
from causalweights.balancing._blocks_input import refuse_dask
from causalweights.balancing._discriminators import default_ridge, is_wasserstein
from causalweights.balancing._mmd_fit import Dual
from causalweights.balancing._parametric_fit import LogLinearDual
from causalweights.balancing._weighter import Design, _BaseWeighter
from causalweights.discrepancy import supremum


def _has_dual(balancer: Any) -> bool:
    """Tell whether the ridge is positive, so that new rows have weights."""
    given = getattr(balancer, "_row_data", [])
    if given:
        raise AttributeError(
            f"weights of new rows do not follow from a fit with {' and '.join(given)}, "
            "which new rows do not have."
        )
    if balancer.weight_model == "loglinear":
        return True
    if balancer.solver == "adam":
        raise AttributeError("trained weights of single rows say nothing of new ones.")
    if is_wasserstein(balancer.discriminator):
        raise AttributeError("Wasserstein weights say nothing of new rows.")
    if default_ridge(balancer) > 0:
        return True
    raise AttributeError(
        "weights of new rows need ridge > 0: without the penalty the dual solution "
        "does not determine them."
    )


class _WeighsNewRows(_BaseWeighter):
    """The dual solution as functions of new rows."""

    def _scaled(self, X: FloatArray, scaling: Scaling) -> FloatArray:
        """Return rows in the scale of the discrepancy."""
        Z = scaling.transform(X) if self.standardize else X[:, scaling.kept]
        return scale_indicators(self, Z, scaling.kept, self.categorical_scale)

    def _points(self, design: Design) -> FloatArray:
        if self.standardize:
            return super()._points(design)
        return self._scaled(design.X, design.scaling)

    def _keep_dual(self, design: Design, dual: Dual) -> None:
        """Store what new rows need of the solution."""
        s = design.sample_weight if self.weight_type == "frequency" else None
        sizes = np.bincount(design.arms.codes, weights=s)
        self._dual, self._dual_arms = dual, design.weighted_arms()
        self._arm_sizes = sizes[self._dual_arms].astype(np.float64)

    def _distance(self, Z: FloatArray, masses: FloatArray, target: FloatArray) -> float:
        if self._goal is not None:
            rows = self._goal.rows
            Z = np.vstack([Z, rows])
            masses = np.concatenate([masses, np.zeros(len(rows))])
            target = np.concatenate([np.zeros(len(target)), self._goal.masses])
        if self.function_class_ is None:
            return super()._distance(Z, masses, target)
        seed = 0 if self.random_state is None else self.random_state
        found = supremum(
            self.function_class_, Z, Z, x_weights=masses, y_weights=target,
            random_state=seed,
        )  # fmt: skip
        return found.value

    def _embed(self, X: Any, method: str) -> tuple[FloatArray, FloatArray]:
        """Return the target-minus-arm witness at new rows, (n, weighted arms).

        And their penalty, (n,): the ridge, with what a low-rank kernel leaves over.
        """
        Z = self._new_points(X, method)
        values, residual = self._dual.embed(Z, self.n_jobs)
        return values, self.ridge_ + residual

    def _new_points(self, X: Any, method: str) -> FloatArray:
        """Return new rows in the scale of the discrepancy."""
        check_is_fitted(self)
        refuse_dask(X, method)
        X = check_covariates(self, X, reset=False, min_rows=1)
        return self._scaled(X, self._scaling)

    def witness(self, X: Any) -> FloatArray:
        """Return the function that tells each weighted arm from the target best.

        Unnormalised: the arm's mean embedding minus the target's, so that its weighted
        mean over the arm minus its mean over the target is ``discrepancy_``. Of
        ``solver="low_rank"``, its projection on the landmarks' features.

        Parameters
        ----------
        X : array-like of shape (m, d)

        Returns
        -------
        ndarray of shape (m,), or (m, A) for A > 1 weighted arms
        """
        values = self._dual.witness(self._new_points(X, "witness"), self.n_jobs)
        return values[:, 0] if values.shape[1] == 1 else values

    @available_if(_has_dual)
    def predict_weights(self, X: Any, treatment: Any) -> FloatArray:
        """Return weights of new rows from the dual solution (needs ridge > 0).

        On the training rows these are ``weights_``. Rows of the target arm get one.
        Not there after a fit with base weights or groups, which new rows lack. A
        small ridge, right for the weights of the sample itself, makes a rough function
        of the covariates: for new rows choose ridge by `score` (1 to 100 is typical).

        Parameters
        ----------
        X : array-like of shape (m, d)
        treatment : array-like of shape (m,)
            Labels seen in `fit`.

        Returns
        -------
        ndarray of shape (m,)
            On the scale of ``weights_`` (not normalised to the new rows).
        """
        check_is_fitted(self)
        if isinstance(self._dual, LogLinearDual):
            return self._tilted(X, treatment, self._dual)
        values, penalty = self._embed(X, "predict_weights")
        codes = self._arm_codes(treatment, len(values))
        weights = np.ones(len(values))
        for j, arm in enumerate(self._dual_arms):
            mine = codes == arm
            dual = (self._dual.levels[j] + values[mine, j]) / penalty[mine]
            weights[mine] = np.clip(
                self._arm_sizes[j] * dual, self.min_weight, self.max_weight
            )
        return weights

    def _tilted(self, X: Any, treatment: Any, dual: LogLinearDual) -> FloatArray:
        Z = self._new_points(X, "predict_weights")
        codes, weights = self._arm_codes(treatment, len(Z)), np.ones(len(Z))
        for j, arm in enumerate(self._dual_arms):
            mine = codes == arm
            weights[mine] = dual.weights(Z[mine], j)
        return weights
