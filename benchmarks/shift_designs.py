"""Labelled samples under covariate shift: two designs, and splits of data sets.

Designs A and B draw both samples, with known probabilities of the labels. Of a data set
every row goes to the training pool with probability 0.7 on one side of a threshold and
0.3 on the other, as in the code of Segovia-Martin, Mazuelas & Liu (2023), and samples
are drawn from the pools. What is split on: the first column at its median, or the first
principal component. Ringnorm (Breiman 1996) is drawn, the others are scikit-learn's.
Of digits the first 15 principal components of the standardised pixels are taken, which
no label chooses: with ten classes a linear rule then has 160 coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

DESIGN_ROWS = 200
RINGNORM_ROWS = 7400
DATA_SEED = 5000
DIGIT_COMPONENTS = 15


@dataclass(frozen=True)
class Shifted:
    """Source and target rows with their labels.

    Attributes
    ----------
    X, X_target : ndarray of shape (n, d), (t, d)
    y, y_target : ndarray of shape (n,), (t,)
    probabilities : ndarray of shape (t, C) or None
        Of the target rows' labels, where they are known.
    features : {"linear", "poly2"}
        What the reference runs of a linear rule are linear in.
    """

    X: np.ndarray
    y: np.ndarray
    X_target: np.ndarray
    y_target: np.ndarray
    probabilities: np.ndarray | None = None
    features: str = "linear"


def _labelled(
    rng: np.random.Generator,
    X: np.ndarray,
    X_target: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    features: str,
) -> Shifted:
    p, p_target = (1.0 / (1.0 + np.exp(-score(rows))) for rows in (X, X_target))
    y, y_target = ((rng.random(len(q)) < q).astype(int) for q in (p, p_target))
    known = np.column_stack([1.0 - p_target, p_target])
    return Shifted(X, y, X_target, y_target, known, features)


def design_a(rep: int, n: int = DESIGN_ROWS) -> Shifted:
    """Return a target that the source covers thinly; a line is not the truth."""
    rng = np.random.default_rng(rep)
    X = rng.normal(size=(n, 2))
    X_target = np.array([1.0, 0.5]) + 0.8 * rng.normal(size=(n, 2))
    return _labelled(
        rng, X, X_target, lambda x: 3.0 * (x[:, 0] + 0.5 * x[:, 1] ** 2 - 0.7), "linear"
    )


def design_b(rep: int, n: int = DESIGN_ROWS) -> Shifted:
    """Return a target a third of which is out of the source's reach."""
    rng = np.random.default_rng(rep)
    X, X_target = (
        np.column_stack([rng.uniform(*ends, size=n), rng.normal(size=n)])
        for ends in ((-2.0, 1.0), (-1.0, 2.0))
    )
    return _labelled(
        rng, X, X_target, lambda x: 4.0 * np.sin(1.5 * x[:, 0]) + x[:, 1], "poly2"
    )


@cache
def standardized(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return z-scored covariates, constant columns left out, and labels."""
    if name == "ringnorm":
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, size=RINGNORM_ROWS)
        Z = rng.normal(size=(RINGNORM_ROWS, 20))
        X = np.where(y[:, None] == 0, 2.0 * Z, Z + 2.0 / np.sqrt(20.0))
    else:
        loaders = {
            "breast_cancer": load_breast_cancer, "digits": load_digits,
            "wine": load_wine,
        }  # fmt: skip
        X, y = loaders[name](return_X_y=True)
    sd = X.std(axis=0, ddof=1)
    Z = (X[:, sd > 0] - X[:, sd > 0].mean(axis=0)) / sd[sd > 0]
    if name == "digits":
        U, scale, _ = np.linalg.svd(Z, full_matrices=False)
        Z = U[:, :DIGIT_COMPONENTS] * scale[:DIGIT_COMPONENTS]
    return Z, y


def split_data(name: str, by: str, rep: int) -> Shifted:
    """Return samples of a data set, split ``by`` its "column" or "component"."""
    X, y = standardized(name)
    if by == "column":
        train = np.where(X[:, 0] <= np.median(X[:, 0]), 0.7, 0.3)
    else:
        axis = np.linalg.svd(X, full_matrices=False)[2][0]
        axis = axis * np.sign(axis[np.argmax(np.abs(axis))])
        train = np.where(X @ axis >= np.median(X @ axis), 0.7, 0.3)
    rng = np.random.default_rng(DATA_SEED + rep)
    in_train = rng.random(len(y)) < train
    source, target = (
        rng.permutation(np.flatnonzero(pool))[: _size(int(pool.sum()))]
        for pool in (in_train, ~in_train)
    )
    return Shifted(X[source], y[source], X[target], y[target])


def _size(pool: int) -> int:
    return 500 if pool >= 1000 else round(pool / 2)


def draw(design: str, rep: int) -> Shifted:
    """Return a replicate of "A", "B", or "DATA, SPLIT"."""
    if design in ("A", "B"):
        return {"A": design_a, "B": design_b}[design](rep)
    name, by = design.split(", ")
    return split_data(name, by, rep)


# Digits have no column worth splitting on: the first ones are nearly constant.
DATA_SETS = (
    *("breast_cancer, column", "breast_cancer, component"),
    *("wine, column", "wine, component"),
    *("ringnorm, column", "ringnorm, component", "digits, component"),
)
DESIGNS = ("A", "B", *DATA_SETS)
