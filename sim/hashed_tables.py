"""Hashed page tables: open addressing, eight neighbouring translations in a bucket of a line (Yaniv and Tsafrir,
SIGMETRICS 2016, doi:10.1145/2896377.2901456)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.sim.kernels import compiled
from tiersim.sim.pages import LINE, LOW, NUMBER, TAKEN, Tables

__all__ = ["hashed_tables_of"]

SHARED = 3  # bits of a unit's number within a bucket
WHOLE = 10**9
SIZES = ("small", "large")  # 4 KiB, 2 MiB


class _Searches(NamedTuple):
    """Of each page: the place of its group in a table, and how many buckets a search for it reads."""

    places: NDArray[np.int64]
    reads: NDArray[np.int64]
    buckets: int


def hashed_tables_of(
    pages: NDArray[np.int64], large: Callable[[NDArray[np.int64]], NDArray[np.bool_]], load: int
) -> Tables:
    """The hashed tables of these pages, one for each page size that occurs.

    `pages` and `large` are as in `tiersim.sim.pages.tables_of`; `load` is the share of the buckets that are taken, in
    parts per billion. The leaf line of a unit is its bucket; ``parents`` has four words a page: the place of its group
    among the pages of 4 KiB and the reads of a search there, and both among those of 2 MiB. Raises StudyError where
    pages and tables are more than can be numbered.
    """
    count = len(pages)
    space, number = pages >> NUMBER << NUMBER, pages & LOW
    region, first, of_region = np.unique(space | number >> 9, return_index=True, return_inverse=True)
    is_large = large(region)[of_region]
    numbers = (number, number >> 9)
    searches = [_searches(space + (held >> SHARED), is_large == size, load) for size, held in enumerate(numbers)]
    rows = np.empty((count, 4), np.int64)
    rows[:, 0] = np.where(is_large, first[of_region], np.arange(count))
    rows[:, 1] = np.where(is_large, numbers[1], number) & 0x7FFFFFFF
    rows[:, 3] = is_large
    probes = np.empty((count, 4), np.int64)
    places: dict[str, int] = {}
    frames = 0
    for size, (at, reads, buckets) in enumerate(searches):
        probes[:, 2 * size], probes[:, 2 * size + 1] = at, reads
        line = (count + frames) << LINE
        places |= {f"{SIZES[size]}_line": line, f"{SIZES[size]}_buckets": buckets}
        own = is_large == size
        rows[own, 2] = line + (at[own] + reads[own] - 1) % max(buckets, 1)
        frames += -(-buckets >> LINE)
    if count + frames >= 1 << TAKEN:
        raise StudyError(
            f"{count:,} pages with {frames:,} pages of tables are more than can be numbered", None, "use a `limit`"
        )
    held = np.concatenate([number, np.arange(frames)])
    return Tables(rows.astype(np.int32), probes.astype(np.int32), held, count, frames, places=places)


def _searches(keys: NDArray[np.int64], own: NDArray[np.bool_], load: int) -> _Searches:
    """How a table is searched for the group of each page (its key) that holds the groups of its own pages."""
    nothing = np.zeros(len(keys), np.int64)
    group, first = np.unique(keys[own], return_index=True)
    if not len(group):
        return _Searches(nothing, nothing, 0)
    buckets = -(-len(group) * WHOLE // load)
    place = (mix(keys) % np.uint64(buckets)).astype(np.int64)
    order = np.argsort(first)
    taken = np.zeros(buckets, np.bool_)
    found = np.empty(len(group), np.int64)
    of_group = place[own][first]
    steps = np.empty(len(group), np.int64)
    enter(of_group[order], taken, steps)
    found[order] = steps
    at = np.minimum(np.searchsorted(group, keys), len(group) - 1)
    return _Searches(place, np.where(group[at] == keys, found[at], _until_free(place, taken)), buckets)


def _until_free(place: NDArray[np.int64], taken: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many buckets are read from a place until an empty one, that one too; all where there is none."""
    free = np.flatnonzero(~taken)
    if not len(free):
        return np.full(len(place), len(taken))
    after = free[np.searchsorted(free, place) % len(free)]
    return (after - place) % len(taken) + 1


def mix(keys: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The last steps of splitmix64: each bit of a key reaches all of its hash."""
    z = keys.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def enter(places: NDArray[np.int64], taken: NDArray[np.bool_], steps: NDArray[np.int64]) -> None:
    """Put groups into a table one after another, each into the first bucket from its place on that is not `taken`.

    `steps` is filled with how many buckets each has looked at; there must be a bucket for every group.
    """
    for group in range(len(places)):
        at = places[group]
        step = 1
        while taken[at]:
            at = at + 1 if at + 1 < len(taken) else 0
            step += 1
        taken[at] = True
        steps[group] = step
