r"""Strength of instruments: Cragg-Donald, Kleibergen-Paap and the effective F.

Pure functions of a `LinearEquation`. ``smooth`` is the product with T of
`moment_covariance`, so that :math:`S'TS` is the covariance of the sum of the scores S;
None stands for errors that are homoskedastic given the instruments. ``n_groups`` counts
its clusters, zero without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import hyp1f1
from scipy.stats import ncx2

from causalweights._typing import FloatArray
from causalweights.moments._k_class import LinearEquation, residuals_on
from causalweights.moments._sandwich import inverse_covariance

Smoother: TypeAlias = Callable[[FloatArray], FloatArray]

# Worst biases, relative to the worst possible, for which critical values are given.
TAUS = (0.05, 0.10, 0.20, 0.30)
# Size of the tests of weak instruments.
_SIZE = 0.05
_N_DIRECTIONS = 181


@dataclass(frozen=True, slots=True, eq=False)
class EffectiveF:
    """Effective F statistic of one endogenous column.

    Attributes
    ----------
    statistic : float
    critical : dict of float to float
        By tau: instruments are weak, at the 5 % level, where the statistic is below.
        Of two-stage least squares, for the errors' covariance as estimated.
    simplified : dict of float to float
        The same for the least favorable covariance of the errors: at least as large.
    """

    statistic: float
    critical: dict[float, float]
    simplified: dict[float, float]


def small_sample(equation: LinearEquation, n_groups: int = 0) -> float:
    """Return what F statistics multiply Wald statistics by, beside one over q.

    The degrees of freedom of the first stage over n, over n - 1 beside the factor of
    clusters, as Stata does.
    """
    return equation.df_reduced / (equation.n_samples - (n_groups > 0))


def canonical(
    equation: LinearEquation,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the canonical correlations of the endogenous columns and instruments.

    Returns
    -------
    whitened : ndarray of shape (n, m)
        Orthonormal basis of the endogenous columns, given the exogenous ones.
    left : ndarray of shape (q, q - m + 1)
        Directions of the excluded basis: all but those of the m - 1 largest.
    right : ndarray of shape (m,)
        Direction of the smallest.
    correlations : ndarray of shape (m,)
        Falling.
    """
    D = equation.partialled()[1]
    whitened = np.linalg.qr(D / np.linalg.norm(D, axis=0))[0]
    U, values, Vt = np.linalg.svd(equation.excluded.T @ whitened)
    m = len(values)
    return whitened, U[:, m - 1 :], Vt[m - 1], values


def cragg_donald(equation: LinearEquation) -> float:
    """Return the Cragg-Donald F statistic: the smallest eigenvalue of a matrix of F.

    The partial F of one endogenous column, for errors that are homoskedastic.

    References
    ----------
    .. [1] Cragg & Donald (1993), Testing identifiability and specification in
       instrumental variable models, Econometric Theory 9.
    .. [2] Stock & Yogo (2005), Testing for weak instruments in linear IV regression.
    """
    r2 = canonical(equation)[3][-1] ** 2
    return float(equation.df_reduced / equation.n_excluded * r2 / (1.0 - r2))


def kleibergen_paap(
    equation: LinearEquation, smooth: Smoother | None = None, *, n_groups: int = 0
) -> tuple[float, float]:
    """Return the rk statistics of the first stage's rank: LM, chi2(q-m+1), and Wald F.

    The hypothesis is that some combination of the endogenous columns is not related
    to the instruments.

    Notes
    -----
    The smallest canonical correlation's part of the coefficients, weighted by the
    covariance of its scores: of first-stage residuals for the Wald form, of the
    endogenous columns themselves for the LM form. Bases are orthonormal, so no
    Kronecker product arises: O(n q^2) time.

    References
    ----------
    .. [1] Kleibergen & Paap (2006), Generalized reduced rank tests using the singular
       value decomposition, J. Econometrics 133.
    """
    whitened, left, right, values = canonical(equation)
    n, q = equation.n_samples, equation.n_excluded
    if smooth is None:
        return float(n * values[-1] ** 2), cragg_donald(equation)
    instruments = equation.excluded @ left
    column = whitened @ right
    part = instruments.T @ column
    statistics = []
    for errors in (column, residuals_on(equation.excluded, column)):
        scores = equation.scores(instruments, errors)
        statistics.append(part @ inverse_covariance(scores.T @ smooth(scores)) @ part)
    lm, wald = statistics
    return float(lm), float(wald * small_sample(equation, n_groups) / q)


def reduced_form_covariances(
    equation: LinearEquation, smooth: Smoother | None = None, *, n_groups: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return W_1, W_12 and W_2 of one endogenous column, (q, q) each.

    Covariances of the reduced-form coefficients of y and of the endogenous column on
    the orthonormal excluded instruments.
    """
    y, D = equation.partialled()
    errors = residuals_on(equation.excluded, np.column_stack([y, D]))
    q = equation.n_excluded
    if smooth is None:
        sigma = errors.T @ errors / equation.df_reduced
        eye = np.eye(q)
        return sigma[0, 0] * eye, sigma[0, 1] * eye, sigma[1, 1] * eye
    scores = np.hstack([equation.scores(equation.excluded, e) for e in errors.T])
    W = scores.T @ smooth(scores) / small_sample(equation, n_groups)
    return W[:q, :q], W[:q, q:], W[q:, q:]


def effective_f(
    equation: LinearEquation, smooth: Smoother | None = None, *, n_groups: int = 0
) -> EffectiveF:
    r"""Return the effective F statistic and its critical values.

    .. math:: F = \hat\gamma'\hat\gamma / tr(\hat W_2)

    with the first stage's coefficients on orthonormal instruments and their covariance.
    The partial F under homoskedasticity; the robust F of one instrument.

    Notes
    -----
    Instruments are weak where the Nagar bias of two-stage least squares may be more
    than tau times its worst case. Then, approximately (Patnaik), F times K is
    noncentral :math:`\chi^2_K` with noncentrality K x, where x = B / tau and

    .. math:: K = \frac{tr(W_2)^2 (1 + 2x)}{tr(W_2 W_2) + 2x\, tr(W_2) \lambda_{max}}.

    B is the largest relative bias over the structural parameter and the direction of
    the first stage, at most one; one gives the simplified values. The small-sample
    factor is that of the other F statistics, so that they agree for one instrument.

    References
    ----------
    .. [1] Montiel Olea & Pflueger (2013), A robust test for weak instruments, J.
       Business & Economic Statistics 31, theorem 1 and section 3.
    """
    W1, W12, W2 = reduced_form_covariances(equation, smooth, n_groups=n_groups)
    bias = worst_relative_bias(W1, W12, W2)
    return EffectiveF(
        effective_statistic(equation, W2),
        {tau: patnaik_critical(W2, bias / tau) for tau in TAUS},
        {tau: patnaik_critical(W2, 1.0 / tau) for tau in TAUS},
    )


def effective_statistic(equation: LinearEquation, W2: FloatArray) -> float:
    """Return the effective F statistic, W2 as of `reduced_form_covariances`."""
    gamma = equation.excluded.T @ equation.partialled()[1][:, 0]
    return float(gamma @ gamma / np.trace(W2))


def patnaik_critical(W2: FloatArray, x: float) -> float:
    """Return the critical value of the effective F for a noncentrality x per degree."""
    trace, largest = np.trace(W2), np.linalg.eigvalsh(0.5 * (W2 + W2.T))[-1]
    df = trace**2 * (1 + 2 * x) / (np.sum(W2 * W2.T) + 2 * x * trace * largest)
    return float(ncx2.ppf(1 - _SIZE, df, df * x) / df)


def worst_relative_bias(W1: FloatArray, W12: FloatArray, W2: FloatArray) -> float:
    r"""Return B, the largest Nagar bias of 2SLS relative to the benchmark.

    .. math:: B = \max_{\beta, |c| = 1} \frac{|tr(S_{12}) - 2 c'S_{12}c|}
              {\sqrt{tr(S_1)\, tr(W_2)}}

    with :math:`S_{12} = W_{12} - \beta W_2`, :math:`S_1 = W_1 - \beta(W_{12} + W_{12}')
    + \beta^2 W_2`. The parameter is an angle here, so that the maximum is over a
    compact interval; between neighbors of the best of 181 angles it is found by Brent.
    """
    trace = np.trace(W2)
    middle = np.trace(W12) / trace
    spread = np.sqrt(max(np.trace(W1) / trace - middle**2, 0.0))
    if spread**2 <= 1e-12 * np.trace(W1) / trace:
        return 1.0  # errors that are multiples of each other: the bound of any case
    cosine = 0.5 * (W12 + W12.T) - middle * W2
    sine = 0.5 * spread * (W2 + W2.T)

    def bias(angle: float) -> float:
        M = np.cos(angle) * cosine - np.sin(angle) * sine
        ends = np.linalg.eigvalsh(M)[[0, -1]]
        return float(np.max(np.abs(np.trace(M) - 2 * ends)) / (spread * trace))

    angles, step = np.linspace(-np.pi / 2, np.pi / 2, _N_DIRECTIONS, retstep=True)
    values = [bias(angle) for angle in angles]
    best = angles[int(np.argmax(values))]
    found = minimize_scalar(lambda a: -bias(a), bounds=(best - step, best + step))
    return min(max(-found.fun, *values), 1.0)


def stock_yogo_bias(n_excluded: int, bias: float) -> float:
    """Return the critical value of F for the bias of 2SLS relative to least squares.

    For one endogenous column and homoskedastic errors, tests at the 5 % level.

    Parameters
    ----------
    n_excluded : int
        At least 2: with fewer instruments the estimate has no mean.
    bias : float
        The relative bias that is tolerated, between 0 and 1.

    Notes
    -----
    The relative bias is 1F1(1, q/2, -mu/2) at concentration mu, solved for mu; the
    critical value is a quantile of noncentral chi2(q, mu) over q. The published table
    was simulated and differs by up to 0.2.

    References
    ----------
    .. [1] Skeels & Windmeijer (2018), On the Stock-Yogo tables, Econometrics 6(4).

    Examples
    --------
    >>> from causalweights.moments._weak_iv import stock_yogo_bias
    >>> round(stock_yogo_bias(10, 0.10), 2)  # simulated: 11.49
    11.46
    """
    half = n_excluded / 2

    def excess(mu: float) -> float:
        return float(hyp1f1(1.0, half, -mu / 2)) - bias

    mu = brentq(excess, 0.0, 2 * n_excluded / bias)
    return float(ncx2.ppf(1 - _SIZE, n_excluded, mu) / n_excluded)
