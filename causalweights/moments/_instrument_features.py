"""Functions of the instruments that a conditional moment restriction is tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.linalg import solve_triangular

from causalweights._typing import FloatArray
from causalweights.kernels import LandmarkFeatures
from causalweights.moments._data import MomentData
from causalweights.moments._models import MomentModel
from causalweights.moments._moment_features import (
    BlockScale,
    KernelName,
    fit_block_scale,
    kernel_features,
)

InstrumentChoice = Literal["rkhs", "linear"] | Callable[[FloatArray], Any]
# Of a column of unit length, what the others leave where it depends on them.
_DEPENDENT = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentFeatures:
    """b(z) of any rows.

    Attributes
    ----------
    choice : "rkhs", "linear", callable or None
        None for a model without instruments: b is one.
    scale : BlockScale or None
    landmarks : LandmarkFeatures or None
    turn : ndarray of shape (L, L) or None
        Makes the features of the sample orthonormal.
    """

    choice: InstrumentChoice | None
    scale: BlockScale | None = None
    landmarks: LandmarkFeatures | None = None
    turn: FloatArray | None = None

    def transform(self, Z: FloatArray) -> FloatArray:
        """Return the features (m, L) of instruments (m, k)."""
        B = self._plain(Z)
        return B if self.turn is None else B @ self.turn

    def _plain(self, Z: FloatArray) -> FloatArray:
        if self.choice is None:
            return np.ones((len(Z), 1))
        if self.landmarks is not None and self.scale is not None:
            return self.landmarks.transform(self.scale.transform(Z))[0]
        if callable(self.choice):
            return _called(self.choice, Z)
        return Z


def fit_instrument_features(
    model: MomentModel,
    data: MomentData,
    choice: InstrumentChoice,
    *,
    orthonormal: bool,
    kernel: KernelName = "gaussian",
    bandwidth: float | Literal["median"] = "median",
    n_instruments: int | None = 60,
    random_state: Any = None,
) -> tuple[FloatArray, InstrumentFeatures]:
    """Return the features of the sample, (n, L), and what makes those of other rows.

    Parameters
    ----------
    model : MomentModel
    data : MomentData
    choice : {"rkhs", "linear"} or callable
        Landmark features of a kernel, the instruments themselves, or a function of
        them that returns (n, L).
    orthonormal : bool
        Combine the features so that they are orthonormal under the weights: without a
        penalty nothing else depends on the basis.
    kernel, bandwidth, n_instruments, random_state
        As in `fit_block_scale` and `kernel_features`.

    Raises
    ------
    ValueError
        For a callable's output of another shape, or features to be made orthonormal
        that are linearly dependent.
    """
    if not model.conditional:
        return np.ones((len(data.y), 1)), InstrumentFeatures(None)
    if choice == "rkhs":
        blocks, share = {"instruments": data.Z}, data.sample_weight / data.n_samples
        scale = fit_block_scale(blocks, share, bandwidth, kernel, random_state)
        points = scale.transform(data.Z)
        B, landmarks = kernel_features(points, kernel, n_instruments, random_state)
        features = InstrumentFeatures(choice, scale, landmarks)
    else:
        features = InstrumentFeatures(choice)
        B = features.transform(data.Z)
    if not orthonormal:
        return B, features
    masses = data.sample_weight / data.n_samples
    length = np.sqrt(masses @ B**2)
    unit = np.sqrt(masses)[:, None] * (B / np.where(length > 0, length, 1.0))
    R = np.linalg.qr(unit, mode="r")
    least = np.min(np.abs(np.diagonal(R))) if len(R) == B.shape[1] else 0.0
    if least <= _DEPENDENT:
        raise ValueError(
            f"the {B.shape[1]} functions of the instruments are linearly dependent on "
            f"{len(B)} rows: take fewer (n_instruments), or lam > 0."
        )
    inverse = solve_triangular(R, np.eye(len(R)))
    turn = inverse / length[:, None]
    return B @ turn, replace(features, turn=turn)


def _called(function: Callable[[FloatArray], Any], Z: FloatArray) -> FloatArray:
    B = np.asarray(function(Z), dtype=np.float64)
    if B.ndim != 2 or len(B) != len(Z) or not np.all(np.isfinite(B)):
        raise ValueError(
            f"instrument_features must return a finite array of shape ({len(Z)}, L) "
            f"for instruments of shape {Z.shape}; it returned shape {B.shape}."
        )
    return B
