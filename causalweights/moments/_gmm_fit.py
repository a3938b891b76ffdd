"""Estimates of the generalised method of moments: one step, two, many, continuous."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, block_diag, solve_triangular

from causalweights._typing import FloatArray
from causalweights.moments._chi2 import linear_solution
from causalweights.moments._data import MomentData, check_identified
from causalweights.moments._gmm_covariance import CovarianceOptions, MomentCovariance
from causalweights.moments._gmm_objectives import (
    ContinuousObjective,
    DifferencedHessian,
)
from causalweights.moments._models import MomentModel, restriction_of
from causalweights.moments._profile import (
    Minimum,
    Objective,
    QuadraticObjective,
    Restriction,
    minimize,
    minimize_from,
)
from causalweights.moments._sandwich import (
    inverse_covariance,
    overidentification,
    sandwich,
    windmeijer,
)
from causalweights.moments._starts import moment_minima

# Steps without the moments' second derivatives, where a minimum mostly takes 3 to 8.
_FIRST_STEPS = 15
# Starts of continuous updating lie so many standard errors around the two-step one.
_SPREAD = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class GMMSettings:
    """Options of `fit_gmm`: see `GMM`."""

    steps: int | str
    initial_weight: Any
    covariance: CovarianceOptions
    windmeijer: bool
    n_starts: int
    tol: float
    max_iter: int


@dataclass(frozen=True, slots=True, eq=False)
class GMMFit:
    """An estimate.

    Attributes
    ----------
    theta : ndarray of shape (p,)
    cov : ndarray of shape (p, p)
    W : ndarray of shape (m, m)
        Weight of the moments, of the last step.
    objective : float
        N mbar'W mbar.
    j_statistic : float
    n_iter : int
        Steps; of continuous updating, Newton's.
    converged : bool
    covariance : CovarianceOptions
        As used.
    """

    theta: FloatArray
    cov: FloatArray
    W: FloatArray
    objective: float
    j_statistic: float
    n_iter: int
    converged: bool
    covariance: CovarianceOptions


def fit_gmm(
    model: MomentModel,
    data: MomentData,
    settings: GMMSettings,
    rng: np.random.RandomState,
) -> GMMFit:
    """Estimate theta by the generalised method of moments.

    Instruments are made orthonormal first, so that two-stage least squares' weight is
    the identity and no cross-product of the data is inverted; nothing else depends on
    the basis, and W is returned for the instruments as given. Time O(n m^2 + m^3) a
    step.

    Raises
    ------
    ValueError
        For fewer moments than parameters, parameters that the moments do not
        determine, a covariance of the moments that is singular, and options that do
        not go together.
    """
    if model.linear:
        check_identified(data.X, data.Z, data.x_names)
    root, features = _orthonormal(model, data)
    restriction = restriction_of(model, data, features)
    problem = _Problem(model, data, restriction, settings)
    start = model.start(data)
    n_residuals = model.residual(start, data).shape[1]
    turn = block_diag(*[root] * n_residuals)
    m, p = restriction.B.shape[1] * n_residuals, len(start)
    if m < p:
        raise ValueError(
            f"the model is under-identified: {m} moments for {p} parameters. Add "
            "instruments."
        )
    if m > p and model.conditional and data.Z.shape[1] >= len(data.y):
        raise ValueError(
            f"there are as many instruments as rows, {len(data.y)}, so that any error "
            "is explained: use fewer instruments."
        )
    W = initial_weight(settings.initial_weight, turn)
    theta, converged = problem.first_step(start, W, rng)
    options = settings.covariance.resolved(model, data, theta)
    covariance = MomentCovariance(data, restriction, options)
    state = _State(theta, W, 1, converged)
    if m > p:
        if settings.steps == "cue":
            state = problem.continuous(state, covariance, rng)
        elif settings.steps != 1:
            state = problem.update(state, covariance)
    found = problem.inference(state, covariance, first=theta, first_weight=W)
    # Moments of the instruments as given are turn' those of the basis.
    inverse = np.linalg.inv(turn)
    return GMMFit(
        state.theta, found.cov, inverse @ state.W @ inverse.T, found.objective,
        found.j_statistic, state.n_iter, state.converged, options,
    )  # fmt: skip


def initial_weight(given: Any, turn: FloatArray) -> FloatArray:
    """Return the first weight for moments in the orthonormal basis, (m, m)."""
    if isinstance(given, str):
        W = np.eye(len(turn))
        return W if given == "2sls" else turn @ turn.T
    W = np.asarray(given, dtype=np.float64)
    if W.shape != turn.shape:
        raise ValueError(
            f"initial_weight has shape {W.shape}; there are {len(turn)} moments."
        )
    if not np.all(np.isfinite(W)) or not np.allclose(W, W.T):
        raise ValueError("initial_weight must be finite and symmetric.")
    try:
        np.linalg.cholesky(W)
    except LinAlgError:
        raise ValueError("initial_weight must be positive definite.") from None
    return turn @ W @ turn.T


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    theta: FloatArray
    W: FloatArray
    n_iter: int
    converged: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Inference:
    cov: FloatArray
    objective: float
    j_statistic: float


class _Problem:
    """Steps of one estimate."""

    def __init__(
        self,
        model: MomentModel,
        data: MomentData,
        restriction: Restriction,
        settings: GMMSettings,
    ) -> None:
        self.model, self.data, self.restriction = model, data, restriction
        self.settings, self.masses = settings, data.masses

    def mean(self, theta: FloatArray) -> FloatArray:
        return self.masses @ self.restriction.moments(theta)

    def slopes(self, theta: FloatArray) -> FloatArray:
        jacobian = self.restriction.jacobian(theta)
        return self.restriction.mean_slopes(jacobian, self.masses)

    def solve(self, theta: FloatArray, W: FloatArray) -> tuple[FloatArray, bool]:
        """Return the minimum of ``mbar'W mbar``, and whether it was reached."""
        if self.model.linear:
            zero = np.zeros_like(theta)
            return linear_solution(self.mean(zero), -self.slopes(zero), W), True
        objective = QuadraticObjective(self.restriction, self.masses, W)
        found = self.settled(objective, self.near(objective, theta))
        return found.theta, found.converged

    def near(self, objective: Objective, theta: FloatArray) -> Minimum:
        """Return what Gauss and Newton's steps reach soon, if not the minimum."""
        s = self.settings
        return minimize(objective, theta, s.tol, min(s.max_iter, _FIRST_STEPS))

    def settled(self, objective: Objective, found: Minimum) -> Minimum:
        """Return the minimum next to what was found, if need be by Newton's steps."""
        left = self.settings.max_iter - found.n_iter
        if found.converged or left <= 0:
            return found
        exact = DifferencedHessian(objective)
        last = minimize(exact, found.theta, self.settings.tol, left, found.at)
        return replace(last, n_iter=found.n_iter + last.n_iter)

    def first_step(
        self, start: FloatArray, W: FloatArray, rng: np.random.RandomState
    ) -> tuple[FloatArray, bool]:
        if self.model.linear:
            return self.solve(start, W)
        s = self.settings
        soon = min(s.max_iter, _FIRST_STEPS)
        minima = moment_minima(
            self.restriction, self.masses, [start], s.n_starts, rng, s.tol, soon
        )
        return self.solve(minima[0].theta, W)

    def update(self, state: _State, covariance: MomentCovariance) -> _State:
        """Weight by the inverse covariance at the last estimate, once or repeatedly."""
        iterated = self.settings.steps == "iterated"
        last = self.settings.max_iter if iterated else 2
        theta, W, reached, n_iter = state.theta, state.W, state.converged, 1
        step2 = np.inf
        while n_iter < last and step2 > self.settings.tol**2:
            W = self.weight_at(theta, covariance)
            new, reached = self.solve(theta, W)
            weighted = self.slopes(new) @ (new - theta)
            step2 = self.data.n_samples * float(weighted @ W @ weighted)
            theta, n_iter = new, n_iter + 1
        if iterated:
            reached = reached and step2 <= self.settings.tol**2
        return _State(theta, W, n_iter, reached)

    def weight_at(self, theta: FloatArray, covariance: MomentCovariance) -> FloatArray:
        return inverse_covariance(covariance.matrix(self.restriction.residual(theta)))

    def continuous(
        self, state: _State, covariance: MomentCovariance, rng: np.random.RandomState
    ) -> _State:
        """Minimise over theta the objective with the weight at theta."""
        s = self.settings
        W = self.weight_at(state.theta, covariance)
        theta = self.solve(state.theta, W)[0]
        G = self.slopes(theta)
        cov = sandwich(G, W, np.linalg.inv(W), self.data.n_samples)
        factor = _SPREAD * np.linalg.cholesky(cov)
        draws = rng.standard_normal((s.n_starts - 1, len(theta)))
        objective = ContinuousObjective(self.restriction, self.masses, covariance)
        starts = [theta, *(theta + draws @ factor.T)]
        found = minimize_from(objective, starts, s.tol, min(s.max_iter, _FIRST_STEPS))
        found = self.settled(objective, found)
        W = self.weight_at(found.theta, covariance)
        return _State(found.theta, W, found.n_iter, found.converged)

    def inference(
        self,
        state: _State,
        covariance: MomentCovariance,
        first: FloatArray,
        first_weight: FloatArray,
    ) -> _Inference:
        """Return the covariance of theta and the statistics of the moments left."""
        theta, W, n = state.theta, state.W, self.data.n_samples
        G, mbar = self.slopes(theta), self.mean(theta)
        omega = covariance.matrix(self.restriction.residual(theta))
        objective = float(n * mbar @ W @ mbar)
        if len(G) == G.shape[1]:
            statistic = 0.0
        elif self.settings.steps == 1:
            statistic = overidentification(mbar, G, omega, n)
        else:
            statistic = objective
        if not self.settings.windmeijer or len(G) == G.shape[1]:
            return _Inference(sandwich(G, W, omega, n), objective, statistic)
        residual = self.restriction.residual(first)
        omega_first = covariance.matrix(residual)
        cov_first = sandwich(G, first_weight, omega_first, n)
        cov = sandwich(G, W, omega_first, n)
        jacobian = self.restriction.jacobian(first)
        slopes = covariance.slopes(residual, jacobian, W @ mbar)
        return _Inference(
            windmeijer(cov, cov_first, G, W, slopes), objective, statistic
        )


def refit_gmm(
    model: MomentModel, data: MomentData, settings: GMMSettings
) -> tuple[FloatArray, FloatArray]:
    """Return the estimate of another sample, and its covariance.

    Raises
    ------
    ValueError
        Where there is none.
    """
    found = fit_gmm(model, data, settings, np.random.RandomState(0))
    if not found.converged:
        raise ValueError(f"no convergence in max_iter={settings.max_iter} steps.")
    return found.theta, found.cov


def continuous_objective(
    model: MomentModel, data: MomentData, options: CovarianceOptions
) -> ContinuousObjective:
    """Return the criterion of continuous updating.

    Parameters
    ----------
    model : MomentModel
    data : MomentData
    options : CovarianceOptions
        Resolved.
    """
    restriction = restriction_of(model, data, _orthonormal(model, data)[1])
    covariance = MomentCovariance(data, restriction, options)
    return ContinuousObjective(restriction, data.masses, covariance)


def _orthonormal(
    model: MomentModel, data: MomentData
) -> tuple[FloatArray, FloatArray | None]:
    """Return R and ``Z R^{-1}``, orthonormal under the weights; 1 without instruments.

    Instruments as given are the second times R.
    """
    if not model.conditional:
        return np.ones((1, 1)), None
    masses = data.sample_weight / data.n_samples
    length = np.sqrt(masses @ data.Z**2)
    unit = data.Z / length
    R = np.linalg.qr(np.sqrt(masses)[:, None] * unit)[1]
    features = solve_triangular(R, unit.T, trans="T").T
    return R * length, features
