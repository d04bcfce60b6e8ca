"""CLOCK, the second-chance queue."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words


@register(
    "clock",
    family="object-replacement",
    aliases=("second-chance", "fifo-reinsertion"),
    paper="Corbato, A paging experiment with the Multics system, MIT Project MAC MAC-M-384, 1968",
)
class Clock:
    """A ring whose hand passes over objects that were used since it came by last, and evicts the first that was not.

    With more than one bit it counts uses up to a maximum and takes one away at each pass.
    """

    bits: Annotated[int, Param("width of the use counter", ge=1, le=7, source="one bit in the original")] = 1

    @staticmethod
    def state(objects: int) -> State:
        # a ring without a sentinel: `hand` is the oldest, new objects go in just behind it. mark: 0 out, else uses + 1
        return {
            "link": np.full(2 * objects, -1, np.int32),
            "mark": np.zeros(objects, np.uint8),
            "hand": np.full(1, -1, np.int64),
        }

    @staticmethod
    def lookup(mark: Words, x: int) -> int:
        return mark[x]

    @staticmethod
    def touch(mark: Words, x: int, bits: int) -> None:
        mark[x] = min(mark[x] + 1, 1 << bits)

    @staticmethod
    def insert(link: Words, mark: Words, hand: Words, x: int) -> None:
        at = hand[0]
        if at < 0:
            link[2 * x] = link[2 * x + 1] = x
            hand[0] = x
        else:
            before = link[2 * at + 1]
            link[2 * x] = at
            link[2 * x + 1] = before
            link[2 * before] = x
            link[2 * at + 1] = x
        mark[x] = 1

    @staticmethod
    def victim(link: Words, mark: Words, hand: Words) -> int:
        at = hand[0]
        while mark[at] > 1:
            mark[at] -= 1
            at = link[2 * at]
        hand[0] = at
        return at

    @staticmethod
    def remove(link: Words, mark: Words, hand: Words, x: int) -> None:
        newer = link[2 * x]
        older = link[2 * x + 1]
        if hand[0] == x:
            hand[0] = newer
        if newer == x:
            hand[0] = -1
        link[2 * older] = newer
        link[2 * newer + 1] = older
        mark[x] = 0
