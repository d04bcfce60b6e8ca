"""Whether a trace can be trusted, and what it is like: `tiersim traces check` and `info`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.experiments.progress import Bar, reading
from tiersim.sim import kernels
from tiersim.sim.requests import Requests, number_requests
from tiersim.sim.stack_distance import lru_curve
from tiersim.traces.catalogue import bundled
from tiersim.traces.chunks import length
from tiersim.traces.compression import ByteFile
from tiersim.traces.foreign import Foreign
from tiersim.traces.generated import GeneratedTrace
from tiersim.traces.load import as_listed, located
from tiersim.traces.readers.contract import HEAD
from tiersim.traces.schema import SCHEMAS, Chunk, Schema
from tiersim.traces.store import StoredTrace, sha256_of

__all__ = ["Check", "Info", "Opened", "check_trace", "duration", "lines_of", "open_records", "trace_info"]

CHUNK: Final = 1 << 16
PIECE: Final = 1 << 20
LINE: Final = 64  # bytes
PICKLES: Final = tuple(bytes((0x80, version)) for version in range(2, 6))
BAD_ZIP: Final = (zipfile.BadZipFile, OSError, NotImplementedError, ValueError)
SUFFIXES: Final = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
# what an optional column says when it says nothing
DEFAULTS: Final = {"size": 1, "op": 0, "ttl": 0, "tenant": 0, "cost": 1.0, "gap": 0, "asid": 0, "core": 0}
FEW_TIMES: Final = 2  # a clock ticks seldom where there are so many records or more to a tick
SMALL: Final = 16  # ids are numbers given one after the other if none is larger than so many times their count
QUANTILES: Final = (10, 25, 50, 75, 90, 99)
EXACT: Final = 1 << 20  # distances told apart; beyond, neighbours on a logarithmic scale are taken as one
RANKS: Final = 200  # points of the fit, evenly on the logarithmic scale so that the many rare objects do not rule it
LEAST_COUNT: Final = 5  # requests of an object that takes part in the fit: fewer and the ranks are stairs
WINDOWS: Final = 1000  # of time
PARTS: Final = 50  # of the trace, by records


@dataclass
class Opened:
    """A trace that is ready to be read: the reader's name, the schema, and what makes its chunks."""

    name: str
    format: str
    schema: Schema
    path: Path | None
    found: StoredTrace | GeneratedTrace | Foreign
    quiet: bool = True

    def chunks(self) -> Iterator[Chunk]:
        """Every record. Raises TraceError where the file is damaged; all records before are delivered."""
        if isinstance(self.found, Foreign):
            with reading(self.name) as progress:
                yield from self.found.records(None if self.quiet else progress)
            return
        with Bar(f"reading {self.name}", self.found.records, "records", quiet=self.quiet) as bar:
            for chunk in self.found.chunks(CHUNK):
                yield chunk
                bar.add(length(chunk))


def open_records(trace: str | Path, format: str | None = None, quiet: bool = True, **options: Any) -> Opened:
    """The trace of a name or a path, read as it stands and never stored.

    Raises TraceError when it is missing, damaged, a pickle, or of no known format; StudyError for unknown options.
    """
    format, options = as_listed(trace, format, options)
    found = located(trace, options, format)
    if isinstance(found, Path):
        _refuse_pickles(found)
        foreign = Foreign(found, format, options)
        return Opened(found.name, foreign.chosen, foreign.schema, found, foreign, quiet)
    assert isinstance(found, (StoredTrace, GeneratedTrace))
    kind = "generated" if isinstance(found, GeneratedTrace) else "tiersim"
    return Opened(found.name, kind, SCHEMAS[found.schema], found.path, found, quiet)


def _refuse_pickles(path: Path) -> None:
    with ByteFile(path) as file:
        try:
            head = file.read(HEAD)
        except TraceError:
            return  # what reads it next tells more
    inside = ""
    if head.startswith(b"PK\x03\x04"):
        with suppress(*BAD_ZIP), zipfile.ZipFile(path) as held:
            inside = next((name for name in held.namelist() if name.endswith((".pkl", ".pickle"))), "")
    if head.startswith(PICKLES) or inside:
        raise TraceError(
            f"{path.name} {f'holds {inside}, which is' if inside else 'is'} a Python pickle, and to open one runs "
            "whatever code is in it",
            None,
            "tiersim opens none; have whoever made it write CSV, JSON lines or Parquet",
        )


# check


@dataclass
class Check:
    """What `check_trace` finds: errors mean that the trace cannot be used as it is, warnings that care is needed."""

    format: str | None = None
    records: int = 0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `tiersim traces check --json` prints."""
        return asdict(self)


def check_trace(trace: str | Path, *, format: str | None = None, quiet: bool = True, **options: Any) -> Check:
    """Read every record of a trace, and tell what is wrong and what is odd.

    ``errors`` holds what `load_trace` would raise: a trace that is missing, cut off, damaged, of no known format.
    Raises StudyError for options that are not known.
    """
    result = Check()
    try:
        opened = open_records(trace, format, quiet, **options)
        result.format = opened.format
        _check_file(opened, result)
        _check_records(opened, result)
    except TraceError as error:
        result.errors.append(" ".join(f"{error.message}. {error.remedy}".split()).removesuffix("."))
    return result


def _check_file(opened: Opened, result: Check) -> None:
    path = opened.path
    if path is None:
        return
    known = bundled().get(opened.name)
    if known is not None and sha256_of(path) != known.sha256:
        result.errors.append(
            f"{path} is not the file that tiersim came with: its sha256 differs. Install tiersim again"
        )
    if not isinstance(opened.found, Foreign):
        return
    packing, said = opened.found.packing, SUFFIXES.get(path.suffix.lower(), "")
    if packing != said:
        is_ = f"is packed with {packing}" if packing else "is not packed"
        name = f"its name ends in {path.suffix}" if said else "its name does not say so"
        result.warnings.append(f"{path.name} {is_}, and {name}: other tools may fail on it")
    text = opened.found.head
    if not packing and b"\n" in text and b"\0" not in text:
        with path.open("rb") as file:
            file.seek(-1, 2)
            if file.read() != b"\n":
                result.warnings.append(
                    f"{path.name} does not end in a line end: the last record may be cut short; compare its size with "
                    "that of the original"
                )


def _check_records(opened: Opened, result: Check) -> None:
    tally = _Tally(opened.schema)
    fault: list[TraceError] = []

    def seen() -> Iterator[Chunk]:
        """What is numbered of each chunk; a fault ends the records and not the account of those before it."""
        try:
            for chunk in opened.chunks():
                tally.add(chunk)
                result.records += length(chunk)
                if part := _numbered(opened.schema, chunk, ("size",)):
                    yield part
        except TraceError as error:
            fault.append(error)

    try:
        requests = number_requests(seen(), times=False)
    except TraceError:
        if not fault and _has_keys(opened.schema):
            raise
        requests = None  # of no schema that has keys, or broken before the first record
    if isinstance(opened.found, StoredTrace):
        told = [opened.found.kinds[name] for name in opened.schema.kinds]
        if not fault and told != tally.kinds.tolist():
            result.errors.append(f"{opened.name} says that it holds other kinds of records than it does. Make it again")
    result.warnings += tally.warnings()
    if requests is not None:
        result.warnings += _of_objects(opened.schema, requests, tally)
    if fault:
        raise fault[0]


def _has_keys(schema: Schema) -> bool:
    return schema.name in ("access", "object")


def _numbered(schema: Schema, chunk: Chunk, columns: tuple[str, ...] = ()) -> Chunk:
    """A chunk as requests for objects: those of memory for each line of 64 bytes that they touch."""
    if schema.name == "access":
        return {"id": lines_of(chunk)}
    if schema.name == "object":
        return {name: chunk[name] for name in ("id", *columns) if name in chunk}
    return {}


def lines_of(chunk: Chunk) -> NDArray[np.uint64]:
    """The lines of 64 bytes that accesses touch, in order; one that crosses into another line touches both."""
    first: NDArray[np.uint64] = chunk["address"] // np.uint64(LINE)
    many = (chunk["address"] % np.uint64(LINE)).astype(np.int64) + chunk["size"].astype(np.int64) - 1
    many //= LINE
    if not many.any():
        return first
    step = np.arange(int(many.sum()) + len(many)) - np.repeat(np.cumsum(many + 1) - many - 1, many + 1)
    made: NDArray[np.uint64] = np.repeat(first, many + 1) + step.astype(np.uint64)
    return made


class _Tally:
    """What can be told of records in the order in which they come, in bounded memory."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.records = 0
        self.kinds = schema.tally({})
        self.silent: set[str] = set()  # columns of nothing but their default
        self.empty = 0
        self.clock = next((column.name for column in schema.columns if column.unit == "ns"), "")
        self.timed = False
        self.ticks = self.back = self.first_back = self.furthest = self.restarts = self.step = 0
        self.last: int | None = None
        self.latest = 0

    def add(self, chunk: Chunk) -> None:
        self.kinds = self.kinds + self.schema.tally(chunk)
        if not self.records:
            self.silent = {name for name in chunk if name in DEFAULTS}
        self.silent = {name for name in self.silent if bool((chunk[name] == DEFAULTS[name]).all())}
        if self.schema.name == "object" and "size" in chunk:
            self.empty += int((chunk["size"] == 0).sum())
        if self.clock in chunk and length(chunk):
            self._times(chunk[self.clock].astype(np.int64))
        self.records += length(chunk)

    def _times(self, time: NDArray[np.int64]) -> None:
        self.timed = True
        with_last = time if self.last is None else np.concatenate([[self.last], time])
        steps = np.diff(with_last)
        self.ticks += int(np.count_nonzero(steps)) + (self.last is None)
        self.step = int(np.gcd(self.step, np.gcd.reduce(np.abs(steps)))) if len(steps) else self.step
        backwards = np.flatnonzero(steps < 0)
        if len(backwards):
            if not self.back:
                self.first_back = self.records + int(backwards[0]) + (1 if self.last is not None else 2)
            self.back += len(backwards)
            self.furthest = max(self.furthest, int(-steps[backwards].min()))
            # to less than half of where it was: as where one file ends and another begins
            reached = np.maximum.accumulate(np.maximum(with_last, self.latest))
            self.restarts += int((with_last[backwards + 1] < reached[backwards] / 2).sum())
        self.latest = max(self.latest, int(time.max()))
        self.last = int(time[-1])

    def warnings(self) -> list[str]:
        out = []
        if self.back:
            out.append(
                f"time goes back {self.back:,} times, first at record {self.first_back:,}, by up to "
                f"{duration(self.furthest)}: replays take records in their order; sort them if that is wrong"
            )
        if self.timed and self.records > 1 and self.ticks * FEW_TIMES <= self.records:
            most = "at most " if self.back else ""
            times = "time" if self.ticks == 1 else "times"
            step = f", in steps of {duration(self.step)}" if self.step else ""
            out.append(
                f"the clock is coarse: {most}{self.ticks:,} different {times} in {self.records:,} records{step}; what "
                "happens within a step has no times of its own"
            )
        if self.empty:
            out.append(
                f"{self.empty:,} of {self.records:,} records have a size of 0 bytes: caches hold them for nothing, and "
                "other simulators leave them out"
            )
        if self.records:
            for name in sorted(self.silent):
                why = "; misses per instruction cannot be told" if name == "gap" else ""
                out.append(f"the column {name} says nothing: it is {DEFAULTS[name]:g} in every record{why}")
        return out


def _of_objects(schema: Schema, requests: Requests, tally: _Tally) -> list[str]:
    out = []
    what = "line of 64 bytes" if schema.name == "access" else "object"
    if requests.objects == len(requests):
        out.append(f"there is no reuse: not one {what} is asked for twice, so that no cache can ever hit")
    if requests.size is not None:
        first = np.full(requests.objects, -1, np.int64)
        other = np.zeros(requests.objects, bool)
        for part in _pieces(requests):
            ids, size = requests.ids[part], requests.size[part]
            kernels.first_sizes(ids, size, first)
            other[ids[size != first[ids]]] = True
        if changing := int(other.sum()):
            out.append(
                f"{changing:,} of {requests.objects:,} objects change their size: what counts is said in the "
                "specification of object caches, and other simulators differ"
            )
    if schema.name == "object" and tally.restarts and int(requests.keys.max()) < SMALL * requests.objects:
        out.append(
            f"time starts again {tally.restarts:,} times and ids are small numbers: these may be several files one "
            "after the other, whose equal ids are not the same objects; `tiersim traces merge --separate-ids` keeps "
            "them apart"
        )
    return out


def _pieces(requests: Requests) -> Iterator[slice]:
    return (slice(at, min(at + PIECE, len(requests))) for at in range(0, len(requests), PIECE))


def duration(ns: int) -> str:
    """A time as a person reads it: 250 ms, 1 s."""
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")):
        if ns >= size:
            return f"{ns / size:,.4g} {unit}" if ns < 1000 * size or unit != "s" else f"{ns / size:,.0f} s"
    return f"{ns} ns"


# info


@dataclass
class Popularity:
    """How unequal objects are: the share of requests for the most popular 1 %, and the slope of Zipf's law.

    The slope is of log requests over log rank, by least squares over ranks `first` to `last` evenly on the logarithmic
    scale; None where too few objects are asked for often enough.
    """

    top_share: float
    zipf_slope: float | None = None
    first: int | None = None
    last: int | None = None


@dataclass
class Burstiness:
    """Variance over mean of the records in each of `windows` windows of time; 1 where arrivals are independent."""

    window_ns: int
    windows: int
    index: float


@dataclass
class Info:
    """A trace's fingerprint. ``objects`` are lines of 64 bytes where the records are accesses.

    ``reuse`` has the share of requests whose object was asked for before and quantiles, in per cent, of their reuse
    distance: the different objects asked for since, the object itself included. ``working_set`` has for each of equal
    parts of the records where it ends and how many different objects, and bytes where sizes are known, are asked for.
    """

    trace: str
    format: str
    schema: str
    records: int
    kinds: dict[str, int]
    requests: int
    objects: int
    unit: str
    footprint: int | None
    span_ns: int | None
    reuse: dict[str, Any]
    popularity: Popularity
    burstiness: Burstiness | None
    working_set: list[dict[str, int]]
    notes: list[str] = field(default_factory=list)
    drawn: dict[str, Any] = field(default_factory=dict, repr=False)  # what figures need and --json does not show

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `tiersim traces info --json` prints."""
        made = asdict(self)
        del made["drawn"]
        return made


def trace_info(trace: str | Path, *, format: str | None = None, quiet: bool = True, **options: Any) -> Info:
    """What a trace of accesses or of requests for objects is like, from all of its records.

    Raises TraceError when it cannot be read to its end, or has records of another kind.
    """
    opened = open_records(trace, format, quiet, **options)
    schema = opened.schema
    if not _has_keys(schema):
        raise TraceError(
            f"{opened.name} is a trace of {schema.name} records, in which nothing is asked for by a key",
            None,
            "`tiersim traces check` reads it",
        )
    tally = _Tally(schema)
    seen = _seen(opened, tally)
    requests = number_requests(seen)
    sizes = requests.size is not None
    footprint = requests.objects * LINE if schema.name == "access" else requests.footprint if sizes else None
    counts = np.zeros(requests.objects, np.int64)
    for part in _pieces(requests):
        counts += np.bincount(requests.ids[part], minlength=requests.objects)
    reuse, curve = _reuse(requests)
    popularity, ranks = _popularity(counts)
    low, high = _span(requests)
    notes = []
    if sizes and len(requests) > requests.objects:
        notes.append("the footprint has each object at the size that it has first")
    return Info(
        opened.name,
        opened.format,
        schema.name,
        tally.records,
        {name: int(count) for name, count in zip(schema.kinds, tally.kinds, strict=True) if count},
        len(requests),
        requests.objects,
        f"lines of {LINE} bytes" if schema.name == "access" else "objects",
        footprint,
        high - low if tally.timed else None,
        reuse,
        popularity,
        _burstiness(requests, low, high, tally.step) if tally.timed and high > low else None,
        _working_set(requests),
        notes,
        {"curve": curve, "ranks": ranks},
    )


def _seen(opened: Opened, tally: _Tally) -> Iterator[Chunk]:
    for chunk in opened.chunks():
        tally.add(chunk)
        yield _numbered(opened.schema, chunk, ("size", "time"))


def _reuse(requests: Requests) -> tuple[dict[str, Any], tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """What `Info.reuse` has, and the share of all requests within each distance."""
    top = requests.objects
    distances = np.arange(1, top + 1) if top <= EXACT else np.unique(np.geomspace(1, top, EXACT).round().astype(int))
    plain = Requests(requests.ids, requests.keys)  # order is all that counts: no sizes, no kinds
    within = len(requests) - lru_curve(plain, distances.astype(np.int64)).misses
    again = int(within[-1])
    quantiles = {
        str(percent): int(distances[np.searchsorted(within, again * percent / 100)]) if again else None
        for percent in QUANTILES
    }
    return {"share": again / len(requests), "quantiles": quantiles}, (distances, within / len(requests))


def _popularity(counts: NDArray[np.int64]) -> tuple[Popularity, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The popularity, and the requests by rank at points of the logarithmic scale."""
    ordered = np.sort(counts)[::-1]
    top = -(-len(ordered) // 100)
    made = Popularity(float(ordered[:top].sum() / ordered.sum()))
    last = int(np.searchsorted(-ordered, -LEAST_COUNT, side="right"))  # ranks with so many requests or more
    if last >= 10:
        ranks = np.unique(np.geomspace(1, last, RANKS).round().astype(np.int64))
        slope = np.polyfit(np.log(ranks), np.log(ordered[ranks - 1]), 1)[0]
        made.zipf_slope, made.first, made.last = round(float(-slope), 9) + 0.0, 1, last  # and never -0
    points = np.unique(np.geomspace(1, len(ordered), RANKS).round().astype(np.int64))
    return made, (points, ordered[points - 1])


def _span(requests: Requests) -> tuple[int, int]:
    if requests.time is None:
        return 0, 0
    times = [requests.time[part] for part in _pieces(requests)]
    return min(int(time.min()) for time in times), max(int(time.max()) for time in times)


def _burstiness(requests: Requests, low: int, high: int, step: int) -> Burstiness:
    """Of windows that are whole steps of the clock, so that none has more ticks than another."""
    step = max(step, 1)
    window = -(-(high - low + 1) // WINDOWS // step) * step or step
    window = max(window, step)
    windows = max((high - low + step) // window, 1)  # whole ones only
    counts = np.zeros(windows, np.int64)
    assert requests.time is not None
    for part in _pieces(requests):
        place = (requests.time[part] - low) // window
        counts += np.bincount(place[place < windows], minlength=windows)
    return Burstiness(int(window), int(windows), float(counts.var() / max(counts.mean(), 1e-300)))


def _working_set(requests: Requests) -> list[dict[str, int]]:
    count = min(PARTS, len(requests))
    ends = [len(requests) * step // count for step in range(count + 1)]
    out = []
    for begin, end in pairwise(ends):
        ids, first = np.unique(requests.ids[begin:end], return_index=True)
        row = {"end": end, "objects": len(ids)}
        if requests.size is not None:
            row["bytes"] = int(requests.size[begin:end][first].sum())
        out.append(row)
    return out
