"""IPMBalancer on the Wasserstein-1 distance: matching, ridge, refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from causalweights import IPMBalancer
from causalweights.discrepancy import Wasserstein, wasserstein_distance


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    a = (X[:, 0] + rng.normal(size=120) > 0).astype(int)
    return X, a


def test_without_a_ridge_it_is_matching_with_replacement(data):
    X, a = data
    fit = IPMBalancer(estimand="att", discriminator="wasserstein").fit(X, a)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    nearest = cdist(Z[a == 1], Z[a == 0]).argmin(axis=1)
    counts = np.bincount(nearest, minlength=np.sum(a == 0))
    assert_allclose(fit.masses_[a == 0], counts / np.sum(a == 1), atol=1e-12)
    exact = wasserstein_distance(Z[a == 0], Z[a == 1], x_weights=fit.masses_[a == 0])
    assert_allclose(fit.discrepancy_[0], exact, rtol=1e-9)
    assert fit.gap_[0] == 0 and fit.ridge_ == 0 and fit.converged_
    assert not hasattr(fit, "predict_weights")
    with pytest.raises(ValueError, match="no witness"):
        fit.witness(X)


def test_a_ridge_spreads_the_weights_at_a_certified_optimum(data):
    X, a = data
    options = dict(discriminator="wasserstein", between_arms=False)
    plain = IPMBalancer(**options).fit(X, a)
    fit = IPMBalancer(ridge=1.0, **options).fit(X, a)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    for k in (0, 1):
        w = fit.masses_[a == k]
        exact = wasserstein_distance(Z[a == k], Z, x_weights=w)
        assert_allclose(fit.discrepancy_[k], exact, rtol=1e-7)
        assert_allclose(fit.objective_[k], exact + w @ w, rtol=1e-7)
        assert fit.relative_gap_[k] <= 1e-6
        assert plain.discrepancy_[k] <= fit.discrepancy_[k]
        assert fit.ess_[k] > plain.ess_[k]
        assert fit.discrepancy_before_[k] > fit.discrepancy_[k]


def test_frequencies_and_targets(data):
    X, a = data
    times = np.random.default_rng(1).integers(1, 4, 120)
    rows = np.repeat(np.arange(120), times)
    options = dict(
        estimand="att", discriminator="wasserstein", ridge=0.5,
        weight_type="frequency",
    )  # fmt: skip
    weighted = IPMBalancer(**options).fit(X, a, sample_weight=times)
    copied = IPMBalancer(**options).fit(X[rows], a[rows])
    assert_allclose(copied.weights_, weighted.weights_[rows], atol=1e-6)
    moved = IPMBalancer(
        discriminator="wasserstein", between_arms=False, target=X[:30] + 0.2
    ).fit(X, a)
    assert all(moved.discrepancy_[k] < moved.discrepancy_before_[k] for k in (0, 1))


@pytest.mark.parametrize("discriminator", ["wasserstein", Wasserstein(entropy=0.2)])
def test_ties_and_frequencies_share_like_copies(discriminator, data):
    """Rounded rows tie; a row of frequency k gets what k copies get."""
    X, a = np.round(data[0]), data[1]
    times = np.random.default_rng(1).integers(1, 4, 120)
    rows = np.repeat(np.arange(120), times)
    options = dict(estimand="att", discriminator=discriminator, weight_type="frequency")
    weighted = IPMBalancer(**options).fit(X, a, sample_weight=times)
    copied = IPMBalancer(**options).fit(X[rows], a[rows])
    assert_allclose(copied.weights_, weighted.weights_[rows], atol=1e-10)
    assert_allclose(copied.objective_[0], weighted.objective_[0], rtol=1e-10)


def test_entropy_spreads_by_a_softmax(data):
    Z, a = data
    s = np.random.default_rng(3).uniform(0.5, 2, 120)
    entropic = Wasserstein(entropy=0.3)
    fit = IPMBalancer(estimand="att", discriminator=entropic, standardize=False)
    fit.fit(Z, a, sample_weight=s)
    plan = s[a == 0] * np.exp(-cdist(Z[a == 1], Z[a == 0]) / 0.3)
    plan *= (s[a == 1] / plan.sum(axis=1))[:, None] / s[a == 1].sum()
    assert_allclose(fit.masses_[a == 0], plan.sum(axis=0), rtol=1e-9)
    exact = wasserstein_distance(
        Z[a == 0], Z[a == 1], x_weights=fit.masses_[a == 0], y_weights=s[a == 1]
    )
    assert_allclose(fit.discrepancy_[0], exact, rtol=1e-9)
    assert fit.converged_ and fit.ridge_ == 0
    assert not hasattr(fit, "predict_weights")
    # Without entropy it is the plain name.
    plain, named = (
        IPMBalancer(estimand="att", discriminator=d).fit(Z, a)
        for d in (Wasserstein(), "wasserstein")
    )
    np.testing.assert_array_equal(plain.weights_, named.weights_)


def test_bad_entropies_are_refused(data):
    with pytest.raises(ValueError, match="entropy must be"):
        Wasserstein(-1.0)
    both = IPMBalancer(estimand="att", discriminator=Wasserstein(0.1), ridge=1.0)
    with pytest.raises(ValueError, match="ridge and entropy"):
        both.fit(*data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimand": "ate"}, "between_arms=False"),
        ({"estimand": "att", "max_weight": 2.0}, "no bounds"),
        ({"estimand": "att", "moments": 1}, "constrain the exact program"),
        ({"estimand": "att", "solver": "low_rank"}, "rows in memory"),
    ],
)
def test_what_it_does_not_take_is_refused(options, message, data):
    with pytest.raises(ValueError, match=message):
        IPMBalancer(discriminator="wasserstein", **options).fit(*data)
