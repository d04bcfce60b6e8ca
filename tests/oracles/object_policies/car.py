"""CAR, line by line from figure 2 of its paper."""

from __future__ import annotations

from collections import OrderedDict


class Car:
    """Clocks and lists hold name: mark or name: None from the head (front) to the tail (end)."""

    def __init__(self, capacity: int) -> None:
        self.c = capacity
        self.p = 0.0
        self.t1: OrderedDict[int, bool] = OrderedDict()
        self.t2: OrderedDict[int, bool] = OrderedDict()
        self.b1: OrderedDict[int, None] = OrderedDict()
        self.b2: OrderedDict[int, None] = OrderedDict()
        self.size: dict[int, int] = {}

    def of(self, *lists: OrderedDict[int, bool] | OrderedDict[int, None]) -> int:
        return sum(self.size[x] for names in lists for x in names)

    def replace(self) -> None:
        while True:
            if (self.t1 and self.of(self.t1) >= self.p) or not self.t2:
                x, used = self.t1.popitem(last=False)
                if not used:
                    self.b1[x] = None
                    return
            else:
                x, used = self.t2.popitem(last=False)
                if not used:
                    self.b2[x] = None
                    return
            self.t2[x] = False

    def on_access(self, x: int, size: int) -> bool:
        for clock in (self.t1, self.t2):
            if x in clock:
                clock[x] = True
                return True
        if size > self.c:
            return False
        while self.of(self.t1, self.t2) + size > self.c:
            self.replace()
        if x not in self.b1 and x not in self.b2:
            while self.b1 and self.of(self.t1, self.b1) + size > self.c:
                self.b1.popitem(last=False)
            while self.b2 and self.of(self.t1, self.t2, self.b1, self.b2) + size > 2 * self.c:
                self.b2.popitem(last=False)
            self.t1[x] = False
        else:
            one, two = self.of(self.b1), self.of(self.b2)
            if x in self.b1:
                self.p = min(self.p + max(1.0, two / one), self.c)
                del self.b1[x]
            else:
                self.p = max(self.p - max(1.0, one / two), 0.0)
                del self.b2[x]
            self.t2[x] = False
        self.size[x] = size
        return False
