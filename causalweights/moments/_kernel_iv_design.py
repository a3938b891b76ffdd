"""Nonparametric instrumental variables as linear moments of an unknown function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from causalweights._scaling import Scaling, fit_scaling
from causalweights._typing import FloatArray
from causalweights.kernels import LandmarkFeatures
from causalweights.moments._data import MomentData
from causalweights.moments._moment_features import (
    BlockScale,
    fit_block_scale,
    kernel_features,
)
from causalweights.moments._sigmoid_kernel import (
    SigmoidFeatures,
    sigmoid_features,
    sigmoid_variance,
)

# Functions of the instruments need rows to learn their covariance from.
_ROWS_PER_LANDMARK = 8
# Share of the largest direction of functions of the instruments below which one is
# rounding.
_DEPENDENT = 1e-7
# Most features of a smooth part; in one dimension its kernel has fewer directions.
_N_FEATURES = 200
# Below, the estimate leans towards the regression by a tenth or more.
_WEAK = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentBasis:
    """Functions of the instruments: a constant, then orthonormal ones of mean zero.

    They span the instruments and landmark features of a Gaussian kernel.

    Attributes
    ----------
    scale : BlockScale
    landmarks : LandmarkFeatures
    center : ndarray of shape (k,)
    turn : ndarray of shape (k, L - 1)
    """

    scale: BlockScale
    landmarks: LandmarkFeatures
    center: FloatArray
    turn: FloatArray

    def transform(self, Z: FloatArray) -> FloatArray:
        """Return the functions' values (m, L) at instruments (m, q)."""
        points = self.scale.transform(Z)
        columns = np.column_stack([points, self.landmarks.transform(points)[0]])
        return _with_constant((columns - self.center) @ self.turn)


def fit_instrument_basis(
    data: MomentData,
    bandwidth: float | Literal["median"] = "median",
    n_instruments: int = 30,
    random_state: Any = None,
) -> tuple[FloatArray, InstrumentBasis]:
    """Return functions of the sample's instruments, (n, L), and those of other rows.

    Parameters
    ----------
    data : MomentData
    bandwidth : float or "median", default="median"
    n_instruments : int, default=30
        Landmarks; at most an eighth of the rows.
    random_state : int, RandomState or None, default=None
    """
    share = data.sample_weight / data.n_samples
    blocks = {"instruments": data.Z}
    scale = fit_block_scale(blocks, share, bandwidth, random_state=random_state)
    points = scale.transform(data.Z)
    few = max(int(data.n_samples) // _ROWS_PER_LANDMARK, 1)
    features, landmarks = kernel_features(
        points, n_components=min(n_instruments, few), random_state=random_state
    )
    columns = np.column_stack([points, features])
    center = share @ columns
    columns = columns - center
    length = np.sqrt(share @ columns**2)
    length[length == 0] = 1.0
    _, size, rotation = np.linalg.svd(
        np.sqrt(share)[:, None] * columns / length, full_matrices=False
    )
    kept = size > _DEPENDENT * size[0]
    turn = (rotation[kept] / size[kept, None] / length).T
    return (
        _with_constant(columns @ turn),
        InstrumentBasis(scale, landmarks, center, turn),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SmoothPart:
    """A Gaussian process, of which the moments see some directions.

    Attributes
    ----------
    steepness : float
        Scale of the points that the kernel compares.
    features : SigmoidFeatures
    turn : ndarray of shape (r, l)
        Orthonormal: the directions of the features that the moments see.
    """

    steepness: float
    features: SigmoidFeatures
    turn: FloatArray

    def transform(self, points: FloatArray) -> FloatArray:
        """Return the directions seen, (m, l), at standardised regressors."""
        return self.features.transform(self.steepness * points) @ self.turn

    def unseen(self, points: FloatArray) -> FloatArray:
        """Return columns (m, r + 1) that make up the rest of the kernel.

        The last is what the features leave beyond the rows that they come from, taken
        as one direction.
        """
        scaled = self.steepness * points
        phi = self.features.transform(scaled)
        left = sigmoid_variance(scaled) - np.einsum("mr,mr->m", phi, phi)
        rest = phi - (phi @ self.turn) @ self.turn.T
        return np.column_stack([rest, np.sqrt(np.maximum(left, 0.0))])


@dataclass(frozen=True, slots=True, eq=False)
class FunctionBasis:
    """Columns of an unknown function of the regressors.

    Attributes
    ----------
    scaling : Scaling
    parts : tuple of SmoothPart
    """

    scaling: Scaling
    parts: tuple[SmoothPart, ...]

    def transform(self, X: FloatArray) -> FloatArray:
        """Return constant, standardised regressors and all smooth parts, (m, p)."""
        points = self.scaling.transform(X)
        smooth = [part.transform(points) for part in self.parts]
        return _with_constant(np.column_stack([points, *smooth]))

    def unseen(self, X: FloatArray, part: int) -> FloatArray:
        """Return the columns of one part that the moments do not see."""
        return self.parts[part].unseen(self.scaling.transform(X))


@dataclass(frozen=True, slots=True, eq=False)
class FunctionMoments:
    """Sample moments m = A theta + noise of a function ``H theta``.

    Attributes
    ----------
    B : ndarray of shape (n, L)
        Functions of the instruments, orthonormal under ``masses``, a constant first.
    H : ndarray of shape (n, p)
        Constant, d standardised regressors, smooth parts.
    u : ndarray of shape (n,)
        Outcome of mean zero and variance one.
    masses : ndarray of shape (n,)
        Row weights, sum one.
    m, A : ndarray of shape (L,) and (L, p)
        Mean moments of the outcome and of the columns of H.
    n_samples : float
        N.
    bounds : tuple of int
        Where the smooth parts begin, the first after the regressors, and p.
    """

    B: FloatArray
    H: FloatArray
    u: FloatArray
    masses: FloatArray
    m: FloatArray
    A: FloatArray
    n_samples: float
    bounds: tuple[int, ...]

    def first_stage_f(self) -> FloatArray:
        """Return the F statistic of each regressor on the instruments' functions, (d,).

        Zero where there are as many functions as rows.
        """
        L = len(self.m)
        explained = np.sum(self.A[1:, 1 : self.bounds[0]] ** 2, axis=0)
        left = np.maximum(1.0 - explained, np.finfo(np.float64).eps)
        return explained / left * max(self.n_samples - L, 0.0) / max(L - 1, 1)


def weakness(names: Sequence[str], f: FloatArray, n_functions: int) -> str | None:
    """Return what to say of regressors with a small first-stage F, if any."""
    weak = [name for name, value in zip(names, f, strict=True) if value < _WEAK]
    if not weak:
        return None
    return (
        f"the instruments are weak for {', '.join(weak)}: the first-stage F of "
        f"{n_functions} functions of them is {f.min():.1f}, below {_WEAK:g}, and the "
        "estimate leans towards the regression of y on X. Take fewer functions "
        "(n_instruments), and put exogenous columns of X among the instruments."
    )


def function_moments(
    data: MomentData,
    B: FloatArray,
    u: FloatArray,
    steepness: Sequence[float],
    random_state: Any = None,
) -> tuple[FunctionMoments, FunctionBasis]:
    """Return the moments of a sample, and the columns of other rows.

    Of each smooth part only the directions that B sees are kept, min(L, r): the others
    keep their prior. Time O(n (L + r)^2) and memory O(n (L + r)) a part.

    Parameters
    ----------
    data : MomentData
    B : ndarray of shape (n, L)
    u : ndarray of shape (n,)
    steepness : sequence of float
        One smooth part each.
    random_state : int, RandomState or None, default=None

    Raises
    ------
    ValueError
        If all regressors are constant.
    """
    masses = data.sample_weight / data.n_samples
    scaling = fit_scaling(data.X, masses)
    points = scaling.transform(data.X)
    weighted = (masses[:, None] * B).T
    columns, parts, bounds = [points], [], [1 + points.shape[1]]
    for scale in steepness:
        Phi, features = sigmoid_features(scale * points, _N_FEATURES, random_state)
        turn = np.linalg.svd(weighted @ Phi, full_matrices=False)[2].T
        parts.append(SmoothPart(scale, features, turn))
        columns.append(Phi @ turn)
        bounds.append(bounds[-1] + turn.shape[1])
    H = _with_constant(np.column_stack(columns))
    moments = FunctionMoments(
        B, H, u, masses, weighted @ u, weighted @ H, data.n_samples, tuple(bounds)
    )
    return moments, FunctionBasis(scaling, tuple(parts))


def _with_constant(columns: FloatArray) -> FloatArray:
    return np.column_stack([np.ones(len(columns)), columns])
