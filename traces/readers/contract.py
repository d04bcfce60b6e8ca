"""What a reader of a foreign format is."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

from tiersim.traces.schema import Chunk

__all__ = ["ByteStream", "Reader", "Records"]


class ByteStream(Protocol):
    """Where a reader takes its bytes from: unpacked, from the start, never rewound."""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only before the end, none at the end."""


class Reader(Protocol):
    """A class registered with ``@register(name, family="reader")``; its dataclass fields are its options.

    The chunks that `read` yields fit the access schema. What it returns at the end is the number of instructions
    executed after the last record.
    """

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether a file that begins with these bytes and has this name is of the format."""

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every record. Raises TraceError naming source, record or line, byte offset and what was expected."""


class Records:
    """The chunks of a reader, to loop over; afterwards ``tail`` is what the reader returned."""

    def __init__(self, made: Generator[Chunk, None, int]) -> None:
        self._made = made
        self.tail = 0

    def __iter__(self) -> Iterator[Chunk]:
        self.tail = yield from self._made
