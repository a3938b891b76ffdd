"""The weights display draws a histogram for every weighted arm."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from causalweights.diagnostics import effective_sample_size
from causalweights.displays import WeightsDisplay


def bar_heights(container):
    return np.array([bar.get_height() for bar in container])


def test_one_panel_for_the_att(data, weighter):
    X, a, _ = data
    display = WeightsDisplay.from_estimator(weighter, X, a).plot(bins=15)
    assert len(display.axes_) == 1 and list(display.weights) == [0]
    w = weighter.weights_[a == 0]
    np.testing.assert_allclose(display.weights[0], w)
    edges = np.linspace(0, w.max(), 16)
    counts = np.histogram(display.weights[0], edges)[0]
    np.testing.assert_array_equal(bar_heights(display.bars_[0]), counts)
    assert display.zeros_ == [None]
    assert display.ax_.get_yscale() == "log"
    size = effective_sample_size(w)
    note = display.notes_[0].get_text()
    assert f"n = {len(w)}" in note
    assert f"effective size = {size:.1f} ({size / len(w):.1%})" in note
    assert f"largest weight = {w.max():.3g}" in note
    assert "weight zero = 0.0%" in note


def test_zeros_have_a_bar_of_their_own(data):
    _, a, w = data
    w = np.where(np.arange(len(w)) % 3 == 0, 0.0, w)
    display = WeightsDisplay.from_arrays(w, a).plot()
    for k in (0, 1):
        rows = a == k
        zeros = np.sum(w[rows] == 0)
        assert bar_heights(display.zeros_[k]).tolist() == [zeros]
        assert bar_heights(display.bars_[k]).sum() == rows.sum() - zeros
        assert display.zeros_[k][0].get_x() < 0
        assert f"weight zero = {zeros / rows.sum():.1%}" in (
            display.notes_[k].get_text()
        )
        assert np.mean(display.weights[k]) == pytest.approx(1.0)


def test_frequency_weights_are_replication(data, rng):
    _, a, w = data
    k = rng.integers(0, 4, size=len(a))
    options = {"estimand": "atc"}
    weighted = WeightsDisplay.from_arrays(
        w, a, sample_weight=k, weight_type="frequency", **options
    ).plot()
    replicated = WeightsDisplay.from_arrays(
        np.repeat(w, k), np.repeat(a, k), **options
    ).plot()
    assert list(weighted.ess) == [1]
    assert weighted.ess[1] == pytest.approx(replicated.ess[1])
    np.testing.assert_allclose(
        bar_heights(weighted.bars_[0]), bar_heights(replicated.bars_[0])
    )
    assert weighted.notes_[0].get_text() == replicated.notes_[0].get_text()


def test_plain_constructor():
    display = WeightsDisplay(weights={"b": [0.5, 1.5]}, ess={"b": 1.6}).plot()
    assert bar_heights(display.bars_[0]).sum() == 2
    assert display.ax_.get_xlabel() == "Weight in arm b (mean 1)"


def test_axes_are_used(data, weighter):
    _, a, w = data
    _, axes = plt.subplots(1, 2)
    display = WeightsDisplay.from_arrays(w, a).plot(ax=axes, color="red")
    assert display.axes_ == list(axes) and display.ax_ is axes[0]
    assert len(plt.get_fignums()) == 1
    single = WeightsDisplay.from_estimator(weighter, None, a).plot(ax=axes[0])
    assert single.ax_ is axes[0]
    with pytest.raises(ValueError, match="2 arms have weights to show, ax holds 1"):
        WeightsDisplay.from_arrays(w, a).plot(ax=axes[0])


def test_missing_weights_are_named(data):
    _, a, _ = data
    with pytest.raises(ValueError, match="weights are missing"):
        WeightsDisplay.from_arrays(None, a)


def test_matplotlib_is_asked_for_by_its_extra():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from causalweights.displays import WeightsDisplay\n"
        "try:\n    WeightsDisplay(weights={0: [1.0]}, ess={0: 1.0}).plot()\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "causalweights[plot]" in done.stdout


def test_many_arms_wrap_into_two_columns(rng):
    weights, arms = rng.exponential(size=50), np.arange(50) % 5
    display = WeightsDisplay.from_arrays(weights, arms).plot()
    assert len(display.axes_) == len(display.figure_.axes) == 5
    corners = {round(ax.get_position().x0, 2) for ax in display.axes_}
    assert len(corners) == 2
