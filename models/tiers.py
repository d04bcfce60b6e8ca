"""Tiers: places that hold objects, with what they have room for and how long their bytes take."""

from __future__ import annotations

from typing import Annotated, Protocol

from simpy.events import Event

from tiersim._base.errors import AuditError, StudyError
from tiersim._base.params import Param, config
from tiersim._base.units import show
from tiersim.models.ssd import Drive
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.link import WHOLE, Link
from tiersim.sim.queued.slots import Slots
from tiersim.sim.queued.timeline import Timeline

__all__ = ["DriveTier", "Holder", "MemoryTier", "Space", "Tier"]


@config
class Tier:
    """A memory as a tier: HBM of a GPU, DRAM of a socket, memory of another node."""

    capacity: Annotated[int, Param("bytes that it holds", unit="bytes", ge=1)]
    bandwidth: Annotated[
        int, Param("of reads and writes together, or of reads where writes have their own", unit="bandwidth", ge=1)
    ]
    write_bandwidth: Annotated[
        int | None, Param("of writes; unless said, they share with the reads", unit="bandwidth", ge=1)
    ] = None
    efficiency: Annotated[int, Param("share of the bandwidth that streams reach", unit="ratio", ge=1, le=WHOLE)] = WHOLE
    latency: Annotated[int, Param("from the last byte asked for to the last there", unit="time", ge=0)] = 0


class Space:
    """The bytes of a tier, reserved by name: never more than there are.

    An object is first reserved (`objects` has its size), and `whole` has it once all its bytes are there.
    """

    def __init__(self, clock: Clock, name: str, capacity: int, timeline: Timeline | None = None) -> None:
        self.clock = clock
        self.name = name
        self.slots = Slots(clock, name, capacity)
        self.timeline = timeline
        self.objects: dict[str, int] = {}
        self.whole: set[str] = set()
        self._coming: set[str] = set()  # that wait for room

    @property
    def capacity(self) -> int:
        """Bytes in all."""
        return self.slots.capacity

    @property
    def used(self) -> int:
        """Bytes reserved."""
        return self.slots.used.level

    @property
    def free(self) -> int:
        """Bytes that could be reserved now."""
        return self.capacity - self.used

    def reserve(self, key: str, size: int) -> None:
        """Take room for an object now. Raises StudyError when there is not enough, ValueError for a name that is in."""
        self._new(key)
        if size > self.free or self.slots.waiting:
            raise StudyError(
                f"{self.name} has no room for {key!r}: {show(size, 'bytes')} are asked for, and "
                f"{show(self.free, 'bytes')} of {show(self.capacity, 'bytes')} are free",
                None,
                "release something first, wait with `room`, or give the tier more capacity",
            )
        self.objects[key] = size
        if size:
            self.slots.take(size)
        self._count()

    def room(self, key: str, size: int, priority: int = 0) -> Event:
        """An event for when there is room for an object, which is then reserved; lower priorities first.

        Raises StudyError for an object that is larger than the tier, ValueError for a name that is in.
        """
        self._new(key)
        if size > self.capacity:
            raise StudyError(
                f"{self.name} holds {show(self.capacity, 'bytes')}, and {key!r} has {show(size, 'bytes')}",
                None,
                "put it elsewhere, or give the tier more capacity",
            )
        self._coming.add(key)
        made = self.slots.take(size, priority) if size else self.clock.timeout(0, 0)

        def granted(_: Event) -> None:
            self._coming.remove(key)
            self.objects[key] = size
            self._count()

        assert made.callbacks is not None
        made.callbacks.append(granted)
        return made

    def complete(self, key: str) -> None:
        """All bytes of a reserved object are there."""
        if key not in self.objects:
            raise ValueError(f"{self.name} does not hold {key!r}")
        self.whole.add(key)

    def put(self, key: str, size: int) -> None:
        """Reserve an object whose bytes are there at once: what a tier holds when a run begins."""
        self.reserve(key, size)
        self.complete(key)

    def release(self, key: str) -> int:
        """Give the room of an object back; its size. Raises ValueError when it is not in."""
        if key not in self.objects:
            raise ValueError(f"{self.name} does not hold {key!r}")
        size = self.objects.pop(key)
        self.whole.discard(key)
        if size:
            self.slots.give(size)
        self._count()
        return size

    def _new(self, key: str) -> None:
        if key in self.objects or key in self._coming:
            raise ValueError(f"{self.name} holds {key!r} already, or it waits for room")

    def _count(self) -> None:
        if self.timeline is not None:
            self.timeline.counter(f"{self.name} bytes", self.clock.now, self.used)

    def audit(self) -> None:
        """Raise AuditError when the objects do not add up to the bytes that are taken, or there are too many.

        Between events: room that is being granted at this instant is taken and has no name yet.
        """
        self.slots.audit()
        if (held := sum(self.objects.values())) != self.used:
            raise AuditError(f"{self.name}: its objects have {held} bytes, and {self.used} are taken")
        if not self.whole <= set(self.objects):
            raise AuditError(f"{self.name}: {sorted(self.whole - set(self.objects))} are whole and not reserved")


class Holder(Protocol):
    """What a tier is to those who copy: a name, a place in a topology, room, and reads and writes that take time."""

    name: str
    place: str
    space: Space

    def read(self, size: int, *, weight: int = 1, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes have been read; ``sent`` happens when the next may follow."""

    def write(self, size: int, *, weight: int = 1, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes are written; ``sent`` happens when the next may follow."""

    def audit(self) -> None:
        """Raise AuditError when the books do not balance."""


class MemoryTier:
    """A memory at a place: its space, and its bandwidth shared by all who read and write."""

    def __init__(
        self,
        clock: Clock,
        name: str,
        tier: Tier,
        place: str = "",
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        self.name = name
        self.place = place
        self.space = Space(clock, name, tier.capacity, timeline)

        def link(what: str, bandwidth: int) -> Link:
            return Link(
                clock,
                f"{name} {what}",
                bandwidth,
                latency=tier.latency,
                efficiency=tier.efficiency,
                timeline=timeline,
                blocked=blocked,
            )

        if tier.write_bandwidth is None:
            self.reads = self.writes = link("bandwidth", tier.bandwidth)
        else:
            self.reads, self.writes = link("reads", tier.bandwidth), link("writes", tier.write_bandwidth)

    def read(self, size: int, *, weight: int = 1, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes have been read; its value is how long that took."""
        return self.reads.send(size, weight, owner, sent=sent)

    def write(self, size: int, *, weight: int = 1, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes are written; its value is how long that took."""
        return self.writes.send(size, weight, owner, sent=sent)

    def audit(self) -> None:
        """Raise AuditError when the books do not balance."""
        self.space.audit()
        self.reads.audit()
        self.writes.audit()


class DriveTier:
    """A flash drive at a place; objects are spread over its dies, page after page, and weights mean nothing to it."""

    def __init__(self, drive: Drive, place: str = "", timeline: Timeline | None = None) -> None:
        self.drive = drive
        self.name = drive.name
        self.place = place
        self.space = Space(drive.clock, drive.name, drive.ssd.capacity, timeline)
        self._at = 0

    def read(self, size: int, *, weight: int = 1, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes have been read; the next read may be under way with it."""
        _now(sent)
        return self.drive.read(size, self._next(size), owner=owner)

    def write(self, size: int, *, weight: int = 1, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes are in the drive's buffer; the next write may be under way with it."""
        _now(sent)
        return self.drive.write(size, owner=owner)

    def _next(self, size: int) -> int:
        """An address for a read: where the last ended, from the beginning at the end."""
        if self._at + size > self.drive.ssd.capacity:
            self._at = 0
        at, self._at = self._at, self._at + size
        return at

    def audit(self) -> None:
        """Raise AuditError when the books do not balance."""
        self.space.audit()
        self.drive.audit()


def _now(sent: Event | None) -> None:
    if sent is not None:
        sent.succeed()
