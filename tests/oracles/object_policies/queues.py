"""LRU, FIFO, CLOCK and SIEVE, each from the sentence that defines it, over plain lists."""

from __future__ import annotations

__all__ = ["Clock", "Fifo", "Lru", "Sieve"]


class Fifo:
    """The oldest object leaves; `self.order` has the oldest first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.order: list[int] = []
        self.size: dict[int, int] = {}

    def on_access(self, x: int, size: int) -> bool:
        if x in self.order:
            self.used(x)
            return True
        if size <= self.capacity:
            while sum(self.size[y] for y in self.order) + size > self.capacity:
                self.evict()
            self.order.append(x)
            self.size[x] = size
            self.entered(x)
        return False

    def used(self, x: int) -> None: ...

    def entered(self, x: int) -> None: ...

    def evict(self) -> None:
        self.order.pop(0)


class Lru(Fifo):
    """A use makes an object the youngest."""

    def used(self, x: int) -> None:
        self.order.remove(x)
        self.order.append(x)


class Clock(Fifo):
    """The oldest leaves unless it was used since it was looked at last; then it is spared once for each use counted."""

    most = 1

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.uses: dict[int, int] = {}

    def used(self, x: int) -> None:
        self.uses[x] = min(self.uses[x] + 1, self.most)

    def entered(self, x: int) -> None:
        self.uses[x] = 0

    def evict(self) -> None:
        while self.uses[self.order[0]]:
            self.uses[self.order[0]] -= 1
            self.order.append(self.order.pop(0))
        self.order.pop(0)


class Sieve(Fifo):
    """A hand goes from old to young and evicts the first that was not visited; it forgets visits, and nothing moves."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.visited: set[int] = set()
        self.hand: int | None = None  # an object, or from the oldest on

    def used(self, x: int) -> None:
        self.visited.add(x)

    def evict(self) -> None:
        at = 0 if self.hand is None else self.order.index(self.hand)
        while self.order[at] in self.visited:
            self.visited.remove(self.order[at])
            at = (at + 1) % len(self.order)
        del self.order[at]
        self.hand = self.order[at] if at < len(self.order) else None
