"""A design of prediction intervals under covariate shift.

``conformal`` draws n source rows, as many target rows that weighters see, and 1000 new
ones of the target on which intervals are judged. Estimators are named
``quantity/weights/shape``: the share of new outcomes that 95 % intervals cover, the
mean width of the finite ones, the share of infinite ones, and the effective size of the
calibration rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from designs import Design, Estimate, Estimator
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils import Bunch

from causalweights.shift import (
    DoubleKernelMeanMatching,
    KernelMeanMatching,
    LogisticRatio,
    RuLSIF,
    TargetSample,
    WeightedConformalRegressor,
)

LEVEL = 0.95
CENTER, SCALE = 1.2, 0.7
N_NEW = 1000


def true_ratio(X: Any) -> Any:
    """Return the density of N(1.2, .49) over that of N(0, 1); it is at most 5.86."""
    x = np.asarray(X)[:, 0]
    return np.exp((x**2 - ((x - CENTER) / SCALE) ** 2) / 2) / SCALE


class TrueRatio(BaseEstimator):
    """The weighter that knows the densities."""

    def fit(self, X: Any, y: Any = None, *, X_target: Any = None) -> TrueRatio:
        self.beta_ = true_ratio(X)
        return self

    def predict_weights(self, X: Any) -> Any:
        return true_ratio(X)


class BetaAlone(DoubleKernelMeanMatching):
    """Double weighting whose target weights are not told."""

    def target_weights(self, X: Any) -> Any:
        return np.ones(len(X))


def outcome(x: Any, rng: np.random.Generator) -> Any:
    """Return x + x^2 / 2 + .7 exp(x / 2) N(0, 1)."""
    return x + 0.5 * x**2 + 0.7 * np.exp(0.5 * x) * rng.standard_normal(len(x))


def draw_conformal(n: int, rng: np.random.Generator) -> Bunch:
    """Draw a source N(0, 1) and a target N(1.2, .7^2), labels 0 and 1."""
    x = rng.standard_normal(n)
    target, new = (CENTER + SCALE * rng.standard_normal(m) for m in (n, N_NEW))
    return Bunch(
        X=x[:, None], y=outcome(x, rng), X_target=target[:, None], X_new=new[:, None],
        y_new=outcome(new, rng), treatment=np.zeros(n, dtype=int), fitted={},
    )  # fmt: skip


def squares() -> Any:
    return make_pipeline(PolynomialFeatures(2), LogisticRegression())


WEIGHTERS: dict[str, Callable[[], Any]] = {
    "unweighted": lambda: None,
    "true ratio": TrueRatio,
    "LogisticRatio": LogisticRatio,
    "LogisticRatio squares": lambda: LogisticRatio(classifier=squares()),
    "RuLSIF": RuLSIF,
    "RuLSIF mixture=0": lambda: RuLSIF(mixture=0.0),
    "KernelMeanMatching": KernelMeanMatching,
    "DoubleKernelMeanMatching": DoubleKernelMeanMatching,
    "DoubleKernelMeanMatching beta": BetaAlone,
}
SHAPES: dict[str, dict[str, Any]] = {
    "residual": {},
    "scaled": {"scale_estimator": LinearRegression()},
    "quantile": {
        "quantile_estimators": tuple(
            QuantileRegressor(quantile=q, alpha=0.0) for q in (0.025, 0.975)
        )
    },
}
QUANTITIES = ("coverage", "width", "infinite", "ESS")


def judged(data: Bunch, weights: str, shape: str) -> dict[str, float]:
    """Return the quantities of one regressor, kept with its draw."""
    if (weights, shape) not in data.fitted:
        model = WeightedConformalRegressor(
            LinearRegression(), WEIGHTERS[weights](), **SHAPES[shape]
        ).fit(data.X, data.y, X_target=TargetSample(data.X_target))
        low, high = model.predict_interval(data.X_new, LEVEL).T
        width = high - low
        finite = np.isfinite(width)
        data.fitted[weights, shape] = {
            "coverage": np.mean((low <= data.y_new) & (data.y_new <= high)),
            "width": width[finite].mean(),
            "infinite": 1.0 - finite.mean(),
            "ESS": model.ess_calibration_,
        }
    return data.fitted[weights, shape]


def quantity(data: Bunch, name: str, weights: str, shape: str) -> Estimate:
    return Estimate(float(judged(data, weights, shape)[name]))


def conformal_estimators() -> dict[str, Estimator]:
    pairs = [(weights, "residual") for weights in WEIGHTERS]
    pairs += [("true ratio", shape) for shape in ("scaled", "quantile")]
    return {
        f"{name}/{weights}/{shape}": partial(
            quantity, name=name, weights=weights, shape=shape
        )
        for weights, shape in pairs
        for name in QUANTITIES
    }


NO_INFERENCE = frozenset(SHAPES)
CONFORMAL_DESIGNS: dict[str, Design] = {
    "conformal": Design(
        draw_conformal,
        {"coverage": LEVEL} | dict.fromkeys(QUANTITIES[1:], 0.0),
        conformal_estimators(),
        300,
        "source N(0, 1), target N(1.2, 0.49), a line fitted to a curve, unequal noise",
    )
}
