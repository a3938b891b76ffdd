"""One arm's rows as the reference: its map, bandwidth and imputed outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from causalweights._typing import FloatArray, IntArray
from causalweights.inference import neighbor_residuals
from causalweights.ustatistics._bandwidth import (
    Rung,
    lepski,
    lepski_ladder,
    rule_bandwidth,
)
from causalweights.ustatistics._comparison import Comparison
from causalweights.ustatistics._imputation import Imputation
from causalweights.ustatistics._transformer import UniformTransformer


@dataclass(frozen=True, slots=True, eq=False)
class ArmFit:
    """What an arm's reference rows say of the target rows.

    Attributes
    ----------
    bandwidth : float
        NaN where a basis needs none.
    imputation : Imputation
    fell_back : bool
        Whether ``normalization="per_target"`` became ``"global"``.
    residuals : ndarray of shape (m,)
        Of the reference rows from their neighbors, scaled to the noise's variance.
    images, outcomes, base : ndarray
        Of the reference rows, for predictions.
    """

    bandwidth: float
    imputation: Imputation
    fell_back: bool
    residuals: FloatArray
    images: FloatArray
    outcomes: FloatArray
    base: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ArmRows:
    """Reference rows and target rows of one arm's imputation.

    Attributes
    ----------
    reference, targets : ndarray of shape (m,) and (n,)
        Positions.
    r : ndarray of shape (m,)
        Outcomes, or residuals from a model.
    a : ndarray of shape (m,)
        Base weights: sampling weights or frequencies.
    t : ndarray of shape (n,)
        Target masses.
    copies : tuple of ndarray of shape (m,) and (n,)
        Rows that each one stands for.
    """

    reference: IntArray
    targets: IntArray
    r: FloatArray
    a: FloatArray
    t: FloatArray
    copies: tuple[FloatArray, FloatArray]

    @property
    def size(self) -> float:
        """Number of rows of both samples."""
        return float(self.copies[0].sum() + self.copies[1].sum())


class Map:
    """A function of covariates in the clothes of a fitted transformer."""

    def __init__(self, function: Callable[[Any], Any]):
        self.transform = function


def fit_map(transformer: Any, X: FloatArray, rows: ArmRows, weight_type: str) -> Any:
    """Return the map of the reference rows to the unit cube.

    Parameters
    ----------
    transformer : "none", transformer or callable
        A transformer is cloned and fitted on the reference rows, one in
        ``FrozenEstimator`` is used as it is.
    X : ndarray of shape (n, d)
        Covariates of all rows.
    rows : ArmRows
    weight_type : str
    """
    if isinstance(transformer, str):
        return Map(np.asarray)
    if isinstance(transformer, FrozenEstimator):
        return transformer
    if not hasattr(transformer, "fit"):
        return Map(transformer)
    fitted = clone(transformer)
    if not isinstance(fitted, UniformTransformer):
        return fitted.fit(X[rows.reference])
    if fitted.bounds is None:
        both = X[np.concatenate([rows.reference, rows.targets])]
        fitted.set_params(bounds=np.array([both.min(axis=0), both.max(axis=0)]))
    fitted.set_params(weight_type=weight_type)
    return fitted.fit(X[rows.reference], sample_weight=rows.a)


def images_of(fitted: Any, X: FloatArray) -> FloatArray:
    """Return the images of rows; refuse any outside the unit cube."""
    images = np.asarray(fitted.transform(X), dtype=np.float64)
    if images.ndim != 2 or len(images) != len(X):
        raise ValueError(
            f"transformer returned an array of shape {images.shape} for {len(X)} rows: "
            "it must return one image a row, (n, d)."
        )
    if not np.all((images >= 0) & (images <= 1)):
        raise ValueError(
            "transformer must map into the unit cube [0, 1]^d; its images go from "
            f"{images.min():g} to {images.max():g}. Use transformer='rank', or scale X."
        )
    return images


def fit_arm(
    comparison: Comparison,
    bandwidth: Any,
    images: list[tuple[FloatArray, FloatArray]],
    rows: ArmRows,
    *,
    n_neighbors: int,
    frequency: bool,
) -> ArmFit:
    """Compare the images and impute: for several maps, the average imputation.

    Parameters
    ----------
    comparison : Comparison
    bandwidth : str, float or callable
    images : list of tuple of ndarray of shape (m, d) and (n, d)
        Of reference and target rows, by each map.
    rows : ArmRows
    n_neighbors : int
    frequency : bool
        Whether base weights count rows.
    """
    U, V = images[0]
    comparison.check_size(len(U), U.shape[1])
    residuals = neighbor_residuals(
        U, rows.r, np.zeros(len(U), dtype=np.intp),
        n_neighbors=n_neighbors, frequency=rows.copies[0] if frequency else None,
    )  # fmt: skip
    u = rows.t / np.sqrt(rows.copies[1])

    def impute(h: float) -> tuple[Imputation, bool]:
        return comparison.impute(h, images, rows.r, rows.a, rows.t, u)

    if comparison.basis is not None:
        h, found = np.nan, impute(np.nan)
    elif isinstance(bandwidth, str) and bandwidth == "lepski":
        h, found = _climb(impute, rows, residuals, U.shape[1])
    else:
        h = rule_bandwidth(bandwidth, rows.size, U, V)
        found = impute(h)
    return ArmFit(h, *found, residuals, U, rows.r, rows.a)


def _climb(
    impute: Callable[[float], tuple[Imputation, bool]],
    rows: ArmRows,
    residuals: FloatArray,
    d: int,
) -> tuple[float, tuple[Imputation, bool]]:
    """Return Lepski's bandwidth for these rows, and the imputation with it."""
    copies, found = rows.copies[0], {}
    variance = float(np.average(residuals**2, weights=copies))

    def fit(h: float) -> Rung:
        found[h] = impute(h)
        received = found[h][0].received
        # Divided so that squares of rows that stand for several add up like copies'.
        return Rung(h, float(received @ rows.r), received / np.sqrt(copies))

    h = lepski(lepski_ladder(rows.size, d), fit, variance)[-1].bandwidth
    return h, found[h]
