"""Cores that translate, their caches and DRAM in queued time: a system as the loop that keeps time sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.models.caches import shared_of
from tiersim.models.cores import Stream, cores_of
from tiersim.models.translation import PagedSystem, Wired
from tiersim.sim.core_translation import TranslatedCores, run_translation
from tiersim.sim.mechanisms.pom_tlb import NAME as POM_TLB
from tiersim.sim.pages import MOST_SPACES, NUMBER, PagedEvents, Tables
from tiersim.sim.prefetchers import PREFETCH
from tiersim.sim.queued import chains
from tiersim.sim.queued.timeline import Timeline
from tiersim.sim.translation_loop import BACKGROUND_HOST, HOST, SHOOTDOWN, SOURCES

__all__ = ["PagedStream", "pages_of", "simulate_translation", "write_walks"]


@dataclass
class PagedStream(Stream):
    """References by page, with the windows of instructions that end before each, and shootdowns between them."""

    events: PagedEvents

    def pieces(self, size: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """As those of any stream, and how many windows end before each reference. A shootdown has no instructions."""
        begin, gaps, left = 0, self._gaps(), np.zeros(0, np.int64)
        for events in self.events.chunks(0, self.events.counts.events, size):
            own = events & 3 != SHOOTDOWN
            count = int(own.sum())
            while len(left) < count:
                left = np.concatenate([left, next(gaps)])
            made = np.zeros(len(events), np.int64)
            made[own], left = left[:count], left[count:]
            ends = self.events.ends_between(begin, begin + len(events))
            yield events, made, np.bincount(ends, minlength=len(events))
            begin += len(events)


def pages_of(streams: Sequence[Stream]) -> NDArray[np.int64]:
    """The pages of all cores, one core's behind the other's, each in address spaces of its own.

    Raises StudyError where these are too many.
    """
    made, spaces = [], 0
    for stream in streams:
        made.append(stream.lines + (spaces << NUMBER))
        spaces += int((stream.lines >> NUMBER).max(initial=0)) + 1
    if spaces > MOST_SPACES:
        message = f"the cores have {spaces} address spaces, and no more than {MOST_SPACES} can be told apart"
        raise StudyError(message, None, "use fewer `copies`")
    return np.concatenate(made)


def simulate_translation(
    system: PagedSystem,
    wired: Wired,
    streams: Sequence[PagedStream],
    tables: Tables,
    *,
    seed: int = 0,
    cuts: Sequence[int] = (),
    shootdowns: bool = False,
    keep_order: bool = False,
    follow: NDArray[np.uint8] | None = None,
    journal: int = 0,
    progress: Callable[[int], None] | None = None,
) -> TranslatedCores:
    """Run translated references on each core of a system, in queued time; `tables` are over `pages_of` the streams.

    See `tiersim.sim.core_translation.run_translation`. Cores besides the first begin anew when they end, until the
    first one has ended, unless the order is kept. All cores have the POM-TLB together.
    """
    shared = shared_of(system)
    own = {name for name in wired.sets if name.removesuffix(".prefetcher") in shared or name == POM_TLB}
    return run_translation(
        wired.loop,
        wired.sets,
        frozenset(own),
        streams,
        np.cumsum([0, *(len(stream.lines) for stream in streams)])[:-1].tolist(),
        tables,
        wired.timing,
        cores_of(system),
        system.core.walkers,
        seed=seed,
        cuts=cuts,
        again=not keep_order and follow is None,
        keep_order=keep_order,
        follow=follow,
        shootdowns=shootdowns,
        journal=journal,
        progress=progress,
    )


def write_walks(result: TranslatedCores, system: PagedSystem, timeline: Timeline) -> None:
    """Put what a run has noted down into a timeline: references and walks by core, reads by core or channel.

    A reference lasts from its issue to its data, a walk from when a walker is asked for to its end.
    """
    memory = system.memory.dram
    burst = memory.picoseconds(memory.cycles("burst")) if memory else 0
    latency = memory.controller.latency if memory else 0
    kinds = ("load", "store", "fetch")
    walks = ("walk", "walk in the background")
    for what, core, begun, ended, kind, channel in result.journal[
        np.argsort(result.journal[:, 2], kind="stable")
    ].tolist():
        if what == chains.END:
            timeline.span(f"core {core}/references", kinds[kind], begun, ended)
        elif what == chains.LEAVE:
            timeline.span(f"core {core}/walks", walks[kind], begun, ended)
        elif channel < 0:
            timeline.span(f"core {core}/memory", READERS[kind], begun, ended)
        else:
            end = ended - latency
            timeline.span(f"memory/channel {channel}", f"core {core}: {READERS[kind]}", end - burst, end)


READERS = {
    **dict(enumerate(SOURCES)),
    HOST: "host walk",
    BACKGROUND_HOST: "background host walk",
    PREFETCH: "prefetch",
}
