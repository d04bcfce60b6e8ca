"""Equal cables side by side: between the sockets of a node, or between the switches of a network."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.params import Param, config
from tiersim.models.links.duplex import Duplex, Wire
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.link import WHOLE
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Cable"]


@config
class Cable:
    """A connection of equal cables, used as one: a NUMA interconnect, or the way from switch to switch."""

    count: Annotated[int, Param("cables side by side", ge=1)] = 1
    bandwidth: Annotated[int, Param("of one cable in one direction", unit="bandwidth", ge=1)]
    latency: Annotated[int, Param("one way", unit="time", ge=0)] = 0
    efficiency: Annotated[int, Param("share of the bandwidth that packets can use", unit="ratio", ge=1, le=WHOLE)] = (
        WHOLE
    )
    payload: Annotated[int, Param("data of a packet at most; 0: no packets", unit="bytes", ge=0)] = 0
    header: Annotated[int, Param("bytes of a packet besides its data", unit="bytes", ge=0)] = 0

    def wire(self) -> Wire:
        """A direction in numbers."""
        return Wire(self.count * self.bandwidth, self.latency, self.efficiency, self.payload, self.header)

    def connect(
        self, clock: Clock, names: tuple[str, str], timeline: Timeline | None = None, blocked: Blocked | None = None
    ) -> Duplex:
        """The connection."""
        return Duplex(clock, names, self.wire(), timeline=timeline, blocked=blocked)
