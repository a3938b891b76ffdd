"""The look that all displays share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision, and in grey by lightness.
BLUE, ORANGE = "#0072B2", "#D55E00"
BEFORE = "#8C8C8C"
INK = "#333333"
GUIDE = "#E6E6E6"


def new_figure(n_panels: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side, each of the given size in inches."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "displays need matplotlib: pip install 'causalweights[plot]'."
        ) from error
    # More than three side by side are unreadable on a page.
    columns = n_panels if n_panels <= 3 else 2
    rows = -(-n_panels // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        layout="constrained",
        squeeze=False,
    )
    for spare in axes.flat[n_panels:]:
        spare.remove()
    return figure, list(axes.flat[:n_panels])


def tidy(ax: Axes) -> None:
    """Take away the frame's upper and right side and quieten the rest."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(INK)
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(color=INK, labelcolor=INK, width=0.8, labelsize=9)
    ax.xaxis.label.set_color(INK)
    ax.yaxis.label.set_color(INK)
    ax.set_axisbelow(True)


def legend_above(ax: Axes, handles: list[Any], side: str = "left") -> Any:
    """Put the legend in one row above the axes, where it covers no data."""
    return ax.legend(
        handles=handles,
        loc=f"lower {side}",
        bbox_to_anchor=(0.0 if side == "left" else 1.0, 1.0),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        borderaxespad=0.2,
        borderpad=0.2,
        handlelength=1.6,
        handletextpad=0.4,
        columnspacing=1.4,
    )
