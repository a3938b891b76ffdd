"""The Love plot: standardised mean differences before and after weighting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from causalweights.diagnostics import balance_table
from causalweights.displays._style import (
    BEFORE,
    BLUE,
    GUIDE,
    INK,
    legend_above,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Inches a covariate takes, and the tallest figure; below it labels shrink.
_ROW, _MARGIN, _TALLEST = 0.24, 0.95, 11.0


_STANDARDIZED = "standardised mean difference"


class LoveDisplay:
    """Standardised mean difference of every covariate, before and after weighting.

    Make one with `from_estimator`, `from_arrays` or `from_table`, draw it with `plot`.

    Parameters
    ----------
    covariates : sequence of str of length d
        Names.
    before : array-like of shape (d,)
        Signed differences before weighting.
    after : array-like of shape (d,) or None, default=None
        And after; None draws one set of points.
    measure : str, default="standardised mean difference"
        What is drawn, for the label of the x axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    before_, after_ : matplotlib Line2D or None
        The points; ``after_`` is None without weights.
    thresholds_ : list of matplotlib Line2D
        The dashed lines.
    order_ : ndarray of int
        Positions of the covariates drawn, from the top.

    See Also
    --------
    causalweights.diagnostics.balance_table : The numbers, with the formula.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.displays import LoveDisplay
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [3.0, 1.0]])
    >>> a = np.array([0, 0, 0, 1, 1])
    >>> display = LoveDisplay.from_arrays(X, a, [0, 0.5, 2.5, 1, 1], estimand="att")
    >>> display.before
    array([0.70710678, 1.36082763])
    >>> display.plot().ax_.get_xlabel()
    'Absolute standardised mean difference'
    """

    def __init__(self, *, covariates, before, after=None, measure=_STANDARDIZED):
        self.covariates = covariates
        self.before = before
        self.after = after
        self.measure = measure

    @classmethod
    def from_estimator(
        cls,
        weighter: Any,
        X: ArrayLike,
        treatment: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        contrast: str | None = None,
        **table_options: Any,
    ) -> LoveDisplay:
        """Make the display of a fitted weighter.

        Parameters
        ----------
        weighter : fitted weighter, or Pipeline ending in one
            Has ``weights_``, ``estimand_``, ``control_`` and ``focal_``.
        X : array-like of shape (n, d)
            Covariates to show, also others than the weights were made from.
        treatment : array-like of shape (n,)
            As in ``fit``.
        sample_weight : array-like of shape (n,) or None, default=None
            As in ``fit``.
        contrast : str or None, default=None
            See `from_table`.
        **table_options
            Options of `causalweights.diagnostics.balance_table`, such as ``compare``
            and ``standardize_by``.
        """
        return cls.from_arrays(
            X,
            treatment,
            weighter,
            sample_weight=sample_weight,
            contrast=contrast,
            **table_options,
        )

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike,
        treatment: ArrayLike,
        weights: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        contrast: str | None = None,
        **table_options: Any,
    ) -> LoveDisplay:
        """Make the display of covariates, treatment and weights.

        Parameters are those of `causalweights.diagnostics.balance_table`, and
        ``contrast`` of `from_table`.
        """
        table = balance_table(
            X,
            treatment,
            weights,
            sample_weight=sample_weight,
            **{"overall": False, **table_options},
        )
        return cls.from_table(table, contrast=contrast)

    @classmethod
    def from_table(
        cls, table: pd.DataFrame, *, contrast: str | None = None
    ) -> LoveDisplay:
        """Make the display of a balance table.

        Parameters
        ----------
        table : DataFrame
            Of `causalweights.diagnostics.balance_table`.
        contrast : str or None, default=None
            Which contrast of a table with several; None shows for every covariate the
            difference that is largest in size, before and after separately.
        """
        names = table.index
        if table.index.nlevels == 1:
            if contrast is not None:
                raise ValueError(
                    "contrast= is for tables with several; this one has a single one."
                )
        elif contrast is not None:
            contrasts = table.index.unique("contrast").tolist()
            if contrast not in contrasts:
                raise ValueError(
                    f"contrast={contrast!r}: choose one of "
                    f"{', '.join(repr(c) for c in contrasts)}."
                )
            table = table.loc[contrast]
            names = table.index
        else:
            # Blocks of equal length, one a contrast: covariate names may repeat.
            n_blocks = table.index.unique("contrast").size
            names = table.index.get_level_values("covariate")[: len(table) // n_blocks]
        columns = [c for c in ("smd_before", "smd_after") if c in table]
        series = [
            _largest(table[c].to_numpy().reshape(-1, len(names))) for c in columns
        ]
        raw = "raw" in (table.attrs.get("continuous"), table.attrs.get("binary"))
        return cls(
            covariates=[str(name) for name in names],
            before=series[0],
            after=series[1] if len(series) > 1 else None,
            measure=_mixed(table.attrs) if raw else _STANDARDIZED,
        )

    def plot(
        self,
        *,
        ax: Axes | None = None,
        absolute: bool = True,
        sort: Literal["before", "after", "name"] | None = "before",
        threshold: float | None = 0.1,
        max_covariates: int | None = None,
        labels: Mapping[str, str] | None = None,
        before_kw: Mapping[str, Any] | None = None,
        after_kw: Mapping[str, Any] | None = None,
    ) -> LoveDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a figure whose height fits the number of covariates.
        absolute : bool, default=True
            Draw sizes; False draws signed differences.
        sort : {"before", "after", "name"} or None, default="before"
            Largest size on top, or by name; None keeps the covariates' order.
        threshold : float or None, default=0.1
            Where to draw the dashed line(s).
        max_covariates : int or None, default=None
            Draw only the covariates that the order puts on top.
        labels : mapping of str to str or None, default=None
            What to write for a covariate's name.
        before_kw, after_kw : mapping or None, default=None
            Passed to matplotlib's ``plot`` for the points.

        Returns
        -------
        self
        """
        self.order_ = self._order(sort)[:max_covariates]
        names = [str(self.covariates[j]) for j in self.order_]
        shown = [(labels or {}).get(name, name) for name in names]
        height = min(_MARGIN + _ROW * max(len(names), 3), _TALLEST)
        if ax is None:
            _, (ax,) = new_figure(1, (5.0, height))
        self.ax_, self.figure_ = ax, ax.figure
        rows = np.arange(len(names))
        before, after = self._values(absolute)
        self._draw_guides(rows, before, after, absolute, threshold)
        filled = {"color": BLUE, "markeredgecolor": BLUE}
        hollow = {"markerfacecolor": "white", "markeredgecolor": BEFORE}
        shape = {"linestyle": "none", "marker": "o", "markersize": 6, "clip_on": False}
        style = {
            **shape,
            **hollow,
            "markeredgewidth": 1.3,
            "label": "Unweighted" if self.after is None else "Before weighting",
        }
        (self.before_,) = ax.plot(before, rows, **{**style, **(before_kw or {})})
        self.after_ = None
        if after is not None:
            style = {**shape, **filled, "label": "After weighting", "zorder": 3}
            (self.after_,) = ax.plot(after, rows, **{**style, **(after_kw or {})})
        self._label(rows, shown, absolute)
        return self

    def _values(self, absolute: bool) -> tuple[np.ndarray, np.ndarray | None]:
        size = np.abs if absolute else np.asarray
        before = size(np.asarray(self.before, dtype=float)[self.order_])
        if self.after is None:
            return before, None
        return before, size(np.asarray(self.after, dtype=float)[self.order_])

    def _order(self, sort: str | None) -> np.ndarray:
        if sort is None:
            return np.arange(len(self.covariates))
        if sort == "name":
            return np.argsort([str(name) for name in self.covariates], kind="stable")
        if sort not in ("before", "after"):
            raise ValueError(
                f"sort={sort!r}: choose one of 'before', 'after', 'name', None."
            )
        by = self.before if sort == "before" or self.after is None else self.after
        return np.argsort(-np.abs(np.asarray(by, dtype=float)), kind="stable")

    def _draw_guides(self, rows, before, after, absolute, threshold) -> None:
        """Draw row lines, the way from before to after, zero and the threshold."""
        ax = self.ax_
        ax.hlines(
            rows, 0, 1, GUIDE, lw=0.8, zorder=0, transform=ax.get_yaxis_transform()
        )
        if after is not None:
            ax.hlines(rows, before, after, BEFORE, lw=0.9, alpha=0.6, zorder=1)
        ax.axvline(0, color=INK, lw=0.8, zorder=1)
        places = [] if threshold is None else [threshold]
        if places and not absolute:
            places = [-threshold, threshold]
        line = {"color": INK, "lw": 0.8, "linestyle": (0, (4, 3)), "zorder": 1}
        self.thresholds_ = [ax.axvline(place, **line) for place in places]
        if self.thresholds_:
            self.thresholds_[0].set_label(f"Threshold {threshold:g}")

    def _label(self, rows, shown, absolute) -> None:
        ax = self.ax_
        tidy(ax)
        ax.set_yticks(rows, shown)
        ax.tick_params(axis="y", length=0, pad=7)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        room = 72 * (ax.figure.get_figheight() - _MARGIN) / max(len(rows), 1)
        ax.tick_params(axis="y", labelsize=float(np.clip(0.85 * room, 3.5, 9)))
        ax.spines["left"].set_visible(False)
        if absolute:
            ax.set_xlim(left=0)
        label = f"absolute {self.measure}" if absolute else self.measure
        ax.set_xlabel(label[0].upper() + label[1:])
        handles = [self.before_, self.after_, *self.thresholds_[:1]]
        handles = [handle for handle in handles if handle is not None]
        if self.after is None:
            handles = handles[1:]
        if handles:
            # Flush right: to the left, the names' column has room for a long row.
            self.legend_ = legend_above(ax, handles, "right")


def _largest(values: np.ndarray) -> np.ndarray:
    """Return, for each column, the entry largest in size with its sign."""
    row = np.argmax(np.abs(values), axis=0)
    return values[row, np.arange(values.shape[1])]


def _mixed(attrs: Mapping[str, Any]) -> str:
    """Return the measure's name where some covariates are in their own units."""
    kinds = [k for k in ("continuous", "binary") if attrs.get(k) == "raw"]
    if len(kinds) == 2:
        return "mean difference"
    return f"standardised mean difference ({kinds[0]} covariates: raw)"
