"""k-class estimates against their textbook formulas."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import eigh
from scipy.optimize import minimize

from causalweights.moments._k_class import k_class, liml_kappa, linear_equation

# Ours and the formula's rounding, the latter magnified by X'X.
RTOL = 1e-9


def arrays(design):
    root = 1.0 if design.weight is None else np.sqrt(design.weight)[:, None]
    y, X, Z = design.y.to_numpy(), design.X.to_numpy(), design.Z.to_numpy()
    return (root * y[:, None])[:, 0], root * X, root * Z


def leaves(Z):
    """Return M_Z, which leaves residuals on Z."""
    return np.eye(len(Z)) - Z @ np.linalg.pinv(Z)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 1.0, 1.01])
def test_the_textbook_formula(two_endogenous, kappa):
    y, X, Z = arrays(two_endogenous)
    A = X.T @ (np.eye(len(y)) - kappa * leaves(Z))
    fit = k_class(linear_equation(y, X, Z), kappa)
    assert_allclose(fit.params, np.linalg.solve(A @ X, A @ y), rtol=RTOL)
    assert_allclose(fit.bread, np.linalg.inv(A @ X), rtol=RTOL, atol=1e-12)
    assert_allclose(fit.regressors, A.T, rtol=RTOL, atol=1e-9)
    assert_allclose(fit.projected, X - leaves(Z) @ X, rtol=RTOL, atol=1e-9)
    assert_allclose(fit.regressors.T @ fit.residuals, 0, atol=1e-9)


def test_columns_are_sorted_by_what_the_instruments_span(two_endogenous):
    y, X, Z = arrays(two_endogenous)
    # A sum of instruments is exogenous, though no instrument equals it.
    X = np.column_stack([X, Z[:, :2].sum(axis=1)])
    equation = linear_equation(y, X, Z)
    assert equation.endogenous.tolist() == [True, True, False, False, False, False]
    assert (equation.n_endogenous, equation.n_excluded) == (2, 3)
    assert equation.df_reduced == len(y) - 7
    assert_allclose(equation.basis.T @ equation.basis, np.eye(7), atol=1e-13)
    assert_allclose(equation.basis @ (equation.basis.T @ Z), Z, atol=1e-11)
    for part in equation.partialled():
        assert_allclose(equation.included.T @ part, 0, atol=1e-11)


def test_units_do_not_matter(card):
    y, X, Z = arrays(card)
    units = 10.0 ** np.linspace(-9, 9, X.shape[1])
    plain, turned = linear_equation(y, X, Z), linear_equation(y, X * units, 1e7 * Z)
    assert turned.endogenous.tolist() == plain.endogenous.tolist()
    assert liml_kappa(turned) == pytest.approx(liml_kappa(plain), abs=1e-13)
    one, other = k_class(plain), k_class(turned)
    assert_allclose(other.params * units, one.params, rtol=RTOL)
    assert_allclose(other.bread * np.outer(units, units), one.bread, rtol=RTOL)


def test_near_collinear_columns_lose_few_digits(two_endogenous):
    # X'P X has condition 1e14 here, so that normal equations would lose every digit.
    y, X, Z = arrays(two_endogenous)
    near = X.copy()
    near[:, 1] = X[:, 0] + 1e-7 * X[:, 1]
    expected = k_class(linear_equation(y, X, Z)).params
    turn = np.eye(X.shape[1])
    turn[0, 1], turn[1, 1] = 1.0, 1e-7
    found = k_class(linear_equation(y, near, Z)).params
    assert_allclose(turn @ found, expected, rtol=1e-6)


def test_liml_minimises_the_ratio_of_variances(two_endogenous):
    y, X, Z = arrays(two_endogenous)
    equation = linear_equation(y, X, Z)
    W, D = X[:, 2:], X[:, :2]
    left, right = leaves(W), leaves(Z)

    def ratio(beta):
        e = y - D @ beta
        return (e @ left @ e) / (e @ right @ e)

    kappa = liml_kappa(equation)
    best = minimize(ratio, k_class(equation).params[:2], tol=1e-14)
    assert kappa == pytest.approx(best.fun, rel=1e-12)
    assert_allclose(k_class(equation, kappa).params[:2], best.x, rtol=1e-4)
    Y = np.column_stack([y, D])
    values = eigh(Y.T @ left @ Y, Y.T @ right @ Y, eigvals_only=True)
    assert kappa == pytest.approx(values[0], rel=1e-12)


def test_liml_of_as_many_instruments_as_columns_is_one(two_endogenous):
    y, X, Z = arrays(two_endogenous)
    assert liml_kappa(linear_equation(y, X, Z[:, 2:])) == 1.0


def test_a_k_without_minimum_is_refused(two_endogenous):
    y, X, Z = arrays(two_endogenous)
    equation = linear_equation(y, X, Z)
    D = X[:, :2]
    W = leaves(X[:, 2:])
    limit = eigh(D.T @ W @ D, D.T @ leaves(Z) @ D, eigvals_only=True)[0]
    k_class(equation, 1 + 0.999 * (limit - 1))
    with pytest.raises(ValueError, match=f"no minimum from k={limit:g} on"):
        k_class(equation, 1 + 1.001 * (limit - 1))


def test_liml_of_an_exact_fit_is_refused(two_endogenous):
    _, X, Z = arrays(two_endogenous)
    with pytest.raises(ValueError, match="LIML is not defined"):
        liml_kappa(linear_equation(X @ np.ones(5), X, Z))
    with pytest.raises(ValueError, match="LIML is not defined"):
        liml_kappa(linear_equation(Z[:8, 0], X[:8], Z[:8]))
