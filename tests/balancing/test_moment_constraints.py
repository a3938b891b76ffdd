"""Moment constraints of IPMBalancer: met, optimal, refused by name."""

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from causalweights import EntropyBalancer, IPMBalancer
from causalweights.balancing._goal import Goal
from causalweights.balancing._moment_constraints import fit_moments
from causalweights.discrepancy import HalfSpaces


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    X[:, 2] = rng.random(200) < 0.4
    a = (0.3 * X[:, 0] - 0.2 * X[:, 2] + rng.normal(size=200) > 0).astype(int)
    return X, a


def gaps(fit, F, a):
    """Differences from the target in standard deviations, by arm."""
    target = fit.target_masses_ @ F
    return {
        k: np.abs(np.where(a == k, fit.masses_, 0) @ F - target) / F.std(axis=0)
        for k in np.unique(a)
    }


@pytest.mark.parametrize("estimand", ["att", "atc", "ate"])
@pytest.mark.parametrize("between_arms", [True, False])
def test_exact_moments_are_met(estimand, between_arms, data):
    X, a = data
    fit = IPMBalancer(
        estimand=estimand, moments=2, interactions=True, between_arms=between_arms
    ).fit(X, a)
    pairs = [X[:, j] * X[:, k] for j in range(3) for k in range(j + 1, 3)]
    F = np.column_stack([X, X[:, :2] ** 2, *pairs])
    assert fit.moment_names_[0] == "column 0" and len(fit.moment_names_) == F.shape[1]
    assert fit.converged_
    assert max(g.max() for g in gaps(fit, F, a).values()) < 1e-8


def test_weights_are_the_best_that_meet_them(data):
    X, a = data
    tol = 0.005
    fit = IPMBalancer(estimand="att", moments=1, moment_tol=tol, ridge=0.05).fit(X, a)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    S, T = Z[a == 0], Z[a == 1]
    c = cdist(S, np.zeros((1, 3)))[:, 0]
    K = c[:, None] + c - cdist(S, S)
    q = c + cdist(T, np.zeros((1, 3))).mean() - cdist(S, T).mean(axis=1)
    w = cp.Variable(len(S), nonneg=True)
    program = cp.Problem(
        cp.Minimize(
            cp.quad_form(w, cp.psd_wrap(K + 0.05 * np.eye(len(S)))) - 2 * q @ w
        ),
        [cp.sum(w) == 1, cp.abs(S.T @ w - T.mean(axis=0)) <= tol],
    )
    program.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    assert_allclose(fit.masses_[a == 0], w.value, atol=1e-6)
    assert gaps(fit, X, a)[0].max() == pytest.approx(tol, rel=1e-6)


def test_tolerances_widen_to_no_constraint(data):
    X, a = data
    free = IPMBalancer(estimand="att").fit(X, a)
    wide = IPMBalancer(estimand="att", moments=1, moment_tol=9.0).fit(X, a)
    assert_allclose(wide.weights_, free.weights_, atol=1e-9)
    each = IPMBalancer(estimand="att", moments=1, moment_tol=[0.0, 9.0, 9.0]).fit(X, a)
    assert gaps(each, X, a)[0][0] < 1e-8 < gaps(each, X, a)[0][1]


def test_a_large_ridge_leaves_the_least_variance_that_meets_them(data):
    """Stable balancing weights (Zubizarreta 2015)."""
    X, a = data
    fit = IPMBalancer(estimand="att", moments=1, ridge=1e5).fit(X, a)
    assert gaps(fit, X, a)[0].max() < 1e-8
    assert fit.ess_[0] >= EntropyBalancer(estimand="att").fit(X, a).ess_[0]
    # The least variance is linear in the covariates wherever it is positive.
    w, Z = fit.weights_[a == 0], np.column_stack([np.ones((a == 0).sum()), X[a == 0]])
    inside = w > 0
    beta, *_ = np.linalg.lstsq(Z[inside], w[inside])
    assert_allclose(Z[inside] @ beta, w[inside], atol=1e-3)
    assert np.all(Z[~inside] @ beta <= 1e-3)


@pytest.mark.parametrize("tol", [0.0, 0.05])
def test_stable_balancing_weights_equal_a_quadratic_program(tol, data):
    X, a = data
    fit = IPMBalancer(
        estimand="ate", discriminator=None, moments=2, moment_tol=tol, max_weight=5.0
    ).fit(X, a)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    F = np.column_stack([Z, Z[:, :2] ** 2])
    F = (F - F.mean(axis=0)) / F.std(axis=0)
    for k in (0, 1):
        own = F[a == k]
        w = cp.Variable(len(own), nonneg=True)
        program = cp.Problem(
            cp.Minimize(cp.sum_squares(w)),
            [cp.sum(w) == 1, cp.abs(own.T @ w) <= tol + 1e-12, w <= 5 / len(own)],
        )
        program.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12)
        assert_allclose(fit.masses_[a == k], w.value, atol=1e-6)
        assert fit.discrepancy_[k] == pytest.approx(tol, abs=1e-8)
    assert fit.converged_ and fit.kernel_ is None
    assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-7)
    assert -1 < fit.score(X, a) < 0
    with pytest.raises(ValueError, match="no witness"):
        fit.witness(X)


def test_quantiles_are_those_of_the_target(data):
    X, a = data
    fit = IPMBalancer(estimand="att", quantiles=[0.25, 0.5, 0.75]).fit(X, a)
    w = np.where(a == 0, fit.masses_, 0)
    for j in range(2):
        for level in (0.25, 0.5, 0.75):
            cut = np.quantile(X[a == 1, j], level, method="inverted_cdf")
            assert w @ (X[:, j] <= cut) == pytest.approx(
                np.mean(X[a == 1, j] <= cut), abs=1e-8
            )
    # Of a binary covariate one cut varies.
    assert len(fit.moment_names_) == 7
    assert fit.moment_names_[0] == "column 0 <= its 0.25 quantile"


def test_collinear_and_constant_columns_are_no_obstacle(data):
    X, a = data
    wide = np.column_stack([X, X[:, 0] - X[:, 1], np.full(200, 3.0)])
    with pytest.warns(UserWarning, match="constant"):
        fit = IPMBalancer(estimand="att", moments=1).fit(wide, a)
    assert gaps(fit, wide[:, :4], a)[0].max() < 1e-8


def test_frequencies_are_copies(data):
    X, a = data
    times = np.random.default_rng(2).integers(1, 4, len(X))
    rows = np.repeat(np.arange(len(X)), times)
    options = dict(
        estimand="ate", moments=1, quantiles=[0.5], moment_tol=0.02,
        weight_type="frequency",
    )  # fmt: skip
    weighted = IPMBalancer(**options).fit(X, a, sample_weight=times)
    copied = IPMBalancer(**options).fit(X[rows], a[rows])
    assert_allclose(copied.weights_, weighted.weights_[rows], atol=1e-7)


@pytest.mark.parametrize("standardize", [True, False])
def test_weights_of_new_rows_know_the_moments(standardize, data):
    X, a = data
    fit = IPMBalancer(
        estimand="ate", moments=1, quantiles=[0.5], standardize=standardize
    ).fit(X, a)
    assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-7)


def test_out_of_reach_is_refused_by_name(data):
    X, a = data
    frame = pd.DataFrame(
        X + 5.0 * a[:, None] * np.array([1, 0, 0]), columns=list("uvw")
    )
    with pytest.raises(ValueError, match=r"arm 0 meet the target's moment 'u' on its"):
        IPMBalancer(estimand="att", moments=1).fit(frame, a)
    with pytest.raises(ValueError, match="arm 1 meet"):
        IPMBalancer(estimand="atc", moments=1, max_weight=1.01).fit(frame, a)
    # The joint program names the arm as well, and a level that the arm lacks.
    level = np.where((X[:, 1] > 0.5) & (a == 0), "high", "low")
    with pytest.raises(ValueError, match=r"arm 1 meet the target's moment 'v=high'"):
        IPMBalancer(moments=1).fit(pd.DataFrame({"u": X[:, 0], "v": level}), a)
    # So does one of moments that are met or not together.
    few = np.arange(len(a)) % 3
    with pytest.raises(ValueError, match=r"'.' together with the others: the closest"):
        IPMBalancer(estimand="att", moments=1).fit(frame, a, groups=few)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moments": 1, "discriminator": HalfSpaces()}, "constrain the exact program"),
        ({"moments": 1, "solver": "low_rank"}, "constrain the exact program"),
        ({"moments": 1, "moment_tol": [0.1]}, r"shape \(3,\)"),
        ({"moments": 1, "moment_tol": [0.1, -1, 0]}, "non-negative"),
        ({"discriminator": None}, "ask for some by moments"),
        ({"quantiles": [1.5]}, "between 0 and 1"),
        ({"moments": 3}, "moments"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, data):
    with pytest.raises(ValueError, match=message):
        IPMBalancer(**{"estimand": "att", **options}).fit(*data)


def test_features_are_centred_at_the_target():
    Z = np.array([[0.0], [1.0], [2.0], [3.0]])
    target = np.array([0.0, 0.0, 0.5, 0.5])
    found = fit_moments(
        Z, np.ones(4), Goal.within(Z, target), ["x"], moments=2, quantiles=[0.5]
    )
    assert found.names == ["x", "x^2", "x <= its 0.5 quantile"]
    assert_allclose(target @ found.transform(Z), 0.0, atol=1e-14)
    assert_allclose(found.transform(Z).std(axis=0), 1.0)
    assert found.cuts == [(0, 2.0)]
