"""The ageing sketch of TinyLFU with one dictionary of counters and one set of marks."""

from __future__ import annotations

from tiersim.policies.way.random_ import mix

ROUND = 0x5BD1E995


def power_of_two(least: int) -> int:
    made = 1
    while made < least:
        made *= 2
    return made


class Sketch:
    def __init__(self, capacity: int, most: int, doorkeeper: bool) -> None:
        self.capacity, self.doorkeeper = capacity, doorkeeper
        self.blocks = power_of_two(max(most, 8) * 16 // 64)
        self.bits = power_of_two(max(most, 8) * 80)
        self.counter: dict[tuple[int, int, int], int] = {}  # (block, row, column)
        self.door: set[int] = set()
        self.since = self.requests = self.bytes = 0

    def cells(self, x: int) -> list[tuple[int, int, int]]:
        columns = mix(mix(x) ^ ROUND)
        return [(mix(x) % self.blocks, row, columns // 16**row % 16) for row in range(4)]

    def marks(self, x: int) -> set[int]:
        return {(mix(x) + i * (mix(mix(x) ^ ROUND) | 1)) % self.bits for i in range(4)}

    def least(self, x: int) -> int:
        return min(self.counter.get(cell, 0) for cell in self.cells(x))

    def count(self, x: int, size: int) -> None:
        self.since += 1
        self.requests += 1
        self.bytes += size
        if self.doorkeeper and not self.marks(x) <= self.door:
            self.door |= self.marks(x)
        else:
            least = self.least(x)
            for cell in self.cells(x):
                if self.counter.get(cell, 0) == least:
                    self.counter[cell] = min(least + 1, 15)
        if self.since * (self.bytes / self.requests) >= 10 * self.capacity:
            self.since //= 2
            self.counter = {cell: held // 2 for cell, held in self.counter.items()}
            self.door.clear()

    def counted(self, x: int) -> int:
        return self.least(x) + (self.doorkeeper and self.marks(x) <= self.door)
