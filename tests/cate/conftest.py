"""Rows of one contrast with nuisance predictions."""

import numpy as np
import pytest


@pytest.fixture
def contrast():
    """Return outcomes, predicted effects, and nuisances that are off the truth."""
    rng = np.random.default_rng(5)
    n = 240
    x = rng.uniform(-1, 1, n)
    pi = 1 / (1 + np.exp(-1.5 * x))
    a = (rng.random(n) < pi).astype(float)
    y = x**2 + a * (1 + x) + rng.normal(size=n)
    nuisances = {
        "treatment": a,
        "propensity": np.clip(pi + 0.05 * rng.normal(size=n), 0.05, 0.95),
        "mean_0": x**2 + 0.1 * rng.normal(size=n),
        "mean_1": x**2 + 1 + x + 0.1 * rng.normal(size=n),
    }
    return y, x + 0.5 * rng.normal(size=n), nuisances


@pytest.fixture
def pseudo_outcome(contrast):
    """Return the doubly robust pseudo-outcome of `contrast`, written out."""
    y, _, v = contrast
    a, pi, mu_0, mu_1 = v["treatment"], v["propensity"], v["mean_0"], v["mean_1"]
    return mu_1 - mu_0 + a * (y - mu_1) / pi - (1 - a) * (y - mu_0) / (1 - pi)


@pytest.fixture
def replicated(contrast):
    """Return row counts, and `contrast` with each row that many times."""
    y, effects, nuisances = contrast
    counts = np.random.default_rng(6).integers(0, 4, len(y))

    def repeat(values):
        return np.repeat(values, counts)

    copies = {name: repeat(values) for name, values in nuisances.items()}
    return counts, (repeat(y), repeat(effects), copies)


@pytest.fixture
def design():
    """Return a function that draws x, y and true nuisances; tau(x) = 1 + slope x."""

    def draw(rng, n, slope):
        x = rng.uniform(-1, 1, n)
        pi = 1 / (1 + np.exp(-1.5 * x))
        a = (rng.random(n) < pi).astype(float)
        mean_0, mean_1 = x**2, x**2 + 1 + slope * x
        y = np.where(a == 1, mean_1, mean_0) + rng.normal(size=n)
        nuisances = {
            "treatment": a, "propensity": pi, "mean_0": mean_0, "mean_1": mean_1,
        }  # fmt: skip
        return x, y, nuisances

    return draw
