"""What every simulator shares: the generator, argument checks, the truth of a draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch

Array = np.ndarray
RandomStateLike = int | np.random.Generator | np.random.RandomState | None


def as_generator(
    random_state: RandomStateLike,
) -> np.random.Generator | np.random.RandomState:
    """Return the generator given, or a new one seeded by ``random_state``."""
    if isinstance(random_state, (np.random.Generator, np.random.RandomState)):
        return random_state
    return np.random.default_rng(random_state)


def check_size(value: int, name: str, minimum: int = 1) -> int:
    """Return a whole number of at least ``minimum``, or say what is wrong."""
    if value != int(value) or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}; got {value!r}")
    return int(value)


def check_sigma(sigma: float) -> float:
    """Return a standard deviation that is finite and not negative."""
    if not 0 <= sigma < np.inf:
        raise ValueError(f"sigma must be finite and >= 0; got {sigma!r}")
    return float(sigma)


def with_truth(
    X: Array,
    y: Array,
    treatment: Array,
    *,
    propensity: Array,
    mu0: Array,
    mu1: Array,
    true_ate: float,
    **extra: Any,
) -> Bunch:
    """Bundle a draw with the effects that follow from its two mean functions."""
    cate = mu1 - mu0
    treated = treatment == 1
    return Bunch(
        X=X,
        y=y,
        treatment=treatment,
        propensity=propensity,
        mu0=mu0,
        mu1=mu1,
        cate=cate,
        true_ate=float(true_ate),
        sample_ate=float(cate.mean()),
        # no treated row in a tiny draw: the effect on the treated is undefined
        true_att=float(cate[treated].mean()) if treated.any() else float("nan"),
        **extra,
    )
