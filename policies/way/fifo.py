"""First in, first out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words


@register("fifo", family="way-replacement", paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078")
class Fifo:
    """Evicts the line that was brought in longest ago; hits change nothing."""

    hit_is_idempotent: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        return np.zeros((sets, ways + 1), np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int) -> None:
        return

    @staticmethod
    def fill(s: Words, at: int, way: int, ways: int) -> None:
        s[at + ways] += 1
        s[at + way] = s[at + ways]

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        best = -1
        for way in range(ways):
            if (allowed >> (way & 63)) & 1 and (best < 0 or s[at + way] < s[at + best]):
                best = way
        return best
