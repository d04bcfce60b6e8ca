"""DualMap's queues, plain and slow: every look counts everything anew, and asks every request of a queue what it gains.

Written from the docstring of the router; only the keys, their hashes and the budget are the router's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Queues"]


class Queues:
    """Decides as `dualmap` does with the same parameters; `made` is a router that was started, for its keys."""

    def __init__(self, made: Any) -> None:
        self.made, self.whole, self.limit = made, made.profile == "paper", made.limit
        self.count = len(made.instances)
        self.waiting: dict[int, tuple[Any, list[int], int, int]] = {}  # request, candidates, place, hit when it entered
        self.given: dict[int, tuple[int, int]] = {}  # place, work
        self.touched: set[int] = set()
        self.due, self.moves = False, 0

    # what there is, counted

    def work(self, request: Any, hit: int) -> int:
        return int((request.prompt - hit) * self.made.prefill + hit * self.made.cached)

    def key(self, request: Any, hit: int) -> tuple[int, int, int]:
        return (-hit if self.made.order == "hit" else 0, request.time, request.number)

    def queue(self, place: int) -> list[tuple[tuple[int, int, int], int]]:
        """Keys and work, in order."""
        return sorted(
            (self.key(ask, hit), self.work(ask, hit)) for ask, _, at, hit in self.waiting.values() if at == place
        )

    def out(self, place: int) -> int:
        return sum(work for at, work in self.given.values() if at == place)

    def load(self, place: int) -> int:
        return self.out(place) + sum(work for _, work in self.queue(place))

    def before(self, place: int, key: tuple[int, int, int]) -> int:
        return self.out(place) + sum(work for held, work in self.queue(place) if held < key)

    def old(self, place: int, now: int) -> bool:
        patience = self.made.patience
        return patience is not None and any(now - key[1] >= patience for key, _ in self.queue(place))

    def over(self, place: int, now: int) -> bool:
        return self.load(place) > self.limit or self.old(place, now)

    # what the router is told

    def arrive(self, request: Any, view: Any) -> None:
        candidates, hits = self.made.of(request), view.hits(request)
        pages = [self.load(place) for place in range(self.count)] if self.whole else view.pages
        warm = min(candidates, key=lambda place: (-hits[place], pages[place]))
        if self.load(warm) + self.work(request, hits[warm]) > self.limit:
            warm = min(candidates, key=lambda p: (self.load(p) + self.work(request, hits[p]), pages[p]))
        self.waiting[request.number] = request, list(candidates), warm, hits[warm]
        self.touched.add(warm)
        self.due = True
        if self.made.rebalance and all(self.over(place, view.time) for place in candidates):
            moved: set[int] = set()
            for place in [warm, *(place for place in candidates if place != warm)]:
                self.relieve(place, view, moved)

    def first(self, numbers: Sequence[int]) -> None:
        self._gone(numbers)
        self.due |= self.made.eager

    def ended(self, numbers: Sequence[int]) -> None:
        self._gone(numbers)
        self.due = True

    def _gone(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number in self.given:
                self.touched.add(self.given.pop(number)[0])

    def dispatch(self, view: Any) -> list[tuple[int, int]]:
        if not self.due:
            return []
        self.due = False
        now, moved, out = view.time, set[int](), []
        for place in range(self.count) if self.made.rebalance else ():
            if self.old(place, now) or (not self.whole and self.load(place) > self.limit):
                self.relieve(place, view, moved)
        for place in sorted(self.touched):
            while queue := self.queue(place):
                some = sum(at == place for at, _ in self.given.values())
                if some and (some >= self.made.pending or self.out(place) >= self.limit):
                    break
                (_, _, number), work = queue[0]
                del self.waiting[number]
                self.given[number] = place, work
                out.append((number, place))
        self.touched = set()
        return out

    # moves

    def relieve(self, place: int, view: Any, moved: set[int]) -> None:
        if not self.whole and len(self.queue(place)) < 2:
            return
        goal, lost = self.load(place) - self.limit, 0
        moves = self.gains(place, view, moved)
        while moves and not 0 < goal <= lost:
            number = moves.pop(0)
            gain, to = self.gain(number, view, moved)
            if gain <= 0:
                continue
            request, candidates, _, hit = self.waiting[number]
            lost += self.work(request, hit)
            if not self.whole:
                candidates = [to, place, *(one for one in candidates if one not in (to, place))]
                candidates = candidates[: max(self.made.candidates, 2)]
            self.waiting[number] = request, candidates, to, view.hits(request)[to]
            self.touched.add(to)
            moved.add(number)
            self.moves += 1
            if not self.whole:
                moves = self.gains(place, view, moved)

    def gains(self, place: int, view: Any, moved: set[int]) -> list[int]:
        """Who gains, the most first, and of equals who stands before."""
        numbers = [key[2] for key, _ in self.queue(place)]
        found = {number: self.gain(number, view, moved)[0] for number in numbers}
        return sorted((number for number in numbers if found[number] > 0), key=lambda number: -found[number])

    def gain(self, number: int, view: Any, moved: set[int]) -> tuple[int, int]:
        """What a request gains, and where, if it may move at all."""
        request, candidates, place, hit = self.waiting[number]
        if number in moved:
            return 0, -1
        here = self.before(place, self.key(request, hit)) + self.work(request, hit)
        others = [(place + step) % self.count for step in range(1, self.count)]
        neighbours = [] if self.whole else [other for other in others if other not in candidates][:1]
        for places in (candidates, neighbours):
            found = []
            for to in places:
                if to == place or self.over(to, view.time):
                    continue
                there = view.hits(request)[to]
                work = self.work(request, there)
                if self.load(to) + work <= self.limit:
                    found.append((self.before(to, self.key(request, there)) + work, to))
            if found:
                least = min(found, key=lambda one: one[0])  # of equals the first candidate
                return here - least[0], least[1]
        return 0, -1
