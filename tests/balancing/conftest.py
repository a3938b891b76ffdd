"""Fixtures of the weighters' tests: data of two and three arms, and oracles."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.spatial.distance import cdist


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


def energy_root(Z):
    """Return R with d^2(m, t) = |R'(m - t)|^2 the energy distance of two masses."""
    D = cdist(Z, Z)
    values, vectors = np.linalg.eigh(D[:, [0]] + D[[0]] - D)
    return vectors * np.sqrt(np.maximum(values, 0.0))


@pytest.fixture
def row_program():
    """Return a function that solves a balancing program over rows by cvxpy.

    The energy distance of every arm in ``weighted`` to the target masses (``joint``:
    and of every pair of arms), or none where ``criterion`` is False, plus the ridge's
    distance to the base masses; rows of equal group in an arm have equal weights. It
    returns the objective and the masses.
    """

    def solve(
        Z, a, target, ridge, *, weighted, s=None, base=None, groups=None, joint=False,
        criterion=True, lower=0.0, upper=np.inf, moments=None, tol=0.0,
    ):  # fmt: skip
        n = len(a)
        s = np.ones(n) if s is None else s
        of_arm = {k: np.flatnonzero(a == k) for k in np.unique(a)}
        share, scaled, anchor = np.zeros(n), np.zeros(n), np.zeros(n)
        for rows in of_arm.values():
            share[rows] = s[rows] / s[rows].sum()
            scaled[rows] = s[rows] / s[rows].mean()
            if base is not None:
                pulled = s[rows] * base[rows]
                anchor[rows] = pulled / pulled.sum()
        R = energy_root(Z)
        m = cp.Variable(n)
        rules, parts = [m >= lower * share], []
        if np.isfinite(upper):
            rules.append(m <= upper * share)
        images = {}
        for k, rows in of_arm.items():
            if k not in weighted:
                rules.append(m[rows] == share[rows])
                continue
            rules.append(cp.sum(m[rows]) == 1)
            images[k] = R[rows].T @ m[rows]
            off = cp.multiply(np.sqrt(ridge / scaled[rows]), m[rows] - anchor[rows])
            parts.append(cp.sum_squares(off))
            if criterion:
                parts.append(cp.sum_squares(images[k] - R.T @ target))
            if moments is not None:
                missed = moments[rows].T @ m[rows] - target @ moments
                rules.append(cp.abs(missed) <= tol)
            if groups is not None:
                for g in np.unique(groups[rows]):
                    own = rows[groups[rows] == g]
                    rules += [m[i] / s[i] == m[own[0]] / s[own[0]] for i in own[1:]]
        if joint:
            keys = sorted(images)
            parts += [
                cp.sum_squares(images[k] - images[j])
                for i, k in enumerate(keys)
                for j in keys[:i]
            ]
        program = cp.Problem(cp.Minimize(sum(parts)), rules)
        program.solve(
            solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
        )
        return program.value, m.value

    return solve
