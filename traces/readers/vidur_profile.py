"""Measured times of the operations of language models and of what devices send each other."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator
from typing import ClassVar, Final

from tiersim._base.errors import TraceError
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.profiles import from_milliseconds
from tiersim.traces.readers.requests import Line, Row, gathered, lines
from tiersim.traces.readers.text import first_lines, is_number, shown
from tiersim.traces.schema import PROFILE, Chunk

STATISTICS: Final = {"mean": "mean", "median": "median", "min": "minimum", "max": "maximum", "std": "deviation"}
MEAN: Final = re.compile(r"time_stats\.(.+)\.mean")
COUNTS: Final = {
    "num_tokens": "tokens",
    "batch_size": "batch",
    "size": "size",
    "num_workers": "workers",
    "num_tensor_parallel_workers": "workers",
    "devices_per_node": "per_node",
    "rank": "rank",
}
LARGE: Final = ("tokens", "size")
PREFILL: Final = "is_prefill"
CHUNK: Final = "prefill_chunk_size"
CACHE: Final = "kv_cache_size"
ATTENTION: Final = (PREFILL, CHUNK, CACHE, "batch_size")
SLACK: Final = 1 + 1e-9  # of a mean, which is a sum of rounded numbers
COLUMNS: Final = "time_stats.NAME.min, .max, .mean, .median and .std for each operation, and no name of a column twice"
ROW: Final = (
    "expected for one operation at least minimum, median, mean and maximum in ms, in that order of size, and "
    f"{', '.join(COUNTS)}, {CHUNK} and {CACHE} as whole numbers where they are there"
)


@register("vidur-profile", family="reader", paper="Agrawal et al., MLSys 2024; https://github.com/microsoft/vidur")
class VidurProfile:
    """Vidur's tables of measured times, of networks and of parts of a model: a record for each operation of a row.

    An operation whose cells are all empty in a row was not measured there and makes no record. Of attention, tokens are
    those of the prompts that a call works on, or one for each request of a batch that decodes; what is in the KV cache
    already is its context. Columns that say how large a model is are left out: all rows of a file are of one.
    """

    schema: ClassVar[str] = "profile"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names times of operations."""
        return bool(_operations(_fields(first_lines(head)[0])))

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every time. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source), PROFILE)
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    names: list[str] = []  # of the first line that is not blank
    operations: list[str] = []
    for line in lines(stream, source):
        fields = _fields(line.text)
        if not names:
            names, operations = fields, _operations(fields)
            if not operations:
                raise TraceError(
                    f"{source}: line {line.number:,} (byte {line.offset:,}) does not name times of operations: "
                    f"{shown(line.text)}",
                    None,
                    f"expected {COLUMNS}; or name the format that the file has",
                )
            continue
        if len(fields) != len(names):
            raise line.wrong(f"a row of {len(names)} fields", f"{ROW}; cut the file before this line")
        yield from _measured(line, dict(zip(names, fields)), operations)


def _measured(line: Line, held: dict[str, str], operations: list[str]) -> list[Row]:
    """The records of a row."""
    counts = _counts(held)
    made: list[Row] = []
    for operation in operations:
        cells = {role: held[f"time_stats.{operation}.{name}"] for name, role in STATISTICS.items()}
        if not any(cells.values()):
            continue
        times = {role: from_milliseconds(cell.encode()) for role, cell in cells.items()}
        if not cells["deviation"]:
            times["deviation"] = math.nan
        if counts is None or held.get("collective", operation) != operation or not _ordered(times):
            made = []
            break
        made.append({"operation": operation, **times, **counts})
    if not made:
        raise line.wrong("a row of times", f"{ROW}; cut the file before this line")
    return made


def _ordered(times: dict[str, float | None]) -> bool:
    least, median, mean, most, deviation = (
        times[role] for role in ("minimum", "median", "mean", "maximum", "deviation")
    )
    if least is None or median is None or mean is None or most is None or deviation is None:
        return False
    return least <= median <= most and least <= mean * SLACK and mean <= most * SLACK


def _counts(held: dict[str, str]) -> dict[str, int] | None:
    """The numbers that a row says of all its operations; None if one is none."""
    named = {name: held[name] for name in (*COUNTS, CHUNK, CACHE) if name in held}
    if not all(is_number(text.encode()) for text in named.values()):
        return None
    numbers = {name: int(text) for name, text in named.items()}
    made = {role: numbers[name] for name, role in COUNTS.items() if name in numbers}
    if all(name in held for name in ATTENTION):
        if held[PREFILL] not in ("True", "False"):
            return None
        made["tokens"] = numbers["batch_size"] * (numbers[CHUNK] if held[PREFILL] == "True" else 1)
        made["context"] = numbers[CACHE]
    return made if all(count < 1 << (64 if role in LARGE else 32) for role, count in made.items()) else None


def _operations(names: list[str]) -> list[str]:
    """What was timed; nothing if a statistic of it is missing."""
    found = [match[1] for name in names if (match := MEAN.fullmatch(name))]
    needed = {f"time_stats.{operation}.{name}" for operation in found for name in STATISTICS}
    return found if needed <= set(names) and len(set(names)) == len(names) else []


def _fields(line: bytes) -> list[str]:
    text = line.decode("utf-8", "replace").removeprefix("\ufeff")
    return [field.strip().strip('"') for field in text.split(",")]
