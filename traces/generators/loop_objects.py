"""Popular objects, scans and loops by turns: what tells replacement policies apart."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.objects import LOOPED, SCANNED, PopularObjects

ALL: Final = 10**9


@register("loop-objects", family="generator")
class LoopObjects(PopularObjects):
    """Requests for objects in three phases by turns: popular objects by Zipf's law, a scan, a loop.

    A scan asks for each of its objects once and never again; a loop for the same ``loop`` objects round and round, and
    every loop phase for the same ones. Of both, ``hot_share`` of the requests, evenly spread, are for popular objects.
    """

    phase: Annotated[int, Param("requests of a phase", unit="count", ge=1, le=1 << 32)] = 50_000
    loop: Annotated[int, Param("objects of a loop", unit="count", ge=1, le=1 << 32)] = 20_000
    hot_share: Annotated[int, Param("requests in scans and loops for popular objects", unit="ratio", ge=0, le=ALL)] = (
        ALL // 4
    )

    def keys(self, index: Words) -> Words:
        """The key of each request, from the number of its record."""
        made = self.popular(index)
        _replace(index, self.phase, self.loop, self.hot_share, made)
        return made


@compiled
def _replace(index: Words, phase: int, loop: int, hot_share: int, made: Words) -> None:
    """Put the keys of scans and loops in the place of popular ones; no record needs the one before it."""
    for i in range(len(index)):
        turn, place = np.int64(index[i]) // phase, np.int64(index[i]) % phase
        # how many of the requests before this one, and up to it, are hot
        before = place * hot_share // ALL
        if turn % 3 == 0 or (place + 1) * hot_share // ALL > before:
            continue
        cold = place - before
        made[i] = np.uint64(SCANNED + turn // 3 * phase + cold if turn % 3 == 1 else LOOPED + cold % loop)
