"""Prepares an object trace for replay: keys become numbers once, and every policy and size runs over those."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.paths import cache_folder
from tiersim.sim import kernels

__all__ = [
    "NEVER",
    "Requests",
    "Source",
    "begin_requests",
    "number_requests",
    "prepare_requests",
    "requests_from",
    "scattered",
]

NEVER = (1 << 62) - 1  # as tiersim.policies.object.contract.NEVER
IN_MEMORY = 1 << 30  # bytes of columns; what is more goes to files
PIECE = 1 << 16  # requests read at a time: what is numbered next lies in the processor's cache
COLUMNS: dict[str, Any] = {
    "ids": np.int32,
    "size": np.int64,
    "time": np.int64,
    "op": np.uint8,
    "ttl": np.int64,
    "tenant": np.uint32,
    "cost": np.float64,
}
DEFAULTS: dict[str, Any] = {"size": 1, "time": -1, "op": 0, "ttl": 0, "tenant": 0, "cost": 1.0}
MOST_OBJECTS = 1 << 30


class _FileColumn:
    """A column that rests in a file and is read in pieces."""

    def __init__(self, path: Path, dtype: Any, length: int) -> None:
        self.path, self.dtype, self.length = path, np.dtype(dtype), length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, part: slice) -> NDArray[Any]:
        begin, end, _ = part.indices(self.length)
        return np.fromfile(self.path, self.dtype, end - begin, offset=begin * self.dtype.itemsize)


Column = Any  # NDArray, _FileColumn or _Arriving: all have a length and are read by slices


@dataclass(frozen=True)
class Requests:
    """A prepared object trace: ``ids`` by request, ``keys`` by object, and the columns that the trace has.

    Objects are numbered by first appearance, so that what is asked for together lies together. ``asked`` counts the
    requests of the trace, ``share`` of whose objects are here where it was sampled.
    """

    ids: Column
    keys: Column
    size: Column | None = None
    time: Column | None = None
    op: Column | None = None
    ttl: Column | None = None
    tenant: Column | None = None
    cost: Column | None = None
    asked: int = 0
    share: float = 1.0
    folder: Any = field(default=None, repr=False, compare=False)
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # what was derived, for all copies
    lock: Any = field(default_factory=Lock, repr=False, compare=False)  # threads may want what is derived at once

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def objects(self) -> int:
        """How many different objects there are."""
        return len(self.keys)

    @cached_property
    def footprint(self) -> int:
        """Bytes of all different objects, each at the size that it has first; their number where no size is known."""
        if self.size is None:
            return self.objects
        if "footprint" in self.kept:
            return int(self.kept["footprint"])
        first = np.full(self.objects, -1, np.int64)
        for begin in range(0, len(self), 1 << 20):
            part = slice(begin, begin + (1 << 20))
            kernels.first_sizes(self.ids[part], self.size[part], first)
        return int(first.sum())

    @property
    def least(self) -> int:
        """The smallest size of any request; 1 where no size is known."""
        if self.size is None:
            return 1
        if "least" not in self.kept:
            steps = range(0, len(self), 1 << 20)
            self.kept["least"] = min(int(self.size[at : at + (1 << 20)].min()) for at in steps)
        return int(self.kept["least"])

    @property
    def next_use(self) -> NDArray[np.int64]:
        """For each request the number of the next one for the same object, or NEVER."""
        with self.lock:
            if "next_use" not in self.kept:
                out = np.empty(len(self), np.int64)
                kernels.next_uses(self.ids[:], np.full(self.objects, NEVER, np.int64), NEVER, out)
                self.kept["next_use"] = out
        made: NDArray[np.int64] = self.kept["next_use"]
        return made

    def column(self, name: str) -> Column:
        """A column by its name in the contract of policies."""
        if name == "stream":
            return self.ids[:]
        held = getattr(self, name)
        assert held is not None, name
        return held

    def without_sizes(self) -> Requests:
        """The same requests where every object has the size one."""
        return replace(self, size=None)

    @property
    def expected(self) -> float:
        """How many requests a sample of this share should have: it has more or fewer as it drew favourites or not."""
        return self.asked * self.share if self.share < 1 else float(len(self))

    def parts(self, count: int, seed: int) -> list[Requests]:
        """A sample as so many disjoint samples of as large a part each; none where one would be empty."""
        group = (scattered(self.keys[:], seed + 1) % np.uint64(count))[self.ids[:]]
        chosen = [group == one for one in range(count)]
        if not all(part.any() for part in chosen):
            return []
        return [replace(self.where(part), asked=self.asked, share=self.share / count) for part in chosen]

    def where(self, chosen: NDArray[np.bool_]) -> Requests:
        """The requests that are chosen, with objects numbered anew."""
        ids = self.ids[:][chosen]
        held = {item.name: getattr(self, item.name) for item in fields(self) if item.name in COLUMNS}
        columns = {name: column[:][chosen] for name, column in held.items() if column is not None and name != "ids"}
        number = np.full(self.objects, -1, np.int32)
        known = kernels.renumber(ids, number)
        keys = np.empty(known, np.uint64)
        keys[number[number >= 0]] = self.keys[number >= 0]
        return Requests(number[ids], keys, **columns, asked=len(ids))


class _Numbering:
    """Keys seen so far, with a dictionary that grows between batches."""

    def __init__(self) -> None:
        self.known = 0
        self.keys = np.empty(1 << 12, np.uint64)
        self.places = np.full(1 << 13, -1, np.int32)

    def turn(self, key: NDArray[np.uint64], ids: NDArray[np.int32]) -> None:
        done = 0
        while done < len(key):
            # in pieces, so that a few objects asked for often do not make a dictionary for as many objects as requests
            part = key[done : done + max(1 << 16, len(self.places) // 4)]
            need = self.known + len(part)
            if need > len(self.keys):
                self.keys = np.concatenate([self.keys[: self.known], np.empty(max(need, self.known), np.uint64)])
            if 2 * need > len(self.places):
                self.places = np.full(1 << (2 * need - 1).bit_length(), -1, np.int32)
                kernels.replace_keys(self.keys, self.known, self.places)
            self.known = kernels.number_keys(part, self.places, self.keys, self.known, ids[done : done + len(part)])
            done += len(part)
        if self.known > MOST_OBJECTS:
            raise TraceError(f"the trace has more than {MOST_OBJECTS:,} different objects", None, "sample it")


class _Scratch:
    """A folder that goes when nobody holds it any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="scratch-", dir=cache_folder("requests")))
        self._end = weakref.finalize(self, shutil.rmtree, self.path, True)

    def remove(self) -> None:
        self._end()


class _Collector:
    """Columns as they come: in memory until they are too large, in files from then on.

    A column is kept from its first value on that is not the default, because one of defaults alone says nothing.
    """

    def __init__(self, most: int, expected: int) -> None:
        self.most, self.expected = most, expected
        self.length = 0
        self.held: dict[str, NDArray[Any]] = {}  # each with room for more than was written
        self.files: dict[str, IO[bytes]] = {}
        self.folder: _Scratch | None = _Scratch() if 4 * expected > most else None

    def room(self, more: int) -> NDArray[np.int32]:
        """Where the numbers of so many further requests go."""
        if self.folder is not None:
            return np.empty(more, np.int32)
        return self._column("ids", more)[self.length : self.length + more]

    def _column(self, name: str, more: int) -> NDArray[Any]:
        held = self.held.get(name)
        if held is None or len(held) < self.length + more:
            grown = np.empty(max(self.expected, 2 * self.length, self.length + more), COLUMNS[name])
            if held is not None:
                grown[: self.length] = held[: self.length]
            elif name != "ids":
                grown[: self.length] = DEFAULTS[name]
            self.held[name] = grown
        return self.held[name]

    def add(self, ids: NDArray[np.int32], columns: dict[str, NDArray[Any]]) -> None:
        """Take the numbers that were written to `room`, and the columns of the same requests."""
        count, end = len(ids), self.length + len(ids)
        known = self.held if self.folder is None else self.files
        for name in list(columns):
            if name not in known and bool((columns[name] == DEFAULTS[name]).all()):
                del columns[name]
        if self.folder is None:
            for name, values in columns.items():
                self._column(name, count)[self.length : end] = values
            for name in known.keys() - columns.keys() - {"ids"}:
                self._column(name, count)[self.length : end] = DEFAULTS[name]
        else:
            for name, values in {"ids": ids, **columns}.items():
                np.ascontiguousarray(values, COLUMNS[name]).tofile(self._file(name))
            for name in known.keys() - columns.keys() - {"ids"}:
                np.full(count, DEFAULTS[name], COLUMNS[name]).tofile(self._file(name))
        self.length = end
        if self.folder is None and sum(held.itemsize for held in self.held.values()) * end > self.most:
            self.folder = _Scratch()
            for name, held in self.held.items():
                held[:end].tofile(self._file(name))
            self.held = {}

    def _file(self, name: str) -> IO[bytes]:
        assert self.folder is not None
        if name not in self.files:
            file = self.files[name] = (self.folder.path / name).open("wb")
            if name != "ids" and not self.held:  # it begins here
                for at in range(0, self.length, 1 << 20):
                    np.full(min(1 << 20, self.length - at), DEFAULTS[name], COLUMNS[name]).tofile(file)
        return self.files[name]

    def columns(self) -> dict[str, Any]:
        for file in self.files.values():
            file.close()
        if self.folder is None:
            return {name: held[: self.length] for name, held in self.held.items()}
        return {name: _FileColumn(self.folder.path / name, COLUMNS[name], self.length) for name in self.files}


def number_requests(
    chunks: Iterable[dict[str, NDArray[Any]]],
    progress: Callable[[int], None] | None = None,
    *,
    share: float = 1.0,
    seed: int = 0,
    times: bool = True,
    expected: int = 0,
    in_memory: int = IN_MEMORY,
) -> Requests:
    """Number the objects of a trace: four bytes a request, and the columns that say something.

    With a `share` below one only the requests for that share of all objects are kept, drawn by a hash of the key
    (Waldspurger et al., FAST 2015); `seed` draws others. Without `times` the column ``time`` is kept only where there
    are times to live. `expected` requests save growing. Columns of more than `in_memory` bytes rest in files that are
    removed with the result. Raises TraceError when there is no request.
    """
    numbering, collector, asked = _Numbering(), _Collector(in_memory, expected if share == 1 else 0), 0
    for chunk in chunks:
        key = np.ascontiguousarray(chunk["id"], np.uint64)
        asked += len(key)
        given = {name: chunk[name] for name in COLUMNS if name in chunk}
        if not times and "ttl" not in given:
            given.pop("time", None)
        if share < 1:
            kept = scattered(key, seed) < np.uint64(int(share * 2.0**64))
            key = key[kept]
            given = {name: values[kept] for name, values in given.items()}
        ids = collector.room(len(key))
        numbering.turn(key, ids)
        collector.add(ids, given)
        if progress:
            progress(len(chunk["id"]))
    if not asked:
        raise TraceError("the trace has not one request to replay")
    if not collector.length:
        raise TraceError(f"not one of {asked:,} requests is for a sampled object", None, "sample more, or not at all")
    columns = collector.columns()
    _check_ttl(columns)
    return Requests(
        **columns,
        keys=numbering.keys[: numbering.known].copy(),
        asked=asked,
        share=share,
        folder=collector.folder,
    )


def _check_ttl(columns: Iterable[str]) -> None:
    if "ttl" in columns and "time" not in columns:
        raise TraceError(
            "the trace has times to live and no times, so that nothing can tell when they are over",
            None,
            "name the column of the times, or leave out the times to live",
        )


class _Arriving:
    """A column of requests that are still being read: what is asked for is read first."""

    def __init__(self, arrival: _Arrival, name: str, length: int) -> None:
        self.arrival, self.name, self.length = arrival, name, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, part: Any) -> NDArray[Any]:
        self.arrival.reach(part.indices(self.length)[1] if isinstance(part, slice) else self.length)
        made: NDArray[Any] = self.arrival.held(self.name)[part]
        return made


class _Arrival:
    """Numbers a trace as far as a replay has come, and keeps what was numbered for the replays after it.

    What the trace said of itself before is checked as it is read: a loop has room for the objects that were told.
    """

    def __init__(self, trace: Source, columns: list[str], told: dict[str, Any], most: int) -> None:
        self.name, self.told = trace.name, told
        self.requests: int = trace.records or 0
        self.done = self.footprint = 0
        self._chunks = trace.chunks(PIECE)
        self._numbering, self._lock = _Numbering(), Lock()
        self._failed: Exception | None = None
        words = sum(np.dtype(COLUMNS[name]).itemsize for name in columns)
        self.folder = _Scratch() if words * self.requests > most else None
        self._columns: dict[str, Column] = {}
        for name in columns:
            if self.folder is None:
                self._columns[name] = np.empty(self.requests, COLUMNS[name])
            else:
                self._columns[name] = _FileColumn(self.folder.path / name, COLUMNS[name], self.requests)

    def held(self, name: str) -> Column:
        return self._numbering.keys[: self._numbering.known] if name == "keys" else self._columns[name]

    def reach(self, end: int) -> None:
        """Read on until so many requests are numbered."""
        if end <= self.done:
            return
        with self._lock:
            if self._failed is not None:
                raise self._failed
            try:
                while self.done < end:
                    self._take(next(self._chunks, None))
                if self.done == self.requests and next(self._chunks, None) is not None:
                    raise self._damaged(f"{self.requests:,} requests")
            except Exception as error:
                self._failed = error
                raise

    def _take(self, chunk: dict[str, NDArray[Any]] | None) -> None:
        if chunk is None or self.done + len(chunk["id"]) > self.requests:
            raise self._damaged(f"{self.requests:,} requests")
        key = np.ascontiguousarray(chunk["id"], np.uint64)
        part, before = slice(self.done, self.done + len(key)), self._numbering.known
        ids = np.empty(len(key), np.int32)
        self._numbering.turn(key, ids)
        if self._numbering.known > self.told["objects"]:
            raise self._damaged(f"{self.told['objects']:,} objects")
        for name, (least, most) in self.told["ranges"].items():
            if chunk[name].min() < least or chunk[name].max() > most:
                raise self._damaged(f"a {name} of {least:,} to {most:,}")
        if "size" in chunk:
            self.footprint += int(kernels.first_bytes(ids, chunk["size"], before))
        for name, column in self._columns.items():
            values = ids if name == "ids" else chunk[name]
            if isinstance(column, _FileColumn):
                with column.path.open("ab") as file:
                    np.ascontiguousarray(values, column.dtype).tofile(file)
            else:
                column[part] = values
        if part.stop == self.requests:
            if self._numbering.known != self.told["objects"]:
                raise self._damaged(f"{self.told['objects']:,} objects")
            if "size" in chunk and self.footprint != self.told["footprint"]:
                raise self._damaged(f"{self.told['footprint']:,} bytes in all different objects")
        self.done = part.stop  # the last: another thread may read now what lies before

    def _damaged(self, told: str) -> TraceError:
        return TraceError(
            f"{self.name} is damaged: its description tells of {told}, and its records are others",
            None,
            "copy or make the file again; nothing in it can be trusted",
        )


def begin_requests(trace: Source, *, times: bool = True, in_memory: int = IN_MEMORY) -> Requests | None:
    """The requests of a whole trace, numbered while the first replay goes through them; None where none can say how.

    A policy must know before the first request how many objects there are and how small they can be, so this takes a
    trace whose ``outline`` tells that, as stored traces do (`tiersim.traces.outline`). Otherwise as `number_requests`,
    with the same result.
    """
    told: dict[str, Any] = getattr(trace, "outline", {})
    if "objects" not in told:
        return None
    said = [name for name, limits in told["ranges"].items() if limits != [DEFAULTS[name]] * 2]
    if not times and "ttl" not in told["ranges"]:
        said = [name for name in said if name != "time"]
    _check_ttl(said)
    arrival = _Arrival(trace, ["ids", *said], told, in_memory)
    columns: dict[str, Any] = {name: _Arriving(arrival, name, arrival.requests) for name in ("ids", *said)}
    kept = {"least": told["ranges"]["size"][0], "footprint": told["footprint"]} if "size" in said else {}
    keys = _Arriving(arrival, "keys", told["objects"])
    return Requests(**columns, keys=keys, asked=arrival.requests, folder=arrival.folder, kept=kept)


class Source(Protocol):
    """What a trace must offer to be prepared (`tiersim.traces.Trace` does)."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def records(self) -> int | None: ...
    def chunks(
        self, records: int = ..., skip: int = ..., limit: int | None = ...
    ) -> Iterator[dict[str, NDArray[Any]]]: ...


def prepare_requests(
    trace: Source, skip: int = 0, limit: int | None = None, progress: Callable[[int], None] | None = None
) -> Requests:
    """The numbered requests of a trace, from the cache folder or made now; columns are read from files in pieces.

    Raises TraceError when nothing is left to replay.
    """
    code = hashlib.sha256(Path(__file__).read_bytes() + Path(kernels.__file__).read_bytes()).hexdigest()
    asked = json.dumps([trace.fingerprint, skip, limit, code])
    folder = cache_folder("requests") / hashlib.sha256(asked.encode()).hexdigest()[:24]
    if not (folder / "about.json").exists():
        _keep(trace, skip, limit, folder, progress)
    lengths: dict[str, int] = json.loads((folder / "about.json").read_text())
    columns: dict[str, Any] = {
        name: _FileColumn(folder / name, COLUMNS[name], length) for name, length in lengths.items() if name != "keys"
    }
    return Requests(**columns, keys=np.fromfile(folder / "keys", np.uint64), asked=lengths["ids"])


def _keep(trace: Source, skip: int, limit: int | None, folder: Path, progress: Callable[[int], None] | None) -> None:
    made = number_requests(trace.chunks(1 << 20, skip, limit), progress, in_memory=0)
    made.keys.tofile(made.folder.path / "keys")
    lengths = {name: len(getattr(made, name)) for name in (*COLUMNS, "keys") if getattr(made, name) is not None}
    (made.folder.path / "about.json").write_text(json.dumps(lengths))
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix="draft-"))
    try:
        made.folder.path.replace(draft)
        draft.rename(folder)
    except OSError:  # another process was first: its files are the same
        if not (folder / "about.json").exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        made.folder.remove()


def scattered(key: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """A 64-bit hash of each key (the finaliser of splitmix64: Steele et al., OOPSLA 2014), another for each seed."""
    words = key + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & ((1 << 64) - 1))
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    made: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return made


def requests_from(id: Iterable[int] | NDArray[Any], **columns: Any) -> Requests:
    """Requests of a small stream held in memory: ids, and any of size, time, op, ttl, tenant, cost."""
    chunk: dict[str, Any] = {"id": np.asarray(id, np.uint64)}
    return number_requests([chunk | {name: np.asarray(held) for name, held in columns.items()}])
