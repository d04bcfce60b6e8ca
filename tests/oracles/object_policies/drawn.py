"""Policies that draw objects, with plain lists; only the draws themselves are shared with the package."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tiersim.policies.object.chances import below, chance, draws


class Drawn:
    """A cache whose objects sit in a list; the last one takes the place of one that leaves."""

    def __init__(self, capacity: int, samples: int, seed: int) -> None:
        self.capacity, self.samples = capacity, samples
        self.draws: list[int] = draws(seed).tolist()
        self.held: list[int] = []
        self.size: dict[int, int] = {}
        self.now = -1

    def leave(self, x: int) -> None:
        at = self.held.index(x)
        self.held[at] = self.held[-1]
        self.held.pop()

    def drawn(self) -> list[int]:
        return [self.held[below(self.draws, len(self.held))] for _ in range(self.samples)]


class Hyperbolic(Drawn):
    def __init__(self, capacity: int, samples: int, seed: int, sizes_count: bool) -> None:
        super().__init__(capacity, samples, seed)
        self.sizes_count = sizes_count
        self.uses: dict[int, int] = {}
        self.entered: dict[int, int] = {}

    def worth(self, x: int) -> float:
        return self.uses[x] / (self.now - self.entered[x]) / (max(self.size[x], 1) if self.sizes_count else 1)

    def on_access(self, x: int, size: int) -> bool:
        self.now += 1
        if x in self.held:
            self.uses[x] += 1
            return True
        if size <= self.capacity:
            while sum(self.size[y] for y in self.held) + size > self.capacity:
                self.leave(min(self.drawn(), key=self.worth))
            self.held.append(x)
            self.size[x], self.uses[x], self.entered[x] = size, 1, self.now
        return False


class BeladySize(Drawn):
    def __init__(self, capacity: int, samples: int, seed: int, stream: Sequence[int]) -> None:
        super().__init__(capacity, samples, seed)
        self.stream = list(stream)
        self.dead: list[int] = []

    def distance(self, x: int) -> int:
        return self.stream[self.now + 1 :].index(x) + 1

    def on_access(self, x: int, size: int) -> bool:
        self.now += 1
        again = x in self.stream[self.now + 1 :]
        if x in self.held:
            if not again:
                self.leave(x)
                self.dead.append(x)
            return True
        if size <= self.capacity:
            while sum(self.size[y] for y in self.held + self.dead) + size > self.capacity:
                if self.dead:
                    self.dead.pop()
                    continue
                worth = {y: self.distance(y) * max(self.size[y], 1) for y in self.held}
                self.leave(max(self.drawn() if self.samples else self.held, key=worth.__getitem__))
            (self.held if again else self.dead).append(x)
            self.size[x] = size
        return False


class LeCar:
    """Algorithms 1 and 2 of the paper."""

    def __init__(self, capacity: int, seed: int, rate: float = 0.45) -> None:
        self.capacity, self.rate = capacity, rate
        self.draws: list[int] = draws(seed).tolist()
        self.uses: dict[int, int] = {}  # in the order of their last request
        self.size: dict[int, int] = {}
        self.left: dict[int, int] = {}
        self.history: dict[str, list[int]] = {"lru": [], "lfu": []}
        self.weight = {"lru": 0.5, "lfu": 0.5}
        self.now = -1

    def on_access(self, x: int, size: int) -> bool:
        self.now += 1
        if x in self.uses:
            self.uses[x] = self.uses.pop(x) + 1
            return True
        if size > self.capacity:
            return False
        for expert, history in self.history.items():
            if x in history:
                history.remove(x)
                discount = 0.005 ** ((self.now - self.left[x]) / max(len(self.uses), 1))
                self.weight[expert] *= math.exp(-self.rate * discount)
                total = sum(self.weight.values())
                lru = min(max(self.weight["lru"] / total, 1e-10), 1 - 1e-10)
                self.weight = {"lru": lru, "lfu": 1 - lru}
        while sum(self.size[y] for y in self.uses) + size > self.capacity:
            self.evict()
        self.uses[x], self.size[x] = 1, size
        return False

    def evict(self) -> None:
        lru = next(iter(self.uses))
        lfu = min(self.uses, key=self.uses.__getitem__)  # the first of equals
        if lru == lfu:
            del self.uses[lru]
            return
        expert = "lru" if chance(self.draws) < self.weight["lru"] else "lfu"
        x = lru if expert == "lru" else lfu
        del self.uses[x]
        self.left[x] = self.now
        if self.size[x] <= self.capacity // 2:
            history = self.history[expert]
            while sum(self.size[y] for y in history) + self.size[x] > self.capacity // 2:
                history.pop(0)
            history.append(x)
