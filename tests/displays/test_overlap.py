"""The overlap display draws each arm's share of weight, bin by bin."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from causalweights.displays import OverlapDisplay

# Shares of a few hundred rows.
ATOL = 1e-13


def heights(patch):
    return patch.get_data().values


def test_histograms_are_shares_of_weight(data, weighter):
    X, a, _ = data
    scores = X[:, 0]
    display = OverlapDisplay.from_estimator(weighter, X, a, scores=scores).plot(bins=12)
    edges = np.histogram_bin_edges(scores, 12)
    np.testing.assert_array_equal(display.edges_, edges)
    ones, w = np.ones(len(a)), weighter.weights_
    for patch, arm, sign, weights in [
        (display.upper_, 1, 1, w),
        (display.lower_, 0, -1, w),
        (display.upper_before_, 1, 1, ones),
        (display.lower_before_, 0, -1, ones),
    ]:
        rows = a == arm
        counts = np.histogram(scores[rows], edges, weights=weights[rows])[0]
        expected = sign * counts / weights[rows].sum()
        np.testing.assert_allclose(heights(patch), expected, atol=ATOL)
        assert heights(patch).sum() == pytest.approx(sign)
    texts = [text.get_text() for text in display.legend_.get_texts()]
    assert texts == ["Treated", "Control", "Before weighting"]
    assert display.ax_.get_xlabel() == "Score"


def test_default_score_is_a_logistic_regression(data):
    X, a, w = data
    Z = StandardScaler().fit_transform(X)
    e = LogisticRegression().fit(Z, a).predict_proba(Z)[:, 1]
    display = OverlapDisplay.from_arrays(X, a, w)
    np.testing.assert_allclose(display.scores, np.log(e / (1 - e)), atol=1e-3)
    assert display.score_name == "Logit of the propensity score"
    plain = OverlapDisplay.from_arrays(X, a, w, scale="probability")
    np.testing.assert_allclose(plain.scores, e, atol=1e-3)
    assert plain.score_name == "Propensity score"


def test_propensity_of_the_weighter_is_the_score(data, weighter, rng):
    X, a, _ = data
    e = rng.random(len(a))
    e[0] = 1.0
    weighter.propensity_ = np.column_stack([1 - e, e])
    display = OverlapDisplay.from_estimator(weighter, X, a, scale="probability")
    np.testing.assert_allclose(display.scores, np.minimum(e, 1 - 1e-7), atol=ATOL)
    weighter.propensity_ = e
    logit = OverlapDisplay.from_estimator(weighter, X, a)
    assert np.all(np.isfinite(logit.scores))
    np.testing.assert_allclose(logit.scores[1:], np.log(e[1:] / (1 - e[1:])), rtol=1e-9)


def test_two_of_three_arms(rng):
    X, arm = rng.normal(size=(90, 2)), np.repeat(["a", "b", "c"], 30)
    display = OverlapDisplay.from_arrays(X, arm, control="b", arm="c")
    assert display.labels == ("b", "c")
    assert display.upper.sum() == 30 and len(display.upper) == 60
    first = OverlapDisplay.from_arrays(X, arm, control="b")
    assert first.labels == ("b", "a")
    with pytest.raises(ValueError, match="name another one"):
        OverlapDisplay.from_arrays(X, arm, control="b", arm="b")


def test_sampling_weights(data):
    X, a, _ = data
    s = np.where(np.arange(len(a)) < 20, 0.0, np.linspace(1, 3, len(a)))
    display = OverlapDisplay.from_arrays(
        X, a, scores=X[:, 1], sample_weight=s, score_name="Age"
    ).plot(bins=5)
    rows = (a == 1) & (s > 0)
    counts = np.histogram(X[rows, 1], display.edges_, weights=s[rows])[0]
    np.testing.assert_allclose(heights(display.upper_), counts / s[rows].sum())
    assert display.upper_before_ is None and display.lower_before_ is None
    assert display.ax_.get_xlabel() == "Age"


def test_axes_colors_and_data_are_left_alone(data, weighter):
    X, a, _ = data
    copies = X.copy(), a.copy(), weighter.weights_.copy()
    _, ax = plt.subplots()
    display = OverlapDisplay.from_estimator(weighter, X, a)
    assert display.plot(ax=ax, colors=("black", "red")) is display
    assert display.ax_ is ax and len(plt.get_fignums()) == 1
    assert display.upper_.get_facecolor()[:3] == (1.0, 0.0, 0.0)
    for value, copy in zip((X, a, weighter.weights_), copies):
        np.testing.assert_array_equal(value, copy)
    display.figure_.canvas.draw()
    ticks = [text.get_text() for text in ax.get_yticklabels()]
    assert ticks and not any("−" in tick or "-" in tick for tick in ticks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "odds"}, "scale='odds'"),
        ({"scores": [1.0, 2.0]}, "scores has shape"),
        ({"scores": np.full(150, np.inf)}, "NaN or infinity"),
        ({"X": None}, "give X or scores"),
        ({"X": np.zeros((3, 2))}, "X has 3"),
    ],
)
def test_bad_input_is_named(data, options, message):
    X, a, _ = data
    with pytest.raises(ValueError, match=message):
        OverlapDisplay.from_arrays(**{"X": X, "treatment": a, **options})
