"""A walk of hashed page tables for each translation that no TLB has; see `tiersim.sim.hashed_tables`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiersim.sim.cache_loop import fill, join
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.translation_loop import Tlb, TranslationWriter

__all__ = ["HashedLoop"]

WORDS = ("page", "small_line", "small_buckets", "large_line", "large_buckets", "probes", "side_probes")


@dataclass(frozen=True)
class HashedLoop:
    """Nothing between the TLBs and hashed tables, which are walked without page-walk caches.

    ``probes`` counts the reads of walks in the table that has the translation, ``side_probes`` those in the other one.
    """

    cache: ClassVar[None] = None
    holders: ClassVar[tuple[int, ...]] = ()
    watches: ClassVar[bool] = False
    parts: ClassVar[tuple[Tlb, ...]] = ()
    words: ClassVar[tuple[str, ...]] = WORDS

    def verbs(self) -> None:
        return None

    def functions(self, writer: TranslationWriter) -> str:
        walk = fill(
            WALK,
            state=writer.state,
            reads=f"S[{writer.memory}]",
            read_walk=writer.read_walk(),
            begun=writer.begun("source"),
            **writer.beside(),
            settled=writer.settled(f"touched = S[{writer.memory}] > before"),
            **{name: writer.own(name) for name in (*WORDS, "source", "delay")},
        )
        return join(walk + "\n\n", RadixLoop().functions(writer))


WALK = """
$read_walk


@inline
def probe($state, line, buckets, at):
    $delay = 0
    read_walk($state, line + at % buckets)
    return $delay


@jit_apart
def walk($state, u, source):
    $source = source
    $begun
    before = $reads
    p = 4 * $page
    large = D[4 * u + 3]
    steps = A[p + 1 + 2 * large]
    side = min(A[p + 3 - 2 * large], steps)
    $probes += steps
    $side_probes += side
    paid = 0
    $apart
    for step in range(steps):
        if not large or step < side:
            $small_turns
            time = probe($state, $small_line, $small_buckets, A[p] + step)
            $small_turns
            paid += 0 if large else time
        if large or step < side:
            $large_turns
            time = probe($state, $large_line, $large_buckets, A[p + 2] + step)
            $large_turns
            paid += time if large else 0
    $delay = paid
    $settled
"""
