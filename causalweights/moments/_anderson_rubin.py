r"""Confidence sets that hold however weak the instruments are.

Anderson and Rubin (1949) test a value of the endogenous columns' coefficients by
regressing :math:`y - D\beta` on the instruments; Stock and Wright (2000) by the robust
score of that regression, their S statistic. The values that are not refused form the
set. It may be unbounded, where instruments are weak, or empty, where no value fits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eig
from scipy.optimize import brentq
from scipy.stats import chi2
from scipy.stats import f as f_law

from causalweights._typing import FloatArray
from causalweights.moments._k_class import LinearEquation, k_class, residuals_on
from causalweights.moments._moment_result import TestResult
from causalweights.moments._sandwich import inverse_covariance
from causalweights.moments._weak_iv import Smoother

# Eigenvalues are candidates for ends of the set where their imaginary parts are below
# this share of their size: a pair that rounding made of a double one has 1e-8.
_REAL = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceSet:
    """A confidence set for one number: disjoint intervals, in order.

    Attributes
    ----------
    intervals : ndarray of shape (k, 2)
        None for the empty set; ends may be infinite.
    level : float
    name : str
        The number's.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments import ConfidenceSet
    >>> found = ConfidenceSet(np.array([[-np.inf, -2.0], [1.0, np.inf]]), 0.95, "educ")
    >>> print(found)
    educ: (-inf, -2] u [1, inf), two rays, 95 %
    >>> 0.0 in found, 3.0 in found
    (False, True)
    """

    intervals: FloatArray
    level: float
    name: str

    @property
    def kind(self) -> str:
        """What it is.

        "empty", "interval", "ray", "two rays", "line" (every number), or "union" of
        others.
        """
        count = len(self.intervals)
        if count == 0:
            return "empty"
        infinite = int(np.sum(np.isinf(self.intervals)))
        kinds = {1: ("interval", "ray", "line"), 2: ("union", "union", "two rays")}
        return kinds[count][infinite] if count in kinds else "union"

    def __contains__(self, value: float) -> bool:
        low, high = self.intervals.T
        return bool(np.any((low <= value) & (value <= high)))

    def __str__(self) -> str:
        parts = [
            f"{'(' if np.isinf(low) else '['}{low:.4g}, {high:.4g}"
            f"{')' if np.isinf(high) else ']'}"
            for low, high in self.intervals
        ]
        shown = " u ".join(parts) or "{}"
        return f"{self.name}: {shown}, {self.kind}, {100 * self.level:g} %"


def weak_iv_test(
    equation: LinearEquation, values: FloatArray, smooth: Smoother | None = None
) -> TestResult:
    r"""Test values of all endogenous coefficients together.

    Parameters
    ----------
    equation : LinearEquation
    values : ndarray of shape (m,)
    smooth : callable or None, default=None
        None is Anderson and Rubin's F(q, n - c), exact under normal homoskedastic
        errors. Otherwise the S statistic :math:`g'\hat\Omega^{-1}g`, chi2(q), with the
        scores' sum g and their covariance at the values.

    References
    ----------
    .. [1] Anderson & Rubin (1949), Estimation of the parameters of a single equation in
       a complete system of stochastic equations, Annals of Mathematical Statistics 20.
    .. [2] Stock & Wright (2000), GMM with weak identification, Econometrica 68,
       theorem 2.
    """
    y, D = equation.partialled()
    error = y - D @ values
    g = equation.excluded.T @ error
    q, df = equation.n_excluded, equation.df_reduced
    null = "the endogenous columns have these coefficients"
    if smooth is None:
        rest = np.sum(residuals_on(equation.excluded, error) ** 2)
        statistic = float(g @ g / q / (rest / df))
        return TestResult.of("Anderson-Rubin", statistic, q, null, df)
    scores = equation.scores(equation.excluded, error)
    statistic = float(g @ inverse_covariance(scores.T @ smooth(scores)) @ g)
    return TestResult.of("Stock-Wright S", statistic, q, null)


def anderson_rubin_set(equation: LinearEquation, level: float) -> FloatArray:
    r"""Return the values of one coefficient that Anderson and Rubin's F test keeps.

    They solve a quadratic: :math:`(1, -\beta) A (1, -\beta)' \le 0` with :math:`A =
    Y'PY - c\, Y'MY`, Y being y and the endogenous column given the exogenous ones.

    Returns
    -------
    ndarray of shape (k, 2)
        Intervals; k = 0, 1 or 2.
    """
    q, df = equation.n_excluded, equation.df_reduced
    Y = np.column_stack(equation.partialled())
    inside, outside = equation.excluded.T @ Y, residuals_on(equation.excluded, Y)
    share = q * f_law.ppf(level, q, df) / df
    A = inside.T @ inside - share * outside.T @ outside
    return sublevel(A[1, 1], A[0, 1], A[0, 0])


def sublevel(a: float, b: float, c: float) -> FloatArray:
    """Return where ``a t^2 - 2 b t + c <= 0``, intervals (k, 2).

    Examples
    --------
    >>> from causalweights.moments._anderson_rubin import sublevel
    >>> sublevel(1.0, 0.0, -4.0).tolist(), sublevel(-1.0, 0.0, 4.0).tolist()
    ([[-2.0, 2.0]], [[-inf, -2.0], [2.0, inf]])
    """
    line = np.array([[-np.inf, np.inf]])
    discriminant = b * b - a * c
    if discriminant < 0 or (a == 0 and b == 0):
        return line if min(a, c) < 0 or a == c == 0 else line[:0]
    # The sum of two numbers of one sign loses no digits.
    half = b + np.copysign(np.sqrt(discriminant), b)
    if a == 0:
        end = c / half
        return np.array([[end, np.inf]] if b > 0 else [[-np.inf, end]])
    low, high = sorted([half / a, c / half if half else 0.0])
    if a > 0:
        return np.array([[low, high]])
    return np.array([[-np.inf, low], [high, np.inf]])


def s_statistic_set(
    equation: LinearEquation, level: float, smooth: Smoother
) -> FloatArray:
    r"""Return the values of one coefficient that the S test keeps.

    Returns
    -------
    ndarray of shape (k, 2)
        Intervals.

    Notes
    -----
    Scores are linear in beta, so that their sum g is linear and its covariance a
    quadratic, and S = c exactly where :math:`\det(c\,\hat\Omega(\beta) - g g') = 0`: a
    quadratic eigenvalue problem of size q, whose 2q eigenvalues hold every end of the
    set. Between neighbors S - c keeps its sign; the ends are polished by Brent.
    O(n q^2 + q^3) time.
    """
    y, D = equation.partialled()
    d = D[:, 0]
    center = float(k_class(equation).params[equation.endogenous][0])
    start = y - center * d
    unit = float(np.linalg.norm(start) / np.linalg.norm(d)) or 1.0
    errors, basis = (start, -unit * d), equation.excluded
    scores = [equation.scores(basis, e) for e in errors]
    g = [basis.T @ e for e in errors]
    cross = scores[0].T @ smooth(scores[1])
    omega = (scores[0].T @ smooth(scores[0]), cross + cross.T,
             scores[1].T @ smooth(scores[1]))  # fmt: skip
    critical = float(chi2.ppf(level, len(g[0])))

    def excess(t: float) -> float:
        # Divided by 1 + t^2, so that far values stay numbers.
        size = np.hypot(1.0, t)
        one, far = 1.0 / size, t / size
        total = one * g[0] + far * g[1]
        spread = one**2 * omega[0] + one * far * omega[1] + far**2 * omega[2]
        return float(total @ inverse_covariance(spread) @ total) - critical

    mixed = np.outer(g[0], g[1])
    candidates = real_eigenvalues(
        critical * omega[0] - np.outer(g[0], g[0]),
        critical * omega[1] - mixed - mixed.T,
        critical * omega[2] - np.outer(g[1], g[1]),
    )
    return center + unit * kept_intervals(excess, candidates)


def real_eigenvalues(P0: FloatArray, P1: FloatArray, P2: FloatArray) -> FloatArray:
    """Return the real t at which ``P0 + t P1 + t^2 P2`` is singular, rising."""
    q = len(P0)
    zero, eye = np.zeros((q, q)), np.eye(q)
    size = np.abs([P0, P1, P2]).max()
    left = np.block([[zero, eye], [-P0 / size, -P1 / size]])
    right = np.block([[eye, zero], [zero, P2 / size]])
    alpha, beta = eig(left, right, right=False, homogeneous_eigvals=True)
    finite = np.abs(beta) > np.finfo(np.float64).eps * np.abs(alpha)
    values = alpha[finite] / beta[finite]
    real = np.abs(values.imag) <= _REAL * (1.0 + np.abs(values))
    return np.unique(values[real].real)


def kept_intervals(
    excess: Callable[[float], float], candidates: FloatArray
) -> FloatArray:
    """Return where a function is at most zero, given all places it may change sign.

    Parameters
    ----------
    excess : callable
    candidates : ndarray of shape (k,)
        Rising.

    Returns
    -------
    ndarray of shape (l, 2)
    """
    if not len(candidates):
        inner = np.zeros(1)
    else:
        low, high = candidates[0], candidates[-1]
        between = 0.5 * (candidates[1:] + candidates[:-1])
        inner = np.concatenate([
            [low - 1.0 - abs(low)], between, [high + 1.0 + abs(high)]
        ])  # fmt: skip
    kept = np.array([excess(t) <= 0 for t in inner])
    ends = [
        brentq(excess, inner[i], inner[i + 1], xtol=1e-12, rtol=1e-14)
        for i in np.flatnonzero(kept[1:] != kept[:-1])
    ]
    if kept[0]:
        ends.insert(0, -np.inf)
    if kept[-1]:
        ends.append(np.inf)
    return np.array(ends, dtype=np.float64).reshape(-1, 2)
