"""Puts shootdowns between the references of a prepared trace.

An operating system takes translations away: those of pages that it unmaps, protects or moves, at a rate; and, on a
processor whose TLBs do not know address spaces, all of them at a switch between two. The latter are as many shootdowns:
what the TLBs hold then was all asked for since the switch before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tiersim.sim.kernels import compiled
from tiersim.sim.pages import LINE, NUMBER, WINDOW, PagedEvents
from tiersim.sim.queued.streams import stream
from tiersim.sim.translation_loop import SHOOTDOWN

__all__ = ["ShotEvents", "drawn", "flushed", "switches"]

MILLION = 10**6
KIND = 2  # bits of an event
IN_PAGE = LINE + KIND  # bits of an event within its page
CHUNK = 1 << 20


@dataclass
class ShotEvents(PagedEvents):
    """References with shootdowns between them, which are events too.

    The k-th shootdown is of page `pages[k]`, by its number, and stands before the reference `before[k]`, in order.
    """

    references: PagedEvents = field(kw_only=True)
    before: NDArray[np.int64] = field(kw_only=True)
    pages: NDArray[np.int64] = field(kw_only=True)

    @classmethod
    def of(cls, references: PagedEvents, *shot: tuple[NDArray[np.int64], NDArray[np.int64]]) -> ShotEvents:
        """References and shootdowns of them; those before the same reference stay in the order given."""
        before, pages = (np.concatenate(held) for held in zip(*shot, strict=True))
        order = np.argsort(before, kind="stable")
        counts = replace(references.counts, events=references.counts.events + len(before))
        made = cls(
            counts, references.lines, marks=references.ends(),
            references=references, before=before[order], pages=pages[order],
        )  # fmt: skip
        made.marks = made.place(references.ends())
        return made

    def place(self, reference: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of references, each ahead of the shootdowns that stand before it."""
        return reference + np.searchsorted(self.before, reference)

    def chunks(self, begin: int, end: int, size: int = CHUNK) -> Iterator[NDArray[np.int32]]:
        places = self.before + np.arange(len(self.before))
        for start in range(begin, end, size):
            stop = min(start + size, end)
            first, last = np.searchsorted(places, [start, stop])
            made, own = np.empty(stop - start, np.int32), np.ones(stop - start, bool)
            own[places[first:last] - start] = False
            made[~own] = self.pages[first:last] << IN_PAGE | SHOOTDOWN
            made[own] = next(self.references.chunks(int(start - first), int(stop - last), size), np.empty(0, np.int32))
            yield made


def drawn(events: PagedEvents, rate: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`rate` shootdowns in a million instructions, each of a page touched before: where they stand, and the pages.

    The k-th comes when the window ends in which instruction k x 1,000,000 / rate was executed.
    """
    count = len(events.ends()) * rate * WINDOW // MILLION
    windows = -(-np.arange(1, count + 1) * MILLION // (rate * WINDOW)) if count else np.zeros(0, np.int64)
    before = events.ends()[windows - 1]
    known = _known(events, before)
    before, known = before[known > 0], known[known > 0]  # a window may end before the first reference
    return before, stream(seed, "translation.shootdowns").integers(0, known)


def _known(events: PagedEvents, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pages had been touched before each of these references."""
    known, most, begin = np.zeros(len(at), np.int64), 0, 0
    for chunk in events.chunks(0, events.counts.events, CHUNK):
        first, last = np.searchsorted(at, [begin + 1, begin + len(chunk) + 1])
        so_far = np.maximum.accumulate(chunk >> IN_PAGE) + 1
        known[first:last] = np.maximum(so_far[at[first:last] - begin - 1], most)
        most, begin = max(most, int(so_far[-1])), begin + len(chunk)
    return known


def switches(events: PagedEvents) -> NDArray[np.int64]:
    """The references whose address space is another than that of the one before."""
    spaces, found, last, begin = events.lines >> NUMBER, [np.zeros(0, np.int64)], None, 0
    if (spaces == spaces[:1]).all():
        return found[0]
    for chunk in events.chunks(0, events.counts.events, CHUNK):
        own = spaces[chunk >> IN_PAGE]
        found.append(np.flatnonzero(np.diff(own, prepend=own[0] if last is None else last)) + begin)
        last, begin = own[-1], begin + len(chunk)
    return np.concatenate(found)


def flushed(
    events: PagedEvents, at: NDArray[np.int64], stands: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shootdowns before each of the references `at`, of all pages touched since the one before it.

    `stands` has for each page the one that may have entered a TLB in its place.
    """
    stands = np.arange(len(events.lines), dtype=np.int32) if stands is None else stands
    seen, under_way = np.full(len(stands), -1, np.int64), np.empty(len(stands), np.int64)
    told = np.zeros(2, np.int64)
    before, pages = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    begin = 0
    for chunk in events.chunks(0, events.counts.events, CHUNK):
        room = int(told[1]) + 2 * len(chunk)
        made = np.empty((2, room), np.int64)
        count = _collect(chunk, begin, at, stands, seen, under_way, told, made[0], made[1])
        before.append(made[0, :count].copy())
        pages.append(made[1, :count].copy())
        begin += len(chunk)
    return np.concatenate(before), np.concatenate(pages)


@compiled
def _collect(
    events: NDArray[np.int32],
    begin: int,
    at: NDArray[np.int64],
    stands: NDArray[np.int32],
    seen: NDArray[np.int64],
    under_way: NDArray[np.int64],
    told: NDArray[np.int64],
    before: NDArray[np.int64],
    pages: NDArray[np.int64],
) -> int:
    """Note the pages of each turn where the next one begins; returns how many were noted.

    `told` holds the turns that are over and the pages of the one under way, which are in `under_way`; `seen` the turn
    in which each page was met last. All are kept up.
    """
    turn, touched, made = told[0], told[1], 0
    for i in range(len(events)):
        if turn < len(at) and begin + i == at[turn]:
            for k in range(touched):
                before[made] = at[turn]
                pages[made] = under_way[k]
                made += 1
            turn, touched = turn + 1, 0
        page = np.int64(events[i] >> IN_PAGE)
        for own in (page, np.int64(stands[page])):
            if seen[own] != turn:
                seen[own] = turn
                under_way[touched] = own
                touched += 1
    told[0], told[1] = turn, touched
    return made
