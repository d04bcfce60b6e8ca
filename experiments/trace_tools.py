"""Traces made of traces: `tiersim traces convert`, `sample`, `split`, `merge` and `annotate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TraceError
from tiersim.experiments.doctor.access_object import LINE
from tiersim.experiments.doctor.tally import DEFAULTS, clock_of
from tiersim.experiments.miss_ratio_curve import miss_ratio_curve
from tiersim.experiments.trace_doctor import Opened, open_records
from tiersim.experiments.trace_forms import ORACLE, Out, free, picked, writing
from tiersim.sim.requests import Requests, number_requests, scattered
from tiersim.sim.stack_distance import lru_curve
from tiersim.traces.chunks import length
from tiersim.traces.foreign import Foreign
from tiersim.traces.prefix import hit_blocks
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import Chunk, Schema
from tiersim.traces.store import StoredTrace, sha256_of

__all__ = ["Made", "annotate", "convert", "merge", "sample", "split"]

POINTS: Final = 10  # sizes at which the error of a sample is told
AT_ONCE: Final = 1 << 20  # records of one time that are held
GAP: Final = 1 << 32  # instructions between two accesses are fewer
# what is numbered by each trace for itself: names of it, and the columns that hold them
IDS: Final[dict[str, list[tuple[str, tuple[str, ...]]]]] = {
    "access": [("addresses", ("address",))],
    "object": [("ids", ("id",))],
    "request": [("blocks", ("blocks",)), ("sessions", ("session",))],
    "tree": [("trees", ("tree",))],
    "query": [("groups", ("group",)), ("sessions", ("session",)), ("users", ("user",))],
    "profile": [],
    "edge": [("nodes", ("source", "target"))],
}
UNMERGED: Final = {
    "routing": "forward passes and tokens are numbered, and those of two traces would count as one",
    "popularity": "they are sums over a whole trace, and the sum of two is not that of both",
}
UNSAMPLED: Final = {
    "routing": "a forward pass loads the experts of all its tokens once, and a share of the tokens loads others",
    "tree": "a node without its parent has no path, and a search without some of its nodes has another shape",
    "query": "a share of the questions repeats each other less often than all do, and nothing tells by how much",
    "profile": "each measurement is of a configuration of its own, and none stands for another",
    "edge": "a share of the edges is another graph, with other paths and degrees",
    "popularity": "they are sums over a whole trace",
}


@dataclass
class Made:
    """What was written: paths, records in all, and what to know about them."""

    paths: list[Path] = field(default_factory=list)
    records: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what ``--json`` prints."""
        return asdict(self) | {"paths": [str(path) for path in self.paths]}


# what is read


def _about(what: str, sources: Sequence[Opened]) -> dict[str, Any]:
    """The provenance of what is made of traces."""
    files = [
        {"name": one.name, "format": one.format, **({"sha256": sha256_of(one.path)} if one.path else {})}
        for one in sources
    ]
    return {"made_by": f"tiersim traces {what}", "from": files}


def _tail(opened: Opened, gaps: int) -> int:
    """Instructions after the last record, once all have been read."""
    found = opened.found
    if isinstance(found, Foreign):
        return found.tail
    return max(found.instructions - gaps, 0) if isinstance(found, StoredTrace) else 0


def _gaps(chunk: Chunk) -> int:
    return int(chunk["gap"].sum(dtype=np.uint64)) if "gap" in chunk else 0


# what is made


def convert(
    trace: str | Path,
    out: Path,
    *,
    spread_times: bool = False,
    format: str | None = None,
    quiet: bool = True,
    **options: Any,
) -> Made:
    """Write a trace in the form that the name of `out` says: .parquet, .csv, .jsonl or .oracleGeneral.

    With ``spread_times`` the records of one time lie evenly between it and the next, and those of the last stay. Raises
    TraceError when the trace is damaged or does not fit, StudyError when `out` exists or has another name.
    """
    free(out)
    opened = open_records(trace, format, quiet, **options)
    result, gaps = Made([out]), 0
    about = _about("convert", [opened]) | ({"times": "spread evenly"} if spread_times else {})
    with writing(out, opened.schema, about) as to:
        chunks = opened.chunks()
        for chunk in _spread(chunks, clock_of(opened.schema), opened.name) if spread_times else chunks:
            to.append(chunk)
            result.records += length(chunk)
            gaps += _gaps(chunk)
        to.tail_instructions = _tail(opened, gaps)
    result.notes = to.notes
    return result


def _spread(chunks: Iterator[Chunk], clock: str, name: str) -> Iterator[Chunk]:
    """Records with times between those that a coarse clock gave them; memory holds those of one time."""
    done = 0
    held: list[Chunk] = []  # of the last time so far
    for chunk in chunks:
        if clock not in chunk:
            raise TraceError(f"{name} has no times that could be spread", None, "convert it as it is")
        whole = _joined([*held, chunk])
        time = whole[clock]
        if (back := np.diff(time) < 0).any():
            raise TraceError(
                f"{name}: time goes back at record {done + int(back.argmax()) + 2:,}, and is spread only in order",
                None,
                "sort the records by time first",
            )
        starts = np.flatnonzero(np.diff(time, prepend=time[0] - 1))
        last = int(starts[-1])
        counts = np.diff(starts)
        place = np.arange(last) - np.repeat(starts[:-1], counts)
        step, rest = (np.repeat(part, counts) for part in np.divmod(np.diff(time[starts]), counts))
        if last:
            made = {column: values[:last] for column, values in whole.items()}
            made[clock] = time[:last] + step * place + rest * place // np.repeat(counts, counts)
            yield made
        held = [{column: values[last:] for column, values in whole.items()}]
        done += last
        if length(held[0]) > AT_ONCE:
            raise TraceError(
                f"{name}: more than {AT_ONCE:,} records have the time of record {done + 1:,}",
                None,
                "convert it as it is",
            )
    yield from held


def annotate(trace: str | Path, out: Path, *, format: str | None = None, quiet: bool = True, **options: Any) -> Made:
    """Write requests for objects with the number of the next request for the same object, as oracleGeneral.

    Each block of a prompt counts as a request for an object, and so does each expert of a token. Raises as `convert`
    does.
    """
    if not out.name.lower().endswith(ORACLE):
        raise StudyError(
            f"{out.name!r}: the next use has a place in oracleGeneral only", None, f"end it in {ORACLE[0]}"
        )
    return convert(trace, out, format=format, quiet=quiet, **options)


def sample(
    trace: str | Path,
    out: Path,
    share: float,
    *,
    seed: int = 0,
    format: str | None = None,
    quiet: bool = True,
    **options: Any,
) -> Made:
    """Write all records of a share of the objects, drawn by a hash of the key (Waldspurger et al., FAST 2015).

    Of accesses the lines of 64 bytes are drawn, and instructions between are kept; of requests to language models whole
    sessions, or single requests where sessions are not known. The notes say the error that this makes: of objects and
    accesses the standard error of LRU's miss ratios as estimated from this sample, from its disjoint parts; of blocks
    of prompts how far LRU's hit ratios are from those of the whole trace. Raises as `convert` does, and TraceError for
    records of which a share tells nothing of all.
    """
    if not 0 < share < 1:
        raise StudyError(f"a sample of {100 * share:g} % is no part of the objects", None, "give a share such as 1%")
    free(out)
    opened = open_records(trace, format, quiet, **options)
    if opened.schema.name in UNSAMPLED:
        raise TraceError(
            f"{opened.name} is a trace of {opened.schema.name} records, of which a share tells nothing of all: "
            f"{UNSAMPLED[opened.schema.name]}",
            None,
            "`tiersim traces split` takes parts of it as they are",
        )
    about = _about("sample", [opened]) | {"share": share, "seed": seed}
    if opened.schema.name == "request":
        return _sample_requests(opened, out, share, seed, about)
    result = Made([out])
    with writing(out, opened.schema, about) as to:
        kept = _Kept(to, share, seed, opened.schema.name)
        requests = number_requests(kept.of(opened), share=share, seed=seed)
        to.tail_instructions = kept.waiting + _tail(opened, kept.gaps)
        result.records = kept.records
    curve = miss_ratio_curve(requests, "lru", points=POINTS, seed=seed, quiet=quiet)
    result.notes = [*to.notes, f"{result.records:,} of {requests.asked:,} records, for {requests.objects:,} objects"]
    if curve.error is None:
        result.notes.append("the sample is too small to tell its error")
    else:
        at = int(np.argmax(curve.error))
        result.notes.append(
            f"standard error of LRU's miss ratio at {len(curve.sizes)} sizes: at most {100 * curve.error[at]:.2f} "
            f"points, at {curve.sizes[at]:,} {curve.unit}"
        )
    result.notes += [note for note in curve.notes if "errors are too small" in note]
    return result


class _Kept:
    """Records that are drawn go to a file; the instructions of the others count to the next one that is."""

    def __init__(self, to: Out, share: float, seed: int, schema: str) -> None:
        self.to, self.seed, self.schema = to, seed, schema
        self.below = np.uint64(int(share * 2.0**64))
        self.records = self.waiting = self.gaps = 0

    def of(self, opened: Opened) -> Iterator[Chunk]:
        for chunk in opened.chunks():
            key = chunk["id"] if self.schema == "object" else chunk["address"] // np.uint64(LINE)
            chosen = np.flatnonzero(scattered(key, self.seed) < self.below)
            part = {name: values[chosen] for name, values in chunk.items()}
            if "gap" in chunk:
                part["gap"] = self._gap(chunk["gap"], chosen)
            if len(chosen):
                self.to.append(part)
            self.records += len(chosen)
            yield {"id": key, **({"size": chunk["size"]} if self.schema == "object" and "size" in chunk else {})}

    def _gap(self, gap: NDArray[np.uint32], chosen: NDArray[np.intp]) -> NDArray[np.uint32]:
        so_far = np.cumsum(gap, dtype=np.uint64)
        self.gaps += int(so_far[-1])
        made = np.diff(so_far[chosen], prepend=np.uint64(0))
        if len(made):
            made[0] += np.uint64(self.waiting)
            self.waiting = int(so_far[-1] - so_far[chosen[-1]])
        else:
            self.waiting += int(so_far[-1])
        if len(made) and int(made.max()) >= 1 << 32:
            raise TraceError("more than 2**32 instructions lie between two sampled accesses", None, "sample more")
        return made.astype(np.uint32)


class _Prompts:
    """The blocks of prompts as they come, and what an infinite prefix cache has of them."""

    def __init__(self) -> None:
        self.requests = self.blocks = self.hits = 0
        self.values: list[NDArray[np.uint64]] = []
        self._seen: set[int] = set()

    def add(self, chunk: Chunk) -> None:
        self.requests += length(chunk)
        if "blocks" in chunk:
            self.blocks += len(chunk["blocks"].values)
            self.hits += int(hit_blocks(chunk["blocks"], self._seen).sum())
            self.values.append(chunk["blocks"].values)

    def numbered(self) -> Requests:
        return number_requests({"id": values} for values in self.values)


def _sample_requests(opened: Opened, out: Path, share: float, seed: int, about: dict[str, Any]) -> Made:
    """Sessions, or requests where there are none, by a hash."""
    below, kept, whole, sessions = np.uint64(int(share * 2.0**64)), _Prompts(), _Prompts(), False
    with writing(out, opened.schema, about) as to:
        for chunk in opened.chunks():
            sessions = "session" in chunk
            number = np.arange(whole.requests, whole.requests + length(chunk), dtype=np.uint64)
            key = chunk["session"] if sessions else number
            part = picked(chunk, np.flatnonzero(scattered(key, seed) < below))
            whole.add(chunk)
            kept.add(part)
            if length(part):
                to.append(part)
        if not kept.requests:
            raise TraceError(f"not one of {whole.requests:,} requests is sampled", None, "sample more, or not at all")
    drawn = "whole sessions" if sessions else "requests one by one, for sessions are not known"
    notes = [*to.notes, f"{kept.requests:,} of {whole.requests:,} requests: {drawn}"]
    return Made([out], kept.requests, notes + _hit_error(kept, whole, share))


def _hit_error(kept: _Prompts, whole: _Prompts, share: float) -> list[str]:
    """How far the hit ratios of blocks are from those of the whole trace, in caches of the share of its size."""
    if not whole.blocks:
        return ["blocks are not known: only lengths and arrivals can be told from a sample"]
    if not kept.blocks:
        return ["the sampled prompts have no block: there is no hit ratio to tell"]
    requests, part = whole.numbered(), kept.numbered()
    sizes = np.unique(np.geomspace(max(1.0, 1 / share), max(requests.objects, 1 / share), POINTS).round().astype(int))
    small = np.maximum(1, np.round(sizes * share)).astype(np.int64)
    true = 1 - lru_curve(requests, sizes.astype(np.int64)).misses / whole.blocks
    found = 1 - lru_curve(part, small).misses / kept.blocks
    at = int(np.argmax(np.abs(found - true)))
    off = f"at most {100 * abs(found[at] - true[at]):.2f} points off, at {sizes[at]:,} blocks"
    endless = [f"{100 * held.hits / held.blocks:.2f} %" for held in (kept, whole)]
    return [
        f"LRU's hit ratio of blocks at {len(sizes)} sizes, against that of the whole trace: {off}",
        f"prefixes shared, for a cache without end: {endless[0]} of blocks, {endless[1]} in the whole trace",
    ]


def split(
    trace: str | Path,
    pattern: str,
    *,
    parts: int | None = None,
    every: int | None = None,
    format: str | None = None,
    quiet: bool = True,
    **options: Any,
) -> Made:
    """Write consecutive parts of a trace: so many, or of so many records each.

    `pattern` names them, with ``{}`` or ``{:03}`` for the number, counted from 1. If one cannot be written none stays.
    Raises as `convert` does.
    """
    if (parts is None) == (every is None):
        raise StudyError("a trace is split into so many parts, or every so many records: give one of them")
    opened = open_records(trace, format, quiet, **options)
    if every is None:
        assert parts is not None
        records = _count(opened)
        if parts > records:
            raise StudyError(f"{records:,} records do not make {parts:,} parts")
        ends = [records * step // parts for step in range(1, parts + 1)]
    else:
        ends = []
    result, about = Made(), _about("split", [opened])
    try:
        held = _Cutter(opened, ends, every)
        for number, part in enumerate(held.parts(), 1):
            path = _numbered(pattern, number)
            with writing(path, opened.schema, about | {"part": number}) as to:
                for chunk in part:
                    to.append(chunk)
                    result.records += length(chunk)
                to.tail_instructions = held.tail
            result.paths.append(path)
            result.notes += [note for note in to.notes if note not in result.notes]
    except BaseException:
        for path in result.paths:
            path.unlink(missing_ok=True)
        raise
    return result


def _numbered(pattern: str, number: int) -> Path:
    with suppress(ValueError, IndexError, KeyError, AttributeError):
        made = pattern.format(number)
        if made != pattern.format(number + 1):
            return Path(made)
    raise StudyError(
        f"{pattern!r} does not name every part otherwise", None, "put {} where its number goes, as in part-{}.parquet"
    )


def _count(opened: Opened) -> int:
    if not isinstance(opened.found, Foreign):
        return opened.found.records
    return sum(map(length, opened.found.records()))


class _Cutter:
    """The records of a trace in consecutive parts, read once; ``tail`` is set when the last is through."""

    def __init__(self, opened: Opened, ends: list[int], every: int | None) -> None:
        self.opened, self.ends, self.every = opened, ends, every
        self.tail = 0
        self._chunks = opened.chunks()
        self._rest: Chunk = {}
        self._gaps = self._done = 0

    def parts(self) -> Iterator[Iterator[Chunk]]:
        number = 0
        while self._fill():
            end = self._done + self.every if self.every is not None else self.ends[number]
            yield self._until(end)
            number += 1

    def _fill(self) -> bool:
        """Have records at hand, if any are left."""
        while not length(self._rest):
            found = next(self._chunks, None)
            if found is None:
                self.tail = _tail(self.opened, self._gaps)
                return False
            self._rest = found
            self._gaps += _gaps(found)
        return True

    def _until(self, end: int) -> Iterator[Chunk]:
        while self._done < end and self._fill():
            step = min(end - self._done, length(self._rest))
            yield {name: values[:step] for name, values in self._rest.items()}
            self._rest = {name: values[step:] for name, values in self._rest.items()}
            self._done += step
        if self._done == end:
            self._fill()  # so that the last part knows that it is the last


def merge(
    traces: Sequence[str | Path],
    out: Path,
    *,
    same_ids: bool = False,
    separate_ids: bool = False,
    format: str | None = None,
    quiet: bool = True,
    **options: Any,
) -> Made:
    """Write several traces as one: by time where all have times, which all begin at 0, else one after the other.

    Equal ids in two of them are refused, unless they are of the same thing (`same_ids`) or are to be kept apart
    (`separate_ids`): then an id is hashed with the number of its file, and accesses get its number as address space.
    Ids are those of objects, blocks and sessions, trees, nodes of graphs, users and groups of questions. Instructions
    after the last access of a trace count to the first of the next one. Raises TraceError, also where records are of
    different kinds or time goes back, and StudyError.
    """
    if len(traces) < 2:
        raise StudyError("a merge takes two traces or more, and the file to write last")
    if same_ids and separate_ids:
        raise StudyError("ids are the same or are kept apart: give one of --same-ids and --separate-ids")
    free(out)
    opened = [open_records(trace, format, quiet, **options) for trace in traces]
    schema = opened[0].schema
    _refuse_others(opened)
    firsts = [_first(one) for one in opened]
    if separate_ids and any("asid" in first for first in firsts):
        raise TraceError("these accesses have address spaces already", None, "merge them with --same-ids")
    if not same_ids and not separate_ids:
        _refuse_collisions(opened)
    clock = clock_of(schema) if all(clock_of(schema) in first for first in firsts) else ""
    made = _Alike(schema, firsts, clock, separate_ids)
    result = Made([out], 0, made.notes)
    streams = [made.chunks(one, place) for place, one in enumerate(opened)]
    about = _about("merge", opened) | {"ids": "separate" if separate_ids else "as they are"}
    with writing(out, schema, about) as to:
        for chunk in _by_time(streams, opened, clock) if clock else _in_turn(streams, opened, to):
            to.append(chunk)
            result.records += length(chunk)
    result.notes += to.notes
    result.notes.append("merged by time" if clock else "one after the other")
    if clock and sum(not first[clock][0] for first in firsts) > 1:
        result.notes.append(
            "times count from each trace's own first record: where these did not begin at the same moment, put the "
            "lines of their files into one, sort it, and read that instead"
        )
    return result


class _Alike:
    """Chunks of several traces with the columns of all: what one lacks has its default, and goes where it has none."""

    def __init__(self, schema: Schema, firsts: Sequence[Chunk], clock: str, separate: bool) -> None:
        self.schema, self.separate = schema, separate
        self.notes: list[str] = []
        self.defaults = DEFAULTS.get(schema.name, {})
        self.columns = []
        for column in schema.columns:
            held = [column.name in first for first in firsts]
            if separate and column.name == "asid":
                self.columns.append(column)
            elif not any(held):
                continue
            elif column.name == clock_of(schema) and not clock:
                self.notes.append("not all have times: they come one after the other, without times")
            elif all(held) or column.name in self.defaults:
                self.columns.append(column)
            else:
                self.notes.append(f"not all have the column {column.name}: it is left out")

    def chunks(self, opened: Opened, place: int) -> Iterator[Chunk]:
        """Those of one trace, by its place among all."""
        ids = {name for _, names in IDS[self.schema.name] for name in names}
        for chunk in opened.chunks():
            made: Chunk = {}
            for column in self.columns:
                if self.separate and column.name == "asid":
                    made["asid"] = np.full(length(chunk), place, np.uint16)
                elif column.name not in chunk:
                    made[column.name] = np.full(length(chunk), self.defaults[column.name], column.dtype)
                elif self.separate and column.name in ids and self.schema.name != "access":
                    made[column.name] = _apart(chunk[column.name], place)
                else:
                    made[column.name] = chunk[column.name]
            yield made


def _apart(held: Any, place: int) -> Any:
    if isinstance(held, Ragged):
        return Ragged(scattered(held.values, place), held.offsets)
    return scattered(held, place)


def _refuse_others(opened: Sequence[Opened]) -> None:
    schema = opened[0].schema
    for one in opened:
        if one.schema.name in UNMERGED:
            raise TraceError(
                f"{one.name} is a trace of {one.schema.name} records, which cannot be merged: "
                f"{UNMERGED[one.schema.name]}",
                None,
                "replay them one by one",
            )
        if one.schema is not schema:
            raise TraceError(
                f"{one.name} has {one.schema.name} records, and {opened[0].name} has {schema.name} records",
                None,
                "merge what is alike",
            )


def _first(opened: Opened) -> Chunk:
    """The first chunk, which tells the columns."""
    chunks = opened.found.records() if isinstance(opened.found, Foreign) else opened.found.chunks(1)
    return next(chunks)


def _refuse_collisions(opened: Sequence[Opened]) -> None:
    for what, columns in IDS[opened[0].schema.name]:
        seen: NDArray[np.uint64] = np.empty(0, np.uint64)
        for one in opened:
            keys = _keys(one, columns)
            both = np.intersect1d(seen, keys)
            if len(both):
                raise TraceError(
                    f"{one.name} has {len(both):,} {what} that a trace before it has too, such as {int(both[0])}",
                    None,
                    "say --same-ids if these are the same, or --separate-ids to keep them apart",
                )
            seen = np.union1d(seen, keys)


def _keys(opened: Opened, columns: Sequence[str]) -> NDArray[np.uint64]:
    """All that some columns of a trace name."""

    def named() -> Iterator[Chunk]:
        for chunk in opened.chunks():
            for column in columns:
                held = chunk.get(column, ())
                values = held.values if isinstance(held, Ragged) else held
                if len(values):
                    yield {"id": values}

    pieces = named()
    first = next(pieces, None)
    return np.empty(0, np.uint64) if first is None else number_requests(chain([first], pieces)).keys


def _in_turn(streams: Sequence[Iterator[Chunk]], opened: Sequence[Opened], to: Out) -> Iterator[Chunk]:
    """The records one trace after the other; what is executed after the last of one counts to the first of the next."""
    waiting = 0
    for stream, one in zip(streams, opened, strict=True):
        gaps = 0
        for chunk in stream:
            gaps += _gaps(chunk)
            if waiting and length(chunk):
                chunk["gap"] = chunk["gap"].copy()
                if int(chunk["gap"][0]) + waiting >= GAP:
                    raise TraceError(
                        f"2**32 instructions or more lie before the first access of {one.name}",
                        None,
                        "cut the end of the trace before it",
                    )
                chunk["gap"][0] += np.uint32(waiting)
                waiting = 0
            yield chunk
        waiting += _tail(one, gaps)
    to.tail_instructions = waiting


def _by_time(streams: list[Iterator[Chunk]], opened: Sequence[Opened], clock: str) -> Iterator[Chunk]:
    """The records of all in order of time, those of the same time in the order of the files."""
    held: list[Chunk | None] = [next(stream, None) for stream in streams]
    live = [chunk is not None for chunk in held]
    last = [0] * len(streams)
    while any(live):
        for place, chunk in enumerate(held):
            if chunk is not None and length(chunk):
                _forward(chunk[clock], opened[place].name)
                last[place] = int(chunk[clock][-1])
        next_up = min((place for place in range(len(held)) if live[place]), key=lambda place: last[place])
        ready = []
        for place, chunk in enumerate(held):
            if chunk is not None:
                # more at this very time may follow, of files that come first
                cut = int(np.searchsorted(chunk[clock], last[next_up], side="left"))
                ready.append({name: values[:cut] for name, values in chunk.items()})
                held[place] = {name: values[cut:] for name, values in chunk.items()}
        yield from _sorted(ready, clock)
        more = next(streams[next_up], None)
        if more is None:
            live[next_up] = False
        else:
            held[next_up] = _joined([held[next_up], more])
    yield from _sorted([chunk for chunk in held if chunk is not None], clock)


def _forward(time: NDArray[np.int64], name: str) -> None:
    if (np.diff(time) < 0).any():
        raise TraceError(
            f"{name}: time goes back, and what is merged by time must be in order",
            None,
            "`tiersim traces check` tells where",
        )


def _joined(pieces: Sequence[Chunk | None]) -> Chunk:
    held = [piece for piece in pieces if piece is not None]
    return {name: joined([piece[name] for piece in held]) for name in held[0]}


def _sorted(pieces: list[Chunk], clock: str) -> Iterator[Chunk]:
    if pieces and any(map(length, pieces)):
        whole = _joined(pieces)
        yield picked(whole, np.argsort(whole[clock], kind="stable"))
