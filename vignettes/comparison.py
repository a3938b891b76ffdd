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
# # One question, every estimator
#
# Five data sets that the field knows the answer to, or has argued about for years, and
# every estimator of the package that can answer. Options are the defaults; what is
# compared is what a user gets who writes the name and nothing else. Nothing was tuned
# to an answer.
#
#     python vignettes/comparison.py --quick     few rows, no files
#     python vignettes/comparison.py --jobs 2    everything

# %%
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.linear_model import LinearRegression

from causalweights import (
    EntropyBalancer,
    IPMBalancer,
    LinearIV,
    PropensityWeighter,
    PseudoOutcomeRegressor,
    UniformTransformerEffect,
    WeightedEffect,
    balance_table,
    datasets,
)
from causalweights.displays._style import BLUE, GUIDE, INK, ORANGE, tidy

QUICK = "--quick" in sys.argv
JOBS = int(sys.argv[sys.argv.index("--jobs") + 1]) if "--jobs" in sys.argv else 1
try:
    folder = Path(__file__).resolve().parent
except NameError:  # pasted into a notebook
    folder = Path.cwd()

# %% [markdown]
# ## The data
#
# - **NSW, CPS-1**: job training, effect on the trainees' earnings of 1978; beside ours
#   the experiment's answer, which had other controls.
# - **IHDP**: effect on the treated children, outcome simulated (Hill's surface B): 4.
# - **NHEFS**: quitting smoking, weight gain in kg; Hernán and Robins' book, by
#   inverse-probability weighting.
# - **Birth weight**: a mother who smokes, grams; Stata's manual, by regression
#   adjustment on four of the covariates.
# - **401(k)**: eligibility for a pension plan, net financial assets in dollars; none
#   beside ours (see the end for participation).
#
# Only the first two are *right* answers. The others are what somebody else computed
# under the same assumption, which nothing in the data can check.


# %%
@dataclass
class Problem:
    """A data set and the answer that stands beside ours."""

    X: pd.DataFrame
    y: pd.Series
    a: pd.Series
    estimand: str
    unit: str
    answer: float = np.nan
    answer_se: float = np.nan
    source: str = ""


def drawn(data, estimand, unit, answer=None, source="", size=200):
    """Return the problem; in a quick run, of some of its rows."""
    X, y, a = data.X, data.y, data.treatment
    if QUICK:
        rng = np.random.default_rng(0)
        rows = [
            np.sort(rng.permutation(np.flatnonzero(a == arm))[:size]) for arm in (1, 0)
        ]
        X, y, a = (part.iloc[np.concatenate(rows)] for part in (X, y, a))
    value, se = (answer or {}).get("value"), (answer or {}).get("se")
    return Problem(
        X, y, a, estimand, unit, np.nan if value is None else value,
        np.nan if se is None else se, source,
    )  # fmt: skip


def load():
    """Return the five problems by name."""
    nsw, ihdp = datasets.load_nsw_cps(), datasets.load_ihdp(surface="B", random_state=0)
    nhefs, births = datasets.load_nhefs(), datasets.load_birthweight()
    return {
        "NSW, CPS-1": drawn(nsw, "att", "dollars", nsw.benchmark, "experiment"),
        "IHDP": drawn(ihdp, "att", "points", {"value": ihdp.true_att}, "truth"),
        "NHEFS": drawn(nhefs, "ate", "kg", nhefs.published, "book"),
        "birth weight": drawn(births, "ate", "grams", births.published, "manual"),
        "401(k)": drawn(datasets.load_401k(), "ate", "dollars"),
    }


PROBLEMS = load()

# %% [markdown]
# ## The estimators
#
# *Weights alone* takes the weighted difference of means; *augmented* adds a
# cross-fitted outcome model (`WeightedKernelRidge`), the default of `WeightedEffect`,
# and *regression* is least squares in each arm, without weights. Weights alone get the
# standard error that is valid for them: M-estimation for the two smooth weighters,
# Abadie and Imbens' for one-neighbor matching (Wasserstein weights), the influence
# function's for exact balancing, which counts no imbalance that is left.


# %%
def estimators(estimand):
    """Return groups of (name, estimator, weighter whose balance is judged)."""

    def alone(weighter, **options):
        return WeightedEffect(weighter, outcome_model=None, **options), weighter

    def augmented(weighter):
        return WeightedEffect(weighter), weighter

    energy = IPMBalancer(estimand=estimand)
    gaussian = IPMBalancer(estimand=estimand, discriminator="gaussian")
    stable = IPMBalancer(estimand=estimand, discriminator=None, moments=1)
    matched = IPMBalancer(
        estimand=estimand, discriminator="wasserstein", between_arms=False
    )
    entropy = EntropyBalancer(estimand=estimand)
    propensity = PropensityWeighter(estimand=estimand)
    smooth = {"se": "m_estimation"}
    return {
        "regression": {
            "least squares": (
                WeightedEffect(
                    None, outcome_model=LinearRegression(), cv=None, **smooth,
                    estimand=estimand,
                ),
                None,
            ),
        },
        "weights alone": {
            "logistic propensity": alone(propensity, **smooth),
            "entropy": alone(entropy, **smooth),
            "least variance": alone(stable),
            "matching": alone(matched, se="matching"),
            "energy": alone(energy),
        },
        "augmented": {
            "logistic propensity": augmented(propensity),
            "entropy": augmented(entropy),
            "least variance": augmented(stable),
            "energy": augmented(energy),
            "Gaussian": augmented(gaussian),
        },
        "other systems": {
            "uniform U-statistic": (UniformTransformerEffect(estimand=estimand), None),
            "pseudo-outcomes": (PseudoOutcomeRegressor(), None),
        },
    }  # fmt: skip


FORMATS = {
    "effect": "{:,.4g}", "se": "{:,.3g}", "lower": "{:,.4g}", "upper": "{:,.4g}",
    "smd": "{:.3f}", "ess": "{:,.0f}", "seconds": "{:.1f}",
}  # fmt: skip


def fit(problem, estimator, weighter):
    """Return a row's figures; those of a method that refuses are missing."""
    X, a = problem.X, problem.a
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = estimator.fit(X, problem.y, treatment=a)
        except ValueError as refusal:
            return dict.fromkeys(FORMATS, np.nan) | {"said": f"refused: {refusal}"}
        if isinstance(model, PseudoOutcomeRegressor):
            result = model.average_effect(problem.estimand)
        else:
            result = model.result_
    found = {"seconds": time.perf_counter() - start}
    if weighter is not None:
        masses = model.masses_
        table = balance_table(X, a, masses, estimand=problem.estimand)
        found["smd"] = table["smd_after"].abs().max()
        arms = (0,) if problem.estimand == "att" else (0, 1)
        found["ess"] = min(1 / np.sum(masses[a == arm] ** 2) for arm in arms)
    lower, upper = np.ravel(result.conf_int())
    effect, se = (float(np.ravel(value)[0]) for value in (result.effect, result.se))
    said = " ".join(sorted({str(w.message) for w in caught}))
    return {
        "effect": effect, "se": se, "lower": lower, "upper": upper, **found,
        "said": said,
    }  # fmt: skip


def row(name, group, method):
    """Return one row of the table."""
    problem = PROBLEMS[name]
    pair = estimators(problem.estimand)[group][method]
    return {"data": name, "group": group, "method": method, **fit(problem, *pair)}


def raw(problem):
    """Return the difference of means and its standard error."""
    arms = [problem.y[problem.a == arm] for arm in (1, 0)]
    difference = arms[0].mean() - arms[1].mean()
    return difference, np.sqrt(sum(y.var() / len(y) for y in arms))


tasks = [
    (name, group, method)
    for name, problem in PROBLEMS.items()
    for group, members in estimators(problem.estimand).items()
    for method in members
]
table = pd.DataFrame(Parallel(n_jobs=JOBS)(delayed(row)(*task) for task in tasks))

# %% [markdown]
# ## The table
#
# `smd` is the largest standardised mean difference that the weights leave, `ess` the
# effective number of rows in the arm that has fewest (the controls, for the ATT); both
# are empty where no weights are made before the outcome is seen.

# %%
for name, problem in PROBLEMS.items():
    part = table[table["data"] == name].set_index(["group", "method"])
    shown = part[list(FORMATS)].copy()
    for column, form in FORMATS.items():
        shown[column] = [form.format(v) if v == v else "-" for v in part[column]]
    difference, se = raw(problem)
    print(
        f"{name}: {problem.estimand.upper()}, {len(problem.a):,} rows, "
        f"{int(problem.a.sum()):,} treated, {problem.unit}; difference of means "
        f"{difference:,.4g} ({se:,.3g})"
    )
    if problem.source:
        print(f"{problem.source}: {problem.answer:,.4g} ({problem.answer_se:,.3g})")
    print(shown.to_string(), end="\n\n")
for one in table[table["said"] != ""].itertuples():
    print(f"{one.data}, {one.group}, {one.method}: {one.said}")

# %%
GROUPS = list(estimators("ate"))
METHODS = [(g, m) for g, members in estimators("ate").items() for m in members]
heights = np.arange(len(METHODS)) + np.repeat(
    np.arange(len(GROUPS)), [len(m) for m in estimators("ate").values()]
)
figure, axes = plt.subplots(
    1, len(PROBLEMS), figsize=(13, 5.2), sharey=True, layout="constrained"
)
for ax, (name, problem) in zip(axes, PROBLEMS.items(), strict=True):
    part = table[table["data"] == name].set_index(["group", "method"]).loc[METHODS]
    if problem.source:
        ax.axvline(problem.answer, color=INK, lw=1, label="answer beside ours")
        if problem.answer_se > 0:
            ax.axvspan(
                *(problem.answer + 1.96 * problem.answer_se * np.array([-1, 1])),
                color=GUIDE, lw=0, zorder=0, label="its 95 % interval",
            )  # fmt: skip
    for color, chosen, label in (
        (ORANGE, [g == "weights alone" for g, _ in METHODS], "weights alone"),
        (BLUE, [g != "weights alone" for g, _ in METHODS], "with an outcome model"),
    ):
        own = part[chosen]
        spread = [own["effect"] - own["lower"], own["upper"] - own["effect"]]
        ax.errorbar(
            own["effect"], heights[chosen], xerr=spread, fmt="o", ms=4, lw=1.2,
            color=color, label=label,
        )  # fmt: skip
    ax.set_title(f"{name}\n{problem.estimand.upper()}", loc="left", fontsize=10)
    ax.set_xlabel(problem.unit)
    tidy(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
headings = {g: heights[[h == g for h, _ in METHODS]].min() - 0.95 for g in GROUPS}
axes[0].set_yticks([*heights, *headings.values()], [*(m for _, m in METHODS), *GROUPS])
for label in axes[0].get_yticklabels()[len(heights) :]:
    label.set(weight="bold")
axes[0].set_ylim(heights[-1] + 0.6, -1.5)
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
    frameon=False, fontsize=9.5,
)  # fmt: skip

# %% [markdown]
# - **NSW, CPS-1.** Without adjustment the effect is 8,500 dollars below zero; adjusted
#   in any way it is above, and nothing is further than two standard errors from the
#   experiment. Least squares and the U-statistic extrapolate most from respondents who
#   are unlike the trainees, and are lowest. Equal means leave out that most trainees
#   earned nothing in 1974; distances between whole distributions do not, and pay for it
#   with half of the effective controls (`lalonde.py` takes this apart).
# - **NHEFS.** All within a third of a standard error of another: overlap is good, and
#   what is left to choose hardly matters. All agree with the book.
# - **Birth weight.** The same, but for the Gaussian kernel: 864 smokers in nineteen
#   covariates. It asks for more agreement than they can give, rests on the fewest rows,
#   and says so by its standard error.
# - **401(k).** Here the methods disagree beyond noise, and one column tells why. Assets
#   rise steeply with income, and so does eligibility, but from 60,000 dollars on
#   hardly. A logistic propensity that is linear in income expects it to go on: it gives
#   the few ineligible rich great weight, one of whom has 1.3 million dollars. Its
#   weighted controls are richer than the eligible (7 % above 100,000 dollars, of all
#   families 3 %), and its standard error knows. Equal *mean* incomes leave the tails
#   apart: least squares, entropy and least variance are low alone, and not with an
#   outcome model. Balance of the whole distribution (energy) is right without one.
#   `smd` shows none of this: look at more than means.
#
# So: standard errors count sampling, not the choice of method. Where rows of the table
# agree, they may share a mistake; where they do not, something in the data is to be
# found. None of it speaks to unmeasured confounders.
#
# ## The same, many times: IHDP
#
# One draw of an outcome says little. Twenty draws of Hill's surface B, whose effect on
# the treated children is 4 in each: root mean squared error, and how many 95 %
# intervals hold it. The surface is exponential in one arm: least squares is wrong.


# %%
def ihdp(seed):
    """Return the rows of one drawn outcome."""
    data = datasets.load_ihdp(surface="B", random_state=seed)
    problem = drawn(data, "att", "points")
    truth = data.true_att
    return [
        {
            "group": group, "method": method, "error": found["effect"] - truth,
            "se": found["se"], "covered": found["lower"] <= truth <= found["upper"],
            "refused": np.isnan(found["effect"]),
        }
        for group, members in estimators("att").items()
        for method, pair in members.items()
        for found in [fit(problem, *pair)]
        if not (QUICK and group == "other systems")
    ]  # fmt: skip


draws = Parallel(n_jobs=JOBS)(delayed(ihdp)(seed) for seed in range(1 if QUICK else 20))
errors = pd.DataFrame([one for rows in draws for one in rows])
errors["squared"] = errors.pop("error") ** 2
repeated = errors.groupby(["group", "method"], sort=False).mean()
repeated.insert(0, "rmse", np.sqrt(repeated.pop("squared")))
print(repeated.round(3).to_string())

# %% [markdown]
# With an outcome model all weights come within 0.15, a quarter of a standard error, and
# the choice of weights hardly matters. Alone, those that balance whole distributions
# (energy) beat those that balance means; matching in 25 covariates is worst. Intervals
# hold the truth too often: they are for a population of children, whose effects differ,
# and the truth is these children's (`inference="sample"` is for that).
#
# ## Eligible, or taking part?
#
# In the 401(k) data eligibility is decided by the employer; taking part is the worker's
# choice. What taking part does to those who do so because they may is the effect of
# eligibility over its effect on taking part. Abadie (2003) reports it by two-stage
# least squares on five covariates; with the same columns we have the same number.

# %%
data = datasets.load_401k(treatment="participation")
X = data.X.assign(age2=data.X["age"] ** 2)[["inc", "age", "age2", "marr", "fsize"]]
iv = LinearIV(fit_intercept=True).fit(
    X.assign(p401k=data.treatment), data.y, instruments=X.join(data.instruments)
)
taken = iv.result_.to_frame().loc["p401k"]
eligible = PROBLEMS["401(k)"]
shares = [data.treatment[data.instruments["e401k"] == e].mean() for e in (1, 0)]
print(taken.round(1).to_string())
print(f"Abadie: {data.published.value:,.1f} ({data.published.se:,.1f})")
print(f"take part if eligible: {shares[0]:.2f}, if not: {shares[1]:.2f}")

# %% [markdown]
# The eligible who take part are seven in ten, and nobody takes part without being
# eligible. So the effect on those who do is about the effect of eligibility over 0.7:
# of the 8,000 dollars above, 11,500. Two-stage least squares is lower: it is linear in
# income, like the low rows of the table.
#
# ## References
#
# - Abadie, A. (2003). Semiparametric instrumental variable estimation of treatment
#   response models. Journal of Econometrics 113, 231-263.
# - Dehejia, R. and Wahba, S. (1999). Causal effects in nonexperimental studies. Journal
#   of the American Statistical Association 94, 1053-1062.
# - Hernán, M. and Robins, J. (2020). Causal Inference: What If. Chapman & Hall/CRC.
# - Hill, J. (2011). Bayesian nonparametric modeling for causal inference. Journal of
#   Computational and Graphical Statistics 20, 217-240.

# %%
stem = "figures/comparison_quick" if QUICK else "results/comparison"
for part in ("figures", "results"):
    (folder / part).mkdir(exist_ok=True)
table.to_csv(folder / f"{stem}.csv", float_format="%.6g", index=False)
repeated.to_csv(folder / f"{stem}_ihdp.csv", float_format="%.6g")
picture = stem.replace("results", "figures")
figure.savefig(folder / f"{picture}.png", dpi=150)
print(f"wrote {stem}.csv, {stem}_ihdp.csv and {picture}.png")
