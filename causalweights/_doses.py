"""Checks of continuous treatments."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray

# More distinct numeric values than this (and than a tenth of the rows) is a dose.
_MAX_NUMERIC_ARMS = 20


def check_doses(treatment: Any, n: int) -> FloatArray:
    """Return a continuous treatment as a finite matrix (n, k) that varies."""
    if treatment is None:
        raise ValueError("treatment is missing: pass one label a row, or one dose.")
    dose = np.asarray(treatment)
    if dose.dtype.kind not in "iufb":
        raise ValueError(
            f"treatment has dtype {dose.dtype}: a continuous one must be numeric; "
            "for labels use IPMBalancer, or treatment_type='discrete' of effects."
        )
    dose = dose.astype(np.float64)
    dose = dose[:, None] if dose.ndim == 1 else dose
    if dose.ndim != 2 or dose.shape[0] != n or dose.shape[1] == 0:
        raise ValueError(
            f"treatment has shape {np.shape(treatment)}, X has {n} rows: pass one "
            "value a row of X."
        )
    if not np.isfinite(dose).all():
        row = int(np.argmin(np.isfinite(dose).all(axis=1)))
        raise ValueError(
            f"treatment contains NaN or infinity (first in row {row}): remove those "
            "rows."
        )
    if np.any(np.ptp(dose, axis=0) == 0):
        raise ValueError("treatment is constant, it does not vary: nothing to compare.")
    return dose


def refuse_doses(treatments: np.ndarray, n_samples: int) -> None:
    """Raise a ValueError for labels that look like a continuous treatment."""
    limit = max(_MAX_NUMERIC_ARMS, n_samples // 10)
    if treatments.dtype.kind in "iuf" and len(treatments) > limit:
        raise ValueError(
            f"treatment has {len(treatments)} distinct values: it looks continuous. "
            "Treatments here are discrete arms; group the dose first."
        )
