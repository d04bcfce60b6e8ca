"""Counting the k-mers of a genome."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Bytes, Ints, Made, Memory, Program, Running, Vertices, load, store

BASES: Final = 17  # the random streams: the letters of the genome, and where reads begin
READS: Final = 18
STARTS: Final = 1 << 20  # as many reads, and then the first again
PROBES: Final = 1 << 12  # of one k-mer at most; in a table that is half empty it is found long before
SPREAD: Final = -7046029254386353131  # 2^64 / golden ratio as a signed word: Knuth's multiplicative hash


@register("kmer-count", family="generator")
class KmerCount(Running):
    """Counting of k-mers: reads of a random genome letter by letter, and a hash table with linear probing.

    In memory, in this order, each from a page of 4 KiB on: the genome (1 byte a letter), the k-mers of the table (8
    bytes each), their counts (4). The table has the first power of two of slots that leaves half of them empty.
    """

    genome: Annotated[int, Param("letters of the genome", unit="count", ge=64, le=1 << 30)] = 1 << 20
    read: Annotated[int, Param("letters of a read", unit="count", ge=1, le=1 << 20)] = 150
    kmer: Annotated[int, Param("letters of a k-mer", unit="count", ge=1, le=31)] = 21

    def __post_init__(self) -> None:
        if not self.kmer <= self.read <= self.genome:
            raise StudyError(
                f"a k-mer of {self.kmer} letters must fit a read of {self.read:,}, and that a genome of "
                f"{self.genome:,} letters"
            )

    def program(self) -> Program:
        """The count before its first reference."""
        text = counter.draw(self.seed, BASES, np.arange(self.genome, dtype=np.uint64)) & np.uint64(3)
        drawn = counter.draw(self.seed, READS, np.arange(STARTS, dtype=np.uint64))
        starts = counter.below(drawn, self.genome - self.read + 1).astype(np.int64)
        slots = 1 << self.genome.bit_length()
        slots <<= slots < 2 * self.genome
        arrays = text.astype(np.uint8), np.full(slots, -1, np.int64), np.zeros(slots, np.int32)
        given = starts, self.read, self.kmer
        return Program(count, *arrays, given=given, cursor=(0, 0, 0), unit=PROBES + 8)


@compiled
def count(
    text: Bytes,
    keys: Ints,
    counts: Vertices,
    starts: Ints,
    length: int,
    k_mer: int,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Counting the k-mers of reads in a hash table with linear probing."""
    letter_at, key_at, count_at = memory
    read, i, code = cursor
    mask = len(keys) - 1
    k = 0
    while k < most:
        place = starts[read] + i
        code = ((code << 2) | text[place]) & ((1 << (2 * k_mer)) - 1)
        k = load(made, k, letter_at, place)
        if i >= k_mer - 1:
            slot = ((code * SPREAD) >> 20) & mask
            for _ in range(PROBES):
                k = load(made, k, key_at, slot)
                if keys[slot] == code:
                    break
                if keys[slot] < 0:
                    keys[slot] = code
                    k = store(made, k, key_at, slot)
                    break
                slot = (slot + 1) & mask
            counts[slot] += 1
            k = load(made, k, count_at, slot)
            k = store(made, k, count_at, slot)
        i += 1
        if i == length:
            read, i, code = (read + 1) % len(starts), 0, 0
    cursor[0], cursor[1], cursor[2] = read, i, code
    return k
