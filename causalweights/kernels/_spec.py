"""What a kernel hands to the compiled loops: a sum of products of terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from causalweights._numba import _gram
from causalweights._numba import _profiles as codes

DOT_CODES = (codes.LINEAR, codes.POLYNOMIAL)
RADIAL_CODES = (
    codes.GAUSSIAN,
    codes.LAPLACE,
    codes.MATERN12,
    codes.MATERN32,
    codes.MATERN52,
)


@dataclass(frozen=True)
class Spec:
    """A kernel as a sum of products of terms ``(code, scale, first, second)``."""

    products: tuple[tuple[float, tuple[tuple, ...]], ...]

    @staticmethod
    def sum(products: Sequence[tuple[float, Sequence[tuple]]]) -> Spec:
        return Spec(tuple((float(c), tuple(terms)) for c, terms in products))

    @property
    def terms(self) -> list[tuple]:
        return [term for _, terms in self.products for term in terms]


def compile_spec(spec: Spec, dtype: np.dtype) -> _gram.Program:
    """Return the spec as flat arrays."""
    term_codes, group, params, seen_energy = [], [], [], 0
    for g, (_, terms) in enumerate(spec.products):
        for code, scale, first, second in terms:
            if code == codes.ENERGY:  # its first parameter indexes the norm rows
                first, seen_energy = seen_energy, seen_energy + 1
            term_codes.append(code)
            group.append(g)
            params.append((scale, first, second))
    coefs = [c for c, _ in spec.products]
    return _gram.Program(
        len(term_codes),
        np.asarray(term_codes, dtype=np.int64),
        np.asarray(group, dtype=np.int64),
        np.asarray(params, dtype=dtype).reshape(-1),
        np.asarray(coefs, dtype=dtype),
    )


def radial_scales(spec: Spec, bandwidths: ArrayLike) -> np.ndarray:
    """Return the factor of the distance for each bandwidth of a one-term kernel."""
    terms = spec.terms
    if len(terms) != 1 or terms[0][0] not in RADIAL_CODES:
        raise ValueError(
            "matvec_grid needs a Gaussian, Laplace or Matern kernel with a single "
            "bandwidth: compute a sum or product of kernels one bandwidth at a time."
        )
    h = np.asarray(bandwidths, dtype=np.float64)
    if h.ndim != 1 or h.size == 0 or not np.all((h > 0) & np.isfinite(h)):
        raise ValueError(
            f"bandwidths must be a list of positive numbers, got {bandwidths!r}."
        )
    return 0.5 / (h * h) if terms[0][0] == codes.GAUSSIAN else 1.0 / h
