"""Density ratios as weighters: by logistic regression and by least squares."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from causalweights.shift import LogisticRatio, RuLSIF, TargetSample


@pytest.fixture(scope="module")
def pair(design_a):
    return design_a(300, 0, 200)


def test_logistic_ratio_is_the_classifiers_odds(pair):
    X, target = pair
    pooled = np.vstack(pair)
    Z = (pooled - pooled.mean(axis=0)) / np.sqrt(
        # Means over each sample, then over both rows: unweighted rows count once.
        np.mean((pooled - pooled.mean(axis=0)) ** 2, axis=0)
    )
    model = LogisticRegression(tol=1e-10, max_iter=1000)
    model.fit(Z, np.repeat([0, 1], [300, 200]))
    p = model.predict_proba(Z[:300])
    weighter = LogisticRatio().fit(X, X_target=target)
    assert_allclose(weighter.beta_, 300 / 200 * p[:, 1] / p[:, 0], rtol=1e-6)
    assert_allclose(weighter.predict_weights(X), weighter.beta_, rtol=1e-12)
    assert_array_equal(weighter.alpha_, 1.0)
    assert weighter.beta_.mean() == pytest.approx(1.0, abs=0.1)
    assert 0 < weighter.ess_source_ < 300 and weighter.ess_target_ == 200


def test_logistic_ratio_finds_the_ratio_of_shifted_normals():
    rng = np.random.default_rng(0)
    X, target = rng.normal(size=(4000, 1)), rng.normal(0.8, 1.0, size=(3000, 1))
    weighter = LogisticRatio().fit(X, X_target=target)
    grid = np.linspace(-1.5, 2.0, 8)[:, None]
    truth = np.exp(0.8 * grid[:, 0] - 0.32)
    assert_allclose(weighter.predict_weights(grid), truth, rtol=0.15)


def test_bounded_and_certain_classifiers(pair):
    X, target = pair
    capped = LogisticRatio(max_weight=2.0).fit(X, X_target=target)
    assert capped.beta_.max() == 2.0
    tree = DecisionTreeClassifier(min_samples_leaf=1, random_state=0)
    weighter = LogisticRatio(classifier=tree).fit(X, X_target=target + 0.5)
    with pytest.raises(ValueError, match=r"infinite\. Give max_weight"):
        weighter.predict_weights(target + 0.5)
    sure = LogisticRatio(classifier=tree, max_weight=10.0).fit(X, X_target=target + 0.5)
    assert_array_equal(sure.predict_weights(target + 0.5), 10.0)


def test_sampling_weights_of_both_samples_are_scale_free(pair, rng):
    X, target = pair
    s, r = rng.uniform(0.5, 2.0, size=300), rng.uniform(0.5, 2.0, size=200)
    for cls in (LogisticRatio, RuLSIF):
        one, two, plain = (
            cls().fit(X, X_target=TargetSample(target, b), sample_weight=a)
            for a, b in ((s, r), (8 * s, r / 4), (None, None))
        )
        assert_allclose(one.beta_, two.beta_, rtol=1e-6)
        assert np.abs(one.beta_ - plain.beta_).max() > 1e-3


@pytest.mark.parametrize("mixture", [0.0, 0.1, 0.5])
def test_rulsif_minimizes_its_loss(mixture, pair):
    X, target = (part[:120] for part in pair)
    options = {"mixture": mixture, "bandwidth": 0.9, "ridge": 0.05, "n_centers": 15}
    weighter = RuLSIF(**options).fit(X, X_target=TargetSample(target))
    centers = weighter._centers
    assert len(np.unique(centers, axis=0)) == 15
    assert np.all((centers[:, None] == target).all(axis=2).any(axis=1))

    def features(rows):
        return np.exp(-cdist(rows, centers, "sqeuclidean") / (2 * 0.9**2))

    def loss(theta):
        s, t = features(X) @ theta, features(target) @ theta
        parts = mixture * np.mean(t**2) + (1 - mixture) * np.mean(s**2)
        return parts / 2 - np.mean(t) + 0.05 * theta @ theta / 2

    best = minimize(loss, np.zeros(15), method="BFGS", options={"gtol": 1e-9})
    expected = np.maximum(features(X) @ best.x, 0.0)
    assert_allclose(weighter.beta_, expected, atol=1e-5)
    assert_allclose(weighter.predict_weights(X[:5]), expected[:5], atol=1e-5)


def test_rulsif_chooses_by_the_held_out_loss(rng):
    # A target of two humps needs a narrow kernel.
    a = rng.normal(size=(300, 1))
    b = rng.choice([-1.0, 1.0], size=(200, 1)) + 0.3 * rng.normal(size=(200, 1))
    # The choice, again, by refits without the algebra.
    narrow = RuLSIF(n_folds=4).fit(a, X_target=b)
    centers = narrow._centers
    median = np.sqrt(np.median(pdist(np.vstack([a, b]), "sqeuclidean")) / 2)
    rng = np.random.RandomState(0)
    rng.permutation(200)
    of_source, of_target = rng.permutation(300) % 4, rng.permutation(200) % 4

    def held_out(h, ridge):
        total = 0.0
        for k in range(4):
            parts = [np.exp(-cdist(rows, centers, "sqeuclidean") / (2 * h * h))
                     for rows in (a, b)]  # fmt: skip
            s, t = parts[0][of_source != k], parts[1][of_target != k]
            H = 0.1 * t.T @ t / 200 + 0.9 * s.T @ s / 300
            theta = np.linalg.solve(H + ridge * np.eye(100), t.sum(axis=0) / 200)
            s, t = parts[0][of_source == k] @ theta, parts[1][of_target == k] @ theta
            total += 0.05 * t @ t / 200 + 0.45 * s @ s / 300 - t.sum() / 200
        return total

    losses = {(h, ridge): held_out(h, ridge)
              for h in median * np.array([0.25, 0.5, 1.0, 2.0, 4.0])
              for ridge in 10.0 ** np.arange(-4, 1.01, 0.5)}  # fmt: skip
    best = min(losses, key=losses.get)
    assert_allclose((narrow.bandwidth_, narrow.ridge_), best)
    assert 0.25 * median < best[0] < 4 * median


def test_rulsif_is_bounded_and_tracks_the_truth(pair):
    X, target = pair
    weighter = RuLSIF(mixture=0.2).fit(X, X_target=target)
    gauss = np.exp(-0.5 * np.sum(((X - [1.0, 0.5]) / 0.8) ** 2, axis=1)) / 0.64
    source = np.exp(-0.5 * np.sum(X**2, axis=1))
    truth = gauss / (0.2 * gauss + 0.8 * source)
    assert np.corrcoef(weighter.beta_, truth)[0, 1] > 0.9
    assert 0 <= weighter.beta_.min() and weighter.beta_.max() <= 1.2 / 0.2
    again = RuLSIF(mixture=0.2).fit(X, X_target=target)
    assert_array_equal(again.beta_, weighter.beta_)


@pytest.mark.parametrize("cls", [LogisticRatio, RuLSIF])
def test_scores_tell_weights_from_none(cls, pair):
    X, target = pair
    weighter = cls().fit(X[:200], X_target=target)
    # Where there was no shift, weights are near one.
    flat = cls().fit(X[:200], X_target=TargetSample(X[:200]))
    both, domain = np.vstack([X[200:], target]), np.repeat([1, -1], [100, 200])
    before, after = (w.score(both, sample_domain=domain) for w in (flat, weighter))
    assert before < 3 * after < 0
