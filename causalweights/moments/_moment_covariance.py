"""Long-run covariance of moments: unadjusted, robust, clustered, autocorrelated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.linalg import matmul_toeplitz

from causalweights._typing import FloatArray, IntArray

CovType = Literal["unadjusted", "robust", "cluster", "hac"]
HacKernel = Literal["bartlett", "parzen", "quadratic_spectral"]
BandwidthRule = Literal["newey_west", "andrews"]

# Characteristic exponent q, constant of the optimal bandwidth, and growth of the number
# of pilot autocovariances: Andrews (1991, 6.2), Newey & West (1994, table II).
_RULES: dict[str, tuple[int, float, float]] = {
    "bartlett": (1, 1.1447, 2 / 9),
    "parzen": (2, 2.6614, 4 / 25),
    "quadratic_spectral": (2, 1.3221, 2 / 25),
}
# Autoregressions nearer to a unit root than this are moved back.
_LARGEST_ROOT = 0.97
# What rounding may make of an eigenvalue that is zero, beside ones.
_ROUNDING = 1e-10


def moment_covariance(
    scores: FloatArray,
    copies: FloatArray | None = None,
    *,
    cov_type: Literal["robust", "cluster", "hac"] = "robust",
    groups: IntArray | None = None,
    center: bool = False,
    kernel: HacKernel = "bartlett",
    bandwidth: float = 0.0,
) -> FloatArray:
    r"""Return the covariance of sqrt(N) times the mean of moments, (m, m).

    .. math:: \Omega = N^{-1} S' T S

    with T the copies' diagonal (``"robust"``, HC0), G / (G - 1) times the indicator of
    a common cluster, or kernel weights of the rows' distance in time. Two-way clusters:
    the sum of both ways' T less that of their intersections [2]_; Omega may then have
    negative eigenvalues.

    Parameters
    ----------
    scores : ndarray of shape (n, m)
        S: each row's moments, times its sampling weight; for ``"hac"`` in the order of
        time, one row a period.
    copies : ndarray of shape (n,) or None, default=None
        Frequency weights; N is their sum.
    cov_type : {"robust", "cluster", "hac"}, default="robust"
    groups : ndarray of shape (n,) or (n, 2) or None, default=None
        Clusters 0, ..., G - 1, of one way or two.
    center : bool, default=False
        Subtract the scores' mean first.
    kernel : {"bartlett", "parzen", "quadratic_spectral"}, default="bartlett"
    bandwidth : float, default=0.0
        m. Lags up to m count, with weights k(j / (m + 1)); k(j / m) for the quadratic
        spectral kernel, which uses all lags.

    References
    ----------
    .. [1] Newey & West (1987), Econometrica 55; Andrews (1991), Econometrica 59.
    .. [2] Cameron, Gelbach & Miller (2011), Robust inference with multiway clustering,
       Journal of Business & Economic Statistics 29, equation 2.11.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments import moment_covariance
    >>> scores = np.array([[1.0], [1.0], [-2.0]])
    >>> moment_covariance(scores).item()
    2.0
    >>> moment_covariance(scores, cov_type="hac", bandwidth=1).round(3).item()
    1.667
    """
    copies = np.ones(len(scores)) if copies is None else copies
    smooth = smoother(
        cov_type, copies, groups=groups, center=center, kernel=kernel,
        bandwidth=bandwidth,
    )  # fmt: skip
    omega = scores.T @ smooth(scores) / copies.sum()
    return 0.5 * (omega + omega.T)


def smoother(
    cov_type: str,
    copies: FloatArray,
    *,
    groups: IntArray | None = None,
    center: bool = False,
    kernel: str = "bartlett",
    bandwidth: float = 0.0,
) -> Callable[[FloatArray], FloatArray]:
    """Return the product with T of `moment_covariance`, of columns (n, k)."""
    if cov_type == "robust":

        def plain(S: FloatArray) -> FloatArray:
            return copies[:, None] * S

    elif cov_type == "cluster":
        if groups is None:
            raise ValueError("cov_type='cluster' needs groups: one label a row.")
        clustered = _cluster_smoother(copies, groups)

        def plain(S: FloatArray) -> FloatArray:
            return clustered(S)

    elif cov_type == "hac":
        if np.any(copies != copies[0]):
            raise ValueError(
                "cov_type='hac' needs rows that are periods: frequency weights must be "
                "equal. Use weight_type='sampling'."
            )
        weights = lag_weights(kernel, bandwidth, len(copies))

        def plain(S: FloatArray) -> FloatArray:
            return copies[0] * matmul_toeplitz(weights, S)

    else:
        raise ValueError(
            f"cov_type={cov_type!r} is unknown: choose 'robust', 'cluster' or 'hac'."
        )
    if not center:
        return plain
    masses = copies / copies.sum()

    def centered(S: FloatArray) -> FloatArray:
        smoothed = plain(S - masses @ S)
        return smoothed - masses[:, None] * smoothed.sum(axis=0)

    return centered


def _cluster_smoother(
    copies: FloatArray, groups: IntArray
) -> Callable[[FloatArray], FloatArray]:
    """Return the product with T of clusters, (n,) or (n, 2)."""
    if groups.ndim == 2:
        both = np.unique(groups, axis=0, return_inverse=True)[1].ravel()
        first, second, common = (
            _cluster_smoother(copies, labels) for labels in (*groups.T, both)
        )
        return lambda S: first(S) + second(S) - common(S)
    n_groups = int(groups.max()) + 1
    if n_groups < 2:
        raise ValueError("cov_type='cluster' needs at least two clusters.")
    factor = n_groups / (n_groups - 1)

    def plain(S: FloatArray) -> FloatArray:
        sums = np.zeros((n_groups, S.shape[1]))
        np.add.at(sums, groups, copies[:, None] * S)
        return factor * copies[:, None] * sums[groups]

    return plain


def nonnegative(cov: FloatArray) -> FloatArray:
    """Return a covariance of estimates without negative eigenvalues.

    That of two-way clusters may have some. They are those of the matrix in units of the
    roots of its diagonal, so that the result moves with the parameters' units.

    Warns
    -----
    UserWarning
        Where there were some.
    """
    size = np.sqrt(np.abs(np.diagonal(cov)))
    outer = np.outer(size, size)
    values, vectors = np.linalg.eigh(cov / np.where(outer > 0, outer, 1.0))
    if values[0] >= -_ROUNDING:
        return cov
    warnings.warn(
        "the covariance of the estimates has negative eigenvalues, which are set to "
        "zero: at least one way has too few clusters.",
        UserWarning,
        stacklevel=6,
    )
    return (vectors * np.maximum(values, 0.0)) @ vectors.T * outer


def unadjusted_covariance(
    residual: FloatArray,
    Z: FloatArray,
    sample_weight: FloatArray | None = None,
    *,
    center: bool = False,
) -> FloatArray:
    """Return the covariance of moments ``residual (x) Z`` under homoskedasticity.

    The residuals' covariance, weighted, times that of the instruments: ``Sigma (x)
    Z'Z / N``, (r q, r q).

    Parameters
    ----------
    residual : ndarray of shape (n, r)
    Z : ndarray of shape (n, q)
    sample_weight : ndarray of shape (n,) or None, default=None
    center : bool, default=False
        Subtract the residuals' mean first.
    """
    weight = np.ones(len(Z)) if sample_weight is None else sample_weight
    masses = (weight / weight.sum())[:, None]
    if center:
        residual = residual - (masses * residual).sum(axis=0)
    return np.kron(residual.T @ (masses * residual), Z.T @ (masses * Z))


def lag_weights(kernel: str, bandwidth: float, n_rows: int) -> FloatArray:
    """Return the kernel's weights of lags 0, ..., n_rows - 1."""
    lags = np.arange(n_rows, dtype=np.float64)
    if kernel == "quadratic_spectral":
        weights = (lags == 0).astype(np.float64)
        if bandwidth > 0:
            z = 1.2 * np.pi * lags[1:] / bandwidth
            weights[1:] = 3 / z**2 * (np.sin(z) / z - np.cos(z))
        return weights
    x = lags / (bandwidth + 1.0)
    if kernel == "bartlett":
        return np.maximum(1.0 - x, 0.0)
    if kernel == "parzen":
        near = 1 - 6 * x**2 + 6 * x**3
        return np.where(x <= 0.5, near, 2 * np.maximum(1.0 - x, 0.0) ** 3)
    raise ValueError(
        f"kernel={kernel!r} is unknown: choose one of {', '.join(map(repr, _RULES))}."
    )


def hac_bandwidth(
    scores: FloatArray,
    kernel: HacKernel = "bartlett",
    rule: BandwidthRule = "newey_west",
) -> float:
    """Choose the bandwidth of a kernel for moments in the order of time.

    Parameters
    ----------
    scores : ndarray of shape (n, m)
    kernel : {"bartlett", "parzen", "quadratic_spectral"}, default="bartlett"
    rule : {"newey_west", "andrews"}, default="newey_west"
        ``"newey_west"`` estimates the spectrum of the sum of the moments, each divided
        by its standard deviation, from a few autocovariances, and rounds up.
        ``"andrews"`` fits an autoregression of order one to each moment.

    Returns
    -------
    float
        m as in `moment_covariance`, at most n - 1.

    Raises
    ------
    ValueError
        For an unknown rule, and fewer rows than pilot autocovariances.

    References
    ----------
    .. [1] Newey & West (1994), Automatic lag selection in covariance matrix estimation,
       Review of Economic Studies 61.
    .. [2] Andrews (1991), Heteroskedasticity and autocorrelation consistent covariance
       matrix estimation, Econometrica 59, equations 6.2 and 6.4.
    """
    n = len(scores)
    q, constant, growth = _RULES[kernel]
    scale = scores.std(axis=0)
    series = scores[:, scale > 0] / scale[scale > 0]
    if not series.size:
        return 0.0
    if rule == "newey_west":
        roughness = _pilot_roughness(series.sum(axis=1), q, growth)
        found = np.ceil(constant * (roughness**2 * n) ** (1 / (2 * q + 1)))
    elif rule == "andrews":
        found = constant * (_autoregressive_roughness(series, q) * n) ** (
            1 / (2 * q + 1)
        )
        # Here k(j / S), there k(j / (m + 1)) for the kernels that end.
        found = found if kernel == "quadratic_spectral" else max(found - 1.0, 0.0)
    else:
        raise ValueError(
            f"the bandwidth {rule!r} is unknown: choose 'newey_west', 'andrews' or a "
            "number of lags."
        )
    return float(min(found, n - 1.0))


def _pilot_roughness(x: FloatArray, q: int, growth: float) -> float:
    """Return s_q / s_0 of the first autocovariances."""
    n = len(x)
    lags = int(np.ceil(4 * (n / 100) ** growth))
    if lags >= n - 1:
        raise ValueError(
            f"{n} rows are too few to choose a bandwidth from: give hac_bandwidth as a "
            "number of lags."
        )
    sigma = np.array([x[j:] @ x[: n - j] for j in range(lags + 1)]) / n
    slopes = np.arange(1, lags + 1) ** q
    return 2 * (slopes @ sigma[1:]) / (sigma[0] + 2 * sigma[1:].sum())


def _autoregressive_roughness(series: FloatArray, q: int) -> float:
    """Return alpha(q) of Andrews for autoregressions with equal weights."""
    before, after = series[:-1], series[1:]
    rho = np.sum(before * after, axis=0) / np.sum(before**2, axis=0)
    rho = np.clip(rho, -_LARGEST_ROOT, _LARGEST_ROOT)
    variance2 = np.mean((after - rho * before) ** 2, axis=0) ** 2
    level = variance2 / (1 - rho) ** 4
    if q == 1:
        slopes = 4 * rho**2 * variance2 / ((1 - rho) ** 6 * (1 + rho) ** 2)
    else:
        slopes = 4 * rho**2 * variance2 / (1 - rho) ** 8
    return float(slopes.sum() / level.sum())
