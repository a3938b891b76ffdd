"""Distribution of the weights, a panel for every weighted arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights.diagnostics._samples import collect_arms
from causalweights.diagnostics._weights import kish
from causalweights.displays._style import (
    BEFORE,
    BLUE,
    INK,
    legend_above,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class WeightsDisplay:
    """Histogram of each weighted arm's weights, counts on a log scale.

    A long tail is a small effective sample size; the grey bar left of zero counts the
    rows that received no weight at all; the dashed line is the weight without
    weighting.

    Make one with `from_estimator` or `from_arrays`, draw it with `plot`.

    Parameters
    ----------
    weights : mapping of label to array-like of shape (n_arm,)
        Weights of each arm, with mean one.
    ess : mapping of label to float
        Effective sample size of each arm.
    counts : mapping of label to array-like of shape (n_arm,) or None, default=None
        How many rows each weight stands for; None is one.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        One an arm, in the order of the labels.
    ax_ : matplotlib Axes
        The first.
    figure_ : matplotlib Figure
    bars_, zeros_ : list of BarContainer
        Positive weights, and the bar of zeros (None where there are none).
    notes_ : list of matplotlib Text
        Size, effective size, largest weight and share of zeros.

    See Also
    --------
    causalweights.diagnostics.weight_summary : More numbers.

    Examples
    --------
    >>> from causalweights.displays import WeightsDisplay
    >>> display = WeightsDisplay.from_arrays([2, 1, 0, 1, 1], [0, 0, 0, 1, 1])
    >>> len(display.plot().axes_)
    2
    >>> WeightsDisplay.from_arrays(
    ...     [2, 1, 0, 1, 1], [0, 0, 0, 1, 1], estimand="att"
    ... ).ess
    {0: 1.8}
    """

    def __init__(self, *, weights, ess, counts=None):
        self.weights = weights
        self.ess = ess
        self.counts = counts

    @classmethod
    def from_estimator(
        cls,
        weighter: Any,
        X: ArrayLike | None,
        treatment: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> WeightsDisplay:
        """Make the display of a fitted weighter.

        Parameters
        ----------
        weighter : fitted weighter, or Pipeline ending in one
            Has ``weights_``, ``estimand_``, ``control_`` and ``focal_``.
        X : array-like of shape (n, d) or None
            Not used; here for the same call as the other displays.
        treatment : array-like of shape (n,)
            As in ``fit``.
        sample_weight : array-like of shape (n,) or None, default=None
            As in ``fit``.
        """
        return cls.from_arrays(weighter, treatment, sample_weight=sample_weight)

    @classmethod
    def from_arrays(
        cls,
        weights: Any,
        treatment: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        estimand: str | None = None,
        control: Any = None,
        focal: Any = None,
        weight_type: str | None = None,
    ) -> WeightsDisplay:
        """Make the display of weights and treatment.

        Parameters
        ----------
        weights : array-like of shape (n,) or fitted weighter
            Non-negative weights that multiply ``sample_weight``.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights; rows of weight zero are left out.
        estimand : {"ate", "att", "atc", "ato"} or None, default=None
            The target's own arm (ATT, ATC) has no weights to show. None is the
            weighter's, else ``"ate"``.
        control, focal : label or None, default=None
            As in `causalweights.diagnostics.balance_table`.
        weight_type : {"sampling", "frequency"} or None, default=None
            None is the weighter's, else ``"sampling"``.
        """
        if weights is None:
            raise ValueError("weights are missing: there is nothing to draw.")
        samples = collect_arms(
            treatment,
            weights,
            sample_weight=sample_weight,
            estimand=estimand,
            control=control,
            focal=focal,
            weight_type=weight_type,
        )
        arms, s, total = samples.arms, samples.before, samples.after
        copies = s if samples.weight_type == "frequency" else np.ones_like(s)
        shown: dict[Any, np.ndarray] = {}
        sizes: dict[Any, float] = {}
        counts: dict[Any, np.ndarray] = {}
        for k in range(arms.n_arms):
            if k == samples.focal or total is None:
                continue
            rows, label = arms.codes == k, arms.label(k)
            mean = total[rows].sum() / s[rows].sum()
            shown[label] = total[rows] / s[rows] / mean
            sizes[label] = kish(total[rows], copies[rows])
            counts[label] = copies[rows]
        return cls(weights=shown, ess=sizes, counts=counts)

    def plot(
        self,
        *,
        ax: Axes | Sequence[Axes] | None = None,
        bins: int = 40,
        color: str = BLUE,
    ) -> WeightsDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of Axes or None, default=None
            As many as weighted arms; None makes a figure.
        bins : int, default=40
            Number of equal bins from 0 to the largest weight of the panel.
        color : str, default=blue
            Of the bars.

        Returns
        -------
        self
        """
        labels = list(self.weights)
        if ax is None:
            _, axes = new_figure(len(labels), (4.2, 3.0))
        else:
            axes = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(axes) != len(labels):
            raise ValueError(
                f"{len(labels)} arms have weights to show, ax holds {len(axes)} Axes."
            )
        self.axes_, self.ax_, self.figure_ = axes, axes[0], axes[0].figure
        self.bars_: list[Any] = []
        self.zeros_: list[Any] = []
        self.notes_: list[Any] = []
        for panel, label in zip(axes, labels):
            self._draw_arm(panel, label, bins, color)
        axes[0].set_ylabel("Number of rows")
        return self

    def _draw_arm(self, ax: Axes, label: Any, bins: int, color: str) -> None:
        weights = np.asarray(self.weights[label], dtype=float)
        counts = np.ones_like(weights)
        if self.counts is not None:
            counts = np.asarray(self.counts[label], dtype=float)
        zero = weights == 0
        edges = np.linspace(0.0, max(float(weights.max()), 1.0), bins + 1)
        width = edges[1]
        heights = np.histogram(weights[~zero], edges, weights=counts[~zero])[0]
        shape = {"width": width, "align": "edge", "edgecolor": "white", "lw": 0.4}
        self.bars_.append(ax.bar(edges[:-1], heights, color=color, **shape))
        reference = ax.axvline(1.0, color=INK, lw=0.8, linestyle=(0, (4, 3)))
        reference.set_label("Without weighting")
        handles: list[Any] = [reference]
        none, bar = float(counts[zero].sum()), None
        if none > 0:
            # A gap keeps the rows without any weight apart from those with little.
            bar = ax.bar(
                [-1.5 * width], [none], color=BEFORE, label="Weight zero", **shape
            )
            handles.append(bar)
        self.zeros_.append(bar)
        self._label(ax, label, handles)
        n = counts.sum()
        lines = [
            f"n = {n:,.0f}",
            f"effective size = {self.ess[label]:,.1f} ({self.ess[label] / n:.1%})",
            f"largest weight = {weights.max():.3g}",
            f"weight zero = {none / n:.1%}",
        ]
        place = {"transform": ax.transAxes, "ha": "right", "va": "top"}
        note = ax.text(0.99, 0.98, "\n".join(lines), fontsize=9, color=INK, **place)
        self.notes_.append(note)

    def _label(self, ax: Axes, label: Any, handles: list[Any]) -> None:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        tidy(ax)
        ax.set_yscale("log")
        # Half a decade above the bars for the note, and bars of one row visible.
        ax.set_ylim(0.7, 3 * ax.get_ylim()[1])
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(f"Weight in arm {label} (mean 1)")
        legend_above(ax, handles)
