"""One working set after the other, and scans between: programs that change what they do."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.objects import SCANNED, PopularObjects


@register("phases-objects", family="generator", paper="Denning, IEEE TSE 6(1), 1980, doi:10.1109/TSE.1980.230464")
class PhasesObjects(PopularObjects):
    """Phases with working sets of their own, taken by turns, and a scan after each.

    A phase asks for the ``objects`` of its working set by Zipf's law; a scan for each of its objects once and never
    again.
    """

    sets: Annotated[int, Param("working sets, no object in two", unit="count", ge=1, le=1 << 20)] = 4
    phase: Annotated[int, Param("requests of a phase", unit="count", ge=1, le=1 << 32)] = 50_000
    scan: Annotated[int, Param("requests of a scan", unit="count", ge=0, le=1 << 32)] = 10_000

    def keys(self, index: Words) -> Words:
        """The key of each request, from the number of its record."""
        made = self.popular(index)
        _move(index, self.objects, self.sets, self.phase, self.scan, made)
        return made


@compiled
def _move(index: Words, objects: int, sets: int, phase: int, scan: int, made: Words) -> None:
    """Move popular objects to the working set of the phase, and put keys of scans in their place."""
    for i in range(len(index)):
        turn, place = np.int64(index[i]) // (phase + scan), np.int64(index[i]) % (phase + scan)
        if place < phase:
            made[i] += np.uint64(turn % sets * objects)
        else:
            made[i] = np.uint64(SCANNED + turn * scan + place - phase)
