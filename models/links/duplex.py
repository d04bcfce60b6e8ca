"""Both directions of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from simpy.events import Event

from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.link import WHOLE, Link
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Duplex", "Wire"]


@dataclass(frozen=True)
class Wire:
    """One direction of a connection in numbers: bytes a second, picoseconds, parts of 10**9, and bytes of a packet."""

    bandwidth: int
    latency: int = 0
    efficiency: int = WHOLE
    payload: int = 0
    header: int = 0

    @property
    def goodput(self) -> float:
        """Bytes of data a second of a long transfer alone: the usable rate less the headers of full packets."""
        rate = self.bandwidth * self.efficiency // WHOLE
        share = Fraction(self.payload, self.payload + self.header) if self.payload else Fraction(1)
        return float(rate * share)

    def link(self, clock: Clock, name: str, timeline: Timeline | None = None, blocked: Blocked | None = None) -> Link:
        """A link of this kind."""
        return Link(
            clock,
            name,
            self.bandwidth,
            latency=self.latency,
            efficiency=self.efficiency,
            payload=self.payload,
            header=self.header,
            timeline=timeline,
            blocked=blocked,
        )


class Duplex:
    """A connection whose directions share nothing: `there` from its first end to its second, and `back`."""

    def __init__(
        self,
        clock: Clock,
        names: tuple[str, str],
        there: Wire,
        back: Wire | None = None,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        self.clock = clock
        self.there = there.link(clock, names[0], timeline, blocked)
        self.back = (back or there).link(clock, names[1], timeline, blocked)

    def link(self, forth: bool) -> Link:
        """The link of one direction."""
        return self.there if forth else self.back

    def send(
        self,
        size: int,
        forth: bool = True,
        *,
        weight: int = 1,
        owner: str = "",
        sent: Event | None = None,
        posted: bool = False,
    ) -> Event:
        """An event for when so many bytes have arrived at the second end, or at the first if not ``forth``.

        ``sent`` happens when the last byte is on its way. ``posted`` tells data that the sender writes from data that
        the receiver reads, for connections where a read costs more.
        """
        return self.link(forth).send(size, weight, owner, sent=sent)

    def occupied(self, size: int, forth: bool = True, *, posted: bool = False) -> int:
        """How long a transfer of so many bytes that meets nobody occupies a direction: until its last byte is sent."""
        link = self.link(forth)
        return link.alone(size) - link.latency

    def audit(self) -> None:
        """Raise AuditError when the books of a direction do not balance."""
        self.there.audit()
        self.back.audit()
