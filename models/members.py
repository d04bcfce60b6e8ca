"""Who is there of the instances of a cluster: changes at given times, and by load."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Literal

from tiersim.sim.serving_loop import NEVER

__all__ = ["DOWN", "DRAINING", "UP", "Change", "Members", "Scale"]

DOWN, DRAINING, UP = range(3)
What = Literal["fail", "drain", "start"]


@dataclass(frozen=True)
class Change:
    """What happens to an instance at a time in picoseconds."""

    at: int
    what: What
    instance: int


@dataclass(frozen=True)
class Scale:
    """Every ``interval`` the pending tokens of an instance that is up, in the mean, are to lie between two bounds.

    One that is started is up ``start_up`` later; times are in picoseconds.
    """

    interval: int
    high: int
    low: int
    least: int
    most: int
    start_up: int = 0


class Members:
    """The states of instances, and what is to change; ``up`` are the numbers of those that routers see, in order."""

    def __init__(self, count: int, up: Iterable[int], changes: Sequence[Change], scale: Scale | None) -> None:
        self.up = sorted(set(up))
        self.states = [DOWN] * count
        for instance in self.up:
            self.states[instance] = UP
        self._since = [0] * count
        self._spells: list[
            tuple[int, int, int]
        ] = []  # instances that are gone, from when and until when they were there
        self._coming = [(change.at, order, change) for order, change in enumerate(changes)]
        heapify(self._coming)
        self._given = len(changes)
        self.scale, self.starting = scale, set[int]()
        self.look = NEVER if scale is None else scale.interval

    @property
    def coming(self) -> int:
        """When the next change happens."""
        return self._coming[0][0] if self._coming else NEVER

    def due(self, now: int) -> list[Change]:
        """The changes of a time."""
        changes = []
        while self._coming and self._coming[0][0] <= now:
            change = heappop(self._coming)[2]
            changes.append(change)
            if change.what == "start":
                self.starting.discard(change.instance)
        return changes

    def become(self, instance: int, state: int, now: int) -> None:
        before = self.states[instance]
        self.states[instance] = state
        if before == UP:
            self.up.remove(instance)
        if state == UP:
            insort(self.up, instance)
        if before == DOWN:
            self._since[instance] = now
        elif state == DOWN:
            self._spells.append((instance, self._since[instance], now))

    def weigh(self, pending: Sequence[int], waiting: int, now: int) -> None:
        """A look at the loads of all instances, and at what waits for any: one is started or drained, if need be."""
        scale = self.scale
        assert scale is not None
        self.look = now + scale.interval
        held, count = waiting + sum(pending[instance] for instance in self.up), len(self.up)
        if not count or held > scale.high * count:
            down = (k for k, state in enumerate(self.states) if state == DOWN and k not in self.starting)
            if count + len(self.starting) < scale.most and (instance := next(down, None)) is not None:
                self.starting.add(instance)
                self._add(Change(now + scale.start_up, "start", instance))
        elif held < scale.low * count and count > scale.least:
            self._add(Change(now, "drain", self.up[-1]))

    def _add(self, change: Change) -> None:
        heappush(self._coming, (change.at, self._given, change))
        self._given += 1

    def there(self, now: int) -> list[int]:
        """How long each was up, or draining, up to a time in picoseconds."""
        there = [0] * len(self.states)
        still = [(k, self._since[k], now) for k, state in enumerate(self.states) if state != DOWN]
        for instance, since, until in (*self._spells, *still):
            there[instance] += max(min(until, now) - since, 0)
        return there
