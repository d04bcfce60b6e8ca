"""Writes prefetchers into a loop whose lines are numbered by page.

A stream is a page with the line that was used last in it and the step to it, which stands in for the program counter
that traces of accesses do not have. When the same step comes again, the next `degree` lines at that step are brought
in, as far as they lie in the page. `unit` takes steps of one line only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tiersim.sim.cache_loop import fill, when

if TYPE_CHECKING:
    from tiersim.sim.translation_loop import TranslationWriter

__all__ = ["PREFETCH", "WAYS", "Prefetcher", "Streams"]

PREFETCH = 10  # who reads; counted behind the others, as host walks are
WAYS = 4  # streams that are looked through at once
NONE = 64  # the step of a new stream, in a word that holds steps plus 64


class Streams:
    """The policy of a table of streams: the oldest of a set makes room."""

    hit_is_idempotent: ClassVar[bool] = True

    def state(self, sets: int, ways: int, seed: int) -> NDArray[np.int64]:
        """A word for the next way, and one for each stream."""
        return np.zeros((sets, ways + 1), np.int64)

    @staticmethod
    def hit(s: list[int], at: int) -> None:
        return

    @staticmethod
    def fill(s: list[int], at: int) -> None:
        return

    @staticmethod
    def victim(s: list[int], at: int, ways: int) -> int:
        way = s[at]
        s[at] = (way + 1) % ways
        return way


@dataclass(frozen=True)
class Prefetcher:
    """The prefetcher of cache number `cache`."""

    cache: int
    degree: int
    unit: bool = False

    def functions(self, writer: TranslationWriter, header: int) -> str:
        """``train_NAME(STATE, x)`` for a reference of the program to line x; it tells whether lines were brought in."""
        k = self.cache
        return fill(
            TEXT,
            name=writer.names[k],
            place=writer.place(k),
            look_up=writer.look_up(k),
            bring=writer.prefetched(k),
            source=writer.own("source"),
            PREFETCH=str(PREFETCH),
            NONE=str(NONE),
            other=when("step != 1 and step != -1", "return 0") if self.unit else "",
            degree=str(self.degree),
            **writer.lookup(header, "p", "p"),
        )


TEXT = """
@jit_apart
def fetch_$name($state, x):
    $place
    $look_up
    if way >= 0:
        $found += 1
        return 0
    $puts += 1
    before = $source
    $source = $PREFETCH
    $bring
    $source = before
    return 1


@inline
def train_$name($state, x):
    p = x >> 6
    $seat
    $lookups += 1
    $find
    if way < 0:
        $misses += 1
        $enter
        S[at + 1 + way] = $NONE << 6 | x & 63
        return 0
    held = S[at + 1 + way]
    step = (x & 63) - (held & 63)
    if step == 0:
        return 0
    S[at + 1 + way] = (step + $NONE) << 6 | x & 63
    if step != (held >> 6) - $NONE:
        return 0
    $other
    made = 0
    y = x
    for _ in range($degree):
        y += step
        if y >> 6 != p:
            break
        made += fetch_$name($state, y)
    return made
"""
