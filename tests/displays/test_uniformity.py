"""The uniformity display draws the images it is given, and their quantiles."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from scipy.stats import spearmanr
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import UniformTransformer
from causalweights.displays import UniformityDisplay
from causalweights.displays._style import BLUE, ORANGE


@pytest.fixture
def rows(rng):
    """Return reference and target rows; the second and third columns depend."""
    X = rng.normal(size=(90, 3))
    X[:, 2] = X[:, 2] - 2 * X[:, 1]
    target = rng.normal([0.0, 0.3, 1.5], size=(40, 3))
    names = ["age", "income", "size"]
    return pd.DataFrame(X, columns=names), pd.DataFrame(target, columns=names)


def test_points_are_the_images_of_the_strongest_pair(rows):
    fitted = UniformTransformer().fit(rows[0])
    display = UniformityDisplay.from_estimator(
        fitted, *rows, labels=("Control", "Treated")
    ).plot()
    assert display.pair_ == (1, 2) and display.ax_ is display.axes_[0]
    colors = (ORANGE, BLUE)
    for part, points, color in zip(rows, display.points_, colors, strict=True):
        images = fitted.transform(part)[:, 1:]
        drawn = np.asarray(points.get_offsets())
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, images))
        assert tuple(points.get_facecolor()[0, :3]) == pytest.approx(to_rgb(color))
    square = display.ax_
    assert square.get_xlabel() == "income, mapped"
    assert square.get_ylabel() == "size, mapped"
    texts = [text.get_text() for text in square.get_legend().get_texts()]
    assert texts == ["Control", "Treated"]
    rho = spearmanr(rows[0].iloc[:, 1:]).statistic
    assert rho < -0.8
    assert display.notes_[0].get_text() == f"Rank correlation −{abs(rho):.2f}"


def test_quantiles_are_the_sorted_images(rows):
    fitted = UniformTransformer("marginal").fit(rows[0])
    display = UniformityDisplay.from_estimator(fitted, *rows).plot()
    for part, lines in zip(rows, display.lines_, strict=True):
        images, n = fitted.transform(part), len(part)
        assert len(lines) == 3
        for line, u in zip(lines, images.T, strict=True):
            np.testing.assert_allclose(line.get_xdata(), (np.arange(n) + 0.5) / n)
            np.testing.assert_allclose(line.get_ydata(), np.sort(u))
    # The reference's are uniform, and the target's third column is not.
    for line in display.lines_[0]:
        assert np.abs(line.get_ydata() - line.get_xdata()).max() <= 0.5 / 90 + 1e-12
    name = display.notes_[1]
    x, y = np.array([line.get_data() for line in display.lines_[1]]).transpose(1, 0, 2)
    assert name.get_text() == "size"
    assert abs(name.xy[1] - name.xy[0]) == np.abs(y - x).max()
    assert len(display.axes_) == 2 and len(display.axes_[1].lines) == 7


def test_long_curves_are_thinned_and_points_drawn(rng):
    U = rng.random((3000, 2))
    display = UniformityDisplay.from_arrays(U).plot(max_points=500)
    (points,), (lines,) = display.points_, display.lines_
    drawn = np.asarray(points.get_offsets())
    assert len(drawn) == 500 and {tuple(u) for u in drawn} <= {tuple(u) for u in U}
    again = UniformityDisplay.from_arrays(U).plot(max_points=500).points_[0]
    np.testing.assert_array_equal(again.get_offsets(), drawn)
    x, y = lines[1].get_data()
    assert len(x) == 512
    np.testing.assert_allclose([x[0], x[-1]], [0.5 / 3000, 1 - 0.5 / 3000])
    np.testing.assert_allclose([y[0], y[-1]], [U[:, 1].min(), U[:, 1].max()])
    assert len(display.notes_) == 1  # nothing to name without targets


def test_one_coordinate_has_one_panel(rng):
    U = rng.random((20, 1))
    display = UniformityDisplay.from_arrays(U, U**2).plot()
    assert len(display.axes_) == 1 and display.points_ == []
    assert display.pair_ is None
    assert [note.get_text() for note in display.notes_] == ["x0"]


def test_axes_pair_and_colors_of_the_caller(rows):
    fitted = UniformTransformer("joint").fit(rows[0])
    display = UniformityDisplay.from_estimator(fitted, *rows)
    _, axes = plt.subplots(1, 2)
    display.plot(ax=axes, pair=(2, 0), colors=("red", "green"))
    assert display.axes_ == list(axes) and len(plt.get_fignums()) == 1
    assert axes[0].get_xlabel() == "size, mapped"
    assert tuple(display.points_[1].get_facecolor()[0, :3]) == to_rgb("green")
    with pytest.raises(ValueError, match="2 panels to draw, ax holds 1"):
        display.plot(ax=axes[0])
    for pair in [(0, 3), (1, 1), (-1, 0)]:
        with pytest.raises(
            ValueError, match=r"pair=.*two of the coordinates 0, ..., 2"
        ):
            display.plot(pair=pair)


def test_constructor_names_coordinates(rng):
    display = UniformityDisplay(reference=rng.random((9, 2))).plot()
    assert display.ax_.get_xlabel() == "x0, mapped"
    assert display.names is None


def test_pipelines_and_refusals(rows):
    pipe = make_pipeline(StandardScaler(), UniformTransformer()).fit(rows[0])
    display = UniformityDisplay.from_estimator(pipe, *rows)
    assert display.names == ["age", "income", "size"]
    direct = UniformTransformer().fit(rows[0])
    np.testing.assert_array_equal(display.target, direct.transform(rows[1]))
    for wrong in (UniformTransformer(), StandardScaler().fit(rows[0])):
        with pytest.raises(ValueError, match="is no fitted UniformTransformer"):
            UniformityDisplay.from_estimator(wrong, rows[0])
    with pytest.raises(ValueError, match="reference has 3 columns, target 2"):
        UniformityDisplay.from_arrays(np.ones((4, 3)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="names has 1 entries, reference 3"):
        UniformityDisplay.from_arrays(np.ones((4, 3)), names=["age"])
