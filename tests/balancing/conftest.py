"""Fixtures of the weighters' tests: data of two and three arms, and one oracle."""

import numpy as np
import pytest


@pytest.fixture
def two_arms():
    """Return covariates (200, 3), a treatment 0/1 and positive sampling weights."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(200, 3))
    a = (rng.random(200) < 1 / (1 + np.exp(-0.6 * X[:, 0]))).astype(int)
    return X, a, rng.uniform(0.3, 3.0, size=200)


@pytest.fixture
def three_arms():
    """Return covariates (240, 3), a treatment 0/1/2 and positive sampling weights."""
    rng = np.random.default_rng(12)
    X = rng.normal(size=(240, 3))
    utility = X @ (0.5 * rng.normal(size=(3, 3))) + rng.gumbel(size=(240, 3))
    return X, np.argmax(utility, axis=1), rng.uniform(0.3, 3.0, size=240)


@pytest.fixture
def lalonde():
    """Return Lalonde's covariates with race as dummies, and the treatment."""
    from causalweights.datasets import load_lalonde

    data = load_lalonde()
    X = data.X.drop(columns="race")
    for level in ("black", "hispan"):
        X[level] = (data.X["race"] == level).astype(float)
    return X, data.treatment.to_numpy()


@pytest.fixture
def mass_derivative_error():
    """Return a function that holds a weight model against refits.

    A row's influence is what a small relative change of its sampling weight does to the
    parameters. The function refits with s_i (1 +- eps), takes the central difference
    of all masses, and returns the largest error of the model's prediction for it,
    relative to the largest derivative.
    """

    def error(fit, s, n_rows=8, eps=1e-5):
        weighter = fit(s)
        model, masses = weighter._weight_model(), weighter.masses_
        arm_of = weighter.arm_of
        chosen = np.random.default_rng(0).choice(np.flatnonzero(s > 0), n_rows)
        worst = 0.0
        for i in chosen:
            change = np.zeros(len(s))
            change[i] = eps
            up, down = fit(s * np.exp(change)), fit(s * np.exp(-change))
            observed = (up.masses_ - down.masses_) / (2 * eps)
            shift = model.influence[i] + model.target_influence[i]
            log_mass = model.log_gradient @ shift
            log_mass[i] += 1.0
            for k in np.unique(arm_of):
                own = arm_of == k
                log_mass[own] -= masses[own] @ log_mass[own]
            gap = np.abs(observed - masses * log_mass).max()
            worst = max(worst, gap / np.abs(observed).max())
        return worst

    return error
