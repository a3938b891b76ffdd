"""Imputation by the average of several maps' shares, Knothe-Rosenblatt orders say."""

from __future__ import annotations

import numpy as np

from causalweights._typing import FloatArray
from causalweights.inference import nearest_rows
from causalweights.ustatistics._imputation import UNDERFLOW, Imputation
from causalweights.ustatistics._local_kernels import LocalKernel, evaluate

# Shares that are formed at a time.
_BLOCK = 1_000_000


def impute_averaged(
    kernel: LocalKernel,
    bandwidth: float,
    boundary: str,
    images: list[tuple[FloatArray, FloatArray]],
    r: FloatArray,
    a: FloatArray,
    t: FloatArray,
    u: FloatArray,
) -> Imputation:
    """Impute by the mean over R maps of ``impute_per_target``'s shares.

    The squares of averaged shares need the shares themselves: O(R m n) time, in blocks
    of target rows.
    """
    m, n = len(r), len(t)
    received, squares = np.zeros(m), np.zeros(m)
    imputed, support = np.empty(n), np.full(n, np.inf)
    width = max(1, _BLOCK // m)
    for start in range(0, n, width):
        rows = slice(start, start + width)
        shares = np.zeros((m, len(t[rows])))
        for U, V in images:
            found, sums = _shares(kernel, bandwidth, boundary, U, V[rows], a)
            shares += found / len(images)
            support[rows] = np.minimum(support[rows], sums)
        received += shares @ t[rows]
        squares += shares**2 @ u[rows] ** 2
        imputed[rows] = r @ shares
    return Imputation(received, imputed, squares, support)


def _shares(
    kernel: LocalKernel,
    bandwidth: float,
    boundary: str,
    U: FloatArray,
    V: FloatArray,
    a: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return a_i K_ij / sum_i a_i K_ij, (m, n), and the sums by target."""
    shares = a[:, None] * np.ones(len(V))
    for k in range(U.shape[1]):
        shares *= _kernel_values(kernel, bandwidth, boundary, U[:, k], V[:, k])
    sums = shares.sum(axis=0)
    lost = ~(sums > UNDERFLOW)
    if np.any(lost):
        shares[:, lost] = (nearest_rows(U, V[lost]).multiply(a)).toarray().T
    return shares / shares.sum(axis=0), sums


def _kernel_values(
    kernel: LocalKernel, bandwidth: float, boundary: str, u: FloatArray, v: FloatArray
) -> FloatArray:
    """Return one coordinate's kernel values, (m, n), not divided by the bandwidth."""
    u = u[:, None]
    if boundary != "reflect":
        return evaluate(kernel, (u - v) / bandwidth)
    most = int(np.ceil((1 + kernel.reach * bandwidth) / 2))
    values = np.zeros((len(u), len(v)))
    for shift in range(-most, most + 1):
        values += evaluate(kernel, (u - v + 2 * shift) / bandwidth)
        values += evaluate(kernel, (u + v + 2 * shift) / bandwidth)
    return values
