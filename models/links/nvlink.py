"""NVLink, generations 2 to 5."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from tiersim._base.params import Param, config
from tiersim.models.links.duplex import Duplex, Wire
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.link import WHOLE
from tiersim.sim.queued.timeline import Timeline

__all__ = ["LINK", "Nvlink"]

# bytes a second of one link in one direction, by generation
LINK: Final = {2: 25 * 10**9, 3: 25 * 10**9, 4: 25 * 10**9, 5: 50 * 10**9}


@config
class Nvlink:
    """The NVLinks of a GPU to a switch or to one other GPU, used as one."""

    generation: Annotated[
        Literal[2, 3, 4, 5],
        Param(
            "speed of a link in one direction: 25 GB/s, of generation 5 50 GB/s",
            source="as NVIDIA quotes for V100, A100, H100 and B200: 300, 600, 900, 1,800 GB/s of 6, 12, 18, 18 links",
        ),
    ]
    links: Annotated[int, Param("links side by side", ge=1, le=18)]
    payload: Annotated[int, Param("data of a packet at most: 16 flits of 16 B", unit="bytes", ge=16, le=256)] = 256
    header: Annotated[
        int,
        Param(
            "bytes of a packet besides its data: one flit",
            unit="bytes",
            ge=0,
            le=64,
            source="WikiChip, NVLink: a packet is of 1 to 18 flits of 128 bits, of which at most 16 are data",
        ),
    ] = 16
    efficiency: Annotated[int, Param("share of the bandwidth that packets can use", unit="ratio", ge=1, le=WHOLE)] = (
        WHOLE
    )
    latency: Annotated[int, Param("one way, of this part of the way", unit="time", ge=0)] = 0

    def wire(self) -> Wire:
        """A direction in numbers."""
        return Wire(self.links * LINK[self.generation], self.latency, self.efficiency, self.payload, self.header)

    def connect(
        self, clock: Clock, names: tuple[str, str], timeline: Timeline | None = None, blocked: Blocked | None = None
    ) -> Duplex:
        """The connection."""
        return Duplex(clock, names, self.wire(), timeline=timeline, blocked=blocked)
