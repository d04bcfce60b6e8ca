"""Requests to ChatGPT and GPT-4 of a university."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.keys import key_of
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.request_csv import headed, rows, whole
from tiersim.traces.readers.requests import Row, gathered, nanoseconds
from tiersim.traces.schema import FAILED, SERVED, Chunk

COLUMNS: Final = (b"Timestamp", b"Model", b"Request tokens", b"Response tokens", b"Total tokens", b"Log Type")
SESSION: Final = b"Session ID"
SECOND: Final = 9  # digits of its nanoseconds
EXPECTED: Final = (
    "expected Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type, and with them or not Session ID "
    "and Elapsed time; times in seconds, none before the first"
)


@register("burstgpt", family="reader", paper="arXiv:2401.17644; https://github.com/HPMLL/BurstGPT")
class BurstGpt:
    """BurstGPT's tables: when in seconds, model, tokens of prompt and answer, and the kind of log as category.

    A request without a token of answer failed, as its authors say. A session is there from the second release on; a
    request that names none is a session of its own, numbered by its line.
    """

    schema: ClassVar[str] = "request"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names the columns that every release has."""
        return headed(head, COLUMNS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source))
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    first: int | None = None
    for line, held in rows(stream, source, COLUMNS, EXPECTED):
        time = nanoseconds(held[b"Timestamp"], SECOND)
        size, made = whole(held[b"Request tokens"]), whole(held[b"Response tokens"])
        total = whole(held[b"Total tokens"])
        if first is None:
            first = time
        if time is None or first is None or time < first or size is None or made is None or total is None:
            raise line.wrong("a request to a model", f"{EXPECTED}; cut the file before this line")
        row: Row = {"input": size, "output": made, "arrival": time - first}
        if SESSION in held:
            row["session"] = _code(held[SESSION] or b"line %d" % line.number)
        row["category"] = _code(held[b"Log Type"])
        row["model"] = _code(held[b"Model"])
        row["status"] = SERVED if made else FAILED
        yield row


def _code(text: bytes) -> int:
    return key_of(text.decode("latin-1"))
