"""SLRU: lists one above the other."""

from __future__ import annotations


class Slru:
    """``lists[k]`` maps names to sizes, from the least recent to the most recent; list 0 is the probationary one."""

    def __init__(self, capacity: int, segments: int = 4, protected: int | None = None, fill: bool = True) -> None:
        self.capacity, self.fill = capacity, fill
        self.lists: list[dict[int, int]] = [{} for _ in range(segments)]
        each = capacity // segments if protected is None else protected // (segments - 1)
        self.room = [capacity - each * (segments - 1), *[each] * (segments - 1)]

    def on_access(self, x: int, size: int) -> bool:
        for k, names in enumerate(self.lists):
            if x in names:
                size = names.pop(x)
                up = min(k + 1, len(self.lists) - 1)
                self.lists[up][x] = size
                for at in range(up, 0, -1):
                    while sum(self.lists[at].values()) > self.room[at]:
                        low = next(iter(self.lists[at]))
                        self.lists[at - 1][low] = self.lists[at].pop(low)
                return True
        if size > self.capacity:
            return False
        while sum(sum(names.values()) for names in self.lists) + size > self.capacity:
            names = next(names for names in self.lists if names)
            del names[next(iter(names))]
        fits = [k for k, names in enumerate(self.lists) if sum(names.values()) + size <= self.room[k]]
        self.lists[fits[0] if self.fill and fits else 0][x] = size
        return False
