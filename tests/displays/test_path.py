"""PathDisplay draws the numbers of its path."""

import numpy as np
import pytest

from causalweights import IPMBalancer
from causalweights.balancing import ridge_path
from causalweights.displays import PathDisplay


@pytest.fixture
def path(data, rng):
    X, treatment, _ = data
    y = X[:, 0] + rng.normal(size=len(X))
    balancer = IPMBalancer(estimand="ate", between_arms=False)
    return ridge_path(balancer, X, treatment, y, ridges=[1e-2, 1e-1, 1.0])


def test_panels_show_the_path(path):
    display = PathDisplay.from_path(path, ridge=0.1).plot()
    assert len(display.axes_) == 3 and display.ax_.figure is display.figure_
    for ax in display.axes_:
        assert ax.get_xscale() == "log" and ax.get_xlabel() == "Ridge"
    series = [path.ess, path.discrepancy, {1: path.effect[:, 0]}]
    for lines, values in zip(display.lines_, series, strict=True):
        assert [line.get_label() for line in lines] == [f"arm {k}" for k in values]
        for line, expected in zip(lines, values.values(), strict=True):
            np.testing.assert_allclose(line.get_xdata(), path.ridges)
            np.testing.assert_allclose(line.get_ydata(), expected)


def test_axes_of_the_caller_are_used(path):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 3)
    display = PathDisplay.from_path(path).plot(ax=axes)
    assert display.axes_[1] is axes[1]
    with pytest.raises(ValueError, match="3 panels to draw, ax holds 2"):
        display.plot(ax=axes[:2])
    plt.close("all")
