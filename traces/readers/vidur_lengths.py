"""Lengths of requests to language models, without times."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.request_csv import headed, rows, whole
from tiersim.traces.readers.requests import Row, gathered
from tiersim.traces.schema import Chunk

COLUMNS: Final = (b"num_prefill_tokens", b"num_decode_tokens")
TOTAL: Final = b"num_total_tokens"
TIMES: Final = b"arrived_at"
EXPECTED: Final = (
    "expected num_prefill_tokens,num_decode_tokens, and num_total_tokens as their sum where it is there; tokens are "
    "whole numbers under 2**32"
)


@register("vidur-lengths", family="reader", paper="Agrawal et al., MLSys 2024; https://github.com/microsoft/vidur")
class VidurLengths:
    """Vidur's tables of lengths: tokens of prompt and answer, and no times: the records have no arrival.

    What needs arrivals must draw them. Tables that have a column ``arrived_at`` are not taken, so that no time is lost.
    """

    schema: ClassVar[str] = "request"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names the two columns and no times."""
        return headed(head, COLUMNS) and not headed(head, (TIMES,))

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source))
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    for line, held in rows(stream, source, COLUMNS, EXPECTED):
        size, made = (whole(held[name]) for name in COLUMNS)
        if TIMES in held or size is None or made is None or (TOTAL in held and whole(held[TOTAL]) != size + made):
            raise line.wrong("a row of lengths without a time", f"{EXPECTED}; cut the file before this line")
        yield {"input": size, "output": made}
