"""A TLB that is a part of memory (POM-TLB: Ryoo et al., ISCA 2017, doi:10.1145/3079856.3080210)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tiersim.sim.cache_loop import fill, identifier
from tiersim.sim.translation_loop import LOOK, REMOVE, SOURCES, Tlb, TranslationWriter

__all__ = ["PomTlbLoop"]

NAME = "pom-tlb"
PER_LINE = 4  # entries of 16 B


@dataclass(frozen=True)
class PomTlbLoop:
    """Sets of `ways` entries in memory, for pages of both sizes, filled by what leaves the TLBs.

    A lookup reads a set's first line, or all its lines (`whole`). `stores` says that an entry is written as it enters.
    The number of sets is given with those of the caches, under the name of its part, ``pom-tlb``.
    """

    ways: int
    policy: Any
    power_of_two: bool = True
    whole: bool = False
    stores: bool = True

    cache: ClassVar[None] = None
    holders: ClassVar[tuple[int, ...]] = ()
    watches: ClassVar[bool] = True
    words: ClassVar[tuple[str, ...]] = ("page", "pom_tlb_line", "pom_time", "pom_stores")

    @property
    def parts(self) -> tuple[Tlb, ...]:
        lines = -(-self.ways // PER_LINE)
        return (Tlb(NAME, self.ways, self.policy, power_of_two=self.power_of_two, lines=lines),)

    def verbs(self) -> None:
        return None

    def functions(self, writer: TranslationWriter) -> str:
        (part,) = self.parts
        k = writer.places[NAME]
        number = "L[u] >> 9 * D[4 * u + 3]"
        stored = fill(
            """
            $source = $pom
            store_$data($state, $line + group * $lines + way // $PER_LINE)
            $source = 0
            $stores += 1
            """,
            state=writer.state,
            data=writer.data,
            line=writer.own("pom_tlb_line"),
            lines=str(part.lines),
            PER_LINE=str(PER_LINE),
            source=writer.own("source"),
            pom=str(SOURCES.index("pom")),
            stores=writer.own("pom_stores"),
        )
        parts = writer.lookup(k, f"({number})", "u")
        named = ("page", "pom_tlb_line", "pom_time", "pom_stores", "source", "delay")
        words = {name: writer.own(name) for name in named}
        common = {"t": identifier(part.level), "lead": "", "data": writer.data, "pom": str(SOURCES.index("pom"))}
        text = fill(
            TEXT,
            lines=str(part.lines),
            read=str(part.lines if self.whole else 1),
            small=writer.set_of(k, "number"),
            large=writer.set_of(k, "(number >> 9)"),
            stored=stored if self.stores else "",
            **writer.at_once(),
            **common,
            **parts,
            **words,
        )
        return "\n\n\n".join([*(fill(own, **common, **parts) for own in (LOOK, REMOVE)), text])


TEXT = """
@inline
def read_set($state, set):
    first = $pom_tlb_line + set * $lines
    longest = 0
    $set_asked
    for x in range(first, first + $read):
        $set_again
        $delay = 0
        read_walk($state, x)
        $set_met
        longest = max(longest, $delay)
    return longest


@inline
def missing($state, u, time):
    number = L[$page]
    $source = $pom
    $asked
    small = read_set($state, $small)
    $parted
    large = read_set($state, $large)
    $source = 0
    if look_$t($state, u) >= 0:
        $one_met
        spent = large if D[4 * u + 3] else small
        $pom_time += spent
        return time + spent
    $both_met
    spent = max(small, large)
    $pom_time += spent
    walk($state, u, 1)
    return time + spent + $delay


@inline
def gone($state, u):
    $seat
    $puts += 1
    $find
    if way >= 0:
        $found += 1
        $hit
        return 0
    $enter
    $stored
    return 0
"""
