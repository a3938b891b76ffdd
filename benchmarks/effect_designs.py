"""Designs of heterogeneous effects: coverage of averages, groups, slopes and bands.

Estimators are named ``quantity/final model or ranking/form``. A band's row
``anywhere`` is the error at the point of the grid where it is largest against its
standard error, with half the band's width there: it covers where the band does.
``curve`` has one covariate, and nuisance models that fit it; ``flat`` is the same with
a constant effect; ``defaults`` has ten, and the package's default learners. Rankings
are by models of the earlier folds, or, to show what that is for, of all other folds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from designs import Design, Estimate, Estimator
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Bunch

from causalweights import PseudoOutcomeRegressor
from causalweights.cate import calibration_test, gates, qini_score, rate_score
from causalweights.datasets import make_nie_wager
from causalweights.learners import LocalPolynomialRegressor, SeriesRegressor

Z95 = norm.ppf(0.975)
NO_EFFECTIVE_SIZE = frozenset({"dr", "r", "pointwise", "uniform"})
GRID = np.linspace(-0.95, 0.95, 50)[:, None]
Fit = Callable[[Bunch], PseudoOutcomeRegressor]


def once(fit: Fit) -> Fit:
    """Return a fit that is kept with its draw: many estimators share it."""

    def kept(data: Bunch) -> PseudoOutcomeRegressor:
        if "fitted" not in data:
            data.fitted = fit(data)
        return data.fitted

    return kept


def row_of(found: Any, k: int | None = None, target: float = 0.0) -> Estimate:
    """Return one entry of a result, its distance from a draw's own target."""
    effect, se = (np.atleast_1d(v)[k or 0] for v in (found.effect, found.se))
    return Estimate(float(effect - target), float(se))


def average(data: Bunch, fit: Fit, estimand: str) -> Estimate:
    return row_of(fit(data).average_effect(estimand))


def slope(data: Bunch, fit: Fit, target: str) -> Estimate:
    return row_of(fit(data).best_linear_predictor(data.X[:, :1], target=target), 1)


def group(data: Bunch, fit: Fit, k: int) -> Estimate:
    """Return a group's average effect less the true one of the same rows.

    Groups are random, by the fit's effects from earlier folds.
    """
    fitted = fit(data)
    later = fitted.folds_ > 0
    a, cate = data.treatment[later], data.cate[later]
    half = np.full(len(a), 0.5)
    true = gates(
        a * cate, fitted.sequential_effect_[later], folds=fitted.folds_[later],
        treatment=a, propensity=half, mean_0=0 * half, mean_1=cate,
    )  # fmt: skip
    return row_of(fitted.group_effects(), k, np.asarray(true.effect)[k])


def ranked(data: Bunch, fit: Fit, score: Any) -> Estimate:
    """Return the area under the targeting curve of a ranking known beforehand."""
    found = fit(data).nuisances_
    return row_of(
        score(
            data.y, data.X[:, 0], treatment=data.treatment,
            propensity=found["propensity"][:, 1], mean_0=found["means"][:, 0],
            mean_1=found["means"][:, 1],
        )
    )  # fmt: skip


# ---- one covariate -----------------------------------------------------------------


def curve_effect(x: Any) -> Any:
    return np.sin(2 * x)


def flat_effect(x: Any) -> Any:
    return np.ones_like(x)


def draw_curve(n: int, rng: np.random.Generator, effect: Any = curve_effect) -> Bunch:
    x = rng.uniform(-1, 1, n)
    propensity = expit(1.5 * x)
    a = (rng.random(n) < propensity).astype(int)
    tau = effect(x)
    y = x**2 + a * tau + rng.normal(size=n)
    return Bunch(X=x[:, None], y=y, treatment=a, propensity=propensity, cate=tau)


def curve_truth() -> dict[str, float]:
    """Return the averages by Gauss-Legendre quadrature."""
    x, mass = np.polynomial.legendre.leggauss(200)
    mass, tau, e, rank = mass / 2, curve_effect(x), expit(1.5 * x), (x + 1) / 2
    overlap = mass * e * (1 - e) / (mass @ (e * (1 - e)))
    middle = overlap @ x
    return {
        "ate": mass @ tau,
        "att": mass @ (e * tau) / (mass @ e),
        "ato": overlap @ tau,
        "slope": mass @ (x * tau) / (mass @ x**2),
        "overlap slope": overlap @ ((x - middle) * tau) / (overlap @ (x - middle) ** 2),
        "autoc": mass @ (-(np.log1p(-rank) + 1) * tau),
        "qini": mass @ ((rank - 0.5) * tau),
    }


def fit_curve(data: Bunch) -> PseudoOutcomeRegressor:
    return PseudoOutcomeRegressor(
        outcome_model=SeriesRegressor(), outcome_strategy="separate",
        propensity_model=LogisticRegression(), final_model=SeriesRegressor(),
    ).fit(data.X, data.y, treatment=data.treatment)  # fmt: skip


def band(data: Bunch, fit: Fit, model: Any, weights: str, at: float | None) -> Estimate:
    """Return the error at a point, or where it is largest against the band."""
    fitted = fit(data).refit_final(final_model=model, weights=weights)
    if at is not None:
        low, high = fitted.predict_interval([[at]])[0]
        return Estimate((low + high) / 2, (high - low) / 2 / Z95)
    limits = fitted.predict_interval(GRID, kind="uniform")
    error = limits.mean(axis=1) - curve_effect(GRID[:, 0])
    half = (limits[:, 1] - limits[:, 0]) / 2
    worst = np.argmax(np.abs(error) / half)
    return Estimate(float(error[worst]), float(half[worst] / Z95))


POINTS = (-0.8, 0.0, 0.8)
BANDS = {
    "series uniform": (SeriesRegressor(), "uniform"),
    "series ivw": (SeriesRegressor(), "ivw"),
    "local polynomial ivw": (LocalPolynomialRegressor(), "ivw"),
}


def curve_estimators() -> dict[str, Estimator]:
    fit = once(fit_curve)
    found: dict[str, Estimator] = {
        f"{name}/series/{form}": partial(average, fit=fit, estimand=name)
        for name, form in (("ate", "dr"), ("att", "dr"), ("ato", "r"))
    }
    found |= {
        "slope/series/dr": partial(slope, fit=fit, target="population"),
        "overlap slope/series/r": partial(slope, fit=fit, target="overlap"),
        "autoc/covariate/dr": partial(ranked, fit=fit, score=rate_score),
        "qini/covariate/dr": partial(ranked, fit=fit, score=qini_score),
    }
    found |= {
        f"{name}/earlier folds/dr": partial(group, fit=fit, k=k)
        for name, k in (("lowest fifth", 0), ("highest fifth", 4), ("difference", 5))
    }
    for label, (model, weights) in BANDS.items():
        how = {"fit": fit, "model": model, "weights": weights}
        for at in POINTS:
            found[f"effect at {at}/{label}/pointwise"] = partial(band, at=at, **how)
        found[f"anywhere/{label}/uniform"] = partial(band, at=None, **how)
    return found


# ---- no heterogeneity ---------------------------------------------------------------


def tested(data: Bunch, fit: Fit, function: Any, sequential: bool) -> Estimate:
    """Return the entry of a test of heterogeneity that is zero without any."""
    fitted = fit(data)
    effects = fitted.sequential_effect_ if sequential else fitted.oof_effect_
    rows, found = np.isfinite(effects), fitted.nuisances_
    result = function(
        data.y[rows], effects[rows], folds=fitted.folds_[rows],
        treatment=data.treatment[rows], propensity=found["propensity"][rows, 1],
        mean_0=found["means"][rows, 0], mean_1=found["means"][rows, 1],
    )  # fmt: skip
    return row_of(result, -1)


TESTS = {
    "heterogeneity": calibration_test, "difference": gates, "autoc": rate_score,
    "qini": qini_score,
}  # fmt: skip


def flat_estimators() -> dict[str, Estimator]:
    fit = once(fit_curve)
    return {
        f"{name}/{label}/dr": partial(
            tested, fit=fit, function=function, sequential=label == "earlier folds"
        )
        for label in ("earlier folds", "all other folds")
        for name, function in TESTS.items()
    }


# ---- ten covariates, default learners ----------------------------------------------


def fit_defaults(data: Bunch) -> PseudoOutcomeRegressor:
    return PseudoOutcomeRegressor(random_state=0).fit(
        data.X, data.y, treatment=data.treatment
    )


def defaults_truth() -> dict[str, float]:
    """Return the averages of setup A; its effect is linear, (x1 + x2) / 2."""
    t, mass = np.polynomial.legendre.leggauss(400)
    x1, x2 = np.meshgrid((t + 1) / 2, (t + 1) / 2)
    mass = np.outer(mass, mass) / 4
    e, tau = np.clip(np.sin(np.pi * x1 * x2), 0.1, 0.9), (x1 + x2) / 2
    overlap = mass * e * (1 - e)
    return {
        "ate": 0.5,
        "att": float(np.sum(mass * e * tau) / np.sum(mass * e)),
        "ato": float(np.sum(overlap * tau) / np.sum(overlap)),
        "slope": 0.5,
    }


def defaults_estimators() -> dict[str, Estimator]:
    fit = once(fit_defaults)
    found: dict[str, Estimator] = {
        f"{name}/stack/{form}": partial(average, fit=fit, estimand=name)
        for name, form in (("ate", "dr"), ("att", "dr"), ("ato", "r"))
    }
    # No fifths: what is learned from a first fold can be a constant effect.
    found["slope/stack/dr"] = partial(slope, fit=fit, target="population")
    return found


RANDOM = dict.fromkeys(("lowest fifth", "highest fifth", "difference", "anywhere"), 0.0)
AT = {f"effect at {at}": float(curve_effect(at)) for at in POINTS}
EFFECT_DESIGNS: dict[str, Design] = {
    "curve": Design(
        draw_curve, curve_truth() | RANDOM | AT, curve_estimators(), 1000,
        "one covariate, effect sin(2x), logistic propensity",
    ),
    "flat": Design(
        partial(draw_curve, effect=flat_effect), dict.fromkeys(TESTS, 0.0),
        flat_estimators(), 500, "one covariate, constant effect, logistic propensity",
    ),
    "defaults": Design(
        lambda n, rng: make_nie_wager(n, random_state=rng),
        defaults_truth(), defaults_estimators(), 500,
        "setup A of Nie and Wager, ten covariates, default learners",
    ),
}  # fmt: skip
