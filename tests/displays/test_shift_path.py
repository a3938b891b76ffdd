"""ShiftPathDisplay draws the numbers of its path."""

from types import SimpleNamespace

import numpy as np
import pytest

from causalweights import DoubleKernelMeanMatching
from causalweights.displays import ShiftPathDisplay
from causalweights.shift import weight_path

GRID = [1.0, 2.0, 4.0]
RADII = [0.0, 1 - np.sqrt(0.5), 0.5]


@pytest.fixture
def path(rng):
    X, X_target = rng.normal(size=(60, 2)), rng.normal(0.8, 1.0, size=(50, 2))
    return weight_path(DoubleKernelMeanMatching(), X, X_target=X_target, D=GRID)


@pytest.fixture
def chosen():
    """A path as a classifier keeps it."""
    return SimpleNamespace(
        D=np.array(GRID), minimax_risk=np.array([0.3, 0.2, 0.25]),
        mmd2=np.array([1e-3, 1e-4, 1e-5]), ess_source=np.array([10.0, 20.0, 30.0]),
        ess_target=np.array([50.0, 45.0, 40.0]), iwcv_loss=None, selected=1,
    )  # fmt: skip


def drawn(display):
    """Labels and heights by panel; every line is at the radii."""
    for line in (line for lines in display.lines_ for line in lines):
        np.testing.assert_allclose(line.get_xdata(), RADII)
    return [
        {line.get_label(): line.get_ydata() for line in lines}
        for lines in display.lines_
    ]


def marks(ax):
    """Places and names of the dashed lines."""
    return [
        (line.get_xdata()[0], line.get_label())
        for line in ax.lines
        if line.get_label().startswith("D = ")
    ]


def test_path_of_weights(path):
    display = ShiftPathDisplay.from_path(path, chosen=2.0).plot()
    assert len(display.axes_) == 2 and display.ax_.figure is display.figure_
    discrepancy, sizes = drawn(display)
    np.testing.assert_allclose(*discrepancy.values(), path.values("mmd2"))
    np.testing.assert_allclose(sizes["source"], path.values("ess_source"))
    np.testing.assert_allclose(sizes["target"], path.values("ess_target"))
    assert [ax.get_yscale() for ax in display.axes_] == ["log", "linear"]
    for ax in display.axes_:
        assert marks(ax) == [(pytest.approx(RADII[1]), "D = 2")]
        np.testing.assert_allclose(
            ax.get_xticks(), 1 - np.array([1, 1.5, 2, 3]) ** -0.5
        )
        names = [label.get_text() for label in ax.get_xticklabels()]
        assert names == ["1", "1.5", "2", "3"]


def test_path_of_a_classifier_has_its_risk_and_choice(chosen):
    display = ShiftPathDisplay.from_path(chosen).plot()
    assert len(display.axes_) == 3
    np.testing.assert_allclose(drawn(display)[0]["minimax risk"], chosen.minimax_risk)
    assert display.ax_.get_ylabel() == "Minimax risk"
    assert marks(display.ax_) == [(pytest.approx(RADII[1]), "D = 2")]
    chosen.iwcv_loss = chosen.minimax_risk + 0.1
    model = SimpleNamespace(D_path_=chosen, D_=4.0, loss="log")
    display = ShiftPathDisplay.from_estimator(model).plot()
    risks = drawn(display)[0]
    np.testing.assert_allclose(risks["validation"], chosen.iwcv_loss)
    assert display.ax_.get_ylabel() == "Minimax risk (log loss, nats)"
    assert marks(display.ax_) == [(0.5, "D = 4")]


def test_the_robust_program_stands_apart():
    numbers = {name: [3.0, 1.0, 2.0] for name in ("mmd2", "ess_source", "ess_target")}
    display = ShiftPathDisplay(D=[np.inf, 1.0, 4.0], **numbers, chosen=np.inf).plot()
    (line,) = display.lines_[0]
    np.testing.assert_allclose(line.get_xydata(), [[0.0, 1.0], [0.5, 2.0]])
    (apart,) = [
        x for x in display.ax_.lines if x.get_marker() == "o" and x is not line
    ]  # fmt: skip
    np.testing.assert_allclose(apart.get_xydata(), [[1.0, 3.0]])
    assert marks(display.ax_) == [(1.0, "D = ∞")]
    assert display.ax_.get_xticklabels()[-1].get_text() == "∞"


def test_no_discrepancy_needs_no_logarithm():
    display = ShiftPathDisplay(
        D=[1.0, 2.0], mmd2=[0.0, 0.0], ess_source=[9, 9], ess_target=[9, 9]
    ).plot()
    assert display.ax_.get_yscale() == "linear"
    assert display.ax_.get_legend() is None


def test_axes_of_the_caller_are_used(path):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 3)
    display = ShiftPathDisplay.from_path(path).plot(ax=axes[:2])
    assert display.axes_[1] is axes[1]
    with pytest.raises(ValueError, match="2 panels to draw, ax holds 3"):
        display.plot(ax=axes)
    plt.close("all")
