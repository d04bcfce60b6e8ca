"""Objects as far down an LRU stack as is asked for: a trace with a given miss ratio curve."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final
from weakref import proxy

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter, tape, zipf
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled, real, root, word
from tiersim.traces.generators.objects import ObjectGenerator
from tiersim.traces.generators.tape import Machine, Tape

DISTANCE: Final = 8  # the random streams: how far down, and who is new
NEW: Final = 9
DEEP: Final = 100_000  # objects of the stack when nothing is said
SKEW: Final = 1.0
GUIDE: Final = 1024  # equal parts of what is drawn, to begin looking from
PIECE: Final = 1 << 13  # distances drawn at a time: little beside the stack in the processor's cache
SHIFT: Final = 10  # a leaf is 2**10 bits
LEAF: Final = 1 << SHIFT - 6  # in words
BYTES: Final = np.uint64(0x0101010101010101)
TOPS: Final = np.uint64(0x8080808080808080)

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
Counts = NDArray[np.int32]
Owners = NDArray[np.uint32] | Words


@register("stack-distance-objects", family="generator", paper="Mattson et al., 1970, doi:10.1147/sj.92.0078")
class StackDistanceObjects(ObjectGenerator):
    """Requests for the object at a drawn place of an LRU stack, the k-th with a chance proportional to 1 / k**skew.

    An LRU cache of c objects hits the requests whose distance is up to c, and no others. With ``curve``, the miss
    ratios of LRU caches of some sizes, distances follow these: between two sizes all are equally likely, and what the
    largest cache misses is new. At the start, a distance greater than the stack is yet is a new object too. An object
    that falls below the deepest distance is never asked for again. Keys number the objects as they first occur.
    """

    uses: ClassVar[tuple[str, ...]] = (tape.__name__, zipf.__name__)

    objects: Annotated[
        int | None, Param("places of the stack; 100,000 unless a curve says", unit="count", ge=1, le=1 << 28)
    ] = None
    skew: Annotated[
        float | None, Param("how unequal distances are: 0 is uniform; 1 unless a curve says", ge=0, le=8)
    ] = None
    new_share: Annotated[
        int | None, Param("requests for new objects; none unless a curve says", unit="ratio", ge=0, le=10**9)
    ] = None
    curve: Annotated[
        list[list[float]] | None, Param("sizes in objects, ascending, each with the miss ratio of LRU at that size")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.curve is None:
            return
        if (self.objects, self.skew, self.new_share) != (None, None, None):
            raise StudyError("a curve says all about distances: leave objects, skew and new_share out")
        if not self.curve or any(len(point) != 2 for point in self.curve):
            raise StudyError("curve: must be a list of pairs, a size in objects and a miss ratio")
        for (size, ratio), (larger, lower) in pairwise([[0, 1.0], *self.curve]):
            if not (size < larger <= 1 << 28 and larger == int(larger) and 0 <= lower <= ratio):
                raise StudyError(
                    f"curve: after {size:,g} objects with a miss ratio of {ratio:g} must come a larger whole size with "
                    f"one that is not higher, and there comes {larger:,g} with {lower:g}"
                )

    @property
    def depth(self) -> int:
        """The deepest distance."""
        return int(self.curve[-1][0]) if self.curve else DEEP if self.objects is None else self.objects

    def distances(self, index: Words) -> Ints:
        """How far down each request looks, 1 the last object asked for; 0 for a new object."""
        made = np.zeros(len(index), np.int64)
        if self.curve is None:
            skew = SKEW if self.skew is None else self.skew
            made += zipf.ranks(index, self.depth, skew, self.seed).astype(np.int64) + 1
            if self.new_share:
                made[counter.below(counter.draw(self.seed, NEW, index), 10**9) < self.new_share] = 0
        else:
            _follow(index, root(self.seed), *self._points, made)
        return made

    @cached_property
    def _points(self) -> tuple[Ints, Reals, Ints]:
        """Sizes and ratios; and for each part of 0 to 1 the first ratio that what is drawn there can be above."""
        sizes, ratios = zip((0, 1.0), *(self.curve or ()))
        above = np.searchsorted(-np.array(ratios), -(np.arange(GUIDE) + 1) / GUIDE, side="right")
        return np.array(sizes, np.int64), np.array(ratios), above

    @cached_property
    def _tape(self) -> Tape:
        this = proxy(self)  # as in `kernels`
        return Tape(lambda: Stack(this), np.int64)

    def keys(self, index: Words) -> Words:
        """The key of each request, from the number of its record; these come in order."""
        (key,) = self._tape.read(int(index[0]), len(index))
        return key.view(np.uint64)


class Stack(Machine):
    """The objects by the time of their last request: a mark at each time that is the last of an object.

    Marks are bits; a Fenwick tree counts them by leaves of some words, which enter it when their times are over. Times
    run on until none is left; then the marks move to the front, in order.
    """

    def __init__(self, generator: StackDistanceObjects) -> None:
        leaves = (2 * generator.depth >> SHIFT) + 2
        short = (
            np.uint32 if generator.requests < 1 << 32 else np.uint64
        )  # the less memory, the more of it is in a cache
        bits, owner = np.zeros(leaves * LEAF, np.uint64), np.zeros(leaves << SHIFT, short)
        tree = np.zeros(1 << leaves.bit_length(), np.int32)
        super().__init__(_look_down, generator.depth, bits, tree, owner, np.zeros(5, np.int64))
        self._generator = generator  # which keeps this: never a bound method of it

    def step(self, columns: tuple[NDArray[Any], ...], most: int) -> int:
        """Write the keys of the next requests."""
        for begin in range(0, most, PIECE):
            made = columns[0][begin : min(begin + PIECE, most)]
            at = int(self._given[-1][0])
            self._loop(self._generator.distances(np.arange(at, at + len(made), dtype=np.uint64)), *self._given, made)
        return most


@compiled
def _follow(index: Words, root: np.uint64, sizes: Ints, ratios: Reals, guide: Ints, made: Ints) -> None:
    """Distances by a curve: as a drawn number lies between two miss ratios, the distance lies between the sizes."""
    last = len(sizes) - 1
    for i in range(len(index)):
        drawn = real(word(root, DISTANCE, index[i]))
        if drawn < ratios[last]:
            continue
        at = guide[int(drawn * GUIDE)]
        while ratios[at] > drawn:
            at += 1
        part = (drawn - ratios[at]) / (ratios[at - 1] - ratios[at])
        made[i] = sizes[at] - np.int64(part * (sizes[at] - sizes[at - 1]))


@compiled
def _sums(x: np.uint64) -> np.uint64:
    """How many bits are set up to the end of each byte, in that byte."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    return ((x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)) * BYTES


@compiled
def _ones(x: np.uint64) -> int:
    return np.int64(_sums(x) >> np.uint64(56))  # type: ignore[return-value]


@compiled
def _not_above(sums: np.uint64, x: np.uint64) -> np.uint64:
    """How many of eight bytes are not above a number; all of them, and it, are under 128."""
    at_top = (x * BYTES | TOPS) - sums
    return ((at_top & TOPS) >> np.uint64(7)) * BYTES >> np.uint64(56)


@compiled
def _place(x: np.uint64, below: int) -> int:
    """The place of the bit that is set and has so many set ones below it (after Vigna, 2008, broadword selection)."""
    sums = _sums(x)
    shift = _not_above(sums, np.uint64(below)) * np.uint64(8)
    before = (sums << np.uint64(8)) >> shift & np.uint64(255)
    bits = (x >> shift & np.uint64(255)) * BYTES & np.uint64(
        0x8040201008040201
    )  # the i-th of the byte in the i-th byte
    each = ((bits + ~TOPS) | bits) >> np.uint64(7) & BYTES
    return np.int64(shift + _not_above(each * BYTES, np.uint64(below) - before))  # type: ignore[return-value]


@compiled
def _look_down(distance: Ints, depth: int, bits: Words, tree: Counts, owner: Owners, cursor: Ints, made: Ints) -> int:
    """The keys at these distances; `fresh` marks are in the leaf whose times run."""
    at, now, held, born, fresh = cursor
    for i in range(len(distance)):
        older = held - distance[i]  # how many marks are older than that of the object
        key, new = born, distance[i] == 0 or older < 0
        if new:
            born += 1
            older = 0 if held == depth else -1  # the oldest object goes, or none does
            held += older < 0
        if older >= 0:
            leaf = now >> SHIFT
            if older >= held - fresh:
                older -= held - fresh
                fresh -= 1
            else:
                leaf, step = 0, len(tree) >> 1
                while step > 0:
                    # what is not passed counts the mark, which goes; a branch here could not be foreseen
                    passed = tree[leaf + step] <= older
                    older -= tree[leaf + step] * passed
                    tree[leaf + step] -= 1 - passed
                    leaf += step * passed
                    step >>= 1
            at_word = leaf * LEAF
            count = _ones(bits[at_word])
            while count <= older:
                older -= count
                at_word += 1
                count = _ones(bits[at_word])
            place = _place(bits[at_word], older)
            bits[at_word] ^= np.uint64(1) << np.uint64(place)
            if not new:
                key = np.int64(owner[at_word * 64 + place])
        made[i] = key
        owner[now] = key
        bits[now >> 6] |= np.uint64(1) << np.uint64(now & 63)
        fresh += 1
        now += 1
        if now & (1 << SHIFT) - 1 == 0:
            node = now >> SHIFT
            while node < len(tree):
                tree[node] += fresh
                node += node & -node
            fresh = 0
            if now == len(owner):
                now = _move_to_front(bits, tree, owner)
                fresh = now & (1 << SHIFT) - 1
    cursor[0], cursor[1], cursor[2], cursor[3], cursor[4] = at + len(distance), now, held, born, fresh
    return len(distance)


@compiled
def _move_to_front(bits: Words, tree: Counts, owner: Owners) -> int:
    """Give the marks the first times, in order; how many there are."""
    now = 0
    for at_word in range(len(bits)):
        rest = bits[at_word]
        while rest != np.uint64(0):
            lowest = rest & (~rest + np.uint64(1))
            owner[now] = owner[at_word * 64 + _ones(lowest - np.uint64(1))]
            rest ^= lowest
            now += 1
    for at_word in range(len(bits)):
        held = min(max(now - at_word * 64, 0), 64)
        bits[at_word] = ~np.uint64(0) if held == 64 else (np.uint64(1) << np.uint64(held)) - np.uint64(1)
    for node in range(1, len(tree)):
        first = node - (node & -node)
        tree[node] = max(min(node, now >> SHIFT) - first, 0) << SHIFT  # of the leaves that are full
    return now
