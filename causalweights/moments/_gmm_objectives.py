"""Objectives of the generalised method of moments, with their derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from causalweights._typing import FloatArray
from causalweights.moments._gmm_covariance import MomentCovariance
from causalweights.moments._models import central_differences
from causalweights.moments._profile import Evaluation, Objective, Restriction
from causalweights.moments._sandwich import inverse_covariance


class ContinuousObjective:
    """``mbar(theta)'Omega(theta)^{-1} mbar(theta) / 2``, exact gradient and Hessian.

    With b = Omega^{-1} mbar the gradient is ``G'b - b'(dOmega) b / 2``; the Hessian is
    exact where residuals are linear in theta.
    """

    def __init__(
        self, restriction: Restriction, w: FloatArray, covariance: MomentCovariance
    ) -> None:
        self.restriction, self.w, self.covariance = restriction, w, covariance

    def __call__(self, theta: FloatArray, near: Evaluation | None) -> Evaluation:
        residual = self.restriction.residual(theta)
        mbar = self.w @ self.restriction.moments(theta)
        p = len(theta)
        none = np.full((p, p), np.nan)
        outside = Evaluation(np.inf, none[0], none, none, 0.0)
        if not np.all(np.isfinite(mbar)):
            return outside
        try:
            W = inverse_covariance(self.covariance.matrix(residual))
        except ValueError:  # singular far from the data: no step goes there
            return outside
        b = W @ mbar
        jacobian = self.restriction.jacobian(theta)
        G = self.restriction.mean_slopes(jacobian, self.w)
        slopes = self.covariance.slopes(residual, jacobian, b)
        H = G - slopes
        gauss_newton = H.T @ W @ H
        return Evaluation(
            0.5 * float(mbar @ b),
            G.T @ b - 0.5 * slopes.T @ b,
            gauss_newton - self.covariance.curvature(jacobian, b),
            gauss_newton,
            0.5 * len(mbar) / self.covariance.data.n_samples,
        )


class DifferencedHessian:
    """An objective with the Hessian that central differences of its gradient give.

    Gauss and Newton's leaves the moments' second derivatives out, and creeps where
    moments that are not met curve.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def __call__(self, theta: FloatArray, near: Evaluation | None) -> Evaluation:
        at = self.objective(theta, near)
        H = central_differences(lambda t: self.objective(t, at).gradient, theta)
        if not np.all(np.isfinite(H)):
            return at
        return replace(at, hessian=0.5 * (H + H.T))
