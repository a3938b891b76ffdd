"""The Love plot draws the balance table's numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from causalweights.diagnostics import balance_table
from causalweights.displays import LoveDisplay


def labels_of(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def legend_of(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def test_points_are_the_tables(data, weighter):
    X, a, _ = data
    table = balance_table(X, a, weighter)
    display = LoveDisplay.from_estimator(weighter, X, a).plot()
    order = np.argsort(-table["smd_before"].abs().to_numpy())
    for points, column in [
        (display.before_, "smd_before"),
        (display.after_, "smd_after"),
    ]:
        np.testing.assert_array_equal(
            points.get_xdata(), table[column].abs().to_numpy()[order]
        )
        np.testing.assert_array_equal(points.get_ydata(), np.arange(4))
    assert labels_of(display.ax_) == table.index[order].tolist()
    low, high = display.ax_.get_ylim()
    assert low > high  # the first covariate is on top
    assert display.before_.get_markerfacecolor() == "white"
    assert display.after_.get_markerfacecolor() != "white"
    assert [line.get_xdata()[0] for line in display.thresholds_] == [0.1]
    assert legend_of(display) == [
        "Before weighting",
        "After weighting",
        "Threshold 0.1",
    ]
    assert display.figure_ is display.ax_.figure


def test_signed_differences_and_no_threshold(data, weighter):
    X, a, _ = data
    display = LoveDisplay.from_estimator(weighter, X, a)
    display.plot(absolute=False, sort=None, threshold=0.25)
    np.testing.assert_array_equal(display.before_.get_xdata(), display.before)
    assert [line.get_xdata()[0] for line in display.thresholds_] == [-0.25, 0.25]
    assert display.ax_.get_xlabel() == "Standardised mean difference"
    assert display.plot(threshold=None).thresholds_ == []


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("before", ["b", "c", "a"]),
        ("after", ["a", "c", "b"]),
        ("name", ["a", "b", "c"]),
        (None, ["c", "a", "b"]),
    ],
)
def test_order(sort, expected):
    display = LoveDisplay(
        covariates=["c", "a", "b"], before=[0.2, -0.1, -0.3], after=[0.1, -0.2, 0.0]
    )
    assert labels_of(display.plot(sort=sort).ax_) == expected
    cut = display.plot(sort=sort, max_covariates=2, labels={"a": "Age (years)"})
    renamed = ["Age (years)" if name == "a" else name for name in expected[:2]]
    assert labels_of(cut.ax_) == renamed
    assert len(cut.before_.get_xdata()) == 2


def test_without_weights_there_is_one_set_of_points(data):
    X, a, _ = data
    display = LoveDisplay.from_arrays(X, a).plot()
    assert display.after is None and display.after_ is None
    assert legend_of(display) == ["Threshold 0.1"]


def test_axes_are_used_and_given_styles_arrive(data, weighter):
    X, a, _ = data
    _, axes = plt.subplots(1, 2)
    display = LoveDisplay.from_estimator(weighter, X, a).plot(
        ax=axes[1], after_kw={"marker": "s"}, before_kw={"markersize": 9}
    )
    assert display.ax_ is axes[1]
    assert not axes[0].lines
    assert display.after_.get_marker() == "s"
    assert display.before_.get_markersize() == 9
    assert len(plt.get_fignums()) == 1


def test_several_contrasts(data, rng):
    X, _, w = data
    arm = rng.integers(0, 3, size=len(w))
    frame = pd.DataFrame(X, columns=list("abcd"))
    table = balance_table(frame, arm, w, overall=False)
    largest = LoveDisplay.from_table(table)
    assert largest.covariates == list("abcd")
    stacked = table["smd_after"].to_numpy().reshape(2, 4)
    np.testing.assert_array_equal(np.abs(largest.after), np.abs(stacked).max(axis=0))
    one = LoveDisplay.from_arrays(frame, arm, w, contrast="2 vs 0")
    np.testing.assert_array_equal(one.after, table.loc["2 vs 0", "smd_after"])
    with pytest.raises(ValueError, match="choose one of '1 vs 0', '2 vs 0'"):
        LoveDisplay.from_table(table, contrast="3 vs 0")
    with pytest.raises(ValueError, match="single one"):
        LoveDisplay.from_arrays(X, arm > 0, contrast="True vs False")


def test_raw_differences_are_not_called_standardised(data):
    X, a, w = data
    display = LoveDisplay.from_arrays(X, a, w, continuous="raw", binary="raw").plot()
    assert display.ax_.get_xlabel() == "Absolute mean difference"
    mixed = LoveDisplay.from_arrays(X, a, w, binary="raw").plot()
    assert "(binary covariates: raw)" in mixed.ax_.get_xlabel()


def test_many_covariates_fit(rng):
    X, a = rng.normal(size=(40, 150)), np.arange(40) % 2
    display = LoveDisplay.from_arrays(X, a).plot()
    display.figure_.canvas.draw()
    assert display.figure_.get_figheight() <= 11
    boxes = [text.get_window_extent() for text in display.ax_.get_yticklabels()]
    assert len(boxes) == 150
    gaps = np.abs(np.diff([box.y0 for box in boxes]))
    assert gaps.min() > 0.5 * max(box.height for box in boxes)


def test_legend_stays_inside_the_figure(data, weighter):
    X, a, _ = data
    for names in ("abcd", ["a covariate with a long name", "b", "c", "d"]):
        frame = pd.DataFrame(X, columns=list(names))
        display = LoveDisplay.from_estimator(weighter, frame, a).plot()
        display.figure_.canvas.draw()
        box = display.legend_.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= display.figure_.bbox.width


def test_bad_order_is_named(data):
    X, a, _ = data
    with pytest.raises(ValueError, match="sort='size'"):
        LoveDisplay.from_arrays(X, a).plot(sort="size")
