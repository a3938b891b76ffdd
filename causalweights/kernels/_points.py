"""Points of a Gram operator: checks, and the layout that the compiled loops read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights._numba._pointers import STEP_BYTES
from causalweights._numba._vectors import ROWS

# What selects rows or columns: indices, a boolean mask or a slice; None is all.
Selection = ArrayLike | slice | None


def as_points(X: ArrayLike) -> np.ndarray:
    """Return X as a two-dimensional float32 or float64 array."""
    X = np.asarray(X)
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if X.ndim != 2:
        raise ValueError(f"points must be two-dimensional, got shape {X.shape}.")
    if X.shape[1] == 0:
        raise ValueError("points have no columns: a kernel needs at least one.")
    # The compiled loops assume finite numbers and would return garbage.
    if not np.all(np.isfinite(X)):
        raise ValueError("points contain NaN or infinity: remove those rows.")
    return X


def check_same_columns(X: np.ndarray, Y: np.ndarray) -> None:
    """Refuse two samples of points with different numbers of columns."""
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} columns and Y has {Y.shape[1]}: both samples must "
            "hold the same covariates."
        )


def positions(index: Any, size: int) -> np.ndarray:
    """Return positions from indices, a boolean mask or a slice."""
    if isinstance(index, slice):
        return np.arange(size)[index]
    index = np.asarray(index)
    if index.size == 0 and index.dtype != bool:
        index = index.astype(np.intp)
    return np.atleast_1d(np.arange(size)[index])


def step(dtype: np.dtype) -> int:
    """Return the columns of a register block."""
    return STEP_BYTES // np.dtype(dtype).itemsize


def pad(values: np.ndarray, multiple: int) -> np.ndarray:
    """Return a copy whose last axis is padded with zeros to a multiple."""
    size = values.shape[-1]
    out = np.zeros((*values.shape[:-1], -(-size // multiple) * multiple), values.dtype)
    out[..., :size] = values
    return out


def pack_rows(X: np.ndarray) -> np.ndarray:
    """Return the rows flat, padded with zero rows to whole register blocks."""
    return pad(X.reshape(-1), ROWS * X.shape[1])


def pack_columns(Y: np.ndarray) -> np.ndarray:
    """Return points as a panel: flat (m / step, d, step), padded with zeros."""
    d, width = Y.shape[1], step(Y.dtype)
    blocks = pad(Y.reshape(-1), width * d).reshape(-1, width, d)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1)


def squared_norms(X: np.ndarray) -> np.ndarray:
    """Return ``|x|^2`` of each row."""
    return np.einsum("ij,ij->i", X, X)


def origin_norms(X: np.ndarray, origins: list) -> np.ndarray:
    """Return the distance of each row to each energy term's origin, (a, n), a >= 1."""
    if not origins:
        return np.zeros((1, X.shape[0]), X.dtype)
    norms = []
    for origin in origins:
        z = np.zeros(X.shape[1]) if origin is None else np.asarray(origin)
        if z.shape != (X.shape[1],):
            raise ValueError(
                f"Energy(origin=...) has {z.size} entries, X has {X.shape[1]} columns."
            )
        norms.append(np.sqrt(squared_norms(X - z.astype(X.dtype))))
    return np.ascontiguousarray(norms)


def room_for(
    shape: tuple[int, int], dtype: np.dtype, out: np.ndarray | None
) -> np.ndarray:
    """Return a new array, or the caller's where loops can write to it."""
    if out is None:
        return np.empty(shape, dtype)
    usable = out.flags.c_contiguous and out.flags.writeable
    if out.shape != shape or out.dtype != dtype or not usable:
        raise ValueError(
            f"out must be a writeable, C-contiguous array of shape {shape} and "
            f"dtype {dtype}, got {out.shape} of {out.dtype}."
        )
    return out
