"""Counting the k-mers of a genome."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter, kernels
from tiersim.traces.generators.kernels import PROBES, Ints, Program, Running, Step

BASES: Final = 17  # the random streams: the letters of the genome, and where reads begin
READS: Final = 18
STARTS: Final = 1 << 20  # as many reads, and then the first again


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
        letters, keys, counts = text.astype(np.uint8), np.full(slots, -1, np.int64), np.zeros(slots, np.int32)
        cursor = np.zeros(3, np.int64)

        def step(first: Ints) -> Step:
            return lambda *made: kernels.kmer_count(
                letters, keys, counts, starts, self.read, self.kmer, first, cursor, *made
            )

        return Program([letters, keys, counts], PROBES + 8, step)
