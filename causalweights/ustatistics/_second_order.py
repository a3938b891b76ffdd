"""Second-order correction of an augmented estimate with nuisances of the caller's.

Robins, Li, Tchetgen Tchetgen & van der Vaart (2008); Liu, Mukherjee & Robins (2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights._validation import (
    Arms,
    check_covariates,
    check_estimand,
    check_outcome,
    check_same_rows,
    check_treatment,
    focal_arm,
)
from causalweights.inference import EffectResult, augmented_means, contrast_gradient
from causalweights.ustatistics._bases import basis_size, evaluate_basis
from causalweights.ustatistics._feature_sums import whitened
from causalweights.ustatistics._transformer import UniformTransformer


def second_order_effect(
    X: Any,
    y: Any,
    *,
    treatment: Any,
    predictions: Any,
    propensity: Any,
    estimand: str = "ate",
    transformer: str = "rank",
    basis: str = "cosine",
    degree: int = 4,
    basis_gram: str = "empirical",
    contrast: str = "difference",
    control: Any = None,
    focal: Any = None,
) -> EffectResult:
    r"""Return an augmented estimate with its bias estimated to second order.

    The bias of an augmented estimator is the mean of a product, of the errors of the
    outcome model and of the density ratio. Its projection on p functions is estimated
    without bias by a U-statistic and taken off, which leaves what the functions miss.

    Parameters
    ----------
    X : array-like or frame of shape (n, d)
    y : array-like of shape (n,)
    treatment : array-like of shape (n,)
    predictions : array-like of shape (n, K)
        Mean outcome of each row under each arm, arms in sorted order, from models that
        did not see the row (other data, or other folds).
    propensity : array-like of shape (n,) or (n, K)
        Probability of each arm, of two arms that of the focal one alone; likewise.
    estimand : {"ate", "att", "atc"}, default="ate"
    transformer : {"rank", "marginal", "joint"}, default="rank"
        The map of each arm to the unit cube, on which the functions are.
    basis : {"polynomial", "cosine", "legendre", "haar", "bspline"}, default="cosine"
    degree : int, default=4
        As in `UniformTransformerEffect`. More functions remove more bias; their number
        p, below the arm's rows, adds variance of order p / n^2.
    basis_gram : {"empirical", "identity"}, default="empirical"
        Inverse Gram matrix of the arm's rows, or that of the uniform law, which a joint
        map nearly gives them.
    contrast : {"difference", "ratio", "odds_ratio"}, default="difference"
    control, focal : label or None, default=None
        As in `UniformTransformerEffect`.

    Returns
    -------
    EffectResult
        Its ``details`` hold the uncorrected effects.

    Raises
    ------
    ValueError
        For bad input and for more functions than an arm has rows.

    Notes
    -----
    With functions z of the images, target masses t, arm masses M_i = t_i / pi_a(X_i)
    (times the focal arm's probability for the ATT), residuals R = Y - m_a(X) and Omega
    the inverse of sum_{j in a} z_j z_j' / n_a, the correction *added* to the augmented
    mean of arm a is

    .. math:: \frac{1}{n_a - 1} \sum_i (t_i - M_i)
        \sum_{j \in a, j \ne i} z_i' \Omega z_j R_j .

    For the mean of all rows it is the statistic IF_22 of [1]_. With M = 0 and m = 0 it
    is the uniform-transformer estimator in form (1) by itself.
    The standard error is the jackknife's, which counts the second-order part of the
    variance twice, so that it is conservative (Efron & Stein, 1981). What the functions
    do not span stays as bias. O(n p^2) time, O(n p) memory.

    References
    ----------
    .. [1] Liu, Mukherjee & Robins (2020). On nearly assumption-free tests of nominal
       confidence interval coverage for causal parameters estimated by machine learning.
       Statistical Science 35(3).
    .. [2] Efron & Stein (1981). The jackknife estimate of variance. Annals of
       Statistics 9(3).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.ustatistics import second_order_effect
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(1000, 1))
    >>> chance = 0.3 + 0.4 * X[:, 0]
    >>> a = (rng.uniform(size=1000) < chance).astype(int)
    >>> y = np.sin(4 * X[:, 0]) + a + 0.1 * rng.normal(size=1000)
    >>> nothing, half = np.zeros((1000, 2)), np.full(1000, 0.5)
    >>> result = second_order_effect(
    ...     X, y, treatment=a, predictions=nothing, propensity=half
    ... )
    >>> bool(abs(result.effect - 1.0) < 0.05)
    True
    """
    check_same_rows(X=X, y=y, treatment=treatment, predictions=predictions,
                    propensity=propensity)  # fmt: skip
    checks = UniformTransformer(transformer)
    numbers = check_covariates(checks, X)
    n = len(numbers)
    y = check_outcome(y, n)
    arms = check_treatment(treatment, n, control=control, focal=focal)
    focus = focal_arm(arms, check_estimand(estimand, ("ate", "att", "atc")))
    m = _checked(predictions, (n, arms.n_arms), "predictions")
    chances = _chances(propensity, arms, n)
    t = np.ones(n) if focus is None else (arms.codes == focus) * 1.0
    t /= t.sum()
    masses = _masses(chances, arms, focus)
    first = augmented_means(y, arms.codes, masses, t, m)
    means, phi = first.means.copy(), first.contributions.copy()
    for k in range(arms.n_arms):
        if k == focus:
            continue
        own = np.flatnonzero(arms.codes == k)
        images = UniformTransformer(
            transformer, bounds=np.array([numbers.min(axis=0), numbers.max(axis=0)])
        ).fit(numbers[own]).transform(numbers)  # fmt: skip
        size = basis_size(basis, degree, images.shape[1])
        if size >= len(own):
            raise ValueError(
                f"basis={basis!r} of degree={degree} has {size} functions, arm "
                f"{arms.label(k)!r} {len(own)} rows: lower the degree."
            )
        z = evaluate_basis(basis, degree, images)
        if basis_gram == "empirical":
            z = _orthonormal(z, own)
        signed = t - np.where(arms.codes == k, masses, 0.0)
        total, changes = second_order_terms(z, own, signed, y[own] - m[own, k])
        means[k] += total
        phi[:, k] += changes - 2 * total / n
    return _result(means, phi, first.means, arms, estimand, contrast)


def second_order_terms(
    z: FloatArray, own: IntArray, signed: FloatArray, residual: FloatArray
) -> tuple[float, FloatArray]:
    """Return sum_{i, j in a, j != i} s_i z_i' z_j R_j / (n_a - 1), and rows' shares.

    Parameters
    ----------
    z : ndarray of shape (n, p)
        Functions, orthonormal on the arm's rows or for the uniform law.
    own : ndarray of shape (n_a,)
        Positions of the arm's rows.
    signed : ndarray of shape (n,)
        s, target masses less arm masses.
    residual : ndarray of shape (n_a,)
        R.

    Returns
    -------
    total : float
    changes : ndarray of shape (n,)
        Sum of the terms that a row is in, which go if it is left out; their sum is
        twice the total.
    """
    factor = 1 / (len(own) - 1)
    as_first = signed * (z @ (z[own].T @ residual))
    as_second = residual * (z[own] @ (z.T @ signed))
    alone = signed[own] * residual * np.einsum("ip,ip->i", z[own], z[own])
    as_first[own] -= alone
    changes = as_first.copy()
    changes[own] += as_second - alone
    return factor * float(as_first.sum()), factor * changes


def _orthonormal(z: FloatArray, own: IntArray) -> FloatArray:
    """Return the functions turned so that the arm's mean of z z' is the identity."""
    m = len(own)
    return whitened(z[own], z, np.full(m, 1 / m))


def _masses(chances: FloatArray, arms: Arms, focus: int | None) -> FloatArray:
    """Return t_i / pi at the own arm; of the focal arm's covariates under the ATT."""
    n = len(chances)
    own = chances[np.arange(n), arms.codes]
    if focus is None:
        return 1 / (n * own)
    return chances[:, focus] / (own * np.sum(arms.codes == focus))


def _checked(values: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return finite numbers of a shape."""
    checked = np.asarray(values, dtype=np.float64)
    if checked.shape != shape or not np.all(np.isfinite(checked)):
        raise ValueError(
            f"{name} must hold finite numbers of shape {shape}, got {checked.shape}."
        )
    return checked


def _chances(propensity: Any, arms: Arms, n: int) -> FloatArray:
    """Return each row's probability of each arm, (n, K)."""
    if np.ndim(propensity) == 1 and arms.n_arms == 2:
        one = np.asarray(propensity, dtype=np.float64)
        columns = [one, 1 - one] if arms.focal == 0 else [1 - one, one]
        propensity = np.column_stack(columns)
    values = _checked(propensity, (n, arms.n_arms), "propensity")
    if not np.all((values > 0) & (values < 1)):
        raise ValueError("propensity must lie strictly between 0 and 1: clip it.")
    return values


def _result(
    means: FloatArray,
    phi: FloatArray,
    first: FloatArray,
    arms: Arms,
    estimand: str,
    contrast: str,
) -> EffectResult:
    values, jacobian = contrast_gradient(means, arms.control, contrast)
    before, _ = contrast_gradient(first, arms.control, contrast)
    cov = jacobian @ (phi.T @ phi) @ jacobian.T
    se, binary = np.sqrt(np.diag(cov)), arms.n_arms == 2
    control = arms.label(arms.control)
    details = {"Weights": "second-order correction"}
    for k, value in zip(arms.contrasts(), before):
        details[f"Uncorrected {arms.label(k)}"] = f"{value:.4g}"
    return EffectResult(
        float(values[0]) if binary else values,
        float(se[0]) if binary else se,
        cov,
        names=[f"{arms.label(k)} vs {control}" for k in arms.contrasts()],
        contrast=contrast,
        estimand=estimand.lower(),
        n_samples=len(phi),
        details=details,
    )
