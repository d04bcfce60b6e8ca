"""First in, first out."""

from __future__ import annotations

from typing import ClassVar

from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words
from tiersim.policies.way.lru import Lru


@register("fifo", family="way-replacement", paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078")
class Fifo:
    """Evicts the line that was brought in longest ago: an LRU that hears of fills only."""

    hit_is_idempotent: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        return Lru.state(sets, ways, seed)

    @staticmethod
    def hit(s: Words, at: int, way: int) -> None:
        return

    @staticmethod
    def fill(s: Words, at: int, way: int, ways: int) -> None:
        Lru.hit(s, at, way, ways)

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        return Lru.victim(s, at, allowed, ways)
