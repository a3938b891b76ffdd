"""What the ridge does: effective sample size, discrepancy and effect along a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights.displays._style import (
    BEFORE,
    BLUE,
    INK,
    ORANGE,
    legend_above,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


class PathDisplay:
    """Effective sample size, discrepancy and effect against the ridge.

    A panel each, the ridge on a log scale; the dashed line is the ridge in use.

    Make one with `from_path` of `causalweights.balancing.ridge_path`, draw it with
    `plot`.

    Parameters
    ----------
    path : RidgePath
    ridge : float or None, default=None
        The ridge in use.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        Two, or three with effects.
    ax_ : matplotlib Axes
        The first.
    figure_ : matplotlib Figure
    lines_ : list of list of Line2D
        By panel.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import IPMBalancer
    >>> from causalweights.balancing import ridge_path
    >>> from causalweights.displays import PathDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> a = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    >>> path = ridge_path(IPMBalancer(estimand="att"), X, a, ridges=[0.01, 0.1, 1.0])
    >>> len(PathDisplay.from_path(path, ridge=0.01).plot().axes_)
    2
    """

    def __init__(self, *, path, ridge=None):
        self.path = path
        self.ridge = ridge

    @classmethod
    def from_path(cls, path: Any, *, ridge: float | None = None) -> PathDisplay:
        """Make the display of a path.

        Parameters
        ----------
        path : RidgePath
        ridge : float or None, default=None
            The ridge in use.
        """
        return cls(path=path, ridge=ridge)

    def plot(self, *, ax: Sequence[Axes] | None = None) -> PathDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of matplotlib Axes or None, default=None
            As many as panels; None makes a figure.

        Returns
        -------
        self
        """
        path = self.path
        panels: list[tuple[str, dict[Any, ArrayLike], bool]] = [
            ("Effective sample size", path.ess, False),
            ("Discrepancy", path.discrepancy, True),
        ]
        if path.effect is not None:
            effects = dict(zip(path.contrasts, path.effect.T, strict=True))
            panels.append(("Weighted difference", effects, False))
        if ax is None:
            _, axes = new_figure(len(panels), (3.8, 3.0))
        else:
            axes = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(axes) != len(panels):
            raise ValueError(
                f"{len(panels)} panels to draw, ax holds {len(axes)} Axes."
            )
        self.axes_, self.ax_, self.figure_ = axes, axes[0], axes[0].figure
        self.lines_ = [
            self._draw(panel, *what) for panel, what in zip(axes, panels, strict=True)
        ]
        return self

    def _draw(
        self, ax: Axes, title: str, series: dict[Any, Any], logarithmic: bool
    ) -> list[Any]:
        tidy(ax)
        ridges, converged = self.path.ridges, self.path.converged
        lines = []
        for (label, values), color in zip(series.items(), COLORS * len(series)):
            name = "joint" if label is None else f"arm {label}"
            values = np.asarray(values, dtype=float)
            shown = {"color": color, "lw": 1.6, "marker": "o", "ms": 3.5, "label": name}
            lines.extend(ax.plot(ridges, values, **shown))
            if not np.all(converged):
                ax.plot(ridges[~converged], values[~converged], "x", color=INK, ms=7)
        ax.set_xscale("log")
        positive = all(np.all(np.asarray(v) > 0) for v in series.values())
        if logarithmic and positive:
            ax.set_yscale("log")
        if self.ridge is not None:
            ax.axvline(self.ridge, color=BEFORE, lw=0.9, linestyle=(0, (4, 3)))
        ax.set_xlabel("Ridge")
        ax.set_ylabel(title)
        legend_above(ax, lines)
        return lines
