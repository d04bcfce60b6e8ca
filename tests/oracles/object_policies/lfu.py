"""LFU: the fewest uses since the entry go, the one that has had them for longest first."""

from __future__ import annotations


class Lfu:
    """``held[x]`` is the size of x, its uses, and when the last was."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: dict[int, tuple[int, int, int]] = {}
        self.now = 0

    def on_access(self, x: int, size: int) -> bool:
        self.now += 1
        if x in self.held:
            self.held[x] = (self.held[x][0], self.held[x][1] + 1, self.now)
            return True
        if size > self.capacity:
            return False
        while sum(item[0] for item in self.held.values()) + size > self.capacity:
            del self.held[min(self.held, key=lambda y: self.held[y][1:])]
        self.held[x] = (size, 1, self.now)
        return False
