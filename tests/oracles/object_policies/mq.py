"""MQ, from figure 3 of its paper."""

from __future__ import annotations

from collections import OrderedDict


class Mq:
    """``queues[k]`` and ``out`` hold names from the head (first to go) to the tail."""

    def __init__(self, capacity: int, levels: int = 8, life: int = 10000, ghost: float = 4) -> None:
        self.capacity, self.life, self.ghost = capacity, life, ghost * capacity
        self.queues: list[OrderedDict[int, int]] = [OrderedDict() for _ in range(levels)]
        self.out: OrderedDict[int, int] = OrderedDict()
        self.reference: dict[int, int] = {}
        self.size: dict[int, int] = {}
        self.time = 0

    def queue_of(self, x: int) -> int | None:
        return next((k for k, queue in enumerate(self.queues) if x in queue), None)

    def evict(self) -> None:
        victim, _ = next(queue for queue in self.queues if queue).popitem(last=False)
        if self.size[victim] <= self.ghost:
            self.out[victim] = self.size[victim]
            while sum(self.out.values()) > self.ghost:
                self.out.popitem(last=False)

    def adjust(self) -> None:
        self.time += 1
        for k in range(1, len(self.queues)):
            if self.queues[k]:
                head, expires = next(iter(self.queues[k].items()))
                if expires < self.time:
                    del self.queues[k][head]
                    self.queues[k - 1][head] = self.time + self.life

    def on_access(self, x: int, size: int) -> bool:
        at = self.queue_of(x)
        if at is not None:
            del self.queues[at][x]
        else:
            if size > self.capacity:
                self.time += 1
                return False
            if not self.out.pop(x, 0):
                self.reference[x] = 0
            while sum(self.size[y] for queue in self.queues for y in queue) + size > self.capacity:
                self.evict()
            self.size[x] = size
        self.reference[x] += 1
        level = min(self.reference[x].bit_length() - 1, len(self.queues) - 1)
        self.queues[level][x] = self.time + self.life
        self.adjust()
        return at is not None
