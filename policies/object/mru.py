"""Most recently used."""

from __future__ import annotations

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.queues import leave, move, newest, queues


@register(
    "mru",
    family="object-replacement",
    paper="Chou, DeWitt, An evaluation of buffer management strategies, VLDB 1985, vldb.org/conf/1985",
)
class Mru:
    """Evicts the object that was asked for last: right for loops longer than the cache, and for little else."""

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
        return newest(queue, ends, spot, 0)

    @staticmethod
    def remove(spot: Words, x: int) -> None:
        leave(spot, x)
