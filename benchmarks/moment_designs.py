"""Designs of moment restrictions: coverage of parameters, and size of the J test.

Estimators are named ``parameter/estimator/sandwich``. Rows ``j`` and ``value`` hold the
normal quantile of a test's p-value with standard error one: 95 % are covered where a
test of level 5 % rejects in 5 % of samples. ``j`` is the J test, ``value`` Anderson and
Rubin's test of the true slope, whose set covers where it does not reject. ``iv`` is
linear with two excluded instruments for one endogenous regressor, ``weak`` with four
weak ones; ``hinge`` is the nonlinear design of Bennett and Kallus, with
E[residual | instruments] = 0; ``powers`` a regression through the origin whose
residual's variance grows with the fourth power of the regressor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from designs import Design, Estimate, Estimator
from scipy.special import expit
from scipy.stats import norm
from sklearn.utils import Bunch

from causalweights import GEL, GMM, MMR, KernelMoments, LinearIV
from causalweights.moments import NonlinearLeastSquares

NO_EFFECTIVE_SIZE = frozenset({"sandwich"})
Fit = Callable[[Bunch], Any]


def once(name: str, fit: Fit) -> Fit:
    """Return a fit that is kept with its draw: all parameters share it."""

    def kept(data: Bunch) -> Any:
        if name not in data.fits:
            data.fits[name] = fit(data)
        return data.fits[name]

    return kept


def parameter(data: Bunch, fit: Fit, k: int) -> Estimate:
    fitted = fit(data)
    return Estimate(float(fitted.params_[k]), float(fitted.se_[k]))


def p_value(data: Bunch, fit: Fit, test: Callable[[Any], Any]) -> Estimate:
    """Return a p-value as a number of standard errors."""
    return Estimate(float(norm.isf(test(fit(data)).pvalue / 2)), 1.0)


TESTS: dict[str, Callable[[Any], Any]] = {
    "j": lambda fitted: fitted.j_test(),
    "value": lambda fitted: fitted.anderson_rubin_test(1.0),
}


def bunch(**columns: Any) -> Bunch:
    """Return a draw; it has no arms, and a treatment for the runner's sake."""
    return Bunch(treatment=np.zeros(len(columns["y"]), dtype=int), fits={}, **columns)


def fitted(model: Any) -> Fit:
    return lambda data: model.fit(data.X, data.y, instruments=data.instruments)


def estimators(models: dict[str, Callable[[], Any]], names: list[str]) -> dict:
    """Return one estimator a parameter, or test, and model.

    Anderson and Rubin's test does not depend on the estimate: the first has it.
    """
    found: dict[str, Estimator] = {}
    for label, make in models.items():
        fit = once(label, lambda data, make=make: fitted(make())(data))
        for k, name in enumerate(names):
            if name == "value" and label != next(iter(models)):
                continue
            found[f"{name}/{label}/sandwich"] = (
                partial(p_value, fit=fit, test=TESTS[name]) if name in TESTS
                else partial(parameter, fit=fit, k=k)
            )  # fmt: skip
    return found


# ---- linear, overidentified, heteroskedastic ---------------------------------------


def draw_iv(n: int, rng: np.random.Generator) -> Bunch:
    z = rng.normal(size=(n, 2))
    h, e = rng.normal(size=(2, n))
    t = z @ [0.5, 0.5] + h
    y = t + h + (0.5 + 0.5 * np.abs(z[:, 0])) * e
    return bunch(X=t[:, None], y=y, instruments=z)


LINEAR = {"instrument_features": "linear", "fit_intercept": True}
IV_MODELS: dict[str, Callable[[], Any]] = {
    "2SLS": partial(LinearIV, fit_intercept=True),
    "LIML": partial(LinearIV, "liml", fit_intercept=True),
    "GMM": partial(GMM, fit_intercept=True),
    "EL": partial(GEL, divergence="log", fit_intercept=True),
    "ET": partial(GEL, fit_intercept=True),
    "CUE": partial(GEL, divergence="chi2", fit_intercept=True),
    "KMM kappa=1e-3": partial(KernelMoments, kappa=1e-3, **LINEAR),
    "KMM kappa=0.1": partial(KernelMoments, kappa=0.1, **LINEAR),
    "KMM kappa=10": partial(KernelMoments, kappa=10.0, **LINEAR),
}


def draw_weak(n: int, rng: np.random.Generator) -> Bunch:
    z = rng.normal(size=(n, 4))
    v, e = rng.normal(size=(2, n))
    scale = 0.4 + np.abs(z[:, 0])
    # The concentration parameter is about four, a first-stage F of two.
    t = z.sum(axis=1) / np.sqrt(n) + scale * v
    y = t + 2.0 + scale * (0.95 * v + np.sqrt(1 - 0.95**2) * e)
    return bunch(X=t[:, None], y=y, instruments=z)


WEAK_MODELS = {name: IV_MODELS[name] for name in ("2SLS", "LIML", "GMM")} | {
    "KMM": partial(KernelMoments, fit_intercept=True)
}


# The same draws, with sixty functions of the two instruments.
KERNEL_MODELS: dict[str, Callable[[], Any]] = {
    "2SLS": IV_MODELS["2SLS"],
    "KMM": partial(KernelMoments, fit_intercept=True),
    "KMM lam=1e-4": partial(KernelMoments, lam=1e-4, fit_intercept=True),
    "KMM, one step": partial(
        KernelMoments, lam=1e-4, one_step=True, fit_intercept=True
    ),
}


# ---- a hinge in an endogenous regressor --------------------------------------------

HINGE = np.array([2.0, 3.0, -0.5, 3.0])
HINGE_NAMES = ["kink", "level", "left slope", "right slope"]


def hinge(t: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the smoothed hinge at points t."""
    kink, level, left, right = theta
    return level + left * (t - kink) + (right - left) * _soft(t - kink)


def hinge_slopes(t: np.ndarray, theta: np.ndarray) -> np.ndarray:
    kink, _, left, right = theta
    soft, share = _soft(t - kink), expit(2 * (t - kink))
    along = -left - (right - left) * share
    return np.column_stack([along, np.ones_like(t), t - kink - soft, soft])


def _soft(u: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, 2 * u) / 2


def draw_hinge(n: int, rng: np.random.Generator) -> Bunch:
    z = rng.uniform(-5, 5, size=(n, 2))
    h, eta, e = rng.normal(size=(3, n)) * [[5.0], [0.2], [0.1]]
    index = z[:, 0] + np.abs(z[:, 1])
    t = 0.75 * index + 0.25 * (h + eta)
    y = hinge(t, HINGE) + h + e * np.logaddexp(0.0, index)
    return bunch(X=t[:, None], y=y, instruments=z)


def hinge_model() -> NonlinearLeastSquares:
    return NonlinearLeastSquares(
        lambda X, theta: hinge(X[:, 0], theta), (0.0, 0.0, 0.0, 1.0),
        lambda X, theta: hinge_slopes(X[:, 0], theta), HINGE_NAMES,
    )  # fmt: skip


HINGE_MODELS: dict[str, Callable[[], Any]] = {
    "KMM": lambda: KernelMoments(hinge_model()),
    "KMM lam=1e-4": lambda: KernelMoments(hinge_model(), lam=1e-4),
    "KMM, one step": lambda: KernelMoments(hinge_model(), lam=1e-4, one_step=True),
    "MMR": lambda: MMR(hinge_model()),
}


# ---- a variance that grows with the fourth power -----------------------------------


def draw_powers(n: int, rng: np.random.Generator) -> Bunch:
    t = np.exp(rng.uniform(-1.5, 1.5, size=n))
    return bunch(X=t[:, None], y=1.7 * t + t**2 * rng.normal(size=n), instruments=None)


POWER_MODELS: dict[str, Callable[[], Any]] = {
    "KMM": KernelMoments,
    "KMM lam=1e-4": partial(KernelMoments, lam=1e-4),
    "KMM, one step": partial(KernelMoments, lam=1e-4, one_step=True),
    "MMR": MMR,
}

MOMENT_DESIGNS: dict[str, Design] = {
    "iv": Design(
        draw_iv, {"slope": 1.0, "j": 0.0, "value": 0.0},
        estimators(IV_MODELS, ["slope", "j", "value"]), 400,
        "linear, one endogenous regressor, two instruments, heteroskedastic",
    ),
    "iv_kernel": Design(
        draw_iv, {"slope": 1.0}, estimators(KERNEL_MODELS, ["slope"]), 400,
        "the same with a kernel of the instruments",
    ),
    "weak": Design(
        draw_weak, {"slope": 1.0, "value": 0.0},
        estimators(WEAK_MODELS, ["slope", "value"]), 250,
        "the same with four weak instruments and errors correlated by 0.95",
    ),
    "hinge": Design(
        draw_hinge, dict(zip(HINGE_NAMES, HINGE.tolist(), strict=True)),
        estimators(HINGE_MODELS, HINGE_NAMES), 1000,
        "hinge of an endogenous regressor, E[residual | instruments] = 0",
    ),
    "powers": Design(
        draw_powers, {"slope": 1.7}, estimators(POWER_MODELS, ["slope"]), 256,
        "regression through the origin, residual variance t^4",
    ),
}  # fmt: skip
