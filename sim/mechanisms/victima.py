"""Translations in blocks of a data cache (Victima: Kanellopoulos et al., MICRO 2023, doi:10.1145/3613424.3614276)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tiersim.sim.cache_loop import fill, join, when
from tiersim.sim.translation_loop import Tlb, TranslationWriter

__all__ = ["VictimaLoop"]


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
    def watches(self) -> bool:
        return self.on_eviction

    def verbs(self) -> tuple[type, tuple[str, ...]]:
        return self.predictor, ("costly",)

    def functions(self, writer: TranslationWriter) -> str:
        k = self.cache
        place = writer.place(k, "b")
        look = f"way = find_{writer.levels[k].ways}(I, base, b)"
        hit = writer.call("hit", k, kind="2")
        state = writer.state
        named = ("delay", "offset", "answer", "block_lookups", "block_hits", "inserted", "resident")
        parts = {
            "state": state,
            "name": writer.names[k],
            "place": place,
            "look": look,
            "hit": hit,
            "used": writer.used(k),
            "costly": self.costly(writer, "refused"),
            "asked": f"ask = costly({state}, u)" if self.on_miss else "",
            "convert": when("ask", f"convert({state}, u)") if self.on_miss else "",
            "given_up": writer.given_up(k, "D[4 * u + 2]", writer.own("converted")),
            "count": COUNT,
        } | {name: writer.own(name) for name in named}
        return join(fill(SHARED, **parts) + "\n\n", fill(GONE, **parts) if self.on_eviction else "")

    def costly(self, writer: TranslationWriter, counter: str) -> str:
        """Whether unit u is costly; where not, that is counted."""
        own, refused = writer.own("data_pressure"), writer.own(counter)
        return join(
            when(own, "return True"),
            "held = C[u]",
            when("m_costly(held & 7, held >> 3)", "return True"),
            f"{refused} += 1",
            "return False",
        )


COUNT = """\
held = C[u]
freq = min((held & 7) + 1, 7)
cost = min((held >> 3) + touched, 15)
C[u] = cost << 3 | freq"""
SHARED = """
@inline
def costly($state, u):
    $costly


@inline
def has_block($state, u):
    b = D[4 * u + 2] + $offset
    $place
    $look
    return way >= 0


@inline
def convert($state, u):
    b = D[4 * u + 2] + $offset
    $place
    $look
    if way >= 0:
        return 0
    $given_up
    insert_$name($state, b, base, at, 0)
    $resident += 1
    $inserted += 1
    return 0


@inline
def missing($state, u, time):
    b = D[4 * u + 2] + $offset
    $place
    $look
    $block_lookups += 1
    if way >= 0:
        $hit
        $used
        $block_hits += 1
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
    if has_block($state, u):
        return 0
    if not costly($state, u):
        return 0
    touched = walk($state, u, 2)
    $count
    convert($state, u)
    return 0
"""
