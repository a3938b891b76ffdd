"""Specification tests of a linear equation with instruments.

Overidentifying restrictions (Sargan, Basmann, Anderson-Rubin, Wooldridge), exogeneity
of the endogenous columns (Durbin, Wu-Hausman, Wooldridge) and differences of J
statistics. Pure functions of a `LinearEquation`; ``smooth`` as in `kleibergen_paap`.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import null_space

from causalweights._typing import FloatArray
from causalweights.moments._k_class import (
    LinearEquation,
    k_class,
    liml_kappa,
    linear_equation,
    residuals_on,
)
from causalweights.moments._moment_result import TestResult
from causalweights.moments._sandwich import inverse_covariance
from causalweights.moments._weak_iv import Smoother

VALID = "the overidentifying restrictions hold"
_EXOGENOUS = "the endogenous columns are exogenous"


def n_overidentifying(equation: LinearEquation) -> int:
    """Return q - m; refuse tests where nothing is left to test.

    Raises
    ------
    ValueError
        Where there are as many excluded instruments as endogenous columns.
    """
    df = equation.n_excluded - equation.n_endogenous
    if df == 0:
        raise ValueError(
            "the model is exactly identified: its residuals satisfy every moment, and "
            "there is no overidentifying restriction to test."
        )
    return df


def sargan(equation: LinearEquation, residuals: FloatArray) -> TestResult:
    """Test overidentifying restrictions: n R-squared of the residuals, chi2(q - m).

    For homoskedastic errors.

    References
    ----------
    .. [1] Sargan (1958), The estimation of economic relationships using instrumental
       variables, Econometrica 26.
    """
    df, inside = n_overidentifying(equation), equation.basis.T @ residuals
    square = residuals @ residuals
    if square == 0:
        raise ValueError("the equation fits without residuals: nothing can be tested.")
    statistic = float(equation.n_samples * (inside @ inside) / square)
    return TestResult.of("Sargan", statistic, df, VALID)


def basmann(equation: LinearEquation, residuals: FloatArray) -> TestResult:
    """Test the same by the variance of what the instruments leave, chi2(q - m).

    Sargan's s as ``s (n - c) / (n - s)``, c being the number of all instruments.

    References
    ----------
    .. [1] Basmann (1960), On finite sample distributions of generalized classical
       linear identifiability test statistics, JASA 55.
    """
    found, n = sargan(equation, residuals), equation.n_samples
    statistic = found.statistic * equation.df_reduced / (n - found.statistic)
    df = equation.n_excluded - equation.n_endogenous
    return TestResult.of("Basmann", statistic, df, VALID)


def anderson_rubin_overid(equation: LinearEquation) -> TestResult:
    """Test the same by the likelihood ratio of LIML, n log k, chi2(q - m).

    References
    ----------
    .. [1] Anderson & Rubin (1950), The asymptotic properties of estimates of the
       parameters of a single equation, Annals of Mathematical Statistics 21.
    """
    df = n_overidentifying(equation)
    statistic = float(equation.n_samples * np.log(liml_kappa(equation)))
    return TestResult.of("Anderson-Rubin overidentification", statistic, df, VALID)


def score_overid(
    equation: LinearEquation, residuals: FloatArray, smooth: Smoother
) -> TestResult:
    """Test the same robustly: Wooldridge's score test, and Hansen's J, chi2(q - m).

    The residuals' moments with what the fitted endogenous columns leave of the excluded
    instruments. It is the J statistic of two-step GMM whose weight comes from the same
    residuals, since that minimum projects the moments alike; so Wooldridge's regression
    [1]_ and Hansen's statistic [2]_ are one number, as ivreg2 and ivregress print.

    References
    ----------
    .. [1] Wooldridge (1995), Score diagnostics for linear models estimated by two stage
       least squares, in Advances in Econometrics and Quantitative Economics.
    .. [2] Hansen (1982), Large sample properties of generalized method of moments
       estimators, Econometrica 50.
    """
    df = n_overidentifying(equation)
    D = equation.partialled()[1]
    slopes = equation.excluded.T @ D / np.linalg.norm(D, axis=0)
    columns = equation.excluded @ null_space(slopes.T)
    statistic = quadratic_form(equation, columns, residuals, smooth)
    return TestResult.of("Hansen's J", statistic, df, VALID)


def quadratic_form(
    equation: LinearEquation, columns: FloatArray, errors: FloatArray, smooth: Smoother
) -> float:
    """Return the sum of the scores' square, weighted by their covariance."""
    scores, total = equation.scores(columns, errors), columns.T @ errors
    return float(total @ inverse_covariance(scores.T @ smooth(scores)) @ total)


def as_exogenous(equation: LinearEquation, tested: np.ndarray) -> LinearEquation:
    """Return the equation with some endogenous columns among the instruments.

    Parameters
    ----------
    equation : LinearEquation
    tested : ndarray of bool, shape (p,)
    """
    unit = equation.X[:, tested] / np.linalg.norm(equation.X[:, tested], axis=0)
    Z = np.column_stack([equation.basis, unit])
    return linear_equation(equation.y, equation.X, Z, equation.copies)


def exogeneity_gap(equation: LinearEquation, tested: np.ndarray) -> tuple[float, float]:
    """Return Durbin's numerator, and the sum of squares if columns are exogenous.

    The difference between the squares of both fits' residuals, each projected on its
    own instruments; both fits are two-stage least squares.
    """
    restricted = as_exogenous(equation, tested)
    e0, e1 = k_class(restricted).residuals, k_class(equation).residuals
    inside = np.sum((restricted.basis.T @ e0) ** 2)
    return float(inside - np.sum((equation.basis.T @ e1) ** 2)), float(e0 @ e0)


def durbin(equation: LinearEquation, tested: np.ndarray) -> TestResult:
    """Test the exogeneity of columns, chi2(their number), for homoskedastic errors.

    Parameters
    ----------
    equation : LinearEquation
    tested : ndarray of bool, shape (p,)
        Endogenous columns.

    References
    ----------
    .. [1] Durbin (1954), Errors in variables, Review of the International Statistical
       Institute 22.
    """
    gap, square = exogeneity_gap(equation, tested)
    statistic = gap / (square / equation.n_samples)
    return TestResult.of("Durbin", statistic, int(tested.sum()), _EXOGENOUS)


def wu_hausman(equation: LinearEquation, tested: np.ndarray) -> TestResult:
    """Test the same by an F statistic: with r columns, F(r, n - p - r).

    The F test of the first stages' residuals in the regression, where all endogenous
    columns are tested.

    References
    ----------
    .. [1] Wu (1973), Alternative tests of independence between stochastic regressors
       and disturbances, Econometrica 41; Hausman (1978), Econometrica 46.
    """
    gap, square = exogeneity_gap(equation, tested)
    r = int(tested.sum())
    df = equation.n_samples - equation.X.shape[1] - r
    statistic = gap / r / ((square - gap) / df)
    return TestResult.of("Wu-Hausman", statistic, r, _EXOGENOUS, df)


def wooldridge_score(equation: LinearEquation, smooth: Smoother) -> TestResult:
    """Test the exogeneity of all endogenous columns robustly, by the score, chi2(m).

    The residuals of least squares against what X leaves of the first stages' residuals.

    References
    ----------
    .. [1] Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data,
       section 6.3.1.
    """
    X = np.linalg.qr(equation.X / np.linalg.norm(equation.X, axis=0))[0]
    columns = residuals_on(X, _first_stage_residuals(equation))
    errors = residuals_on(X, equation.y)
    statistic = quadratic_form(equation, columns, errors, smooth)
    return TestResult.of(
        "Wooldridge score", statistic, equation.n_endogenous, _EXOGENOUS
    )


def wooldridge_regression(
    equation: LinearEquation, smooth: Smoother | None
) -> TestResult:
    """Test the same by the coefficients of the first stages' residuals, chi2(m).

    A regression of y on X and those residuals; ``smooth=None`` for homoskedastic
    errors.

    References
    ----------
    .. [1] Wooldridge (2010), section 6.3.1; Hausman (1978), Econometrica 46.
    """
    X = np.linalg.qr(equation.X / np.linalg.norm(equation.X, axis=0))[0]
    columns = np.linalg.qr(residuals_on(X, _first_stage_residuals(equation)))[0]
    errors = residuals_on(columns, residuals_on(X, equation.y))
    total = columns.T @ equation.y
    if smooth is None:
        statistic = float(total @ total / (errors @ errors) * equation.n_samples)
    else:
        scores = equation.scores(columns, errors)
        weighted = inverse_covariance(scores.T @ smooth(scores)) @ total
        statistic = float(total @ weighted)
    return TestResult.of(
        "Wooldridge regression", statistic, equation.n_endogenous, _EXOGENOUS
    )


def _first_stage_residuals(equation: LinearEquation) -> FloatArray:
    D = equation.X[:, equation.endogenous]
    return residuals_on(equation.basis, D / np.linalg.norm(D, axis=0))


def c_statistic(
    all_moments: LinearEquation, fewer: FloatArray, smooth: Smoother | None, null: str
) -> TestResult:
    """Test moments that are in doubt: J with them less J without, chi2 of their number.

    Parameters
    ----------
    all_moments : LinearEquation
        With the instruments in doubt.
    fewer : ndarray of shape (n, c)
        The instruments beyond doubt; they identify the coefficients alone.
    smooth : callable or None
    null : str

    Notes
    -----
    Both J statistics use one covariance, of two-stage least squares with all moments,
    so that the difference is not negative.

    References
    ----------
    .. [1] Hayashi (2000), Econometrics, section 3.6; Eichenbaum, Hansen & Singleton
       (1988), Quarterly Journal of Economics 103, appendix C.
    """
    trusted = np.linalg.qr(fewer / np.linalg.norm(fewer, axis=0))[0]
    doubtful = residuals_on(trusted, all_moments.basis)
    U = np.linalg.svd(doubtful, full_matrices=False)[0]
    r = all_moments.basis.shape[1] - trusted.shape[1]
    Z = np.column_stack([trusted, U[:, :r]])
    fit = k_class(all_moments)
    scores = all_moments.scores(Z, fit.residuals)
    if smooth is None:
        square = fit.residuals @ fit.residuals / all_moments.n_samples
        omega = square * np.eye(Z.shape[1])
    else:
        omega = scores.T @ smooth(scores)
    few = trusted.shape[1]
    statistic = _least(Z, all_moments, omega) - _least(
        trusted, all_moments, omega[:few, :few]
    )
    return TestResult.of("C statistic", statistic, r, null)


def _least(Z: FloatArray, equation: LinearEquation, omega: FloatArray) -> float:
    """Return the least of ``g' Omega^{-1} g`` over coefficients b, g = Z'(y - X b)."""
    root = np.linalg.cholesky(inverse_covariance(omega))
    X = root.T @ (Z.T @ (equation.X / np.linalg.norm(equation.X, axis=0)))
    left = residuals_on(np.linalg.qr(X)[0], root.T @ (Z.T @ equation.y))
    return float(left @ left)
