"""Errors of classifiers under covariate shift, a replicate at a time.

Usage::

    python benchmarks/shift_errors.py A B --reps 100 --jobs 2
    python benchmarks/shift_errors.py "digits, component" --reps 20

Rows are appended to ``benchmarks/results/shift_errors.csv``, one a replicate and
method; those that are there already are not computed again. ``error`` is the share of
target rows that the predicted label misses, ``risk`` the expected loss of the rule's
probabilities at the target rows (0-1 or log): by the known probabilities of labels in
designs A and B, by the labels elsewhere. ``minimax_risk``, ``bound`` (90 %), ``D``,
``ess`` (source) and ``mass`` (mean of alpha) are the estimator's. Replicate r of the
designs draws from ``numpy.random.default_rng(r)``, of data sets from ``5000 + r``.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from replicates import Replicates
from shift_designs import DESIGNS, Shifted, draw
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from causalweights import KernelMeanMatching
from causalweights.shift import (
    DoubleWeightingClassifier,
    LogisticRatio,
    ShiftWeightedEstimator,
    TargetSample,
)
from causalweights.shift._classifier_fit import LAMBDA_SCALE

KEYS = ["design", "rep"]
FIGURES = ["error", "risk", "minimax_risk", "bound", "D", "ess", "mass"]
COLUMNS = [*KEYS, "method", "loss", *FIGURES]

PAPER = {"kappa": 0.0, "lambda_scale": 0.0}
MINIMAX: dict[str, dict[str, Any]] = {
    "double": {},
    "D=1": {"D": 1.0},
    "robust": {"D": np.inf},
    "double, paper": PAPER,
    "D=1, paper": {"D": 1.0, **PAPER},
}
# What the reference runs of the designs vary; the default is 0.25 for the 0-1 loss and
# 0.5 for the log loss.
SCALES: dict[str, dict[str, Any]] = {
    "double, s=0": {"lambda_scale": 0.0},
    "D=1, s=0": {"D": 1.0, "lambda_scale": 0.0},
    "D=4, s=0": {"D": 4.0, "lambda_scale": 0.0},
    "double, s=0.25": {"lambda_scale": 0.25},
    "double, s=0.5": {"lambda_scale": 0.5},
    "double, s=1": {"lambda_scale": 1.0},
}
# The authors' classifiers have no intercept.
NO_INTERCEPT = {"double, paper, no intercept": {**PAPER, "fit_intercept": False}}


def squares(X: np.ndarray) -> np.ndarray:
    """Return columns and their squares."""
    return np.hstack([X, X**2])


def regression(data: Shifted) -> Any:
    """Return unfitted logistic regression on the features of the minimax rules."""
    model = LogisticRegression(max_iter=1000)
    if data.features == "linear":
        return model
    return make_pipeline(FunctionTransformer(squares), model)


def logistic(data: Shifted) -> dict[str, Any]:
    """Return fitted logistic regressions, without and with weights."""
    target = TargetSample(data.X_target)
    # The log ratio of two normal densities is quadratic.
    quadratic = make_pipeline(FunctionTransformer(squares), LogisticRegression())
    ratio = LogisticRatio(classifier=None if data.probabilities is None else quadratic)
    weighters = {"matching": KernelMeanMatching(), "logistic ratio": ratio}
    found = {"logistic regression": regression(data).fit(data.X, data.y)}
    for name, weighter in weighters.items():
        model = ShiftWeightedEstimator(regression(data), weighter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # few effective rows
            model.fit(data.X, data.y, X_target=target)
        found[f"logistic regression, {name}"] = model
    return found


def minimax(data: Shifted, options: dict[str, Any], loss: str) -> Any:
    """Return a fitted minimax classifier; without a ridge, perhaps uncertified."""
    model = DoubleWeightingClassifier(loss=loss, features=data.features, **options)
    with warnings.catch_warnings():
        # Few effective rows are what some designs are about; no optimum is not, but
        # for the paper's programs: rounding ends above their tolerances.
        warnings.simplefilter("ignore", UserWarning)
        action = "ignore" if options.get("kappa") == 0.0 else "error"
        warnings.simplefilter(action, ConvergenceWarning)
        return model.fit(data.X, data.y, X_target=TargetSample(data.X_target))


def expected_loss(model: Any, data: Shifted, loss: str) -> float:
    """Return the mean loss of the probabilities at the target rows."""
    h = model.predict_proba(data.X_target)
    truth = data.probabilities
    if truth is None:
        truth = (data.y_target[:, None] == model.classes_).astype(float)
    if loss == "0-1":
        return float(np.mean(1.0 - np.sum(truth * h, axis=1)))
    logs = np.log(np.maximum(h, np.finfo(float).tiny))
    return float(np.mean(-np.sum(truth * logs, axis=1)))


def figures(model: Any, data: Shifted, loss: str) -> dict[str, float]:
    """Return what a row says of a fitted model."""
    found = {
        "error": float(np.mean(model.predict(data.X_target) != data.y_target)),
        "risk": expected_loss(model, data, loss),
    }
    if hasattr(model, "minimax_risk_"):
        found |= {
            "minimax_risk": model.minimax_risk_, "bound": model.confidence_bound_,
            "D": model.D_, "mass": float(model.alpha_.mean()),
        }  # fmt: skip
    weighter = getattr(model, "weighter_", model)
    return found | {"ess": getattr(weighter, "ess_source_", float(len(data.y)))}


def replicate(
    design: str, rep: int, methods: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the rows of one replicate; None: all methods of the design."""
    data = draw(design, rep)
    ways = MINIMAX | (SCALES if design in ("A", "B") else NO_INTERCEPT)
    rows = []
    for name, options in ways.items():
        for loss in ("0-1", "log"):
            default = options.get("lambda_scale") == LAMBDA_SCALE[loss]
            if (methods is None or name in methods) and not default:
                found = figures(minimax(data, options, loss), data, loss)
                rows.append({"method": name, "loss": loss, **found})
    for name, model in logistic(data).items():
        rows.append({"method": name, "loss": "log", **figures(model, data, "log")})
    return pd.DataFrame(rows).assign(design=design, rep=rep).reindex(columns=COLUMNS)


ROWS = Replicates("shift_errors.csv", KEYS, COLUMNS, replicate)
load = ROWS.load


def simulate(
    tasks: Iterable[tuple[str, int]],
    jobs: int = 1,
    methods: Iterable[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of each task (design, rep), in any order."""
    return ROWS.simulate(tasks, jobs, methods)


def extend(designs: Iterable[str], reps: int, jobs: int = 1) -> None:
    """Bring the file to so many replicates of the designs."""
    ROWS.extend([(design, rep) for design in designs for rep in range(reps)], jobs)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard errors of a design's methods, and bounds that held."""
    bounded = rows["minimax_risk"].notna()
    rows = rows.assign(
        risk_held=(rows["risk"] <= rows["minimax_risk"]).where(bounded).astype(float),
        bound_held=(rows["risk"] <= rows["bound"]).where(bounded).astype(float),
    )
    grouped = rows.groupby(["design", "method", "loss"], sort=False)
    table = grouped[[*FIGURES, "risk_held", "bound_held"]].mean()
    table.insert(0, "reps", grouped.size())
    table.insert(2, "error_se", grouped["error"].sem())
    table.insert(4, "risk_se", grouped["risk"].sem())
    return table.reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("designs", nargs="+", choices=DESIGNS)
    parser.add_argument("--reps", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    o = parser.parse_args()
    extend(o.designs, o.reps, o.jobs)


if __name__ == "__main__":
    main()
