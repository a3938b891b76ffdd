"""IPMBalancer for the overlap population: its target, its optimum, its refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from causalweights import IPMBalancer, PropensityWeighter
from causalweights.discrepancy import squared_mmd
from causalweights.kernels import Energy


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    a = (1.5 * X[:, 0] + rng.normal(size=150) > 0).astype(int)
    return X, a, rng.uniform(0.5, 2.0, size=150)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_target_is_that_of_overlap_weights(weighted, sample):
    X, a, s = sample
    given = {"sample_weight": s} if weighted else {}
    fit = IPMBalancer(estimand="ATO").fit(X, a, **given)
    logistic = PropensityWeighter(estimand="ato").fit(X, a, **given)
    e = logistic.propensity_[:, 1]
    target = (s if weighted else 1.0) * e * (1 - e)
    assert_allclose(fit.target_masses_, target / target.sum(), rtol=1e-9)
    assert_allclose(fit.target_masses_, logistic.target_masses_, rtol=1e-9)
    assert fit.estimand_ == "ato" and fit.converged_


@pytest.mark.parametrize("between_arms", [True, False])
def test_weights_are_nearer_to_it_than_overlap_weights(between_arms, sample):
    X, a, _ = sample
    options = dict(estimand="ato", between_arms=between_arms, ridge=1e-4)
    fit = IPMBalancer(**options).fit(X, a)
    logistic = PropensityWeighter(estimand="ato").fit(X, a)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)

    def distances(masses):
        return [
            2 * squared_mmd(
                Energy(), Z, Z, x_weights=np.where(a == k, masses, 0),
                y_weights=fit.target_masses_,
            )
            for k in (0, 1)
        ]  # fmt: skip

    assert np.all(np.array(distances(fit.masses_)) < distances(logistic.masses_))
    if not between_arms:
        assert_allclose(list(fit.discrepancy_.values()), distances(fit.masses_))


def test_moments_are_those_of_the_overlap_population(sample):
    X, a, _ = sample
    fit = IPMBalancer(estimand="ato", moments=1).fit(X, a)
    for k in (0, 1):
        means = X[a == k].T @ fit.masses_[a == k]
        assert_allclose(means, X.T @ fit.target_masses_, atol=1e-8)


def test_three_arms_and_suprema(sample):
    X, _, _ = sample
    arms = np.random.default_rng(1).integers(0, 3, 150)
    fit = IPMBalancer(estimand="ato").fit(X, arms)
    e = PropensityWeighter(estimand="ato").fit(X, arms).propensity_
    h = 1 / np.sum(1 / e, axis=1)
    assert_allclose(fit.target_masses_, h / h.sum(), rtol=1e-8)
    options = dict(estimand="ato", between_arms=False, discriminator="sigmoid")
    other = IPMBalancer(**options).fit(X, arms)
    assert_allclose(other.target_masses_, fit.target_masses_)


@pytest.mark.parametrize("weighter", [IPMBalancer, PropensityWeighter])
def test_new_rows_are_scored_against_their_own_overlap(weighter, sample):
    X, a, _ = sample
    fit = weighter(estimand="ato").fit(X[:100], a[:100])
    new, arm = X[100:], a[100:]
    logistic = PropensityWeighter(estimand="ato").fit(X[:100], a[:100])
    e = logistic.predict_propensity(new)[:, 1]
    Z = (new - X[:100].mean(axis=0)) / X[:100].std(axis=0)
    weights = fit.predict_weights(new, arm)
    total = sum(
        2 * squared_mmd(
            Energy(), Z, Z, x_weights=np.where(arm == k, weights, 0),
            y_weights=e * (1 - e),
        )
        for k in (0, 1)
    )  # fmt: skip
    assert_allclose(fit.score(new, arm), -total, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_model": "loglinear", "between_arms": False}, "not log-linear"),
        ({"target": np.zeros((5, 3))}, "estimand='ate'"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options, message, sample):
    X, a, _ = sample
    with pytest.raises(ValueError, match=message):
        IPMBalancer(estimand="ato", **options).fit(X, a)


def test_separated_arms_have_no_overlap():
    X = np.r_[np.linspace(-3, -2, 20), np.linspace(2, 3, 20)][:, None]
    with pytest.raises(ValueError, match="no row is in the overlap population"):
        IPMBalancer(estimand="ato").fit(X, np.repeat([0, 1], 20))
