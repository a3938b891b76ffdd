"""Steps of the kernel method of moments, from a checked sample to an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.crossfit import kept_splits, make_folds
from causalweights.moments._chi2 import omega_kappa, penalized
from causalweights.moments._data import MomentData, check_identified
from causalweights.moments._divergences import DivergenceName
from causalweights.moments._dual import Factor
from causalweights.moments._gmm_covariance import CovarianceOptions, MomentCovariance
from causalweights.moments._instrument_features import (
    InstrumentChoice,
    InstrumentFeatures,
    fit_instrument_features,
)
from causalweights.moments._kernel_design import KernelDesign
from causalweights.moments._kernel_reference import (
    observation_features,
    sample_design,
    smoothed_design,
)
from causalweights.moments._lam_choice import (
    REFERENCE_LAM,
    Criterion,
    LamChoice,
    choose_lam,
)
from causalweights.moments._models import MomentModel, restriction_of
from causalweights.moments._moment_features import KernelName
from causalweights.moments._one_step import combined_covariance, efficient_step
from causalweights.moments._profile import Minimum, Restriction, minimize, minimize_from
from causalweights.moments._sandwich import overidentification, sandwich
from causalweights.moments._starts import moment_minima

# Where the moments at every start are infeasible, penalties lead to where they are not.
_LEADING_LAMS = np.geomspace(1e-1, 1e-8, 8)
_NORM_RIDGE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class KernelSettings:
    """Options of `fit_kernel_moments`: see `KernelMoments`."""

    instrument_features: InstrumentChoice
    kappa: float
    lam: float | Literal["auto"]
    divergence: DivergenceName
    covariance: CovarianceOptions
    kernel: KernelName = "gaussian"
    bandwidth: float | Literal["median"] = "median"
    n_components: int | None = 100
    n_instruments: int | None = 60
    reference: Literal["empirical", "kde"] = "empirical"
    n_reference: int = 0
    kde_bandwidth: float = 0.3
    n_starts: int = 5
    cv: Any = 5
    criterion: Criterion = "variance"
    one_step: bool = False
    tol: float = 1e-7
    max_iter: int = 200
    random_state: Any = None
    n_jobs: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KernelFit:
    """An estimate.

    Attributes
    ----------
    theta : ndarray of shape (p,)
    cov : ndarray of shape (p, p)
    minimum : Minimum
        Of V; its theta is the estimate's unless one efficient step followed.
    lam : float
    choice : LamChoice or None
    p : ndarray of shape (N,)
        Implied probabilities of the reference rows.
    bandwidth : dict of str to float
        Of f, by block.
    instruments : InstrumentFeatures
    scale : ndarray of shape (r,)
        Of the residuals, which moments are divided by.
    norm : Factor
        Of held-out mean moments.
    n_moments : int
    j : float or None
        J statistic, where valid.
    converged : bool
    """

    theta: FloatArray
    cov: FloatArray
    minimum: Minimum
    lam: float
    choice: LamChoice | None
    p: FloatArray
    bandwidth: dict[str, float]
    instruments: InstrumentFeatures
    scale: FloatArray
    norm: Factor
    n_moments: int
    j: float | None
    converged: bool


def fit_kernel_moments(
    model: MomentModel, data: MomentData, settings: KernelSettings
) -> KernelFit:
    """Estimate theta by the kernel method of moments.

    Parameters
    ----------
    model : MomentModel
        Prepared.
    data : MomentData
    settings : KernelSettings

    Raises
    ------
    ValueError
        For fewer moments than parameters, more moments than half the rows where they
        must hold exactly, and moments that no weights satisfy.
    """
    s, rng = settings, _generator(settings.random_state)
    smooth = model.conditional and s.instrument_features == "rkhs"
    lam = s.lam if not isinstance(s.lam, str) else None if smooth else 0.0
    B, features = fit_instrument_features(
        model, data, s.instrument_features, orthonormal=lam == 0.0, kernel=s.kernel,
        bandwidth=s.bandwidth, n_instruments=s.n_instruments,
        random_state=s.random_state,
    )  # fmt: skip
    start = model.start(data)
    restriction = restriction_of(model, data, B)
    _check_moments(model, data, B, start, restriction, lam)
    restriction, scale, starts = _scaled_starts(model, data, restriction, start, s, rng)
    observations = observation_features(
        data, s.kappa, kernel=s.kernel, bandwidth=s.bandwidth,
        n_components=s.n_components, random_state=s.random_state,
    )  # fmt: skip
    design = sample_design(data, restriction, observations, s.kappa, s.divergence)
    choice = None
    if lam is None:
        splits = kept_splits(s.cv, data.rows)
        folds = make_folds(splits, len(B), groups=data.groups, random_state=rng)
        reference = _lowest(design, REFERENCE_LAM, starts, s)
        choice = choose_lam(
            design, reference.theta, folds, criterion=s.criterion, instruments=data.Z,
            groups=data.groups, tol=s.tol, max_iter=s.max_iter, n_jobs=s.n_jobs,
        )  # fmt: skip
        lam, starts = choice.lam, [choice.theta, *starts[1:]]
    target = design
    if s.reference == "kde":
        target = smoothed_design(
            model, data, design, observations, features, scale,
            n_draws=s.n_reference or len(B), bandwidth=s.kde_bandwidth, rng=rng,
        )  # fmt: skip
    minimum = _lowest(target, lam, starts, s)
    dual = minimum.at.dual
    found = _inferred(model, data, design, minimum, lam, choice, s)
    valid_j = not (smooth or s.reference == "kde" or s.one_step)
    estimate = KernelFit(
        minimum.theta, found.cov, minimum, lam, choice,
        target.w if dual is None else dual.p / dual.p.sum(),
        observations.bandwidth, features, scale, found.norm, found.G.shape[0],
        _j_statistic(found, data.n_samples) if valid_j else None, minimum.converged,
    )  # fmt: skip
    if not s.one_step:
        return estimate
    folds = make_folds(
        kept_splits(s.cv, data.rows), len(B), groups=data.groups, random_state=rng
    )
    step = efficient_step(restriction, B, minimum.theta, data, folds, found.options)
    return replace(
        estimate, theta=step.theta, cov=step.cov,
        converged=minimum.converged and step.converged,
    )  # fmt: skip


def _generator(random_state: Any) -> np.random.RandomState:
    return check_random_state(0 if random_state is None else random_state)


def _check_moments(
    model: MomentModel,
    data: MomentData,
    B: FloatArray,
    start: FloatArray,
    restriction: Restriction,
    lam: float | None,
) -> None:
    if model.linear and lam == 0.0:
        check_identified(data.X, B, data.x_names)
    n_moments, n = restriction.moments(start).shape[1], len(B)
    if n_moments < len(start):
        raise ValueError(
            f"the model is under-identified: {n_moments} moments for {len(start)} "
            "parameters. Add instruments."
        )
    if lam == 0.0 and 2 * n_moments > n:
        raise ValueError(
            f"{n_moments} moments cannot hold exactly on {n} rows: let lam > 0, or "
            "take fewer instruments."
        )


def _scaled_starts(
    model: MomentModel,
    data: MomentData,
    restriction: Restriction,
    start: FloatArray,
    s: KernelSettings,
    rng: np.random.RandomState,
) -> tuple[Restriction, FloatArray, list[FloatArray]]:
    """Return residuals of unit scale at the best start, their scale, and the starts.

    Starts are the minima of the moments' norm, which is linear least squares for a
    linear model; and the model's own, since the norm may be lowest where V is not.
    """
    n_starts = 1 if model.linear else s.n_starts
    minima = moment_minima(
        restriction, data.masses, [start], n_starts, rng, s.tol, s.max_iter
    )
    weight = data.sample_weight / data.n_samples
    residual = restriction.residual(minima[0].theta)
    scale = np.sqrt(weight @ (residual - weight @ residual) ** 2)
    size = np.sqrt(weight @ restriction.residual(start) ** 2)
    scale = np.where(scale > 1e-10 * size, scale, 1.0)
    restriction = restriction.scaled(scale)
    starts = [minimum.theta for minimum in minima]
    if len(scale) > 1:  # the scale changes what the norm's minima are
        minima = moment_minima(
            restriction, data.masses, starts, len(starts), rng, s.tol, s.max_iter
        )
        starts = [minimum.theta for minimum in minima]
    return restriction, scale, starts if model.linear else [*starts, start]


def _lowest(
    design: KernelDesign, lam: float, starts: Sequence[FloatArray], s: KernelSettings
) -> Minimum:
    """Return the lowest minimum of V from the starts.

    Where no weights satisfy the moments at any start, penalised problems, which always
    have weights, lead towards parameters at which some do.
    """
    objective = design.objective(lam)
    try:
        return minimize_from(objective, starts, s.tol, s.max_iter)
    except ValueError:
        if lam > 0.0:
            raise
    theta = starts[0]
    for leading in _LEADING_LAMS:
        theta = minimize(design.objective(leading), theta, s.tol, s.max_iter).theta
    return minimize_from(objective, [theta], s.tol, s.max_iter)


@dataclass(frozen=True, slots=True, eq=False)
class _Inference:
    cov: FloatArray
    norm: Factor
    mbar: FloatArray
    G: FloatArray
    omega: FloatArray
    options: CovarianceOptions


def _inferred(
    model: MomentModel,
    data: MomentData,
    design: KernelDesign,
    minimum: Minimum,
    lam: float,
    choice: LamChoice | None,
    s: KernelSettings,
) -> _Inference:
    """Return the sandwich with the weight that V has near its minimum.

    Where rows chose their own weights it is that of held-out rows.
    """
    theta, restriction, w = minimum.theta, design.restriction, design.w
    M, residual = restriction.moments(theta), restriction.residual(theta)
    G = restriction.mean_slopes(restriction.jacobian(theta), w)
    options = s.covariance.resolved(model, data, theta)
    omega = MomentCovariance(data, restriction, options).matrix(residual)
    W: FloatArray = np.eye(len(G))
    if np.isfinite(lam):
        own = penalized(omega_kappa(M, design.Phi, w, s.kappa), lam, None)
        W = Factor(own).solve(W)
    if choice is not None and choice.held_out is not None:
        held_out = choice.held_out
        cov = combined_covariance(held_out.scores, held_out.slopes, data, options)
    else:
        cov = sandwich(G, W, omega, data.n_samples)
    centered = MomentCovariance(data, restriction, replace(options, center=True))
    norm = centered.matrix(residual)
    ridge = _NORM_RIDGE * np.eye(len(G))
    return _Inference(cov, Factor(norm + ridge), w @ M, G, norm, options)


def _j_statistic(found: _Inference, n_samples: float) -> float:
    """Return J with a centred covariance.

    It projects the moments on what estimating theta leaves, so that it is chi-squared
    whatever the weight, also where a small kappa makes the weight inefficient.
    """
    identified = found.G.shape[0] == found.G.shape[1]
    if identified or not np.any(found.omega):  # or a fit without residuals
        return 0.0
    return overidentification(found.mbar, found.G, found.omega, n_samples)
