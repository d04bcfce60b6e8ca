"""Belady's optimal replacement."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.way.contract import NEVER, State, Words


@register(
    "belady",
    family="way-replacement",
    aliases=("opt", "min"),
    paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078",
)
class Belady:
    """Evicts the line whose next reference lies furthest ahead: no policy that must bring lines in misses less.

    Its future is the stream of references at its own cache, so the engine first runs the caches above it. It cannot be
    used where its own evictions change that stream.
    """

    needs_future: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        return np.full((sets, ways), NEVER, np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int, next_use: int) -> None:
        s[at + way] = next_use

    @staticmethod
    def fill(s: Words, at: int, way: int, next_use: int) -> None:
        s[at + way] = next_use

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        best = -1
        for way in range(ways):
            if (allowed >> (way & 63)) & 1 and (best < 0 or s[at + way] > s[at + best]):
                best = way
        return best
