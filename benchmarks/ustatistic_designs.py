"""Designs of the uniform-transformer U-statistic: its claim, its forms, its coverage.

Estimators are named ``estimand/form/outcome`` as in `designs`. A form is a map, a
normalisation and what differs from a Gaussian kernel of bandwidth n^(-1/d) with
reflection; ``raw`` is without an outcome model and a standard error, ``plain`` without
a model, ``linear`` with least squares.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from designs import Design, Estimate, Estimator, unweighted
from scipy.special import expit
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures
from sklearn.utils import Bunch

from causalweights import (
    EntropyBalancer,
    PropensityWeighter,
    UniformTransformer,
    UniformTransformerEffect,
)
from causalweights.datasets import (
    make_dependent_normals,
    make_kang_schafer,
    make_rough_ratio,
    make_tilted_cube,
)

RATE = Callable[[int], float]


def ustatistic(
    data: Bunch, *, estimand: str = "att", rate: RATE | None = None, **options: Any
) -> Estimate:
    """Return UniformTransformerEffect's estimate; ``rate`` maps n to the bandwidth."""
    if rate is not None:
        options["bandwidth"] = rate(len(data.y))
    fitted = UniformTransformerEffect(estimand, **options)
    fitted.fit(data.X, data.y, treatment=data.treatment)
    return Estimate(fitted.effect_, fitted.se_, fitted.ess_[0])


def imputed(data: Bunch, degree: int = 1) -> Estimate:
    """Return the ATT by least squares on polynomials of the covariates."""
    treated = data.treatment == 1
    terms = PolynomialFeatures(degree).fit_transform(data.X)
    model = LinearRegression().fit(terms[~treated], data.y[~treated])
    gaps = data.y[treated] - model.predict(terms[treated])
    return Estimate(float(gaps.mean()))


def weighted(data: Bunch, weighter: Any, degree: int = 1) -> Estimate:
    """Return the ATT by a classical weighter on polynomials of the covariates."""
    terms = PolynomialFeatures(degree, include_bias=False).fit_transform(data.X)
    masses = weighter.fit(terms, data.treatment).masses_
    signed = np.where(data.treatment == 1, 1.0, -1.0) * masses
    controls = masses[data.treatment == 0]
    return Estimate(float(signed @ data.y), ess=float(1 / np.sum(controls**2)))


PLAIN = {"augment": None, "se": None}
GLOBAL = {**PLAIN, "normalization": "global"}
PROJECTION = {**PLAIN, "basis": "polynomial", "degree": 2}
# The reference's figures for the rough designs are of randomly cut cells.
CUT = UniformTransformer("marginal", random_cuts=True)


def rough_estimators(alpha: float, *, optimal: bool) -> dict[str, Estimator]:
    """Return the bandwidths of the claim, and what parametric weights do."""
    rates: dict[str, RATE] = {
        "1/n": lambda n: 1 / n,
        "2/n": lambda n: 2 / n,
        "4/n": lambda n: 4 / n,
        "n^-1/3": lambda n: n ** (-1 / 3),
    }
    if optimal:
        rates["density-optimal"] = lambda n: n ** (-1 / (1 + 2 * alpha))
        rates["n^-1/5"] = lambda n: n ** (-1 / 5)
    logistic = partial(weighted, degree=2)
    return {
        **{
            f"att/h={name}/raw": partial(
                ustatistic, rate=rate, transformer=CUT, **GLOBAL
            )
            for name, rate in rates.items()
        },
        "att/logistic 2/raw": lambda d: logistic(d, PropensityWeighter(estimand="att")),
        "att/entropy 2/raw": lambda d: weighted(d, EntropyBalancer(estimand="att"), 2),
        "att/least squares 2/raw": partial(imputed, degree=2),
        "att/projection 2/raw": partial(ustatistic, transformer=CUT, **PROJECTION),
        "att/none/raw": unweighted,
    }


KNOWN = FrozenEstimator(FunctionTransformer().fit(np.zeros((1, 1))))
CUBE: dict[str, Estimator] = {
    f"att/{name}/raw": partial(ustatistic, **{**GLOBAL, **options})
    for name, options in {
        "joint none global": {"transformer": "joint", "boundary": "none"},
        "joint reflect global": {"transformer": "joint"},
        "joint renorm global": {"transformer": "joint", "boundary": "renorm"},
        "joint none per_target": {
            "transformer": "joint", "boundary": "none", "normalization": "per_target",
        },
        "marginal reflect global": {"transformer": "marginal"},
        "known reflect global": {"transformer": "none"},
        "known reflect none": {"transformer": "none", "normalization": "none"},
        "joint projection 2": {**PROJECTION, "transformer": "joint"},
    }.items()
}  # fmt: skip
CUBE["att/none/raw"] = unweighted

DEPENDENT: dict[str, Estimator] = {
    f"att/{name}": partial(ustatistic, **options)
    for name, options in {
        "joint global/raw": {**GLOBAL, "transformer": "joint"},
        "joint per_target/raw": {**PLAIN, "transformer": "joint"},
        "marginal global/raw": {**GLOBAL, "transformer": "marginal"},
        "marginal per_target/raw": {**PLAIN, "transformer": "marginal"},
        "joint gaussian4 wide/raw": {
            **GLOBAL, "transformer": "joint", "kernel": "gaussian4",
            "bandwidth": "wide",
        },
        "joint global/linear": {"transformer": "joint", "normalization": "global"},
        "marginal per_target/linear": {"transformer": "marginal"},
        "rank per_target/linear": {},
    }.items()
}  # fmt: skip
DEPENDENT["att/least squares/raw"] = imputed
DEPENDENT["att/none/raw"] = unweighted

SEEN: dict[str, Estimator] = {
    "att/authors' package/raw": lambda d: ustatistic(
        d, transformer=UniformTransformer("joint", random_cuts=True), boundary="none",
        **GLOBAL,
    ),
    "att/joint projection 2/raw": partial(
        ustatistic, transformer="joint", **PROJECTION
    ),
    "att/marginal projection 2/raw": partial(
        ustatistic, transformer="marginal", **PROJECTION
    ),
    "att/marginal per_target/raw": partial(ustatistic, transformer="marginal", **PLAIN),
    "att/marginal per_target/linear": partial(ustatistic, transformer="marginal"),
    "att/least squares/raw": imputed,
    "att/logistic/raw": lambda d: weighted(d, PropensityWeighter(estimand="att")),
    "att/none/raw": unweighted,
}  # fmt: skip

WIDTHS = {"": 1, " 3h": 3}
HETEROSKEDASTIC: dict[str, Estimator] = {
    f"{estimand}/rank{name}/plain": partial(
        ustatistic, estimand=estimand, augment=None, rate=partial(np.divide, c)
    )
    for estimand in ("ate", "att")
    for name, c in WIDTHS.items()
}
SMOOTH: dict[str, Estimator] = {
    f"att/marginal{name}/plain": partial(
        ustatistic, transformer="marginal", augment=None, normalization="global",
        rate=partial(np.divide, c),
    )
    for name, c in {"": 1, " 2h": 2}.items()
}  # fmt: skip


# ---- draws -------------------------------------------------------------------------


def draw_line(
    n: int, rng: np.random.Generator, score: Any, mean: Any, scale: Any
) -> Bunch:
    """Draw x ~ N(0, 1), the effect 1 + x / 2, and noise of SD ``scale(x)``."""
    x = rng.standard_normal(n)
    treatment = (rng.uniform(size=n) < expit(score(x))).astype(np.int64)
    y = mean(x) + treatment * (1 + x / 2) + scale(x) * rng.standard_normal(n)
    return Bunch(X=x[:, None], y=y, treatment=treatment)


def line_att(score: Any) -> float:
    """Return 1 + E[x | A = 1] / 2 by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    e = weights * expit(score(nodes))
    return float(1 + 0.5 * (nodes @ e) / e.sum())


def wavy_score(x: Any) -> Any:
    return 0.3 * x + 0.4 * np.sin(2 * x)


def straight_score(x: Any) -> Any:
    return -0.2 + 0.6 * x


def drawn(make: Callable[..., Bunch], **options: Any) -> Callable[..., Bunch]:
    """Return a simulator as a function of (n, rng)."""
    return lambda n, rng: make(n, random_state=rng, **options)


def draw_hidden(n: int, rng: np.random.Generator) -> Bunch:
    """Draw the Kang-Schafer design of which the estimators see the hidden Z."""
    data = make_kang_schafer(n, random_state=rng)
    data.X = data.latent
    return data


ONE = {"ate": 1.0, "att": 1.0}
USTATISTIC_DESIGNS: dict[str, Design] = {
    "rough_03": Design(
        drawn(make_rough_ratio), ONE, rough_estimators(0.3, optimal=True), 500,
        "ratio and outcome of smoothness 0.3 each",
    ),
    "rough_1": Design(
        drawn(make_rough_ratio, alpha=1.0, beta=1.0), ONE,
        rough_estimators(1.0, optimal=False), 500,
        "ratio and outcome of smoothness 1 each",
    ),
    **{
        f"cube_{d}": Design(
            drawn(make_tilted_cube, n_features=d), ONE, CUBE, 400,
            f"uniform controls in {d} covariates",
        )
        for d in (1, 2, 3)
    },
    "dependent_2": Design(
        drawn(make_dependent_normals),
        {"att": make_dependent_normals(2, random_state=0).true_att}, DEPENDENT, 500,
        "two normal covariates, correlation 0.7",
    ),
    "dependent_4": Design(
        drawn(make_dependent_normals, n_features=4, correlation=0.3),
        {"att": make_dependent_normals(2, correlation=0.3, random_state=0).true_att},
        DEPENDENT, 1000, "four normal covariates, correlation 0.3, two irrelevant",
    ),
    "hidden": Design(
        draw_hidden, {"att": 0.0}, SEEN, 200, "Kang-Schafer, the hidden Z seen"
    ),
    "seen": Design(
        drawn(make_kang_schafer), {"att": 0.0}, SEEN, 200, "Kang-Schafer, X seen"
    ),
    "line": Design(
        partial(
            draw_line, score=straight_score, mean=lambda x: x + x**2 / 2,
            scale=np.ones_like,
        ),
        {"ate": 1.0, "att": line_att(straight_score)}, SMOOTH, 500,
        "one covariate, equal noise",
    ),
    "unequal": Design(
        partial(
            draw_line, score=wavy_score, mean=lambda x: np.sin(2 * x) + x,
            scale=lambda x: 0.5 + 0.5 * np.abs(x),
        ),
        {"ate": 1.0, "att": line_att(wavy_score)}, HETEROSKEDASTIC, 400,
        "one covariate, unequal noise",
    ),
}  # fmt: skip
