# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How far energy balancing goes: from a thousand rows to a hundred thousand
#
# Weights that minimise the energy distance to the treated need, on paper, the n x n
# matrix of distances: 37 GB for the controls of the largest sample here. This vignette
# fits them on one machine without ever forming it, and reports for every size the time,
# the memory, the certified gap and the *true* energy distance of the weights, computed
# from all rows and not from an approximation.
#
# `python vignettes/scaling.py --quick` stops at 2,000 rows.

# %%
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd

from causalweights import IPMBalancer

QUICK = "--quick" in sys.argv
SIZES = (500, 1_000, 2_000) if QUICK else (1_000, 3_000, 10_000, 30_000, 100_000)
TOLERANCE = 1e-3


def sample(n, seed=0):
    """Ten covariates, a third treated: by a logistic model of the first four."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 10))
    score = X[:, :4] @ [0.8, -0.4, 0.2, 0.1] - 0.8
    return X, (rng.random(n) < 1 / (1 + np.exp(-score))).astype(int)


# %% [markdown]
# ## One fit
#
# `tol` is the relative gap that counts as converged: the distance to the optimum at
# most, as a share of what the weights gained on uniform ones. Up to a few thousand rows
# the solver is exact whatever `tol` says; beyond, it stops there. 1e-3 is far below the
# sampling error of the energy distance itself.


# %%
def fit(n):
    """Fit the controls to the treated; return what it took and what it reached."""
    X, treatment = sample(n)
    tracemalloc.start()
    begin = time.perf_counter()
    balancer = IPMBalancer(estimand="att", tol=TOLERANCE).fit(X, treatment)
    seconds = time.perf_counter() - begin
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return {
        "n": n,
        "controls": int((treatment == 0).sum()),
        "seconds": seconds,
        "peak MiB": peak,
        "matrix MiB": (treatment == 0).sum() ** 2 * 8 / 2**20,
        "relative gap": balancer.relative_gap_[0],
        "energy before": balancer.discrepancy_before_[0],
        "energy after": balancer.discrepancy_[0],
        "ESS": balancer.ess_[0],
        "solver": balancer.solver_[0],
    }


fit(200)  # the compiled loops are loaded once
table = pd.DataFrame([fit(n) for n in SIZES]).set_index("n")
print(table.to_string(float_format=lambda v: f"{v:.4g}"))

# %% [markdown]
# ## One picture

# %%
import matplotlib.pyplot as plt

from causalweights.displays._style import BEFORE, BLUE, ORANGE, tidy

figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained", sharex=True)
n = table.index.to_numpy()
panels = {
    "fit time (seconds)": [("seconds", BLUE, "fit, all included")],
    "memory (MiB)": [
        ("matrix MiB", BEFORE, "the matrix of distances"),
        ("peak MiB", BLUE, "peak of the fit"),
    ],
    "relative gap": [("relative gap", BLUE, "certified")],
    "energy distance to the treated": [
        ("energy before", BEFORE, "uniform weights"),
        ("energy after", ORANGE, "balancing weights"),
    ],
}
for ax, (title, lines) in zip(axes.flat, panels.items(), strict=True):
    for column, color, label in lines:
        # A gap of zero has no place on a logarithmic axis: rounding level stands in.
        values = np.maximum(table[column].to_numpy(), 1e-16)
        ax.loglog(n, values, "o-", color=color, label=label, linewidth=1.5)
    ax.set_title(title, loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=9)
    tidy(ax)
axes[1, 0].axhline(TOLERANCE, color=BEFORE, linestyle=":", linewidth=1)
axes[1, 0].annotate(
    "tol", (n[0], TOLERANCE), xytext=(0, -12), textcoords="offset points", fontsize=9
)
for ax in axes[1]:
    ax.set_xlabel("rows")

# %%
try:
    folder = Path(__file__).parent
except NameError:  # pasted into a notebook
    folder = Path()
if not QUICK:
    for part in ("figures", "results"):
        (folder / part).mkdir(exist_ok=True)
    table.to_csv(folder / "results" / "scaling.csv", float_format="%.6g")
    figure.savefig(folder / "figures" / "scaling.png", dpi=150)
    print("wrote results/scaling.csv and figures/scaling.png")
