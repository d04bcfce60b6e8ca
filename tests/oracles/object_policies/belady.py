"""Belady's optimum written from its definition, and the fewest misses of any schedule at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache


class Belady:
    """Looks along the rest of the stream for the next request of each object that it holds."""

    def __init__(self, capacity: int, stream: Sequence[int]) -> None:
        self.capacity = capacity
        self.stream = list(stream)
        self.at = -1
        self.held: dict[int, int] = {}

    def distance(self, x: int) -> float:
        rest = self.stream[self.at + 1 :]
        return rest.index(x) if x in rest else float("inf")

    def on_access(self, x: int, size: int) -> bool:
        self.at += 1
        if x in self.held:
            return True
        if size <= self.capacity:
            while sum(self.held.values()) + size > self.capacity:
                del self.held[max(self.held, key=self.distance)]
            self.held[x] = size
        return False


def fewest_misses(stream: Sequence[int], capacity: int) -> int:
    """The fewest misses when every missed object must enter, over all choices of victims (sizes of one)."""

    @cache
    def from_here(at: int, held: frozenset[int]) -> int:
        if at == len(stream):
            return 0
        x = stream[at]
        if x in held:
            return from_here(at + 1, held)
        if len(held) < capacity:
            return 1 + from_here(at + 1, held | {x})
        return 1 + min(from_here(at + 1, held - {v} | {x}) for v in held)

    return from_here(0, frozenset())
