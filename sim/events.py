"""Prepares an access trace for replay, once for each line size, and keeps the result in the cache folder.

Prepared, a trace is two flat files: four bytes for each reference (line number and kind) and eight for each distinct
line. Lines are numbered by first appearance, so that what is used together lies together. Both files are read in
pieces: a trace larger than memory is replayed in bounded memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.paths import cache_folder
from tiersim.sim import kernels

__all__ = [
    "BATCH",
    "Counts",
    "Events",
    "Numbering",
    "Source",
    "add",
    "begin_events",
    "counts_of",
    "draft_in",
    "events_from",
    "prefix",
    "prepare",
]

BATCH = 1 << 17  # records at a time: keeps the dictionary small for small traces
MOST_LINES = 1 << 29


class Source(Protocol):
    """What a trace must offer to be replayed (`tiersim.traces.Trace` does)."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def records(self) -> int: ...
    def chunks(
        self, records: int = ..., skip: int = ..., limit: int | None = ...
    ) -> Iterator[dict[str, NDArray[Any]]]: ...


@dataclass
class Counts:
    """What a stretch of a trace holds; `events` are references to lines, a modify is a load and a store."""

    records: int = 0
    events: int = 0
    loads: int = 0
    stores: int = 0
    fetches: int = 0
    instructions: int = 0

    @property
    def accesses(self) -> int:
        """Loads and stores of the program."""
        return self.loads + self.stores

    def __sub__(self, other: Counts) -> Counts:
        return Counts(**{key: held - getattr(other, key) for key, held in asdict(self).items()})


@dataclass
class Events:
    """A prepared trace: `counts` of the whole, `lines` the address of each numbered line divided by the line size."""

    counts: Counts
    lines: NDArray[np.int64]
    path: Path | None = None
    held: NDArray[np.int32] | None = None

    def chunks(self, begin: int, end: int, size: int = 1 << 20) -> Iterator[NDArray[np.int32]]:
        """The events from `begin` to `end` in pieces of at most `size`."""
        for start in range(begin, end, size):
            count = min(size, end - start)
            if self.held is not None:
                yield self.held[start : start + count]
            else:
                assert self.path is not None
                yield np.fromfile(self.path, np.int32, count, offset=4 * start)

    def complete(self) -> None:
        """Have all lines numbered."""

    @property
    def distinct(self) -> int | None:
        """How many lines there are, or None where that is not known yet."""
        return len(self.lines)


def counts_of(chunk: dict[str, NDArray[Any]], shift: int, fetches: bool) -> Counts:
    """Count one chunk of records as `prepare` will turn it into events."""
    kind = chunk["kind"]
    by_kind = np.bincount(kind, minlength=4)
    last = chunk["address"] + chunk["size"].astype(np.uint64) - np.uint64(1)
    lines = (last >> np.uint64(shift)) - (chunk["address"] >> np.uint64(shift)) + np.uint64(1)
    if by_kind[2]:
        lines = lines * (1 + (kind == 2))
    if not fetches and by_kind[3]:
        lines = lines[kind != 3]
    return Counts(
        len(kind),
        int(lines.sum()),
        int(by_kind[0] + by_kind[2]),
        int(by_kind[1] + by_kind[2]),
        int(by_kind[3]) if fetches else 0,
        int(chunk["gap"].sum(dtype=np.int64)),
    )


def prefix(trace: Source, records: int, shift: int, fetches: bool, skip: int) -> Counts:
    """The counts of the first `records` records after `skip`: where a warm-up ends. Kept in the cache folder."""
    if not records:
        return Counts()
    file = _folder(trace, 1 << shift, fetches, skip, records).with_suffix(".json")
    with suppress(OSError, ValueError, TypeError):
        return Counts(**json.loads(file.read_text()))
    total = Counts()
    for chunk in trace.chunks(1 << 20, skip, records):
        add(total, counts_of(chunk, shift, fetches))
    draft = file.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(asdict(total)))
    draft.replace(file)
    return total


def add(total: Counts, more: Counts) -> None:
    for key, held in asdict(more).items():
        setattr(total, key, getattr(total, key) + held)


class Numbering:
    """Lines (or groups of ``2**within`` of them) seen so far, with a dictionary that grows between batches."""

    def __init__(self, within: int = 0) -> None:
        self.known, self.within = 0, within
        self.lines = np.empty(1 << 12, np.int64)
        self.keys = np.full(1 << 13, kernels.FREE, np.int64)
        self.ids = np.empty(1 << 13, np.int32)

    def room_for(self, more: int) -> None:
        need = self.known + more
        if need > len(self.lines):
            grown = np.empty(max(need, 2 * len(self.lines)), np.int64)
            grown[: self.known] = self.lines[: self.known]
            self.lines = grown
        if 2 * need > len(self.keys):
            places = 1 << (2 * need - 1).bit_length()
            self.keys = np.full(places, kernels.FREE, np.int64)
            self.ids = np.empty(places, np.int32)
            kernels.rehash(self.lines, self.known, self.keys, self.ids)

    def turn(self, chunk: dict[str, NDArray[Any]], shift: int, fetches: bool) -> NDArray[np.int32]:
        count = counts_of(chunk, shift, fetches).events
        self.room_for(count)
        events = np.empty(count, np.int32)
        self.known, written = kernels.number_lines(
            np.ascontiguousarray(chunk["address"], np.uint64),
            np.ascontiguousarray(chunk["size"], np.uint16),
            np.ascontiguousarray(chunk["kind"], np.uint8),
            shift,
            fetches,
            self.within,
            self.keys,
            self.ids,
            self.known,
            self.lines,
            events,
        )
        assert written == count
        if self.known << self.within >= MOST_LINES:
            what = f"pages of {1 << self.within + shift:,} bytes" if self.within else "lines"
            raise TraceError(
                f"the trace touches more than {MOST_LINES >> self.within:,} distinct {what}",
                None,
                "use a `limit`" if self.within else "use a larger line, or a `limit`",
            )
        return events


def prepare(
    trace: Source,
    line: int,
    fetches: bool,
    skip: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Events:
    """The events of a trace for lines of `line` bytes (a power of two), from the cache folder or made now.

    `progress` is called with records done and records in all. Raises TraceError when nothing is left to replay.
    """
    folder = _folder(trace, line, fetches, skip, limit)
    if not (folder / "counts.json").exists():
        _make(trace, line.bit_length() - 1, fetches, skip, limit, folder, progress)
    return _kept(folder)


def begin_events(trace: Source, line: int, fetches: bool) -> Events | None:
    """The events of a whole trace as `prepare` gives them, from the cache folder, or made while they are replayed.

    For the latter the trace's ``outline`` must tell how many there will be, as that of a stored trace does
    (`tiersim.traces.outline`); None where it does not.
    """
    folder = _folder(trace, line, fetches, 0, None)
    if (folder / "counts.json").exists():
        return _kept(folder)
    told = getattr(trace, "outline", {}).get("references", {})
    data, fetched = told.get(str(line), (0, 0))
    events = data + fetched if fetches else data
    return _Arriving(trace, line.bit_length() - 1, fetches, events, folder) if events else None


def _folder(trace: Source, line: int, fetches: bool, skip: int, limit: int | None) -> Path:
    asked = [trace.fingerprint, line, fetches, skip, limit, _version()]
    return cache_folder("events") / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]


def _kept(folder: Path) -> Events:
    counts = Counts(**json.loads((folder / "counts.json").read_text()))
    return Events(counts, np.fromfile(folder / "lines.i64", np.int64), folder / "events.i32")


def draft_in(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix="draft-"))


def _keep(draft: Path, folder: Path, numbering: Numbering, counts: Counts) -> None:
    """Put what was made where the next replay looks for it."""
    numbering.lines[: numbering.known].tofile(draft / "lines.i64")
    (draft / "counts.json").write_text(json.dumps(asdict(counts)))
    try:
        draft.rename(folder)
    except OSError:  # another process was first: its files are the same
        if not (folder / "counts.json").exists():
            raise


class _Arriving(Events):
    """Events that are made as far as a replay has come; their files are kept when all are there.

    How many there will be is told before, and checked at the end. `lines` has those that were met, and `counts` is
    right when all are.
    """

    def __init__(self, trace: Source, shift: int, fetches: bool, events: int, folder: Path) -> None:
        draft = draft_in(folder)
        super().__init__(Counts(events=events), np.zeros(0, np.int64), draft / "events.i32")
        weakref.finalize(self, shutil.rmtree, draft, True)
        self._trace, self._shift, self._fetches, self._folder = trace, shift, fetches, folder
        self._chunks = trace.chunks(BATCH)
        self._numbering, self._done = Numbering(), Counts()
        self._whole = False

    def chunks(self, begin: int, end: int, size: int = 1 << 20) -> Iterator[NDArray[np.int32]]:
        for start in range(begin, end, size):
            stop = min(start + size, end)
            self._reach(stop)
            yield from super().chunks(start, stop, size)

    def complete(self) -> None:
        self._reach(self.counts.events)

    @property
    def distinct(self) -> int | None:
        return len(self.lines) if self._whole else None

    def _reach(self, end: int) -> None:
        assert self.path is not None
        with self.path.open("ab") as out:
            while self._done.events < end and (chunk := next(self._chunks, None)) is not None:
                add(self._done, counts_of(chunk, self._shift, self._fetches))
                self._numbering.turn(chunk, self._shift, self._fetches).tofile(out)
        self.lines = self._numbering.lines[: self._numbering.known]
        last = end == self.counts.events and not self._whole
        if last:
            for chunk in self._chunks:  # records that make no events
                add(self._done, counts_of(chunk, self._shift, self._fetches))
        if self._done.events < end or (last and self._done.events > end):
            raise TraceError(
                f"{self._trace.name} is damaged: its description tells of {self.counts.events:,} references to lines "
                f"of {1 << self._shift} bytes, and its records are others",
                None,
                "copy or make the file again; nothing in it can be trusted",
            )
        if last:
            self.counts, self._whole = self._done, True
            _keep(self.path.parent, self._folder, self._numbering, self._done)
            self.path = self._folder / self.path.name


def _version() -> str:
    return hashlib.sha256(Path(__file__).read_bytes() + Path(kernels.__file__).read_bytes()).hexdigest()[:12]


def _make(
    trace: Source,
    shift: int,
    fetches: bool,
    skip: int,
    limit: int | None,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    numbering, total = Numbering(), Counts()
    whole = max(0, trace.records - skip)
    whole = whole if limit is None else min(limit, whole)
    draft = draft_in(folder)
    try:
        with (draft / "events.i32").open("wb") as out:
            for chunk in trace.chunks(BATCH, skip, limit):
                add(total, counts_of(chunk, shift, fetches))
                numbering.turn(chunk, shift, fetches).tofile(out)
                if progress:
                    progress(total.records, whole)
        if not total.events:
            raise TraceError(
                f"{trace.name} has no access left after skip {skip:,}"
                + ("" if limit is None else f" and limit {limit:,}"),
                None,
                f"the trace has {trace.records:,} records",
            )
        _keep(draft, folder, numbering, total)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def events_from(address: NDArray[Any], kind: NDArray[Any], line: int, size: int = 1, fetches: bool = True) -> Events:
    """Events of a small stream held in memory."""
    chunk: dict[str, NDArray[Any]] = {
        "address": np.asarray(address, np.uint64),
        "kind": np.asarray(kind, np.uint8),
        "size": np.full(len(address), size, np.uint16),
        "gap": np.ones(len(address), np.uint32),
    }
    shift, numbering = line.bit_length() - 1, Numbering()
    held = numbering.turn(chunk, shift, fetches)
    return Events(counts_of(chunk, shift, fetches), numbering.lines[: numbering.known].copy(), None, held)
