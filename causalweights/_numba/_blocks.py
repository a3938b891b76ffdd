"""What compiled loops do with blocks of kernel values: a vocabulary of intrinsics.

Points come packed: rows as a flat (n, d) array with whole blocks of 4 rows, columns as
a `panel`, flat (m / step, d, step), ``step`` columns to a block, so that it streams.
Memory is named by a pointer and an offset in elements, which nothing checks.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from causalweights._numba._vectors import (
    I32,
    ROWS,
    VECTORS,
    Block,
    Memory,
    constant,
    fused,
    join,
    parts,
    shuffle,
    splat,
    unary,
    vector,
)
from causalweights._numba._vectors import exp2 as _emit_exp2

I = types.intp  # noqa: E741


def _coordinate_sum(step):
    """Return an intrinsic: the block of sums over coordinates of ``step(x, y, sum)``.

    Its arguments: rows, offset of the first row, panel, offset of its columns, d.
    """

    @intrinsic
    def sums(typingctx, rows, row, panel, column, d):
        block = Block(rows.dtype)

        def codegen(context, builder, signature, args):
            x = Memory(context, builder, signature.args[0], args[0])
            y = Memory(context, builder, signature.args[2], args[2])
            zero = constant(vector(block), 0.0)
            totals = [
                cgutils.alloca_once(builder, zero.type) for _ in range(ROWS * VECTORS)
            ]
            for total in totals:
                builder.store(zero, total)
            width = ir.Constant(x.intp, block.lanes * VECTORS)
            starts = [args[1]]
            for _ in range(ROWS - 1):
                starts.append(builder.add(starts[-1], args[4]))
            with cgutils.for_range(builder, args[4]) as loop:
                here = y.columns(args[3], builder.mul(loop.index, width))
                for r, start in enumerate(starts):
                    one = x.splat(start, loop.index)
                    for v in range(VECTORS):
                        total = totals[r * VECTORS + v]
                        value = step(builder, one, here[v], builder.load(total))
                        builder.store(value, total)
            return join(builder, [builder.load(total) for total in totals])

        return block(rows, I, panel, I, I), codegen

    return sums


def _add_square(builder, x, y, total):
    gap = builder.fsub(x, y)
    return fused(builder, gap, gap, total)


def _add_absolute(builder, x, y, total):
    return builder.fadd(unary(builder, "fabs", builder.fsub(x, y)), total)


squared = _coordinate_sum(_add_square)
absolute = _coordinate_sum(_add_absolute)
product = _coordinate_sum(fused)


def _by_parts(emit):
    """Return code that applies ``emit`` part by part; numbers serve every part."""

    def codegen(context, builder, signature, args):
        kind = vector(signature.return_type)
        blocks = [
            [splat(builder, kind, a)] * (ROWS * VECTORS)
            if isinstance(t, types.Float)
            else parts(builder, a)
            for a, t in zip(args, signature.args, strict=True)
        ]
        return join(builder, [emit(builder, *p) for p in zip(*blocks, strict=True)])

    return codegen


@intrinsic
def affine(typingctx, x, slope, shift):
    """Return ``slope * x + shift``; both of the block's floating-point type."""
    return x(x, x.scalar, x.scalar), _by_parts(lambda b, p, s, t: fused(b, s, p, t))


@intrinsic
def add(typingctx, x, y):
    """Return the sum of two blocks."""
    return x(x, x), _by_parts(lambda b, p, q: b.fadd(p, q))


@intrinsic
def subtract(typingctx, x, y):
    """Return the difference of two blocks."""
    return x(x, x), _by_parts(lambda b, p, q: b.fsub(p, q))


@intrinsic
def multiply(typingctx, x, y):
    """Return the product of two blocks, element by element."""
    return x(x, x), _by_parts(lambda b, p, q: b.fmul(p, q))


@intrinsic
def add_scaled(typingctx, x, y, factor):
    """Return ``x + factor * y``."""
    return x(x, x, x.scalar), _by_parts(lambda b, p, q, f: fused(b, q, f, p))


@intrinsic
def root(typingctx, x):
    """Return the square root of a block."""
    return x(x), _by_parts(lambda b, p: unary(b, "sqrt", p))


@intrinsic
def exp2(typingctx, x):
    """Return ``2**x`` of a block, or of a number, for x <= 0."""
    if isinstance(x, Block):
        return x(x), _by_parts(_emit_exp2)
    return x(x), lambda context, builder, signature, args: _emit_exp2(builder, args[0])


@intrinsic
def less(typingctx, x, y, then, otherwise):
    """Return ``then`` where x < y, else ``otherwise``: all four are blocks."""

    def emit(builder, p, q, yes, no):
        return builder.select(builder.fcmp_ordered("<", p, q), yes, no)

    return x(x, x, x, x), _by_parts(emit)


@intrinsic
def any_less(typingctx, x, y):
    """Tell whether x < y anywhere in two blocks."""

    def codegen(context, builder, signature, args):
        pairs = zip(parts(builder, args[0]), parts(builder, args[1]), strict=True)
        found = None
        for p, q in pairs:
            mask = builder.fcmp_ordered("<", p, q)
            found = mask if found is None else builder.or_(found, mask)
        bits = ir.IntType(signature.args[0].lanes)
        packed = builder.bitcast(found, bits)
        return builder.icmp_unsigned("!=", packed, ir.Constant(bits, 0))

    return types.boolean(x, x), codegen


@intrinsic
def zeros(typingctx, like):
    """Return a block of zeros of a pointer's type."""
    block = Block(like.dtype)

    def codegen(context, builder, signature, args):
        return join(builder, [constant(vector(block), 0.0)] * (ROWS * VECTORS))

    return block(like), codegen


def _strided(builder, offset, stride):
    """Return the offsets of a block's rows."""
    offsets = [offset]
    for _ in range(ROWS - 1):
        offsets.append(builder.add(offsets[-1], stride))
    return offsets


@intrinsic
def load(typingctx, memory, offset, stride):
    """Return the block at an offset of a pointer, its rows ``stride`` apart."""
    block = Block(memory.dtype)

    def codegen(context, builder, signature, args):
        data = Memory(context, builder, signature.args[0], args[0])
        rows = _strided(builder, args[1], args[2])
        return join(builder, [p for row in rows for p in data.columns(row)])

    return block(memory, I, I), codegen


@intrinsic
def store(typingctx, block, memory, offset, stride):
    """Write a block to a pointer."""

    def codegen(context, builder, signature, args):
        data = Memory(context, builder, signature.args[1], args[1])
        rows = _strided(builder, args[2], args[3])
        for q, part in enumerate(parts(builder, args[0])):
            data.store(part, rows[q // VECTORS], q % VECTORS * block.lanes)
        return context.get_dummy_value()

    return types.none(block, memory, I, I), codegen


@intrinsic
def outer_sum(typingctx, a, i, b, j):
    """Return the block of ``a[i + r] + b[j + c]``."""
    block = Block(a.dtype)

    def codegen(context, builder, signature, args):
        rows = Memory(context, builder, signature.args[0], args[0])
        columns = Memory(context, builder, signature.args[2], args[2])
        here = columns.columns(args[3])
        sums = []
        for r in range(ROWS):
            one = rows.splat(args[1], r)
            sums += [builder.fadd(one, part) for part in here]
        return join(builder, sums)

    return block(a, I, b, I), codegen


@intrinsic
def add_row_products(typingctx, total, block, v, j):
    """Return ``total + block * v[j + c]``, element by element."""

    def codegen(context, builder, signature, args):
        here = Memory(context, builder, signature.args[2], args[2]).columns(args[3])
        pairs = zip(parts(builder, args[0]), parts(builder, args[1]), strict=True)
        return join(
            builder,
            [fused(builder, p, here[q % VECTORS], t) for q, (t, p) in enumerate(pairs)],
        )

    return total(total, block, v, I), codegen


@intrinsic
def add_column_products(typingctx, out, j, block, v, i):
    """Add ``sum over r of block[r, c] * v[i + r]`` to ``out[j + c]``."""

    def codegen(context, builder, signature, args):
        data = Memory(context, builder, signature.args[0], args[0])
        weights = Memory(context, builder, signature.args[3], args[3])
        here = data.columns(args[1])
        for q, part in enumerate(parts(builder, args[2])):
            one = weights.splat(args[4], q // VECTORS)
            here[q % VECTORS] = fused(builder, part, one, here[q % VECTORS])
        for q, value in enumerate(here):
            data.store(value, args[1], q * block.lanes)
        return context.get_dummy_value()

    return types.none(out, I, block, v, I), codegen


@intrinsic
def row_sums(typingctx, block):
    """Return the four row sums of a block, added in a fixed order."""

    def codegen(context, builder, signature, args):
        pieces, sums = parts(builder, args[0]), []
        for r in range(ROWS):
            total = pieces[r * VECTORS]
            for part in pieces[r * VECTORS + 1 : (r + 1) * VECTORS]:
                total = builder.fadd(total, part)
            half = block.lanes // 2
            while half:
                low = shuffle(builder, total, total, range(half))
                high = shuffle(builder, total, total, range(half, 2 * half))
                total, half = builder.fadd(low, high), half // 2
            sums.append(builder.extract_element(total, ir.Constant(I32, 0)))
        return context.make_tuple(builder, signature.return_type, sums)

    return types.UniTuple(block.scalar, ROWS)(block), codegen


@intrinsic
def transpose(typingctx, memory, source, target, stride):
    """Copy the square of one vector's width at ``source`` to ``target``, transposed."""
    lanes = Block(memory.dtype).lanes

    def codegen(context, builder, signature, args):
        data = Memory(context, builder, signature.args[0], args[0])
        rows, offset = [], args[1]
        for _ in range(lanes):
            rows.append(data.vector(offset))
            offset = builder.add(offset, args[3])
        size = 1
        while size < lanes:
            # Swap the off-diagonal squares of this size between rows i and i + size.
            for i in [i for i in range(lanes) if not i & size]:
                low = [c if not c & size else c - size + lanes for c in range(lanes)]
                high = [c + size if not c & size else c + lanes for c in range(lanes)]
                a, b = rows[i], rows[i + size]
                rows[i] = shuffle(builder, a, b, low)
                rows[i + size] = shuffle(builder, a, b, high)
            size *= 2
        offset = args[2]
        for row in rows:
            data.store(row, offset)
            offset = builder.add(offset, args[3])
        return context.get_dummy_value()

    return types.none(memory, I, I, I), codegen
