"""Traces made of traces: `tiersim traces convert`, `sample`, `split`, `merge` and `annotate`.

What is written has its name once it is whole, and nothing that exists is overwritten.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TraceError
from tiersim.experiments.doctor.access_object import LINE
from tiersim.experiments.doctor.tally import DEFAULTS
from tiersim.experiments.miss_ratio_curve import miss_ratio_curve
from tiersim.experiments.trace_doctor import Opened, open_records
from tiersim.sim.requests import NEVER, number_requests, scattered
from tiersim.traces.chunks import length
from tiersim.traces.foreign import Foreign
from tiersim.traces.readers.oracle_general import RECORD
from tiersim.traces.schema import OPS, SET, Chunk, Schema
from tiersim.traces.store import StoredTrace, Writer, sha256_of

__all__ = ["Made", "annotate", "convert", "merge", "sample", "split"]

ORACLE: Final = (".oraclegeneral", ".oraclegeneral.bin")
LOST: Final = ("op", "ttl", "tenant", "cost")  # have no place in oracleGeneral
PIECE: Final = 1 << 20
SECOND: Final = 10**9
POINTS: Final = 10  # sizes at which the error of a sample is told
FORMS: Final = ".parquet (tiersim's own), .csv, .oracleGeneral or .oracleGeneral.bin (libCacheSim)"


@dataclass
class Made:
    """What was written: paths, records in all, and what to know about them."""

    paths: list[Path] = field(default_factory=list)
    records: int = 0
    notes: list[str] = field(default_factory=list)


class _Out(Protocol):
    notes: list[str]
    tail_instructions: int

    def append(self, chunk: Chunk) -> None:
        """Add records."""


# what is written


@contextmanager
def _writing(path: Path, schema: Schema, provenance: dict[str, Any]) -> Iterator[_Out]:
    """What takes the records of a file; the name says its form. Raises StudyError for other names and what exists."""
    _free(path)
    name = path.name.lower()
    if name.endswith(".parquet"):
        with Writer(path, schema=schema, provenance=provenance) as out:
            own = _Parquet(out)
            yield own
            out.tail_instructions = own.tail_instructions
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with draft.open("w+b") as file:
            made = _Oracle(file, path, schema) if name.endswith(ORACLE) else _Csv(file, path, schema)
            yield made
            made.finish()
        draft.replace(path)
    except OSError as error:
        raise TraceError(
            f"{path} cannot be written: {error.strerror or error}", None, "choose a folder with room to write"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def _free(path: Path) -> None:
    if not path.name.lower().endswith((".parquet", ".csv", *ORACLE)):
        raise StudyError(f"{path.name!r} does not tell in which form it is to be written", None, f"end it in {FORMS}")
    if path.exists() or path.is_symlink():
        raise StudyError(f"{path} exists already, and nothing is overwritten", None, "remove it, or name another")
    if not path.parent.is_dir():
        raise StudyError(f"there is no folder {path.parent}", None, "make it first")


class _Parquet:
    def __init__(self, out: Writer) -> None:
        self.out = out
        self.notes: list[str] = []
        self.tail_instructions = 0

    def append(self, chunk: Chunk) -> None:
        self.out.append(chunk)


class _Csv:
    """A table with a header; times are seconds with nine decimals, kinds and operations are words."""

    def __init__(self, file: IO[bytes], path: Path, schema: Schema) -> None:
        self.file, self.path, self.schema = file, path, schema
        self.notes: list[str] = []
        if schema.name != "object":
            self.notes.append(f"tiersim does not read CSV of {schema.name} records again: for that write .parquet")
        self.tail_instructions = 0
        self._out: Any = None

    def append(self, chunk: Chunk) -> None:
        columns: dict[str, Any] = {}
        for column in self.schema.present(chunk):
            values = chunk[column.name]
            if values.dtype == object:
                raise TraceError(
                    f"{self.path.name}: the column {column.name} holds lists, which have no place in a table",
                    None,
                    "write .parquet",
                )
            if column.unit == "ns":
                columns[column.name] = _seconds(values)
            elif column.name == self.schema.kind:
                words = pa.DictionaryArray.from_arrays(values.astype(np.int8), list(self.schema.kinds))
                columns[column.name] = words.dictionary_decode()
            else:
                columns[column.name] = values
        if list(columns) == ["id"]:  # a table of keys alone does not tell that it is one
            columns["size"] = np.ones(length(chunk), np.int64)
        made = pa.table(columns)
        if self._out is None:
            self._out = pcsv.CSVWriter(self.file, made.schema, write_options=pcsv.WriteOptions(quoting_style="none"))
        self._out.write_table(made)

    def finish(self) -> None:
        if self._out is None:
            raise TraceError(f"{self.path.name}: not one record to write")
        self._out.close()


def _seconds(ns: NDArray[np.int64]) -> Any:
    """Nanoseconds as numbers of seconds with nine decimals, as text: exact, and without an exponent."""
    whole, rest = (pc.cast(pa.array(part), pa.string()) for part in (ns // SECOND, ns % SECOND))
    return pc.binary_join_element_wise(whole, pc.utf8_lpad(rest, 9, "0"), ".")


class _Oracle:
    """libCacheSim's oracleGeneral, with the next request for each object, which is filled in at the end."""

    def __init__(self, file: IO[bytes], path: Path, schema: Schema) -> None:
        if schema.name != "object":
            raise StudyError(
                f"{path.name}: oracleGeneral is for requests for objects, and these are {schema.name} records",
                None,
                "write .parquet",
            )
        self.file, self.path = file, path
        self.records = 0
        self.notes: list[str] = []
        self.tail_instructions = 0

    def append(self, chunk: Chunk) -> None:
        if "op" in chunk and (other := chunk["op"] > SET).any():
            at = int(np.argmax(other))
            raise TraceError(
                f"record {self.records + at + 1:,} is a {OPS[int(chunk['op'][at])]}, and in oracleGeneral every record "
                "is a request",
                None,
                "write .parquet or .csv",
            )
        rows = np.empty(length(chunk), RECORD)
        rows["id"], rows["next"] = chunk["id"], -1
        rows["time"] = self._fit(chunk, "time", SECOND, 0)
        rows["size"] = self._fit(chunk, "size", 1, 1)
        rows.tofile(self.file)
        self.records += len(rows)
        lost = [name for name in LOST if name in chunk and (chunk[name] != DEFAULTS["object"][name]).any()]
        said = [f"{name} has no place in oracleGeneral, and is left out" for name in lost]
        if "time" in chunk and (chunk["time"] % SECOND).any():
            said.append("times are whole seconds in oracleGeneral: what is less is cut off")
        self.notes += [text for text in said if text not in self.notes]

    def _fit(self, chunk: Chunk, name: str, unit: int, absent: int) -> Any:
        if name not in chunk:
            return absent
        values = chunk[name] // unit
        if ((values < 0) | (values >= 1 << 32)).any():
            at = int(np.argmax((values < 0) | (values >= 1 << 32)))
            raise TraceError(
                f"record {self.records + at + 1:,} has a {name} of {values[at]:,}, and oracleGeneral has 32 bits for "
                "one",
                None,
                "write .parquet or .csv",
            )
        return values

    def finish(self) -> None:
        if not self.records:
            raise TraceError(f"{self.path.name}: not one record to write")
        self.file.flush()
        rows = np.memmap(self.file, RECORD, "r+")
        pieces = (slice(at, at + PIECE) for at in range(0, len(rows), PIECE))
        requests = number_requests({"id": rows["id"][part]} for part in pieces)
        after = requests.next_use
        for at in range(0, len(rows), PIECE):
            part = after[at : at + PIECE]
            rows["next"][at : at + PIECE] = np.where(part == NEVER, -1, part)
        rows.flush()


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


def convert(trace: str | Path, out: Path, *, format: str | None = None, quiet: bool = True, **options: Any) -> Made:
    """Write a trace in the form that the name of `out` says: .parquet, .csv or .oracleGeneral.

    Raises TraceError when the trace is damaged or does not fit, StudyError when `out` exists or has another name.
    """
    _free(out)
    opened = open_records(trace, format, quiet, **options)
    result, gaps = Made([out]), 0
    with _writing(out, opened.schema, _about("convert", [opened])) as to:
        for chunk in opened.chunks():
            to.append(chunk)
            result.records += length(chunk)
            gaps += _gaps(chunk)
        to.tail_instructions = _tail(opened, gaps)
    result.notes = to.notes
    return result


def annotate(trace: str | Path, out: Path, *, format: str | None = None, quiet: bool = True, **options: Any) -> Made:
    """Write requests for objects with the number of the next request for the same object, as oracleGeneral.

    Raises as `convert` does.
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

    Of accesses the lines of 64 bytes are drawn, and instructions between are kept. The notes say the standard error of
    LRU's miss ratios as estimated from this sample, from its disjoint parts. Raises as `convert` does.
    """
    if not 0 < share < 1:
        raise StudyError(f"a sample of {100 * share:g} % is no part of the objects", None, "give a share such as 1%")
    _free(out)
    opened = open_records(trace, format, quiet, **options)
    _needs_keys(opened)
    result = Made([out])
    about = _about("sample", [opened]) | {"share": share, "seed": seed}
    with _writing(out, opened.schema, about) as to:
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

    def __init__(self, to: _Out, share: float, seed: int, schema: str) -> None:
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


def _needs_keys(opened: Opened) -> None:
    if opened.schema.name not in ("access", "object"):
        raise TraceError(
            f"{opened.name} is a trace of {opened.schema.name} records, which have no key to do this by",
            None,
            "convert and split take any trace",
        )


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
            with _writing(path, opened.schema, about | {"part": number}) as to:
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

    Equal ids in two of them are refused, unless they are the same objects (`same_ids`) or are to be kept apart
    (`separate_ids`): then an id is hashed with the number of its file, and accesses get its number as address space.
    Raises TraceError, also where records are of different kinds or time goes back, and StudyError.
    """
    if len(traces) < 2:
        raise StudyError("a merge takes two traces or more, and the file to write last")
    if same_ids and separate_ids:
        raise StudyError("ids are the same or are kept apart: give one of --same-ids and --separate-ids")
    _free(out)
    opened = [open_records(trace, format, quiet, **options) for trace in traces]
    schema = opened[0].schema
    for one in opened:
        _needs_keys(one)
        if one.schema is not schema:
            raise TraceError(
                f"{one.name} has {one.schema.name} records, and {opened[0].name} has {schema.name} records",
                None,
                "merge what is alike",
            )
    firsts = [_first(one) for one in opened]
    if separate_ids and any("asid" in first for first in firsts):
        raise TraceError("these accesses have address spaces already", None, "merge them with --same-ids")
    if not same_ids and not separate_ids:
        _refuse_collisions(opened)
    clock = "time" if all("time" in first for first in firsts) else ""
    result = Made([out])
    if not clock and any("time" in first for first in firsts):
        result.notes.append("not all have times: they come one after the other, without times")
    names = [column.name for column in schema.columns if any(column.name in first for first in firsts)]
    if separate_ids and schema.name == "access":
        names.append("asid")
    columns = [column for column in schema.columns if column.name in names and (clock or column.name != "time")]

    def alike(place: int) -> Iterator[Chunk]:
        """The chunks of one, with the columns of all."""
        for chunk in opened[place].chunks():
            count = length(chunk)
            made = {
                column.name: chunk[column.name]
                if column.name in chunk
                else np.full(count, DEFAULTS[schema.name][column.name], column.dtype)
                for column in columns
            }
            if separate_ids and schema.name == "object":
                made["id"] = scattered(made["id"], place)
            elif separate_ids:
                made["asid"] = np.full(count, place, np.uint16)
            yield made

    streams = [alike(place) for place in range(len(opened))]
    gaps = 0
    about = _about("merge", opened) | {"ids": "separate" if separate_ids else "as they are"}
    with _writing(out, schema, about) as to:
        for chunk in _by_time(streams, opened) if clock else (chunk for stream in streams for chunk in stream):
            to.append(chunk)
            result.records += length(chunk)
            gaps += _gaps(chunk)
        to.tail_instructions = _tail(opened[-1], gaps) if isinstance(opened[-1].found, Foreign) else 0
    result.notes += to.notes
    result.notes.append("merged by time" if clock else "one after the other")
    return result


def _first(opened: Opened) -> Chunk:
    """The first chunk, which tells the columns."""
    chunks = opened.found.records() if isinstance(opened.found, Foreign) else opened.found.chunks(1)
    return next(chunks)


def _refuse_collisions(opened: Sequence[Opened]) -> None:
    seen: NDArray[np.uint64] = np.empty(0, np.uint64)
    for one in opened:
        key = "id" if one.schema.name == "object" else "address"
        keys = number_requests({"id": chunk[key]} for chunk in one.chunks()).keys
        both = np.intersect1d(seen, keys)
        if len(both):
            what = "ids" if key == "id" else "addresses"
            raise TraceError(
                f"{one.name} has {len(both):,} {what} that a trace before it has too, such as {int(both[0])}",
                None,
                "say --same-ids if these are the same objects, or --separate-ids to keep them apart",
            )
        seen = np.union1d(seen, keys)


def _by_time(streams: list[Iterator[Chunk]], opened: Sequence[Opened]) -> Iterator[Chunk]:
    """The records of all in order of time, those of the same time in the order of the files."""
    held: list[Chunk | None] = [next(stream, None) for stream in streams]
    live = [chunk is not None for chunk in held]
    last = [0] * len(streams)
    while any(live):
        for place, chunk in enumerate(held):
            if chunk is not None and length(chunk):
                _forward(chunk["time"], opened[place].name)
                last[place] = int(chunk["time"][-1])
        next_up = min((place for place in range(len(held)) if live[place]), key=lambda place: last[place])
        ready = []
        for place, chunk in enumerate(held):
            if chunk is not None:
                # more at this very time may follow, of files that come first
                cut = int(np.searchsorted(chunk["time"], last[next_up], side="left"))
                ready.append({name: values[:cut] for name, values in chunk.items()})
                held[place] = {name: values[cut:] for name, values in chunk.items()}
        yield from _sorted(ready)
        more = next(streams[next_up], None)
        if more is None:
            live[next_up] = False
        else:
            held[next_up] = _joined([held[next_up], more])
    yield from _sorted([chunk for chunk in held if chunk is not None])


def _forward(time: NDArray[np.int64], name: str) -> None:
    if (np.diff(time) < 0).any():
        raise TraceError(
            f"{name}: time goes back, and what is merged by time must be in order",
            None,
            "`tiersim traces check` tells where",
        )


def _joined(pieces: Sequence[Chunk | None]) -> Chunk:
    held = [piece for piece in pieces if piece is not None]
    return {name: np.concatenate([piece[name] for piece in held]) for name in held[0]}


def _sorted(pieces: list[Chunk]) -> Iterator[Chunk]:
    if pieces and any(map(length, pieces)):
        whole = _joined(pieces)
        order = np.argsort(whole["time"], kind="stable")
        yield {name: values[order] for name, values in whole.items()}
