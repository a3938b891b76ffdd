"""Published errors of effect regressions, and what ours should be beside them.

Fisher (2024): mean squared errors over 600 replicates with tuned LightGBM, aggregated
from the result file in the paper's repository (``wpor``). ``PROTOTYPE`` are those of
six replicates of a convex stack, scikit-learn alone, which was written before the
package. A bar is a statistic over replicates with limits; its Monte-Carlo standard
error is that of the bootstrap over replicates, which the published figure's is not part
of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

SETTINGS = "ABCDEF"


def _rows(text: str) -> dict[str, dict[str, float]]:
    """Return {estimator: {setting: figure}} of lines of six numbers after a name."""
    lines = [line.strip().rsplit(maxsplit=6) for line in text.strip().splitlines()]
    return {
        name: dict(zip(SETTINGS, map(float, numbers), strict=True))
        for name, *numbers in lines
    }


PUBLISHED_MEAN = {
    1000: _rows("""
        T        .1604 .415 .770 .407 .0310 .0102
        U/1      .519 .229 4.16 .975 .341 .335
        R        .0604 .228 .0326 .548 .0364 .0146
        DR/1     .0695 .222 .0376 .590 .0344 .0222
        IVW-DR   .0638 .222 .0284 .554 .0223 .0131
        DR/(A,X) .0692 .222 .185 .577 .0037 .0036
        COV/nu   .0650 .226 .0354 .564 .0213 .0131"""),
    500: _rows("""
        T        .217 .594 1.128 .616 .043 .021
        U/1      .581 .361 3.57 1.202 .858 .533
        R        .085 .356 .073 .772 .073 .031
        DR/1     .102 .351 .073 .818 .074 .036
        IVW-DR   .0905 .3505 .060 .784 .041 .028
        COV/nu   .089 .360 .071 .784 .041 .027"""),
    250: _rows("""
        T        .294 .834 1.65 .914 .069 .044
        U/1      1.21 .590 3.91 1.62 1.41 .332
        R        .135 .583 .144 1.084 .115 .061
        DR/1     .152 .591 .166 1.164 .167 .080
        IVW-DR   .129 .584 .138 1.126 .090 .060
        COV/nu   .134 .593 .157 1.105 .085 .059"""),
}
PUBLISHED_MEDIAN = {
    1000: _rows("""
        T      .153 .411 .747 .404 .0256 .0063
        U/1    .192 .210 1.155 .872 .0724 .0222
        R      .0500 .2086 .0153 .532 .0138 .0074
        DR/1   .0530 .2015 .0196 .572 .0152 .0087
        IVW-DR .0509 .2008 .0153 .532 .0113 .0064
        COV/nu .0502 .2086 .0189 .546 .0103 .0065""")
}
PROTOTYPE = _rows("""
        DR/1   .0407 .1017 .0385 .444 .056 .037
        R      .0327 .1011 .0314 .379 .040 .020
        IVW-DR .0343 .1017 .0215 .387 .046 .016""")

Errors = pd.DataFrame  # one setting: a row a replicate, a column an estimator


@dataclass(frozen=True)
class Bar:
    """A statistic of one setting's errors and the limits it should keep."""

    says: str
    panel: str
    settings: str
    statistic: Callable[[Errors, str], float]
    low: float = -np.inf
    high: float = np.inf


def ratio(top: str, bottom: str) -> Callable[[Errors, str], float]:
    """Return the median of paired ratios."""
    return lambda errors, _: float((errors[top] / errors[bottom]).median())


def difference(left: str, right: str) -> Callable[[Errors, str], float]:
    """Return the mean of paired differences."""
    return lambda errors, _: float((errors[left] - errors[right]).mean())


def smallest(name: str) -> Callable[[Errors, str], float]:
    """Return an estimator's median over the smallest of the others."""

    def statistic(errors: Errors, _: str) -> float:
        median = errors.median()
        return float(median[name] / median.drop(name).min())

    return statistic


def median_share(errors: Errors, setting: str) -> float:
    return float(errors["IVW-DR"].median() / PUBLISHED_MEDIAN[1000]["IVW-DR"][setting])


def mean_share(errors: Errors, setting: str) -> float:
    return float(errors["IVW-DR"].mean() / PUBLISHED_MEAN[1000]["IVW-DR"][setting])


BARS = [
    Bar("R / U, weights one: median ratio", "tuned", "ACEF", ratio("R", "U/1"),
        high=0.5),
    Bar("R / U, weights one: median ratio", "tuned", "D", ratio("R", "U/1"), high=0.8),
    Bar("R / U, weights one: median ratio", "tuned", "B", ratio("R", "U/1"), 0.85, 1.1),
    Bar("IVW-DR - DR: mean difference", "tuned", "CDEF",
        difference("IVW-DR", "DR/1"), high=0.0),
    Bar("IVW-DR / DR: median ratio", "tuned", "B", ratio("IVW-DR", "DR/1"), 0.95, 1.05),
    Bar("IVW-DR / R: median ratio", "tuned", "DAB", ratio("IVW-DR", "R"), 0.85, 1.15),
    Bar("IVW-DR / R: median ratio", "tuned", "C", ratio("IVW-DR", "R"), 0.65, 1.15),
    Bar("weights of treatment / IVW-DR: median ratio", "tuned", "C",
        ratio("DR/(A,X)", "IVW-DR"), low=2.0),
    Bar("T / R: median ratio", "tuned", "ABC", ratio("T", "R"), low=1.5),
    Bar("T / IVW-DR: median ratio", "tuned", "ABC", ratio("T", "IVW-DR"), low=1.5),
    Bar("T / best other: medians", "tuned", "D", smallest("T"), high=1.0),
    Bar("IVW-DR / published: medians", "tuned", "DAB", median_share, 0.5, 1.5),
    Bar("IVW-DR / published: medians", "tuned", "C", median_share, high=2.5),
    Bar("IVW-DR / published tuned boosters: means", "default", "DAB", mean_share,
        high=1.0),
    Bar("IVW-DR / published tuned boosters: means", "default", "C", mean_share,
        high=1.25),
    Bar("IVW-DR / published tuned boosters: means", "default", "EF", mean_share,
        high=2.5),
]  # fmt: skip


def errors_of(rows: pd.DataFrame, panel: str, setting: str, n: int = 1000) -> Errors:
    """Return one setting's errors, a row a replicate."""
    one = rows[
        (rows.panel == panel) & (rows.setting == setting) & (rows.n == n)
        & ~rows.estimator.str.startswith("nuisance")
    ]  # fmt: skip
    return one.pivot_table(index="rep", columns="estimator", values="mse")


def spread(
    errors: Errors, setting: str, statistic: Callable[[Errors, str], float]
) -> float:
    """Return a statistic's bootstrap standard error over replicates."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(errors), size=(500, len(errors)))
    return float(np.std([statistic(errors.iloc[rows], setting) for rows in draws]))


def verdicts(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Yield each bar's figure, its Monte-Carlo error and whether it holds."""
    for bar in BARS:
        for setting in bar.settings:
            errors = errors_of(rows, bar.panel, setting)
            if len(errors) < 2:
                continue
            value = bar.statistic(errors, setting)
            error = spread(errors, setting, bar.statistic)
            away = max(bar.low - value, value - bar.high)
            near = "missed by less than 2 SE" if away <= 2 * error else "missed"
            yield {
                "bar": bar.says, "panel": bar.panel, "setting": setting,
                "reps": len(errors), "value": value, "mc_se": error, "low": bar.low,
                "high": bar.high, "verdict": "holds" if away <= 0 else near,
            }  # fmt: skip


def prototype_ratio(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the geometric mean over settings of our default's error over PROTOTYPE's.

    And its standard error, by the delta method from that of each mean.
    """
    logs, variances = [], []
    for setting in SETTINGS:
        own = errors_of(rows, "default", setting)["IVW-DR"]
        logs.append(np.log(own.mean() / PROTOTYPE["IVW-DR"][setting]))
        variances.append(own.var() / len(own) / own.mean() ** 2)
    value = float(np.exp(np.mean(logs)))
    return value, value * float(np.sqrt(np.sum(variances))) / len(SETTINGS)
