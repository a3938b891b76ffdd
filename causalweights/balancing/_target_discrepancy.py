"""The squared discrepancy of source masses to a target, also of log-linear ones."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from causalweights._typing import FloatArray
from causalweights.kernels import Kernel

# Up to this many source rows the Gram matrix is formed once (128 MB).
_DENSE_ROWS = 4000
# Share of a Gram matrix's scale below which a discrepancy is rounding.
ROUNDING = 100 * float(np.finfo(np.float64).eps)


class TargetDiscrepancy:
    """The squared discrepancy of source masses to the target, ``m' C m``.

    C is the Gram matrix of the source's features less the target's mean,
    ``K_ij - q_i - q_j + c``: the constant parts of a smooth kernel cancel before masses
    are applied and not after, which keeps digits near a discrepancy of zero.

    Parameters
    ----------
    kernel : Kernel
        Resolved: a bandwidth rule would see the source rows alone.
    Z_source : ndarray of shape (n, d)
    Z_target : ndarray of shape (m, d)
    target_masses : ndarray of shape (m,)
        Sum one.
    n_threads : int or None, default=None
    """

    def __init__(
        self,
        kernel: Kernel,
        Z_source: FloatArray,
        Z_target: FloatArray,
        target_masses: FloatArray,
        n_threads: int | None = None,
    ) -> None:
        self._operator = kernel.operator(Z_source, n_threads=n_threads)
        cross = kernel.operator(Z_source, Z_target, n_threads=n_threads)
        self._means = cross.row_mean(target_masses)
        own = kernel.operator(Z_target, n_threads=n_threads)
        self._own = own.quadratic_form(target_masses)
        self.scale = float(abs(self._own) + np.max(np.abs(self._means)))
        self._centered: FloatArray | None = None
        if len(Z_source) <= _DENSE_ROWS:
            C = np.asarray(self._operator.dense(), dtype=np.float64)
            C -= self._means[:, None]
            C -= self._means
            C += self._own
            self._centered = C

    def product(self, v: FloatArray) -> FloatArray:
        """Return ``C v`` for v of shape (n,) or (n, k)."""
        if self._centered is not None:
            return self._centered @ v
        total = v.sum(axis=0)
        shift = self._own * total - self._means @ v
        return self._operator.matvec(v) - np.multiply.outer(self._means, total) + shift


class TiltedObjective:
    """Objective, gradient and Hessian in the whitened coefficients theta.

    With ``p = softmax(log base + F theta)`` and ``m = a base + (1 - a) p``, the
    Jacobian of m is ``(1 - a) diag(p) (F - p'F)``.
    """

    def __init__(
        self,
        distance: TargetDiscrepancy,
        F: FloatArray,
        base: FloatArray,
        penalty: FloatArray,
        mixture: float,
    ) -> None:
        self.distance, self.F, self.base = distance, F, base
        self.penalty, self.mixture = penalty, mixture
        with np.errstate(divide="ignore"):  # a row of weight zero keeps mass zero
            self.log_base = np.log(base)

    def tilt(self, theta: FloatArray) -> tuple[FloatArray, float]:
        """Return p (n,) and the logarithm of what it was divided by."""
        log_mass = self.log_base + self.F @ theta
        log_scale = float(logsumexp(log_mass))
        return np.exp(log_mass - log_scale), log_scale

    def masses(self, p: FloatArray) -> FloatArray:
        """Return the mixture of the base masses and the tilted ones."""
        return self.mixture * self.base + (1.0 - self.mixture) * p

    def value_and_slope(self, m: FloatArray) -> tuple[float, float, FloatArray]:
        """Return objective, discrepancy and the derivative in m, (n,)."""
        product, cost = self.distance.product(m), self.penalty * m
        discrepancy = float(m @ product)
        return discrepancy + float(m @ cost), discrepancy, 2.0 * (product + cost)

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the objective and its gradient in theta."""
        p, _ = self.tilt(theta)
        value, _, slope = self.value_and_slope(self.masses(p))
        weighted = p * (slope - p @ slope)
        return value, (1.0 - self.mixture) * (self.F.T @ weighted)

    def hessian(self, theta: FloatArray) -> FloatArray:
        """Return the second derivatives in theta, (r, r)."""
        p, _ = self.tilt(theta)
        share = 1.0 - self.mixture
        centered = self.F - p @ self.F
        J = share * p[:, None] * centered
        _, _, slope = self.value_and_slope(self.masses(p))
        inner = self.distance.product(J) + self.penalty[:, None] * J
        bend = share * p * (slope - p @ slope)
        return 2.0 * J.T @ inner + centered.T @ (bend[:, None] * centered)


def check_samples(
    Z_source: FloatArray, Z_target: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return both samples as float64 matrices with the same columns, or raise."""
    samples = []
    for Z, name in ((Z_source, "Z_source"), (Z_target, "Z_target")):
        Z = np.asarray(Z, dtype=np.float64)
        if Z.ndim != 2 or len(Z) == 0:
            raise ValueError(
                f"{name} has shape {Z.shape}: give at least one row (n, d)."
            )
        if not np.all(np.isfinite(Z)):
            raise ValueError(f"{name} has values that are not finite: drop or impute.")
        samples.append(Z)
    if samples[0].shape[1] != samples[1].shape[1]:
        raise ValueError(
            f"Z_source has {samples[0].shape[1]} columns and Z_target "
            f"{samples[1].shape[1]}: both must hold the same covariates."
        )
    return samples[0], samples[1]


def check_masses(masses: FloatArray, n: int, name: str) -> FloatArray:
    """Return masses (n,) normalised to sum one, or raise."""
    m = np.asarray(masses, dtype=np.float64)
    if m.shape != (n,):
        raise ValueError(f"{name} has shape {m.shape}: give one value for {n} rows.")
    total = m.sum()
    if not (np.all(m >= 0) and np.isfinite(total) and total > 0):
        raise ValueError(f"{name} must be finite and non-negative, and not all zero.")
    return m / total
