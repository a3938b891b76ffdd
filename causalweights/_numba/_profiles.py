"""Kernel profiles evaluated in place on one tile of distances or dot products.

The exponential is the hot spot of every Gram computation. ``math.exp`` calls libm
and does not vectorise, so ``2**y`` (y <= 0) is written here as a near-minimax
polynomial on [-1/2, 1/2] times a power of two put into the exponent bits.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

# Codes shared with the kernel objects: what a term computes from its raw distance.
GAUSSIAN, LAPLACE, MATERN12, MATERN32, MATERN52, ENERGY, LINEAR, POLYNOMIAL = range(8)

# "reassoc" must stay out: it would cancel the add-and-subtract rounding below.
FAST = {"nnan", "ninf", "nsz", "contract", "arcp"}

_LOG2E = 1.4426950408889634074
# Degrees 11 and 6: relative error 4e-18 and 3e-9 (Chebyshev interpolation of 2**f).
_C64 = (
    1.0,
    0.69314718055994530925,
    0.24022650695910159567,
    0.055504108664821627039,
    0.0096181291075872566681,
    0.0013333558146406470697,
    0.00015403530463724354209,
    1.5252733841556772589e-5,
    1.3215432535912376166e-6,
    1.0178057087733941105e-7,
    7.0741942972885210056e-9,
    4.455817908336064493e-10,
)
_C32 = tuple(
    np.float32(c)
    for c in (
        1.0,
        0.69314720670283259577,
        0.24022650922288758071,
        0.055503272266703020589,
        0.0096180566785246380754,
        0.001340042817761583794,
        0.00015461444698569129083,
    )
)
_MAGIC64, _FLOOR64 = 6755399441055744.0, -1022.0  # 1.5 * 2**52
_MAGIC32, _FLOOR32 = np.float32(12582912.0), np.float32(-126.0)  # 1.5 * 2**23


@intrinsic
def _scale_by_power(typingctx, mantissa, rounded):
    """Return ``mantissa * 2**k``; the low bits of ``rounded`` hold k.

    An intrinsic keeps the addition in integers of the same width as the float, which
    numba would widen for float32.
    """

    def codegen(context, builder, signature, args):
        double = signature.return_type == types.float64
        word = ir.IntType(64 if double else 32)
        shift = ir.Constant(word, 52 if double else 23)
        bits = builder.bitcast(args[0], word)
        power = builder.shl(builder.bitcast(args[1], word), shift)
        real = ir.DoubleType() if double else ir.FloatType()
        return builder.bitcast(builder.add(bits, power), real)

    if mantissa not in (types.float64, types.float32) or mantissa != rounded:
        return None
    return mantissa(mantissa, rounded), codegen


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _exp2_64(y):
    y = max(y, _FLOOR64)
    z = y + _MAGIC64
    f = y - (z - _MAGIC64)
    p = _C64[11]
    p = p * f + _C64[10]
    p = p * f + _C64[9]
    p = p * f + _C64[8]
    p = p * f + _C64[7]
    p = p * f + _C64[6]
    p = p * f + _C64[5]
    p = p * f + _C64[4]
    p = p * f + _C64[3]
    p = p * f + _C64[2]
    p = p * f + _C64[1]
    p = p * f + _C64[0]
    return _scale_by_power(p, z)


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _exp2_32(y):
    y = max(y, _FLOOR32)
    z = y + _MAGIC32
    f = y - (z - _MAGIC32)
    p = _C32[6]
    p = p * f + _C32[5]
    p = p * f + _C32[4]
    p = p * f + _C32[3]
    p = p * f + _C32[2]
    p = p * f + _C32[1]
    p = p * f + _C32[0]
    return _scale_by_power(p, z)


def _exp2(y):  # pragma: no cover - replaced by the overload in compiled code
    return 2.0**y


@overload(_exp2, inline="always")
def _exp2_overload(y):
    if y == types.float32:
        return lambda y: _exp2_32(y)
    return lambda y: _exp2_64(y)


@njit(cache=True, nogil=True, fastmath=FAST)
def exp_tile(t, out):
    """Write ``exp(-t)`` for non-negative ``t`` (underflow gives about 1e-308)."""
    minus_log2e = t.dtype.type(-_LOG2E)
    for j in range(t.shape[0]):
        out[j] = _exp2(t[j] * minus_log2e)


@njit(cache=True, nogil=True, fastmath=FAST)
def _exp_scaled(t, scale, out):
    factor = t.dtype.type(-_LOG2E) * scale
    for j in range(t.shape[0]):
        out[j] = _exp2(t[j] * factor)


@njit(cache=True, nogil=True, fastmath=FAST)
def _matern(t, scale, a1, a2, out):
    """Write ``(1 + a1 r + a2 r^2) exp(-r)`` with ``r = scale * sqrt(t)``."""
    minus_log2e = t.dtype.type(-_LOG2E)
    one = t.dtype.type(1.0)
    for j in range(t.shape[0]):
        r = scale * math.sqrt(t[j])
        out[j] = (one + r * (a1 + a2 * r)) * _exp2(r * minus_log2e)


@njit(cache=True, nogil=True, fastmath=FAST)
def _energy(t, norm_x, norm_y, out):
    half = t.dtype.type(0.5)
    for j in range(t.shape[0]):
        out[j] = half * (norm_x + norm_y[j] - math.sqrt(t[j]))


@njit(cache=True, nogil=True, fastmath=FAST)
def _affine_power(t, gamma, constant, degree, out):
    # One sweep a factor: a loop of unknown length inside would not vectorise.
    for j in range(t.shape[0]):
        out[j] = gamma * t[j] + constant
    for _ in range(degree - 1):
        for j in range(t.shape[0]):
            out[j] *= gamma * t[j] + constant


@njit(cache=True, nogil=True)
def apply_profile(code, params, t, norm_x, norm_y, out):
    """Write the term's kernel values for one tile.

    ``params`` = (scale, first, second); ``t`` = raw squared or L1 distances or dot
    products; ``norm_x``, ``norm_y`` = distances to the origin (energy only).
    """
    scale = params[0]
    # Of the tile's type: ``scale * 0`` would be float64 for float32.
    zero = t.dtype.type(0.0)
    third = t.dtype.type(1.0 / 3.0)
    one = t.dtype.type(1.0)
    if code == GAUSSIAN or code == LAPLACE:
        _exp_scaled(t, scale, out)
    elif code == MATERN12:
        _matern(t, scale, zero, zero, out)
    elif code == MATERN32:
        _matern(t, scale, one, zero, out)
    elif code == MATERN52:
        _matern(t, scale, one, third, out)
    elif code == ENERGY:
        _energy(t, norm_x, norm_y, out)
    else:
        degree = int(params[2]) if code == POLYNOMIAL else 1
        _affine_power(t, scale, params[1], degree, out)
