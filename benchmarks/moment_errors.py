"""Errors of estimators of conditional moment restrictions against efficiency bounds.

Usage::

    python benchmarks/moment_errors.py hinge --n 1000 --reps 50
    python benchmarks/moment_errors.py powers --n 256 --reps 50

Appends one row a replicate and estimator to ``benchmarks/results/moment_errors.csv``;
replicates that are there are not run again, so that a long run can stop and go on. For
``hinge`` the error is the mean squared distance of the fitted curve from the true one
over 20,000 points, for ``powers`` the squared error of the slope. ``bound`` is the
semiparametric efficiency bound (Chamberlain, 1987) over n: 193 and 0.3. Replicate r of
size n draws from ``numpy.random.default_rng([r, n, design])``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from moment_designs import HINGE, draw_hinge, draw_powers, hinge, hinge_model
from replicates import Replicates
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch

from causalweights import MMR, KernelMoments

KEYS = ["design", "n", "rep"]
COLUMNS = [*KEYS, "estimator", "error", "lam", "seconds"]
TEST_POINTS = 20_000
DESIGNS = {"hinge": (draw_hinge, 193.0), "powers": (draw_powers, 0.3)}
LAMS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)

Fitted = tuple[np.ndarray, float]


def models(design: str) -> dict[str, Callable[[Bunch], Fitted]]:
    """Return what gives theta and lam of a draw, by name."""
    moment = hinge_model() if design == "hinge" else None

    def estimator(model: Any) -> Callable[[Bunch], Fitted]:
        def fit(data: Bunch) -> Fitted:
            model.fit(data.X, data.y, instruments=data.instruments)
            return model.params_, getattr(model, "lam_", np.inf)

        return fit

    found = {
        "KMM": estimator(KernelMoments(moment)),
        "KMM, held-out moments": estimator(KernelMoments(moment, criterion="moment")),
        "KMM, one step": estimator(KernelMoments(moment, lam=1e-4, one_step=True)),
        "MMR": estimator(MMR(moment)),
    }
    found |= {
        f"KMM lam={lam:g}": estimator(KernelMoments(moment, lam=lam)) for lam in LAMS
    }
    if design == "powers":
        found |= {"least squares": least_squares(0), "true weights": least_squares(-4)}
    return found


def least_squares(power: int) -> Callable[[Bunch], Fitted]:
    """Return least squares weighted by a power of the regressor."""

    def fit(data: Bunch) -> Fitted:
        t = data.X[:, 0]
        w = t**power
        return np.array([np.sum(w * t * data.y) / np.sum(w * t**2)]), np.nan

    return fit


def error_of(design: str, theta: np.ndarray) -> float:
    if design == "powers":
        return float((theta[0] - 1.7) ** 2)
    points = draw_hinge(TEST_POINTS, np.random.default_rng(0)).X[:, 0]
    return float(np.mean((hinge(points, theta) - hinge(points, HINGE)) ** 2))


def replicate(
    design: str, n: int, rep: int, names: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of one replicate, of some estimators or all."""
    draw, _ = DESIGNS[design]
    data = draw(n, np.random.default_rng([rep, n, sorted(DESIGNS).index(design)]))
    rows = []
    fits = models(design)
    for name in names or fits:
        start = time.process_time()
        with warnings.catch_warnings():
            # Few effective rows are what a small lam is about.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", ConvergenceWarning)
            theta, lam = fits[name](data)
        seconds = time.process_time() - start
        rows.append(
            {
                "design": design, "n": n, "rep": rep, "estimator": name,
                "error": error_of(design, theta), "lam": lam, "seconds": seconds,
            }
        )  # fmt: skip
    return rows


ROWS = Replicates("moment_errors.csv", KEYS, COLUMNS, replicate)
load = ROWS.load


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean errors over the bound, with Monte-Carlo errors."""
    bound = frame["design"].map({name: b for name, (_, b) in DESIGNS.items()})
    frame = frame.assign(ratio=frame["error"] * frame["n"].astype(float) / bound)
    table = frame.groupby(["design", "n", "estimator"]).agg(
        reps=("ratio", "size"), error=("error", "mean"), ratio=("ratio", "mean"),
        ratio_se=("ratio", "sem"), seconds=("seconds", "mean"),
    )  # fmt: skip
    return table.sort_values(["design", "n", "ratio"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("design", choices=sorted(DESIGNS))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--reps", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    tasks = [(options.design, options.n, rep) for rep in range(options.reps)]
    ROWS.extend(tasks, options.jobs)
    print(summarise(load()).to_string(float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
