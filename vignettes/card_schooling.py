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
# # Schooling, institutions, and instruments that may be weak
#
# Two studies that every course on instrumental variables knows: Card (1995) on the
# return to schooling, with colleges near a man's home as instruments, and Acemoglu,
# Johnson and Robinson (2001, AJR) on institutions and income, with the mortality of
# European settlers. All moment estimators of the package, in one table a study, beside
# what was published and what another program says; and beside every Wald interval the
# Anderson-Rubin set, which holds however weak the instruments are.
#
#     python vignettes/card_schooling.py --quick     fewer simulated samples, no files
#     python vignettes/card_schooling.py             everything, within a minute

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from causalweights import GEL, GMM, MMR, KernelMoments, LinearIV
from causalweights.datasets import load_ajr, load_card
from causalweights.displays._style import BEFORE, BLUE, GUIDE, INK, ORANGE, tidy

QUICK = "--quick" in sys.argv
try:
    folder = Path(__file__).resolve().parent
except NameError:  # pasted into a notebook
    folder = Path.cwd()

# %% [markdown]
# ## Card: 3,010 men, their schooling and their wages in 1976
#
# Men who grew up near a four-year college (`nearc4`) went to school longer. If college
# towns differ in nothing else that raises wages, given region, city and race, the ratio
# of the two differences is the return to a year of school of those men who went on
# because a college was near.
#
# A formula names the exogenous terms outside, endogenous terms and their instruments
# inside the bracket. A constant is in the model only where 1 is written.

# %%
loaded = load_card(instruments=["nearc2", "nearc4"])
card = loaded.X.join(loaded.instruments[loaded.excluded]).assign(lwage=loaded.y)
controls = " + ".join(loaded.exogenous)
BOTH = f"lwage ~ 1 + {controls} + [educ ~ nearc4 + nearc2]"
NEAR4 = f"lwage ~ 1 + {controls} + [educ ~ nearc4]"
LEAST_SQUARES = f"lwage ~ 1 + {controls} + educ"

model = LinearIV.from_formula(BOTH, card)
print(model.summary())
print(model.first_stage())

# %% [markdown]
# One table. *J* tests the overidentifying restrictions; *F* is the robust first-stage
# statistic (of one instrument also the effective one of Montiel Olea and Pflueger);
# *AR* is the 95 % Anderson-Rubin set, robust to heteroskedasticity. It belongs to the
# equation and its instruments, not to an estimator, and is given once for each set.
# *Beside* is what Wooldridge (Introductory Econometrics, Table 15.1) prints for Card's
# specification, or linearmodels 7.1 on the same file.


# %%
def ends(intervals):
    """Return intervals as text."""
    return " u ".join(f"[{low:.3f}, {high:.3f}]" for low, high in intervals) or "empty"


def row(instruments, name, fitted, column, beside=np.nan, beside_se=np.nan):
    """Return what the table shows of a fit."""
    k = fitted.names_.index(column)
    low, high = fitted.conf_int()[k]
    found = {
        "instruments": instruments, "estimator": name,
        "estimate": fitted.params_[k], "se": fitted.se_[k], "low": low, "high": high,
        "J": np.nan, "p": np.nan, "F": np.nan, "effective_F": np.nan, "AR": "",
        "beside": beside, "beside_se": beside_se,
    }  # fmt: skip
    if fitted.result_.j is not None and fitted.j_test().df:
        found |= {"J": fitted.j_test().statistic, "p": fitted.j_test().pvalue}
    if isinstance(fitted, LinearIV) and fitted.excluded_ and fitted.method == "2sls":
        first = fitted.first_stage()
        found |= {
            "F": first.f[0], "effective_F": first.effective_f.statistic,
            "AR": ends(fitted.anderson_rubin_set().intervals),
        }  # fmt: skip
    return found


ESTIMATORS = {
    "2SLS": (LinearIV, {}),
    "LIML": (LinearIV, {"method": "liml"}),
    "Fuller": (LinearIV, {"method": "fuller"}),
    "GMM, two-step": (GMM, {}),
    "GMM, iterated": (GMM, {"steps": "iterated"}),
    "GMM, CUE": (GMM, {"steps": "cue"}),
    "EL": (GEL, {"divergence": "log"}),
    "ET": (GEL, {}),
    "KMM": (KernelMoments, {"instrument_features": "linear"}),
    # A quick run does not choose lam.
    "KMM, kernel": (KernelMoments, {"lam": 1e-3} if QUICK else {}),
    "MMR, kernel": (MMR, {}),
}


def fits(formula, data, *names):
    """Return fits of a formula, by name; of all estimators without names."""
    chosen = names or ESTIMATORS
    return {
        name: ESTIMATORS[name][0].from_formula(formula, data, **ESTIMATORS[name][1])
        for name in chosen
    }


def shown(table):
    """Return a table as text."""
    text = {"estimate": "{:.4f}", "se": "{:.4f}", "low": "{:.3f}", "high": "{:.3f}",
            "J": "{:.3f}", "p": "{:.2f}", "F": "{:.1f}", "effective_F": "{:.1f}",
            "beside": "{:.4f}", "beside_se": "{:.4f}"}  # fmt: skip
    formats = {k: v.format for k, v in text.items() if k in table}
    return table.to_string(index=False, na_rep="", formatters=formats)


LINEARMODELS = {
    "2SLS": (0.15705937, 0.0524127), "LIML": (0.1640278, np.nan),
    "GMM, two-step": (0.1552102, 0.0522023), "GMM, CUE": (0.1622985, np.nan),
}  # fmt: skip
least = LinearIV.from_formula(LEAST_SQUARES, card)
one, both = fits(NEAR4, card), fits(BOTH, card)
rows = [row("none", "least squares", least, "educ", 0.075, 0.003)]
rows += [
    row("nearc4", name, fitted, "educ", *((0.132, 0.055) if name == "2SLS" else ()))
    for name, fitted in one.items()
    if name == "2SLS" or "kernel" in name
]
rows += [
    row("nearc4, nearc2", name, fitted, "educ", *LINEARMODELS.get(name, ()))
    for name, fitted in both.items()
]
card_table = pd.DataFrame(rows)
print(shown(card_table))
exact = [m.params_[-1] for n, m in one.items() if "kernel" not in n and n != "Fuller"]
print(f"nearc4 alone: {len(exact)} estimators agree to {np.ptp(exact):.0e}")

# %% [markdown]
# - **One instrument, one coefficient: nothing to choose.** Every weight, divergence and
#   kappa solves the same equations; 0.1315 is Card's 0.132 (standard errors differ by
#   the robust formula). Only Fuller, which shrinks towards least squares, moves.
# - **Two instruments: a choice within a sixth of a standard error.** GMM, EL, ET and
#   KMM gain nothing over 2SLS here, and J (p = 0.26) has nothing against the
#   instruments. With one restriction to spare that says that the two agree, not that
#   they are valid.
# - linearmodels' CUE, 0.1622985, has J = 1.26126; ours has 1.26073: it stops a little
#   before the minimum.
# - **The first stage is weak, not absent.** F is 14 with one instrument and 8 with
#   two: `nearc2` adds next to nothing. AR sets are up to half as wide again as Wald
#   intervals, to the right: 0.3 a year is not refuted, zero is. That the effective F is
#   above its critical values (4.9 for 5 %) is about the bias of 2SLS, which two
#   instruments keep small, and not about intervals.
#
# ## The kernel rows are not better instruments
#
# Kernel features of all instruments, the exogenous columns among them, halve the
# standard error. It is not proximity that does so. Leave the colleges out altogether:

# %%
X, exogenous = card[["educ", *loaded.exogenous]], card[loaded.exogenous]
kernel = KernelMoments(fit_intercept=True, lam=1e-3 if QUICK else "auto")
no_college = kernel.fit(X, card["lwage"], instruments=exogenous)
print(
    f"no college at all: {no_college.params_[0]:.3f} (se {no_college.se_[0]:.3f}), "
    f"lam {no_college.lam_:g}"
)

# %% [markdown]
# E[residual | instruments] = 0 says that the wage equation is right in every bend and
# interaction of experience, region and race; where schooling depends on them in other
# ways than the equation does, these become instruments. Schooling does: experience *is*
# age less schooling less six. The efficient estimator uses what it was told. Who does
# not believe the form of the equation should take `instrument_features="linear"`.
#
# Experience that contains schooling is no exogenous column either. With age as an
# instrument in its place the return is 0.12 to 0.14, much as before.

# %%
card["age"] = card["educ"] + card["exper"] + 6
others = " + ".join(name for name in loaded.exogenous if "exper" not in name)
for near in ("nearc4", "nearc4 + nearc2"):
    age = LinearIV.from_formula(
        f"lwage ~ 1 + {others} + [educ + exper + expersq ~ {near} + age + {{age**2}}]",
        card,
    )
    k, first = age.names_.index("educ"), age.first_stage()
    print(
        f"{near}: {age.params_[k]:.3f} (se {age.se_[k]:.3f}), Kleibergen-Paap F "
        f"{first.kleibergen_paap:.1f}"
    )

# %% [markdown]
# Is schooling endogenous at all? The tests cannot tell: least squares' 0.075 lies well
# inside every interval.

# %%
print(model.wooldridge_score())
print(model.wu_hausman())
print(model.wald_test(f"educ = {least.params_[-1]:.6f}"))
print(model.anderson_rubin_test(least.params_[-1]))

# %% [markdown]
# ## What weak identification does to intervals
#
# Bound, Jaeger and Baker's (1995) experiment: instruments that are noise. No value of
# the coefficient is identified, so that a test of any value should reject in 5 % of
# draws, and a confidence set should nearly always be without end.

# %%
draws = 5 if QUICK else 100
found = []
for seed in range(draws):
    noise = np.random.default_rng([95, seed]).normal(size=(len(card), 20))
    Z = pd.DataFrame(noise, columns=[f"noise{j}" for j in range(20)]).join(exogenous)
    two, liml = (
        LinearIV(method, fit_intercept=True).fit(X, card["lwage"], instruments=Z)
        for method in ("2sls", "liml")
    )
    found.append({
        "F": two.first_stage().f[0], "2SLS": two.params_[0], "2SLS se": two.se_[0],
        "LIML": liml.params_[0], "LIML se": liml.se_[0],
        "2SLS rejects 0": abs(two.params_[0]) > 1.96 * two.se_[0],
        "LIML rejects 0": abs(liml.params_[0]) > 1.96 * liml.se_[0],
        "AR rejects 0": two.anderson_rubin_test(0.0).pvalue < 0.05,
        "AR set endless": np.isinf(two.anderson_rubin_set().intervals).any(),
    })  # fmt: skip
found = pd.DataFrame(found)
shares = found.columns[found.columns.str.contains("rejects|endless")]
# LIML has no moments: medians of the estimates, shares of the rest.
noise_table = found.median().where(~found.columns.isin(shares), found.mean())
noise_table = noise_table.to_frame("median or share")
print(f"20 instruments of noise, {draws} draws")
print(noise_table.round(3).to_string())

# %% [markdown]
# Of nothing but noise, 2SLS makes least squares' 0.07 with a standard error of 0.046,
# and rejects zero in 36 of 100 draws. LIML's intervals are wide, as they should be. The
# Anderson-Rubin test rejects in 6, and its sets are endless in 96: they say that
# nothing is known.
#
# The same in a simulation with a truth: three instruments of growing strength, errors
# correlated at 0.8, n = 300. Shares of 95 % intervals that hold the truth.


# %%
def weak_sample(strength, rng, n=300):
    """Return D, y, Z with a mean F of about 1 + strength; the slope is zero."""
    z = rng.normal(size=(n, 3))
    v, e = rng.normal(size=(2, n))
    d = z @ np.full(3, np.sqrt(strength / n)) + v
    return d[:, None], 0.8 * v + 0.6 * e, z


reps = 10 if QUICK else 400
found = []
for strength in (0, 2, 9, 30):
    for rep in range(reps):
        D, y, Z = weak_sample(strength, np.random.default_rng([7, strength, rep]))
        two, liml = (
            LinearIV(method).fit(D, y, instruments=Z) for method in ("2sls", "liml")
        )
        found.append({
            "strength": strength, "F": two.first_stage().f[0],
            "2SLS": abs(two.params_[0]) < 1.96 * two.se_[0],
            "LIML": abs(liml.params_[0]) < 1.96 * liml.se_[0],
            "AR": two.anderson_rubin_test(0.0).pvalue > 0.05,
            "2SLS median": two.params_[0], "LIML median": liml.params_[0],
        })  # fmt: skip
by = pd.DataFrame(found).groupby("strength")
weak_table = by[["F", "2SLS", "LIML", "AR"]].mean()
weak_table = weak_table.join(by[["2SLS median", "LIML median"]].median())
print(weak_table.round(3).to_string())

# %% [markdown]
# Without identification 2SLS' intervals hold the truth in half of the samples and
# LIML's in three quarters; at F = 3 in 75 and 89 %. From F = 10 on Wald intervals are
# near their level. Anderson-Rubin sets have it throughout (Monte-Carlo errors: 1 point
# near 95 %, 2.5 at 50 %).
#
# ## AJR: 64 former colonies
#
# `risk` is protection against expropriation, 0 to 10, `logmort0` the log of settler
# mortality, the outcome the log of GDP a head in 1995. The file is that of Albouy's
# later comment, so that estimates differ a little from the printed ones (Table 4 of the
# paper, *beside*; its standard errors are homoskedastic, ours robust).

# %%
loaded = load_ajr(controls="continents")
ajr = loaded.X.assign(
    logmort0=loaded.instruments["logmort0"], loggdp=loaded.y,
    latitude=load_ajr(controls="latitude").X["latitude"],
    neo_europe=loaded.country.isin(["AUS", "CAN", "NZL", "USA"]),
)  # fmt: skip
SPECIFICATIONS = {
    "base": ("", ajr, 0.94, 0.16),
    "with latitude": ("latitude +", ajr, 1.00, 0.22),
    "without Neo-Europes": ("", ajr[~ajr["neo_europe"]], 1.28, 0.36),
    "without Africa": ("", ajr[ajr["africa"] == 0], 0.58, 0.10),
    "with continents": ("africa + asia + other +", ajr, 0.98, 0.30),
    "continents, latitude": ("africa + asia + other + latitude +", ajr, 1.10, 0.46),
}
institutions = {
    name: LinearIV.from_formula(f"loggdp ~ 1 + {terms} [risk ~ logmort0]", data)
    for name, (terms, data, *_) in SPECIFICATIONS.items()
}
rows = [
    row("none", "least squares", LinearIV.from_formula("loggdp ~ 1 + risk", ajr),
        "risk", 0.52, 0.06)
]  # fmt: skip
rows += [
    row(name, "2SLS", fitted, "risk", *SPECIFICATIONS[name][2:])
    for name, fitted in institutions.items()
]
base = "loggdp ~ 1 + [risk ~ logmort0]"
bent = "loggdp ~ 1 + [risk ~ logmort0 + {logmort0**2}]"
rows += [
    row("logmort0, square", name, fitted, "risk")
    for name, fitted in fits(bent, ajr).items()
    if "kernel" not in name
]
rows += [
    row("logmort0", name, fitted, "risk")
    for name, fitted in fits(base, ajr, "KMM, kernel", "MMR, kernel").items()
]
ajr_table = pd.DataFrame(rows)
print(shown(ajr_table))
for name, fitted in {"Card": model, "AJR": institutions["base"]}.items():
    print(f"{name}: {fitted.conditional_moment_test()}")

# %% [markdown]
# - **Zero is refuted, the size is not known.** Every Anderson-Rubin set leaves zero
#   out. But what competes with mortality weakens it: F falls from 16 to 3, and with
#   continents and latitude the set is all numbers but (-4.9, 0.47). The Wald interval,
#   0.13 to 2.02, says nothing of that. Only without Africa (F = 36) do both agree.
# - **With one instrument there is no test of it.** Its square gives one: p is 0.04 to
#   0.07, and the estimators part, 0.72 to 0.85, as those that weight a doubtful moment
#   differently do. Income and protection do not bend alike with mortality: the line, or
#   the exclusion, is in doubt. The kernel test, which looks at all functions of
#   mortality, agrees (p = 0.04; Card's equation passes, p = 0.20). The kernel rows,
#   0.76 and 0.78, rest on the same bend.
# - **What no column can show**: that settlers' mortality touches income today through
#   institutions alone; that the mortality rates are right, which Albouy doubts; and 64
#   rows are few for any of these laws, which are of large samples.
#
# ## Wald intervals and Anderson-Rubin sets side by side

# %%
LIMITS = {"Card: return to a year of schooling": (-0.02, 0.42),
          "AJR: effect of a point of protection": (-0.6, 3.6)}  # fmt: skip


def forest(ax, table, limits):
    """Draw Wald intervals and Anderson-Rubin sets of a table, one row a fit."""
    low_end, high_end = limits
    inset = 0.015 * (high_end - low_end)
    labels = []
    for y, one in enumerate(table.itertuples()):
        # An estimate whose instruments have a set of their own is drawn above it.
        up = 0.17 if one.AR else 0.0
        ax.plot(np.clip([one.low, one.high], *limits), [y - up] * 2, color=BLUE, lw=1.6)
        ax.plot(one.estimate, y - up, "o", ms=4.5, color=BLUE)
        for part in one.AR.split(" u ") if one.AR else []:
            low, high = (float(v) for v in part.strip("[]").split(", "))
            ax.plot(
                np.clip([low, high], *limits), [y + up] * 2, color=ORANGE, lw=3.2,
                solid_capstyle="butt",
            )  # fmt: skip
            if low < low_end:
                ax.plot(low_end + inset, y + up, "<", ms=6, color=ORANGE)
            if high > high_end:
                ax.plot(high_end - inset, y + up, ">", ms=6, color=ORANGE)
        labels.append(f"{one.instruments}: {one.estimator}")
    ax.axvline(0, color=BEFORE, lw=0.8)
    ax.grid(axis="x", color=GUIDE, lw=0.8)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_xlim(limits)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    tidy(ax)


figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
for ax, table, (title, limits) in zip(
    axes, (card_table, ajr_table), LIMITS.items(), strict=True
):
    forest(ax, table, limits)
    ax.set_title(title, loc="left", fontsize=10, color=INK)
    ax.set_xlabel("log points")
handles = [
    plt.Line2D([], [], color=BLUE, marker="o", ms=4.5, lw=1.6, label="Wald, 95 %"),
    plt.Line2D([], [], color=ORANGE, lw=3.2, label="Anderson-Rubin set, 95 %"),
    plt.Line2D([], [], color=ORANGE, marker=">", ls="", label="beyond the picture"),
]
figure.legend(
    handles=handles, loc="outside upper right", ncols=3, fontsize=9, frameon=False
)

# %%
if not QUICK:
    for part in ("figures", "results"):
        (folder / part).mkdir(exist_ok=True)
    tables = {
        "": card_table.set_index("instruments"),
        "_ajr": ajr_table.set_index("instruments"),
        "_noise": noise_table, "_weak": weak_table,
    }  # fmt: skip
    for name, numbers in tables.items():
        numbers.to_csv(
            folder / "results" / f"card_schooling{name}.csv", float_format="%.6g"
        )
    figure.savefig(folder / "figures" / "card_schooling.png", dpi=150)
    print("wrote results/card_schooling*.csv and figures/card_schooling.png")
