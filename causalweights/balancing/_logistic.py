"""Unpenalised multinomial logistic regression, its scores and what weights owe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import validate_data

from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray, IntArray
from causalweights.balancing._features import whitening
from causalweights.balancing._tilting import overlap_share
from causalweights.inference._weight_model import TargetModel, WeightModel

# Maps whose estimated centres and scales leave the span of [1, features] as it is, so
# that they add nothing to the first-order behaviour of the fitted probabilities.
_SPAN_KEEPERS = (
    MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
)  # fmt: skip
# Mean scores below this share of their own sampling error count as solved.
_SCORE_TOL = 1e-2


def softmax(eta: FloatArray) -> FloatArray:
    """Return probabilities (n, K) of log odds (n, K - 1) against the first arm."""
    full = np.column_stack([np.zeros(len(eta)), eta])
    full -= full.max(axis=1, keepdims=True)
    np.exp(full, out=full)
    return full / full.sum(axis=1, keepdims=True)


def scores(H: FloatArray, codes: IntArray, e: FloatArray) -> FloatArray:
    """Return each row's score (n, (K - 1) r), in blocks of arms 1, ..., K - 1."""
    hit = codes[:, None] == np.arange(1, e.shape[1])
    return _blocks(hit - e[:, 1:], H)


def _blocks(factor: FloatArray, H: FloatArray) -> FloatArray:
    """Return ``factor_ij h_i`` as rows (n, (K - 1) r), a block for each j."""
    return (factor[:, :, None] * H[:, None, :]).reshape(len(H), -1)


def information(H: FloatArray, e: FloatArray, masses: FloatArray) -> FloatArray:
    """Return ``sum_i masses_i (diag(e_i) - e_i e_i') x h_i h_i'``."""
    r, free = H.shape[1], e.shape[1] - 1
    out = np.empty((free * r, free * r))
    for j in range(free):
        for k in range(j, free):
            spread = e[:, j + 1] * ((j == k) - e[:, k + 1])
            block = (H * (masses * spread)[:, None]).T @ H
            out[j * r : (j + 1) * r, k * r : (k + 1) * r] = block
            out[k * r : (k + 1) * r, j * r : (j + 1) * r] = block.T
    return out


def solve_logistic(
    H: FloatArray, codes: IntArray, n_arms: int, masses: FloatArray, max_iter: int = 100
) -> tuple[FloatArray, int]:
    """Maximise the mean log likelihood by damped Newton steps, to rounding.

    Under separation the maximum lies at infinity: the steps then end where the scores
    vanish in floating point, with probabilities of 0 and 1.

    Returns
    -------
    theta : ndarray of shape (K - 1, r)
    n_iter : int
    """
    theta = np.zeros((n_arms - 1, H.shape[1]))
    rows = np.arange(len(H))

    def evaluate(theta):
        e = softmax(H @ theta.T)
        own = np.maximum(e[rows, codes], np.finfo(np.float64).tiny)
        return float(masses @ np.log(own)), e, masses @ scores(H, codes, e)

    value, e, gradient = evaluate(theta)
    for n_iter in range(1, max_iter + 1):
        inverse = np.linalg.pinv(information(H, e, masses), rcond=1e-13, hermitian=True)
        step = (inverse @ gradient).reshape(theta.shape)
        length, size = 1.0, np.linalg.norm(gradient)
        for _ in range(40):
            trial = evaluate(theta + length * step)
            flat = size < 1e-6 and np.linalg.norm(trial[2]) < size
            if trial[0] > value or flat:
                break
            length *= 0.5
        else:
            return theta, n_iter
        theta = theta + length * step
        value, e, gradient = trial
        if np.linalg.norm(gradient) < 1e-15:
            break
    return theta, n_iter


class UnpenalizedLogistic(LogisticRegression):
    """Logistic regression without a penalty, solved by Newton's method to rounding.

    The covariates are standardised and collinear ones share their coefficient (the
    smallest solution in the standardised scale), so neither units nor redundant columns
    matter. ``coef_`` and ``intercept_`` are in the units of X. A step costs
    ``n (K - 1)^2 d^2``.

    Parameters
    ----------
    None

    Attributes
    ----------
    coef_, intercept_, classes_, n_iter_
        As in `sklearn.linear_model.LogisticRegression`.

    References
    ----------
    McCullagh, P. and Nelder, J. (1989). Generalized Linear Models, chapters 4 and 5.
    Steps are halved where the likelihood would fall.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.balancing._logistic import UnpenalizedLogistic
    >>> X, y = np.array([[0.0], [0.0], [0.0], [5.0], [5.0]]), [0, 0, 1, 0, 1]
    >>> UnpenalizedLogistic().fit(X, y).predict_proba([[0.0], [5.0]])[:, 1].round(6)
    array([0.333333, 0.5     ])
    """

    def __init__(self):
        super().__init__(C=np.inf)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> UnpenalizedLogistic:
        """Fit the model; ``sample_weight`` is scale-free."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("the rows to fit on hold one arm only.")
        s = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        masses = s / s.sum()
        scaling = fit_scaling(X, masses)
        F = np.column_stack([np.ones(len(X)), scaling.transform(X)])
        W = whitening(F, masses)
        theta, n_iter = solve_logistic(F @ W, codes, len(self.classes_), masses)
        coef = np.vstack([np.zeros(F.shape[1]), theta @ W.T])
        if len(self.classes_) == 2:
            coef = coef[1:]
        else:
            coef -= coef.mean(axis=0)
        self._scaling, self._coef = scaling, coef
        self.coef_ = np.zeros((len(coef), X.shape[1]))
        self.coef_[:, scaling.kept] = coef[:, 1:] / scaling.scale
        self.intercept_ = coef[:, 0] - coef[:, 1:] @ (scaling.mean / scaling.scale)
        self.n_iter_ = np.array([n_iter], dtype=np.int32)
        return self

    def decision_function(self, X: Any) -> FloatArray:
        """Return the log odds, from standardised covariates to keep their digits."""
        X = validate_data(self, X, dtype=np.float64, reset=False)
        values = self._scaling.transform(X) @ self._coef[:, 1:].T + self._coef[:, 0]
        return values[:, 0] if len(self.classes_) == 2 else values

    def steepest(self, names: Any = None, count: int = 3) -> list[str]:
        """Return the names of the columns with the largest slopes an SD."""
        kept = self._scaling.kept
        order = kept[np.argsort(-np.max(np.abs(self._coef[:, 1:]), axis=0))[:count]]
        return [f"column {j}" if names is None else str(names[j]) for j in order]


def without_penalty(model: Any) -> bool:
    """Tell whether the model is a plain logistic regression whose penalty is off."""
    off = getattr(model, "C", 1.0) == np.inf or getattr(model, "penalty", "") is None
    return (
        type(model) is LogisticRegression
        and off
        and model.fit_intercept
        and model.class_weight is None
    )


@dataclass(frozen=True, slots=True)
class LogisticScores:
    """The solved score equations of a logistic propensity model.

    Attributes
    ----------
    basis : ndarray of shape (n, r)
        Orthonormal basis of the span of the model's columns.
    influence : ndarray of shape (n, (K - 1) r)
        Each row's contribution to the error of the coefficients in that basis.
    """

    basis: FloatArray
    influence: FloatArray


def solved_scores(
    model: Any, X: FloatArray, codes: IntArray, e: FloatArray, s: FloatArray
) -> LogisticScores | None:
    """Return the scores if ``model`` is an unpenalised logistic fit in sample.

    None for any other model: a penalty, class weights or an unfinished fit leave the
    score equations unsolved, and what a selecting or supervised transformer adds to
    the uncertainty is unknown.
    """
    F = _columns(model, X)
    if F is None:
        return None
    masses = s / s.sum()
    H = F @ whitening(F, masses)
    terms = s[:, None] * scores(H, codes, e)
    spread = np.sqrt(np.sum(terms**2, axis=0))
    if np.any(np.abs(terms.sum(axis=0)) > _SCORE_TOL * spread + 1e-12 * s.sum()):
        return None
    inverse = np.linalg.pinv(information(H, e, s), rcond=1e-13, hermitian=True)
    return LogisticScores(H, terms @ inverse)


def _columns(model: Any, X: FloatArray) -> FloatArray | None:
    """Return the columns that an unpenalised logistic regression is linear in."""
    final = model
    if isinstance(model, Pipeline):
        final = model.steps[-1][1]
        for _, step in model.steps[:-1]:
            if step not in ("passthrough", None):
                if not isinstance(step, _SPAN_KEEPERS):
                    return None
                X = np.asarray(step.transform(X), dtype=np.float64)
    if not isinstance(final, LogisticRegression):
        return None
    if np.isfinite(final.C) and getattr(final, "penalty", "l2") is not None:
        return None
    if final is not model and not final.fit_intercept:
        return None  # an estimated centre moves a span without the constant
    if isinstance(final, UnpenalizedLogistic):
        # Centred columns keep the digits that an offset far from zero would cost.
        X = final._scaling.transform(X)
    return np.column_stack([np.ones(len(X)), X]) if final.fit_intercept else X


def log_weight_gradient(
    H: FloatArray, codes: IntArray, e: FloatArray, estimand: str, focal: int | None
) -> FloatArray:
    """Return the derivative of ``log(h(x) / e_a(x))`` in the coefficients.

    With e the softmax of the log odds, the derivative of ``log e_a`` in block j is
    ``(1{a = j} - e_j) x``. ATE: minus that. ATT and ATC, target arm f:
    ``(1{f = j} - 1{a = j}) x``. ATO: ``(h / e_j - 1{a = j}) x``.
    """
    free = np.arange(1, e.shape[1])
    hit = (codes[:, None] == free).astype(np.float64)
    if estimand == "ate":
        factor = e[:, 1:] - hit
    elif focal is not None:
        factor = (focal == free) - hit
    else:
        factor = overlap_share(e)[:, 1:] - hit
    return _blocks(factor, H)


def weight_model(
    solved: LogisticScores,
    codes: IntArray,
    e: FloatArray,
    estimand: str,
    focal: int | None,
    rows: np.ndarray,
) -> WeightModel:
    """Return the weights' first-order behaviour in the caller's rows."""
    gradient = log_weight_gradient(solved.basis, codes, e, estimand, focal)
    fixed = np.zeros_like(gradient)
    return WeightModel(gradient, solved.influence, fixed).spread(rows)


def target_model(
    solved: LogisticScores, e: FloatArray, rows: np.ndarray
) -> TargetModel:
    """Return the overlap population's first-order behaviour in the caller's rows.

    In block j the derivative of log h is ``(h / e_j - e_j) x``.
    """
    gradient = _blocks(overlap_share(e)[:, 1:] - e[:, 1:], solved.basis)
    return TargetModel(gradient, solved.influence).spread(rows)
