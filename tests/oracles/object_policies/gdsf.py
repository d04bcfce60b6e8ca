"""GreedyDual-Size with frequency, from its formula."""

from __future__ import annotations

from fractions import Fraction


class Gdsf:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.clock = Fraction(0)
        self.priority: dict[int, Fraction] = {}  # in the order of their last request
        self.uses: dict[int, int] = {}
        self.size: dict[int, int] = {}

    def on_access(self, x: int, size: int, cost: int = 1) -> bool:
        if x not in self.priority:
            if size > self.capacity:
                return False
            own = self.clock + Fraction(cost, max(size, 1))
            while sum(self.size[y] for y in self.priority) + size > self.capacity:
                least = min(self.priority, key=self.priority.__getitem__)  # the first of equals
                if own < self.priority[least]:
                    self.clock = own
                    return False
                self.clock = self.priority.pop(least)
            self.priority[x], self.uses[x], self.size[x] = own, 1, size
            return False
        del self.priority[x]
        self.uses[x] += 1
        self.priority[x] = self.clock + Fraction(self.uses[x] * cost, max(self.size[x], 1))
        return True
