"""Strength of instruments against brute force and published numbers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import sqrtm
from scipy.optimize import brentq
from scipy.stats import ncx2

from causalweights.moments._k_class import linear_equation
from causalweights.moments._moment_covariance import smoother
from causalweights.moments._weak_iv import (
    cragg_donald,
    effective_f,
    kleibergen_paap,
    patnaik_critical,
    reduced_form_covariances,
    stock_yogo_bias,
    worst_relative_bias,
)

RTOL = 1e-9
# Stock & Yogo (2005), table 5.1, one endogenous column: biases of 5, 10, 20, 30 %. By
# simulation: they miss the exact values by up to 2.5 %.
STOCK_YOGO = {
    3: (13.91, 9.08, 6.46, 5.39),
    5: (18.37, 10.83, 6.77, 5.25),
    10: (20.74, 11.49, 6.61, 4.86),
    30: (21.42, 11.32, 6.09, 4.29),
}


def equation_of(y, D, Z, W):
    X = np.column_stack([D, W])
    return linear_equation(y, X, np.column_stack([Z, W]))


def robust(equation):
    return smoother("robust", equation.copies)


def residuals(values, W):
    return values - W @ np.linalg.lstsq(W, values, rcond=None)[0]


def test_cragg_donald_is_the_smallest_eigenvalue(two_endogenous):
    d = two_endogenous
    D, Z, W = d.endogenous.to_numpy(), d.excluded.to_numpy(), d.exogenous.to_numpy()
    equation = equation_of(d.y.to_numpy(), D, Z, W)
    Dt, Zt = residuals(D, W), residuals(Z, W)
    fitted = Zt @ np.linalg.lstsq(Zt, Dt, rcond=None)[0]
    sigma = (Dt - fitted).T @ (Dt - fitted) / (len(D) - 7)
    root = np.linalg.inv(sqrtm(sigma))
    smallest = np.linalg.eigvalsh(root @ (fitted.T @ fitted) @ root)[0]
    assert cragg_donald(equation) == pytest.approx(smallest / 4, rel=RTOL)
    lm, wald = kleibergen_paap(equation)
    assert wald == cragg_donald(equation)
    assert lm == pytest.approx(300 * smallest / (smallest + 293), rel=RTOL)


def test_rank_statistics_do_not_depend_on_bases(two_endogenous):
    d = two_endogenous
    rng = np.random.default_rng(0)
    D, Z, W = d.endogenous.to_numpy(), d.excluded.to_numpy(), d.exogenous.to_numpy()
    one = equation_of(d.y.to_numpy(), D, Z, W)
    turned = Z @ rng.normal(size=(4, 4)) + W @ rng.normal(size=(3, 4))
    other = equation_of(d.y.to_numpy(), D @ rng.normal(size=(2, 2)), turned, W)
    assert_allclose(
        kleibergen_paap(one, robust(one)), kleibergen_paap(other, robust(other)),
        rtol=RTOL,
    )  # fmt: skip


def brute_effective_f(y, D, Z, W):
    """Return the statistic and W_1, W_12, W_2 by the paper's definitions, in loops."""
    n, q = Z.shape
    yt, Dt, Zt = residuals(y, W), residuals(D, W), residuals(Z, W)
    Zt = Zt @ np.linalg.inv(np.real(sqrtm(Zt.T @ Zt / n)))
    coefficients = [Zt.T @ v / n for v in (yt, Dt)]
    errors = [v - Zt @ c for v, c in zip((yt, Dt), coefficients)]
    parts = np.zeros((2, 2, q, q))
    for i in range(n):
        for a in range(2):
            for b in range(2):
                parts[a, b] += np.outer(Zt[i], Zt[i]) * errors[a][i] * errors[b][i] / n
    parts *= n / (n - q - W.shape[1])
    f = n * coefficients[1] @ coefficients[1] / np.trace(parts[1, 1])
    return f, parts[0, 0], parts[0, 1], parts[1, 1]


@pytest.mark.parametrize("q", [1, 3, 6])
def test_effective_f_by_its_definition(one_endogenous, q):
    sample = one_endogenous(q, q=q)
    equation = equation_of(*sample)
    expected, *covariances = brute_effective_f(*sample)
    found = effective_f(equation, robust(equation))
    assert found.statistic == pytest.approx(expected, rel=RTOL)
    # Bases differ by a rotation: traces and eigenvalues do not.
    for ours, theirs in zip(
        reduced_form_covariances(equation, robust(equation)), covariances, strict=True
    ):
        values = np.linalg.eigvalsh(0.5 * (ours + ours.T))
        assert_allclose(values, np.linalg.eigvalsh(theirs), rtol=1e-8, atol=1e-10)
    for tau, critical in found.critical.items():
        x = worst_relative_bias(*covariances) / tau
        assert critical == pytest.approx(patnaik_critical(covariances[2], x), rel=1e-6)
        assert critical <= found.simplified[tau] * (1 + 1e-9)


def test_effective_f_under_homoskedasticity(one_endogenous):
    equation = equation_of(*one_endogenous(5, q=4))
    found = effective_f(equation)
    assert found.statistic == pytest.approx(cragg_donald(equation), rel=RTOL)
    # Then W is a multiple of the identity, K = q, and B = |q - 2| / q.
    assert worst_relative_bias(*reduced_form_covariances(equation)) == pytest.approx(
        0.5
    )


def test_effective_f_has_no_units(one_endogenous):
    y, D, Z, W = one_endogenous(6)
    one = equation_of(y, D, Z, W)
    other = equation_of(1e5 * y, 1e-6 * D, Z @ np.diag([1e4, 1.0, 1e-4]), W)
    a, b = effective_f(one, robust(one)), effective_f(other, robust(other))
    assert b.statistic == pytest.approx(a.statistic, rel=RTOL)
    assert b.critical == pytest.approx(a.critical, rel=1e-6)


def test_published_critical_values():
    # Montiel Olea & Pflueger (2013), one effective degree of freedom, 5 % level.
    found = [patnaik_critical(np.eye(1), 1 / tau) for tau in (0.05, 0.10, 0.20, 0.30)]
    assert_allclose(found, [37.42, 23.11, 15.06, 12.05], atol=0.006)


def test_critical_values_hold_their_level():
    # The effective F is a weighted sum of noncentral squares; Patnaik's law is close.
    rng = np.random.default_rng(3)
    W2 = np.diag([3.0, 1.0, 0.5, 0.2])
    x = 4.0
    mean = np.zeros(4)
    mean[0] = np.sqrt(x * np.trace(W2))  # all along the largest: least favorable
    draws = mean + rng.normal(size=(200_000, 4)) @ np.sqrt(W2)
    f = np.sum(draws**2, axis=1) / np.trace(W2)
    assert np.mean(f > patnaik_critical(W2, x)) == pytest.approx(0.05, abs=0.004)


def test_the_worst_bias_by_search(one_endogenous):
    equation = equation_of(*one_endogenous(8, q=3))
    W1, W12, W2 = reduced_form_covariances(equation, robust(equation))
    rng = np.random.default_rng(1)
    best = 0.0
    for beta in np.tan(np.linspace(-1.57, 1.57, 400)):
        S12 = W12 - beta * W2
        S1 = W1 - beta * (W12 + W12.T) + beta**2 * W2
        c = rng.normal(size=(400, 3))
        c /= np.linalg.norm(c, axis=1, keepdims=True)
        bias = np.abs(np.trace(S12) - 2 * np.einsum("ij,jk,ik->i", c, S12, c))
        best = max(best, bias.max() / np.sqrt(np.trace(S1) * np.trace(W2)))
    found = worst_relative_bias(W1, W12, W2)
    assert best <= found < 1.0
    assert found == pytest.approx(best, rel=0.01)


def test_errors_that_are_multiples_take_the_bound():
    assert worst_relative_bias(4 * np.eye(3), 2 * np.eye(3), np.eye(3)) == 1.0


@pytest.mark.parametrize("q", STOCK_YOGO)
def test_stock_and_yogo_up_to_their_simulation_error(q):
    found = [stock_yogo_bias(q, bias) for bias in (0.05, 0.10, 0.20, 0.30)]
    assert_allclose(found, STOCK_YOGO[q], rtol=0.025)


def test_the_relative_bias_by_simulation():
    # At the concentration where the bias is 10 %, and errors that move together.
    q, bias = 5, 0.10
    critical = stock_yogo_bias(q, bias)
    mu = brentq(lambda m: ncx2.ppf(0.95, q, m) / q - critical, 0.1, 500)
    rng = np.random.default_rng(2)
    z = rng.normal(size=(400_000, q))
    first = z + np.sqrt(mu / q)
    relative = np.sum(first * z, axis=1) / np.sum(first**2, axis=1)
    assert relative.mean() == pytest.approx(bias, abs=4 * relative.std() / 632)
