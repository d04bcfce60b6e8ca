"""Requests to the language models of Azure."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from typing import ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.request_csv import headed, rows, whole
from tiersim.traces.readers.requests import LATEST, Row, gathered
from tiersim.traces.schema import Chunk

COLUMNS: Final = (b"TIMESTAMP", b"ContextTokens", b"GeneratedTokens")
TIME: Final = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:\+00:00)?", re.ASCII)
EXPECTED: Final = (
    "expected TIMESTAMP,ContextTokens,GeneratedTokens with a time as in 2023-11-16 18:15:46.6805900, none before the "
    "first, and two numbers of tokens"
)


@register(
    "azure-llm",
    family="reader",
    paper="Patel et al., ISCA 2024; https://github.com/Azure/AzurePublicDataset",
)
class AzureLlm:
    """Azure's traces of language models, 2023 and 2024: when, and tokens of prompt and answer.

    Times have 7 decimals in 2023 and 6 and an offset of zero in 2024; both are kept exactly. They name no blocks, no
    sessions and no models.
    """

    schema: ClassVar[str] = "request"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names the three columns."""
        return headed(head, COLUMNS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source))
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    first: int | None = None
    for line, held in rows(stream, source, COLUMNS, EXPECTED):
        time = _time(held[COLUMNS[0]])
        size, made = whole(held[COLUMNS[1]]), whole(held[COLUMNS[2]])
        if first is None:
            first = time
        if time is None or first is None or time < first or size is None or made is None:
            raise line.wrong("a request to a model", f"{EXPECTED}; cut the file before this line")
        yield {"input": size, "output": made, "arrival": time - first}


def _time(text: bytes) -> int | None:
    """Nanoseconds since 1970, of a time in this century or near it."""
    found = TIME.fullmatch(text)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC)
    except ValueError:  # a thirteenth month
        return None
    time = int(moment.timestamp()) * 10**9 + int((found[2] or b"0").ljust(9, b"0"))
    return time if 0 <= time < LATEST else None
