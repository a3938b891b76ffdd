"""Errors of effect regressions in the settings of Fisher (2024), a replicate at a time.

Usage::

    python benchmarks/effect_errors.py default --reps 50 --jobs 2
    python benchmarks/effect_errors.py tuned --reps 12 --jobs 2
    python benchmarks/effect_errors.py default --n 250 --reps 50

Two panels. ``tuned``: boosted trees in every stage, whose parameters are searched as in
the paper, 25 configurations drawn at random, here by successive halving. Parameters of
nuisance models are chosen once on all rows, those of a second stage within its fit.
``default``: the package's default learners.

Rows are appended to ``benchmarks/results/effect_errors.csv``, one a replicate and
estimator; those that are there already are not computed again. ``mse`` is the mean
squared error of the effect at 10,000 fresh points, ``average`` the error of its mean
there, ``seconds`` the processor time of the replicate's whole set of estimators. Under
``nuisance/`` stand the squared error of the predicted outcome and the log-loss of the
propensity, out of fold. Replicate r of setting s and size n draws from
``numpy.random.default_rng([r, n, s])``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from replicates import Replicates
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import log_loss
from sklearn.model_selection import HalvingRandomSearchCV

from causalweights import PseudoOutcomeRegressor
from causalweights.crossfit import fit_with_weights
from causalweights.datasets import make_nie_wager

SETTINGS = "ABCDEF"
KEYS = ["panel", "setting", "n", "rep"]
COLUMNS = [*KEYS, "estimator", "mse", "average", "seconds"]
TEST_POINTS = 10_000

# Second stages on the same nuisances: (pseudo-outcome, weights, min_relative_weight).
DOUBLY_ROBUST = {"DR/1": ("dr", "uniform", 0.0), "IVW-DR": ("dr", "ivw", 0.0)}
RATIOS = {
    "U/1": ("u", "uniform", 0.0),
    "R": ("u", "r", 0.0),
    "COV/nu": ("cov", "ivw", 0.0),
}


def grid(low: float, high: float, points: int = 20) -> np.ndarray:
    """Return a grid of equal ratios."""
    return np.geomspace(low, high, points)


# The ranges of the paper but for two that these trees do not have: the share of rows a
# tree sees, and the least gain of a split. Near-constant fits are among them.
RANGES = {
    "max_iter": np.unique(grid(10, 1000).round().astype(int)),
    "learning_rate": grid(1e-5, 0.25),
    "max_leaf_nodes": np.unique(grid(2, 50).round().astype(int)),
    "min_samples_leaf": np.unique(grid(10, 50).round().astype(int)),
}


def search(trees: Any, n: int, seed: int, scoring: str) -> HalvingRandomSearchCV:
    """Return a search that drops two thirds of the configurations on a third of rows.

    More bins than leaves can use cost time, as weighted quantiles do.
    """
    return HalvingRandomSearchCV(
        trees(early_stopping=False, max_bins=32), RANGES, n_candidates=25, factor=3,
        min_resources=n // 3, cv=3, scoring=scoring, random_state=seed,
    )  # fmt: skip


def regression_search(n: int, seed: int) -> HalvingRandomSearchCV:
    return search(
        HistGradientBoostingRegressor, n, seed, scoring="neg_mean_squared_error"
    )


def searched(trees: Any, X: Any, y: Any, seed: int, scoring: str) -> Any:
    """Return unfitted trees with the parameters that the search chose."""
    return search(trees, len(y), seed, scoring).fit(X, y).best_estimator_


def tuned_estimators(data: Any, seed: int) -> dict[str, Any]:
    """Return what predicts the effect by each estimator, tuned trees in every stage."""
    X, y, a = data.X, data.y, data.treatment
    n = len(y)
    regressor, error = HistGradientBoostingRegressor, "neg_mean_squared_error"
    propensity = searched(HistGradientBoostingClassifier, X, a, seed, "neg_log_loss")
    shared = {
        "propensity_model": propensity, "final_model": regression_search(n, seed),
        "cv": 10, "random_state": seed,
    }  # fmt: skip
    means = searched(regressor, np.column_stack([X, a]), y, seed, error)
    dr = PseudoOutcomeRegressor(outcome_model=means, **shared).fit(X, y, treatment=a)
    mean = searched(regressor, X, y, seed, error)
    u = PseudoOutcomeRegressor(
        pseudo_outcome="u", weights="r", outcome_model=mean, **shared
    ).fit(X, y, treatment=a)  # fmt: skip
    arms = [regression_search(n // 2, seed).fit(X[a == k], y[a == k]) for k in (0, 1)]
    found = {
        "T": lambda new: arms[1].predict(new) - arms[0].predict(new),
        "DR/(A,X)": treatment_weighted(dr, X, a, regression_search(n, seed)).predict,
    }
    found |= {name: predictor(dr, how) for name, how in DOUBLY_ROBUST.items()}
    found |= {name: predictor(u, how) for name, how in RATIOS.items()}
    p = u.nuisances_["propensity"][:, 1]
    found["nuisance/outcome"] = float(np.mean((y - u.nuisances_["mean"]) ** 2))
    found["nuisance/propensity"] = float(log_loss(a, p))
    return found


def treatment_weighted(dr: Any, X: Any, a: Any, learner: Any) -> Any:
    """Fit the weights of treatment and covariates, which the package refuses."""
    pi = dr.nuisances_["propensity"][:, 1]
    weight = np.where(a == 1, pi, 1 - pi) ** 2
    return fit_with_weights(
        learner, X, dr.pseudo_outcome_, sample_weight=weight / weight.mean()
    )


def default_estimators(data: Any, seed: int) -> dict[str, Any]:
    """Return what predicts the effect by each estimator with default learners."""
    fitted = PseudoOutcomeRegressor(random_state=seed).fit(
        data.X, data.y, treatment=data.treatment
    )
    ways = DOUBLY_ROBUST | {"R": ("u", "r", 0.01), "COV/nu": RATIOS["COV/nu"]}
    return {name: predictor(fitted, how) for name, how in ways.items()}


def predictor(fitted: PseudoOutcomeRegressor, how: tuple[str, str, float]) -> Any:
    """Return the prediction of a second stage on nuisances that are there."""
    names = ("pseudo_outcome", "weights", "min_relative_weight")
    changes = dict(zip(names, how, strict=True))
    if all(getattr(fitted, name) == value for name, value in changes.items()):
        return fitted.predict
    return fitted.refit_final(**changes).predict


PANELS = {"tuned": tuned_estimators, "default": default_estimators}


def replicate(panel: str, setting: str, n: int, rep: int) -> list[dict[str, Any]]:
    """Return the rows of one replicate."""
    rng = np.random.default_rng([rep, n, SETTINGS.index(setting)])
    data = make_nie_wager(n, setup=setting, random_state=rng)  # type: ignore[arg-type]
    test = make_nie_wager(TEST_POINTS, setup=setting, random_state=rng)  # type: ignore[arg-type]
    start = time.process_time()
    with warnings.catch_warnings():
        # The U-learner's weights, and rows that the R-learner drops, are the subject.
        warnings.simplefilter("ignore", UserWarning)
        found = PANELS[panel](data, rep)
    errors = {
        name: value if isinstance(value, float) else value(test.X) - test.cate
        for name, value in found.items()
    }
    seconds = time.process_time() - start
    base = {"panel": panel, "setting": setting, "n": n, "rep": rep, "seconds": seconds}
    return [
        base | {
            "estimator": name,
            "mse": error if isinstance(error, float) else float(np.mean(error**2)),
            "average": np.nan if isinstance(error, float) else float(np.mean(error)),
        }
        for name, error in errors.items()
    ]  # fmt: skip


ROWS = Replicates("effect_errors.csv", KEYS, COLUMNS, replicate)
load = ROWS.load


def tasks(panel: str, settings: str, n: int, reps: int) -> list[tuple]:
    """Return the replicates of some settings."""
    return [(panel, s, n, rep) for rep in range(reps) for s in settings]


def simulate(
    panel: str, settings: str, n: int, reps: int, jobs: int = 1
) -> Iterator[pd.DataFrame]:
    """Yield the rows of each replicate, in any order."""
    return ROWS.simulate(tasks(panel, settings, n, reps), jobs)


def extend(
    panel: str, n: int, reps: int, settings: str = SETTINGS, jobs: int = 1
) -> None:
    """Bring the file to so many replicates."""
    ROWS.extend(tasks(panel, settings, n, reps), jobs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("panel", choices=sorted(PANELS))
    parser.add_argument("--settings", default=SETTINGS)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--reps", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1)
    o = parser.parse_args()
    extend(o.panel, o.n, o.reps, o.settings, o.jobs)


if __name__ == "__main__":
    main()
