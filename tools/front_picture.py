"""Draw docs/pictures/front.svg: the quickstart's estimate and its balance.

Usage: python tools/front_picture.py

Text stays text in the file, so that a test can compare its numbers with the README's.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from causalweights import IPMBalancer, WeightedEffect, balance_table, datasets
from causalweights.displays._style import BEFORE, BLUE, GUIDE, INK, ORANGE, tidy

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "front.svg"
SIZE = 12  # points: a telephone shows the picture at half its size


def draw_estimates(ax, estimates):
    """Draw one interval a row, with its number beside it."""
    ax.axvline(0, color=BEFORE, linewidth=0.8, linestyle=":")
    for y, (value, error, color) in enumerate(estimates.values()):
        ax.errorbar(
            value, y, xerr=1.96 * error, fmt="o", color=color, elinewidth=2,
            markersize=7,
        )  # fmt: skip
        ax.annotate(
            f"{value:,.0f} ± {1.96 * error:,.0f}".replace("-", "\N{MINUS SIGN}"),
            (value, y), xytext=(0, 9), textcoords="offset points",
            ha="left" if value < -5000 else "right", color=color, fontsize=SIZE,
        )  # fmt: skip
    ax.set_yticks(range(len(estimates)), list(estimates))
    ax.set_ylim(len(estimates) - 0.6, -0.75)
    ax.set_xticks(range(-8000, 4001, 4000))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlabel("effect on earnings of 1978, dollars, with 95 % intervals")


def draw_balance(ax, table):
    """Draw the absolute standardised differences before and after."""
    table = table.loc[table["smd_before"].abs().sort_values().index]
    rows = np.arange(len(table))
    for y in rows:
        ax.axhline(y, color=GUIDE, linewidth=0.8, zorder=0)
    for column, color, face, label in (
        ("smd_before", BEFORE, "white", "as surveyed"),
        ("smd_after", BLUE, BLUE, "weighted"),
    ):
        ax.plot(
            table[column].abs(), rows, "o", color=color, markerfacecolor=face,
            markersize=7, label=label,
        )  # fmt: skip
    ax.set_yticks(rows, table.index)
    ax.set_xlabel("difference from the trainees, in standard deviations")
    ax.legend(frameon=False, fontsize=SIZE, loc="lower right")


def draw():
    """Fit the quickstart's estimator and return the figure."""
    nsw = datasets.load_nsw_cps()
    X, y, a = nsw.X, nsw.y, nsw.treatment
    balancer = IPMBalancer(estimand="att").fit(X, a)
    effect = WeightedEffect(balancer).fit(X, y, treatment=a)
    arms = [y[a == arm] for arm in (0, 1)]
    estimates = {
        "raw difference": (
            arms[1].mean() - arms[0].mean(),
            np.sqrt(sum(arm.var(ddof=1) / len(arm) for arm in arms)),
            ORANGE,
        ),
        "weighted": (effect.effect_, effect.se_, BLUE),
        "experiment": (nsw.benchmark["value"], nsw.benchmark["se"], INK),
    }
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(6.4, 6.2), layout="constrained", height_ratios=[3, 5]
    )
    draw_estimates(upper, estimates)
    draw_balance(lower, balance_table(X, a, balancer))
    for ax in (upper, lower):
        tidy(ax)
        ax.tick_params(labelsize=SIZE)
        ax.xaxis.label.set_size(SIZE)
    return figure


def main():
    """Write the picture, the same bytes from the same numbers."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "front"}):
        draw().savefig(PICTURE, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
