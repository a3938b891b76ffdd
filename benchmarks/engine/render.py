"""Write docs/benchmarks.md from the measurements: python benchmarks/engine/render.py.

The causes of missed bars are prose in notes.toml, keyed as in bars.py. A missed bar
without its note is an error: nothing is written.
"""

from __future__ import annotations

import math
import sys
import tomllib
from pathlib import Path

from bars import BARS
from cases import shift
from measure import REPEATS, SLOW, VERY_SLOW
from registry import find_cases
from results import OURS, Results, middle
from roofline import floors

HEAD = f"""# Benchmarks

Written by `make bench` from `benchmarks/results/engine.csv`, which holds every single
measurement; the code is in `benchmarks/engine/`. `make bench-quick` runs small sizes in
two minutes and writes to `build/`.

- Every case runs in a process of its own, its thread counts set before imports: one
  thread unless said. In it the contenders take turns, {REPEATS} times after a warm-up
  (twice where a run takes over {SLOW:g} s, once over {VERY_SLOW:g} s).
- *Ours is faster by*: the peer's time over ours, of the fastest runs and of the
  medians. Below 1 the peer is faster. Compare ratios: times belong to the machine.
- *Gap*: Frank-Wolfe gap over (objective at uniform weights minus objective), for
  everyone by one function, from the returned weights and the same matrices; weights are
  clipped to their bounds and scaled to an admissible sum first. *Excess*: relative
  distance of the objective from the best contender's.
- Peers run at their defaults unless said; what they need built from K (sparse
  matrices, constraints) is part of their time.
"""

RACES = {
    "gram": """## Kernel matrices

n x n values in float64 unless said. KeOps compiles a formula at its first call, which
is the warm-up and not counted. *Error*: largest difference from the first peer's
result over its largest entry.
""",
    "qp": """## Quadratic programs on matrices in memory

Source rows N(0, I), half as many target rows N(0.3, I), d = 10, median bandwidth.
Simplex: min w'(K + 0.01 I)w/2 - q'w. Kernel mean matching: 0 <= b <= 5, |mean b - 1| <=
0.01, ridge 0.001. OSQP is run to 1e-8; through cvxpy at cvxpy's own tolerance.
""",
    "end_to_end": """## From rows to weights

Energy balancing: `IPMBalancer(estimand="att")` against distances by scipy and a QP
solver, the route of R's packages. Kernel mean matching: the program of Huang et al.
(2007) at the default bounds of skada and adapt, Gaussian kernel, median bandwidth.
There is no Wasserstein balancing here to race POT with: its exact distance is an
outside judge of the energy weights.
""",
    "ustatistics": """## Kernel sums of the U-statistic

Sums of a product Gaussian kernel of bandwidth (2 n)^(-1/d) over n uniform points, at n
others: scipy's distances in blocks, scikit-learn's `KernelDensity` (a k-d tree, to
1e-10), KeOps over all pairs. *Error*: largest relative difference from all pairs, at
500 targets. Below, the whole estimator: both maps, sums, and variance.
""",
    "effects": """## Effects given covariates

Fit and prediction at 10,000 fresh points; 5 stratified folds and untuned boosted trees
(100 of 8 leaves, rate 0.05) for everyone but our defaults. First, the same estimators
in setup A of Nie and Wager, nothing clipped or dropped. *Error*: largest difference
from ours over ours' largest entry. Boosted trees keep gradients in single precision,
where our weights, of mean one, and EconML's, of any mean, are rounded apart; a forest
does not. Of the best linear predictor, coefficients and HC0 standard errors are
compared, which DoubleML reports; we report HC3. Nearly all of the time is
scikit-learn's on both sides; a boosted last stage with weights is slower than one
without for its weighted quantiles.

Then accuracy: *RMSE* of the effect, its mean over the samples; a run fits all of them
and is not repeated. *Same trees* is `PseudoOutcomeRegressor` with EconML's learners:
its weights alone set it apart from DRLearner (both clip at 0.01). Ours without more
words is `PseudoOutcomeRegressor()`, which stacks learners in every stage. The causal
forest has its defaults beyond the nuisances. Ratios are to *same trees*.
""",
    "shift": """## Covariate shift

Source rows N(0, I) and target rows N((1, 1/2), 0.64 I) in two dimensions, as many of
each; Gaussian kernel, B = 1000, the bandwidth given to all in kernel mean matching.
*MMD²*: v'Kv of the returned weights, by scikit-learn's kernel. *ESS*: effective size of
the source weights. *Gap*: duality gap over the gain on weights of one, as we report it.
Peers solve the program without a ridge: *kappa=0* is like for like, and ratios are to
it; ours without more words has the default ridge. skada stops after 1000 steps of
Frank-Wolfe. Below, both weights at once, ten values of D in one call, and whole
classifiers, whose D is chosen from ten.
""",
}

# Topics judged by other numbers than an objective.
MEASURES = {
    "gram": ["error"],
    "ustatistics": ["error"],
    "effects": ["error", "RMSE"],
    "shift": ["MMD²", "ESS", "gap"],
}
MRCPY = """MRCpy 3.0.0 fails on current scikit-learn and cvxpy. Its times here are
*quoted*, never measured beside ours: of one earlier run of its DWGCS, patched until it
ran, on two shared cores under load, and only what its solver (SCS) spent on the
weights, four fifths of the whole and more from n = 500 on. It stopped at an objective
of 1e-5; the optimum is below 5e-9.
"""
LARGE = """## Many rows

Time from rows to weights, compiled code loaded; median bandwidth, ridge 0.01, d = 10
(NSW: 8 covariates). Memory is the peak resident size of the whole process
(`ru_maxrss`), interpreter included. The squared discrepancy is that of all rows, from
uniform to final weights; support counts weights above a thousandth of the mean. Beyond
20,000 rows the objective at uniform weights, which the gap is relative to, is estimated
from 8,000 rows.
"""
MEMORY = """## Memory

What one call adds to the resident size of its process: inputs excluded, results
included, one process a contender.
"""
STARTUP = """## Start-up

CPU time in a new interpreter; `python` is the interpreter's own. The first fit is an
energy and a Gaussian one of 300 rows, imports not counted.
"""


def number(value: float, digits: int = 3) -> str:
    if math.isnan(value):
        return ""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text else text


def duration(seconds: float) -> str:
    if math.isnan(seconds):
        return ""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


def bars_section(results: Results, notes: dict[str, str]) -> str:
    """Return the table of bars; a missed one without a note is an error."""
    rows, bare = [], []
    for bar in BARS:
        failure, figures = bar.failure(results), bar.figures(results)
        lines = ["; ".join(f.text() for f in part) for part in figures]
        text = "<br>".join(filter(None, [failure, *lines]))
        every = [f for part in figures for f in part]
        missed = failure or any(f.known and not f.met for f in every)
        unknown = "not run" if any(not f.known for f in every) else "met"
        note = " ".join(notes.get(bar.key, "").split()) if missed else ""
        if missed and not note:
            bare.append(f"{bar.key}: {text}")
        state = "**missed**" if missed else unknown
        rows.append([bar.text, text, state, note])
    if bare:
        raise LookupError(
            "bars missed without a note in benchmarks/engine/notes.toml (write cause "
            "and next idea, then run render.py):\n  " + "\n  ".join(bare)
        )
    lead = "Ratios are of the fastest runs, limits in brackets, misses in bold.\n"
    header = ["bar", "measured", "", "cause and next idea"]
    return f"## Bars\n\n{lead}\n" + table(header, rows)


def is_ours(name: str) -> bool:
    return name == OURS or name.startswith("ours")


def race_rows(results: Results, topic: str, case: str) -> list[list[str]]:
    """Return a line a contender, ours first and those without a result last."""
    trouble = {n: results.trouble(topic, case, n) for n in results.names(topic, case)}
    names = sorted(trouble, key=lambda n: (bool(trouble[n]), not is_ours(n)))
    mine = [n for n in names if is_ours(n)]
    objectives = {n: results.value(topic, case, "objective", n) for n in names}
    best = min((v for v in objectives.values() if not math.isnan(v)), default=math.nan)
    rows = []
    for name in names:
        times = results.times(topic, case, name)
        # Single precision is compared with single precision.
        same = [n for n in mine if n.endswith("32") == name.endswith("32")]
        ours = next(iter(same or mine), OURS)
        ratios = [results.ratio(topic, case, name, ours, s) for s in (min, middle)]
        excess = (objectives[name] - best) / abs(best) if best else math.nan
        accuracy = [results.value(topic, case, "relative_gap", name), excess]
        if topic in MEASURES:
            accuracy = [results.value(topic, case, m, name) for m in MEASURES[topic]]
        rows.append([
            case if name == names[0] else "",
            f"**{name}**" if name in mine else name,
            trouble[name] or duration(min(times, default=math.nan)),
            duration(middle(times)),
            *("" if name == ours else number(x) for x in ratios),
            *map(number, accuracy), str(len(times) or ""),
        ])  # fmt: skip
    return rows


def race_section(results: Results, topic: str) -> str:
    accuracy = MEASURES.get(topic, ["gap", "excess"])
    header = ["case", "contender", "fastest", "median",
              "ours is faster by: fastest", "median", *accuracy, "runs"]  # fmt: skip
    cases = results.names(topic)
    rows = [row for case in cases for row in race_rows(results, topic, case)]
    found = f"{RACES[topic]}\n{table(header, rows)}"
    for case in cases:
        before, after = (
            results.value(topic, case, when, "POT") for when in ("before", "after")
        )
        if not math.isnan(before):
            found += (f"\n{case}, judged by POT: {before:.4g} with uniform weights, "
                      f"{after:.4g} with energy weights.\n")  # fmt: skip
    return found + (mrcpy_quotes(results) if topic == "shift" else "")


def mrcpy_quotes(results: Results) -> str:
    """Return MRCpy's published-elsewhere times beside ours: it does not run here."""
    rows = []
    for n, seconds in shift.MRCPY_QUOTED.items():
        case = shift.double_name(n)
        ours = [results.fastest("shift", case, x) for x in (shift.PLAIN, OURS)]
        ratios = [number(seconds / x, 2) for x in ours]
        rows.append([case, duration(seconds), *map(duration, ours), *ratios])
    header = ["case", "MRCpy, quoted", shift.PLAIN, "ours",
              f"MRCpy over {shift.PLAIN}", "over ours"]  # fmt: skip
    return f"\n{MRCPY}\n{table(header, rows)}"


def large_section(results: Results) -> str:
    rows = []
    for case in results.names("large"):
        found = results.select("large", case)
        value = {r["metric"]: float(r["value"] or "nan") for r in found
                 if r["contender"] == OURS}  # fmt: skip
        get = lambda metric, value=value: value.get(metric, math.nan)  # noqa: E731
        discrepancies = [number(get(f"discrepancy{x}")) for x in ("_before", "")]
        rows.append([
            case, found[0]["threads"], results.trouble("large", case, OURS)
            or duration(results.fastest("large", case)),
            number(get("peak_mb") / 1e3), number(get("relative_gap"), 2),
            " → ".join(discrepancies), number(get("support"), 6),
            next((r["note"] for r in found if r["metric"] == "route"), ""),
        ])  # fmt: skip
    header = ["case", "threads", "time", "memory, GB", "gap", "squared discrepancy",
              "support", "route"]  # fmt: skip
    return f"{LARGE}\n{table(header, rows)}"


def profile_section(results: Results, case: str) -> str:
    """Return where the time went, and what the hardware would have needed."""
    phases: dict[str, dict[str, float]] = {}
    peaks = {}
    for r in results.select("large", case):
        if r["contender"] == "roofline":
            peaks[r["metric"]] = float(r["value"])
        elif r["contender"] == "profile":
            phases.setdefault(r["note"], {})[r["metric"]] = float(r["value"])
    total = results.fastest("large", case)
    rest = total - sum(p["seconds"] for p in phases.values())
    phases["numpy products and bookkeeping"] = {"seconds": rest}
    rows = []
    for name, p in sorted(phases.items(), key=lambda item: -item[1]["seconds"]):
        line = [name, number(p.get("calls", math.nan), 6), duration(p["seconds"]),
                f"{100 * p['seconds'] / total:.0f} %"]  # fmt: skip
        for key, unit in (("values", 1e9), ("flops", 1e9), ("bytes", 1e9)):
            line.append(number(p.get(key, math.nan) / unit))
        floor = floors(p, peaks, name)
        bound = max(floor, key=floor.__getitem__)
        known = floor[bound] > 0
        line += [duration(floor[bound]), bound] if known else ["", ""]
        rows.append([*line, number(p["seconds"] / floor[bound], 2) if known else ""])
    header = ["phase", "calls", "time", "share", "10⁹ kernel values", "GF",
              "GB written", "floor", "set by", "time / floor"]  # fmt: skip
    return f"""## Where the time goes: {case}

Peaks measured after the fit on {results.select("large", case)[0]["threads"]} threads
(float64, float32): GEMM {peaks["gemm float64"]:.0f} and {peaks["gemm float32"]:.0f}
GF/s, numpy's exp {peaks["exp float64"]:.2f} and {peaks["exp float32"]:.2f} ns a value,
memory {peaks["memory"]:.0f} GB/s. *Floor*: the longest of flops, bytes, and one exp (or
root) a kernel value at these peaks. Time is exclusive of the phases inside it.

{table(header, rows)}"""


def memory_section(results: Results) -> str:
    rows = [
        [case, name, results.trouble("memory", case, name)
         or number(results.value("memory", case, "extra_mb", name))]
        for case in results.names("memory") for name in results.names("memory", case)
    ]  # fmt: skip
    return f"{MEMORY}\n{table(['case', 'contender', 'MB'], rows)}"


def startup_section(results: Results) -> str:
    rows = []
    for case in results.names("startup"):
        for name in results.names("startup", case):
            times = results.times("startup", case, name)
            count = results.value("startup", case, "count", name)
            first = number(count) or duration(min(times, default=math.nan))
            trouble = results.trouble("startup", case, name)
            rows.append([case, name, trouble or first, duration(middle(times))])
    return f"{STARTUP}\n{table(['what', '', 'fastest', 'median'], rows)}"


def versions_section(results: Results) -> str:
    """Return the versions, and why a peer is missing."""
    versions: dict[str, str] = {}
    for r in results.rows:
        name = r["contender"].removeprefix("cdist + ").split(",")[0]
        if r["metric"] == "unavailable":
            versions.setdefault(name, f"not installed: {r['note']}")
        elif r["version"] and r["topic"] != "startup" and name not in (
            "ours", "profile", "roofline"
        ):  # fmt: skip
            versions[name] = r["version"]
    rows = [[name, version] for name, version in versions.items()]
    return f"## Versions\n\n{table(['package', 'version'], rows)}"


def host_section(results: Results) -> str:
    runs: dict[str, list[str]] = {}
    for row in results.hosts:
        facts = runs.setdefault(row["run"], [f"load before {row['load']}"])
        facts.append(f"{row['contender']} {row['note']}")
    lines = [f"- Run {run} UTC: {'; '.join(facts)}." for run, facts in runs.items()]
    loads = [float(row["load"]) for row in results.rows]
    lines.append(f"- Load averages when the cases started, our own work included: "
                 f"{min(loads):.1f} to {max(loads):.1f}.")  # fmt: skip
    return "\n".join(lines) + "\n"


def page(results: Results, notes: dict[str, str], bars: bool) -> str:
    topics = {r["topic"] for r in results.rows}
    parts = [HEAD + host_section(results)]
    parts += [bars_section(results, notes)] if bars else []
    parts += [race_section(results, topic) for topic in RACES if topic in topics]
    if "large" in topics:
        parts.append(large_section(results))
        profiled = dict.fromkeys(
            r["case"] for r in results.rows if r["contender"] == "roofline"
        )
        parts += [profile_section(results, case) for case in profiled]
    parts += [memory_section(results)] if "memory" in topics else []
    parts += [startup_section(results)] if "startup" in topics else []
    return "\n".join([*parts, versions_section(results)])


def write_page(csv_path: Path, out: Path, notes_path: Path, bars: bool) -> int:
    """Write the page; return 1, with the reason on stderr, where it cannot be."""
    notes = tomllib.loads(notes_path.read_text(encoding="utf-8"))
    cases = {(case.topic, case.name) for case in find_cases(quick=not bars)}
    unknown = notes.keys() - {bar.key for bar in BARS}
    try:
        if unknown:
            raise LookupError(f"notes.toml: no bar is called {sorted(unknown)}")
        text = page(Results(csv_path, cases), notes, bars)
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 1
    out.write_text(text, encoding="utf-8")
    sys.stderr.write(f"wrote {out}\n")
    return 0


if __name__ == "__main__":
    from run import NOTES, PAGE, RESULTS

    sys.exit(write_page(RESULTS, PAGE, NOTES, bars=True))
