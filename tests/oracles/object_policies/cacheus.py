"""Cacheus from its paper, with lists and dictionaries; only the draws are shared with the package."""

from __future__ import annotations

import math

from tiersim.policies.object.chances import below, chance, draws


def rounded(x: float) -> float:
    return math.floor(x * 1000 + 0.5) / 1000


class Cacheus:
    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.draws: list[int] = draws(seed).tolist()
        self.most = capacity - max(1, int(capacity * 0.01 + 0.5))
        self.reused: list[int] = []  # oldest first, as all of these
        self.probation: list[int] = []
        self.history: dict[str, list[int]] = {"lru": [], "lfu": []}
        self.uses: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.new: set[int] = set()  # marks of objects in the cache or a history
        self.demoted: set[int] = set()
        self.weight = 0.5  # of LRU
        self.time = self.hits = self.stalled = self.worse = 0
        self.rate = math.sqrt(2 * math.log(2) / capacity)
        self.first = min(max(self.rate, 0.001), 1.0)
        self.rate_before = self.ratio_before = 0.0

    def new_ones(self) -> int:
        return sum(x in self.new for x in self.history["lru"])

    def on_access(self, x: int, size: int) -> bool:
        self.time += 1
        if self.time % self.capacity == 0:
            self.learn()
        if x in self.reused or x in self.probation:
            self.hit(x)
            return True
        self.miss(x)
        return False

    def hit(self, x: int) -> None:
        self.hits += 1
        self.uses[x] += 1
        self.last[x] = self.time
        if x in self.reused:
            self.reused.remove(x)
        else:
            self.probation.remove(x)
            if x in self.demoted:
                more = max(1, int(self.new_ones() / max(1, len(self.demoted)) + 0.5))
                self.most = min(self.capacity - 1, self.most + more)
                self.demoted.discard(x)
        self.reused.append(x)
        self.limit()

    def limit(self) -> None:
        while len(self.reused) > self.most:
            x = self.reused.pop(0)
            self.probation.append(x)
            self.demoted.add(x)

    def miss(self, x: int) -> None:
        back = False
        for expert, history in self.history.items():
            if x in history:
                back = True
                history.remove(x)
                if expert == "lru" and x in self.new:
                    more = max(1, int(len(self.demoted) / max(1, self.new_ones()) + 0.5))
                    self.most = max(1, self.most - more)
                lru, lfu = self.weight, 1 - self.weight
                if expert == "lru":
                    lru *= math.exp(-self.rate)
                else:
                    lfu *= math.exp(-self.rate)
                self.weight = min(max(lru / (lru + lfu), 0.01), 0.99)
        if len(self.reused) + len(self.probation) == self.capacity:
            self.evict()
        self.last[x] = self.time
        self.new.discard(x)
        if back:
            self.uses[x] += 1
            self.reused.append(x)
        else:
            self.uses[x] = 1
            if len(self.reused) < self.most and not self.probation:
                self.reused.append(x)
            else:
                held = len(self.reused) + len(self.probation)
                if held == self.capacity - 1 or len(self.probation) >= self.capacity - self.most:
                    self.new.add(x)
                self.probation.append(x)
        self.limit()

    def evict(self) -> None:
        lru = (self.probation or self.reused)[0]
        lfu = min(self.reused + self.probation, key=lambda y: (self.uses[y], -self.last[y]))
        expert = ""
        if lru != lfu:
            expert = "lru" if chance(self.draws) < self.weight else "lfu"
        x = lfu if expert == "lfu" else lru
        (self.reused if x in self.reused else self.probation).remove(x)
        self.demoted.discard(x)
        if expert and self.capacity > 1:
            history = self.history[expert]
            if len(history) == self.capacity // 2:
                history.pop(0)
            history.append(x)

    def learn(self) -> None:
        ratio = rounded(self.hits / self.capacity)
        gain, step = ratio - self.ratio_before, rounded(self.rate) - rounded(self.rate_before)
        self.rate_before, self.ratio_before, self.hits = self.rate, ratio, 0
        if gain * step > 0:
            self.rate = min(self.rate + self.rate * abs(step), 1.0)
            self.stalled = self.worse = 0
        elif gain * step < 0:
            self.rate = max(self.rate - self.rate * abs(step), 0.001)
            self.stalled = self.worse = 0
        elif gain < 0 or ratio == gain == 0:
            self.stalled += 1
            self.worse += gain < 0
            if self.stalled >= 10:
                self.rate, self.stalled = self.first, 0
            elif gain < 0 and self.worse >= 10:
                self.rate, self.worse = self.first, 0
            elif gain < 0:
                self.wander()

    def wander(self) -> None:
        if self.rate >= 1:
            self.rate = 0.9
        elif self.rate <= 0.001:
            self.rate = 0.005
        elif below(self.draws, 2) == 0:
            self.rate = min(self.rate * 1.25, 1.0)
        else:
            self.rate = max(self.rate * 0.75, 0.001)
