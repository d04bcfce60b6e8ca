"""Cores, their caches and DRAM in queued time: a system as the loop that keeps time sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.models.caches import System, levels_of, picoseconds, shared_of
from tiersim.models.dram import FIELDS, LINE, Dram, shape_of, sizes_of
from tiersim.sim import core_loop
from tiersim.sim.cores import RATE, CoreResult, Cores, Timed, run_cores
from tiersim.sim.events import Events, Source, counts_of
from tiersim.sim.queued.clock import SECOND
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Stream", "check_queued", "cores_of", "simulate_cores", "warm_cores", "write_timeline"]

KILO = 1000


@dataclass
class Stream:
    """The references of a trace with the instructions between them, read as they are needed.

    Where the trace does not count instructions (``counted`` is False) each reference is one.
    """

    events: Events
    trace: Source
    line: int
    fetches: bool
    skip: int = 0
    limit: int | None = None
    counted: bool = True

    @property
    def lines(self) -> NDArray[np.int64]:
        """The address of each numbered line divided by the line size."""
        return self.events.lines

    def pieces(self, size: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """References, and the instructions since the one before, own included; at most ``size`` at a time."""
        begin = 0
        for gaps in self._gaps():
            for start in range(0, len(gaps), size):
                part = gaps[start : start + size]
                (events,) = self.events.chunks(begin, begin + len(part), size)
                yield events, part
                begin += len(part)

    def _gaps(self) -> Iterator[NDArray[np.int64]]:
        """A record's instructions are those of its first reference; one that makes none hands them to the next."""
        shift, kept = self.line.bit_length() - 1, 0
        for chunk in self.trace.chunks(1 << 17, self.skip, self.limit):
            own = counts_of(chunk, shift, self.fetches).events
            last = chunk["address"] + chunk["size"].astype(np.uint64) - np.uint64(1)
            many = ((last >> np.uint64(shift)) - (chunk["address"] >> np.uint64(shift))).astype(np.int64) + 1
            many *= 1 + (chunk["kind"] == 2)
            if not self.fetches:
                many[chunk["kind"] == 3] = 0
            made = np.ones(own, np.int64)
            if self.counted:
                made[:] = 0
                executed = np.cumsum(chunk["gap"], dtype=np.int64) + kept
                some = np.flatnonzero(many)
                first = np.cumsum(many[some]) - many[some]
                made[first] = np.diff(executed[some], prepend=0)
                kept = int(executed[-1]) - (int(executed[some[-1]]) if len(some) else 0)
            yield made


def check_queued(system: System) -> None:
    """Raise StudyError, with a ``path`` inside the system, where queued time cannot be kept of it."""
    levels_of(system)
    shared_of(system)
    memory = system.memory.dram
    if memory is None:
        return
    try:
        shape_of(memory)
    except StudyError as error:
        error.path = ("memory", "dram", *error.path)
        raise
    if system.line != LINE:
        raise _wrong(("line",), f"DRAM by its commands moves lines of {LINE} B, and these have {system.line} B")
    if memory.frequency % KILO:
        raise _wrong(("memory", "dram", "frequency"), f"{memory.frequency} Hz is no whole number of kilohertz")
    if system.memory.page % LINE or (system.memory.page and memory.capacity % system.memory.page):
        raise _wrong(("memory", "page"), f"{system.memory.page} B are no page of lines of a memory of this size")


def _wrong(path: tuple[str, ...], message: str) -> StudyError:
    error = StudyError(message)
    error.path = path
    return error


def timed_of(memory: Dram, page: int) -> Timed:
    """DRAM in the terms of the loop; ``page`` is in bytes."""
    sizes = sizes_of(memory)
    return Timed(
        shape_of(memory),
        memory.channels,
        tuple(sizes[name] for name in memory.mapping),
        tuple(FIELDS.index(name) for name in memory.mapping),
        memory.hashed,
        LINE // memory.access,
        memory.frequency // KILO,
        memory.capacity // LINE,
        page // LINE,
    )


def cores_of(system: System) -> Cores:
    """Pace, limits and latencies of a system. Raises StudyError as `check_queued` does."""
    check_queued(system)
    core, memory = system.core, system.memory
    latency = picoseconds(memory.latency, core) if memory.dram is None else memory.dram.controller.latency
    return Cores(
        pace=round(core.base_cpi * RATE * SECOND / core.frequency),
        outstanding=core.outstanding,
        window=core.window,
        latency=latency,
        latencies=tuple(picoseconds(cache.latency, core) for cache in system.caches.values()),
        memory=None if memory.dram is None else timed_of(memory.dram, memory.page),
    )


def simulate_cores(
    system: System,
    streams: Sequence[Stream],
    *,
    classify: bool = True,
    seed: int = 0,
    cuts: Sequence[int] = (),
    futures: Sequence[NDArray[np.int64]] = (),
    keep_order: bool = False,
    follow: NDArray[np.uint8] | None = None,
    journal: int = 0,
    progress: Callable[[int], None] | None = None,
) -> CoreResult:
    """Run a stream of references on each core of a system, in queued time; see `tiersim.sim.cores.run_cores`.

    Cores besides the first begin anew when they end, until the first one has ended, unless the order is kept.
    """
    levels, sets = levels_of(system, classify=classify)
    shared = frozenset(k for k, name in enumerate(system.caches) if name in shared_of(system))
    return run_cores(
        levels,
        sets,
        shared,
        streams,
        cores_of(system),
        seed=seed,
        cuts=cuts,
        futures=futures,
        again=not keep_order and follow is None,
        keep_order=keep_order,
        follow=follow,
        journal=journal,
        progress=progress,
    )


def warm_cores(system: System, *, classify: bool = True) -> None:
    """Compile the loop of a system into the disk cache."""
    levels, sets = levels_of(system, classify=classify)
    shared = frozenset(k for k, name in enumerate(system.caches) if name in shared_of(system))
    run_cores(levels, [1] * len(sets), shared, [_Nothing()], cores_of(system))


class _Nothing:
    """A core without a reference."""

    lines = np.zeros(1, np.int64)

    def pieces(self, size: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        return iter(())


def write_timeline(result: CoreResult, system: System, timeline: Timeline) -> None:
    """Put the misses that a run has noted down into a timeline: by core, and by channel of the memory.

    A miss lasts from its issue to its data; on the track of a channel, the data of each read pass one after the other.
    """
    place = {name: k for k, name in enumerate(core_loop.JOURNAL)}
    names = ("load", "store", "fetch")
    memory = system.memory.dram
    burst = memory.picoseconds(memory.cycles("burst")) if memory else 0
    latency = memory.controller.latency if memory else 0
    for row in result.journal[np.argsort(result.journal[:, place["issued"]], kind="stable")].tolist():
        core, issued, asked, ended, channel, kind = row
        where = "memory" if ended > asked else "caches"
        timeline.span(f"core {core}/misses", f"{names[kind]} from {where}", issued, ended)
        if channel >= 0:
            end = ended - latency
            timeline.span(f"memory/channel {channel}", f"core {core}", end - burst, end)
