"""S3-FIFO from Algorithm 1 of its paper, with the two choices of the authors' library as options."""

from __future__ import annotations

from collections import OrderedDict


class S3Fifo:
    def __init__(self, capacity: int, *, fill: bool = True) -> None:
        self.capacity, self.fill = capacity, fill
        self.small: OrderedDict[int, int] = OrderedDict()  # object -> uses, the oldest first
        self.main: OrderedDict[int, int] = OrderedDict()
        self.ghost: OrderedDict[int, None] = OrderedDict()
        self.size: dict[int, int] = {}
        self.evicted = False

    def bytes(self, queue: OrderedDict[int, int] | OrderedDict[int, None]) -> int:
        return sum(self.size[y] for y in queue)

    def on_access(self, x: int, size: int) -> bool:
        for queue in (self.small, self.main):
            if x in queue:
                queue[x] = min(queue[x] + 1, 3)
                return True
        if size > self.capacity:
            return False
        returns = x in self.ghost
        self.ghost.pop(x, None)
        while self.bytes(self.small) + self.bytes(self.main) + size > self.capacity:
            self.evict()
        full = self.bytes(self.small) >= self.capacity // 10
        first = self.main if returns or (self.fill and not self.evicted and full) else self.small
        first[x] = 0
        self.size[x] = size
        return False

    def evict(self) -> None:
        self.evicted = True
        if self.bytes(self.main) <= self.capacity - self.capacity // 10:
            while self.small:
                x, uses = self.small.popitem(last=False)
                if uses > 1:
                    self.main[x] = 0
                else:
                    self.remember(x)
                    return
        while True:
            x, uses = self.main.popitem(last=False)
            if not uses:
                return
            self.main[x] = uses - 1

    def remember(self, x: int) -> None:
        most = self.capacity * 9 // 10
        if self.size[x] <= most:
            while self.bytes(self.ghost) + self.size[x] > most:
                self.ghost.popitem(last=False)
            self.ghost[x] = None
