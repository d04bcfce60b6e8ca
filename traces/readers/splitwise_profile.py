"""Measured times of prompts and tokens of language models."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from typing import ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.profiles import from_milliseconds, number
from tiersim.traces.readers.request_csv import headed, rows, whole
from tiersim.traces.readers.requests import Row, gathered
from tiersim.traces.schema import PROFILE, Chunk

NAMES: Final = {b"model": "model", b"hardware": "hardware"}
COUNTS: Final = {
    b"prompt_size": "tokens",
    b"token_size": "output",
    b"batch_size": "batch",
    b"tensor_parallel": "workers",
}
POWER: Final = b"average_power"
TIMES: Final = {b"prompt_time": "prompt", b"token_time": "token", b"e2e_time": "end-to-end"}
COLUMNS: Final = (*NAMES, *COUNTS, POWER, *TIMES)
EXPECTED: Final = (
    f"expected {', '.join(name.decode() for name in COLUMNS)}; names are not blank, sizes whole numbers of at least 1 "
    "and under 2**32, power and times in ms finite numbers of at least 0"
)


@register("splitwise-profile", family="reader", paper="Patel et al., ISCA 2024, https://arxiv.org/abs/2311.18677")
class SplitwiseProfile:
    """Splitwise's table of measured times: each run of a model makes the records prompt, token and end-to-end.

    ``prompt`` is the time until the first token, ``token`` that between two, ``end-to-end`` that of the whole run; all
    of a batch, with the sizes of prompt and answer of each of its requests. A power of 0 was not measured: it is NaN.
    """

    schema: ClassVar[str] = "profile"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names the columns."""
        return headed(head, COLUMNS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every time. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source), PROFILE)
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    for line, held in rows(stream, source, COLUMNS, EXPECTED):
        names = {role: _text(held[name]) for name, role in NAMES.items()}
        counts = {role: whole(held[name]) for name, role in COUNTS.items()}
        times = {operation: from_milliseconds(held[name]) for name, operation in TIMES.items()}
        power = number(held[POWER])
        if not all(names.values()) or not all(counts.values()) or power is None or None in times.values():
            raise line.wrong("a row of times", f"{EXPECTED}; cut the file before this line")
        for operation, time in times.items():
            yield {"operation": operation, "mean": time, **names, **counts, "power": power or math.nan}


def _text(name: bytes) -> str:
    """A name, empty where it is no UTF-8."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return ""
