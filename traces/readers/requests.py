"""What the readers of JSON lines and of logs share: lines, checks of fields, records gathered into chunks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np

from tiersim._base.errors import TraceError
from tiersim.traces.ragged import Ragged
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks, shown
from tiersim.traces.schema import REQUEST, Chunk, Schema

__all__ = ["LATEST", "Line", "Row", "gathered", "lines", "nanoseconds", "object_of", "tokens"]

LONGEST: Final = 8 << 20  # bytes of a line, or up to twice as many: a session of agents is one line of some MB
SOLID: Final = re.compile(rb"\S[^\n]*")
RECORDS: Final = 1 << 14
NUMBERS: Final = 1 << 20  # of lists, in a chunk
LATEST: Final = 1 << 62  # ns: a difference of two of them fits 63 bits

Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A line that is not blank, its number counted from 1 and where it begins; whether the file ends inside it."""

    text: bytes
    number: int
    offset: int
    cut: bool
    source: str

    def wrong(self, what: str, remedy: str) -> TraceError:
        """The message that this line is not what it should be."""
        return TraceError(
            f"{self.source}: line {self.number:,} (byte {self.offset:,}) is not {what}: {shown(self.text)}"
            + ("; the file ends inside this line" if self.cut else ""),
            None,
            remedy,
        )


def lines(stream: ByteStream, source: str) -> Iterator[Line]:
    """Every line that is not blank. Raises TraceError for an endless one."""
    for block in blocks(stream, source, LONGEST):
        number, begin = block.lines + 1, 0
        for found in SOLID.finditer(block.text):  # blank lines, of which a packed file can hold billions, cost little
            start = block.text.rfind(b"\n", 0, found.start()) + 1
            number += block.text.count(b"\n", begin, start)
            begin = start
            cut = block.cut and found.end() == len(block.text)
            yield Line(block.text[start : found.end()], number, block.offset + start, cut, source)


def object_of(text: bytes) -> dict[str, Any]:
    """The JSON object that a line holds; an empty one where it holds none."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):  # lists in lists in lists, deeper than Python calls itself
        return {}
    return held if isinstance(held, dict) else {}


def tokens(held: Any) -> bool:
    """Whether this is a number of tokens."""
    return type(held) is int and 0 <= held < 1 << 32


def nanoseconds(held: Any, digits: int) -> int | None:
    """A time in a unit of so many decimal digits of nanoseconds, exactly; None if it is none, or beyond `LATEST`."""
    if isinstance(held, bytes):
        held = held.decode("ascii", "replace").replace("_", "?")
    elif type(held) not in (int, float):
        return None
    try:
        made = Decimal(str(held))
        if not made.is_finite() or made.adjusted() > 30:
            return None
        time = int(made.scaleb(digits).to_integral_value())
    except (ValueError, InvalidOperation, OverflowError):
        return None
    return time if 0 <= time < LATEST else None


def gathered(rows: Iterable[Row], schema: Schema = REQUEST) -> Iterator[Chunk]:
    """Records, each with the same columns, as chunks of a schema: lists of numbers where it is ragged, strings of text.

    An empty list and an empty text are right for a record without any.
    """
    held: list[Row] = []
    numbers = 0
    lists = [column.name for column in schema.columns if column.ragged]
    for row in rows:
        held.append(row)
        numbers += sum(len(row[name]) for name in lists if name in row)
        if len(held) >= RECORDS or numbers >= NUMBERS:
            yield _chunk(held, schema)
            held, numbers = [], 0
    if held:
        yield _chunk(held, schema)


def _chunk(rows: list[Row], schema: Schema) -> Chunk:
    made: Chunk = {}
    for column in schema.present(rows[0]):
        values = [row[column.name] for row in rows]
        if column.text:
            made[column.name] = Ragged.texts(values)
        elif column.ragged:
            lists = [np.asarray(value, column.dtype) for value in values]
            made[column.name] = Ragged.counted(np.concatenate(lists), np.array([len(each) for each in lists], np.int64))
        else:
            made[column.name] = np.array(values, column.dtype)
    return made
