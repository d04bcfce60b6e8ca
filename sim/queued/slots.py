"""A number of equal slots that jobs hold for as long as they like, given out by priority."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

from simpy.events import Event

from tiersim._base.errors import AuditError
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.probes import Gauge, Histogram
from tiersim.sim.queued.station import whole

__all__ = ["Slots"]


class Slots:
    """``capacity`` slots: copy engines, entries of a queue, outstanding misses, bytes of a buffer.

    `take` gives an event for the moment at which so many slots are the caller's; `give` returns them. Lower priorities
    go first, equal ones in the order in which they came, and nobody overtakes one who waits for more. A heap: twenty
    thousand waiting cost little more than two, where SimPy's own resource sorts its queue at each turn.
    """

    def __init__(self, clock: Clock, name: str, capacity: int) -> None:
        self.clock = clock
        self.name = name
        self.capacity = whole(capacity, f"{name}: a capacity", 1)
        self.used = Gauge(since=clock.now)
        self.waits = Histogram()
        self._waiting: list[tuple[Any, int, int, int, Event]] = []  # priority, number, slots, since when, event
        self._turn = 0

    def take(self, count: int = 1, priority: int = 0) -> Event:
        """An event for when ``count`` slots are held; its value is the time waited.

        Raises ValueError when there are not so many slots in all.
        """
        count = whole(count, f"{self.name}: a number of slots", 1)
        if count > self.capacity:
            raise ValueError(f"{self.name} has {self.capacity} slots, and will never have {count}")
        made = Event(self.clock)
        self._turn += 1
        heappush(self._waiting, (priority, self._turn, count, self.clock.now, made))
        self._grant()
        return made

    def give(self, count: int = 1) -> None:
        """Give slots back. Raises ValueError when more come back than were taken."""
        count = whole(count, f"{self.name}: a number of slots", 1)
        if count > self.used.level:
            raise ValueError(f"{self.name}: {count} slots come back, and {self.used.level} are taken")
        self.used.change(-count, self.clock.now)
        self._grant()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def _grant(self) -> None:
        now = self.clock.now
        while self._waiting and self._waiting[0][2] <= self.capacity - self.used.level:
            _, _, count, since, event = heappop(self._waiting)
            self.used.change(count, now)
            self.waits.add(now - since)
            event.succeed(now - since)

    def audit(self) -> None:
        """Raise AuditError when slots are out that nobody could have taken, or somebody waits who need not."""
        if not 0 <= self.used.level <= self.capacity:
            raise AuditError(f"{self.name}: {self.used.level} of {self.capacity} slots are taken")
        if self._waiting and self._waiting[0][2] <= self.capacity - self.used.level:
            raise AuditError(f"{self.name}: a job waits for {self._waiting[0][2]} slots that are free")
