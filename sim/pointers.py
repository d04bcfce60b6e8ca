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

__all__ = ["find", "highest", "inline", "lowest", "pointer", "prefetch", "renew", "shift", "use"]

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


@intrinsic
def lowest(typingctx: Any, mask: Any) -> Any:
    """The place of the lowest bit of a mask that is not 0."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.int64), lower


@intrinsic
def highest(typingctx: Any, mask: Any) -> Any:
    """The place of the highest bit of a mask that is not 0."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], ir.IntType(1)(1))
        return builder.sub(zeros.type(63), zeros)

    return types.int64(types.int64), lower


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


def _front(tags: Any, ways: Any, dirt: Any, *, enters: bool) -> Any:
    count = ways.literal_value
    single, wide, many = ir.IntType(32), ir.IntType(64), ir.VectorType(ir.IntType(32), count)
    lanes, flags = ir.IntType(count), ir.VectorType(ir.IntType(1), count)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, base, _, tag = arguments[:4]
        where = builder.bitcast(builder.gep(first, [base]), many.as_pointer())
        held, new = builder.load(where, align=4), builder.trunc(tag, single)

        def everywhere(value: Any) -> Any:
            lone = builder.insert_element(many(ir.Undefined), value, single(0))
            return builder.shuffle_vector(lone, many(ir.Undefined), many([0] * count))

        def same(sought: Any) -> Any:
            bits = builder.bitcast(builder.icmp_signed("==", held, everywhere(sought)), lanes)
            return builder.zext(bits, wide)

        if dirt.literal_value:
            clean = builder.and_(new, single(-2))
            dirty = same(builder.or_(clean, single(1)))
            there = builder.or_(same(clean), dirty)
            new = builder.or_(new, builder.zext(builder.icmp_unsigned("!=", dirty, wide(0)), single))
        else:
            there = same(new)
        none = builder.icmp_unsigned("==", there, wide(0))
        moved = builder.shuffle_vector(
            held, builder.insert_element(many(ir.Undefined), new, single(0)), many([count, *range(count - 1)])
        )
        upto = builder.xor(there, builder.sub(there, wide(1)))  # all of them if it is nowhere
        if not enters:
            upto = builder.select(none, wide(0), upto)
        # were this known to be what was loaded, it would be stored lane by lane, and loading it again soon would wait
        kept = builder.xor(held, everywhere(builder.trunc(arguments[-1], single)))
        after = builder.select(builder.bitcast(builder.trunc(upto, lanes), flags), moved, kept)
        # of a lane that is taken out of what was loaded the processor makes three steps
        last = builder.load(builder.gep(first, [builder.add(base, wide(count - 1))]))
        builder.store(after, where, align=4)
        gone = builder.sext(none, wide)
        return context.make_tuple(builder, signature.return_type, [builder.sext(last, wide), gone]) if enters else gone

    return lower


@intrinsic(prefer_literal=True)
def renew(typingctx: Any, tags: Any, base: Any, ways: Any, tag: Any, dirt: Any, zero: Any) -> Any:
    """Brings a tag to the front of a set whose `ways` (a constant) tags stand in the order of their last use.

    With `dirt` (a constant, 0 or 1) it may have been there with its lowest bit set, and keeps that. `zero` is 0, but
    not known to be when this is compiled. Returns the tag that stood last, and a mask: -1 if that is gone because the
    new tag was not there, else 0.
    """
    pair: Any = types.UniTuple
    lower = _front(tags, ways, dirt, enters=True)
    return pair(types.int64, 2)(tags, types.intp, ways, types.intp, dirt, types.intp), lower


@intrinsic(prefer_literal=True)
def use(typingctx: Any, tags: Any, base: Any, ways: Any, tag: Any, zero: Any) -> Any:
    """As `renew` without `dirt`, but a tag that is not there does not enter; returns the mask only."""
    literal: Any = types.literal
    lower = _front(tags, ways, literal(0), enters=False)
    return types.int64(tags, types.intp, ways, types.intp, types.intp), lower
