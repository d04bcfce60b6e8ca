"""What keys and values of a server move over: links of the presets, as times of a page and of a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.models.links.nic import Nic
from tiersim.models.links.nvlink import Nvlink
from tiersim.models.links.pcie import Pcie
from tiersim.models.ssd import Ssd
from tiersim.sim.queued.clock import SECOND, Clock

__all__ = ["KvLink", "Moves", "TransferLink", "moves_of"]


@config
class TransferLink:
    """What keys and values move over: a link of one kind, or several side by side that each take their part."""

    pcie: Annotated[
        Pcie | None, Param("PCI Express, on which an accelerator copies: a preset's name, or its figures")
    ] = None
    nvlink: Annotated[Nvlink | None, Param("NVLink: a preset's name, or its figures")] = None
    nic: Annotated[Nic | None, Param("a network adapter, behind its PCI Express: a preset's name, or its figures")] = (
        None
    )
    bandwidth: Annotated[
        int | None, Param("of each direction, where it is of no such kind", unit="bandwidth", ge=1)
    ] = None
    latency: Annotated[int, Param("one way, besides that of the kind", unit="time", ge=0)] = 0
    count: Annotated[
        int | None,
        Param(
            "side by side; unless said, of `pcie` and `nvlink` one for each accelerator of the instance, else one",
            unit="count",
            ge=1,
        ),
    ] = None


@config
class KvLink(TransferLink):
    """A link between the memory of keys and values and what stands behind it."""

    ssd: Annotated[Ssd | None, Param("a drive, behind its PCI Express: a preset's name, or its figures")] = None
    shared: Annotated[bool, Param("whether all instances have it together; else each has one of its own")] = False


@dataclass(frozen=True)
class Moves:
    """How long a link is taken by some bytes towards the memory and away from it, and its latency; picoseconds."""

    load: int
    store: int
    latency: int


def moves_of(link: TransferLink, size: int, accelerators: int) -> Moves:
    """What so many bytes of an instance with so many accelerators take where nobody else is on the link.

    Each of the links side by side takes an equal part, rounded up. Raises StudyError, with a ``path`` inside the link,
    where not exactly one kind is said.
    """
    said = [name for name in (*KINDS, "bandwidth") if getattr(link, name, None) is not None]
    if len(said) != 1:
        known = ", ".join(name for name in (*KINDS, "bandwidth") if hasattr(link, name))
        what = f"it is {' and '.join(said)} at once" if said else "nothing tells how fast it is"
        error = StudyError(f"{what}: a link is one of {known}", None, "such as {pcie: pcie-5-x16}")
        error.path = (said[1],) if said else ()
        raise error
    kind = said[0]
    count = link.count or (accelerators if kind in ("pcie", "nvlink") else 1)
    part = -(-size // count)
    made = _plain(link.bandwidth, part) if link.bandwidth is not None else KINDS[kind](getattr(link, kind), part)
    return Moves(made.load, made.store, made.latency + link.latency)


def _plain(bandwidth: int, size: int) -> Moves:
    taken = -(-size * SECOND // bandwidth)
    return Moves(taken, taken, 0)


def _pcie(pcie: Pcie, size: int) -> Moves:
    """The accelerator is the device: it reads what is loaded, and writes what is stored."""
    port = pcie.connect(Clock(), ("down", "up"))
    return Moves(port.occupied(size), port.occupied(size, forth=False), pcie.latency)


def _nvlink(nvlink: Nvlink, size: int) -> Moves:
    taken = nvlink.connect(Clock(), ("there", "back")).occupied(size)
    return Moves(taken, taken, nvlink.latency)


def _nic(nic: Nic, size: int) -> Moves:
    """One message over cable and PCI Express at once: the slower of both. What is stored, the adapter reads."""
    port, bus = nic.connect(Clock(), ("out", "in")), _pcie(nic.pcie, size)
    load, store = port.occupied(size, forth=False), port.occupied(size)
    return Moves(max(load, bus.store), max(store, bus.load), nic.latency)


def _ssd(ssd: Ssd, size: int) -> Moves:
    """A stream of many pages at a time: what dies, channels, drive and PCI Express allow, whichever is slowest."""
    bus = _pcie(ssd.pcie, size)
    load, store = (-(-size * SECOND // int(rate)) for rate in (ssd.streams, ssd.writes))
    return Moves(max(load, bus.store), max(store, bus.load), ssd.first)


KINDS: dict[str, Callable[[Any, int], Moves]] = {"pcie": _pcie, "nvlink": _nvlink, "nic": _nic, "ssd": _ssd}
