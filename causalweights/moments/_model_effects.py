"""Moment models of means and effects, which need no instrument features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from causalweights._typing import FloatArray
from causalweights.moments._data import MomentData
from causalweights.moments._models import MomentModel


@dataclass(frozen=True)
class ATEMoment(MomentModel):
    """The average treatment effect, doubly robust, of nuisances estimated elsewhere.

    X has four columns: the treatment A (0 or 1), its propensity e, and the predicted
    means m1 of the treated and m0 of the controls, best out of fold. The moment is

        m1 - m0 + A (y - m1) / e - (1 - A) (y - m0) / (1 - e) - theta,

    whose derivative in the nuisances has mean zero, so that the standard error need not
    know that they are estimated. Clusters, weights and tests are those of every model.

    References
    ----------
    .. [1] Robins, Rotnitzky & Zhao (1994), Estimation of regression coefficients when
       some regressors are not always observed, JASA 89.
    """

    conditional = False

    def prepare(self, data: MomentData) -> Self:
        """Check the four columns."""
        if data.X.shape[1] != 4:
            raise ValueError(
                "X must have the four columns treatment, propensity, mean of the "
                f"treated, mean of the controls in ATEMoment; it has {data.X.shape[1]}."
                " No intercept is added: fit_intercept=False."
            )
        if not np.all(np.isin(data.X[:, 0], [0.0, 1.0])):
            raise ValueError("the treatment, column 0 of X, must be 0 or 1.")
        if not np.all((data.X[:, 1] > 0) & (data.X[:, 1] < 1)):
            raise ValueError(
                "propensities, column 1 of X, must lie strictly between 0 and 1: trim "
                "or clip those that do not."
            )
        return self

    def names(self, data: MomentData) -> list[str]:
        """Return "ate"."""
        return ["ate"]

    def start(self, data: MomentData) -> FloatArray:
        """Return the mean difference of the predictions, (1,)."""
        return np.array([np.mean(data.X[:, 2] - data.X[:, 3])])

    def residual(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return the moment, (n, 1)."""
        treated, propensity, m1, m0 = data.X.T
        correction = (
            treated * (data.y - m1) / propensity
            - (1 - treated) * (data.y - m0) / (1 - propensity)
        )  # fmt: skip
        return (m1 - m0 + correction - theta[0])[:, None]

    def residual_jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return minus one, (n, 1, 1)."""
        return -np.ones((len(data.y), 1, 1))


@dataclass(frozen=True)
class LATEMoment(MomentModel):
    """The local average treatment effect, by Wald's ratio.

    X is the treatment, one column, and ``instruments`` one column of 0 and 1. The
    parameters are the effect on the outcome per effect on the treatment, the
    instrument's effect on the treatment (under monotonicity the share of compliers),
    and the share of ones among the instruments:

        (z / s - (1 - z) / (1 - s)) y - late compliers,
        (z / s - (1 - z) / (1 - s)) d - compliers,      z - s.

    References
    ----------
    .. [1] Imbens & Angrist (1994), Identification and estimation of local average
       treatment effects, Econometrica 62.
    """

    conditional = False

    def prepare(self, data: MomentData) -> Self:
        """Check the columns."""
        if data.X.shape[1] != 1 or data.Z.shape[1] != 1:
            raise ValueError(
                "LATEMoment takes one treatment column X and one column of instruments"
                f"; they have {data.X.shape[1]} and {data.Z.shape[1]}. No intercept is "
                "added: fit_intercept=False."
            )
        if not np.array_equal(np.unique(data.Z), [0.0, 1.0]):
            raise ValueError("instruments must be 0 and 1 in LATEMoment, both present.")
        return self

    def names(self, data: MomentData) -> list[str]:
        """Return the three parameters' names."""
        return ["late", "compliers", "instrument_share"]

    def start(self, data: MomentData) -> FloatArray:
        """Return the solution, (3,)."""
        z, w = data.Z[:, 0], data.sample_weight
        share = np.average(z, weights=w)
        contrast = w * (z / share - (1 - z) / (1 - share)) / w.sum()
        compliers = contrast @ data.X[:, 0]
        if abs(compliers) < 1e-12 * np.abs(data.X).max():
            raise ValueError(
                "the model is under-identified: the treatment has the same mean under "
                "both values of the instrument."
            )
        return np.array([contrast @ data.y / compliers, compliers, share])

    def residual(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return the moments, (n, 3)."""
        late, compliers, share = theta
        z = data.Z[:, 0]
        contrast = z / share - (1 - z) / (1 - share)
        return np.column_stack(
            [
                contrast * data.y - late * compliers,
                contrast * data.X[:, 0] - compliers,
                z - share,
            ]
        )

    def residual_jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return the derivatives, (n, 3, 3)."""
        late, compliers, share = theta
        z = data.Z[:, 0]
        slope = -z / share**2 - (1 - z) / (1 - share) ** 2
        out = np.zeros((len(z), 3, 3))
        out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = -compliers, -late, slope * data.y
        out[:, 1, 1], out[:, 1, 2], out[:, 2, 2] = -1.0, slope * data.X[:, 0], -1.0
        return out


@dataclass(frozen=True)
class MeanVariance(MomentModel):
    """Mean and variance of y (divisor n); X is not used."""

    conditional = False

    def names(self, data: MomentData) -> list[str]:
        """Return "mean" and "variance"."""
        return ["mean", "variance"]

    def start(self, data: MomentData) -> FloatArray:
        """Return both, (2,)."""
        mean = np.average(data.y, weights=data.sample_weight)
        square = np.average((data.y - mean) ** 2, weights=data.sample_weight)
        return np.array([mean, square])

    def residual(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return ``y - mean`` and ``(y - mean)^2 - variance``, (n, 2)."""
        error = data.y - theta[0]
        return np.column_stack([error, error**2 - theta[1]])

    def residual_jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return the derivatives, (n, 2, 2)."""
        out = np.zeros((len(data.y), 2, 2))
        out[:, 0, 0] = out[:, 1, 1] = -1.0
        out[:, 1, 0] = -2.0 * (data.y - theta[0])
        return out
