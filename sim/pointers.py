"""Bare pointers for generated loops, and what can only be said below Python.

A generated loop hands its state to twenty small functions. As arrays that would be seven machine words and a reference
count each; as pointers it is one word and no count (research on the same loop: 6.6 M steps/s with counted arrays, 125
without). `tiersim.sim.source.PLAIN_HEADER` says the same in plain Python.
"""

from __future__ import annotations

from typing import Any

import numba.np.arrayobj
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["find", "inline", "pointer", "prefetch", "shift"]

OPTIONS: Any = {"_nrt": False, "error_model": "numpy", "forceinline": True}
inline: Any = njit(**OPTIONS)
"""Compiles an inner function into all that call it: without a call, what misses costs a third less."""


@intrinsic
def pointer(typingctx: Any, array: Any) -> Any:
    """The address of a contiguous array's first element; the caller keeps the array alive."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make_array: Any = numba.np.arrayobj.make_array
        return make_array(signature.args[0])(context, builder, arguments[0]).data

    address: Any = types.CPointer
    return address(array.dtype)(array), lower


@intrinsic
def shift(typingctx: Any, address: Any, index: Any) -> Any:
    """The address of ``address[index]``."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return address(address, types.intp), lower


@intrinsic
def prefetch(typingctx: Any, address: Any, index: Any) -> Any:
    """Ask the processor for ``address[index]``, which is used soon; it changes nothing, and any index is allowed."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        where = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), byte)
        builder.call(ask, [where, word(0), word(3), word(1)])  # for reading, to be kept close, data
        return context.get_dummy_value()

    return types.void(address, types.intp), lower


@intrinsic(prefer_literal=True)
def find(typingctx: Any, tags: Any, base: Any, ways: Any, x: Any) -> Any:
    """The first of `ways` (a constant) tags from `base` that is line `x`, clean or dirty, or -1; all at once.

    An empty way is line -1.
    """
    count = ways.literal_value
    single, wide, many = ir.IntType(32), ir.IntType(64), ir.VectorType(ir.IntType(32), count)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        where = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), many.as_pointer())
        held = builder.or_(builder.load(where, align=4), many([1] * count))
        tag = builder.or_(builder.shl(builder.trunc(arguments[3], single), single(1)), single(1))
        first = builder.insert_element(many(ir.Undefined), tag, single(0))
        sought = builder.shuffle_vector(first, many(ir.Undefined), many([0] * count))
        same = builder.icmp_signed("==", held, sought)
        bits = builder.zext(builder.bitcast(same, ir.IntType(count)), wide)
        lowest = builder.cttz(bits, ir.IntType(1)(0))
        return builder.select(builder.icmp_unsigned("==", bits, wide(0)), wide(-1), lowest)

    return types.intp(tags, types.intp, ways, types.intp), lower
