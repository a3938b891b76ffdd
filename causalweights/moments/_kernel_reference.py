"""Reference laws of the kernel method of moments: the sample, or smoothed by draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from causalweights._typing import FloatArray
from causalweights.kernels import LandmarkFeatures
from causalweights.moments._data import MomentData
from causalweights.moments._divergences import DivergenceName
from causalweights.moments._instrument_features import InstrumentFeatures
from causalweights.moments._kernel_design import KernelDesign
from causalweights.moments._models import MomentModel, restriction_of
from causalweights.moments._moment_features import (
    BlockScale,
    KernelName,
    fit_block_scale,
    kernel_features,
    smoothed_rows,
)
from causalweights.moments._profile import Restriction


@dataclass(frozen=True, slots=True, eq=False)
class ObservationFeatures:
    """Features of f of the observations w = (instruments, X, y).

    Attributes
    ----------
    Phi : ndarray of shape (n, D)
        Of the sample; without columns where f is zero.
    scale : BlockScale or None
    landmarks : LandmarkFeatures or None
    """

    Phi: FloatArray
    scale: BlockScale | None = None
    landmarks: LandmarkFeatures | None = None

    @property
    def bandwidth(self) -> dict[str, float]:
        """Bandwidths by block, in standard deviations."""
        return {} if self.scale is None else self.scale.bandwidth

    def transform(self, rows: FloatArray) -> FloatArray:
        """Return the features of other stacked rows."""
        if self.scale is None or self.landmarks is None:
            return np.empty((len(rows), 0))
        return self.landmarks.transform(self.scale.transform(rows))[0]


def stacked_blocks(data: MomentData) -> dict[str, FloatArray]:
    """Return what w is made of.

    Instruments come first: exogenous regressors are copies of them and left out.
    """
    return {"instruments": data.Z, "X": data.X, "y": data.y[:, None]}


def observation_features(
    data: MomentData,
    kappa: float,
    *,
    kernel: KernelName = "gaussian",
    bandwidth: float | Literal["median"] = "median",
    n_components: int | None = 100,
    random_state: Any = None,
) -> ObservationFeatures:
    """Return the features of the sample; none where kappa is inf."""
    if np.isinf(kappa):
        return ObservationFeatures(np.empty((len(data.y), 0)))
    blocks, share = stacked_blocks(data), data.sample_weight / data.n_samples
    scale = fit_block_scale(blocks, share, bandwidth, kernel, random_state)
    points = scale.transform(np.hstack(list(blocks.values())))
    Phi, landmarks = kernel_features(points, kernel, n_components, random_state)
    return ObservationFeatures(Phi, scale, landmarks)


def sample_design(
    data: MomentData,
    restriction: Restriction,
    features: ObservationFeatures,
    kappa: float,
    divergence: DivergenceName,
) -> KernelDesign:
    """Return the design whose reference is the sample."""
    w = data.masses
    return KernelDesign(
        restriction, features.Phi, w @ features.Phi, w, kappa, divergence
    )


def smoothed_design(
    model: MomentModel,
    data: MomentData,
    design: KernelDesign,
    observations: ObservationFeatures,
    instruments: InstrumentFeatures,
    scale: FloatArray,
    *,
    n_draws: int,
    bandwidth: float,
    rng: np.random.RandomState,
) -> KernelDesign:
    """Return the design whose reference is the sample and draws around its rows.

    Every row and every draw has the same share, but for frequency weights.

    Parameters
    ----------
    model : MomentModel
    data : MomentData
    design : KernelDesign
        With the sample as reference.
    observations, instruments : ObservationFeatures, InstrumentFeatures
    scale : ndarray of shape (r,)
        Of the residuals.
    n_draws : int
    bandwidth : float
        In standard deviations of each column.
    rng : RandomState
    """
    blocks = stacked_blocks(data)
    rows = np.hstack(list(blocks.values()))
    share = data.sample_weight / data.n_samples
    picked, drawn = smoothed_rows(rows, share, n_draws, bandwidth, rng)
    ends = np.cumsum([block.shape[1] for block in blocks.values()])[:-1]
    Z, X, y = np.split(drawn, ends, axis=1)
    draws = replace(
        data, X=X, y=y[:, 0], Z=Z, sample_weight=data.sample_weight[picked],
        groups=None, rows=np.ones(n_draws, dtype=bool),
    )  # fmt: skip
    own = design.restriction
    new = restriction_of(model, draws, instruments.transform(Z)).scaled(scale)
    restriction = Restriction(
        lambda theta: np.concatenate([own.residual(theta), new.residual(theta)]),
        lambda theta: np.concatenate([own.jacobian(theta), new.jacobian(theta)]),
        np.concatenate([own.B, new.B]),
    )
    part = len(rows) / (len(rows) + n_draws)
    w = np.concatenate([part * data.masses, (1.0 - part) * draws.masses])
    Phi = np.concatenate([observations.Phi, observations.transform(drawn)])
    return replace(design, restriction=restriction, Phi=Phi, w=w)
