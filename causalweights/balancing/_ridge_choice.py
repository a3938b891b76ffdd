"""Choosing the ridge: a path of fits, and a rule by marginal likelihood."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, column_or_1d

from causalweights._typing import FloatArray
from causalweights._validation import check_same_rows
from causalweights.kernels import Kernel

# Ridges of a path whose caller names none.
RIDGES = tuple(10.0 ** np.arange(-5, 2.01, 0.5))
# Rows of an arm beyond which the marginal likelihood is that of as many drawn ones.
SAMPLED_ROWS = 2000
# The ridges among which the likelihood is maximised, over the kernel's own scale.
SMALLEST, LARGEST = 1e-6, 1e4


@dataclass(frozen=True, slots=True, eq=False)
class RidgePath:
    """Balancing weights along a grid of ridges.

    Attributes
    ----------
    ridges : ndarray of shape (m,)
        Increasing.
    ess : dict of label to ndarray of shape (m,)
        Effective sample size of each weighted arm.
    discrepancy : dict of label (None: joint) to ndarray of shape (m,)
        Criterion without the penalty.
    effect : ndarray of shape (m, K - 1) or None
        Differences of weighted means to the control arm, in the order of `contrasts`;
        None without an outcome.
    contrasts : list of label
    converged : ndarray of shape (m,), bool
    """

    ridges: FloatArray
    ess: dict[Any, FloatArray]
    discrepancy: dict[Any, FloatArray]
    effect: FloatArray | None
    contrasts: list[Any]
    converged: np.ndarray


def ridge_path(
    balancer: Any,
    X: ArrayLike,
    treatment: ArrayLike,
    y: ArrayLike | None = None,
    *,
    ridges: Sequence[float] = RIDGES,
    sample_weight: ArrayLike | None = None,
) -> RidgePath:
    """Fit a balancer for every ridge of a grid.

    With the ridge the discrepancy and the effective sample size rise (never fall, for
    an exact solution): choose where the one is still small and the other large. Looking
    at the effect to choose invalidates its interval; the effects show how much depends
    on the choice.

    Parameters
    ----------
    balancer : IPMBalancer
        Its ``ridge`` is replaced; it is not changed.
    X : array-like of shape (n, d)
    treatment : array-like of shape (n,)
    y : array-like of shape (n,) or None, default=None
        Outcome, for the plain weighted differences.
    ridges : sequence of float, default=1e-5 to 100
        Positive.
    sample_weight : array-like of shape (n,) or None, default=None

    Returns
    -------
    RidgePath

    Raises
    ------
    ValueError
        As ``balancer.fit``, and for ridges that are not positive.

    Notes
    -----
    One fit a ridge.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import IPMBalancer
    >>> from causalweights.balancing import ridge_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 2))
    >>> a = (X[:, 0] + rng.normal(size=100) > 0).astype(int)
    >>> path = ridge_path(IPMBalancer(estimand="att"), X, a, ridges=[0.01, 0.1, 1.0])
    >>> bool(np.all(np.diff(path.ess[0]) > 0))
    True
    """
    grid = np.sort(np.asarray(ridges, dtype=np.float64).ravel())
    if grid.size == 0 or not np.all(np.isfinite(grid) & (grid > 0)):
        raise ValueError("ridges must be positive and finite numbers.")
    check_same_rows(X=X, treatment=treatment, y=y, sample_weight=sample_weight)
    outcome = None if y is None else column_or_1d(y).astype(np.float64)
    fits = []
    for ridge in grid:
        with warnings.catch_warnings():
            # The path shows both; a warning for each of its fits would not be read.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", message=".*rest on few rows")
            fit = clone(balancer).set_params(ridge=float(ridge))
            fits.append(fit.fit(X, treatment, sample_weight=sample_weight))
    last, codes = fits[-1], np.asarray(treatment).ravel()
    arms = [label for label in last.ess_ if label != last.focal_ or _is_ate(last)]
    contrasts = [label for label in last.treatments_.tolist() if label != last.control_]
    effect = None
    if outcome is not None:
        effect = np.array([_differences(f, codes, outcome, contrasts) for f in fits])
    before = [_by_arm(f.discrepancy_) for f in fits]
    return RidgePath(
        ridges=grid,
        ess={label: np.array([f.ess_[label] for f in fits]) for label in arms},
        discrepancy={k: np.array([row[k] for row in before]) for k in before[0]},
        effect=effect,
        contrasts=contrasts,
        converged=np.array([f.converged_ for f in fits]),
    )


def _is_ate(fit: Any) -> bool:
    return bool(fit.estimand_ == "ate")


def _by_arm(values: Any) -> dict[Any, float]:
    return values if isinstance(values, dict) else {None: values}


def _differences(
    fit: Any, codes: np.ndarray, y: FloatArray, contrasts: list[Any]
) -> list[float]:
    """Return the weighted means of the arms less the control's.

    The arms' own masses, which of an unweighted arm are the sampling weights'.
    """
    means = {k: float(fit.masses_[codes == k] @ y[codes == k]) for k in fit.ess_}
    return [means[k] - means[fit.control_] for k in contrasts]


def marginal_likelihood_ridge(
    kernel: Kernel,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    random_state: Any = None,
) -> float:
    """Return the ridge that a Gaussian process of the outcome makes most likely.

    For an outcome mean f of norm R in the kernel's space and noise of variance s2, the
    masses that minimise d^2 + ridge sum m_i^2 have the smallest worst-case mean squared
    error at ridge = s2 / R^2 (Kallus 2020). With f a Gaussian process of covariance
    R^2 k and an unknown constant, both are estimated by restricted maximum likelihood.
    It uses the outcome: choose the ridge on other rows than those it then weights.

    Parameters
    ----------
    kernel : Kernel
        As in ``kernel_`` of a fit: with numbers for bandwidths.
    Z : array-like of shape (n, d)
        Rows of the arm that receives weights, in the scale of the fit.
    y : array-like of shape (n,)
        Their outcomes.
    random_state : int, RandomState or None, default=None
        Draws 2000 rows where there are more; None is seed 0.

    Returns
    -------
    float
        Between 1e-6 and 1e4 times the mean of the kernel's diagonal, centred.

    Notes
    -----
    One eigendecomposition, O(n^3) time and 8 n^2 bytes for n at most 2000.

    References
    ----------
    Kallus (2020), Generalized optimal matching methods for causal inference, Journal
    of Machine Learning Research 21, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.balancing import marginal_likelihood_ridge
    >>> from causalweights.kernels import Gaussian
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(300, 2))
    >>> signal = np.sin(Z[:, 0])
    >>> little, much = (signal + s * rng.normal(size=300) for s in (0.1, 1.0))
    >>> kernel = Gaussian(bandwidth=1.0)
    >>> ridges = [marginal_likelihood_ridge(kernel, Z, y) for y in (little, much)]
    >>> ridges[0] < ridges[1]
    True
    """
    Z = np.asarray(Z, dtype=np.float64)
    outcome = np.asarray(column_or_1d(y), dtype=np.float64)
    if Z.ndim != 2 or len(Z) != len(outcome) or len(outcome) < 3:
        raise ValueError(
            f"Z must hold a row for each of at least three outcomes, got shapes "
            f"{Z.shape} and {outcome.shape}."
        )
    if not (np.isfinite(Z).all() and np.isfinite(outcome).all()):
        raise ValueError("Z and y must be finite.")
    if len(outcome) > SAMPLED_ROWS:
        rng = check_random_state(0 if random_state is None else random_state)
        rows = rng.choice(len(outcome), SAMPLED_ROWS, replace=False)
        Z, outcome = Z[rows], outcome[rows]
    n = len(outcome)
    K = kernel.operator(Z).dense()
    # Contrasts free of the constant: Helmert's would do, centring is the same.
    K = K - K.mean(axis=0) - K.mean(axis=1)[:, None] + K.mean()
    values, vectors = eigh(K, overwrite_a=True, check_finite=False)
    scale = max(float(values.sum()) / n, np.finfo(np.float64).tiny)
    # The smallest eigenvalue belongs to the constant, which is taken out.
    values = np.maximum(values[1:], 0.0) / scale
    squares = (vectors[:, 1:].T @ (outcome - outcome.mean())) ** 2
    if squares.sum() == 0:
        raise ValueError("y is constant: its noise and signal cannot be told apart.")

    def loss(log_ridge: float) -> float:
        total = values + np.exp(log_ridge)
        return float((n - 1) * np.log(np.mean(squares / total)) + np.log(total).sum())

    found = minimize_scalar(loss, bounds=(np.log(SMALLEST), np.log(LARGEST)))
    edges = np.log([SMALLEST, LARGEST])
    best = min([float(found.x), *edges], key=loss)
    return float(scale * np.exp(best))
