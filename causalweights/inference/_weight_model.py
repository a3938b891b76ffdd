"""Smooth weights as an M-estimator: what their estimation adds to a standard error."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from causalweights._typing import FloatArray


@dataclass(frozen=True, slots=True)
class _ByRow:
    """Fields that are arrays of shape (n, p), by row."""

    def take(self, rows: np.ndarray) -> Self:
        """Return the same of some rows."""
        parts = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(part[rows] for part in parts))

    def spread(self, rows: np.ndarray) -> Self:
        """Return the same in the caller's rows (n_all,) bool, zero on the others."""
        out = []
        for field in fields(self):
            part = getattr(self, field.name)
            out.append(np.zeros((len(rows), part.shape[1])))
            out[-1][rows] = part
        return type(self)(*out)


@dataclass(frozen=True, slots=True)
class WeightModel(_ByRow):
    """First-order behaviour of weights with finitely many estimated parameters.

    Attributes
    ----------
    log_gradient : ndarray of shape (n, p)
        Derivative of each row's log unnormalised mass with respect to the parameters
        (normalisation within the arm is accounted for by the user of this object);
        zero rows for an arm that is left as it is.
    influence : ndarray of shape (n, p)
        Contributions to the error of the estimated parameters, theta_hat - theta =
        sum_i influence_i to first order, the covariates' target held fixed.
    target_influence : ndarray of shape (n, p)
        What sampling the target's covariates adds; zero where the target is fixed.
    """

    log_gradient: FloatArray
    influence: FloatArray
    target_influence: FloatArray


@dataclass(frozen=True, slots=True)
class TargetModel(_ByRow):
    """First-order behaviour of a target population that is itself estimated.

    The overlap population is one: its density depends on the propensity.

    Attributes
    ----------
    log_gradient : ndarray of shape (n, p)
        Derivative of each row's log unnormalised target mass with respect to the
        parameters.
    influence : ndarray of shape (n, p)
        Contributions to the error of the estimated parameters.
    """

    log_gradient: FloatArray
    influence: FloatArray
