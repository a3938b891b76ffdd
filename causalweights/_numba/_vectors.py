"""Blocks of kernel values held in registers: the type and the LLVM code for its parts.

A `Block` is 4 rows by 2 vectors of columns. It is held in registers, which LLVM's loop
vectorizer would not do, and it compiles faster. A machine with narrower vectors than
``BYTES`` splits them.
"""

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import register_model


def _has_avx512():
    try:
        return bool(llvm.get_host_cpu_features().get("avx512f", False))
    except RuntimeError:  # some platforms do not tell
        return False


ROWS = 4
VECTORS = 2
# One register where AVX-512 is there; longer vectors than the machine's would spill.
BYTES = 64 if _has_avx512() else 32

# Multiplications and additions may fuse; anything more, and infinities would be lost.
FUSE = ["contract"]
I32 = ir.IntType(32)
# 2**f on [-1/2, 1/2]: relative error 4e-18 and 3e-9 (Chebyshev interpolation).
_EXP64 = (
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
_EXP32 = (
    1.0,
    0.69314720670283259577,
    0.24022650922288758071,
    0.055503272266703020589,
    0.0096180566785246380754,
    0.001340042817761583794,
    0.00015461444698569129083,
)
# Is it double: (coefficients, bits of the mantissa, 1.5 * 2**bits, smallest exponent)
_EXP = {
    True: (_EXP64, 52, 6755399441055744.0, -1022.0),
    False: (_EXP32, 23, 12582912.0, -126.0),
}


class Block(types.Type):
    """4 rows by 2 vectors of one floating-point type."""

    def __init__(self, scalar):
        self.scalar = scalar
        self.lanes = BYTES * 8 // scalar.bitwidth
        super().__init__(name=f"Block({scalar})")

    @property
    def key(self):
        return self.scalar


def vector(block):
    """Return the LLVM type of a block's parts."""
    double = block.scalar == types.float64
    return ir.VectorType(ir.DoubleType() if double else ir.FloatType(), block.lanes)


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, dmm, block):
        super().__init__(dmm, block, ir.ArrayType(vector(block), ROWS * VECTORS))


def fused(builder, x, y, z):
    """Emit ``x * y + z``, in one instruction where the machine has it."""
    return builder.fadd(builder.fmul(x, y, flags=FUSE), z, flags=FUSE)


def constant(kind, value):
    """Return an LLVM constant of a scalar or vector type."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)
    return ir.Constant(kind, value)


def splat(builder, kind, x):
    """Emit a vector of that type, full of the scalar x."""
    blank = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(blank, x, ir.Constant(I32, 0))
    lanes = constant(ir.VectorType(I32, kind.count), 0)
    return builder.shuffle_vector(first, blank, lanes)


def shuffle(builder, x, y, lanes):
    """Emit the vector of the given lanes of x, then y."""
    mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
    return builder.shuffle_vector(x, y, mask)


def parts(builder, value):
    """Return a block's vectors, row by row."""
    return [builder.extract_value(value, q) for q in range(ROWS * VECTORS)]


def join(builder, vectors):
    """Return the block of the given vectors."""
    out = ir.Constant(ir.ArrayType(vectors[0].type, ROWS * VECTORS), ir.Undefined)
    for q, part in enumerate(vectors):
        out = builder.insert_value(out, part, q)
    return out


def unary(builder, name, x):
    """Call one of LLVM's own functions on a vector or scalar."""
    count = f"v{x.type.count}" if isinstance(x.type, ir.VectorType) else ""
    real = x.type.element if count else x.type
    suffix = count + ("f64" if real == ir.DoubleType() else "f32")
    signature = ir.FunctionType(x.type, [x.type])
    name = f"llvm.{name}.{suffix}"
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, [x])


class Memory:
    """Vectors and scalars at offsets (sums of terms) from a pointer."""

    def __init__(self, context, builder, pointer_type, pointer):
        self.builder = builder
        self.block = Block(pointer_type.dtype)
        self.intp = context.get_value_type(types.intp)
        self.data = pointer

    def _at(self, terms):
        offset = terms[0]
        for term in terms[1:]:
            term = ir.Constant(self.intp, term) if isinstance(term, int) else term
            offset = self.builder.add(offset, term)
        return self.builder.gep(self.data, [offset])

    def _vector_at(self, terms):
        pointer = vector(self.block).as_pointer()
        return self.builder.bitcast(self._at(terms), pointer)

    @property
    def _align(self):
        return self.block.scalar.bitwidth // 8

    def scalar(self, *terms):
        """Load a number."""
        return self.builder.load(self._at(terms))

    def splat(self, *terms):
        """Load a number into all lanes."""
        return splat(self.builder, vector(self.block), self.scalar(*terms))

    def vector(self, *terms):
        """Load a vector."""
        return self.builder.load(self._vector_at(terms), align=self._align)

    def columns(self, *terms):
        """Return the vectors of one row of a block."""
        lanes = self.block.lanes
        return [self.vector(*terms, v * lanes) for v in range(VECTORS)]

    def store(self, value, *terms):
        """Write a vector."""
        self.builder.store(value, self._vector_at(terms), align=self._align)


def exp2(builder, y):
    """Emit ``2**y`` for y <= 0: a polynomial times a power of two in the exponent.

    Smaller results than the smallest normal number come out as that number.
    """
    real = y.type.element if isinstance(y.type, ir.VectorType) else y.type
    coefficients, bits, magic, floor = _EXP[real == ir.DoubleType()]
    # Integers of the float's own width: Python-level code would widen float32's.
    word = ir.IntType(64 if bits == 52 else 32)
    if real != y.type:
        word = ir.VectorType(word, y.type.count)
    least, magic = constant(y.type, floor), constant(y.type, magic)
    y = builder.select(builder.fcmp_ordered(">", y, least), y, least)
    # Adding 1.5 * 2**bits rounds to an integer and leaves it in the low bits.
    rounded = builder.fadd(y, magic)
    f = builder.fsub(y, builder.fsub(rounded, magic))
    p = constant(y.type, coefficients[-1])
    for c in coefficients[-2::-1]:
        p = fused(builder, p, f, constant(y.type, c))
    power = builder.shl(builder.bitcast(rounded, word), constant(word, bits))
    return builder.bitcast(builder.add(builder.bitcast(p, word), power), y.type)
