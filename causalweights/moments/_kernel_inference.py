"""What inference after a fit of the kernel method of moments needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from causalweights._typing import FloatArray
from causalweights.moments._chi2 import omega_kappa, penalized
from causalweights.moments._data import MomentData
from causalweights.moments._dual import Factor
from causalweights.moments._kernel_design import KernelDesign
from causalweights.moments._kernel_fit import KernelFit, KernelSettings
from causalweights.moments._kernel_reference import (
    ObservationFeatures,
    observation_features,
    sample_design,
    stacked_blocks,
)
from causalweights.moments._models import MomentModel, restriction_of
from causalweights.moments._moment_covariance import moment_covariance
from causalweights.moments._profile import Objective, Restriction, minimize
from causalweights.moments._sandwich import sandwich, selector


@dataclass(frozen=True, eq=False)
class RecenteredRestriction(Restriction):
    """Moments less constants, (N, r L)."""

    offset: FloatArray

    def moments(self, theta: FloatArray) -> FloatArray:
        return super().moments(theta) - self.offset


@dataclass(frozen=True, eq=False)
class FixedFeatures:
    """The estimator of a fit with its lam, scale, landmarks and bandwidths held.

    Called, it takes moments less their mean in the sample of the fit.

    Attributes
    ----------
    model : MomentModel
    data : MomentData
        Of the fit.
    found : KernelFit
    settings : KernelSettings
    observations : ObservationFeatures
    """

    model: MomentModel
    data: MomentData
    found: KernelFit
    settings: KernelSettings
    observations: ObservationFeatures

    @classmethod
    def of(
        cls,
        model: MomentModel,
        data: MomentData,
        found: KernelFit,
        settings: KernelSettings,
        method: str,
    ) -> FixedFeatures:
        """Return the estimator; refuse what the method of inference is not for."""
        s = settings
        if s.one_step or s.reference == "kde":
            option = "one_step=True" if s.one_step else "reference='kde'"
            raise ValueError(f"{method} is not offered with {option}.")
        observations = observation_features(
            data, s.kappa, kernel=s.kernel, bandwidth=s.bandwidth,
            n_components=s.n_components, random_state=s.random_state,
        )  # fmt: skip
        return cls(model, data, found, settings, observations)

    @cached_property
    def mean(self) -> FloatArray:
        """Mean moments at the estimate."""
        own = self.design(self.model, self.data)
        return own.w @ own.restriction.moments(self.found.theta)

    def design(self, model: MomentModel, data: MomentData) -> KernelDesign:
        """Return the moments and features of a sample."""
        B = self.found.instruments.transform(data.Z)
        restriction = restriction_of(model, data, B).scaled(self.found.scale)
        rows = np.hstack(list(stacked_blocks(data).values()))
        features = ObservationFeatures(self.observations.transform(rows))
        s = self.settings
        return sample_design(data, restriction, features, s.kappa, s.divergence)

    def combined(
        self, design: KernelDesign, theta: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return moments M (n, q), their slopes G (q, p) and their weight W (q, q)."""
        restriction, w = design.restriction, design.w
        M = restriction.moments(theta)
        G = restriction.mean_slopes(restriction.jacobian(theta), w)
        W: FloatArray = np.eye(len(G))
        if np.isfinite(self.found.lam):
            own = omega_kappa(M, design.Phi, w, design.kappa)
            W = Factor(penalized(own, self.found.lam, None)).solve(W)
        return M, G, W

    def influence(self) -> FloatArray:
        """Return each row's influence on the estimate, times its sampling weight.

        Of held-out rows' combined moments where they chose lam, as the covariance.
        """
        choice = self.found.choice
        if choice is not None and choice.held_out is not None:
            held_out = choice.held_out
            return -np.linalg.solve(held_out.slopes, held_out.scores.T).T
        M, G, W = self.combined(self.design(self.model, self.data), self.found.theta)
        return -M @ selector(G, W).T

    def __call__(
        self, model: MomentModel, data: MomentData
    ) -> tuple[FloatArray, FloatArray]:
        """Return the estimate of another sample, and its sandwich covariance.

        Raises
        ------
        ValueError
            Where there is none.
        """
        s, design = self.settings, self.design(model, data)
        plain, offset = design.restriction, data.moment_weight[:, None] * self.mean
        restriction = RecenteredRestriction(
            plain.residual, plain.jacobian, plain.B, offset
        )
        design = replace(design, restriction=restriction)
        objective = design.objective(self.found.lam)
        minimum = minimize(objective, self.found.theta, s.tol, s.max_iter)
        if not minimum.converged:
            raise ValueError(f"no convergence in max_iter={s.max_iter} steps.")
        theta = minimum.theta
        M, G, W = self.combined(design, theta)
        # Robust for cov_type="unadjusted" too: only the draws' own scale counts.
        omega = moment_covariance(
            M, data.copies, cov_type="robust" if data.groups is None else "cluster",
            groups=data.groups, center=True,
        )  # fmt: skip
        return theta, sandwich(G, W, omega, data.n_samples)

    def criterion(self) -> Objective:
        """Return V, where 2 N times its rise is chi-squared.

        Raises
        ------
        ValueError
            Elsewhere.
        """
        s = self.settings
        kernel = self.model.conditional and s.instrument_features == "rkhs"
        if kernel or np.isfinite(s.kappa) or self.found.lam > 0.0:
            raise ValueError(
                "method='profile' needs a criterion like a likelihood, which this one "
                "is with kappa=inf, lam=0 and instrument_features='linear' or a "
                "function: GEL."
            )
        if self.data.groups is not None or s.covariance.cov_type != "robust":
            raise ValueError(
                "method='profile' of empirical likelihood takes rows as independent "
                "and heteroskedastic: fit without groups, with cov_type='robust'; or "
                "take GMM with steps='cue'."
            )
        return self.design(self.model, self.data).objective(0.0)
