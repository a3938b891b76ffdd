"""Weights to a population outside the sample."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from causalweights import IPMBalancer, balance_table
from causalweights.discrepancy import (
    HalfSpaces,
    energy_distance,
    kolmogorov_smirnov,
    supremum,
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 2))
    a = (X[:, 0] + rng.normal(size=160) > 0).astype(int)
    return X, a, rng.normal(0.4, 0.8, size=(70, 2))


def test_an_outside_target_is_an_arm_that_gets_no_weights(data):
    """The same as an ATT whose focal arm is the target, in the same scale."""
    X, a, T = data
    fit = IPMBalancer(target=T, between_arms=False, standardize=False).fit(X, a)
    both, arm = np.vstack([X, T]), np.append(a, np.full(len(T), 2))
    focal = IPMBalancer(estimand="att", focal=2, standardize=False).fit(both, arm)
    assert_allclose(fit.weights_, focal.weights_[:160], atol=1e-9)
    for k in (0, 1):
        assert_allclose(fit.discrepancy_[k], focal.discrepancy_[k], rtol=1e-9)
        assert_allclose(fit.objective_[k], focal.objective_[k], rtol=1e-9)
    assert fit.target_masses_.sum() == 0 and fit.ess_[0] == pytest.approx(focal.ess_[0])


def test_discrepancies_are_to_the_target(data):
    X, a, T = data
    fit = IPMBalancer(target=T).fit(X, a)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    Z, goal = (X - mean) / scale, (T - mean) / scale
    arms = [
        energy_distance(Z[a == k], goal, x_weights=fit.masses_[a == k]) for k in (0, 1)
    ]
    between = energy_distance(
        Z[a == 0], Z[a == 1], x_weights=fit.masses_[a == 0],
        y_weights=fit.masses_[a == 1],
    )  # fmt: skip
    assert_allclose(fit.discrepancy_, sum(arms) + between, rtol=1e-9)
    assert_allclose(fit.pairwise_discrepancy_[(0, "target")], arms[0], rtol=1e-9)
    assert fit.converged_ and fit.discrepancy_ < 0.3 * fit.discrepancy_before_
    assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-8)
    assert fit.score(X, a) == pytest.approx(-sum(arms), rel=1e-9)
    w = np.where(a == 1, fit.masses_, 0)
    assert abs(w @ X[:, 0] - T[:, 0].mean()) < 0.05


def test_the_sample_itself_as_target_is_the_ate(data):
    X, a, _ = data
    own, given = IPMBalancer().fit(X, a), IPMBalancer(target=X).fit(X, a)
    assert_allclose(given.weights_, own.weights_, atol=1e-9)
    assert_allclose(given.discrepancy_, own.discrepancy_, rtol=1e-9)


def test_target_weights_are_copies(data):
    X, a, T = data
    times = np.random.default_rng(1).integers(0, 4, len(T))
    weighted = IPMBalancer(target=T, target_weight=times).fit(X, a)
    copied = IPMBalancer(target=np.repeat(T, times, axis=0)).fit(X, a)
    assert_allclose(weighted.weights_, copied.weights_, atol=1e-8)


def test_moments_and_suprema_see_the_target(data):
    X, a, T = data
    fit = IPMBalancer(target=T, moments=2, quantiles=[0.5], moment_tol=0.01).fit(X, a)
    for k in (0, 1):
        w = np.where(a == k, fit.masses_, 0)
        assert np.all(np.abs(w @ X - T.mean(axis=0)) <= 0.0100001 * X.std(axis=0))
        cut = np.quantile(T[:, 0], 0.5, method="inverted_cdf")
        assert abs(w @ (X[:, 0] <= cut) - np.mean(T[:, 0] <= cut)) < 0.0051
    steps = IPMBalancer(target=T, discriminator=HalfSpaces(), between_arms=False)
    steps.fit(X, a)
    Z, goal = X / X.std(axis=0), T / X.std(axis=0)
    found = supremum(
        HalfSpaces(), Z[a == 0], goal, x_weights=steps.masses_[a == 0]
    )  # fmt: skip
    assert_allclose(steps.discrepancy_[0], found.value, atol=1e-9)


def test_frames_are_matched_by_name_and_cloned(data):
    X, a, T = data
    frame = pd.DataFrame(X, columns=["u", "v"])
    goal = pd.DataFrame(T, columns=["u", "v"])
    fit = clone(IPMBalancer(target=goal)).fit(frame, a)
    assert_allclose(fit.weights_, IPMBalancer(target=T).fit(X, a).weights_)
    with pytest.raises(ValueError, match="feature names"):
        IPMBalancer(target=goal[["v", "u"]]).fit(frame, a)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimand": "att"}, "estimand='ate'"),
        ({"target": np.full((3, 2), np.nan)}, "NaN"),
        ({"target": np.zeros((3, 5))}, "5 features"),
        ({"target_weight": [1.0]}, "1"),
        ({"target": None, "target_weight": [1.0]}, "target_weight needs target"),
        ({"solver": "low_rank"}, "rows in memory"),
    ],
)
def test_targets_that_cannot_be_are_refused(options, message, data):
    X, a, T = data
    with pytest.raises(ValueError, match=message):
        IPMBalancer(**{"target": T, **options}).fit(X, a)


@pytest.mark.parametrize("weight_type", ["sampling", "frequency"])
def test_balance_tables_compare_with_the_target(weight_type, data):
    X, a, T = data
    t = np.random.default_rng(1).integers(0, 4, len(T))
    s = np.random.default_rng(2).integers(1, 4, len(X))
    fit = IPMBalancer(target=T, target_weight=t, weight_type=weight_type)
    fit.fit(X, a, sample_weight=s)
    table = balance_table(X, a, fit, sample_weight=s, compare="target")
    scale = np.sqrt(
        [np.mean([np.cov(X[a == k, j], fweights=s[a == k]) for k in (0, 1)])
         for j in (0, 1)]
    )  # fmt: skip
    for k in (0, 1):
        rows = table.loc[f"{k} vs target"]
        goal = np.average(T, axis=0, weights=t)
        assert_allclose(rows["mean_reference_after"], goal)
        assert_allclose(rows["mean_arm_after"], fit.masses_[a == k] @ X[a == k])
        gaps = np.average(X[a == k], axis=0, weights=s[a == k]) - goal
        assert_allclose(rows["mean_arm_before"] - goal, gaps)
        if weight_type == "frequency":
            assert_allclose(rows["smd_before"], gaps / scale)
        ks = [
            kolmogorov_smirnov(X[a == k, j], T[:, j], fit.masses_[a == k], t)
            for j in (0, 1)
        ]
        assert_allclose(rows["ks_after"], ks)
    assert table["smd_after"].abs().max() < 0.1
    overall = table.attrs["overall"]["0 vs target"]
    assert overall["energy_distance_after"] < 0.1 * overall["energy_distance_before"]
    # Arms are compared with each other as ever, and other covariates too.
    arms = balance_table(X[:, :1], a, fit, sample_weight=s)
    assert abs(arms["smd_after"].iloc[0]) < 0.1
    with pytest.raises(ValueError, match="compare='target' needs the covariates"):
        balance_table(X[:, :1], a, fit, sample_weight=s, compare="target")
