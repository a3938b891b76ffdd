"""How the images of two samples are compared: a kernel, or a basis of functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.ustatistics._bases import basis_size, evaluate_basis
from causalweights.ustatistics._feature_sums import FeatureSums, regression_sums
from causalweights.ustatistics._imputation import (
    Imputation,
    Sums,
    cancels,
    impute_global,
    impute_per_target,
    impute_regression,
    impute_unnormalized,
)
from causalweights.ustatistics._local_kernels import LOCAL_KERNELS, boundary_mass
from causalweights.ustatistics._order_average import impute_averaged
from causalweights.ustatistics._pair_sums import PairSums


@dataclass(frozen=True, slots=True)
class Comparison:
    """Options of `UniformTransformerEffect` of the same names."""

    kernel: str
    boundary: Any
    normalization: str
    basis: str | None
    degree: int
    basis_gram: str

    @classmethod
    def of(cls, effect: Any) -> Comparison:
        """Return an estimator's; refuse options that do not go together."""
        found = cls(
            effect.kernel, effect.boundary, effect.normalization,
            effect.basis, effect.degree, effect.basis_gram,
        )  # fmt: skip
        averaged = effect.order_average > 1
        if averaged and (found.is_signed or effect.normalization != "per_target"):
            raise ValueError(
                f"order_average={effect.order_average} is for "
                "normalization='per_target' and kernels without negative values."
            )
        return found

    @property
    def is_regression(self) -> bool:
        """Whether the imputation is least squares on a basis."""
        return self.basis is not None and self.basis_gram == "empirical"

    @property
    def sums_vary(self) -> bool:
        """Whether the weights' sum is itself an estimate."""
        return self.normalization == "none" and not self.is_regression

    def per_target(self) -> Comparison:
        """Return the local averages, or the regression, that predictions are.

        Kernels with negative values are refused: near no reference row they average to
        anything.
        """
        if self.is_signed and not self.is_regression:
            raise ValueError(
                "predict_outcome averages outcomes near a row, which takes a kernel "
                f"without negative values; this one is {self.basis or self.kernel!r}."
            )
        return replace(self, normalization="per_target")

    @property
    def is_signed(self) -> bool:
        """Whether kernel values may be negative."""
        return self.basis is not None or not LOCAL_KERNELS[self.kernel].is_positive

    def check_size(self, n_reference: int, d: int) -> None:
        """Refuse a basis of too many functions for the reference rows."""
        if self.basis is None:
            return
        size = basis_size(self.basis, self.degree, d)
        if size > n_reference / 2:
            raise ValueError(
                f"basis={self.basis!r} of degree={self.degree} has {size} functions of "
                f"{d} covariates, more than half of an arm's {n_reference} rows: lower "
                "the degree."
            )

    def sums(
        self, U: FloatArray, V: FloatArray, a: FloatArray, bandwidth: float
    ) -> Sums:
        """Return the kernel sums of reference images U, base weights a, and V."""
        if self.basis is not None:
            F = evaluate_basis(self.basis, self.degree, U)
            G = evaluate_basis(self.basis, self.degree, V)
            return regression_sums(F, G, a) if self.is_regression else FeatureSums(F, G)
        kernel = LOCAL_KERNELS[self.kernel]
        if self.boundary != "renorm":
            return PairSums(kernel, bandwidth, U, V, boundary=self.boundary)
        plain = PairSums(kernel, bandwidth, U, V, boundary="none")
        return _Renormalized(plain, boundary_mass(kernel, bandwidth, V))

    def impute(
        self,
        bandwidth: float,
        images: list[tuple[FloatArray, FloatArray]],
        r: FloatArray,
        a: FloatArray,
        t: FloatArray,
        u: FloatArray,
    ) -> tuple[Imputation, bool]:
        """Return the imputation, and whether it fell back to ``"global"``.

        Kernels that take negative values may leave a target with hardly any sum, by
        which nothing can be divided.
        """
        if len(images) > 1:
            kernel = LOCAL_KERNELS[self.kernel]
            found = impute_averaged(
                kernel, bandwidth, self.boundary, images, r, a, t, u
            )
            return found, False
        U, V = images[0]
        sums = self.sums(U, V, a, bandwidth)
        if self.is_regression:
            return impute_regression(sums, r, a, t, u), False
        if self.normalization == "none":
            return impute_unnormalized(sums, r, a, t, u), False
        fallen = self.normalization == "per_target" and self.is_signed
        fallen = fallen and cancels(sums, a)
        if self.normalization == "global" or fallen:
            return impute_global(sums, r, a, t, u), fallen
        return impute_per_target(sums, r, a, t, u, (U, V)), False


class _Renormalized:
    """Sums of a kernel divided by its mass inside the cube around each target."""

    def __init__(self, sums: Sums, mass: FloatArray):
        self._sums, self._mass = sums, mass

    def to_targets(self, c: FloatArray) -> FloatArray:
        out = self._sums.to_targets(c)
        return out / np.reshape(self._mass, (-1,) + (1,) * (out.ndim - 1))

    def to_reference_powers(
        self, e: FloatArray, f: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        return self._sums.to_reference_powers(e / self._mass, f / self._mass)
