"""LIRS as its paper tells it, with a bounded stack."""

from __future__ import annotations

from collections import OrderedDict


class Lirs:
    """`stack` and `queue` hold names from the bottom (front) to the top (end)."""

    def __init__(self, capacity: int, second: float = 0.01, deep: float = 2) -> None:
        self.capacity = capacity
        self.first_most = capacity - max(1, int(capacity * second))
        self.deep = deep * capacity
        self.size: dict[int, int] = {}
        self.lir: set[int] = set()
        self.stack: OrderedDict[int, None] = OrderedDict()
        self.queue: OrderedDict[int, None] = OrderedDict()
        self.gone: OrderedDict[int, None] = OrderedDict()

    def bytes(self, names: object) -> int:
        return sum(self.size[x] for x in names)  # type: ignore[attr-defined]

    def to_top(self, x: int) -> None:
        self.stack[x] = None
        self.stack.move_to_end(x)

    def prune(self) -> None:
        while self.stack:
            bottom = next(iter(self.stack))
            if bottom in self.lir:
                return
            del self.stack[bottom]
            self.gone.pop(bottom, None)

    def into_first(self, x: int) -> None:
        self.lir.add(x)
        self.prune()
        while self.bytes(self.lir) > self.first_most:
            bottom, _ = self.stack.popitem(last=False)
            self.lir.remove(bottom)
            self.queue[bottom] = None
            self.prune()

    def evict(self) -> None:
        if self.queue:
            out, _ = self.queue.popitem(last=False)
            if out in self.stack:
                self.gone[out] = None
        else:
            out, _ = self.stack.popitem(last=False)
            self.lir.remove(out)
            self.prune()

    def on_access(self, x: int, size: int) -> bool:
        hit = x in self.lir or x in self.queue
        if x in self.lir:
            self.to_top(x)
            self.prune()
        elif x in self.queue:
            if x in self.stack:
                del self.queue[x]
                self.to_top(x)
                self.into_first(x)
            else:
                self.queue.move_to_end(x)
                self.to_top(x)
        elif size <= self.capacity:
            while self.bytes(self.lir) + self.bytes(self.queue) + size > self.capacity:
                self.evict()
            known = x in self.stack
            self.gone.pop(x, None)
            self.size[x] = size
            if known or self.bytes(self.lir) + size <= self.first_most:
                self.to_top(x)
                self.into_first(x)
            else:
                self.to_top(x)
                self.queue[x] = None
        while self.gone and self.bytes(self.stack) > self.deep:
            out, _ = self.gone.popitem(last=False)
            del self.stack[out]
        return hit
