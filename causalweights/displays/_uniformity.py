"""Images under a uniform transformer: the unit square, and quantiles against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from causalweights._typing import FloatArray
from causalweights.diagnostics._samples import numeric_covariates
from causalweights.diagnostics._uniformity import rank_correlations, strongest_pair
from causalweights.displays._style import (
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

# Points of a quantile curve: more cannot be seen.
_CURVE = 512


class UniformityDisplay:
    """Rows of the unit cube: two coordinates as points, all of them as quantiles.

    The reference rows should fill the square evenly: what pattern is left is dependence
    that the map has not taken away. In the second panel a sample that is uniform
    follows the diagonal. The reference does, by construction; where the targets leave
    it the two populations differ, and where their curve is flat the targets crowd
    among few reference rows.

    Make one with `from_estimator` or `from_arrays`, draw it with `plot`.

    Parameters
    ----------
    reference : array-like of shape (n, d)
        Images of the reference rows.
    target : array-like of shape (m, d) or None, default=None
        And of the target rows.
    names : sequence of str of length d or None, default=None
        Names of the coordinates.
    labels : (str, str), default=("Reference", "Target")
        Names of the samples.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        Points and quantiles; the quantiles alone with one coordinate.
    ax_ : matplotlib Axes
        The first.
    figure_ : matplotlib Figure
    pair_ : (int, int) or None
        The coordinates drawn as points.
    points_ : list of PathCollection
        One a sample.
    lines_ : list of list of Line2D
        Quantile curves by sample, one a coordinate.
    notes_ : list of matplotlib Text
        The reference's rank correlation; the target's coordinate farthest from the
        diagonal.

    See Also
    --------
    causalweights.diagnostics.uniformity_table : The numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import UniformTransformer
    >>> from causalweights.displays import UniformityDisplay
    >>> rng = np.random.default_rng(0)
    >>> controls, treated = rng.normal(size=(80, 2)), rng.normal(1, 1, size=(40, 2))
    >>> mapped = UniformTransformer().fit(controls)
    >>> display = UniformityDisplay.from_estimator(mapped, controls, treated)
    >>> len(display.plot().axes_)
    2
    """

    def __init__(
        self, *, reference, target=None, names=None, labels=("Reference", "Target")
    ):
        self.reference = reference
        self.target = target
        self.names = names
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        transformer: Any,
        X: ArrayLike,
        X_target: ArrayLike | None = None,
        *,
        labels: tuple[str, str] = ("Reference", "Target"),
    ) -> UniformityDisplay:
        """Make the display of a fitted transformer.

        Parameters
        ----------
        transformer : fitted UniformTransformer, or Pipeline ending in one
        X : array-like of shape (n, p)
            Covariates of the reference rows, or of new rows of their population.
        X_target : array-like of shape (m, p) or None, default=None
            Covariates of the target rows.
        labels : (str, str), default=("Reference", "Target")
            Names of the samples.
        """
        last = transformer[-1] if isinstance(transformer, Pipeline) else transformer
        if not hasattr(last, "n_reference_"):
            raise ValueError(
                f"{type(last).__name__} is no fitted UniformTransformer: fit it, or "
                "use from_arrays with the images of rows."
            )
        return cls.from_arrays(
            np.asarray(transformer.transform(X)),
            None if X_target is None else np.asarray(transformer.transform(X_target)),
            names=list(transformer.get_feature_names_out()),
            labels=labels,
        )

    @classmethod
    def from_arrays(
        cls,
        reference: ArrayLike,
        target: ArrayLike | None = None,
        *,
        names: Sequence[str] | None = None,
        labels: tuple[str, str] = ("Reference", "Target"),
    ) -> UniformityDisplay:
        """Make the display of images.

        Parameters
        ----------
        reference : array-like of shape (n, d)
            Images of the reference rows, between 0 and 1.
        target : array-like of shape (m, d) or None, default=None
            Images of the target rows.
        names : sequence of str of length d or None, default=None
            Names of the coordinates; None takes the columns of a frame, else numbers
            them.
        labels : (str, str), default=("Reference", "Target")
            Names of the samples.
        """
        images, own = numeric_covariates(reference)
        others = None if target is None else numeric_covariates(target)[0]
        if others is not None and others.shape[1] != images.shape[1]:
            raise ValueError(
                f"reference has {images.shape[1]} columns, target {others.shape[1]}: "
                "pass images under one map."
            )
        names = own if names is None else [str(name) for name in names]
        if len(names) != images.shape[1]:
            raise ValueError(
                f"names has {len(names)} entries, reference {images.shape[1]} columns."
            )
        return cls(reference=images, target=others, names=names, labels=labels)

    def plot(
        self,
        *,
        ax: Axes | Sequence[Axes] | None = None,
        pair: tuple[int, int] | None = None,
        max_points: int = 2000,
        colors: tuple[str, str] = (ORANGE, BLUE),
    ) -> UniformityDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of Axes or None, default=None
            As many as panels; None makes a figure.
        pair : (int, int) or None, default=None
            Coordinates to draw as points; None is the pair of the reference's strongest
            rank correlation.
        max_points : int, default=2000
            Points to draw of each sample; of more rows a random part, the same at every
            call.
        colors : (str, str), default=(orange, blue)
            Of the reference and of the targets.

        Returns
        -------
        self
        """
        samples = [
            np.asarray(rows, dtype=float)
            for rows in (self.reference, self.target)
            if rows is not None
        ]
        d = samples[0].shape[1]
        names = [f"x{j}" for j in range(d)] if self.names is None else self.names
        n_panels = 1 if d == 1 else 2
        if ax is None:
            figure, axes = new_figure(n_panels, (4.3, 4.2))
            figure.get_layout_engine().set(w_pad=0.12)
        else:
            axes = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(axes) != n_panels:
            raise ValueError(f"{n_panels} panels to draw, ax holds {len(axes)} Axes.")
        self.axes_, self.ax_, self.figure_ = axes, axes[0], axes[0].figure
        self.notes_: list[Any] = []
        self.points_: list[Any] = []
        self.pair_: tuple[int, int] | None = None
        if d > 1:
            correlations, size = rank_correlations(samples[0], np.ones(len(samples[0])))
            found = strongest_pair(correlations, size).pair
            self.pair_ = i, j = _check_pair(found if pair is None else pair, d)
            points = [rows[:, [i, j]] for rows in samples]
            self._draw_square(axes[0], points, max_points, colors)
            _frame(axes[0], f"{names[i]}, mapped", f"{names[j]}, mapped")
            self._note(axes[0], float(correlations[i, j]), colors[0])
        self._draw_quantiles(axes[-1], samples, names, colors)
        return self

    def _draw_square(
        self,
        ax: Axes,
        samples: list[FloatArray],
        max_points: int,
        colors: tuple[str, str],
    ) -> None:
        for rows, color, label in zip(samples, colors, self.labels):
            order = np.random.default_rng(0).permutation(len(rows))[:max_points]
            # Overlaid points of many rows still show where they are dense.
            alpha = float(np.clip(12 / np.sqrt(len(order)), 0.25, 0.8))
            style = {"s": 9, "lw": 0, "alpha": alpha, "color": color, "label": label}
            self.points_.append(ax.scatter(*rows[order].T, clip_on=False, **style))
        legend_above(ax, [_entry(p, c) for p, c in zip(self.points_, colors)])

    def _note(self, ax: Axes, correlation: float, color: str) -> None:
        text = f"Rank correlation {correlation:.2f}".replace("-", "\N{MINUS SIGN}")
        place = {"transform": ax.transAxes, "ha": "right", "va": "bottom"}
        self.notes_.append(ax.text(1.0, 1.013, text, fontsize=9, color=color, **place))

    def _draw_quantiles(
        self,
        ax: Axes,
        samples: list[FloatArray],
        names: Sequence[str],
        colors: tuple[str, str],
    ) -> None:
        self.lines_: list[Any] = []
        for rows, color, label in zip(samples, colors, self.labels):
            n, d = rows.shape
            kept = np.unique(np.linspace(0, n - 1, min(n, _CURVE)).round().astype(int))
            style = {"color": color, "lw": 1.6, "alpha": 1.0 if d < 4 else 0.6}
            lines = ax.plot((kept + 0.5) / n, np.sort(rows, axis=0)[kept], **style)
            lines[0].set_label(label)
            self.lines_.append(lines)
        dashes = {"color": INK, "lw": 0.9, "linestyle": (0, (4, 3))}
        (diagonal,) = ax.plot([0, 1], [0, 1], label="Uniform", **dashes)
        _frame(ax, "Share of rows", "Quantile of the mapped coordinate")
        legend_above(ax, [*(lines[0] for lines in self.lines_), diagonal])
        if len(samples) > 1:
            self._name_farthest(ax, self.lines_[1], names, colors[1])

    def _name_farthest(
        self, ax: Axes, lines: list[Any], names: Sequence[str], color: str
    ) -> None:
        """Name the curve that leaves the diagonal most, where it does."""
        curves = np.array([line.get_data() for line in lines])
        gaps = curves[:, 1] - curves[:, 0]
        k, at = np.unravel_index(np.argmax(np.abs(gaps)), gaps.shape)
        side = 1 if gaps[k, at] > 0 else -1
        style = {"textcoords": "offset points", "fontsize": 9, "color": color}
        style |= {"ha": "right", "va": "bottom"} if side > 0 else {"va": "top"}
        where = (-4 * side, 4 * side)
        self.notes_.append(ax.annotate(names[int(k)], curves[k, :, at], where, **style))


def _check_pair(pair: Any, d: int) -> tuple[int, int]:
    i, j = pair
    if not (0 <= i < d and 0 <= j < d and i != j):
        raise ValueError(
            f"pair={pair!r}: name two of the coordinates 0, ..., {d - 1} by position."
        )
    return i, j


def _entry(points: Any, color: str) -> Any:
    """Return a legend entry as opaque as the points are not."""
    from matplotlib.lines import Line2D

    style = {"color": color, "marker": "o", "ms": 4, "lw": 0}
    return Line2D([], [], label=points.get_label(), **style)


def _frame(ax: Axes, x: str, y: str) -> None:
    """Draw the unit square that both panels share."""
    tidy(ax)
    ticks, texts = [0.0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"]
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_xticks(ticks, texts)
    ax.set_yticks(ticks, texts)
    ax.grid(color=GUIDE, lw=0.8)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
