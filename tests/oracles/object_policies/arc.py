"""ARC, case by case from figure 4 of its paper."""

from __future__ import annotations

from collections import OrderedDict

Names = OrderedDict[int, int]


class Arc:
    """Lists map names to sizes, from the least recent (front) to the most recent (end)."""

    def __init__(self, capacity: int) -> None:
        self.c = capacity
        self.p = 0.0
        self.t1, self.t2, self.b1, self.b2 = Names(), Names(), Names(), Names()

    @staticmethod
    def of(*lists: Names) -> int:
        return sum(sum(names.values()) for names in lists)

    def replace(self, in_b2: bool) -> None:
        first = self.of(self.t1)
        if (self.t1 and (first > self.p or (in_b2 and first == self.p))) or not self.t2:
            x, size = self.t1.popitem(last=False)
            self.b1[x] = size
        else:
            x, size = self.t2.popitem(last=False)
            self.b2[x] = size

    def full(self, size: int) -> bool:
        return self.of(self.t1, self.t2) + size > self.c

    def on_access(self, x: int, size: int) -> bool:
        if x in self.t1 or x in self.t2:  # case I
            self.t2[x] = self.t1.pop(x) if x in self.t1 else self.t2.pop(x)
            return True
        if size > self.c:
            return False
        one, two = self.of(self.b1), self.of(self.b2)
        if x in self.b1 or x in self.b2:  # cases II and III
            in_b2 = x in self.b2
            if in_b2:
                self.p = max(self.p - max(one / two, 1.0), 0.0)
                del self.b2[x]
            else:
                self.p = min(self.p + max(two / one, 1.0), float(self.c))
                del self.b1[x]
            while self.full(size):
                self.replace(in_b2)
            self.t2[x] = size
            return False
        while self.full(size):  # case IV
            if self.of(self.t1, self.b1) + size > self.c:
                if not self.b1:
                    self.t1.popitem(last=False)
                    continue
                self.b1.popitem(last=False)
            elif self.of(self.t1, self.t2, self.b1, self.b2) >= 2 * self.c and self.b2:
                self.b2.popitem(last=False)
            self.replace(False)
        self.t1[x] = size
        return False
