"""First in, first out."""

from __future__ import annotations

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, oldest, queues


@register("fifo", family="object-replacement", paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078")
class Fifo:
    """Evicts the object that entered longest ago."""

    @staticmethod
    def state(objects: int, most: int) -> State:
        return queues(1, most, objects)

    @staticmethod
    def lookup(spot: Words, x: int) -> bool:
        return spot[x] >= 0

    @staticmethod
    def touch() -> None:
        return

    @staticmethod
    def insert(queue: Words, ends: Words, spot: Words, x: int) -> None:
        move(queue, ends, spot, 0, x)

    @staticmethod
    def victim(queue: Words, ends: Words, spot: Words) -> int:
        return oldest(queue, ends, spot, 0)

    @staticmethod
    def remove(spot: Words, x: int) -> None:
        leave(spot, x)
