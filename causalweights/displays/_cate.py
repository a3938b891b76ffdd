"""Effects given covariates: along one of them, sorted, and by who is treated first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from causalweights.displays._cate_arrays import (
    along_covariate,
    rounded,
    sorted_effects,
    targeting,
)
from causalweights.displays._style import (
    BEFORE,
    BLUE,
    GUIDE,
    INK,
    ORANGE,
    legend_above,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Labels of the x and y axis by kind.
_AXES = {
    "curve": ("Covariate", "Effect"),
    "sorted": ("Share of rows, smallest predicted effect first", "Effect"),
    "targeting": (
        "Share treated, largest predicted effect first",
        "Effect of the treated share minus average",
    ),
}
# Confidence limits: what they are, share of ink of a band, width of a category's bar.
_LIMITS = (("band", "uniform", 0.15, 1.2), ("interval", "pointwise", 0.42, 4.0))
# Of the axes' height, what the covariate's histogram takes, and the room for it.
_STRIP, _ROOM = 0.12, 0.17
# Letters of labels that fit beside each other.
_LINE = 60


class CATEDisplay:
    """Effects given covariates with their uncertainty, in one of three pictures.

    ``"curve"``: the effect along one covariate, with a pointwise band (dark) and a
    uniform one (light) where the final model has them. Other covariates are held at
    their medians, bools and categories at their most frequent value: the effect of
    such a row, no average over rows. The grey histogram shows where data are.

    ``"sorted"``: out-of-fold effects of all rows in rising order, and the average
    effects of quantile groups by predicted effect (GATES). Points on the bars, the
    means of the curve over each group's share of rows, say that the predictions are
    calibrated; points on one level, that they find no heterogeneity.

    ``"targeting"``: how much larger the effect is among the share of rows with the
    largest predictions than in all rows (TOC). A curve above zero says that the
    predictions rank.

    Make one with `from_estimator` or from arrays, draw it with `plot`.

    Parameters
    ----------
    kind : {"curve", "sorted", "targeting"}
    x : array-like of shape (m,)
        Values of the covariate, or shares of rows.
    effect : array-like of shape (m,)
        The effects there, or the TOC.
    interval, band : array-like of shape (m, 2) or None, default=None
        Pointwise and uniform confidence limits.
    average : (float, float, float) or None, default=None
        Average effect and its confidence limits, which ``"sorted"`` draws.
    average_name : str, default="ATE"
    groups : mapping or None, default=None
        Of K groups: ``"edges"`` (K + 1,), shares of rows; ``"predicted"`` (K,), means
        of the curve there; ``"effect"`` (K,) and ``"interval"`` (K, 2), average effects
        with their confidence limits.
    labels : sequence of str or None, default=None
        Names of the values x = 0, ..., m - 1 of a category, drawn as points.
    density : (array-like of shape (b,), array-like of shape (b + 1,)) or None
        Shares of rows in bins of the covariate, and the bins' edges; None by default.
    level : float, default=0.95
        Of all confidence limits.
    x_label, y_label : str or None, default=None
        None is the kind's.
    note : str, default=""
        Written above the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : Line2D
        The effects.
    interval_, band_ : PolyCollection, LineCollection for a category, or None
    zero_ : Line2D
    average_, average_band_ : Line2D, Patch or None
    groups_ : ErrorbarContainer or None
        Average effects of the groups.
    predicted_ : LineCollection or None
        The means of the curve over their shares of rows.
    density_ : BarContainer or None
    notes_ : list of matplotlib Text
        The average effect, what the histogram counts, ``note``.

    See Also
    --------
    causalweights.PseudoOutcomeRegressor.predict_interval : The bands.
    causalweights.cate.gates, causalweights.cate.targeting_curve : The numbers.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> from causalweights import DRLearner, SeriesRegressor
    >>> from causalweights.datasets import make_nie_wager
    >>> from causalweights.displays import CATEDisplay
    >>> data = make_nie_wager(300, setup="B", random_state=0)
    >>> model = DRLearner(
    ...     outcome_model=LinearRegression(), propensity_model=LogisticRegression(),
    ...     final_model=SeriesRegressor(), modifiers=[0],
    ... ).fit(data.X, data.y, treatment=data.treatment)
    >>> display = CATEDisplay.from_estimator(model).plot()
    >>> display.ax_.get_xlabel(), display.band.shape
    ('x0', (50, 2))
    >>> CATEDisplay.from_estimator(model, "targeting").x[:3]
    array([0.05, 0.1 , 0.15])
    """

    def __init__(
        self,
        *,
        kind,
        x,
        effect,
        interval=None,
        band=None,
        average=None,
        average_name="ATE",
        groups=None,
        labels=None,
        density=None,
        level=0.95,
        x_label=None,
        y_label=None,
        note="",
    ):
        self.kind = kind
        self.x = x
        self.effect = effect
        self.interval = interval
        self.band = band
        self.average = average
        self.average_name = average_name
        self.groups = groups
        self.labels = labels
        self.density = density
        self.level = level
        self.x_label = x_label
        self.y_label = y_label
        self.note = note

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        kind: Literal["curve", "sorted", "targeting"] = "curve",
        feature: int | str | None = None,
        *,
        arm: Any = None,
        level: float = 0.95,
        n_points: int = 50,
        n_groups: int | None = 5,
    ) -> CATEDisplay:
        """Make the display of a fitted effect regression, from the data of its fit.

        Parameters
        ----------
        estimator : fitted PseudoOutcomeRegressor, RLearner or DRLearner
        kind : {"curve", "sorted", "targeting"}, default="curve"
            Doses have the curve alone.
        feature : int, str or None, default=None
            The curve's covariate, by position in X or name, one of the ``modifiers``;
            None is the only one.
        arm : label or None, default=None
            Compared with the control arm; needed for more than two arms.
        level : float, default=0.95
            Of all intervals and bands.
        n_points : int, default=50
            Points of the curve, from the covariate's 1st to its 99th percentile.
            Categories, bools and numbers of at most ten distinct values have one point
            a value.
        n_groups : int or None, default=5
            Quantile groups of the sorted effects; None draws none.

        Raises
        ------
        ValueError
            For an estimator that is not fitted, an unknown kind or feature, no feature
            where there are several, and a category of more than 20 values.

        Notes
        -----
        Percentiles, medians and shares count sample weights. A final model without
        ``linear_influence`` has no bands, and its curve none. The average effect is
        that of ``average_effect``, groups are those of ``group_effects`` and the TOC
        that of ``targeting_curve``. The last two rank rows by models of earlier folds,
        for the sake of their intervals; these know less than the models of the sorted
        effects, so that points can be flatter than the curve: ``calibration_test``
        compares like with like. Models a fold are fitted at the first use.
        """
        first = getattr(estimator, "_first", None)
        if first is None:
            raise ValueError(
                f"{type(estimator).__name__} is no fitted PseudoOutcomeRegressor: fit "
                "one, and of a Pipeline give the last step."
            )
        if kind not in _AXES:
            raise ValueError(
                f"kind={kind!r}: choose one of {', '.join(map(repr, _AXES))}."
            )
        if kind != "curve" and feature is not None:
            raise ValueError(f"feature is for kind='curve', not for {kind!r}.")
        if kind != "curve" and first.arms is None:
            raise ValueError(
                f"kind={kind!r} is for arms, not for treatment_type='continuous': "
                "choose 'curve'."
            )
        c = estimator._contrast(arm)
        if kind == "curve":
            found = along_covariate(estimator, c, feature, level, n_points)
        elif kind == "sorted":
            found = sorted_effects(estimator, c, arm, level, n_groups)
        else:
            found = targeting(estimator, arm, level)
        if kind != "targeting":
            average = estimator.average_effect(arm=arm)
            limits = average.conf_int(level)[0]
            found["average"] = (average.effect, float(limits[0]), float(limits[1]))
            found["average_name"] = average.estimand.upper()
        y_label = _AXES[kind][1]
        if first.arms is not None and first.arms.n_arms > 2:
            arms = first.arms
            y_label += f",\n{arms.label(first.contrasts[c])} vs {estimator.control_}"
        return cls(kind=kind, level=level, y_label=y_label, **found)

    def plot(self, *, ax: Axes | None = None, color: str = BLUE) -> CATEDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a figure.
        color : str, default=blue
            Of the effects and their bands.

        Returns
        -------
        self
        """
        if ax is None:
            _, (ax,) = new_figure(1, (6.4, 4.0))
        self.ax_, self.figure_ = ax, ax.figure
        tidy(ax)
        self.notes_: list[Any] = []
        self.zero_ = ax.axhline(0, color=INK, lw=0.8, zorder=2)
        handles = self._draw_effects(color)
        handles += self._draw_groups(color)
        self._draw_average()
        self._draw_density()
        self._label()
        if handles:
            self.legend_ = legend_above(ax, handles)
        return self

    def _draw_effects(self, color: str) -> list[Any]:
        """Draw effects and bands; return what the legend shows."""
        ax, x = self.ax_, np.asarray(self.x, dtype=float)
        handles: list[Any] = []
        self.interval_ = self.band_ = None
        # The uniform band first: the pointwise one lies in it.
        for name, word, shade, width in _LIMITS:
            limits = getattr(self, name)
            if limits is None:
                continue
            low, high = np.asarray(limits, dtype=float).T
            label = f"{100 * self.level:g}% {word}"
            if self.labels is None:
                style = {"color": _tint(color, shade), "lw": 0, "zorder": 1}
                drawn = ax.fill_between(x, low, high, label=label, **style)
            else:
                style = {"color": color, "lw": width, "zorder": 3}
                drawn = ax.vlines(x, low, high, label=label, **style)
            setattr(self, f"{name}_", drawn)
            handles.insert(0, drawn)
        style = {"color": color, "lw": 1.8, "zorder": 3}
        if self.labels is not None:
            style |= {"lw": 0, "marker": "o", "ms": 6.5, "markeredgecolor": "white"}
        (self.line_,) = ax.plot(x, np.asarray(self.effect, dtype=float), **style)
        if self.kind == "sorted":
            self.line_.set_label("Predicted out of fold")
            handles.append(self.line_)
        return handles

    def _draw_groups(self, color: str) -> list[Any]:
        self.groups_ = self.predicted_ = None
        if self.groups is None:
            return []
        edges, predicted, effect, interval = (
            np.asarray(self.groups[name], dtype=float)
            for name in ("edges", "predicted", "effect", "interval")
        )
        ax, center = self.ax_, (edges[:-1] + edges[1:]) / 2
        style = {"color": color, "lw": 4, "alpha": 0.35, "zorder": 2}
        self.predicted_ = ax.hlines(predicted, edges[:-1], edges[1:], **style)
        self.predicted_.set_label("Mean over the group's share")
        self.groups_ = ax.errorbar(
            center, effect, np.abs(interval.T - effect), fmt="o", color=ORANGE, ms=5.5,
            lw=1.4, capsize=0, zorder=4, label=f"Group's effect, {100 * self.level:g}%",
        )  # fmt: skip
        return [self.predicted_, self.groups_]

    def _draw_average(self) -> None:
        """Draw the average effect, named at its right end."""
        self.average_ = self.average_band_ = None
        if self.average is None:
            return
        ax, (value, low, high) = self.ax_, self.average
        dashes = {"color": INK, "lw": 0.9, "linestyle": (0, (4, 3)), "zorder": 2}
        self.average_ = ax.axhline(value, **dashes)
        form = rounded((high - low) / 4)
        text = f"{self.average_name} {form(value)}"
        if self.kind == "sorted":
            band = {"color": GUIDE, "lw": 0, "zorder": 0}
            self.average_band_ = ax.axhspan(low, high, **band)
            text += f"\n{form(low)} to {form(high)}"
        place = {"transform": ax.get_yaxis_transform(), "va": "center"}
        self.notes_.append(ax.text(1.01, value, text, fontsize=9, color=INK, **place))

    def _draw_density(self) -> None:
        """Draw the covariate's histogram along the bottom, below all else."""
        self.density_ = None
        if self.density is None:
            return
        ax, (shares, edges) = self.ax_, map(np.asarray, self.density)
        low, high = ax.get_ylim()
        ax.set_ylim(low - _ROOM / (1 - _ROOM) * (high - low), high)
        widths = np.diff(edges) * (1.0 if self.labels is None else 0.5)
        center, heights = (edges[:-1] + edges[1:]) / 2, _STRIP * shares / shares.max()
        style = {"color": BEFORE, "alpha": 0.35, "lw": 0, "zorder": 0}
        style |= {"transform": ax.get_xaxis_transform()}
        self.density_ = ax.bar(center, heights, widths, **style)
        place = {"transform": ax.transAxes, "va": "center"}
        text = ax.text(1.01, _STRIP / 2, "Rows", fontsize=9, color=BEFORE, **place)
        self.notes_.append(text)

    def _label(self) -> None:
        ax, words = self.ax_, _AXES[self.kind]
        ax.set_xlabel(words[0] if self.x_label is None else self.x_label)
        ax.set_ylabel(words[1] if self.y_label is None else self.y_label)
        if self.labels is not None:
            ax.set_xticks(np.arange(len(self.labels)), self.labels)
            ax.set_xlim(-0.6, len(self.labels) - 0.4)
            if sum(map(len, self.labels)) > _LINE:
                ax.tick_params(axis="x", rotation=30)
        elif self.kind == "curve":
            ax.set_xlim(np.min(self.x), np.max(self.x))
        else:
            ax.set_xlim(0, 1)
            ticks = np.linspace(0, 1, 6)
            ax.set_xticks(ticks, [f"{share:.0%}" for share in ticks])
        if self.note:
            place = {"transform": ax.transAxes, "ha": "right", "va": "bottom"}
            text = ax.text(1.0, 1.013, self.note, fontsize=9, color=INK, **place)
            self.notes_.append(text)


def _tint(color: str, share: float) -> tuple[float, ...]:
    """Mix a color with white: opaque, so that the legend shows what is drawn."""
    from matplotlib.colors import to_rgb

    return tuple(1 - share * (1 - value) for value in to_rgb(color))
