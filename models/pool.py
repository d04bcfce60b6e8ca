"""Slots whose holders have names: copy engines, staging buffers."""

from __future__ import annotations

from collections import defaultdict

from simpy.events import Event

from tiersim._base.errors import AuditError
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.slots import Slots
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Pool"]


class Pool(Slots):
    """Slots that are taken in somebody's name, so that it is known who waited for whom.

    A wait is shared out over those who held slots meanwhile, in proportion to what they held. ``timeline`` gets how
    many slots are taken.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        capacity: int,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        super().__init__(clock, name, capacity)
        self.timeline = timeline
        self.blocked = blocked
        self.held: defaultdict[str, int] = defaultdict(int)
        self._shares: defaultdict[str, float] = defaultdict(float)  # time in which each owner held its share
        self._since = clock.now

    def take(self, count: int = 1, priority: int = 0, owner: str = "") -> Event:
        """An event for when ``count`` slots are held in the name of ``owner``; its value is the time waited."""
        self._tick()
        before = dict(self._shares)
        made = super().take(count, priority)

        def granted(event: Event) -> None:
            self._tick()
            self.held[owner] += count
            self._count()
            if self.blocked is not None and event.value:
                for whom, time in self._shares.items():
                    self.blocked.add(owner, whom, self.name, time - before.get(whom, 0))

        assert made.callbacks is not None
        made.callbacks.append(granted)
        return made

    def give(self, count: int = 1, owner: str = "") -> None:
        """Give slots back. Raises ValueError when the owner gives more than it holds."""
        if count > self.held[owner]:
            raise ValueError(f"{self.name}: {owner or 'nobody'} gives {count} slots back, and has {self.held[owner]}")
        self._tick()
        self.held[owner] -= count
        if not self.held[owner]:
            del self.held[owner]
        super().give(count)
        self._count()

    def rename(self, count: int, owner: str, other: str) -> None:
        """Hand slots that one owner holds to another. Raises ValueError when it does not hold so many."""
        if count > self.held[owner]:
            raise ValueError(f"{self.name}: {owner or 'nobody'} hands {count} slots on, and has {self.held[owner]}")
        self._tick()
        self.held[owner] -= count
        self.held[other] += count
        if not self.held[owner]:
            del self.held[owner]

    def _tick(self) -> None:
        now = self.clock.now
        span, self._since = now - self._since, now
        all_held = sum(self.held.values())
        if span and all_held and self.blocked is not None:
            for owner, count in self.held.items():
                self._shares[owner] += span * count / all_held

    def _count(self) -> None:
        if self.timeline is not None:
            self.timeline.counter(self.name, self.clock.now, self.used.level)

    def audit(self) -> None:
        """Raise AuditError when slots are out that nobody holds, or somebody waits who need not."""
        super().audit()
        if (held := sum(self.held.values())) > self.used.level:
            raise AuditError(f"{self.name}: owners hold {held} slots, and {self.used.level} are taken")
