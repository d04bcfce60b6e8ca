"""CLOCK, the second-chance queue."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues


@register(
    "clock",
    family="object-replacement",
    aliases=("second-chance", "fifo-reinsertion"),
    paper="Corbato, A paging experiment with the Multics system, MIT Project MAC MAC-M-384, 1968",
)
class Clock:
    """A ring whose hand passes over objects that were used since it came by last, and evicts the first that was not.

    With more than one bit it counts uses up to a maximum and takes one away at each pass. The ring is kept as a queue:
    to pass over the oldest is to make it the newest.
    """

    bits: Annotated[int, Param("width of the use counter", ge=1, le=7, source="one bit in the original")] = 1

    @staticmethod
    def state(objects: int, most: int) -> State:
        return queues(1, most, objects) | {"mark": np.zeros(objects, np.uint8)}  # 0 out, else 1 + uses

    @staticmethod
    def lookup(mark: Words, x: int) -> int:
        return mark[x]

    @staticmethod
    def touch(mark: Words, x: int, bits: int) -> None:
        mark[x] = min(mark[x] + 1, 1 << bits)

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, mark: Words, x: int) -> None:
        move(queue, ends, spot, 0, x)
        mark[x] = 1

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words, mark: Words) -> int:
        x = oldest(queue, ends, spot, 0)
        while mark[x] > 1:
            mark[x] -= 1
            move(queue, ends, spot, 0, x)
            x = oldest(queue, ends, spot, 0)
        return x

    @staticmethod
    def remove(spot: Words, mark: Words, x: int) -> None:
        leave(spot, x)
        mark[x] = 0
