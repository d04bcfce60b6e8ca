"""MRU: what was asked for last goes."""

from __future__ import annotations


class Mru:
    """``held`` maps names to sizes, in order of use."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: dict[int, int] = {}

    def on_access(self, x: int, size: int) -> bool:
        if x in self.held:
            self.held[x] = self.held.pop(x)
            return True
        if size > self.capacity:
            return False
        while sum(self.held.values()) + size > self.capacity:
            self.held.popitem()
        self.held[x] = size
        return False
