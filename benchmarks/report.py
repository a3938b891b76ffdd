"""Render benchmarks/results/ into docs/coverage.md: python benchmarks/report.py."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import simulate
from conformal_designs import QUANTITIES
from moment_designs import TESTS
from reference import REFERENCE, compare
from simulate import DESIGNS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"

HEAD = """# Coverage and replications

Every figure on this page is rendered from `benchmarks/results/` by

    python benchmarks/report.py

and those files are made, one row a replicate, by the command above each table.
Replicate r of seed s is drawn from `numpy.random.default_rng([s, r])`. Monte-Carlo
standard errors are in brackets. `plain` is the weighted contrast, `krr` is augmented by
the default cross-fitted kernel ridge, `ols` by least squares in sample, `m` is the
plain contrast with an M-estimation standard error, and `hc0` the plain contrast with
the robust standard error of a weighted regression, which takes the weights as fixed.
`energy` and `gaussian` are `IPMBalancer`'s defaults (`separate`: arm by arm), `glm` and
`entropy` the classical weighters.
"""

# In the order of the page; at n None the design's own.
SAYS: dict[tuple[str, int | None], str] = {
    ("inference", None): """## Do the intervals cover?

{setting}.

Population effects: ATE 1, ATT {att:.4f}. The default intervals should cover 95 %; a
ratio of mean standard error to Monte-Carlo SD above one means intervals longer than
need be. Treating weights as fixed (`hc0`) doubles their length: it charges the outcome
variance that balancing has removed.
""",
    ("randomised", None): """## Without confounding

{setting}.

Weights repair chance imbalance only, which costs effective sample size all the same: of
about 200 controls the energy weights keep five sixths under the ATE and two thirds
under the ATT, where one half of the sample must look like the other half; the Gaussian
ones, which bind more functions at the same ridge, two thirds and one half. Intervals
should still cover.
""",
    ("mixed", None): """## Skewed and binary covariates

{setting}.

Population effects: ATE 0.9, ATT {att:.4f}. The noise grows with a covariate and the
outcome's mean has a square root and an interaction.
""",
    ("binary", None): """## A binary outcome

{setting}.

Risk differences: ATE {ate:.4f}, ATT {att:.4f}.
""",
    ("line", None): """## Uniform-transformer U-statistics

`UniformTransformerEffect` with a Gaussian kernel and reflection at bandwidth n^(-1/d),
or the multiple of it that a name says (`2h`, `3h`). `plain` is without an outcome
model, `linear` with least squares, `raw` without a standard error. Intervals should
cover where bias is small: in one covariate, or with the model.

{setting}.

The authors' ratio (`normalization="global"`). Population effect: ATT {att:.4f}.
""",
    ("unequal", None): """{setting}.

Population effects: ATE 1, ATT {att:.4f}.
""",
    ("unequal", 1600): """{setting}.
""",
    ("dependent_2", None): """{setting}.

Population effect: ATT {att:.4f}. The forms without a model leave bias, the marginal map
with `"global"` most of all, which the estimator warns of. The model takes most of it
away; what is left with the joint map is half a standard error, and costs coverage. The
last but two is the default.
""",
    ("curve", None): """## Effects given covariates

`PseudoOutcomeRegressor` on nuisance models that are cross-fitted splines and a logistic
regression. Averages, the slope of the best linear predictor, areas under the targeting
curve of the covariate, average effects of groups by predicted effect (against the true
effect of the same rows), and the effect at three points with `SeriesRegressor` or
`LocalPolynomialRegressor` as final model. `anywhere` is a uniform band over 50 points
from -0.95 to 0.95: the error where it is largest against the band, and half the band's
width there, whose ratio is therefore below one. Bands do not count that the nuisances
are estimated: they cover somewhat less than they should.

{setting}.

Population effects: ATE {ate:.4f}, ATT {att:.4f}; slopes {slope:.4f} and, in the overlap
population, {overlap slope:.4f}.
""",
    ("flat", None): """{setting}.

Everything in the table is zero in truth: the slope of `calibration_test` on predicted
effects, the difference of the outer fifths, and areas under the targeting curve. Ranked
by models of all other folds, rows are in each other's rankings, and intervals are too
short; by models of the earlier folds, as the estimators' methods do it, they are not.
""",
    ("defaults", None): """{setting}.

Population effects: ATE {ate:.4f}, ATT {att:.4f}, overlap {ato:.4f}. Both nuisances are
hard for 500 rows: the bias that is left is the product of their errors.
""",
    ("iv", None): """## Moment restrictions

`LinearIV` (`2SLS`, `LIML`), two-step `GMM`, `GEL` (`EL`, `ET`, `CUE`), `KernelMoments`
(`KMM`) and `MMR`, with robust standard errors. Rows `j` and `value` are tests of level
5 %, of the overidentifying restrictions and, by Anderson and Rubin, of the true slope.
They cover where they do not reject; of `value`, these are the samples in which the set
of slopes that are not rejected holds the true one.

{setting}.

The true slope is 1.
""",
    ("iv_kernel", None): """{setting}.

Sixty functions where two suffice. With a given penalty the standard error is of the
rows that chose the weights, and too small: choose the penalty (`KMM`, the default), or
take the cross-fitted step.
""",
    ("weak", None): """{setting}.

The first stage's F is two: Wald's intervals lie around estimates that least squares
attracts, Anderson and Rubin's set covers. `LIML` has neither mean nor variance: of its
row only the coverage says anything. `KMM` is the default, with kernel instruments.
""",
    ("powers", None): """{setting}.

`KMM` chooses its penalty by cross-validation, and takes its standard error from
held-out rows; the others take theirs from the rows that chose the weights.
""",
    ("hinge", None): """{setting}.

The parameters: the kink's place, {kink:g}, and level, {level:g}, and the slopes on its
left, {left slope:g}, and right, {right slope:g}. As before, `KMM` chooses its penalty.
""",
}
CONFORMAL_HEAD = """## Prediction intervals under covariate shift

`WeightedConformalRegressor` at level 95 %, half of the source for calibration, on 1000
new target rows a replication. The true ratio is at most 5.9. `residual`, `scaled` and
`quantile` are the shapes of the intervals; `squares` gives the logistic regression the
squared covariate, which the true ratio needs; `beta` uses double weighting's source
weights alone, which aim at the part of the target that keeps weight. Intervals beyond
the source's reach are infinite, and cover; widths are of the others.

{setting}.
"""
REPLICATION_HEAD = """## Replications of the designs of Kong et al. (2023)

The paper's printed tables were not available, so this replicates its released designs,
not its tables. The reference is an independent implementation of the same estimators
(exact quadratic programs; `benchmarks/reference.py`). The last column is the largest
difference of a row (bias, RMSE, ESS) in Monte-Carlo standard errors of the difference;
with {rows} rows a few beyond 2 are expected, and none should pass 3 by much. These
designs are dominated by bias at n = 200: they are no test of intervals. `g10`, `g1`,
`gmed`: Gaussian kernels of bandwidth 10, 1 and the median rule; ridge on masses of sum
one; arms balanced separately; `aipw`: least squares in each arm.
"""

NOTES = {
    "ate_hetero": """
Our errors are from the population effect, -0.946, and so include the spread of the
sample's own average effect, whose SD is 0.256. The reference's RMSEs are all lower, as
they would be were they errors from the sample's effect.
"""
}


def number(value: float, error: float, digits: int = 3) -> str:
    """Return "value (error)"; empty for what is not reported."""
    if math.isnan(value):
        return ""
    return f"{value:.{digits}f} ({error:.{digits}f})"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def setting(design: str, n: int, frame: pd.DataFrame) -> tuple[str, str]:
    """Return one line on the design, and the command that makes its file."""
    reps, seed = len(frame), int(frame["seed"].iloc[0])
    says = DESIGNS[design].says
    line = f"{says[0].upper()}{says[1:]}; n = {n}, {reps} replications, seed {seed}"
    size = "" if n == DESIGNS[design].n else f" --n {n}"
    command = f"python benchmarks/simulate.py {design} --reps {reps} --seed {seed}"
    return line, f"    {command}{size}\n"


def coverage_section(design: str, n: int, says: str, frame: pd.DataFrame) -> str:
    line, command = setting(design, n, frame)
    figures = simulate.summarise(simulate.tidy(frame, design))
    truth = DESIGNS[design].truth
    rows = [
        [f"`{name}`", *coverage_cells(f, name.split("/")[0] in TESTS)]
        for name, f in figures.iterrows()
    ]
    head = ["estimator", "bias", "coverage", "mean SE / MC SD", "MC SD", "ESS controls"]
    if figures["ess"].isna().all():
        rows, head = [row[:-1] for row in rows], head[:-1]
    intro = says.format(setting=line, **truth)
    return "\n".join([intro, command, table(head, rows)])


def coverage_cells(f: pd.Series, test: bool) -> list[str]:
    """Return a row's cells; a test has its coverage only."""
    coverage = number(f.coverage, f.coverage_se)
    if test:
        return ["", coverage, "", "", ""]
    return [
        number(f.bias, f.bias_se),
        coverage,
        number(f.se_ratio, f.se_ratio_se, 2),
        f"{f.mc_sd:.3f}",
        "" if math.isnan(f.ess) else f"{f.ess:.0f}",
    ]


def conformal_section(design: str, n: int, frame: pd.DataFrame) -> str:
    line, command = setting(design, n, frame)
    long = simulate.tidy(frame, design)
    names = long["estimator"].str.split("/", n=1, expand=True)
    values = long["estimate"].groupby([names[1], names[0]], sort=False)
    mean, error = values.mean().unstack(), values.sem().unstack()
    rows = [
        [f"`{name}`"]
        + [
            number(mean.loc[name, q], error.loc[name, q], 1 if q == "ESS" else 3)
            for q in QUANTITIES
        ]
        for name in dict.fromkeys(names[1])
    ]
    head = ["weights and shape", "coverage", "width", "infinite", "ESS calibration"]
    return "\n".join([CONFORMAL_HEAD.format(setting=line), command, table(head, rows)])


def replication_section(design: str, n: int, frame: pd.DataFrame) -> str:
    line, command = setting(design, n, frame)
    figures = simulate.summarise(simulate.tidy(frame, design))
    rows = []
    for name, reference in REFERENCE[design, n].items():
        ours = figures.loc[name]
        apart = max(map(abs, compare(reference, ours.to_dict())))
        ess = "" if reference.ess is None else f"{ours.ess:.1f} / {reference.ess:g}"
        rows.append(
            [
                f"`{name}`",
                f"{number(ours.bias, ours.bias_se, 2)} / {reference.bias:.2f}",
                f"{number(ours.rmse, ours.rmse_se, 2)} / {reference.rmse:.2f}",
                ess,
                f"{reference.reps}",
                f"{apart:.1f}",
            ]
        )
    head = ["estimator", "bias: ours / ref.", "RMSE: ours / ref.", "ESS: ours / ref."]
    head += ["reps of ref.", "apart"]
    estimand = design.split("_")[0].upper()
    parts = [f"### {estimand}. {line}\n", command, table(head, rows)]
    return "\n".join(parts) + NOTES.get(design, "")


def write_docs() -> None:
    """Write docs/coverage.md from the files that are there."""
    files = {}
    for path in sorted(simulate.RESULTS.glob("*.csv")):
        design, _, n = path.stem.rpartition("_")
        if design not in DESIGNS:  # measurements of other kinds live there too
            continue
        files[design, int(n)] = simulate.load(path, design)
    parts = [HEAD]
    for (design, size), says in SAYS.items():
        n = size or DESIGNS[design].n
        if (design, n) in files:
            parts.append(coverage_section(design, n, says, files[design, n]))
    parts += [
        conformal_section(*key, frame)
        for key, frame in files.items()
        if key[0] == "conformal"
    ]
    replicated = [key for key in REFERENCE if key in files]
    rows = sum(len(REFERENCE[key]) for key in replicated)
    parts.append(REPLICATION_HEAD.format(rows=rows))
    parts += [replication_section(*key, files[key]) for key in replicated]
    PAGE.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    write_docs()
