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
    "EDGE",
    "FAILED",
    "FATES",
    "FETCH",
    "GET",
    "KEPT",
    "KINDS",
    "LOAD",
    "MODIFY",
    "OBJECT",
    "OPS",
    "PHASES",
    "PIN",
    "POPULARITY",
    "PROFILE",
    "PRUNED",
    "QUERY",
    "REQUEST",
    "ROUTING",
    "SCHEMAS",
    "SERVED",
    "SET",
    "STATUSES",
    "STORE",
    "TOKEN",
    "TREE",
    "UNPIN",
    "WARM_UP",
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

TOKEN: Final = 0
WARM_UP: Final = 1
PHASES: Final = ("token", "warm-up")

KEPT: Final = 0
PRUNED: Final = 1
FATES: Final = ("kept", "pruned")

Chunk: TypeAlias = dict[str, Any]  # an array a column, or a `Ragged`


@dataclass(frozen=True)
class Column:
    """One column: name, numpy type, unit, meaning, smallest and largest value allowed; or a finite one above zero.

    A ``ragged`` one has a list of such values a record, which may be empty (`tiersim.traces.ragged.Ragged`); in one of
    ``text`` they are the bytes of a text in UTF-8. Numbers with a fraction are finite, or NaN where one is ``unknown``.
    """

    name: str
    dtype: str
    unit: str
    doc: str
    least: float = 0
    most: int | None = None
    optional: bool = False
    positive: bool = False
    ragged: bool = False
    text: bool = False
    unknown: bool = False

    def broken(self, values: NDArray[Any]) -> str:
        """What is wrong with these values, or nothing."""
        if not len(values):
            return ""
        if self.positive and not (float(values.min()) > 0 and float(values.max()) < math.inf):  # so is no NaN
            return f"must be a finite number above 0, and is {values[~((values > 0) & (values < math.inf))][0]}"
        if values.dtype.kind == "f" and not self.positive:
            if not self.unknown and not np.isfinite(values).all():
                return f"must be a finite number, and is {values[~np.isfinite(values)][0]}"
            values = values[~np.isnan(values)]
            if np.isinf(values).any():
                return "must be a finite number, or NaN where it is not known, and is infinite"
            if not len(values):
                return ""
        if not self.positive and (self.least or values.dtype.kind != "u") and values.min() < self.least:
            return f"must be at least {self.least}, and is {values.min()}"
        if self.most is not None and values.max() > self.most:
            return f"must be at most {self.most}, and is {values.max()}"
        return ""


@dataclass(frozen=True)
class Schema:
    """A named, versioned set of columns; ``kind`` is the one whose values have the names ``kinds``.

    Where no column is, there is one kind. ``record`` is what a record is, in messages.
    """

    name: str
    version: int
    doc: str
    columns: tuple[Column, ...]
    kind: str
    kinds: tuple[str, ...]
    record: str = "record"

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
            if column.ragged and (wrong := held.broken or (held.garbled if column.text else "")):
                raise TraceError(f"{source}: {column.name} {wrong}")
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


def _text(name: str, doc: str, *, optional: bool = True) -> Column:
    return Column(name, "uint8", "UTF-8", doc, optional=optional, ragged=True, text=True)


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
    "memory access",
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
    "request",
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
        Column(
            "end", "int64", "ns", "from the arrival until the answer was there; absent when not measured", 0, None, True
        ),
        Column(
            "pieces",
            "int64",
            "ns",
            "a list: from the arrival until each piece of an answer that was streamed; absent when not measured",
            optional=True,
            ragged=True,
        ),
    ),
    "status",
    STATUSES,
    "request",
)

ROUTING: Final = Schema(
    "routing",
    1,
    "Which experts the router of a mixture-of-experts model chose, for each token at each layer.",
    (
        Column("layer", "uint16", "1", "of the model, as the source counts them"),
        Column("token", "uint32", "1", "place in its sequence, or in its forward pass where sequences are not known"),
        Column("experts", "uint16", "1", "a list: those chosen, best first where the source says so", ragged=True),
        Column("sequence", "uint64", "1", "prompt and answer; absent when not known", optional=True),
        Column("step", "uint32", "1", "forward pass; absent when not known", optional=True),
        Column("weights", "float32", "1", "a list: of each expert, how much it counts", optional=True, ragged=True),
        Column("predicted", "uint16", "1", "a list: the experts that a predictor named", optional=True, ragged=True),
        Column(
            "phase", "uint8", "1", "0 served, 1 warm-up on dummies; absent when all are 0", most=WARM_UP, optional=True
        ),
    ),
    "phase",
    PHASES,
    "routed token",
)

TREE: Final = Schema(
    "tree",
    1,
    "What a search over texts visited: nodes of trees, in the order in which they were made.",
    (
        Column("tree", "uint64", "1", "which search; one that is no number is hashed"),
        Column("node", "uint32", "1", "number in its tree"),
        Column("parent", "int64", "1", "number of the parent, always made before; -1 for a root", least=-1),
        Column("step", "uint32", "1", "round of the search that made it"),
        Column(
            "tokens", "uint32", "tokens", "of its own text, its parent's left out; absent if unknown", optional=True
        ),
        Column(
            "reward",
            "float64",
            "1",
            "what the search held it worth, NaN if unknown",
            -math.inf,
            optional=True,
            unknown=True,
        ),
        Column("time", "int64", "ns", "since the first node, as recorded; absent when not known", optional=True),
        _text("text", "its own text; absent when not known"),
        Column("fate", "uint8", "1", "0 kept, 1 pruned; absent when not known", most=PRUNED, optional=True),
    ),
    "fate",
    FATES,
    "node",
)

QUERY: Final = Schema(
    "query",
    1,
    "What people asked in words, in order.",
    (
        _text("text", "the question", optional=False),
        Column("group", "uint64", "1", "equal where questions mean the same; absent when not known", optional=True),
        Column("time", "int64", "ns", "since the first query, as recorded; absent when not known", optional=True),
        Column("user", "uint64", "1", "who asks; a name is hashed; absent when not known", optional=True),
        Column("session", "uint64", "1", "conversation; a name is hashed; absent when not known", optional=True),
        Column("turn", "uint32", "1", "place in its conversation, from 0; absent when all are 0", optional=True),
        _text("category", "kind of question; absent when not known"),
        _text("answer", "the reference; absent when not known"),
    ),
    "",
    ("query",),
    "query",
)

PROFILE: Final = Schema(
    "profile",
    1,
    "Measured times: how long an operation took in a configuration.",
    (
        _text("operation", "what was timed", optional=False),
        Column("mean", "float64", "ns", "of the time"),
        Column("median", "float64", "ns", "of the time", optional=True),
        Column("minimum", "float64", "ns", "of the time", optional=True),
        Column("maximum", "float64", "ns", "of the time", optional=True),
        Column(
            "deviation", "float64", "ns", "standard deviation of the time, NaN if unknown", optional=True, unknown=True
        ),
        Column("tokens", "uint64", "tokens", "that one call works on: of a prompt, of a batch", optional=True),
        Column("context", "uint64", "tokens", "of each request that were worked on before", optional=True),
        Column("output", "uint64", "tokens", "that are made", optional=True),
        Column("batch", "uint32", "1", "requests at a time", optional=True),
        Column("size", "uint64", "bytes", "that are moved", optional=True),
        Column("workers", "uint32", "1", "devices that take part", optional=True),
        Column("per_node", "uint32", "1", "of those, in one node", optional=True),
        Column("rank", "uint32", "1", "device that measured", optional=True),
        Column(
            "power",
            "float64",
            "1",
            "mean, as a share of the device's limit, NaN if unknown",
            optional=True,
            unknown=True,
        ),
        _text("model", "whose operation it is"),
        _text("hardware", "on which it ran"),
    ),
    "",
    ("measurement",),
    "measurement",
)

EDGE: Final = Schema(
    "edge",
    1,
    "A graph as the list of its edges.",
    (
        Column("source", "uint64", "1", "node"),
        Column("target", "uint64", "1", "node"),
        Column("weight", "float64", "1", "absent when all are 1", -math.inf, optional=True),
    ),
    "",
    ("edge",),
    "edge",
)

POPULARITY: Final = Schema(
    "popularity",
    1,
    "How often rows of tables are asked for: classes of rows by their number of accesses.",
    (
        _text("table", "whose rows they are", optional=False),
        Column("above", "uint64", "accesses", "of a row of the class, more than these"),
        Column("most", "uint64", "accesses", "of a row of the class, 2**64 - 1 where there is no bound"),
        Column("rows", "float64", "1", "share of all the rows that were asked for", most=1),
        Column("accesses", "float64", "1", "share of all accesses", most=1),
        Column("all_rows", "uint64", "1", "rows of the table that were asked for"),
        Column("all_accesses", "uint64", "1", "accesses to the table"),
    ),
    "",
    ("class of rows",),
    "class of rows",
)

SCHEMAS: Final = {
    schema.name: schema for schema in (ACCESS, OBJECT, REQUEST, ROUTING, TREE, QUERY, PROFILE, EDGE, POPULARITY)
}
