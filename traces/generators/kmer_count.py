"""Counting the k-mers of a genome."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter
from tiersim.traces.generators.exact import compiled, inlined
from tiersim.traces.generators.kernels import (
    PAGE,
    Bytes,
    Ints,
    Made,
    Memory,
    Program,
    Record,
    Room,
    Running,
    Vertices,
    load,
    store,
)

BASES: Final = 17  # the random streams: the letters of the genome, and where reads begin
READS: Final = 18
PIECE: Final = 1 << 20  # letters drawn at a time
STARTS: Final = 1 << 20  # as many reads, and then the first again
PROBES: Final = 1 << 12  # of one k-mer at most; in a table that is half empty it is found long before
SPREAD: Final = -7046029254386353131  # 2^64 / golden ratio as a signed word: Knuth's multiplicative hash


@register("kmer-count", family="generator")
class KmerCount(Running):
    """Counting of k-mers: reads of a random genome letter by letter, and a hash table with linear probing.

    In memory, in this order, each from a page of 4 KiB on: the genome (1 byte a letter), the slots of the table, each
    with a k-mer (8 bytes) and its count (4). The table has the first power of two of slots that leaves half of them
    empty. The generator itself keeps 1 byte a letter and 4 a slot.
    """

    genome: Annotated[int, Param("letters of the genome", unit="count", ge=64, le=1 << 30)] = 1 << 20
    read: Annotated[int, Param("letters of a read", unit="count", ge=1, le=1 << 20)] = 150
    kmer: Annotated[int, Param("letters of a k-mer", unit="count", ge=1, le=31)] = 21
    slot: Annotated[int, Param("bytes of a slot of the table", unit="bytes", ge=12, le=PAGE)] = 16

    def __post_init__(self) -> None:
        if not self.kmer <= self.read <= self.genome:
            raise StudyError(
                f"a k-mer of {self.kmer} letters must fit a read of {self.read:,}, and that a genome of "
                f"{self.genome:,} letters"
            )

    def program(self) -> Program:
        """The count before its first reference."""
        text = np.empty(self.genome, np.uint8)
        for at in range(0, self.genome, PIECE):
            piece = np.arange(at, min(at + PIECE, self.genome), dtype=np.uint64)
            text[at : at + PIECE] = counter.draw(self.seed, BASES, piece) & np.uint64(3)
        drawn = counter.draw(self.seed, READS, np.arange(STARTS, dtype=np.uint64))
        starts = counter.below(drawn, self.genome - self.read + 1).astype(np.int64)
        slots = 1 << self.genome.bit_length()
        slots <<= slots < 2 * self.genome
        arrays, table = (text, Room(8, slots), Room(4, slots)), Record(self.slot, {1: 0, 2: 8})
        given = np.zeros(slots, np.int32), starts, self.read, self.kmer
        return Program(count, *arrays, given=given, cursor=(0, 0, 0), unit=PROBES + 8, records=[table])


@compiled
def count(
    text: Bytes,
    found: Vertices,
    starts: Ints,
    length: int,
    k_mer: int,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Counting the k-mers of reads in a hash table with linear probing.

    Of a slot's k-mer is kept where in the genome it was found first, from 1 on; its count decides nothing.
    """
    letter_at, key_at, count_at = memory
    read, i, code = cursor
    mask = len(found) - 1
    k = 0
    while k < most:
        place = starts[read] + i
        code = ((code << 2) | text[place]) & ((1 << (2 * k_mer)) - 1)
        k = load(made, k, letter_at, place)
        if i >= k_mer - 1:
            slot = ((code * SPREAD) >> 20) & mask
            for _ in range(PROBES):
                k = load(made, k, key_at, slot)
                if found[slot] == 0:
                    found[slot] = place + 1
                    k = store(made, k, key_at, slot)
                    break
                if alike(text, found[slot] - 1, place, k_mer):
                    break
                slot = (slot + 1) & mask
            k = load(made, k, count_at, slot)
            k = store(made, k, count_at, slot)
        i += 1
        if i == length:
            read, i, code = (read + 1) % len(starts), 0, 0
    cursor[0], cursor[1], cursor[2] = read, i, code
    return k


@inlined
def alike(text: Bytes, one: int, other: int, length: int) -> bool:
    """Whether the letters that end in two places are the same."""
    if one != other:
        for back in range(length):
            if text[one - back] != text[other - back]:
                return False
    return True
