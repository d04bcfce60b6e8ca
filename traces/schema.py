"""What a trace is made of: tables with declared columns, types and units."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.traces.ragged import Ragged

__all__ = [
    "ACCESS",
    "DELETE",
    "FAILED",
    "FETCH",
    "GET",
    "KINDS",
    "LOAD",
    "MODIFY",
    "OBJECT",
    "OPS",
    "PIN",
    "REQUEST",
    "SCHEMAS",
    "SERVED",
    "SET",
    "STATUSES",
    "STORE",
    "UNPIN",
    "Chunk",
    "Column",
    "Schema",
]

LOAD: Final = 0
STORE: Final = 1
MODIFY: Final = 2
FETCH: Final = 3
KINDS: Final = ("load", "store", "modify", "fetch")

GET: Final = 0
SET: Final = 1
DELETE: Final = 2
PIN: Final = 3
UNPIN: Final = 4
OPS: Final = ("get", "set", "delete", "pin", "unpin")

SERVED: Final = 0
FAILED: Final = 1
STATUSES: Final = ("served", "failed")

Chunk: TypeAlias = dict[str, Any]  # an array a column, or a `Ragged`


@dataclass(frozen=True)
class Column:
    """One column: name, numpy type, unit, meaning, smallest and largest value allowed; or a finite one above zero.

    A ``ragged`` one has a list of such values a record, which may be empty (`tiersim.traces.ragged.Ragged`).
    """

    name: str
    dtype: str
    unit: str
    doc: str
    least: int = 0
    most: int | None = None
    optional: bool = False
    positive: bool = False
    ragged: bool = False

    def broken(self, values: NDArray[Any]) -> str:
        """What is wrong with these values, or nothing."""
        if not len(values):
            return ""
        if self.positive and not (float(values.min()) > 0 and float(values.max()) < math.inf):  # so is no NaN
            return f"must be a finite number above 0, and is {values[~((values > 0) & (values < math.inf))][0]}"
        if not self.positive and (self.least or values.dtype.kind != "u") and values.min() < self.least:
            return f"must be at least {self.least}, and is {values.min()}"
        if self.most is not None and int(values.max()) > self.most:
            return f"must be at most {self.most}, and is {values.max()}"
        return ""


@dataclass(frozen=True)
class Schema:
    """A named, versioned set of columns; ``kind`` is the one whose values have the names ``kinds``."""

    name: str
    version: int
    doc: str
    columns: tuple[Column, ...]
    kind: str
    kinds: tuple[str, ...]

    @property
    def ragged(self) -> bool:
        """Whether a record may be of any length."""
        return any(column.ragged for column in self.columns)

    def present(self, names: Iterable[str]) -> tuple[Column, ...]:
        """The columns of a table that has these names: all the required ones, and each optional one among them."""
        held = set(names)
        return tuple(column for column in self.columns if column.name in held or not column.optional)

    def check(self, chunk: Chunk, source: str) -> Chunk:
        """The chunk in the declared types. Raises TraceError naming the column that does not fit."""
        known = {column.name for column in self.columns}
        if strange := sorted(set(chunk) - known):
            raise TraceError(f"{source}: the {self.name} schema has no column {strange[0]!r}")
        made: Chunk = {}
        for column in self.present(chunk):
            if column.name not in chunk:
                raise TraceError(f"{source}: the column {column.name!r} of the {self.name} schema is missing")
            held = chunk[column.name]
            if isinstance(held, Ragged) != column.ragged:
                kind = "a Ragged" if column.ragged else "an array"
                raise TraceError(f"{source}: {column.name} must be {kind} of {column.dtype}")
            if column.ragged and held.broken:
                raise TraceError(f"{source}: {column.name} {held.broken}")
            values = held.values if column.ragged else np.asarray(held)
            if not np.can_cast(values.dtype, column.dtype, "safe"):
                raise TraceError(f"{source}: {column.name} must be {column.dtype}, and is {values.dtype}")
            if values.ndim != 1 or (made and len(held) != len(next(iter(made.values())))):
                raise TraceError(f"{source}: {column.name} is not as long as the columns before it")
            if wrong := column.broken(values):
                raise TraceError(f"{source}: {column.name} {wrong}")
            values = values.astype(column.dtype, copy=False)
            made[column.name] = Ragged(values, held.offsets) if column.ragged else values
        return made

    def tally(self, chunk: Chunk) -> NDArray[np.int64]:
        """How many records of a chunk are of each kind; where the column is absent all are of the first."""
        if self.kind in chunk:
            return np.bincount(chunk[self.kind], minlength=len(self.kinds))
        made = np.zeros(len(self.kinds), np.int64)
        made[0] = len(next(iter(chunk.values()), ()))
        return made


ACCESS: Final = Schema(
    "access",
    1,
    "What a processor asked of its memory, in program order.",
    (
        Column("address", "uint64", "bytes", "first byte that is touched"),
        Column("size", "uint16", "bytes", "how many bytes are touched", least=1),
        Column("kind", "uint8", "1", "0 load, 1 store, 2 modify (load, then store), 3 instruction fetch", most=FETCH),
        Column("gap", "uint32", "instructions", "executed since the record before, this record's own included"),
        Column("asid", "uint16", "1", "address space; absent when all are 0", optional=True),
        Column("core", "uint16", "1", "processor core; absent when all are 0", optional=True),
    ),
    "kind",
    KINDS,
)

OBJECT: Final = Schema(
    "object",
    1,
    "What was asked of a cache of objects: keys and values, blocks of a disk, KV blocks of a model; in order.",
    (
        Column("id", "uint64", "1", "the key; one that is no number is hashed to 64 bits (BLAKE2b)"),
        Column("time", "int64", "ns", "since the first request, as recorded; absent when not known", optional=True),
        Column("size", "int64", "bytes", "of the object; absent when all are 1", optional=True),
        Column("op", "uint8", "1", "0 get, 1 set, 2 delete, 3 pin, 4 unpin; absent when all are 0", 0, UNPIN, True),
        Column("ttl", "int64", "ns", "how long it is valid, 0 for ever; absent when all are 0", optional=True),
        Column("tenant", "uint32", "1", "whose request it is; absent when all are 0", optional=True),
        Column("cost", "float64", "1", "of a miss, in any unit; absent when all are 1", optional=True, positive=True),
    ),
    "op",
    OPS,
)

REQUEST: Final = Schema(
    "request",
    1,
    "What was asked of a server of language models: when, and how long prompt and answer are.",
    (
        Column("input", "uint32", "tokens", "of the prompt"),
        Column("output", "uint32", "tokens", "of the answer"),
        Column(
            "arrival",
            "int64",
            "ns",
            "since the first request of the trace, or of its session where the reader says so; absent when not known",
            optional=True,
        ),
        Column(
            "blocks",
            "uint64",
            "1",
            "a list: the blocks of the prompt in order; equal numbers are equal blocks after equal prompts, so that "
            "each stands for all before it; absent when not known",
            optional=True,
            ragged=True,
        ),
        Column(
            "session", "uint64", "1", "conversation; one that is no number is hashed; absent if unknown", 0, None, True
        ),
        Column(
            "category", "uint64", "1", "kind of request, a name hashed as keys are; absent if unknown", 0, None, True
        ),
        Column(
            "model", "uint64", "1", "of whom it is asked, a name hashed as keys are; absent if unknown", 0, None, True
        ),
        Column("status", "uint8", "1", "0 served, 1 failed; absent when all are 0", 0, FAILED, True),
    ),
    "status",
    STATUSES,
)

SCHEMAS: Final = {schema.name: schema for schema in (ACCESS, OBJECT, REQUEST)}
