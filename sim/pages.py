"""Prepares an access trace for translation: references by page, page tables, and windows of instructions.

Lines are numbered by page: the pages of the program by first appearance, 64 lines to each. Behind them come the pages
of the page tables, each in a frame of its own, and once more as many, whose lines are TLB blocks. An address space is
part of a page's address: bits 57 to 62 of the byte address.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.paths import cache_folder
from tiersim.sim import events as prepared
from tiersim.sim import kernels
from tiersim.sim.events import BATCH, Counts, Events, Numbering, Source, add, counts_of, draft_in
from tiersim.sim.huge import on_large_pages

__all__ = [
    "LINE",
    "PAGE",
    "WINDOW",
    "PagedEvents",
    "Tables",
    "coalesced",
    "nested_tables_of",
    "paged_from",
    "prepare_pages",
    "tables_of",
    "with_frames",
]

LINE, PAGE = 6, 12  # bits of an address within
WINDOW = 1000  # instructions, between two looks at the pressures
SPACE = 57  # bits of an address within its address space
MOST_SPACES = 64
NUMBER = SPACE - PAGE  # bits of a page's number within its address space
LOW = (1 << NUMBER) - 1
MARKS = "marks.i64"
TAKEN = 24  # bits of the number of a page, tables and blocks included: what a tag of 32 bits has room for
LARGE, FRAME, ENTRY, OWN = TAKEN, 25, 46, 55  # where the parts of a packed row begin, behind the unit
UNIT_MASK, FRAME_MASK, ENTRY_MASK, OWN_MASK = (1 << TAKEN) - 1, (1 << 21) - 1, 511, 511


@dataclass
class PagedEvents(Events):
    """References by page: `lines` has the address of each numbered page divided by its size, with its address space.

    `marks` are the events before which windows of `WINDOW` instructions end; without them they are in a file.
    """

    marks: NDArray[np.int64] | None = field(default=None, kw_only=True)

    def ends(self) -> NDArray[np.int64]:
        """The marks; those in a file are mapped, so that the memory is free again when they are let go."""
        if self.marks is not None:
            return self.marks
        assert self.path is not None
        path = self.path.with_name(MARKS)
        return np.memmap(path, np.int64, "r") if path.stat().st_size else np.zeros(0, np.int64)

    def ends_between(self, begin: int, end: int) -> NDArray[np.int64]:
        """The marks from event `begin` on and before `end`, counted from `begin`."""
        ends = self.ends()
        first, last = np.searchsorted(ends, [begin, end])
        return np.array(ends[first:last]) - begin


class _Paging:
    """Numbers pages and marks windows, record after record."""

    def __init__(self, fetches: bool) -> None:
        self.numbering, self.fetches = Numbering(PAGE - LINE), fetches
        self.counts = Counts()
        self.told = np.zeros(3, np.int64)
        self.marks: list[NDArray[np.int64]] = []
        self.spaces: dict[int, int] = {}
        self.counted: bool | None = None

    def turn(self, chunk: dict[str, NDArray[Any]], name: str) -> NDArray[np.int32]:
        if self.counted is None:  # where a trace does not count instructions each record is one
            self.counted = bool(chunk["gap"].any())
        chunk = {**chunk, "address": self._address(chunk, name)}
        add(self.counts, counts_of(chunk, LINE, self.fetches))
        gap = chunk["gap"] if self.counted else np.ones(len(chunk["gap"]), np.uint32)
        room = np.empty(int(gap.sum(dtype=np.int64)) // WINDOW + 2, np.int64)
        made = kernels.mark_windows(
            np.ascontiguousarray(chunk["address"], np.uint64),
            np.ascontiguousarray(chunk["size"], np.uint16),
            np.ascontiguousarray(chunk["kind"], np.uint8),
            np.ascontiguousarray(gap, np.uint32),
            LINE,
            self.fetches,
            WINDOW,
            self.told,
            room,
        )
        self.marks.append(room[:made].copy())
        return self.numbering.turn(chunk, LINE, self.fetches)

    def _address(self, chunk: dict[str, NDArray[Any]], name: str) -> NDArray[np.uint64]:
        address: NDArray[np.uint64] = chunk["address"] & np.uint64((1 << SPACE) - 1)
        if "asid" not in chunk:
            return address
        spaces, first = np.unique(chunk["asid"], return_index=True)
        for asid in spaces[np.argsort(first)].tolist():
            self.spaces.setdefault(asid, len(self.spaces))
        if len(self.spaces) > MOST_SPACES:
            raise TraceError(f"{name} has more than {MOST_SPACES} address spaces", None, "use a `limit`")
        table = np.zeros(1 << 16, np.uint64)
        table[list(self.spaces)] = list(self.spaces.values())
        made: NDArray[np.uint64] = address | table[chunk["asid"]] << np.uint64(SPACE)
        return made

    @property
    def pages(self) -> NDArray[np.int64]:
        """All so far."""
        return self.numbering.lines[: self.numbering.known]

    def taken(self) -> NDArray[np.int64]:
        """The marks since this was last asked for."""
        made, self.marks = self.marks, []
        return np.concatenate([np.zeros(0, np.int64), *made])


def prepare_pages(
    trace: Source,
    fetches: bool,
    skip: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PagedEvents:
    """The references of a trace by page, from the cache folder or made now.

    `progress` is called with records done and records in all. Raises TraceError when nothing is left to replay, or
    more pages are touched than can be numbered (32 GiB).
    """
    asked = [trace.fingerprint, "pages", fetches, skip, limit, _version()]
    folder = cache_folder("events") / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
    if not (folder / "counts.json").exists():
        _make(trace, fetches, skip, limit, folder, progress)
    counts = Counts(**json.loads((folder / "counts.json").read_text()))
    return PagedEvents(counts, np.fromfile(folder / "pages.i64", np.int64), folder / "events.i32")


def _version() -> str:
    parts = [Path(str(file)).read_bytes() for file in (__file__, prepared.__file__, kernels.__file__)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def _make(
    trace: Source,
    fetches: bool,
    skip: int,
    limit: int | None,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    paging = _Paging(fetches)
    whole = max(0, trace.records - skip)
    whole = whole if limit is None else min(limit, whole)
    draft = draft_in(folder)
    try:
        with (draft / "events.i32").open("wb") as out, (draft / MARKS).open("wb") as ends:
            for chunk in trace.chunks(BATCH, skip, limit):
                paging.turn(chunk, trace.name).tofile(out)
                paging.taken().tofile(ends)
                if progress:
                    progress(paging.counts.records, whole)
        if not paging.counts.events:
            remedy = f"the trace has {trace.records:,} records"
            raise TraceError(f"{trace.name} has no access left after skip {skip:,}", None, remedy)
        paging.pages.tofile(draft / "pages.i64")
        (draft / "counts.json").write_text(json.dumps(asdict(paging.counts)))
        try:
            draft.rename(folder)
        except OSError:  # another process was first: its files are the same
            if not (folder / "counts.json").exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def paged_from(chunk: dict[str, NDArray[Any]], fetches: bool = True) -> PagedEvents:
    """References of a small stream held in memory: columns address, kind, size, gap, and asid if wanted."""
    paging = _Paging(fetches)
    held = paging.turn(chunk, "this stream")
    return PagedEvents(paging.counts, paging.pages.copy(), None, held, marks=paging.taken())


@dataclass(frozen=True)
class Tables:
    """Page tables over numbered pages.

    ``rows`` has four words a page: its unit (the number of the first page touched in it), the unit's number (address /
    size, its low 31 bits), its leaf line, and 1 for a page of 2 MiB. ``parents`` has for each table page the entry that
    points to it, ``table * 512 + index``, and -1 for a root. ``numbers`` has for every page number the address that its
    lines are placed by: of the program's pages, of the table pages (their frames), and of the pages of TLB blocks.

    With host tables (`nested_tables_of`) the first `guests` of the table pages are those of guests. Behind the rows of
    the pages come such rows of guest-physical pages (those of the program, then guests' tables), whose units are
    numbered as rows and whose leaf lines are of host tables; then the rows of the pages in the guests' tables alone.
    ``numbers`` ends with the pages of nested TLB blocks, one for each host table.

    Where TLBs coalesce, ``groups`` has two words a page: the one that stands for all that share its entry, and the
    number by which its set is found. ``places`` are words of the mechanism that tell where its own lines are.
    """

    rows: NDArray[np.int32]
    parents: NDArray[np.int32]
    numbers: NDArray[np.int64]
    pages: int
    tables: int
    guests: int = 0
    groups: NDArray[np.int32] | None = None
    places: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def packed(self) -> NDArray[np.int64]:
        """``rows`` of radix tables in a word each: the unit, then from bit `LARGE` on whether it is large.

        From bit `FRAME` on stands the frame of the table that has its translation, from `ENTRY` on its place there,
        which is also the low bits of the unit's number, and from `OWN` on the low bits of the page's own number.
        """
        rows = self.rows.astype(np.int64)
        made = rows[:, 0] | rows[:, 3] << LARGE | ((rows[:, 2] >> LINE) - self.pages) << FRAME
        made |= (rows[:, 1] & ENTRY_MASK) << ENTRY | (self.numbers[: len(rows)] & OWN_MASK) << OWN
        return on_large_pages(made)


def tables_of(pages: NDArray[np.int64], large: Callable[[NDArray[np.int64]], NDArray[np.bool_]], levels: int) -> Tables:
    """The page tables of these pages, in the order of their first touch.

    `pages` are addresses / 4 KiB with the address space from bit 45 on; `large` tells of regions (addresses / 2 MiB,
    with the space) which are one page of 2 MiB; `levels` is 4 or 5. Raises StudyError where pages, tables and blocks
    are more than can be numbered.
    """
    count = len(pages)
    space = pages >> NUMBER << NUMBER
    number = pages & ((1 << 9 * levels) - 1)  # what the table can tell apart
    region, first, of_region = np.unique(space | number >> 9, return_index=True, return_inverse=True)
    whole = large(region)
    # tables from level 1 up: their keys (what they cover), and the page that first needs each
    keys, needed = [region[~whole]], [first[~whole]]
    above, at = region, first
    for _ in range(levels - 1):
        above, where = np.unique(_above(above), return_inverse=True)
        early = np.full(len(above), count)
        np.minimum.at(early, where, at)
        at = early
        keys.append(above)
        needed.append(at)
    level = np.repeat(np.arange(1, levels + 1), [len(held) for held in keys])
    order = np.lexsort((-level, np.concatenate(needed)))
    frame = np.empty(len(order), np.int64)
    frame[order] = np.arange(len(order))
    frames = np.split(frame, np.cumsum([len(held) for held in keys])[:-1])
    tables = len(order)
    _check_room(count, tables, 2 * tables)
    parents = np.full(tables, -1, np.int64)
    for k in range(levels - 1):
        up = np.searchsorted(keys[k + 1], _above(keys[k]))
        parents[frames[k]] = frames[k + 1][up] << 9 | keys[k] & 511
    rows = np.empty((count, 4), np.int64)
    is_large = whole[of_region]
    unit = np.arange(count)
    unit[is_large] = first[of_region[is_large]]
    rows[:, 0] = unit
    rows[:, 1] = np.where(is_large, number >> 9, number) & 0x7FFFFFFF
    leaf = np.empty(count, np.int64)
    small = ~is_large
    place = np.cumsum(~whole) - 1  # of a region among those with tables of level 1
    leaf[small] = (count + frames[0][place[of_region[small]]]) << 6 | (number[small] & 511) >> 3
    second = frames[1][np.searchsorted(keys[1], _above(region))]
    leaf[is_large] = (count + second[of_region[is_large]]) << 6 | (number[is_large] >> 9 & 511) >> 3
    rows[:, 2] = leaf
    rows[:, 3] = is_large
    numbers = np.empty(count + 2 * tables, np.int64)
    numbers[:count] = number
    numbers[count : count + tables] = np.arange(tables)
    numbers[count + tables + frame] = np.concatenate(keys) & LOW
    return Tables(rows.astype(np.int32), parents.astype(np.int32), numbers, count, tables)


def coalesced(
    tables: Tables, pages: NDArray[np.int64], reach: int, contiguous: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> Tables:
    """These tables with groups of `reach` (2, 4 or 8) pages of 4 KiB, of which some share an entry in a TLB.

    `pages` are those of the tables, as in `tables_of`; `contiguous` tells of groups (addresses / 4 KiB / reach, with
    the space) whether their frames are so.
    """
    bits = reach.bit_length() - 1
    unit, number, _, is_large = tables.rows[: tables.pages].T
    group, first, of_group = np.unique(_grouped(pages, bits), return_index=True, return_inverse=True)
    shared = (is_large == 0) & contiguous(group)[of_group]
    groups = np.empty((tables.pages, 2), np.int32)
    groups[:, 0] = np.where(shared, first[of_group], unit)
    groups[:, 1] = np.where(is_large, number, tables.numbers[: tables.pages] >> bits & 0x7FFFFFFF)
    return replace(tables, groups=groups)


def with_frames(tables: Tables, word: str, frames: int) -> Tables:
    """These tables, and behind all their pages so many more in frames that count on from those of the tables.

    The word `word` of the mechanism tells their first line. Raises StudyError where there is no room.
    """
    first = len(tables.numbers)
    _check_room(first, tables.tables, frames)
    numbers = np.concatenate([tables.numbers, np.arange(tables.tables, tables.tables + frames)])
    return replace(tables, numbers=numbers, places={**tables.places, word: first << LINE})


def _grouped(pages: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Numbers of groups of 2^bits pages, in the same address spaces."""
    return pages & ~LOW | (pages & LOW) >> bits


def _above(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the tables one level up cover, in the same address spaces."""
    return _grouped(keys, 9)


def _check_room(pages: int, tables: int, besides: int) -> None:
    if pages + besides >= 1 << TAKEN or tables << 9 >= 1 << 30:  # entries are told apart by tags too
        raise StudyError(
            f"{pages:,} pages with {tables:,} pages of tables are more than can be numbered", None, "use a `limit`"
        )


def nested_tables_of(
    pages: NDArray[np.int64],
    large: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
    host_large: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
    levels: int,
) -> Tables:
    """The page tables of guests over these pages, and the host tables below them.

    As `tables_of`; `host_large` tells of regions of guest-physical memory. Raises StudyError also where a page of the
    program lies where guests have their tables.
    """
    guest = tables_of(pages, large, levels)
    count, guests = guest.pages, guest.tables
    needed = _needed(guest, levels)
    # guest-physical pages as they are first touched: a page after the guest tables that are new with it
    of_page = np.arange(count) + np.searchsorted(needed, np.arange(count), "right")
    of_table = np.arange(guests) + needed
    touched = np.empty(count + guests, np.int64)
    touched[of_page] = pages
    touched[of_table] = pages[needed] >> NUMBER << NUMBER | _place_of_tables(pages, guests, levels)
    host = tables_of(touched, host_large, levels)
    _check_room(count, guests + host.tables, 2 * guests + 3 * host.tables)
    at = np.concatenate([of_page, of_table])
    row = np.empty(len(at), np.int32)
    row[at] = np.arange(count, count + len(at))
    hosts = host.rows[at]
    hosts[:, 0] = row[hosts[:, 0]]
    rows = guest.rows.copy()
    cut = (guest.rows[:, 3] == 1) & (hosts[:count, 3] == 0)  # pages of 2 MiB on host pages of 4 KiB
    rows[cut, 0] = np.flatnonzero(cut)
    rows[cut, 1] = guest.numbers[:count][cut] & 0x7FFFFFFF
    rows[cut, 2] = hosts[:count][cut, 2]
    rows[cut, 3] = 0
    # host tables are numbered behind those of guests, as their leaf lines are already
    below = host.parents + (host.parents >= 0) * np.int32(guests << 9)
    blocks = host.numbers[len(at) + host.tables :]
    tables = guests + host.tables
    return Tables(
        np.concatenate([rows, hosts, guest.rows]),
        np.concatenate([guest.parents, below]),
        np.concatenate(
            [guest.numbers[:count], np.arange(tables), guest.numbers[count + guests :], blocks, blocks],
        ),
        count,
        tables,
        guests,
    )


def _needed(tables: Tables, levels: int) -> NDArray[np.int64]:
    """The page that first needs each table page."""
    needed = np.full(tables.tables, tables.pages)
    np.minimum.at(needed, (tables.rows[:, 2] >> 6) - tables.pages, np.arange(tables.pages))
    below = np.flatnonzero(tables.parents >= 0)
    for _ in range(levels - 1):
        np.minimum.at(needed, tables.parents[below] >> 9, needed[below])
    return needed


def _place_of_tables(pages: NDArray[np.int64], tables: int, levels: int) -> NDArray[np.int64]:
    """Where the tables of guests are in guest-physical memory: from the middle on, where no program has pages."""
    first = 1 << 9 * levels - 1
    number = pages & ((1 << 9 * levels) - 1)
    if np.any((number >= first) & (number < first + tables)):
        raise StudyError(
            f"pages of the program lie where guests have their tables, from {first << PAGE:#x} on",
            None,
            "use a trace of a program, without its kernel, or no nested TLB",
        )
    return first + np.arange(tables)
