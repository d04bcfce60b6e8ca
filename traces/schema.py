"""What a trace is made of: tables with declared columns, types and units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError

__all__ = ["ACCESS", "FETCH", "KINDS", "LOAD", "MODIFY", "SCHEMAS", "STORE", "Chunk", "Column", "Schema"]

LOAD: Final = 0
STORE: Final = 1
MODIFY: Final = 2
FETCH: Final = 3
KINDS: Final = ("load", "store", "modify", "fetch")

Chunk: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Column:
    """One column: name, numpy type, unit, meaning, smallest and largest value allowed."""

    name: str
    dtype: str
    unit: str
    doc: str
    least: int = 0
    most: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class Schema:
    """A named, versioned set of columns."""

    name: str
    version: int
    doc: str
    columns: tuple[Column, ...]

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
            values = np.asarray(chunk[column.name])
            if not np.can_cast(values.dtype, column.dtype, "safe"):
                raise TraceError(f"{source}: {column.name} must be {column.dtype}, and is {values.dtype}")
            if values.ndim != 1 or (made and len(values) != len(next(iter(made.values())))):
                raise TraceError(f"{source}: {column.name} is not as long as the columns before it")
            if len(values) and column.least and int(values.min()) < column.least:
                raise TraceError(f"{source}: {column.name} must be at least {column.least}, and is {values.min()}")
            if len(values) and column.most is not None and int(values.max()) > column.most:
                raise TraceError(f"{source}: {column.name} must be at most {column.most}, and is {values.max()}")
            made[column.name] = values.astype(column.dtype, copy=False)
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
)

SCHEMAS: Final = {schema.name: schema for schema in (ACCESS,)}
