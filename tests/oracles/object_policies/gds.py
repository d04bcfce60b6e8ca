"""GreedyDual-Size as its paper first states it: all values are lowered when something leaves."""

from __future__ import annotations

from fractions import Fraction


class Gds:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.value: dict[int, Fraction] = {}  # in the order of their last request
        self.size: dict[int, int] = {}

    def on_access(self, x: int, size: int, cost: int = 1) -> bool:
        hit = x in self.value
        if hit:
            del self.value[x]
        else:
            if size > self.capacity:
                return False
            while sum(self.size[y] for y in self.value) + size > self.capacity:
                least = min(self.value, key=self.value.__getitem__)  # the first of equals
                lowered = self.value.pop(least)
                self.value = {y: value - lowered for y, value in self.value.items()}
            self.size[x] = size
        self.value[x] = Fraction(cost, max(self.size[x], 1))
        return hit
