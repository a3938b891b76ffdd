"""The bars that the engine is held to, each with the figures that decide it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from cases import effects, gram, large, qp, shift, startup, ustatistics
from problems import KERNELS
from results import OURS, Results


@dataclass(frozen=True)
class Figure:
    """A measured number and its limit: at least it, or at most it."""

    label: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def text(self) -> str:
        if not self.known:
            return f"{self.label}: no figure"
        shown = f"{self.label}: {self.value:.3g}{self.unit}"
        shown = shown if self.met else f"**{shown}**"
        if math.isinf(self.limit):  # reported, not judged
            return shown
        return f"{shown} ({'≥' if self.at_least else '≤'} {self.limit:g})"


@dataclass(frozen=True)
class Bar:
    """A promise about speed, accuracy or memory of cases of a topic.

    `key` names its note; a figure is a function of the results and of one case.
    """

    key: str
    text: str
    topic: str
    parts: list[tuple[str, list[Callable[[Results, str], Figure]]]]

    def figures(self, results: Results) -> list[list[Figure]]:
        """Return the figures by case."""
        return [[figure(results, case) for figure in many] for case, many in self.parts]

    def failure(self, results: Results) -> str:
        """Return why one of ours failed in one of the cases; empty where none did."""
        troubles = (
            results.trouble(self.topic, case, name)
            for case, _ in self.parts
            for name in results.names(self.topic, case)
            if name.startswith((OURS, "ours"))
        )
        return next(filter(None, troubles), "")


def faster(topic: str, peer: str, limit: float, label: str, ours: str = OURS):
    return lambda r, case: Figure(
        label, r.ratio(topic, case, peer, ours), limit, "x", at_least=True
    )


def within(topic, metric, limit, label="", unit="", scale=1.0, contender=OURS):
    """Return a figure for a metric that may be `limit` at most; time is the fastest."""

    def figure(r: Results, case: str) -> Figure:
        value = r.value(topic, case, metric, contender)
        if metric == "seconds":
            value = r.fastest(topic, case, contender)
        return Figure(label or metric, value * scale, limit, unit)

    return figure


def gram_part(kernel: str, d: int, peer: str, limit: float):
    label = f"{kernel}, d={d}"
    return gram.gram_name(kernel, 5000, d), [faster("gram", peer, limit, label)]


def product_part(d: int):
    return gram.product_name(5000, d), [
        faster("gram", "scikit-learn", 4, f"float64, d={d}"),
        faster("gram", "scikit-learn", 9, f"float32, d={d}", gram.SINGLE),
    ]


def qp_part(case: str, label: str, piqp: float, cvxpy: float):
    return case, [
        faster("qp", "PIQP", piqp, f"{label} PIQP".strip()),
        faster("qp", "cvxpy + OSQP", cvxpy, "cvxpy + OSQP"),
        within("qp", "relative_gap", 1e-10, "gap"),
    ]


def large_part(case, seconds, gap=math.inf, gigabytes=math.inf, label=""):
    return case, [
        within("large", "seconds", seconds, f"{label}time", " s"),
        within("large", "relative_gap", gap, "gap"),
        within("large", "peak_mb", gigabytes, "memory", " GB", 1e-3),
        within("large", "discrepancy", math.inf, "squared discrepancy"),
    ]


def import_cost(r: Results, case: str) -> Figure:
    ours, base = (
        r.fastest("startup", case, name) for name in (startup.OURS, startup.SKLEARN)
    )
    return Figure("import beyond sklearn.base", ours - base, 0.5, " s")


def doubling(r: Results, case: str) -> Figure:
    small = ustatistics.effect_name(ustatistics.HUGE // 2)
    times = [r.fastest("ustatistics", name) for name in (small, case)]
    return Figure("of half the rows", times[1] / times[0], 2.6, "x")


# Of the same fits by scikit-learn; the rest is noise.
SAME_SPEED = 0.9


def same_part(kind: str, final: str, peer: str, difference: float):
    label = f"{kind}, {final} last"
    return effects.same_name(kind, 2000, final), [
        within("effects", "error", difference, f"{label}: difference", contender=peer),
        faster("effects", peer, SAME_SPEED, "time"),
    ]


def rmse_over(label: str, ours: str, peer: str, limit: float):
    def figure(r: Results, case: str) -> Figure:
        mine, theirs = (r.value("effects", case, "RMSE", name) for name in (ours, peer))
        return Figure(label, mine / theirs, limit, "x")

    return figure


def errors_part(setup: str):
    trees, default = effects.SAME_TREES, OURS
    # Setup B is a fair coin: no weights are needed, and estimated ones cost little.
    limit = 1.05 if setup == "B" else 1
    return effects.errors_name(setup, 1000, 10), [
        rmse_over(f"{setup}: same trees/DRLearner", trees, effects.ECONML_DR, limit),
        rmse_over("default/DRLearner", default, effects.ECONML_DR, 1),
        rmse_over("default/NonParamDML", default, effects.ECONML_R, 1),
        rmse_over("default/causal forest", default, effects.ECONML_FOREST, 1),
    ]


def shift_part(case: str, seconds: float, label: str, megabytes: float = math.nan):
    found = [
        within("shift", "seconds", seconds, f"{label}: time", " s"),
        within("shift", "gap", 1e-8, "gap"),
    ]
    if megabytes == megabytes:
        found.append(within("memory", "extra_mb", megabytes, "memory", " MB"))
    return case, found


def quoted_part(n: int, plain: float, default: float):
    """Return the part of MRCpy's quoted time over ours, without and with the ridge."""

    def figure(label: str, ours: str, limit: float):
        def ratio(r: Results, case: str) -> Figure:
            value = shift.MRCPY_QUOTED[n] / r.fastest("shift", case, ours)
            return Figure(label, value, limit, "x", at_least=True)

        return ratio

    return shift.double_name(n), [
        figure(f"n=t={n}: kappa=0", shift.PLAIN, plain),
        figure("default", OURS, default),
    ]


BARS = [
    Bar("gaussian_gram", "Gaussian Gram, n=5000, against scikit-learn", "gram", [
        gram_part("Gaussian", 5, "scikit-learn", 3.5),
        gram_part("Gaussian", 10, "scikit-learn", 3.5),
        gram_part("Gaussian", 50, "scikit-learn", 2),
    ]),
    Bar("gram_threads", "Gaussian Gram on two threads against one", "gram", [
        (gram.threads_name(5000),
         [faster("gram", gram.ONE_THREAD, 1.8, "n=5000, d=10", gram.TWO_THREADS)]),
    ]),
    Bar("other_grams", "Laplace and energy Gram against scikit-learn, cdist", "gram", [
        gram_part("Laplace", 5, "scikit-learn", 2.2),
        gram_part("Laplace", 50, "scikit-learn", 3),
        gram_part("energy", 5, "scipy", 2.2),
        gram_part("energy", 50, "scipy", 3),
    ]),
    Bar("products", "K @ v without K, n=5000, against rbf_kernel(X) @ v", "gram",
        [product_part(5), product_part(10)]),
    Bar("simplex_qp", "Exact simplex QP, one thread", "qp", [
        qp_part(qp.simplex_name(kernel, n), f"{kernel}, n={n}:", 3, 10)
        for kernel in KERNELS for n in (1000, 2000)
    ]),
    Bar("exact_10000", "Gaussian, n=10,000, exact, one thread", "large",
        [large_part(large.exact_name(10_000), 25, 1e-10, 1.5)]),
    Bar("energy_20000", "energy, n=20,000, two threads", "large",
        [large_part(large.large_name("energy", 20_000, 10_000), 120, 1e-5)]),
    Bar("nsw_cps", "NSW (185) against CPS-1 (15,992), exact", "large", [
        large_part(large.nsw_name(kernel), 2, 1e-10, label=f"{kernel}: ")
        for kernel in KERNELS
    ]),
    Bar("gaussian_100000", "Gaussian, n=100,000, two threads", "large",
        [large_part(large.large_name("Gaussian", 100_000, 50_000), 60, 1e-3, 2)]),
    Bar("energy_100000", "energy, n=100,000, two threads", "large",
        [large_part(large.large_name("energy", 100_000, 50_000), 600, 1e-2, 4)]),
    Bar("gaussian_million", "Gaussian, n=1,000,000, two threads", "large", [
        large_part(large.large_name("Gaussian", 1_000_000, 20_000), 600, gigabytes=6)
    ]),
    Bar("matching_qp", "Kernel mean matching QP, n=2000, one thread", "qp",
        [qp_part(qp.box_name(2000), "", 4, 15)]),
    Bar("ustatistic", "U-statistic, ATE, 200,000 rows an arm, d=2", "ustatistics", [
        (ustatistics.effect_name(ustatistics.HUGE), [
            within("ustatistics", "seconds", 5, "time", " s"),
            doubling,
            within("memory", "extra_mb", 300, "memory", " MB"),
        ]),
    ]),
    Bar("same_effects", "EconML's R- and DR-learner: same numbers, same speed",
        "effects", [
        same_part("R", effects.TREES, effects.ECONML_R, 1e-6),
        same_part("R", effects.FOREST, effects.ECONML_R, 1e-12),
        same_part("DR", effects.TREES, effects.ECONML_DR, 1e-12),
        same_part("DR", effects.FOREST, effects.ECONML_DR, 1e-12),
    ]),
    Bar("linear_effect", "DoubleML's best linear predictor: same numbers, same speed",
        "effects", [
        (effects.linear_name(2000), [
            within("effects", "error", 1e-10, "difference", contender="DoubleML"),
            faster("effects", "DoubleML", SAME_SPEED, "time"),
            within("effects", "HC3 over HC0", math.inf),
        ]),
    ]),
    Bar("effect_errors", "RMSE of the effect over EconML's, setups A to F, n=1000",
        "effects", [errors_part(setup) for setup in effects.SETUPS]),
    Bar("shift_weights", "Double weighting, D=4, one thread", "shift", [
        shift_part(shift.double_name(1000), 0.3, "n=t=1000"),
        shift_part(shift.double_name(shift.MANY), 10, f"n=t={shift.MANY}", 500),
    ]),
    Bar("shift_path", "Double weighting, ten values of D, n=t=1000", "shift",
        [shift_part(shift.path_name(1000), 1.5, "ten D")]),
    Bar("shift_classifier", "DoubleWeightingClassifier, n=t=1000", "shift", [
        shift_part(shift.classifier_name(1000, loss), 1, f"{loss} loss")
        for loss in ("log", "0-1")
    ]),
    Bar("mrcpy", "Weights of MRCpy at D=4, time quoted, over ours", "shift", [
        quoted_part(200, 2, 6), quoted_part(500, 3, 60), quoted_part(1000, 3, 100),
    ]),
    Bar("startup", "Import and first call, CPU seconds", "startup", [
        (startup.IMPORTS, [import_cost]),
        (startup.FIRST_CALL, [
            within("startup", "count", 0, startup.AT_IMPORT,
                   contender=startup.AT_IMPORT),
            within("startup", "seconds", 10, "cold compile", " s",
                   contender=startup.COLD),
            within("startup", "seconds", 1, "cached first call", " s",
                   contender=startup.CACHED),
        ]),
    ]),
]  # fmt: skip
