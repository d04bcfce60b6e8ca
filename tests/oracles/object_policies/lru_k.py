"""LRU-K: the k-th last use that is longest ago goes, and what has not as many before all, in order of entry."""

from __future__ import annotations


class LruK:
    """``history[x]`` are the times of all uses that are known, ``held[x]`` the size and the time of entry."""

    def __init__(self, capacity: int, k: int = 2, retained: int = -1) -> None:
        self.capacity, self.k, self.retained = capacity, k, retained
        self.history: dict[int, list[int]] = {}
        self.held: dict[int, tuple[int, int]] = {}
        self.now = -1

    def rank(self, x: int) -> tuple[int, int]:
        times = self.history[x]
        return (0, self.held[x][1]) if len(times) < self.k else (1, times[-self.k])

    def on_access(self, x: int, size: int) -> bool:
        self.now += 1
        if x in self.held:
            self.history[x].append(self.now)
            return True
        if size > self.capacity:
            return False
        while sum(item[0] for item in self.held.values()) + size > self.capacity:
            del self.held[min(self.held, key=self.rank)]
        times = self.history.get(x, [])
        if self.retained >= 0 and times and self.now - times[-1] > self.retained:
            times = []
        self.history[x] = [*times, self.now]
        self.held[x] = (size, self.now)
        return False
