"""Memory as compiled loops see it: pointers, which nothing counts and nothing checks.

Arrays would be counted, atomically, at each call that takes one.
"""

from numba import types
from numba.extending import intrinsic

from causalweights._numba._vectors import BYTES, VECTORS

# Bytes of one row of a block.
STEP_BYTES = BYTES * VECTORS


@intrinsic
def address(typingctx, array):
    """Return a pointer to a contiguous array, which the caller must keep alive."""

    def codegen(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def pointer(typingctx, number, like):
    """Return the pointer of the type of ``like`` to an address."""

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(signature.return_type)
        return builder.inttoptr(args[0], kind)

    return like(types.int64, like), codegen


@intrinsic
def integers(typingctx, numbers):
    """Return a pointer to the bit patterns of float64 numbers."""
    kind = types.CPointer(types.int64)

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(kind))

    return kind(numbers), codegen


def scratch(size):
    """Return an intrinsic: memory on the stack for numbers of a pointer's type."""

    @intrinsic
    def allocate(typingctx, like):
        def codegen(context, builder, signature, args):
            kind = context.get_value_type(like.dtype)
            # Numba's own helper would fill it with zeros, one instruction each.
            with builder.goto_entry_block():
                memory = builder.alloca(kind, size=size)
            memory.align = BYTES
            return memory

        return like(like), codegen

    return allocate


@intrinsic
def number(typingctx, like, value):
    """Return a number of a pointer's type."""

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[1], types.float64, like.dtype)

    return like.dtype(like, types.float64), codegen


@intrinsic
def columns(typingctx, like):
    """Return the columns of a block of a pointer's type."""

    def codegen(context, builder, signature, args):
        count = STEP_BYTES * 8 // like.dtype.bitwidth
        return context.get_constant(types.intp, count)

    return types.intp(like), codegen
