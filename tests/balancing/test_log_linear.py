"""Log-linear weights: derivatives, optimality, invariances, entropy balancing."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime, brute, minimize
from sklearn.linear_model import LogisticRegression

from causalweights import EntropyBalancer
from causalweights.balancing import _log_linear, _target_discrepancy
from causalweights.balancing._log_linear import fit_log_linear, log_linear_weights
from causalweights.balancing._target_discrepancy import (
    TargetDiscrepancy,
    TiltedObjective,
)
from causalweights.discrepancy import squared_mmd
from causalweights.kernels import Energy, Gaussian, Laplace, Linear, Matern, Polynomial

KERNELS = {
    "wide": Gaussian(10.0),
    "gaussian": Gaussian([0.7, 2.0]),
    "energy": 2.0 * Energy(),
    "laplace": Laplace(2.0),
    "matern": Matern(1.5),
    "linear": Linear(),
    "polynomial": Polynomial(),
}
RIDGES = [0.0, 0.05]


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


def samples(d=3, n=60, m=50, seed=0):
    rng = np.random.default_rng(seed)
    S, T = rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d)) + 0.4
    return S, T, rng.uniform(0.5, 2.0, size=m), rng.uniform(0.5, 2.0, size=n)


def objective(kernel, S, T, q, b, penalty, mixture=0.0):
    """Return the objective of beta by definition, with no code of the fit."""
    b = b / b.sum()

    def value(beta):
        tilt = b * np.exp(S @ beta - np.max(S @ beta))
        m = mixture * b + (1 - mixture) * tilt / tilt.sum()
        d2 = squared_mmd(kernel, S, T, x_weights=m, y_weights=q)
        return d2 + np.sum(penalty * m * m)

    return value


@pytest.mark.parametrize("mixture", [0.0, 0.3])
def test_derivatives_are_those_of_finite_differences(kernel, mixture):
    S, T, q, b = samples()
    q, b = q / q.sum(), b / b.sum()
    penalty = np.linspace(0.01, 0.2, len(S))
    problem = TiltedObjective(
        TargetDiscrepancy(kernel, S, T, q), S, b, penalty, mixture
    )
    theta = np.array([0.3, -0.5, 0.8])
    value, gradient = problem(theta)
    by_definition = objective(kernel, S, T, q, b, penalty, mixture)
    assert_allclose(value, by_definition(theta), rtol=1e-9)
    steps = 1e-6
    numeric = approx_fprime(theta, lambda t: problem(t)[0], steps)
    assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4 * np.abs(numeric).max())
    bend = np.array(
        [
            (problem(theta + steps * e)[1] - problem(theta - steps * e)[1])
            / (2 * steps)
            for e in np.eye(3)
        ]
    )
    hessian = problem.hessian(theta)
    assert_allclose(hessian, bend, rtol=1e-5, atol=1e-6 * np.abs(bend).max())


@pytest.mark.parametrize("ridge", RIDGES)
def test_one_column_matches_a_grid_search(kernel, ridge):
    S, T, q, b = samples(d=1)
    fit = fit_log_linear(kernel, S, T, q, b, ridge)
    f = objective(kernel, S, T, q, b, ridge)
    grid = np.linspace(-6.0, 6.0, 241)
    start = grid[np.argmin([f(np.array([t])) for t in grid])]
    best = minimize(f, [start], method="Nelder-Mead", options={"xatol": 1e-9})
    assert fit.converged
    assert_allclose(fit.objective, f(fit.coef), rtol=1e-7, atol=1e-14)
    assert fit.objective <= best.fun * (1 + 1e-9) + 1e-14
    assert_allclose(fit.coef, best.x, atol=1e-4)


@pytest.mark.parametrize("name", ["gaussian", "energy"])
@pytest.mark.parametrize("mixture", [0.0, 0.4])
def test_two_columns_match_brute_force(name, mixture):
    S, T, q, b = samples(d=2, n=30, m=25)
    fit = fit_log_linear(KERNELS[name], S, T, q, b, 0.01, mixture=mixture)
    f = objective(KERNELS[name], S, T, q, b, 0.01, mixture)
    best = brute(f, [(-3, 3), (-3, 3)], Ns=15, full_output=True)
    assert fit.objective <= best[1] * (1 + 1e-9)
    assert_allclose(fit.coef, best[0], atol=1e-3)
    assert_allclose(fit.objective, fit.discrepancy + 0.01 * np.sum(fit.masses**2))


def test_linear_kernel_is_entropy_balancing(two_arms):
    X, a, s = two_arms
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    S, T = Z[a == 0], Z[a == 1]
    fit = fit_log_linear(Linear(), S, T, s[a == 1], s[a == 0], 0.0)
    target = s[a == 1] @ T / s[a == 1].sum()
    assert_allclose(fit.masses @ S, target, atol=1e-9)
    balancer = EntropyBalancer(estimand="att").fit(X, a, sample_weight=s)
    assert_allclose(fit.masses, balancer.masses_[a == 0], atol=1e-9)
    assert fit.objective <= 1e-15
    assert_allclose(fit.objectives, 0.0, atol=1e-12)


def test_mixture_balances_what_the_arm_leaves_of_the_sample(two_arms):
    # sum_i m_i x_i = the sample's mean is (1 - a) tilted mean = rest of the sample's,
    # so the tilt is the one that balances the arm to the other arm.
    X, a, s = two_arms
    arm = a == 0
    share = s[arm].sum() / s.sum()
    whole = fit_log_linear(Linear(), X[arm], X, s, s[arm], 0.0, mixture=share)
    rest = fit_log_linear(Linear(), X[arm], X[~arm], s[~arm], s[arm], 0.0)
    assert_allclose(whole.coef, rest.coef, atol=1e-7)
    base = s[arm] / s[arm].sum()
    assert_allclose(whole.masses, share * base + (1 - share) * rest.masses, atol=1e-8)
    assert np.all(whole.masses >= s[arm] / s.sum())


def test_equal_weights_give_the_authors_mixture():
    S, T, q, _ = samples()
    n, m = 2 * len(S), len(S)
    fit = fit_log_linear(Gaussian(2.0), S, T, q, np.ones(m), 0.0, mixture=m / n)
    tilt = np.exp(S @ fit.coef)
    assert_allclose(fit.masses, 1 / n + (1 - m / n) * tilt / tilt.sum(), rtol=1e-10)


@pytest.mark.parametrize("name", ["gaussian", "energy", "linear"])
@pytest.mark.parametrize("ridge", RIDGES)
def test_shift_changes_nothing(name, ridge):
    S, T, q, b = samples()
    here = fit_log_linear(KERNELS[name], S, T, q, b, ridge)
    there = fit_log_linear(KERNELS[name], S + 3.0, T + 3.0, q, b, ridge)
    assert_allclose(there.masses, here.masses, atol=1e-7)
    assert_allclose(there.coef, here.coef, atol=1e-5)
    shift = there.log_scale - here.log_scale
    assert_allclose(shift, 3.0 * here.coef.sum(), atol=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "energy"])
def test_permutations_permute_the_masses(name, rng):
    S, T, q, b = samples()
    rows, others, columns = (rng.permutation(k) for k in (len(S), len(T), 3))
    fit = fit_log_linear(KERNELS[name], S, T, q, b, 0.01)
    mixed = fit_log_linear(
        KERNELS[name], S[rows][:, columns], T[others][:, columns], q[others], b[rows],
        0.01,
    )  # fmt: skip
    assert_allclose(mixed.masses, fit.masses[rows], atol=1e-9)
    assert_allclose(mixed.coef, fit.coef[columns], atol=1e-8)


@pytest.mark.parametrize("mixture", [0.0, 0.3])
def test_a_row_of_weight_two_is_two_rows(kernel, mixture):
    S, T, q, _ = samples()
    s = np.ones(len(S))
    s[:5], ridge = 2.0, 0.02
    weighted = fit_log_linear(kernel, S, T, q, s, ridge / s, mixture=mixture)
    rows = np.concatenate([np.arange(len(S)), np.arange(5)])
    copied = fit_log_linear(
        kernel, S[rows], T, q, np.ones(len(rows)), ridge, mixture=mixture
    )
    together = np.bincount(rows, weights=copied.masses)
    assert_allclose(together, weighted.masses, atol=1e-9)
    assert_allclose(copied.objectives, weighted.objectives, rtol=1e-6, atol=1e-12)
    assert_allclose(copied.log_scale, weighted.log_scale, atol=1e-7)


def test_a_row_of_weight_zero_is_no_row():
    S, T, q, b = samples()
    b[0], penalty = 0.0, np.full(len(b), 0.01)
    penalty[0] = np.inf
    fit = fit_log_linear(Gaussian(2.0), S, T, q, b, penalty)
    without = fit_log_linear(Gaussian(2.0), S[1:], T, q, b[1:], penalty[1:])
    assert fit.masses[0] == 0.0
    assert_allclose(fit.masses[1:], without.masses, atol=1e-10)


@pytest.mark.parametrize("mixture", [0.0, 0.3])
def test_new_rows_get_the_weights_of_equal_training_rows(mixture):
    S, T, q, b = samples()
    fit = fit_log_linear(2.0 * Energy(), S, T, q, b, 0.01, mixture=mixture)
    weights = log_linear_weights(S, fit.coef, fit.log_scale, mixture)
    assert_allclose(b / b.sum() * weights, fit.masses, rtol=1e-12)
    assert_allclose(log_linear_weights(S[3:4], fit.coef, fit.log_scale, mixture),
                    weights[3:4], rtol=1e-12)  # fmt: skip


def test_streamed_products_are_the_dense_ones(monkeypatch, rng):
    S, T, q, b = samples()
    v, V = rng.normal(size=len(S)), rng.normal(size=(len(S), 3))
    dense = TargetDiscrepancy(Matern(1.5), S, T, q / q.sum())
    fit = fit_log_linear(Matern(1.5), S, T, q, b, 0.01)
    monkeypatch.setattr(_target_discrepancy, "_DENSE_ROWS", 0)
    streamed = TargetDiscrepancy(Matern(1.5), S, T, q / q.sum())
    assert_allclose(streamed.product(v), dense.product(v), atol=1e-12)
    assert_allclose(streamed.product(V), dense.product(V), atol=1e-12)
    again = fit_log_linear(Matern(1.5), S, T, q, b, 0.01)
    assert_allclose(again.masses, fit.masses, atol=1e-10)
    assert again.converged


def test_bandwidth_rules_see_source_and_target():
    S, T, q, b = samples()
    resolved = Gaussian().resolve(np.vstack([S, T]))
    fit = fit_log_linear(Gaussian(), S, T, q, b, 0.01)
    same = fit_log_linear(resolved, S, T, q, b, 0.01)
    assert_allclose(fit.masses, same.masses, rtol=1e-12)


def test_collinear_and_constant_columns_share_or_have_no_coefficient():
    S, T, q, b = samples(d=2)
    plain = fit_log_linear(Linear(), S, T, q, b, 0.01)
    wide = [np.column_stack([Z, Z[:, 0], np.full(len(Z), 7.0)]) for Z in (S, T)]
    fit = fit_log_linear(Linear(), *wide, q, b, 0.01)
    assert_allclose(fit.coef[[0, 3]], [fit.coef[2], 0.0], atol=1e-8)
    assert fit.converged and plain.converged


def test_a_source_equal_to_its_target_keeps_its_weights():
    S, _, _, b = samples()
    fit = fit_log_linear(Gaussian(1.0), S, S, b, b, 0.0)
    assert_allclose(fit.masses, b / b.sum(), atol=1e-6)
    assert fit.converged


def test_a_target_out_of_reach_gives_finite_masses():
    S, T, q, b = samples(d=2)
    fit = fit_log_linear(Linear(), S, T + 50.0, q, b, 0.0)
    assert np.all(np.isfinite(fit.masses)) and np.all(np.isfinite(fit.coef))
    assert_allclose(fit.masses.sum(), 1.0)
    # No log-linear masses do better than the row nearest to the target's mean.
    nearest = min(np.sum((x - q @ (T + 50.0) / q.sum()) ** 2) for x in S)
    assert fit.objective <= nearest * (1 + 1e-3)


def test_starts_are_reported_and_the_best_is_kept():
    # Two targets at the ends: a tilt reaches one, and either is a local minimum.
    S, T, q = np.linspace(-3, 3, 41)[:, None], np.array([[-3.0], [3.0]]), [0.45, 0.55]
    kernel, b = Gaussian(0.05), np.ones(41)
    fit = fit_log_linear(kernel, S, T, np.array(q), b, 0.0, starts=12)
    f = objective(kernel, S, T, np.array(q), b, 0.0)
    grid = min(f(np.array([t])) for t in np.linspace(-20, 20, 801))
    assert fit.objectives.shape == (12,)
    assert fit.objectives.max() > 1.05 * fit.objectives.min()
    assert_allclose(fit.objective, fit.objectives.min(), rtol=1e-12)
    assert fit.objective <= grid * (1 + 1e-9)
    again = fit_log_linear(kernel, S, T, np.array(q), b, 0.0, starts=12)
    assert np.array_equal(again.objectives, fit.objectives)


def test_a_better_later_start_replaces_the_first(monkeypatch):
    ends = [np.array([-2.0]), np.array([2.0])]
    monkeypatch.setattr(_log_linear, "_starts", lambda *_: ends)
    S, T = np.linspace(-3, 3, 41)[:, None], np.array([[-3.0], [3.0]])
    q = np.array([0.45, 0.55])
    fit = fit_log_linear(Gaussian(0.05), S, T, q, np.ones(41), 0.0)
    assert fit.objectives[1] < 0.9 * fit.objectives[0]
    assert fit.objective == fit.objectives[1] and fit.coef[0] > 0


def test_the_second_start_is_the_logistic_regression():
    S, T, q, b = samples()
    q, b, none = q / q.sum(), b / b.sum(), np.zeros(3)
    start = _log_linear._starts(S, T, q, b, none, np.eye(3), 2, None)[1]
    codes = np.repeat([0, 1], [len(S), len(T)])
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(np.vstack([S, T]), codes, sample_weight=np.concatenate([b, q]) * 100)
    assert_allclose(start, model.coef_[0], atol=1e-4)
    apart = _log_linear._starts(S, T + 20, q, b, none, np.eye(3), 2, None)[1]
    assert np.max(np.abs(S @ apart)) <= 10.0 * (1 + 1e-9)


def test_unfinished_steps_are_not_called_converged(monkeypatch):
    S, T, q, b = samples()
    monkeypatch.setattr(_log_linear, "_NEWTON_STEPS", 0)
    fit = fit_log_linear(Gaussian(2.0), S, T, q, b, 0.0, max_iter=1)
    assert not fit.converged and fit.gradient_norm > 1e-6 and fit.n_iter == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Z_source": np.full((60, 3), np.nan)}, "Z_source has values"),
        ({"Z_target": np.ones((50, 2))}, "same covariates"),
        ({"Z_target": np.ones(50)}, "Z_target has shape"),
        ({"base": -np.ones(60)}, "base must be"),
        ({"base": np.ones(59)}, "base has shape"),
        ({"target_masses": np.zeros(50)}, "target_masses must be"),
        ({"ridge_penalty": -1.0}, "ridge_penalty must be"),
        ({"ridge_penalty": np.ones(3)}, "ridge_penalty has shape"),
        ({"mixture": 1.0}, "mixture=1.0"),
        ({"starts": 0}, "starts=0"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"tol": 0.0}, "tol=0.0"),
    ],
)
def test_bad_input_is_refused(change, message):
    S, T, q, b = samples()
    given = {"Z_source": S, "Z_target": T, "target_masses": q, "base": b}
    given = {**given, "ridge_penalty": 0.0, **change}
    with pytest.raises(ValueError, match=message):
        fit_log_linear(Gaussian(2.0), **given)


def test_an_infinite_weight_of_a_new_row_is_refused():
    with pytest.raises(ValueError, match="row 1 of Z_new"):
        log_linear_weights(np.array([[0.0], [1e6]]), np.ones(1), 0.0)
