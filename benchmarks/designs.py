"""The simulated designs: how rows are drawn, what is true, which estimators compete.

A design is a function of (n, rng), its true effects by estimand, and a dict of
estimators. An estimator is named ``estimand/weights/outcome`` and maps a draw to an
`Estimate`; each computes everything it needs itself, so that any subset can be run.

Outcomes: ``raw`` is the weighted difference in means and ``aipw`` adds least squares in
each arm, in the sample, both without a standard error; ``ols`` is ``aipw`` with one;
``hc0`` is ``raw`` with the robust standard error of the weighted regression; ``plain``
and ``krr`` are `WeightedEffect` without and with its default outcome model; ``m`` is
the M-estimation sandwich.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LinearRegression
from sklearn.utils import Bunch

from causalweights import (
    EntropyBalancer,
    IPMBalancer,
    PropensityWeighter,
    WeightedEffect,
)
from causalweights.datasets import make_kang_schafer, make_kong_heterogeneous


class Estimate(NamedTuple):
    """One estimate; NaN for what the estimator does not report.

    ``ess`` is the effective sample size of the control arm, under ATE as well.
    """

    estimate: float
    se: float = np.nan
    ess: float = np.nan


Estimator = Callable[[Bunch], Estimate]


@dataclass(frozen=True)
class Design:
    """A design.

    Attributes
    ----------
    draw : callable
        ``draw(n, rng)`` returns a Bunch with X, y, treatment (0/1) and, where it is
        known, propensity.
    truth : dict
        True effect by estimand, of the population.
    estimators : dict
    n : int
        Default number of rows.
    says : str
        One line for the documentation.
    """

    draw: Callable[[int, np.random.Generator], Bunch]
    truth: dict[str, float]
    estimators: dict[str, Estimator]
    n: int
    says: str


# ---- weights: estimand -> weighter, None for none ----------------------------------


def gaussian(bandwidth: Any, ridge: Any) -> dict[str, Any]:
    """Return IPMBalancer's parameters for exp(-|x-x'|^2 / (2 bandwidth^2))."""
    return {"discriminator": "gaussian", "bandwidth": bandwidth, "ridge": ridge}


def separate(estimand: str, **parameters: Any) -> IPMBalancer:
    """Return a balancer of each arm to the target, arm by arm."""
    return IPMBalancer(estimand=estimand, between_arms=False, **parameters)


REPLICATION_WEIGHTS: dict[str, Callable[[str], Any]] = {
    "glm": lambda estimand: PropensityWeighter(estimand=estimand),
    "g10 ridge=0": partial(separate, **gaussian(10.0, 0.0)),
    "g10 ridge=1e-5": partial(separate, **gaussian(10.0, 1e-5)),
    "g10 ridge=1e-4": partial(separate, **gaussian(10.0, 1e-4)),
    "g10 ridge=1e-2": partial(separate, **gaussian(10.0, 1e-2)),
    "g1 ridge=0": partial(separate, **gaussian(1.0, 0.0)),
    "gmed ridge=1e-2": partial(separate, **gaussian("median", 1e-2)),
    "gmed ridge=1e-1": partial(separate, **gaussian("median", 1e-1)),
    "energy ridge=0": partial(separate, discriminator="energy", ridge=0.0),
}
# The defaults, but for what the name says.
DEFAULT_WEIGHTS: dict[str, Callable[[str], Any]] = {
    "energy": lambda estimand: IPMBalancer(estimand=estimand),
    "separate": separate,
    "gaussian": lambda estimand: IPMBalancer(
        estimand=estimand, discriminator="gaussian"
    ),
    "glm": lambda estimand: PropensityWeighter(estimand=estimand),
    "entropy": lambda estimand: EntropyBalancer(estimand=estimand),
}


# ---- from weights to an estimate ---------------------------------------------------


def unweighted(data: Bunch) -> Estimate:
    """Return the difference in means."""
    treated = data.treatment == 1
    difference = data.y[treated].mean() - data.y[~treated].mean()
    return Estimate(float(difference), ess=float(np.sum(~treated)))


def true_odds(data: Bunch) -> Estimate:
    """Return the ATT with odds weights of the true propensity."""
    weighter = PropensityWeighter(estimand="att")
    weighter.fit(data.X, data.treatment, propensity=data.propensity)
    return _contrast(weighter, data)


def raw(weights: Callable[[], Any], data: Bunch) -> Estimate:
    """Return the weighted difference in means, without a standard error."""
    return _contrast(weights().fit(data.X, data.treatment), data)


def hc0(weights: Callable[[], Any], data: Bunch) -> Estimate:
    """Return the weighted difference with HC0 of the weighted regression on A.

    Common practice; it treats the weights as fixed.
    """
    weighter = weights().fit(data.X, data.treatment)
    masses = weighter.masses_
    means = np.array([(masses * data.y)[data.treatment == a].sum() for a in (0, 1)])
    residual = data.y - means[data.treatment]
    return _contrast(weighter, data)._replace(
        se=float(np.sqrt(np.sum((masses * residual) ** 2)))
    )


def effect(weights: Callable[[], Any], data: Bunch, **options: Any) -> Estimate:
    """Return WeightedEffect's estimate and standard error."""
    fitted = WeightedEffect(weights(), **options)
    fitted.fit(data.X, data.y, treatment=data.treatment)
    controls = fitted.masses_[data.treatment == 0]
    return Estimate(fitted.effect_, fitted.se_, float(1 / np.sum(controls**2)))


def _contrast(weighter: Any, data: Bunch) -> Estimate:
    signed = np.where(data.treatment == 1, 1.0, -1.0) * weighter.masses_
    return Estimate(float(signed @ data.y), ess=weighter.ess_[0])


def aipw(weights: Callable[[], Any], data: Bunch) -> Estimate:
    """Return the estimate augmented by least squares, without a standard error."""
    found = effect(weights, data, outcome_model=LinearRegression(), cv=None)
    return found._replace(se=np.nan)


OUTCOMES: dict[str, Callable[..., Estimate]] = {
    "raw": raw,
    "aipw": aipw,
    "hc0": hc0,
    "plain": partial(effect, outcome_model=None),
    "ols": partial(effect, outcome_model=LinearRegression(), cv=None),
    "krr": effect,
    "m": partial(effect, outcome_model=None, se="m_estimation"),
}


NO_STANDARD_ERROR = {"raw", "aipw"}


def competitors(
    weights: dict[str, Callable[[str], Any]], grid: dict[str, str]
) -> dict[str, Estimator]:
    """Return estimators from {"estimand/weights": "outcome outcome ..."}."""
    found: dict[str, Estimator] = {}
    for name, outcomes in grid.items():
        estimand, weight = name.split("/")
        for outcome in outcomes.split():
            make = partial(weights[weight], estimand)
            found[f"{name}/{outcome}"] = partial(OUTCOMES[outcome], make)
    return found


# ---- draws -------------------------------------------------------------------------


def draw_inference(n: int, rng: np.random.Generator, randomised: bool = False) -> Bunch:
    """Draw a smooth confounded design in which weighting estimators are unbiased.

    X ~ N(0, I_4), logit e = .4 x1 - .4 x2 + .3 (x3^2 - 1) (one half if randomised),
    Y = x1 + x2 + .5 x1^2 + sin(2 x3) + A (1 + .5 x1) + N(0, 1).
    """
    X = rng.standard_normal((n, 4))
    x1, x2, x3, _ = X.T
    propensity = expit(0.4 * x1 - 0.4 * x2 + 0.3 * (x3**2 - 1))
    if randomised:
        propensity = np.full(n, 0.5)
    treatment = (rng.uniform(size=n) < propensity).astype(np.int64)
    mean = x1 + x2 + 0.5 * x1**2 + np.sin(2 * x3) + treatment * (1 + 0.5 * x1)
    y = mean + rng.standard_normal(n)
    return Bunch(X=X, y=y, treatment=treatment, propensity=propensity)


def inference_att() -> float:
    """Return the population ATT 1 + .5 E[x1 | A = 1] by Gauss-Hermite quadrature."""
    # u = .4 x1 - .4 x2 is N(0, .32), and E[x1 | u] = 1.25 u.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    u = np.sqrt(0.32) * nodes
    e = expit(u[:, None] + 0.3 * (nodes**2 - 1)) @ weights
    return float(1 + 0.5 * (weights @ (1.25 * u * e)) / (weights @ e))


def mixed_propensity(x1: Any, x3: Any, x4: Any) -> Any:
    """Return the propensity of the mixed design."""
    return expit(0.5 * x1 - 0.6 * x3 + 0.3 * (x4 - 1))


def draw_mixed(n: int, rng: np.random.Generator) -> Bunch:
    """Draw skewed and binary covariates, an interaction, unequal noise.

    x1, x2 ~ N(0, 1), x3 ~ Bernoulli(.4), x4 ~ Exponential(1), logit e = .5 x1 - .6 x3
    + .3 (x4 - 1), Y = x1 x2 + x3 + sqrt(x4) + A (.5 + x3) + (.5 + .5 |x1|) N(0, 1).
    """
    x1, x2 = rng.standard_normal((2, n))
    x3 = (rng.uniform(size=n) < 0.4).astype(np.float64)
    x4 = rng.exponential(size=n)
    propensity = mixed_propensity(x1, x3, x4)
    treatment = (rng.uniform(size=n) < propensity).astype(np.int64)
    mean = x1 * x2 + x3 + np.sqrt(x4) + treatment * (0.5 + x3)
    y = mean + (0.5 + 0.5 * np.abs(x1)) * rng.standard_normal(n)
    X = np.column_stack([x1, x2, x3, x4])
    return Bunch(X=X, y=y, treatment=treatment, propensity=propensity)


def mixed_att() -> float:
    """Return .5 + P(x3 = 1 | A = 1) by Gauss-Hermite and Gauss-Laguerre quadrature."""
    u, p = np.polynomial.hermite_e.hermegauss(60)
    v, q = np.polynomial.laguerre.laggauss(60)
    weights = np.outer(p / p.sum(), q)
    e0, e1 = (
        float(np.sum(weights * mixed_propensity(u[:, None], x3, v[None, :])))
        for x3 in (0.0, 1.0)
    )
    return 0.5 + 0.4 * e1 / (0.6 * e0 + 0.4 * e1)


def binary_rates(X: Any) -> tuple[Any, Any, Any]:
    """Return propensity and both risks of the binary design at rows X."""
    x1, x2, x3 = X.T
    risk = -0.5 + x1 + 0.5 * x2**2
    return expit(0.5 * x1 + 0.4 * x2 * x3), expit(risk), expit(risk + 0.8)


def draw_binary(n: int, rng: np.random.Generator) -> Bunch:
    """Draw a binary outcome with an effect on the log odds.

    X ~ N(0, I_3), logit e = .5 x1 + .4 x2 x3,
    logit P(Y = 1) = -.5 + x1 + .5 x2^2 + .8 A.
    """
    X = rng.standard_normal((n, 3))
    propensity, risk0, risk1 = binary_rates(X)
    treatment = (rng.uniform(size=n) < propensity).astype(np.int64)
    y = (rng.uniform(size=n) < np.where(treatment == 1, risk1, risk0)).astype(float)
    return Bunch(X=X, y=y, treatment=treatment, propensity=propensity)


def binary_truth() -> dict[str, float]:
    """Return the risk differences of the binary design by Gauss-Hermite quadrature."""
    u, p = np.polynomial.hermite_e.hermegauss(40)
    p = p / p.sum()
    X = np.stack(np.meshgrid(u, u, u, indexing="ij"), axis=-1).reshape(-1, 3)
    weights = (p[:, None, None] * p[:, None] * p).ravel()
    e, risk0, risk1 = binary_rates(X)
    difference = risk1 - risk0
    return {
        "ate": float(weights @ difference),
        "att": float(weights @ (e * difference) / (weights @ e)),
    }


def draw_kang_schafer(n: int, rng: np.random.Generator, design: str) -> Bunch:
    return make_kang_schafer(n, design=design, random_state=rng)


def draw_heterogeneous(n: int, rng: np.random.Generator) -> Bunch:
    return make_kong_heterogeneous(n, random_state=rng)


# ---- the designs -------------------------------------------------------------------

ATT_GRID = {
    f"att/{weights}": "raw"
    for weights in REPLICATION_WEIGHTS
    if weights not in ("g10 ridge=1e-5", "gmed ridge=1e-1")
}
ATE_GRID = {
    f"ate/{weights}": "raw aipw"
    for weights in (
        "glm",
        "g10 ridge=1e-5",
        "g10 ridge=1e-4",
        "gmed ridge=1e-2",
        "gmed ridge=1e-1",
        "energy ridge=0",
    )
}
INFERENCE_GRID = {
    "ate/energy": "hc0 plain krr",
    "ate/separate": "hc0 plain ols krr",
    "ate/gaussian": "plain krr",
    "ate/glm": "m",
    "ate/entropy": "m",
    "att/energy": "hc0 plain krr",
    "att/gaussian": "plain krr",
}
COVERAGE_GRID = {
    f"{estimand}/{weights}": "plain krr"
    for estimand in ("ate", "att")
    for weights in ("energy", "gaussian")
}

ATT_ESTIMATORS: dict[str, Estimator] = {
    "att/none/raw": unweighted,
    "att/true odds/raw": true_odds,
    **competitors(REPLICATION_WEIGHTS, ATT_GRID),
}
ATE_ESTIMATORS = competitors(REPLICATION_WEIGHTS, ATE_GRID)
NO_EFFECT = {"ate": 0.0, "att": 0.0}
# Population effect: the mean of 5 cos(2 x5) over the uniform distribution on (-2, 2).
HETEROGENEOUS = {"ate": 5 * np.sin(4.0) / 4}

KANG_SCHAFER = {
    "z": "treatment depends on the hidden Z, nonlinearly on what is seen",
    "x": "the propensity is logistic and linear in what is seen",
    "z2": "design Z with twice the logit: little overlap",
}

DESIGNS: dict[str, Design] = {
    **{
        f"att_{name}": Design(
            partial(draw_kang_schafer, design=name.upper()),
            NO_EFFECT,
            ATT_ESTIMATORS,
            200,
            f"Kang-Schafer, {KANG_SCHAFER[name]}",
        )
        for name in ("z", "x")
    },
    **{
        f"ate_{name}": Design(
            partial(draw_kang_schafer, design=name.upper()),
            NO_EFFECT,
            ATE_ESTIMATORS,
            200,
            f"Kang-Schafer, {says}",
        )
        for name, says in KANG_SCHAFER.items()
    },
    "ate_hetero": Design(
        draw_heterogeneous,
        HETEROGENEOUS,
        ATE_ESTIMATORS,
        200,
        "Kong et al.'s design with a heterogeneous effect",
    ),
    "inference": Design(
        draw_inference,
        {"ate": 1.0, "att": inference_att()},
        competitors(DEFAULT_WEIGHTS, INFERENCE_GRID),
        400,
        "smooth confounding with good overlap",
    ),
    "randomised": Design(
        partial(draw_inference, randomised=True),
        {"ate": 1.0, "att": 1.0},
        competitors(DEFAULT_WEIGHTS, COVERAGE_GRID),
        400,
        "the same outcome with treatment by a fair coin",
    ),
    "mixed": Design(
        draw_mixed,
        {"ate": 0.9, "att": mixed_att()},
        competitors(DEFAULT_WEIGHTS, COVERAGE_GRID),
        400,
        "skewed and binary covariates, an interaction, unequal noise",
    ),
    "binary": Design(
        draw_binary,
        binary_truth(),
        competitors(DEFAULT_WEIGHTS, COVERAGE_GRID),
        400,
        "a binary outcome, the propensity with an interaction",
    ),
}
