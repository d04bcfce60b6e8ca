"""NVMe drives: a queue, a controller, channels of flash dies, and a buffer for writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from typing import Annotated, Any

from simpy.events import AllOf, Event

from tiersim._base.errors import AuditError, StudyError
from tiersim._base.params import Param, config
from tiersim.models.links.pcie import Pcie
from tiersim.models.pool import Pool
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import SECOND, Clock, transfer
from tiersim.sim.queued.link import Link
from tiersim.sim.queued.server import Server
from tiersim.sim.queued.station import whole
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Drive", "Ssd"]


@config
class Ssd:
    """A flash drive on NVMe."""

    capacity: Annotated[int, Param("bytes for the user", unit="bytes", ge=1)]
    depth: Annotated[int, Param("commands under way at most, of all queues", ge=1, le=65536)] = 1024
    channels: Annotated[int, Param("buses between the controller and the flash", ge=1, le=64)]
    dies: Annotated[int, Param("dies of a channel", ge=1, le=64)]
    page: Annotated[int, Param("what a die reads or programs at once, over its planes", unit="bytes", ge=512)]
    sense: Annotated[int, Param("of a die to read a page (tR)", unit="time", ge=1)]
    program: Annotated[int, Param("of a die to program a page (tPROG)", unit="time", ge=1)]
    channel: Annotated[int, Param("of a channel", unit="bandwidth", ge=1)]
    amplification: Annotated[
        int, Param("pages programmed for each page written; above 100 % where garbage is collected", unit="ratio", ge=1)
    ] = 10**9
    buffer: Annotated[int, Param("writes that are accepted and not programmed yet", unit="bytes", ge=512)]
    read_commands: Annotated[int, Param("read commands a second that the controller does", unit="rate", ge=1)]
    write_commands: Annotated[int, Param("write commands a second that the controller does", unit="rate", ge=1)]
    read_bandwidth: Annotated[int, Param("of reads, all channels together", unit="bandwidth", ge=1)]
    write_bandwidth: Annotated[int, Param("of writes into the buffer", unit="bandwidth", ge=1)]
    read_latency: Annotated[int, Param("of a read besides what is named here", unit="time", ge=0)]
    write_latency: Annotated[int, Param("of a write besides what is named here", unit="time", ge=0)]
    pcie: Annotated[Pcie, Param("how the drive is connected to its node")]

    def read_alone(self, size: int, address: int = 0) -> int:
        """How long a read takes that meets nobody, in picoseconds."""
        pages = _pages(self, size, address)
        sensed: dict[int, int] = defaultdict(int)  # by channel: when its last die is ready
        moved: dict[int, int] = defaultdict(int)
        for die, (count, part) in pages.items():
            channel = die % self.channels
            sensed[channel] = max(sensed[channel], count * self.sense)
            moved[channel] += part
        flash = max((sensed[key] + transfer(moved[key], self.channel) for key in sensed), default=0)
        return _each(self.read_commands) + flash + transfer(size, self.read_bandwidth) + self.read_latency

    def reads(self, size: int, depth: int) -> float:
        """Reads a second, of one size up to a page, that no queue of this depth can exceed.

        Little's law bounds it by depth over latency, the controller by its commands, the dies by their number over tR,
        channels and drive by their bandwidth.
        """
        return min(
            min(depth, self.depth) * SECOND / self.read_alone(size),
            SECOND / _each(self.read_commands),
            self.channels * self.dies * SECOND / self.sense,
            self.channels * self.channel / size,
            self.read_bandwidth / size,
        )

    @property
    def streams(self) -> float:
        """Bytes a second that are read for long, with reads of many pages under way at a time."""
        dies = self.channels * self.dies * self.page * SECOND / self.sense
        return min(dies, self.channels * self.channel, self.read_bandwidth)

    @property
    def first(self) -> int:
        """Picoseconds until the first page of a read that meets nobody begins to move: command, sensing, the rest."""
        return _each(self.read_commands) + self.sense + self.read_latency

    @property
    def writes(self) -> float:
        """Bytes a second that are written for long: what the dies program, or less where the buffer fills slower."""
        dies = self.channels * self.dies * self.page * SECOND / (self.program * self.amplification / 10**9)
        return min(dies, self.write_bandwidth)


class Drive:
    """A drive at work.

    A read waits for a place in the queue, takes its turn at the controller, is sensed by the dies on which its pages
    lie (page by page over channels and dies, by address), passes its channels and shares the way out. A write is over
    when it is in the buffer. From there pages are programmed in turn over all dies, which reads wait for; a program is
    not suspended. The last page of a buffer stays there until it is full.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        ssd: Ssd,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        if ssd.buffer < ssd.page:
            error = StudyError(f"a buffer of {ssd.buffer} B holds no page of {ssd.page} B")
            error.path = ("buffer",)
            raise error
        self.clock = clock
        self.name = name
        self.ssd = ssd
        self.queue = Pool(clock, f"{name} queue", ssd.depth, timeline=timeline, blocked=blocked)
        self.controller = Server(clock, f"{name} controller", blocked=blocked)
        self.dies = [
            Server(clock, f"{name} die {number}", timeline=timeline, blocked=blocked)
            for number in range(ssd.channels * ssd.dies)
        ]
        self.channels = [Server(clock, f"{name} channel {number}", blocked=blocked) for number in range(ssd.channels)]
        self.out = Link(clock, f"{name} read", ssd.read_bandwidth, timeline=timeline, blocked=blocked)
        self.into = Link(clock, f"{name} write", ssd.write_bandwidth, timeline=timeline, blocked=blocked)
        self.buffer = Pool(clock, f"{name} buffer", ssd.buffer, timeline=timeline, blocked=blocked)
        self.written = self.programmed = 0  # bytes
        self._open = 0  # bytes of the page that is not full
        self._next = 0  # the die of the next page

    def read(self, size: int, address: int = 0, *, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes from an address have been read; its value is how long that took.

        ``sent`` is an event of the caller's that happens at the same time. Raises ValueError beyond the capacity.
        """
        self._check(size, address)
        return self.clock.process(self._read(size, address, owner, sent))

    def write(self, size: int, address: int = 0, *, owner: str = "", sent: Event | None = None) -> Event:
        """An event for when so many bytes are in the buffer; its value is how long that took.

        ``sent`` is an event of the caller's that happens at the same time. Raises ValueError beyond the capacity.
        """
        self._check(size, address)
        return self.clock.process(self._write(size, owner, sent))

    def _check(self, size: int, address: int) -> None:
        whole(size, f"{self.name}: bytes")
        if whole(address, f"{self.name}: an address") + size > self.ssd.capacity:
            raise ValueError(f"{self.name}: bytes {address} to {address + size} lie beyond {self.ssd.capacity}")

    def _read(self, size: int, address: int, owner: str, sent: Event | None) -> Generator[Event, Any, int]:
        begun = self.clock.now
        yield self.queue.take(owner=owner)
        yield self.controller.serve(_each(self.ssd.read_commands), owner)
        yield AllOf(self.clock, self._sense(size, address, owner))
        yield self.out.send(size, owner=owner)
        yield self.clock.timeout(self.ssd.read_latency)
        self.queue.give(owner=owner)
        if sent is not None:
            sent.succeed()
        return self.clock.now - begun

    def _sense(self, size: int, address: int, owner: str) -> list[Event]:
        """An event for each channel that has moved its part."""
        ready: dict[int, int] = defaultdict(int)
        moved: dict[int, int] = defaultdict(int)
        for die, (count, part) in _pages(self.ssd, size, address).items():
            channel = die % self.ssd.channels
            _, end = self.dies[die].book(count * self.ssd.sense, owner)
            ready[channel] = max(ready[channel], end)
            moved[channel] += part
        return [self.clock.process(self._move(key, ready[key], moved[key], owner)) for key in ready]

    def _move(self, channel: int, ready: int, size: int, owner: str) -> Generator[Event, Any, None]:
        yield self.clock.timeout(ready - self.clock.now)
        yield self.channels[channel].serve(transfer(size, self.ssd.channel), owner)

    def _write(self, size: int, owner: str, sent: Event | None) -> Generator[Event, Any, int]:
        begun = self.clock.now
        yield self.queue.take(owner=owner)
        yield self.controller.serve(_each(self.ssd.write_commands), owner)
        left = size
        while left:  # a page at a time, or one that does not fit would wait for ever
            part = min(left, self.ssd.page)
            yield self.buffer.take(part, owner=owner)
            yield self.into.send(part, owner=owner)
            self.written += part
            self._fill(part, owner)
            left -= part
        yield self.clock.timeout(self.ssd.write_latency)
        self.queue.give(owner=owner)
        if sent is not None:
            sent.succeed()
        return self.clock.now - begun

    def _fill(self, size: int, owner: str) -> None:
        """Bytes are in the buffer, which holds them in one name: pages mix them."""
        self.buffer.rename(size, owner, "")
        self._open += size
        while self._open >= self.ssd.page:
            self._open -= self.ssd.page
            die = self.dies[self._next]
            self._next = (self._next + 1) % len(self.dies)
            service = -(-self.ssd.program * self.ssd.amplification // 10**9)
            die.serve(service, owner).callbacks.append(self._programmed)

    def _programmed(self, _: Event) -> None:
        self.programmed += self.ssd.page
        self.buffer.give(self.ssd.page)

    def audit(self) -> None:
        """Raise AuditError when bytes are lost or the books of a part do not balance."""
        for station in (self.controller, *self.dies, *self.channels, self.out, self.into):
            station.audit()
        for pool in (self.queue, self.buffer):
            pool.audit()
        waiting = self.written - self.programmed
        if not 0 <= waiting <= self.buffer.used.level:
            raise AuditError(
                f"{self.name}: of {self.written} bytes written {self.programmed} are programmed, "
                f"and the buffer holds {self.buffer.used.level}"
            )


def _each(rate: int) -> int:
    """How long one of so many events in 10**9 seconds takes, in picoseconds, rounded up."""
    return -(-SECOND * 10**9 // rate)


def _pages(ssd: Ssd, size: int, address: int) -> dict[int, tuple[int, int]]:
    """The dies that a read needs: how many of its pages lie there, and how many bytes of them it wants."""
    dies = ssd.channels * ssd.dies
    found: dict[int, tuple[int, int]] = {}
    end = address + size
    for page in range(address // ssd.page, -(-end // ssd.page)):
        part = min(end, (page + 1) * ssd.page) - max(address, page * ssd.page)
        count, held = found.get(page % dies, (0, 0))
        found[page % dies] = (count + 1, held + part)
    return found
