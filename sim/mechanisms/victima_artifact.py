"""Translations in blocks of data caches as the released artifact of Victima has them, commit bdcbda5.

Blocks are lines that are read through all caches, and are looked for in all of them; no predictor chooses, and what
leaves the TLBs is not walked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tiersim.sim.cache_loop import fill, join, when
from tiersim.sim.translation_loop import LATENCY, SOURCES, Tlb, TranslationWriter

if TYPE_CHECKING:
    from tiersim.sim.mechanisms.nested import NestedWriter

__all__ = ["VictimaArtifactLoop"]

APART = SOURCES.index("pom")  # reads of a mechanism that are no walks


@dataclass(frozen=True)
class VictimaArtifactLoop:
    """TLB blocks in the caches that a load looks up, `holders` from the first on; those in number `cache` are counted.

    `on_miss` and `on_eviction` say when blocks are read.
    """

    holders: tuple[int, ...]
    cache: int
    on_miss: bool = True
    on_eviction: bool = True

    parts: ClassVar[tuple[Tlb, ...]] = ()
    words: ClassVar[tuple[str, ...]] = ("nested_block_time",)

    @property
    def watches(self) -> bool:
        return self.on_eviction

    def verbs(self) -> None:
        return None

    def functions(self, writer: TranslationWriter) -> str:
        hits = f"{writer.own('block_hits')} += 1"
        parts = self._parts(writer, "") | {
            "block": f"b = D[4 * u + 2] + {writer.own('offset')}",
            "delay": writer.own("delay"),
            "found": self._found(writer, lambda answer: join(hits, writer.waited(answer), f"return {answer}")),
        }
        # with a nested TLB its functions need these before
        shared = "" if writer.loop.nested else self.shared(writer)
        gone = fill(GONE, **parts) if self.on_eviction else ""
        return "\n\n\n".join(filter(None, [shared, fill(MISSING, **parts), gone]))

    def nested(self, writer: NestedWriter) -> str:
        """What happens where the nested TLB misses, and to what has left it."""
        own = writer.own
        block = fill(NESTED_BLOCK, **{name: own(name) for name in ("hosts", "offset", "nested_offset")})
        hits, answered = f"{own('nested_block_hits')} += 1", own("nested_block_time")
        found = self._found(
            writer, lambda answer: join(hits, writer.pays(answer), f"{answered} += {answer}", "return True")
        )
        parts = self._parts(writer, "nested_") | {"block": block, "found": found}
        gone = fill(HOST_GONE, **parts) if self.on_eviction else ""
        return "\n\n\n".join(filter(None, [self.shared(writer), fill(HOST_FOUND, **parts), gone]))

    def shared(self, writer: TranslationWriter) -> str:
        """``has_block_CACHE`` for each cache, and ``read_block``."""
        looks = [
            fill(
                HAS_BLOCK,
                state=writer.state,
                name=writer.names[k],
                place=writer.place(k, "b"),
                look=f"way = find_{writer.levels[k].ways}(I, base, b)",
            )
            for k in self.holders
        ]
        words = {name: writer.own(name) for name in ("source", "delay")}
        return "\n\n\n".join([*looks, fill(READ_BLOCK, state=writer.state, APART=str(APART), **words)])

    def _parts(self, writer: TranslationWriter, prefix: str) -> dict[str, str]:
        state = writer.state
        read = join(writer.aside(f"read_block({state}, b)"), f"{writer.own(f'{prefix}inserted')} += 1")
        return {
            "state": state,
            "lookups": writer.own(f"{prefix}block_lookups"),
            "read": read,
            "missed": read if self.on_miss else "",
            "there": " or ".join(f"has_block_{writer.names[k]}({state}, b)" for k in self.holders),
        }

    def _found(self, writer: TranslationWriter, then: Callable[[str], str]) -> str:
        """Looks for block b in one cache after the other; `then` is done with what a load of it would take."""
        lines, answer = [], ""
        for place, k in enumerate(self.holders):
            answer = " + ".join(filter(None, [answer, writer.word(k, LATENCY)]))
            # one in the first cache is only looked at
            read = writer.aside(f"read_block({writer.state}, b)") if place else ""
            lines.append(when(f"has_block_{writer.names[k]}({writer.state}, b)", join(read, then(answer))))
        return join(*lines)


HAS_BLOCK = """
@inline
def has_block_$name($state, b):
    $place
    $look
    return way >= 0
"""
READ_BLOCK = """
@inline
def read_block($state, b):
    was = $source
    paid = $delay
    $source = $APART
    read_walk($state, b)
    $source = was
    $delay = paid
    return 0
"""
MISSING = """
@inline
def missing($state, u, time):
    $block
    $lookups += 1
    $found
    $missed
    walk($state, u, 1)
    return time + $delay
"""
GONE = """
@inline
def gone($state, u):
    $block
    if $there:
        return 0
    $read
    return 0
"""
# The block of a host page is that of the page's unit, where both have the same size.
NESTED_BLOCK = """
unit = D[4 * (u - $hosts)]
b = D[4 * u + 2] + $nested_offset
if D[4 * unit + 3] == D[4 * u + 3]:
    b = D[4 * unit + 2] + $offset
"""
HOST_FOUND = """
@inline
def host_found($state, u):
    $block
    $lookups += 1
    $found
    $missed
    return False
"""
HOST_GONE = """
@inline
def host_gone($state, u):
    $block
    if $there:
        return 0
    $read
    return 0
"""
