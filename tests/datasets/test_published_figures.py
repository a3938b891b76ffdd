"""Published figures that the shipped files must give again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from causalweights import datasets

# naive difference in means: published with this many decimals
NAIVE = {
    "load_nsw": (1_794.34, 0.01),
    "load_nsw_cps": (-8_497.5, 0.05),
    "load_nsw_psid": (-15_204.78, 0.01),
    "load_lalonde": (-635.03, 0.01),
    "load_nhefs": (2.54, 0.005),
    "load_birthweight": (-275.25, 0.005),
    "load_actg175": (46.811, 0.001),
}
EXPERIMENT = ["load_nsw", "load_nsw_cps", "load_nsw_psid", "load_lalonde"]


def load(name, **options):
    return getattr(datasets, name)(**options)


def naive(data):
    means = data.y.groupby(data.treatment).mean()
    return means[1] - means[0]


def two_stage(y, X, instruments):
    """Two-stage least squares with a constant: coefficients, classical and HC0 SEs."""
    one = np.ones((len(X), 1))
    X = np.hstack([X.to_numpy(float), one])
    Z = np.hstack([instruments.to_numpy(float), one])
    fitted = Z @ np.linalg.lstsq(Z, X, rcond=None)[0]
    coef = np.linalg.lstsq(fitted, y.to_numpy(), rcond=None)[0]
    residual = y.to_numpy() - X @ coef
    bread = np.linalg.inv(fitted.T @ fitted)
    classical = np.diag(bread) * (residual @ residual) / (len(y) - X.shape[1])
    robust = np.diag(bread @ (fitted.T * residual**2) @ fitted @ bread)
    return coef, np.sqrt(classical), np.sqrt(robust)


@pytest.mark.parametrize("name", list(NAIVE))
def test_published_difference_in_means(name):
    value, tolerance = NAIVE[name]
    assert naive(load(name)) == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize("name", EXPERIMENT)
def test_experimental_benchmark(name):
    benchmark = load(name).benchmark
    assert benchmark.value == pytest.approx(1_794.34, abs=0.01)
    assert benchmark.se == pytest.approx(671.0, abs=0.01)
    assert benchmark.estimand == "att"


def test_psid_earnings_are_in_dollars():
    data = load("load_nsw_psid")
    controls = data.treatment == 0
    # means printed by Dehejia and Wahba (1999), Table 1: whole dollars
    assert data.X.re74[controls].mean() == pytest.approx(19_429, abs=1)
    assert data.X.re75[controls].mean() == pytest.approx(19_063, abs=1)
    assert data.X.nodegree[controls].mean() == pytest.approx(0.31, abs=0.005)


def test_nhefs_weighted_estimate_of_the_book():
    data = load("load_nhefs")
    X = data.X.copy()
    for column in ("age", "smokeintensity", "smokeyrs", "wt71"):
        X[f"{column}_squared"] = X[column] ** 2
    X = pd.get_dummies(
        X, columns=["education", "exercise", "active"], drop_first=True, dtype=float
    )
    X = (X - X.mean()) / X.std()
    model = LogisticRegression(C=np.inf, max_iter=1_000, tol=1e-10)
    propensity = model.fit(X, data.treatment).predict_proba(X)[:, 1]
    treated = data.treatment == 1
    effect = np.average(data.y[treated], weights=1 / propensity[treated])
    effect -= np.average(data.y[~treated], weights=1 / (1 - propensity[~treated]))
    assert effect == pytest.approx(3.44, abs=0.005)
    assert data.published.value == 3.4
    assert data.benchmark is None


def test_birthweight_regression_adjustment_of_stata():
    data = load("load_birthweight")
    names = ["prenatal1", "mmarried", "mage", "fbaby"]
    X = np.column_stack([np.ones(len(data.X)), data.X[names]])
    treated = (data.treatment == 1).to_numpy()
    means = [
        X @ np.linalg.lstsq(X[arm], data.y[arm], rcond=None)[0]
        for arm in (~treated, treated)
    ]
    effect = (means[1] - means[0]).mean()
    assert effect == pytest.approx(data.published.value, abs=1e-4)


def test_card_two_stage_least_squares():
    data = load("load_card")
    coef, classical, robust = two_stage(data.y, data.X, data.instruments)
    assert coef[0] == pytest.approx(0.1315038362, abs=1e-9)
    assert robust[0] == pytest.approx(0.0539995, abs=1e-7)
    assert coef[0] == pytest.approx(data.published.value, abs=0.001)
    assert classical[0] == pytest.approx(data.published.se, abs=0.0005)
    both = load("load_card", instruments=["nearc2", "nearc4"])
    assert list(both.instruments) == ["nearc2", "nearc4", *both.exogenous]
    coef, _, robust = two_stage(both.y, both.X, both.instruments)
    assert coef[0] == pytest.approx(0.1570593700, abs=1e-9)
    assert robust[0] == pytest.approx(0.0524127, abs=1e-7)


def test_ajr_two_stage_least_squares():
    data = load("load_ajr")
    coef, classical, _ = two_stage(data.y, data.X, data.instruments)
    # the file is Albouy's: 0.01 below the printed 0.94 (0.16)
    assert coef[0] == pytest.approx(data.published.value, abs=0.015)
    assert classical[0] == pytest.approx(data.published.se, abs=0.005)
    # first stage and OLS of the paper's Tables 2 to 4
    first = np.polyfit(data.instruments.logmort0, data.X.risk, 1)
    assert first[0] == pytest.approx(-0.61, abs=0.005)
    assert np.polyfit(data.X.risk, data.y, 1)[0] == pytest.approx(0.52, abs=0.005)


def test_401k_two_stage_least_squares_of_abadie():
    data = load("load_401k", treatment="participation")
    controls = data.X[["inc", "marr", "fsize"]].assign(
        age=data.X.age - 25, age_squared=(data.X.age - 25) ** 2
    )
    controls["inc"] /= 1_000  # for the conditioning of the normal equations only
    X = pd.concat([data.treatment, controls], axis=1)
    Z = pd.concat([data.instruments, controls], axis=1)
    coef, _, robust = two_stage(data.y, X, Z)
    assert coef[0] == pytest.approx(data.published.value, abs=0.05)
    assert robust[0] == pytest.approx(data.published.se, abs=0.05)
    # ordinary least squares of the same table: 13,527.05 (1,809.59)
    coef, _, robust = two_stage(data.y, X, X)
    assert coef[0] == pytest.approx(13_527.05, abs=0.05)
    assert robust[0] == pytest.approx(1_809.59, abs=0.05)
