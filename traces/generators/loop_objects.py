"""Popular objects, scans and loops by turns: what tells replacement policies apart."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.objects import ObjectGenerator

SCANNED: Final = 1 << 62  # the first key of what is scanned; popular objects have those from 0 on
LOOPED: Final = 1 << 61
ALL: Final = 10**9


@register("loop-objects", family="generator")
class LoopObjects(ObjectGenerator):
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
        turn, place = index // np.uint64(self.phase), index % np.uint64(self.phase)
        # how many of the requests before this one, and up to it, are hot: no record needs the one before it
        before = place * np.uint64(self.hot_share) // np.uint64(ALL)
        hot = (place + np.uint64(1)) * np.uint64(self.hot_share) // np.uint64(ALL) > before
        cold = place - before
        scan, loop = turn % np.uint64(3) == 1, turn % np.uint64(3) == 2
        made = self.popular(index)
        scanned = np.uint64(SCANNED) + turn // np.uint64(3) * np.uint64(self.phase) + cold
        made = np.where(scan & ~hot, scanned, made)
        return np.where(loop & ~hot, np.uint64(LOOPED) + cold % np.uint64(self.loop), made)
