"""Effects in a population outside the sample: estimate, error, coverage."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import IPMBalancer, WeightedEffect


def draw(seed, n=300, m=150):
    """Effect 1 + x0; the target's mean of x0 is 0.5, so its average effect is 1.5."""
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 2)), rng.normal([0.5, 0.0], 0.8, size=(m, 2))
    a = (0.5 * X[:, 1] + rng.normal(size=n) > 0).astype(int)
    y = np.sin(X[:, 1]) + X[:, 0] + a * (1 + X[:, 0]) + rng.normal(size=n)
    return X, a, y, T


def effect(T, **options):
    return WeightedEffect(IPMBalancer(target=T), **options)


def test_the_estimate_is_that_of_its_formula():
    X, a, y, T = draw(0)
    fit = effect(T, outcome_model=LinearRegression(), cv=5, random_state=0)
    fit.fit(X, y, treatment=a)
    balancer = IPMBalancer(target=T).fit(X, a)
    assert_allclose(fit.masses_, balancer.masses_)
    # By hand, with models of all rows for the target and in sample for the rest: cross-
    # fitting changes least squares little.
    models = [LinearRegression().fit(X[a == k], y[a == k]) for k in (0, 1)]
    means = [
        models[k].predict(T).mean()
        + np.where(a == k, balancer.masses_, 0) @ (y - models[k].predict(X))
        for k in (0, 1)
    ]
    assert fit.effect_ == pytest.approx(means[1] - means[0], abs=0.02)
    plain = effect(T, outcome_model=None).fit(X, y, treatment=a)
    signed = np.where(a == 1, 1, -1) * balancer.masses_
    assert_allclose(plain.effect_, signed @ y)


def test_the_error_counts_the_targets_sampling():
    X, a, y, T = draw(1)
    model = LinearRegression()
    fit = effect(T, outcome_model=model).fit(X, y, treatment=a)
    given = effect(T, outcome_model=model, inference="sample").fit(X, y, treatment=a)
    own = np.sum(fit.influence_**2) / len(y) ** 2
    slope = 1 + X[:, 0]
    assert fit.se_**2 > own and given.se_ < fit.se_
    assert fit.se_**2 - given.se_**2 == pytest.approx(0.64 / len(T), rel=0.5)
    assert slope.size == fit.influence_.size


@pytest.mark.slow
def test_intervals_cover():
    """200 replications: 95 % within three Monte-Carlo errors, 0.9 to 1."""
    hits, errors, ses = [], [], []
    for seed in range(200):
        X, a, y, T = draw(seed)
        fit = effect(T, outcome_model=LinearRegression()).fit(X, y, treatment=a)
        low, high = fit.conf_int()[0]
        hits.append(low <= 1.5 <= high)
        errors.append(fit.effect_ - 1.5)
        ses.append(fit.se_)
    assert 0.9 <= np.mean(hits) <= 0.995
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(200)
    assert np.mean(ses) == pytest.approx(np.std(errors), rel=0.2)


def test_frames_weights_and_clusters():
    X, a, y, T = draw(2)
    frame, goal = (pd.DataFrame(part, columns=["u", "v"]) for part in (X, T))
    options = dict(outcome_model=LinearRegression(), random_state=0)
    fit = effect(goal, **options).fit(frame, y, treatment=a)
    plain = effect(T, **options).fit(X, y, treatment=a)
    assert fit.effect_ == pytest.approx(plain.effect_, rel=1e-9)
    times = np.random.default_rng(3).integers(0, 3, len(T))
    weighted = WeightedEffect(IPMBalancer(target=T, target_weight=times), **options)
    copied = effect(np.repeat(T, times, axis=0), **options)
    assert_allclose(
        weighted.fit(X, y, treatment=a).effect_,
        copied.fit(X, y, treatment=a).effect_,
        rtol=1e-6,
    )
    groups = np.repeat(np.arange(100), 3)
    assert effect(T, **options).fit(X, y, treatment=a, groups=groups).se_ > 0
    s = np.random.default_rng(4).uniform(0.5, 2, 300)
    assert effect(T, **options).fit(X, y, treatment=a, sample_weight=s).se_ > 0


def test_a_target_in_another_scale_is_refused():
    X, a, y, T = draw(5)
    weighter = make_pipeline(StandardScaler(), IPMBalancer(target=T))
    with pytest.raises(ValueError, match="pass the weighter alone"):
        WeightedEffect(weighter).fit(X, y, treatment=a)
