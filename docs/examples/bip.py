"""Bimodal insertion: an LRU that does not trust new lines."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words


@register("bip", family="way-replacement", paper="Qureshi et al., ISCA 2007, doi:10.1145/1250662.1250709")
class Bip:
    """LRU, but a new line comes in as the next to leave; every so many of them come in as the last to leave."""

    every: Annotated[int, Param("one new line in so many is kept as LRU would", ge=1)] = 32

    hit_is_idempotent: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        return np.zeros((sets, ways + 2), np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int, ways: int) -> None:
        s[at + ways] += 1
        s[at + way] = s[at + ways]

    @staticmethod
    def fill(s: Words, at: int, way: int, ways: int, every: int) -> None:
        s[at + ways] += 1
        s[at + ways + 1] += 1
        kept = s[at + ways + 1] % every == 0
        s[at + way] = s[at + ways] if kept else -s[at + ways]

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        oldest = -1
        for way in range(ways):
            if (allowed >> (way & 63)) & 1 and (oldest < 0 or s[at + way] < s[at + oldest]):
                oldest = way
        return oldest
