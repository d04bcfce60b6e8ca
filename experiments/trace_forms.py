"""The forms in which `tiersim traces` writes records: Parquet, CSV, JSON lines, oracleGeneral.

What is written has its name once it is whole, and nothing that exists is overwritten.
"""

from __future__ import annotations

import json
import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TraceError
from tiersim.experiments.doctor.tally import DEFAULTS, TIME
from tiersim.sim.requests import NEVER, number_requests
from tiersim.traces.chunks import length
from tiersim.traces.ragged import Ragged
from tiersim.traces.readers.oracle_general import RECORD
from tiersim.traces.schema import OPS, SET, WARM_UP, Chunk, Column, Schema
from tiersim.traces.store import Writer

__all__ = ["ORACLE", "Out", "free", "picked", "writing"]

ORACLE: Final = (".oraclegeneral", ".oraclegeneral.bin")
LINES: Final = (".jsonl", ".ndjson")
PIECE: Final = 1 << 20
SECOND: Final = 10**9
EXPERTS: Final = 1 << 16  # numbers of experts in a layer: they have 16 bits
READ_AGAIN: Final = ("object", "edge")  # from CSV, by object-csv and edge-list
LOST: Final = ("op", "ttl", "tenant", "cost")  # have no place in oracleGeneral
FORMS: Final = ".parquet (tiersim's own), .csv, .jsonl (JSON lines), .oracleGeneral or .oracleGeneral.bin (libCacheSim)"


class Out(Protocol):
    """What takes the records of a file, and says what to know about it."""

    notes: list[str]
    tail_instructions: int

    def append(self, chunk: Chunk) -> None:
        """Add records."""


@contextmanager
def writing(path: Path, schema: Schema, provenance: dict[str, Any]) -> Iterator[Out]:
    """What takes the records of a file; the name says its form. Raises StudyError for other names and what exists."""
    free(path)
    name = path.name.lower()
    if name.endswith(".parquet"):
        with Writer(path, schema=schema, provenance=provenance) as out:
            own = _Parquet(out)
            yield own
            out.tail_instructions = own.tail_instructions
        return
    form = _Oracle if name.endswith(ORACLE) else _Lines if name.endswith(LINES) else _Csv
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with draft.open("w+b") as file:
            made = form(file, path, schema)
            yield made
            made.finish()
        draft.replace(path)
    except OSError as error:
        raise TraceError(
            f"{path} cannot be written: {error.strerror or error}", None, "choose a folder with room to write"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def free(path: Path) -> None:
    """Raises StudyError when a file of this name cannot be made: of no known form, there already, without a folder."""
    if not path.name.lower().endswith((".parquet", ".csv", *LINES, *ORACLE)):
        raise StudyError(f"{path.name!r} does not tell in which form it is to be written", None, f"end it in {FORMS}")
    if path.exists() or path.is_symlink():
        raise StudyError(f"{path} exists already, and nothing is overwritten", None, "remove it, or name another")
    if not path.parent.is_dir():
        raise StudyError(f"there is no folder {path.parent}", None, "make it first")


def picked(chunk: Chunk, rows: NDArray[Any]) -> Chunk:
    """Records of a chunk, by their places, in this order."""
    made: Chunk = {}
    for name, held in chunk.items():
        made[name] = held.take(rows) if isinstance(held, Ragged) else held[rows]
    return made


class _Parquet:
    def __init__(self, out: Writer) -> None:
        self.out = out
        self.notes: list[str] = []
        self.tail_instructions = 0

    def append(self, chunk: Chunk) -> None:
        self.out.append(chunk)


class _File(ABC):
    """What the forms of others share: a file, notes, and instructions after the last record, which have no place."""

    def __init__(self, file: IO[bytes], path: Path, schema: Schema) -> None:
        self.file, self.path, self.schema = file, path, schema
        self.records = 0
        self.notes: list[str] = []
        self.tail_instructions = 0

    def append(self, chunk: Chunk) -> None:
        """Add records."""
        self._write(chunk)
        self.records += length(chunk)

    def finish(self) -> None:
        """The end of the file. Raises TraceError where there is no record."""
        if not self.records:
            raise TraceError(f"{self.path.name}: not one record to write")
        self._end()

    @abstractmethod
    def _write(self, chunk: Chunk) -> None:
        """Put records into the file."""

    def _end(self) -> None:
        """What comes after the last record: most forms have no end of their own."""
        return


class _Csv(_File):
    """A table with a header; times are seconds with nine decimals, kinds and operations are words."""

    def __init__(self, file: IO[bytes], path: Path, schema: Schema) -> None:
        super().__init__(file, path, schema)
        if schema.name not in READ_AGAIN:
            self.notes.append(f"tiersim does not read CSV of {schema.name} records again: for that write .parquet")
        self._out: Any = None

    def _write(self, chunk: Chunk) -> None:
        present = self.schema.present(chunk)
        columns = {column.name: self._column(column, chunk[column.name]) for column in present}
        if list(columns) == ["id"]:  # a table of keys alone does not tell that it is one
            columns["size"] = np.ones(length(chunk), np.int64)
        made = pa.table(columns)
        if self._out is None:
            quoted = "needed" if any(column.text for column in present) else "none"
            self._out = pcsv.CSVWriter(self.file, made.schema, write_options=pcsv.WriteOptions(quoting_style=quoted))
        self._out.write_table(made)

    def _column(self, column: Column, values: Any) -> Any:
        if column.text:
            return pa.array(values.strings, pa.string())
        if column.ragged:
            raise TraceError(
                f"{self.path.name}: the column {column.name} holds lists, which have no place in a table",
                None,
                "write .parquet or .jsonl",
            )
        if (column.unit, column.dtype) == TIME:
            return _seconds(values)
        if column.name == self.schema.kind:
            words = pa.DictionaryArray.from_arrays(values.astype(np.int8), list(self.schema.kinds))
            return words.dictionary_decode()
        return values

    def _end(self) -> None:
        self._out.close()


class _Lines(_File):
    """JSON lines, an object a record with the columns that there are: as in CSV, with lists, and null for no number."""

    def __init__(self, file: IO[bytes], path: Path, schema: Schema) -> None:
        super().__init__(file, path, schema)
        self.notes.append(f"tiersim does not read JSON lines of {schema.name} records again: for that write .parquet")

    def _write(self, chunk: Chunk) -> None:
        present = self.schema.present(chunk)
        columns = [self._column(column, chunk[column.name]) for column in present]
        names = [json.dumps(column.name) for column in present]
        for row in zip(*columns, strict=True):
            text = ", ".join(f"{name}: {value}" for name, value in zip(names, row, strict=True))
            self.file.write(f"{{{text}}}\n".encode())

    def _column(self, column: Column, values: Any) -> list[str]:
        """Each value as it stands in JSON."""
        if column.text:
            return [json.dumps(text, ensure_ascii=False) for text in values.strings]
        if column.ragged:
            timed = (column.unit, column.dtype) == TIME
            told = ((_seconds(held).to_pylist() if timed else map(_number, held.tolist())) for held in values)
            return [f"[{', '.join(each)}]" for each in told]
        if (column.unit, column.dtype) == TIME:
            made: list[str] = _seconds(values).to_pylist()
            return made
        if column.name == self.schema.kind:
            words = [json.dumps(word) for word in self.schema.kinds]
            return [words[value] for value in values.tolist()]
        return list(map(_number, values.tolist()))


def _number(value: float) -> str:
    return "null" if isinstance(value, float) and math.isnan(value) else repr(value)


def _seconds(ns: NDArray[np.int64]) -> Any:
    """Nanoseconds as numbers of seconds with nine decimals, as text: exact, and without an exponent."""
    whole, rest = (pc.cast(pa.array(part), pa.string()) for part in (ns // SECOND, ns % SECOND))
    return pc.binary_join_element_wise(whole, pc.utf8_lpad(rest, 9, "0"), ".")


class _Oracle(_File):
    """libCacheSim's oracleGeneral, with the next request for each object, which is filled in at the end.

    Each block of a prompt is a request for an object, and so is each expert of a token.
    """

    def __init__(self, file: IO[bytes], path: Path, schema: Schema) -> None:
        super().__init__(file, path, schema)
        if schema.name not in ("object", "request", "routing"):
            raise StudyError(
                f"{path.name}: oracleGeneral is for requests for objects, and these are {schema.name} records",
                None,
                "write .parquet",
            )
        self.rows = 0
        if schema.name == "request":
            self.notes.append("each block of a prompt is a request of its own")
        if schema.name == "routing":
            self.notes.append(
                f"each expert of a token is a request of its own, for layer * {EXPERTS} + expert; warm-up is left out"
            )

    def _write(self, chunk: Chunk) -> None:
        if "op" in chunk and (other := chunk["op"] > SET).any():
            at = int(np.argmax(other))
            raise TraceError(
                f"record {self.rows + at + 1:,} is a {OPS[int(chunk['op'][at])]}, and in oracleGeneral every record "
                "is a request",
                None,
                "write .parquet or .csv",
            )
        chunk = self._objects(chunk)
        rows = np.empty(length(chunk), RECORD)
        rows["id"], rows["next"] = chunk["id"], -1
        rows["time"] = self._fit(chunk, "time", SECOND, 0)
        rows["size"] = self._fit(chunk, "size", 1, 1)
        rows.tofile(self.file)
        self.rows += len(rows)
        lost = [name for name in LOST if name in chunk and (chunk[name] != DEFAULTS["object"][name]).any()]
        said = [f"{name} has no place in oracleGeneral, and is left out" for name in lost]
        if "time" in chunk and (chunk["time"] % SECOND).any():
            said.append("times are whole seconds in oracleGeneral: what is less is cut off")
        self.notes += [text for text in said if text not in self.notes]

    def _objects(self, chunk: Chunk) -> Chunk:
        """The records as requests for objects."""
        if self.schema.name == "object":
            return chunk
        if self.schema.name == "request":
            if "blocks" not in chunk:
                raise TraceError(
                    f"{self.path.name}: these requests name no blocks, and so ask for no object",
                    None,
                    "write .parquet or .csv",
                )
            blocks = chunk["blocks"]
            times = {"time": np.repeat(chunk["arrival"], blocks.counts)} if "arrival" in chunk else {}
            return {"id": blocks.values, **times}
        if "phase" in chunk:
            chunk = picked(chunk, np.flatnonzero(chunk["phase"] != WARM_UP))
        layers = np.repeat(chunk["layer"].astype(np.uint64), chunk["experts"].counts)
        return {"id": layers * np.uint64(EXPERTS) + chunk["experts"].values}

    def _fit(self, chunk: Chunk, name: str, unit: int, absent: int) -> Any:
        if name not in chunk:
            return absent
        values = chunk[name] // unit
        if ((values < 0) | (values >= 1 << 32)).any():
            at = int(np.argmax((values < 0) | (values >= 1 << 32)))
            raise TraceError(
                f"record {self.rows + at + 1:,} has a {name} of {values[at]:,}, and oracleGeneral has 32 bits for one",
                None,
                "write .parquet or .csv",
            )
        return values

    def _end(self) -> None:
        if not self.rows:
            raise TraceError(f"{self.path.name}: not one block or expert is asked for")
        self.file.flush()
        rows = np.memmap(self.file, RECORD, "r+")
        pieces = (slice(at, at + PIECE) for at in range(0, len(rows), PIECE))
        requests = number_requests({"id": rows["id"][part]} for part in pieces)
        after = requests.next_use
        for at in range(0, len(rows), PIECE):
            part = after[at : at + PIECE]
            rows["next"][at : at + PIECE] = np.where(part == NEVER, -1, part)
        rows.flush()
