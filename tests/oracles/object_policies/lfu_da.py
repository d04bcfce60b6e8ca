"""LFU-DA: the smallest key goes, and its key becomes the age that later keys start from."""

from __future__ import annotations


class LfuDa:
    """``key[x]`` is uses plus the age at the last use, and when that was."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size: dict[int, int] = {}
        self.uses: dict[int, int] = {}
        self.key: dict[int, tuple[int, int]] = {}
        self.age = self.now = 0

    def on_access(self, x: int, size: int) -> bool:
        self.now += 1
        hit = x in self.key
        if not hit:
            if size > self.capacity:
                return False
            while sum(self.size[y] for y in self.key) + size > self.capacity:
                victim = min(self.key, key=lambda y: self.key[y])
                self.age, _ = self.key.pop(victim)
            self.size[x], self.uses[x] = size, 0
        self.uses[x] += 1
        self.key[x] = (self.uses[x] + self.age, self.now)
        return hit
