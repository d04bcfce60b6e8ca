"""PCI Express, generations 3 to 6."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Final, Literal

from simpy.events import Event

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.models.links.duplex import Duplex, Wire
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import SECOND, Clock
from tiersim.sim.queued.link import WHOLE, Link
from tiersim.sim.queued.timeline import Timeline

__all__ = ["LANE", "Pcie", "Port"]

# bits a second of a lane, and the share of them that the line code leaves: 128b/130b, of FLITs 236 of 256 bytes
LANE: Final = {
    3: (8 * 10**9, Fraction(128, 130)),
    4: (16 * 10**9, Fraction(128, 130)),
    5: (32 * 10**9, Fraction(128, 130)),
    6: (64 * 10**9, Fraction(236, 256)),
}
TLP = "bytes of a packet besides its data: framing with sequence number, header, LCRC"


@config
class Pcie:
    """A PCI Express connection: lanes of a generation, and what its packets cost."""

    generation: Annotated[
        Literal[3, 4, 5, 6],
        Param(
            "speed and line code: 8, 16, 32 or 64 GT/s a lane; 128b/130b, of generation 6 FLITs",
            source="PCI Express Base Specification 3.0, 4.0, 5.0 and 6.0; a FLIT is 236 bytes of TLPs of 256",
        ),
    ]
    lanes: Annotated[Literal[1, 2, 4, 8, 16], Param("lanes in each direction")] = 16
    payload: Annotated[
        int, Param("data of a packet at most (MPS), a power of two: 128, 256 or 512 B", unit="bytes", ge=128, le=4096)
    ] = 256
    request: Annotated[int, Param("data that one read asks for at most (MRRS)", unit="bytes", ge=128, le=4096)] = 512
    write: Annotated[int, Param(f"{TLP}; of a write", unit="bytes", ge=12, le=64)] = 24
    completion: Annotated[int, Param(f"{TLP}; of data that answer a read", unit="bytes", ge=12, le=64)] = 20
    read: Annotated[int, Param(f"{TLP}; of a request to read", unit="bytes", ge=12, le=64)] = 24
    outstanding: Annotated[int, Param("requests of a device that are not answered yet, at most (tags)", ge=1)] = 256
    link_layer: Annotated[
        int, Param("share of the link for acknowledgements, credits and skips", unit="ratio", ge=0, le=WHOLE - 1)
    ] = 0
    efficiency: Annotated[
        int, Param("share of what the link layer leaves that packets can use", unit="ratio", ge=1, le=WHOLE)
    ] = WHOLE
    latency: Annotated[int, Param("of a packet, one way", unit="time", ge=0)] = 0
    memory: Annotated[int, Param("from a read request at the host to the data that answer it", unit="time", ge=0)] = 0

    @property
    def raw(self) -> int:
        """Bytes a second of one direction after the line code, rounded down once: what is quoted as its bandwidth."""
        speed, code = LANE[self.generation]
        return int(self.lanes * speed * code / 8)

    def wire(self, header: int) -> Wire:
        """A direction whose packets have this header. Raises StudyError where sizes are no powers of two."""
        for key in ("payload", "request"):
            size: int = getattr(self, key)
            if size & (size - 1):
                error = StudyError(f"{size} B is no power of two, as PCI Express has them: 128, 256, 512 B ...")
                error.path = (key,)
                raise error
        usable = (WHOLE - self.link_layer) * self.efficiency // WHOLE
        return Wire(self.raw, self.latency, usable, self.payload, header)

    @property
    def reads(self) -> int | None:
        """Bytes a second that the outstanding requests allow: all of them each round trip, by Little's law."""
        round_trip = 2 * self.latency + self.memory
        return self.outstanding * self.request * SECOND // round_trip if round_trip else None

    def connect(
        self, clock: Clock, names: tuple[str, str], timeline: Timeline | None = None, blocked: Blocked | None = None
    ) -> Port:
        """The connection: `there` leads from the host down to the device."""
        return Port(clock, names, self, timeline=timeline, blocked=blocked)


class Port(Duplex):
    """A device on PCI Express: `there` goes down to it, `back` up to the host.

    The device copies. What goes up it writes (posted packets). What goes down it reads: requests go up, which take
    their part of that direction, and at most ``outstanding`` of them at a time; their number is a link of its own
    (`tags`) where it allows less than the lanes, and a copy is over when both are.
    """

    def __init__(
        self,
        clock: Clock,
        names: tuple[str, str],
        pcie: Pcie,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        down, up = pcie.wire(pcie.completion), pcie.wire(pcie.write)
        super().__init__(clock, names, down, up, timeline=timeline, blocked=blocked)
        self.pcie = pcie
        most = pcie.reads
        self.tags: Link | None = None
        if most is not None and most < down.goodput:
            self.tags = Link(clock, f"{names[0]} tags", most, latency=pcie.latency, blocked=blocked)

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
        """An event for when so many bytes have arrived at the device, or at the host if not ``forth``.

        ``posted`` data that go down were written by another device: no requests, and the header of a write.
        """
        if not forth:
            return self.back.send(size, weight, owner, sent=sent)
        if posted:
            return self.there.send(size, weight, owner, wire=self._written(size), sent=sent)
        if size:
            self.back.send(0, weight, owner, wire=self.pcie.read * -(-size // self.pcie.request))
        if self.tags is None:
            return self.there.send(size, weight, owner, sent=sent)
        begun = self.clock.now
        gone = (Event(self.clock), Event(self.clock))
        parts = (
            self.there.send(size, weight, owner, sent=gone[0]),
            self.tags.send(size, weight, owner, sent=gone[1]),
        )
        if sent is not None:
            self._both(gone, sent, begun)
        return self._both(parts, Event(self.clock), begun)

    def _written(self, size: int) -> int:
        return size + self.pcie.write * -(-size // self.pcie.payload)

    def occupied(self, size: int, forth: bool = True, *, posted: bool = False) -> int:
        """How long a transfer of so many bytes that meets nobody occupies a direction: until its last byte is sent."""
        if forth and posted:
            return -(-self._written(size) * SECOND // self.there.rate)
        alone = super().occupied(size, forth)
        if forth and self.tags is not None:
            return max(alone, self.tags.alone(size) - self.tags.latency)
        return alone

    def _both(self, parts: tuple[Event, Event], made: Event, begun: int) -> Event:
        """Make an event happen when both parts have, with the time that has passed."""

        def over(_: Event) -> None:
            if all(part.processed for part in parts):
                made.succeed(self.clock.now - begun)

        for part in parts:
            assert part.callbacks is not None
            part.callbacks.append(over)
        return made

    def audit(self) -> None:
        """Raise AuditError when the books of a direction do not balance."""
        super().audit()
        if self.tags is not None:
            self.tags.audit()
