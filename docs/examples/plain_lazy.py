"""A lazy LRU in the plainest words: a class with one method."""

from __future__ import annotations

from collections import OrderedDict


class PlainLazy:
    """Evicts what stands at the old end; every second hit moves an object to the new end."""

    def start(self, capacity: int) -> None:
        self.capacity = self.room = capacity
        self.sizes: OrderedDict[int, int] = OrderedDict()  # what is in the cache, the old end first
        self.hits: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.sizes)

    def on_access(self, x: int, size: int) -> bool:
        if x in self.sizes:
            self.hits[x] += 1
            if self.hits[x] % 2 == 0:
                self.sizes.move_to_end(x)
            return True
        if size <= self.capacity:
            while self.room < size:
                _, freed = self.sizes.popitem(last=False)
                self.room += freed
            self.sizes[x] = size
            self.hits[x] = 0
            self.room -= size
        return False
