"""Network adapters: Ethernet and InfiniBand with RDMA."""

from __future__ import annotations

from typing import Annotated

from simpy.events import Event

from tiersim._base.params import Param, config
from tiersim.models.links.duplex import Duplex, Wire
from tiersim.models.links.pcie import Pcie
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import SECOND, Clock
from tiersim.sim.queued.link import WHOLE
from tiersim.sim.queued.server import Server
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Nic", "NicPort"]


@config
class Nic:
    """A port of a network adapter, and the cable to its switch."""

    bandwidth: Annotated[int, Param("data rate in one direction", unit="bandwidth", ge=1)]
    mtu: Annotated[int, Param("data of a packet at most", unit="bytes", ge=256, le=9216)] = 4096
    header: Annotated[int, Param("bytes of a packet besides its data, gaps included", unit="bytes", ge=0, le=256)] = 0
    messages: Annotated[int, Param("messages a second at most, in each direction", unit="rate", ge=1)]
    latency: Annotated[int, Param("one way, of adapter and cable", unit="time", ge=0)] = 0
    efficiency: Annotated[int, Param("share of the data rate that packets can use", unit="ratio", ge=1, le=WHOLE)] = (
        WHOLE
    )
    pcie: Annotated[Pcie, Param("how the adapter is connected to its node")]

    @property
    def message(self) -> int:
        """How long a message occupies the adapter, in picoseconds, rounded up."""
        return -(-SECOND * 10**9 // self.messages)

    def wire(self) -> Wire:
        """A direction in numbers."""
        return Wire(self.bandwidth, self.latency, self.efficiency, self.mtu, self.header)

    def connect(
        self, clock: Clock, names: tuple[str, str], timeline: Timeline | None = None, blocked: Blocked | None = None
    ) -> NicPort:
        """The connection: `there` leads from the node out to the network."""
        return NicPort(clock, names, self, timeline=timeline, blocked=blocked)


class NicPort(Duplex):
    """A port at work: each message waits for its turn at the adapter, then its packets share the cable.

    Many small messages are limited by their number a second, large ones by the bandwidth.
    """

    def __init__(
        self,
        clock: Clock,
        names: tuple[str, str],
        nic: Nic,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        super().__init__(clock, names, nic.wire(), timeline=timeline, blocked=blocked)
        self.nic = nic
        self.turns = {
            forth: Server(clock, f"{name} messages", blocked=blocked) for forth, name in zip((True, False), names)
        }

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
        """An event for when a message of so many bytes has arrived; its value is how long that took."""
        begun = self.clock.now
        made = Event(self.clock)

        def over(_: Event) -> None:
            made.succeed(self.clock.now - begun)

        def go(_: Event) -> None:
            arrived = self.link(forth).send(size, weight, owner, sent=sent)
            assert arrived.callbacks is not None
            arrived.callbacks.append(over)

        turn = self.turns[forth].serve(self.nic.message, owner)
        turn.callbacks.append(go)
        return made

    def occupied(self, size: int, forth: bool = True, *, posted: bool = False) -> int:
        """How long a message of so many bytes that meets nobody occupies a direction: until its last byte is sent."""
        return self.nic.message + super().occupied(size, forth)

    def audit(self) -> None:
        """Raise AuditError when the books of a direction do not balance."""
        super().audit()
        for turn in self.turns.values():
            turn.audit()
