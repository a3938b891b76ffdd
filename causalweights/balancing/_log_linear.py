"""Log-linear balancing weights of least squared discrepancy (Kong et al., 2023).

The weight of a source row is the exponential of a linear function of its covariates, as
the odds of a logistic propensity score are; its coefficients minimise the discrepancy
to the target and not the logistic loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from causalweights._typing import FloatArray
from causalweights.balancing._features import whitening
from causalweights.balancing._target_discrepancy import (
    ROUNDING,
    TargetDiscrepancy,
    TiltedObjective,
    check_masses,
    check_samples,
)
from causalweights.kernels import Kernel

_NEWTON_STEPS = 30
# A separated sample's logistic coefficient is infinite: largest log weight of a start.
_LARGEST_START = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class LogLinearFit:
    """Log-linear masses of one source sample.

    Attributes
    ----------
    masses : ndarray of shape (n,)
        Sum one.
    coef : ndarray of shape (d,)
        Log odds of a unit of each covariate. Of collinear ones the smallest solution.
    log_scale : float
        Logarithm of ``sum_i base_i exp(x_i'coef)``, which `log_linear_weights` needs.
    objective, discrepancy : float
        With and without the ridge.
    gradient_norm : float
        Norm of the gradient for covariates of covariance one, as a share of the
        objective at ``coef = 0``.
    n_iter : int
        Quasi-Newton and Newton steps of the start that won.
    converged : bool
        Whether ``gradient_norm`` is at most ``tol``, or the gradient at rounding. The
        problem is not convex: this says that a stationary point was found, not that no
        better one exists.
    objectives : ndarray of shape (starts,)
        What each start ended at: zero, logistic, random ones. Differing entries tell
        that there are several local minima.
    """

    masses: FloatArray
    coef: FloatArray
    log_scale: float
    objective: float
    discrepancy: float
    gradient_norm: float
    n_iter: int
    converged: bool
    objectives: FloatArray


def fit_log_linear(
    kernel: Kernel,
    Z_source: FloatArray,
    Z_target: FloatArray,
    target_masses: FloatArray,
    base: FloatArray,
    ridge_penalty: FloatArray | float,
    *,
    mixture: float = 0.0,
    starts: int = 5,
    rng: np.random.Generator | None = None,
    tol: float = 1e-6,
    max_iter: int = 500,
    n_threads: int | None = None,
) -> LogLinearFit:
    """Return the log-linear masses closest to the target in squared discrepancy.

    Minimises ``d^2(P_m, Q) + sum_i penalty_i m_i^2`` over beta, with masses
    ``m_i = a base_i + (1 - a) base_i exp(x_i'beta) / sum_j base_j exp(x_j'beta)``.
    An ATT has a = 0. For an ATE the weight of an arm is one plus the odds of the other
    arms, so each row stands for itself (mass ``s_i / S``) and the other arms' mass is
    spread by the odds: a is the arm's share of all sampling weights (m / n rows, all
    weights equal).

    Parameters
    ----------
    kernel : Kernel
        Its squared MMD is d^2 (``2.0 * Energy()``: the energy distance); a bandwidth
        rule takes its value from source and target rows together.
    Z_source : ndarray of shape (n, d)
        Rows that receive masses.
    Z_target : ndarray of shape (m, d)
    target_masses : ndarray of shape (m,)
        Non-negative; normalised to sum one.
    base : ndarray of shape (n,)
        Sampling weights of the source rows; normalised to sum one.
    ridge_penalty : float or ndarray of shape (n,)
        Non-negative; ``ridge / s_i`` lets copies of a row share its mass.
    mixture : float, default=0.0
        The share a, in [0, 1).
    starts : int, default=5
        Zero, the logistic regression of target against source rows, then random ones.
    rng : Generator or None, default=None
        Of the random starts; None is seed 0, so that a refit is identical.
    tol : float, default=1e-6
        Largest ``gradient_norm`` that counts as converged; the steps go on below it.
    max_iter : int, default=500
        Quasi-Newton steps a start.
    n_threads : int or None, default=None

    Returns
    -------
    LogLinearFit

    Raises
    ------
    ValueError
        If shapes disagree, an input is not finite, masses are negative or all zero, or
        an option is out of its range.

    Notes
    -----
    The problem is not convex and need not have one minimum; nor need a finite one
    exist: where the target lies outside the source, coefficients grow and masses tend
    to few rows, which a large ``coef`` and a small effective sample size show.
    An evaluation costs O(n^2) up to n = 4000 source rows (the Gram matrix is formed
    once, 8 n^2 bytes), beyond that O(n^2 d) in memory O(n d).

    The authors minimise by 1000 Adam steps from one random start; this takes L-BFGS
    steps from several, and Newton steps at the end of the best.

    References
    ----------
    Kong, I., Park, Y., Jung, J., Lee, K. and Kim, Y. (2023). Covariate balancing using
    the integral probability metric for causal inference. ICML, PMLR 202.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.balancing._log_linear import fit_log_linear
    >>> from causalweights.kernels import Linear
    >>> X, target = np.array([[0.0], [1.0]]), np.array([[0.75]])
    >>> fit = fit_log_linear(Linear(), X, target, np.ones(1), np.ones(2), 0.0)
    >>> fit.masses.round(6)  # the mean is matched: coef is log(3)
    array([0.25, 0.75])
    """
    S, T, q, b, penalty = _checked(
        Z_source, Z_target, target_masses, base, ridge_penalty
    )
    _check_options(mixture, starts, tol, max_iter)
    center = b @ S
    F = S - center
    # A constant column leaves rounding errors, which must not be scaled up to one.
    F[:, np.max(np.abs(F), axis=0) <= ROUNDING * np.max(np.abs(S), axis=0)] = 0.0
    W = whitening(F, b)
    kernel = kernel.resolve(np.vstack([S, T]))
    distance = TargetDiscrepancy(kernel, S, T, q, n_threads)
    problem = TiltedObjective(distance, F @ W, b, penalty, mixture)
    before = problem(np.zeros(W.shape[1]))[0]
    scale = max(before, ROUNDING * distance.scale, np.finfo(np.float64).tiny)
    first = _starts(S, T, q, b, center, W, starts, rng)
    ends = [_descend(problem, theta, scale, tol, max_iter) for theta in first]
    objectives = np.array([max(problem(theta)[0], 0.0) for theta, _ in ends])
    theta, steps = ends[int(np.argmin(objectives))]
    theta, more = _polish(problem, theta)
    value, gradient = problem(theta)
    objective = max(value, 0.0)  # zero may come out as minus a rounding error
    objectives[np.argmin(objectives)] = objective
    p, log_scale = problem.tilt(theta)
    m, coef = problem.masses(p), W @ theta
    norm, rounding = float(np.linalg.norm(gradient)), ROUNDING * distance.scale
    return LogLinearFit(
        m, coef, log_scale + float(center @ coef), objective,
        max(problem.value_and_slope(m)[1], 0.0), norm / scale, steps + more,
        norm <= max(tol * scale, rounding), objectives,
    )  # fmt: skip


def log_linear_weights(
    Z_new: FloatArray, coef: FloatArray, log_scale: float, mixture: float = 0.0
) -> FloatArray:
    """Return the weights that a log-linear fit gives to rows, (m,).

    ``a + (1 - a) exp(x'coef - log_scale)``: what a row's base mass is multiplied by.
    On the source rows the base masses times this are the fit's masses.

    Parameters
    ----------
    Z_new : ndarray of shape (m, d)
    coef : ndarray of shape (d,)
    log_scale : float
    mixture : float, default=0.0
        As in the fit.

    Raises
    ------
    ValueError
        If a weight exceeds the largest number: the row is far outside the source.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.balancing._log_linear import log_linear_weights
    >>> log_linear_weights(np.array([[0.0], [1.0]]), np.log([3.0]), np.log(2.0))
    array([0.5, 1.5])
    """
    with np.errstate(over="ignore"):
        odds = np.exp(np.asarray(Z_new, dtype=np.float64) @ coef - log_scale)
    if not np.all(np.isfinite(odds)):
        raise ValueError(
            f"row {int(np.argmin(np.isfinite(odds)))} of Z_new has no finite "
            "log-linear weight: it lies far outside the source rows. Drop it."
        )
    return mixture + (1.0 - mixture) * odds


def _starts(
    S: FloatArray,
    T: FloatArray,
    q: FloatArray,
    b: FloatArray,
    center: FloatArray,
    W: FloatArray,
    count: int,
    rng: np.random.Generator | None,
) -> list[FloatArray]:
    """Return the whitened coefficients to start from: zero, logistic, random."""
    from causalweights.balancing._logistic import solve_logistic

    rng = np.random.default_rng(0) if rng is None else rng
    r = W.shape[1]
    out: list[FloatArray] = [np.zeros(r)]
    if count > 1:
        # Both samples have half the mass, so that weights mean the same as copies.
        F = (np.vstack([S, T]) - center) @ W
        codes = np.repeat([0, 1], [len(S), len(T)])
        masses = np.concatenate([b, q]) / 2
        H = np.column_stack([np.ones(len(F)), F])
        theta = solve_logistic(H, codes, 2, masses)[0][0, 1:]
        largest = float(np.max(np.abs(F[: len(S)] @ theta), initial=0.0))
        out.append(theta * min(1.0, _LARGEST_START / max(largest, 1e-300)))
    out.extend(rng.normal(size=(max(count - 2, 0), r)))
    return out


def _descend(
    problem: TiltedObjective,
    theta: FloatArray,
    scale: float,
    tol: float,
    max_iter: int,
) -> tuple[FloatArray, int]:
    """Return the end of L-BFGS steps and their number; without columns the start."""
    if theta.size == 0:
        return theta, 0

    def scaled(theta: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = problem(theta)
        return value / scale, gradient / scale

    options = {"maxiter": max_iter, "maxcor": 20, "gtol": 0.01 * tol, "ftol": 0.0}
    found = minimize(scaled, theta, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x), int(found.nit)


def _polish(problem: TiltedObjective, theta: FloatArray) -> tuple[FloatArray, int]:
    """Return the end of Newton steps taken while they halve the gradient."""
    value, gradient = problem(theta)
    for n_iter in range(_NEWTON_STEPS):
        if not gradient.any():
            break
        size, axes = np.linalg.eigh(problem.hessian(theta))
        # Away from a minimum negative curvature is turned into descent.
        size = np.maximum(np.abs(size), 1e-13 * np.max(np.abs(size), initial=1e-300))
        trial = theta - axes @ ((axes.T @ gradient) / size)
        if not np.all(np.isfinite(problem.F @ trial)):
            break
        new_value, new = problem(trial)
        rises = new_value > value + ROUNDING * max(abs(value), problem.distance.scale)
        if rises or np.linalg.norm(new) > 0.5 * np.linalg.norm(gradient):
            break
        theta, value, gradient = trial, new_value, new
    else:
        return theta, _NEWTON_STEPS
    return theta, n_iter


def _checked(
    Z_source: FloatArray,
    Z_target: FloatArray,
    target_masses: FloatArray,
    base: FloatArray,
    ridge_penalty: FloatArray | float,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the inputs as float64, masses of sum one, or raise."""
    S, T = check_samples(Z_source, Z_target)
    q = check_masses(target_masses, len(T), "target_masses")
    b = check_masses(base, len(S), "base")
    penalty = np.asarray(ridge_penalty, dtype=np.float64)
    if penalty.ndim and penalty.shape != (len(S),):
        raise ValueError(
            f"ridge_penalty has shape {penalty.shape}: give a number or one value for "
            f"each of the {len(S)} source rows."
        )
    # A row of weight zero has mass zero, and an infinite penalty ridge / 0.
    penalty = np.where(b > 0, penalty, 0.0)
    if not np.all(np.isfinite(penalty) & (penalty >= 0)):
        raise ValueError("ridge_penalty must be finite and non-negative.")
    return S, T, q, b, penalty


def _check_options(mixture: float, starts: int, tol: float, max_iter: int) -> None:
    if not 0.0 <= mixture < 1.0:
        raise ValueError(
            f"mixture={mixture!r}: give the source arm's share of all, in [0, 1)."
        )
    if starts < 1 or max_iter < 1:
        raise ValueError(
            f"starts={starts!r} and max_iter={max_iter!r} must be at least 1."
        )
    if not tol > 0:
        raise ValueError(f"tol={tol!r} must be positive.")
