"""The part of convex stacking that regressors and classifiers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import Bunch, _safe_indexing, check_random_state, get_tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted, validate_data

from causalweights._categories import is_frame
from causalweights._typing import FloatArray, IntArray
from causalweights._validation import (
    check_covariates,
    check_groups,
    check_sample_weight,
)
from causalweights.crossfit import kept_splits, make_folds, seeded_clone
from causalweights.learners._members import (
    Member,
    check_members,
    fit_members,
    out_of_fold,
    predictions_of,
)
from causalweights.optimize import simplex_qp


@dataclass(frozen=True, slots=True, eq=False)
class ConvexFit:
    """Weights of the members and the mean squared losses that they rest on.

    Attributes
    ----------
    weights, losses : ndarray of shape (M,)
        By member.
    loss : float
        Of the combination.
    gap : float
        The loss is at most so far above that of the best weights.
    """

    weights: FloatArray
    losses: FloatArray
    loss: float
    gap: float


def convex_weights(
    predictions: FloatArray, target: FloatArray, sample_weight: FloatArray | None = None
) -> ConvexFit:
    """Minimise the weighted mean squared loss of a convex combination.

    Parameters
    ----------
    predictions : ndarray of shape (M, n, K)
        Of M members.
    target : ndarray of shape (n, K)
        What they predict; losses sum over its columns.
    sample_weight : ndarray of shape (n,) or None, default=None
        Row weights; only their ratios matter.

    Returns
    -------
    ConvexFit
    """
    share = np.full(len(target), 1.0) if sample_weight is None else sample_weight
    root = np.sqrt(share / share.sum())[:, None]
    # As weights sum to one, the stack's residual is that combination of residuals.
    residuals = (root * (target - predictions)).reshape(len(predictions), -1)
    gram = residuals @ residuals.T
    solved = simplex_qp(gram, np.zeros(len(gram)))
    # The program's value is half the loss. Copies of a member make it singular: the
    # interior point then ends in the middle, where they share their weight evenly.
    return ConvexFit(
        solved.weights, np.diag(gram).copy(), 2.0 * solved.value, 2.0 * solved.gap
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of positive weight.

    Attributes
    ----------
    X : array-like of shape (n, d)
        Covariates.
    y : ndarray of shape (n,)
        Outcome or labels.
    weight : ndarray of shape (n,) or None
        Of mean one; None where none were given.
    groups : ndarray of shape (n,) or None
        Codes.
    kept : ndarray of bool of shape (N,)
        Their mask among all rows.
    """

    X: Any
    y: np.ndarray
    weight: FloatArray | None
    groups: IntArray | None
    kept: np.ndarray


def positive_rows(X: Any, y: np.ndarray, sample_weight: Any, groups: Any) -> Sample:
    """Check weights and groups; remove the rows of zero weight."""
    weight = check_sample_weight(sample_weight, len(y))
    groups = check_groups(groups, len(y))
    if sample_weight is None:
        return Sample(X, y, None, groups, weight > 0)
    kept = weight > 0
    groups = None if groups is None else groups[kept]
    # Penalties of members depend on the scale of weights, results must not.
    weight = weight[kept] / weight[kept].mean()
    X = _safe_indexing(X, np.flatnonzero(kept))
    return Sample(X, y[kept], weight, groups, kept)


class Stack(_BaseComposition):
    """What both stacks share; a subclass says what its members predict."""

    _method: str
    _default: Callable[[bool], list[Member]]
    _missing: bool

    __metadata_request__fit = {"sample_weight": True, "groups": True}
    __metadata_request__score = {"sample_weight": True}

    _parameter_constraints: dict = {
        "estimators": [StrOptions({"auto"}), list],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimators: str | Sequence[Member] = "auto",
        *,
        cv: Any = 3,
        random_state: Any = None,
        n_jobs: int | None = None,
    ):
        self.estimators = estimators
        self.cv = cv
        self.random_state = random_state
        self.n_jobs = n_jobs

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, and with ``deep`` those of the members."""
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> Any:
        """Set parameters: own ones, a member by its name, or ``member__parameter``."""
        return self._set_params("estimators", **params)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # The default members are chosen by what the rows need.
        members = [] if isinstance(self.estimators, str) else self.estimators
        found = [get_tags(model) for _, model in members]
        # A learner without validation, such as a dummy, does not look at X.
        tags.input_tags.allow_nan = all(
            member.input_tags.allow_nan or member.no_validation for member in found
        )
        return tags

    def _check_members(self, sample_weight: Any) -> None:
        """Refuse unusable members before anything is fitted."""
        if not isinstance(self.estimators, str):
            check_members(self.estimators, self._method, sample_weight)
            self._validate_names([*(name for name, _ in self.estimators), "stack"])

    def _fit(self, rows: Sample, target: FloatArray, codes: IntArray | None) -> None:
        """Fit the members, and their weights to the target (n, K)."""
        members, self._missing = self.estimators, False
        if isinstance(members, str):
            self._missing = bool(np.isnan(rows.X).any())
            members = type(self)._default(self._missing)
        names = [name for name, _ in members]
        rng = check_random_state(0 if self.random_state is None else self.random_state)
        folds = make_folds(
            kept_splits(self.cv, rows.kept),
            len(target),
            codes=codes,
            groups=rows.groups,
            labels=getattr(self, "classes_", None),
            random_state=rng,
        )
        # A copy of a member gets its seed too, so that it predicts the same.
        seed = int(rng.randint(np.iinfo(np.int32).max))
        members = [(name, seeded_clone(model, seed)) for name, model in members]
        y = rows.y if codes is None else codes
        how: dict[str, Any] = {"sample_weight": rows.weight, "n_jobs": self.n_jobs}
        values = out_of_fold(members, rows.X, y, folds, method=self._method, **how)
        solved = convex_weights(values, target, rows.weight)
        used = np.flatnonzero(solved.weights)
        self.estimators_ = fit_members([members[m] for m in used], rows.X, y, **how)
        self.named_estimators_ = Bunch(
            **{names[m]: f for m, f in zip(used, self.estimators_, strict=True)}
        )
        self.weights_, self.gap_ = solved.weights, solved.gap
        self.oof_loss_ = dict(zip(names, solved.losses.tolist(), strict=True))
        self.oof_loss_["stack"] = solved.loss

    def _covariates(self, X: Any, *, reset: bool) -> Any:
        """Return what members get: the default ones numbers, a user's X as it is."""
        own = not isinstance(self.estimators, str)
        if own and is_frame(X):
            validate_data(self, X, skip_check_array=True, reset=reset)
            return X
        takes_nan = get_tags(self).input_tags.allow_nan
        return check_covariates(
            self,
            X,
            dtype=None if own else np.float64,
            reset=reset,
            min_rows=2 if reset else 1,
            allow_nan=takes_nan if own else reset or self._missing,
        )

    def _combine(self, X: Any) -> FloatArray:
        """Return the weighted mean of the members' predictions, (n, K)."""
        check_is_fitted(self)
        X = self._covariates(X, reset=False)
        shares = self.weights_[self.weights_ > 0]
        parts = [predictions_of(m, X, self._method) for m in self.estimators_]
        return np.tensordot(shares, np.stack(parts), axes=1)
