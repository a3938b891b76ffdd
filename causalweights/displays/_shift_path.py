"""What D does to double weighting: risk, discrepancy and effective sizes on a path."""

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

RISK, DISCREPANCY, SIZE = "Minimax risk", "Squared MMD", "Effective sample size (rows)"
UNITS = {"log": "log loss, nats", "0-1": "0-1 loss"}
# Where the axis of D has ticks, if they are within its ends.
TICKS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 25.0, 100.0)


class ShiftPathDisplay:
    """Minimax risk, discrepancy and effective sample sizes against D.

    A panel each; the first only where there is a classifier. D stands where the radius
    1 - 1 / sqrt(D) of the ball around alpha = 1 is, so that the authors' grid is evenly
    spaced and D = inf, the robust program, has a place: an open marker of its own. The
    dashed line is the D in use.

    Make one with `from_path` of `causalweights.shift.weight_path` or of a classifier's
    ``D_path_``, or with `from_estimator`; draw it with `plot`.

    Parameters
    ----------
    D : array-like of shape (k,)
        At least 1; any order.
    mmd2, ess_source, ess_target : array-like of shape (k,)
    risk, validation : array-like of shape (k,) or None, default=None
        Minimax risk, and importance-weighted loss of held-out rows.
    chosen : float or None, default=None
        The D in use.
    loss : {"log", "0-1"} or None, default=None
        Whose risk it is.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        Two, or three with risks.
    ax_ : matplotlib Axes
        The first.
    figure_ : matplotlib Figure
    lines_ : list of list of Line2D
        By panel, of finite D.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import DoubleKernelMeanMatching
    >>> from causalweights.displays import ShiftPathDisplay
    >>> from causalweights.shift import weight_path
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(80, 1)), rng.normal(1.0, 1.0, size=(60, 1))
    >>> path = weight_path(DoubleKernelMeanMatching(), X, X_target=X_target)
    >>> len(ShiftPathDisplay.from_path(path, chosen=4.0).plot().axes_)
    2
    """

    def __init__(
        self,
        *,
        D,
        mmd2,
        ess_source,
        ess_target,
        risk=None,
        validation=None,
        chosen=None,
        loss=None,
    ):
        self.D = D
        self.mmd2 = mmd2
        self.ess_source = ess_source
        self.ess_target = ess_target
        self.risk = risk
        self.validation = validation
        self.chosen = chosen
        self.loss = loss

    @classmethod
    def from_path(
        cls, path: Any, *, chosen: float | None = None, loss: str | None = None
    ) -> ShiftPathDisplay:
        """Make the display of a path.

        Parameters
        ----------
        path : WeightPath, or a classifier's ``D_path_``
        chosen : float or None, default=None
            The D in use; None is the one that the path selected, if it did.
        loss : {"log", "0-1"} or None, default=None
            Whose risk it is.
        """
        if hasattr(path, "solutions"):
            names = ("D", "mmd2", "ess_source", "ess_target")
            return cls(
                **{name: path.values(name) for name in names}, chosen=chosen, loss=loss
            )
        if chosen is None:
            chosen = float(path.D[path.selected])
        return cls(
            D=path.D,
            mmd2=path.mmd2,
            ess_source=path.ess_source,
            ess_target=path.ess_target,
            risk=path.minimax_risk,
            validation=path.iwcv_loss,
            chosen=chosen,
            loss=loss,
        )

    @classmethod
    def from_estimator(cls, classifier: Any) -> ShiftPathDisplay:
        """Make the display of a fitted `DoubleWeightingClassifier`."""
        return cls.from_path(
            classifier.D_path_, chosen=classifier.D_, loss=classifier.loss
        )

    def plot(self, *, ax: Sequence[Axes] | None = None) -> ShiftPathDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of matplotlib Axes or None, default=None
            As many as panels; None makes a figure.

        Returns
        -------
        self
        """
        panels: list[tuple[str, dict[str, ArrayLike]]] = [
            (DISCREPANCY, {"weighted source and target": self.mmd2}),
            (SIZE, {"source": self.ess_source, "target": self.ess_target}),
        ]
        if self.risk is not None:
            risks = {"minimax risk": self.risk}
            if self.validation is not None:
                risks["validation"] = self.validation
            unit = UNITS.get(self.loss)
            panels.insert(0, (f"{RISK} ({unit})" if unit else RISK, risks))
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

    def _draw(self, ax: Axes, title: str, series: dict[str, Any]) -> list[Any]:
        tidy(ax)
        D = np.asarray(self.D, dtype=float)
        order = np.argsort(D)
        at, finite = _radius(D[order]), np.isfinite(D[order])
        lines = []
        for (label, values), color in zip(series.items(), (BLUE, ORANGE)):
            values = np.asarray(values, dtype=float)[order]
            shown = {"color": color, "lw": 1.6, "marker": "o", "ms": 3.5}
            lines.extend(ax.plot(at[finite], values[finite], label=label, **shown))
            if not np.all(finite):
                open_marker = {"marker": "o", "ms": 6, "mfc": "white", "mec": color}
                ax.plot(at[~finite], values[~finite], ls="none", **open_marker)
        if title == DISCREPANCY and np.all(np.asarray(self.mmd2) > 0):
            ax.set_yscale("log")
        if title == SIZE:
            ax.set_ylim(bottom=0)
        handles = list(lines) if len(lines) > 1 else []
        if self.chosen is not None:
            name = "∞" if np.isinf(self.chosen) else f"{self.chosen:.3g}"
            place = _radius(np.array([self.chosen]))[0]
            style = {"color": INK, "lw": 0.9, "ls": (0, (4, 3)), "zorder": 0}
            handles.append(ax.axvline(place, label=f"D = {name}", **style))
        _label(ax, at[0], at[-1])
        ax.set_ylabel(title)
        if handles:
            legend_above(ax, handles)
        return lines


def _radius(D: np.ndarray) -> np.ndarray:
    """Return 1 - 1 / sqrt(D)."""
    return 1.0 - 1.0 / np.sqrt(D)


def _label(ax: Axes, first: float, last: float) -> None:
    """Give the axis of radii the numbers of D."""
    ticks = [d for d in TICKS if first - 0.02 <= _radius(np.array(d)) <= last + 0.02]
    places = [float(_radius(np.array(d))) for d in ticks]
    names = [f"{d:g}" for d in ticks]
    if last == 1.0:
        places.append(1.0)
        names.append("∞")
    ax.set_xticks(places, names)
    ax.set_xlabel("D (spaced by 1 - 1/√D)")
    ax.grid(axis="x", color=BEFORE, lw=0.4, alpha=0.25)
