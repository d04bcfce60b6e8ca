"""What all stations have: a name, probes, and books that must balance."""

from __future__ import annotations

from operator import index

from tiersim._base.errors import AuditError
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.probes import Gauge, Histogram
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Station"]


class Station:
    """A place where jobs are for a while.

    ``inside`` is how many there are; ``sojourn`` has how long each was there, once it has left; ``arrivals`` and
    ``departures`` count them. ``timeline`` gets what happens, ``blocked`` who waited for whom, where they are given.
    """

    def __init__(
        self, clock: Clock, name: str, *, timeline: Timeline | None = None, blocked: Blocked | None = None
    ) -> None:
        self.clock = clock
        self.name = name
        self.inside = Gauge(since=clock.now)
        self.sojourn = Histogram()
        self.arrivals = 0
        self.timeline = timeline
        self.blocked = blocked
        self._came = 0  # the sum of the times of all arrivals
        self._gone_came = 0  # and of those who have left

    @property
    def departures(self) -> int:
        """How many jobs have left."""
        return self.sojourn.count

    def settle(self) -> None:
        """Bring the probes up to now, for a station that keeps them behind."""

    def audit(self) -> None:
        """Raise AuditError when the books do not balance.

        Little's law as an identity: the integral of the jobs inside is the sum of their times here, those who are still
        inside counted up to now.
        """
        self.settle()
        now = self.clock.now
        inside = self.arrivals - self.departures
        if inside != self.inside.level:
            raise AuditError(f"{self.name}: {inside} jobs came and did not leave, and {self.inside.level} are inside")
        left = self.sojourn.total  # with those inside: now less the time they came, which is all arrivals less theirs
        clipped = left + inside * now - (self._came - self._gone_came)
        if (integral := self.inside.integral(now)) != clipped:
            raise AuditError(f"{self.name}: jobs were here for {clipped} ps, and the count of them says {integral} ps")

    def _enter(self, now: int) -> None:
        self.arrivals += 1
        self._came += now
        self.inside.change(1, now)

    def _leave(self, came: int, at: int) -> None:
        self._gone_came += came
        self.inside.change(-1, at)
        self.sojourn.add(at - came)


def whole(value: object, what: str, least: int = 0) -> int:
    """A whole number as Python's own. Raises TypeError for what is none, ValueError when it is too small."""
    made = index(value)  # type: ignore[arg-type]  # it says so itself
    if made < least:
        raise ValueError(f"{what} must be at least {least}, and is {made}")
    return made
