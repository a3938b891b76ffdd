"""A target population outside the sample: its rows pooled with the sample's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from causalweights._typing import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """Covariates (m, d) as the caller gave them, and masses (m,) of sum one."""

    X: Any
    masses: FloatArray

    @property
    def n_rows(self) -> int:
        return len(self.masses)

    def pad(self, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Return values of the sample's rows followed by `fill` for each of these."""
        values = np.asarray(values)
        return np.concatenate([values, np.full(self.n_rows, fill, values.dtype)])

    def stack(self, X: Any) -> Any:
        """Return the sample's covariates with these rows below, of one kind."""
        if not hasattr(X, "columns"):
            return np.vstack([np.asarray(X), np.asarray(self.X)])
        import pandas as pd

        rows = self.X
        if not hasattr(rows, "columns"):
            rows = pd.DataFrame(np.asarray(rows), columns=list(X.columns))
        frames = [f.to_pandas() if hasattr(f, "to_pandas") else f for f in (X, rows)]
        return pd.concat(
            [frame[list(frames[0].columns)] for frame in frames], ignore_index=True
        )


def outside_of(weighter: Any, last: Any) -> Outside | None:
    """Return the target of a fitted weighter, None where it is in the sample."""
    goal = getattr(last, "_goal", None)
    if goal is None:
        return None
    if isinstance(weighter, Pipeline) and len(weighter) > 1:
        raise ValueError(
            "target= of a weighter behind other steps of a Pipeline is in the scale of "
            "its last step, which the outcome model does not see: pass the weighter "
            "alone."
        )
    weight = last.target_weight
    X = last.target
    if weight is not None:
        X = _safe_indexing(X, np.flatnonzero(np.asarray(weight).ravel() > 0))
    return Outside(X, goal.masses)


def pooled_rows(
    outside: Outside | None,
    y: FloatArray,
    codes: IntArray,
    masses: FloatArray,
    target_masses: FloatArray,
) -> tuple[FloatArray, IntArray, FloatArray, FloatArray]:
    """Return outcome, arm, masses and target masses with the target's rows below."""
    if outside is None:
        return y, codes, masses, target_masses
    target = np.append(target_masses, outside.masses)
    return outside.pad(y), outside.pad(codes), outside.pad(masses), target


def outside_rows(
    outside: Outside, frequency: FloatArray | None, groups: np.ndarray | None
) -> tuple[FloatArray | None, np.ndarray | None]:
    """Return frequencies and clusters with the target's rows, each its own, below."""
    if frequency is not None:
        frequency = outside.pad(frequency, 1.0)
    if groups is not None:
        _, index = np.unique(groups, return_inverse=True)
        own = index.max() + 1 + np.arange(outside.n_rows)
        groups = np.concatenate([index, own])
    return frequency, groups
