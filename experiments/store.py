"""Finished runs on disk, a file each that is written once: `runs/KEY.DIGEST.parquet`.

KEY is the hash of the question (configuration, trace, code, seed), DIGEST that of the file's bytes: whatever happens to
a file, it is either the run that it says, or known to be damaged. A file holds one row with what came out, and nothing
of who asked: metrics are columns, tables over the run are columns of lists, named ``windows.NAME``.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tiersim._base.errors import StudyError

__all__ = ["AGAIN", "Outcome", "Parts", "Table", "as_lists", "content", "encode", "read_table", "write_bytes"]

Table = dict[str, list[Any]]

NAME = re.compile(r"([0-9a-f]{20})\.([0-9a-f]{16})\.parquet")
AGAIN = "run the study again: what is whole is kept"
FIXED = ("key", "seed", "status", "error", "config", "notes")


@dataclass
class Outcome:
    """What came out of a run: its status, metrics, notes, and tables over the run (equally long columns)."""

    status: str
    error: str = ""
    metrics: dict[str, int | float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    path: Path | None = None  # where the tables are, when they are not here


class _DamagedError(Exception):
    """A file that is not the run that its name says; the argument tells why."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises StudyError when it cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            try:
                draft.write_bytes(content)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror}") from None


def as_lists(table: Mapping[str, Any]) -> Table:
    """Columns as plain lists."""
    return {name: np.asarray(column).tolist() for name, column in table.items()}


def encode(key: str, seed: int | None, config: Mapping[str, Any], outcome: Outcome) -> bytes:
    """The bytes of a part; the same for the same arguments. `seed` is None for a run that none reaches."""
    columns: dict[str, Any] = {
        "key": [key],
        "seed": pa.array([seed], pa.uint64()),
        "status": [outcome.status],
        "error": [outcome.error],
        "config": [json.dumps(config)],
        "notes": [json.dumps(outcome.notes)],
        **{name: [held] for name, held in outcome.metrics.items()},
    }
    lists = {f"{kind}.{name}": [held] for kind, table in outcome.tables.items() for name, held in table.items()}
    sink = io.BytesIO()
    # a column of one number only grows by packing and statistics, and to make them takes longer than all the rest
    packed = {f"{name}.list.element": "zstd" for name in lists} | {"config": "zstd"}
    plain = {"use_dictionary": False, "write_statistics": False, "store_schema": False}
    pq.write_table(pa.table(columns | lists), sink, compression=packed, **plain)
    return sink.getvalue()


def _file(path: Path) -> pq.ParquetFile:
    """A part whose bytes are those that its name says."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _DamagedError(error.strerror) from None
    if _digest(content) != path.name.split(".")[1]:
        raise _DamagedError("its bytes are not those that were written")
    try:
        return pq.ParquetFile(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError):
        raise _DamagedError("it is no Parquet file") from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _decode(path: Path) -> tuple[Outcome, str]:
    """What came out of a run, and its configuration in JSON."""
    file = _file(path)
    try:
        plain = [item.name for item in file.schema_arrow if not pa.types.is_list(item.type)]
        (held,) = file.read(plain, use_threads=False).to_pylist()
        metrics = {name: value for name, value in held.items() if name not in FIXED}
        if held["key"] != path.name.split(".")[0]:
            raise _DamagedError("it holds another run")
        notes = json.loads(held["notes"])
        return Outcome(held["status"], held["error"], metrics, notes, path=path), held["config"]
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise _DamagedError("it holds no run") from None


@lru_cache(maxsize=16)  # of a run that is looked at, each of its columns in turn
def read_table(path: Path, kind: str) -> Table:
    """A table over a run out of its part, such as its ``windows``; empty when there is none.

    Raises StudyError when the part was damaged since it was found.
    """
    try:
        file = _file(path)
        names = [name for name in file.schema_arrow.names if name.startswith(f"{kind}.")]
        read = file.read(names, use_threads=False).to_pydict()
    except (_DamagedError, pa.ArrowException, OSError) as error:
        raise StudyError(f"{path} is damaged: {error}", None, AGAIN) from None
    return {name.partition(".")[2]: held[0] for name, held in read.items() if held[0] is not None}


def content(path: Path) -> dict[str, Any]:
    """All that came out of a run: status, error, notes, metrics and tables. Raises StudyError when it is damaged."""
    try:
        file = _file(path)
        held = file.read(use_threads=False).to_pydict()
    except (_DamagedError, pa.ArrowException, OSError) as error:
        raise StudyError(f"{path} is damaged: {error}", None, AGAIN) from None
    return {name: column[0] for name, column in held.items() if name not in ("key", "seed", "config")}


class Parts:
    """The parts in a study's folder, listed once. Nothing is made or removed but while it is held `alone`."""

    def __init__(self, study: Path) -> None:
        """Raises StudyError when the folder cannot be read."""
        self.study, self.folder = study, study / "runs"
        self.damaged: dict[str, str] = {}
        """Why, by name, of the parts that are no use."""
        self._names: dict[str, list[str]] = {}
        self._left: list[str] = []
        try:
            names = sorted(os.listdir(self.folder))
        except (FileNotFoundError, NotADirectoryError):
            names = []
        except OSError as error:
            raise StudyError(f"{self.folder} cannot be read: {error.strerror}") from None
        for name in names:
            if found := NAME.fullmatch(name):
                self._names.setdefault(found[1], []).append(name)
            elif name.startswith("."):
                self._left.append(name)

    def find(self, key: str) -> Outcome | None:
        """The run of a key, or None when it must be made: it is not there, or failed, or is damaged."""
        good: dict[str, Outcome] = {}
        for name in self._names.get(key, ()):
            try:
                outcome, _ = _decode(self.folder / name)
            except _DamagedError as why:
                self.damaged[name] = str(why)
                continue
            if outcome.status == "done":
                good[name] = outcome
            else:
                self._left.append(name)
        if len(good) > 1:
            self.damaged |= dict.fromkeys(good, "there is another answer to its question")
        return next(iter(good.values())) if len(good) == 1 else None

    def held(self, key: str, status: str) -> tuple[Outcome, dict[str, Any]]:
        """A run that is to be there with this status, and its configuration.

        Raises StudyError where it is not, is damaged, or has two answers.
        """
        found, why = [], f"there is no part of it in {self.folder}"
        for name in self._names.get(key, ()):
            try:
                outcome, config = _decode(self.folder / name)
                if outcome.status == status:
                    found.append((outcome, json.loads(config)))
            except (_DamagedError, ValueError) as error:
                why = f"{self.folder / name} is damaged: {error}"
        if len(found) != 1:
            why = f"{self.folder} holds {len(found)} answers to its question" if found else why
            raise StudyError(f"the run {key} cannot be read: {why}", None, AGAIN)
        return found[0]

    def _tidy(self) -> None:
        """Remove what a writer that was killed left behind: drafts, and failures that a later try has replaced."""
        for name in self._left:
            if name.startswith(".") or len(self._names[name.partition(".")[0]]) > 1:
                (self.folder / name).unlink(missing_ok=True)
        for name in ("resolved.yaml", "study.json", "runs.csv", "log.json"):
            for draft in self.study.glob(f".{name}.*"):
                draft.unlink(missing_ok=True)

    def put(self, key: str, content: bytes) -> Path:
        """Store a part; it takes the place of failed, damaged and other parts of its key."""
        name = f"{key}.{_digest(content)}.parquet"
        write_bytes(self.folder / name, content)
        for other in self._names.get(key, ()):
            if other != name:
                (self.folder / other).unlink(missing_ok=True)
        self._names[key] = [name]
        return self.folder / name

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who writes into the study's folder, which is made, and removed again if nothing is written.

        Raises StudyError when another run writes into it, or it cannot be made.
        """
        made = [path for path in (self.study, *self.study.parents) if not path.exists()]
        try:
            self.study.mkdir(parents=True, exist_ok=True)
            held = os.open(self.study, os.O_RDONLY)
        except OSError as error:
            raise StudyError(f"{self.study} cannot be made: {error.strerror}") from None
        try:
            _lock(held, self.study)
            self._tidy()
            yield
        finally:
            os.close(held)
            for path in (self.folder, *made):
                with suppress(OSError):  # one that is not empty stays
                    path.rmdir()


def _lock(held: int, folder: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StudyError(
            f"another run writes into {folder}", None, "wait until it has ended, or name another folder with --out"
        ) from None
    except OSError:  # a file system without locks
        return
