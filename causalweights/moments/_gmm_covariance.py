"""The covariance of a model's moments as a function of theta, with its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from causalweights._typing import FloatArray
from causalweights.moments._data import MomentData
from causalweights.moments._models import MomentModel, instrument_moments
from causalweights.moments._moment_covariance import (
    BandwidthRule,
    CovType,
    HacKernel,
    hac_bandwidth,
    smoother,
    unadjusted_covariance,
)
from causalweights.moments._profile import Restriction


@dataclass(frozen=True, slots=True)
class CovarianceOptions:
    """How the moments' covariance is estimated.

    Attributes
    ----------
    cov_type : {"unadjusted", "robust", "cluster", "hac"}
        Groups turn ``"robust"`` into ``"cluster"``.
    center : bool
    kernel : {"bartlett", "parzen", "quadratic_spectral"}
    bandwidth : {"newey_west", "andrews"} or float
    """

    cov_type: CovType = "robust"
    center: bool = False
    kernel: HacKernel = "bartlett"
    bandwidth: BandwidthRule | float = "newey_west"

    @property
    def lags(self) -> float:
        """The bandwidth; zero while it is not chosen."""
        return 0.0 if isinstance(self.bandwidth, str) else float(self.bandwidth)

    def resolved(
        self, model: MomentModel, data: MomentData, theta: FloatArray
    ) -> CovarianceOptions:
        """Return the options with the covariance's kind and a number for a bandwidth.

        Raises
        ------
        ValueError
            For clusters that the kind does not use, clusters that are missing, and
            ``"unadjusted"`` without instruments.
        """
        kind = self.cov_type
        if data.groups is not None:
            if kind not in ("robust", "cluster"):
                raise ValueError(
                    f"groups are given, but cov_type={kind!r} does not use clusters: "
                    "take cov_type='cluster', or leave groups out."
                )
            kind = "cluster"
        if kind == "unadjusted" and not model.conditional:
            raise ValueError(
                f"cov_type='unadjusted' is of moments residual x instruments, which "
                f"{type(model).__name__} has not: take cov_type='robust'."
            )
        bandwidth = self.bandwidth
        if kind == "hac" and isinstance(bandwidth, str):
            scores = data.moment_weight[:, None] * model.psi(theta, data)
            bandwidth = hac_bandwidth(scores, self.kernel, bandwidth)
        return replace(self, cov_type=kind, bandwidth=bandwidth)


class MomentCovariance:
    """Omega(theta) of moments ``residual (x) B``.

    Parameters
    ----------
    data : MomentData
    restriction : Restriction
        Its B are instruments times the moments' weights.
    options : CovarianceOptions
        Resolved.
    """

    def __init__(
        self, data: MomentData, restriction: Restriction, options: CovarianceOptions
    ) -> None:
        self.data, self.restriction, self.options = data, restriction, options
        self._smooth: Callable[[FloatArray], FloatArray] | None = None
        if options.cov_type == "unadjusted":
            self._Z = restriction.B / data.moment_weight[:, None]
            self._masses = (data.sample_weight / data.n_samples)[:, None]
            self._Q = self._Z.T @ (self._masses * self._Z)
        else:
            self._smooth = smoother(
                options.cov_type, data.copies, groups=data.groups,
                center=options.center, kernel=options.kernel,
                bandwidth=options.lags,
            )  # fmt: skip

    def matrix(self, residual: FloatArray) -> FloatArray:
        """Return Omega, (m, m), for the residuals (n, r) at a theta."""
        if self._smooth is None:
            return unadjusted_covariance(
                residual, self._Z, self.data.sample_weight, center=self.options.center
            )
        S = instrument_moments(residual, self.restriction.B)
        omega = S.T @ self._smooth(S) / self.data.n_samples
        return 0.5 * (omega + omega.T)

    def slopes(
        self, residual: FloatArray, jacobian: FloatArray, b: FloatArray
    ) -> FloatArray:
        """Return the columns ``dOmega / dtheta_k b``, (m, p).

        Parameters
        ----------
        residual : ndarray of shape (n, r)
        jacobian : ndarray of shape (n, r, p)
        b : ndarray of shape (m,)
        """
        if self._smooth is None:
            error, slope = self._centered(residual), self._centered(jacobian)
            half = np.einsum("ir,isk->krs", self._masses * error, slope)
            change = half + half.transpose(0, 2, 1)
            blocks = change @ b.reshape(residual.shape[1], -1) @ self._Q
            return blocks.reshape(len(change), -1).T
        S = instrument_moments(residual, self.restriction.B)
        C = self.restriction.along(jacobian, b)
        n = self.data.n_samples
        smoothed = self._smooth((S @ b)[:, None])[:, 0]
        first = self.restriction.mean_slopes(jacobian, smoothed / n)
        return first + S.T @ self._smooth(C) / n

    def curvature(self, jacobian: FloatArray, b: FloatArray) -> FloatArray:
        """Return half of ``b' d2Omega b``, (p, p), for residuals linear in theta."""
        if self._smooth is None:
            slope = self._centered(jacobian)
            B = b.reshape(jacobian.shape[1], -1)
            turned = np.einsum("irk,rs->isk", slope, B @ self._Q @ B.T)
            return np.einsum("irk,irl->kl", self._masses[:, :, None] * turned, slope)
        C = self.restriction.along(jacobian, b)
        return C.T @ self._smooth(C) / self.data.n_samples

    def _centered(self, values: FloatArray) -> FloatArray:
        if not self.options.center:
            return values
        return values - np.tensordot(self._masses[:, 0], values, axes=1)
