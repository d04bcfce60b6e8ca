"""Least recently used."""

from __future__ import annotations

from typing import ClassVar

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues


@register(
    "lru", family="object-replacement", paper="Mattson et al., IBM Systems Journal 9(2), 1970, doi:10.1147/sj.92.0078"
)
class Lru:
    """Evicts the object that was asked for longest ago."""

    stack: ClassVar[bool] = True

    @staticmethod
    def state(objects: int, most: int) -> State:
        return queues(1, most, objects)

    @staticmethod
    def lookup(spot: Words, x: int) -> bool:
        return spot[x] >= 0

    @staticmethod
    def touch(queue: Words, ends: Words, spot: Words, x: int) -> None:
        move(queue, ends, spot, 0, x)

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, x: int) -> None:
        move(queue, ends, spot, 0, x)

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words) -> int:
        return oldest(queue, ends, spot, 0)

    @staticmethod
    def remove(spot: Words, x: int) -> None:
        leave(spot, x)
