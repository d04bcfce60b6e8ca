"""CLOCK, second chance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words


@register("clock", family="way-replacement", aliases=("second-chance",), paper="Corbato, MIT Project MAC report, 1968")
class Clock:
    """A hand goes round the ways, clears reference bits, and evicts the first line whose bit is clear.

    A hit sets the bit; a line comes in with its bit clear.
    """

    hit_is_idempotent: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        return np.zeros((sets, ways + 1), np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int) -> None:
        s[at + way] = 1

    @staticmethod
    def fill(s: Words, at: int, way: int) -> None:
        s[at + way] = 0

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        hand = s[at + ways]
        while s[at + hand] or not (allowed >> (hand & 63)) & 1:
            if (allowed >> (hand & 63)) & 1:
                s[at + hand] = 0
            hand = (hand + 1) % ways
        s[at + ways] = (hand + 1) % ways
        return hand
