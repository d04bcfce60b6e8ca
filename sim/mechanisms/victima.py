"""Translations in blocks of a data cache (Victima: Kanellopoulos et al., MICRO 2023, doi:10.1145/3613424.3614276)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiersim.sim.cache_loop import fill, join, when
from tiersim.sim.translation_loop import Tlb, TranslationWriter

__all__ = ["BLOCKS", "VictimaLoop"]


@dataclass(frozen=True)
class VictimaLoop:
    """TLB blocks in cache number `cache`.

    `predictor` has the verb ``costly(freq, cost)``. `on_miss` and `on_eviction` say when blocks are made.
    """

    cache: int
    predictor: type
    on_miss: bool = True
    on_eviction: bool = True

    parts: ClassVar[tuple[Tlb, ...]] = ()
    words: ClassVar[tuple[str, ...]] = ()

    @property
    def holders(self) -> tuple[int, ...]:
        return (self.cache,)

    @property
    def watches(self) -> bool:
        return self.on_eviction

    def verbs(self) -> tuple[type, tuple[str, ...]]:
        return self.predictor, ("costly",)

    def functions(self, writer: TranslationWriter) -> str:
        named = {name: writer.own(name) for name in ("delay", "offset", "answer", "block_lookups", "block_hits")}
        parts = self.blocks(writer, "", "offset", kind=2) | named
        parts["answered"] = writer.waited(f"max(time, {writer.own('answer')})")
        gone = fill(GONE, **parts) if self.on_eviction else ""
        return join(fill(BLOCKS, **parts) + "\n\n", fill(MISSING, **parts) + "\n\n", gone)

    def blocks(self, writer: TranslationWriter, prefix: str, offset: str, kind: int) -> dict[str, str]:
        """The parts of functions that look for blocks of one kind, make them, and ask whether that is worth it.

        `prefix` begins the names of words; `offset` is the one that leads from a leaf line to its block.
        """
        k, state, own = self.cache, writer.state, writer.own
        is_costly, convert = f"{prefix}costly", f"{prefix}convert"
        return {
            "state": state,
            "is_costly": is_costly,
            "make": convert,
            "name": writer.names[k],
            "locate": f"b = D[4 * u + 2] + {own(offset)}\n{writer.place(k, 'b')}",
            "look": f"way = find_{writer.levels[k].ways}(I, base, b)",
            "hit": writer.call("hit", k, kind=str(kind)),
            "used": writer.used(k),
            "pressure": own("data_pressure"),
            "refused": own(f"{prefix}refused"),
            "asked": f"ask = {is_costly}({state}, u)" if self.on_miss else "",
            "convert": when("ask", f"{convert}({state}, u)") if self.on_miss else "",
            "given_up": writer.given_up(k, "D[4 * u + 2]", own(f"{prefix}converted")),
            "resident": own(f"{prefix}resident"),
            "inserted": own(f"{prefix}inserted"),
            "count": COUNT,
        }


COUNT = """\
held = C[u]
freq = min((held & 7) + 1, 7)
cost = min((held >> 3) + touched, 15)
C[u] = cost << 3 | freq"""
BLOCKS = """
@inline
def $is_costly($state, u):
    if $pressure:
        return True
    held = C[u]
    if m_costly(held & 7, held >> 3):
        return True
    $refused += 1
    return False


@inline
def $make($state, u):
    $locate
    $look
    if way >= 0:
        return 0
    $given_up
    insert_$name($state, b, base, at, 0)
    $resident += 1
    $inserted += 1
    return 0
"""
MISSING = """
@inline
def missing($state, u, time):
    $locate
    $look
    $block_lookups += 1
    if way >= 0:
        $hit
        $used
        $block_hits += 1
        $answered
        return max(time, $answer)
    $asked
    touched = walk($state, u, 1)
    time += $delay
    $count
    $convert
    return time
"""
GONE = """
@inline
def gone($state, u):
    $locate
    $look
    if way >= 0:
        return 0
    if not costly($state, u):
        return 0
    touched = walk($state, u, 2)
    $count
    convert($state, u)
    return 0
"""
