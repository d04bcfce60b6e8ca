"""A link whose bandwidth all transfers that are on it share."""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush

from simpy.events import Event

from tiersim._base.errors import AuditError
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import SECOND, Clock
from tiersim.sim.queued.station import Station, whole
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Link"]

WHOLE = 10**9  # an efficiency of 1


class _Transfer:
    __slots__ = ("came", "done", "number", "owner", "sent", "size", "weight", "work")

    def __init__(
        self, number: int, size: int, work: int, weight: int, came: int, owner: str, done: Event, sent: Event | None
    ) -> None:
        self.number, self.size, self.work, self.weight = number, size, work, weight
        self.came, self.owner, self.done, self.sent = came, owner, done, sent

    def __lt__(self, other: _Transfer) -> bool:
        return self.number < other.number


class Link(Station):
    """One direction of a link: processor sharing with weights.

    Of ``bandwidth`` bytes a second the share ``efficiency`` (parts of 10**9) is usable. A transfer takes its bytes and
    ``header`` bytes for each ``payload`` bytes begun (where there is a payload), has a share of the bandwidth in
    proportion to its weight, and arrives ``latency`` picoseconds after its last byte was sent; of transfers that are on
    their way the link itself is free. ``size`` bytes and ``wire`` bytes were sent so far, ``busy`` is the time with a
    transfer on the link.

    Time is kept by virtual time, the work that one unit of weight has got since the start: a transfer that comes knows
    the virtual time of its end, whoever comes later. All is whole numbers (work counts in bytes times 10**12), so that
    a transfer alone ends at the picosecond that the division gives, rounded up; of many, none earlier than its share
    allows. A transfer costs the logarithm of how many there are.

    Reference: A. K. Parekh and R. G. Gallager, A Generalized Processor Sharing Approach to Flow Control, 1993,
    doi:10.1109/90.234856.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        bandwidth: int,
        *,
        latency: int = 0,
        efficiency: int = WHOLE,
        payload: int = 0,
        header: int = 0,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        super().__init__(clock, name, timeline=timeline, blocked=blocked)
        self.rate = (
            whole(bandwidth, f"{name}: a bandwidth", 1) * whole(efficiency, f"{name}: an efficiency", 1) // WHOLE
        )
        if self.rate < 1:
            raise ValueError(f"{name}: not one byte a second is left of {bandwidth} at this efficiency")
        self.latency = whole(latency, f"{name}: a latency")
        self.payload = whole(payload, f"{name}: a payload")
        self.header = whole(header, f"{name}: a header")
        self.size = self.wire = self.busy = 0
        self._virtual = 0  # work that each unit of weight has got
        self._rest = 0  # work done and not yet dealt out, less than the weight
        self._weight = 0
        self._since = clock.now
        self._ends: list[tuple[int, _Transfer]] = []  # the virtual time of each transfer's end, a heap
        self._wake: int | None = None
        self._number = 0
        self._offered = self._steps = self._promised = 0
        self._owners: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])  # transfers and weight

    def on_wire(self, size: int) -> int:
        """The bytes that a transfer of so many takes, headers included."""
        return size + self.header * -(-size // self.payload) if self.payload else size + self.header

    def alone(self, size: int) -> int:
        """How long a transfer of so many bytes takes, in picoseconds, where nobody else is on the link."""
        return -(-self.on_wire(size) * SECOND // self.rate) + self.latency

    def send(
        self, size: int, weight: int = 1, owner: str = "", *, wire: int | None = None, sent: Event | None = None
    ) -> Event:
        """An event for when so many bytes, sent from now on, have arrived; its value is how long that took.

        ``wire`` is what they take on the link, where the headers are not those that the link adds itself; ``sent`` is
        an event of the caller's that happens when the last byte is on its way, a latency before it arrives. Raises
        TypeError for numbers that are not whole, ValueError for negative bytes and weights below 1.
        """
        size = whole(size, f"{self.name}: bytes")
        weight = whole(weight, f"{self.name}: a weight", 1)
        wire = self.on_wire(size) if wire is None else whole(wire, f"{self.name}: bytes on the wire")
        self._advance()
        now = self.clock.now
        self._number += 1
        work = wire * SECOND
        made = _Transfer(self._number, size, work, weight, now, owner, Event(self.clock), sent)
        self._enter(now)
        self._offered += size
        heappush(self._ends, (self._virtual - (-work // weight), made))
        self._change(made, 1)
        self._plan()
        return made.done

    def _change(self, transfer: _Transfer, by: int) -> None:
        self._weight += by * transfer.weight
        self._rest = 0  # less than a weight of a millionth of a millionth of a byte: given up, and never owed
        if self.blocked is not None:
            held = self._owners[transfer.owner]
            held[0] += by
            held[1] += by * transfer.weight
            if not held[0]:
                del self._owners[transfer.owner]

    def _advance(self) -> None:
        now = self.clock.now
        span = now - self._since
        if not span:
            return
        self._since = now
        if not self._weight:
            return
        self.busy += span
        self._steps += 1
        done = self._rest + span * self.rate
        self._virtual += done // self._weight
        self._rest = done % self._weight
        if self.blocked is not None:
            self._blame(span, self.blocked)

    def _blame(self, span: int, blocked: Blocked) -> None:
        for who, (count, own) in self._owners.items():
            for whom, (_, weight) in self._owners.items():
                lost = count * weight - (own if who == whom else 0)
                blocked.add(who, whom, self.name, span * lost / self._weight)

    def _plan(self) -> None:
        """Wake up when the next transfer ends, if nobody has come to do it before."""
        if not self._ends:
            return
        left = (self._ends[0][0] - self._virtual) * self._weight - self._rest
        delay = max(-(-left // self.rate), 0)
        at = self._since + delay
        if self._wake is None or at < self._wake:
            self._wake = at
            self.clock.after(delay, self._woken, at)

    def _woken(self, event: Event) -> None:
        if event._value != self._wake:
            return  # somebody came who ends before: there was another wake since
        self._wake = None
        self._advance()
        now = self.clock.now
        while self._ends and self._ends[0][0] <= self._virtual:
            _, transfer = heappop(self._ends)
            self._change(transfer, -1)
            self._promised += transfer.work
            self.size += transfer.size
            self.wire += transfer.work // SECOND
            self._leave(transfer.came, now)
            if self.timeline is not None:
                self.timeline.span(
                    self.name, transfer.owner or "transfer", transfer.came, now, {"bytes": transfer.size}
                )
            if transfer.sent is not None:
                transfer.sent.succeed(now - transfer.came)
            self.clock.trigger(transfer.done, self.latency, now + self.latency - transfer.came)
        self._plan()

    def audit(self) -> None:
        """Raise AuditError when Little's law or the conservation of bytes does not hold, or the link was too fast."""
        super().audit()
        self._advance()
        inside = sum(transfer.size for _, transfer in self._ends)
        if self._offered != self.size + inside:
            raise AuditError(
                f"{self.name}: {self._offered} bytes came, {self.size} left and {inside} are on it: "
                f"{self._offered - self.size - inside} are lost"
            )
        left = sum(max(end - self._virtual, 0) * transfer.weight for end, transfer in self._ends)
        work = self._promised + sum(transfer.work for _, transfer in self._ends) - left
        most = self.busy * self.rate + sum(transfer.weight for _, transfer in self._ends)
        if work > most:
            raise AuditError(f"{self.name}: {work} of work was done in {self.busy} ps, which have room for {most}")
