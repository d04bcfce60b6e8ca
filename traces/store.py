"""Traces at rest: Parquet files that say themselves what they hold.

The entry ``tiersim`` of the file's metadata is JSON: schema, version, units, provenance, instructions, counts by kind,
``content`` (the sha256 of the columns' values) and ``outline`` (`tiersim.traces.outline`).
A column with a list a record is a list column, one of text a string column. Equal records give equal bytes, however
they were cut into chunks; every page has a checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.traces.chunks import NUMBERS, length, numbers, rechunk, window
from tiersim.traces.outline import outline_of
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import ACCESS, SCHEMAS, Chunk, Column, Schema
from tiersim.traces.trace import CHUNK, Trace

__all__ = ["MAGIC", "StoredTrace", "Trace", "Writer", "sha256_of"]

MAGIC = b"PAR1"
KEY = b"tiersim"
FACTS = {"schema": str, "version": int, "kinds": dict, "instructions": int, "provenance": dict}
ROW_GROUP = 1 << 20
LISTED = 64  # numbers that a record with a list is reckoned to have: a row group is held in memory
LEVEL = 9
# Loops repeat whole addresses, which zstd finds in plain words: 1.6 bits a record of a SQLite query at level 9, against
# 13 for DELTA_BINARY_PACKED and 6 for a dictionary; 9 against 21 and 12 for random updates of a table.
PLAIN = ("address", "id", "blocks")


class Writer:
    """Writes one trace, chunk by chunk; the file appears under its name when the last one is in.

    Use it as a context manager: on an exception nothing is left behind. ``provenance`` and ``tail_instructions`` (those
    executed after the last record) may be set until the end. Raises TraceError for chunks that do not fit the schema,
    for a trace without records, and when the file cannot be written.
    """

    def __init__(
        self, path: Path | str, *, schema: Schema = ACCESS, provenance: dict[str, Any] | None = None, level: int = LEVEL
    ) -> None:
        self.path = Path(path)
        self.schema = schema
        self.provenance: dict[str, Any] = dict(provenance or {})
        self.tail_instructions = 0
        self.records = 0
        self._kinds = np.zeros(len(schema.kinds), np.int64)
        self._gaps = 0
        self._outline = outline_of(schema)
        self._content = hashlib.sha256()
        self._level = level
        self._names: tuple[str, ...] = ()
        self._held: list[Chunk] = []
        self._part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}.part")
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._file is not None:
                with suppress(OSError):
                    self._file.close()
            self._part.unlink(missing_ok=True)

    def append(self, chunk: Chunk) -> None:
        """Add records; the arrays are copied. An optional column is kept if the first chunk has it."""
        made = {name: values.copy() for name, values in self.schema.check(chunk, self.path.name).items()}
        if not self._names:
            self._names = tuple(made)
        if tuple(made) != self._names:
            raise TraceError(f"{self.path.name}: the columns change after record {self.records}")
        self.records += length(made)
        self._kinds += self.schema.tally(made)
        if "gap" in made:
            self._gaps += int(made["gap"].sum(dtype=np.uint64))
        self._outline.add(made)
        self._held.append(made)
        rows = _rows_of(self.schema)
        if sum(map(length, self._held)) >= rows or sum(map(numbers, self._held)) >= NUMBERS:
            pieces = list(rechunk(self._held, rows))
            self._held = [pieces.pop()] if length(pieces[-1]) < rows else []
            for piece in pieces:
                self._write(piece)

    def _write(self, chunk: Chunk) -> None:
        with self._writing():
            if self._file is None:
                columns = self.schema.present(self._names)
                self._file = pq.ParquetWriter(
                    self._part,
                    pa.schema([_field(column) for column in columns]),
                    compression="zstd",
                    compression_level=self._level,
                    use_dictionary=[c.name for c in columns if c.name not in PLAIN],
                    write_page_checksum=True,
                    store_schema=False,
                )
            for name in self._names:
                for values in _parts(chunk[name]):
                    self._content.update(values.data)
            wanted = self._file.schema
            table = pa.table([_array(chunk[name], wanted.field(name).type) for name in wanted.names], schema=wanted)
            self._file.write_table(table, row_group_size=_rows_of(self.schema))

    def _finish(self) -> None:
        if not self.records:
            raise TraceError(f"{self.path.name}: not one record to write")
        for piece in rechunk(self._held, _rows_of(self.schema)):
            self._write(piece)
        assert self._file is not None  # there was a record, so there was a chunk
        with self._writing():
            self._file.add_key_value_metadata({KEY.decode(): json.dumps(self._about(), sort_keys=True)})
            self._file.close()
            self._file = None
            os.replace(self._part, self.path)

    def _about(self) -> dict[str, Any]:
        return {
            "schema": self.schema.name,
            "version": self.schema.version,
            "units": {column.name: column.unit for column in self.schema.present(self._names)},
            "kinds": {name: int(count) for name, count in zip(self.schema.kinds, self._kinds, strict=True)},
            "instructions": self._gaps + self.tail_instructions,
            "tail_instructions": self.tail_instructions,
            "outline": self._outline.told(),
            "content": self._content.hexdigest(),
            "provenance": self.provenance,
        }

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TraceError(
                f"{self.path} cannot be written: {error.strerror or error}", None, "choose a folder with room to write"
            ) from None


class StoredTrace(Trace):
    """A trace in a Parquet file that `Writer` wrote.

    Raises TraceError when the file is damaged, is some other Parquet, or comes from a newer tiersim.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str = "",
        fingerprint: str = "",
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.path: Path = Path(path)
        self.name = name or self.path.name
        with self._reading("its end, where Parquet keeps the table of contents, cannot be read"):
            about = pq.read_metadata(self.path)
            columns = about.schema.to_arrow_schema()
        facts = self._facts(about.metadata or {})
        self.schema = facts["schema"]
        self.records = about.num_rows
        self.instructions = facts["instructions"]
        self.kinds = {kind: facts["kinds"].get(kind, 0) for kind in SCHEMAS[self.schema].kinds}
        self.provenance = {**facts["provenance"], **(provenance or {})}
        self.outline: dict[str, Any] = facts.get("outline", {})
        if not fingerprint and "content" in facts:
            fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self._fingerprint = fingerprint
        self._about = about
        self._columns = [c.name for c in SCHEMAS[self.schema].present(columns.names)]
        self._texts = [c.name for c in SCHEMAS[self.schema].present(columns.names) if c.text]
        self._groups = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        wanted = [_field(column) for column in SCHEMAS[self.schema].present(columns.names)]
        if list(columns) != wanted or not sum(self.kinds.values()) == self.records == sum(self._groups):
            raise self._damaged("its columns are not those that its own description names")

    @property
    def fingerprint(self) -> str:
        """The sha256 of the file that the records came from; else of what the file says of itself, with its content's.

        Older files do not tell the latter: then it is that of the whole file.
        """
        return self._fingerprint or self._own_sha256

    @property
    def has_spaces(self) -> bool:
        """Whether records of accesses tell their address space."""
        return "asid" in self._columns

    @cached_property
    def _own_sha256(self) -> str:
        return sha256_of(self.path)

    def chunks(self, records: int = CHUNK, skip: int = 0, limit: int | None = None) -> Iterator[Chunk]:
        """Columns, ``records`` rows at a time, from row ``skip`` on and at most ``limit`` of them, in bounded memory.

        Raises TraceError when the file turns out to be damaged.
        """
        starts = list(accumulate(self._groups, initial=0))
        first = sum(start <= skip for start in starts[1:])
        rows = self._rows(first, starts, records)
        return rechunk(window(rows, skip - starts[first], limit), records)

    def _rows(self, first: int, starts: list[int], records: int) -> Iterator[Chunk]:
        for group in range(first, len(self._groups)):
            where = f"somewhere in records {starts[group]:,} to {starts[group + 1] - 1:,}"
            left = self._groups[group]
            with (
                self._reading(where),
                # what stands at its end is known: to read that for every group would cost more the longer the file is
                pq.ParquetFile(
                    self.path, metadata=self._about, page_checksum_verification=True, read_dictionary=self._texts
                ) as file,
            ):
                for batch in file.iter_batches(min(records, self._step(group)), [group], self._columns):
                    left -= len(batch)
                    for piece in _pieces(batch):
                        yield {name: _numbers(piece.column(name)) for name in self._columns}
            if left:
                raise self._damaged(f"{where} (there are not as many)")

    def _step(self, group: int) -> int:
        """The records of a group that are read at once: fewer where their lists are long."""
        about = self._about.row_group(group)
        most: int = max(about.column(place).num_values for place in range(about.num_columns))
        return int(min(ROW_GROUP, max(1, about.num_rows * NUMBERS // max(most, NUMBERS))))

    def _facts(self, metadata: dict[bytes, bytes]) -> dict[str, Any]:
        if KEY not in metadata:
            raise TraceError(
                f"{self.path.name} is Parquet, and not a trace: its metadata has no entry 'tiersim'",
                None,
                "write it with tiersim.traces.store.Writer, which declares schema and units",
            )
        try:
            facts: dict[str, Any] = json.loads(metadata[KEY])
            right = all(type(facts[name]) is kind for name, kind in FACTS.items()) and all(
                type(count) is int for count in facts["kinds"].values()
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            right = False
        if not right:
            raise self._damaged("what it says of itself cannot be read")
        known = SCHEMAS.get(facts["schema"])
        if known is None or facts["version"] > known.version:
            raise TraceError(
                f"{self.path.name} holds schema {facts['schema']} version {facts['version']}, which this tiersim does "
                "not know",
                None,
                "upgrade tiersim, or make the trace again",
            )
        return facts

    @contextmanager
    def _reading(self, where: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            said = "".join(letter if letter.isprintable() else "?" for letter in str(error)[:200].partition("\n")[0])
            raise self._damaged(f"{where} ({said})") from None

    def _damaged(self, why: str) -> TraceError:
        return TraceError(
            f"{self.path} is damaged: {why}", None, "copy or make the file again; nothing in it can be trusted"
        )


def _rows_of(schema: Schema) -> int:
    """The records of a row group."""
    return max(1, ROW_GROUP // LISTED) if schema.ragged else ROW_GROUP


def _parts(held: Any) -> tuple[NDArray[Any], ...]:
    """The values of a column as flat arrays."""
    if not isinstance(held, Ragged):
        return (np.ascontiguousarray(held),)
    begin, end = held.offsets[[0, -1]]
    return held.counts, np.ascontiguousarray(held.values[begin:end])


def _field(column: Column) -> pa.Field:
    made = getattr(pa, column.dtype)()
    if column.text:
        made = pa.string()
    elif column.ragged:
        made = pa.list_(pa.field("element", made, nullable=False))
    return pa.field(column.name, made, nullable=False)


def _array(held: Any, kind: Any) -> Any:
    if not isinstance(held, Ragged):
        return held
    if len(held.values) >= 1 << 31:
        raise TraceError("records one after the other hold lists of 2**31 numbers or more", None, "cut them shorter")
    offsets = held.offsets.astype(np.int32)
    if pa.types.is_string(kind):
        return pa.StringArray.from_buffers(len(held), pa.py_buffer(offsets), pa.py_buffer(held.values))
    return pa.ListArray.from_arrays(offsets, pa.array(held.values), type=kind)


def _pieces(batch: Any) -> Iterator[Any]:
    """A batch cut so that few bytes of text come at once; a long text that is repeated takes no room in the file."""
    size = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        if isinstance(column, pa.DictionaryArray):
            size += pc.binary_length(column.dictionary).to_numpy()[column.indices.to_numpy()]
    ends = np.cumsum(size)
    start = 0
    while start < len(batch):
        most = ends[start] - size[start] + NUMBERS
        end = max(start + 1, int(np.searchsorted(ends, most, "right")))
        yield batch.slice(start, end - start)
        start = end


def _numbers(held: Any) -> Any:
    if isinstance(held, pa.DictionaryArray):
        held = held.dictionary_decode()
    if isinstance(held, pa.StringArray):
        return _texts(held)
    if not isinstance(held, pa.ListArray):
        return _flat(held)
    offsets = _flat(held.offsets).astype(np.int64)
    return Ragged(_flat(held.flatten()), offsets - offsets[0])


def _flat(held: pa.Array) -> NDArray[Any]:
    """The same numbers without a copy, and without pandas, which `to_numpy` loads first."""
    made: NDArray[Any] = np.from_dlpack(held)
    return made


def _texts(held: pa.StringArray) -> Ragged:
    _, offsets, values = held.buffers()
    at = np.frombuffer(offsets, np.int32)[held.offset : held.offset + len(held) + 1].astype(np.int64)
    whole = np.frombuffer(values or b"", np.uint8)
    return Ragged(whole[at[0] : at[-1]], at - at[0])


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal. Raises TraceError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
