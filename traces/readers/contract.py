"""What a reader of a foreign format is."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Protocol

from tiersim.traces.schema import ACCESS, SCHEMAS, Chunk, Schema

__all__ = ["HEAD", "ByteStream", "Reader", "Records", "schema_of", "suggestions", "width_of"]

HEAD = 1 << 16  # the bytes that a file is recognised by


class ByteStream(Protocol):
    """Where a reader takes its bytes from: unpacked, from the start, never rewound."""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only before the end, none at the end."""


class Reader(Protocol):
    """A class registered with ``@register(name, family="reader")``; its dataclass fields are its options.

    The chunks that `read` yields fit the schema whose name the class attribute ``schema`` gives; it is ``access``
    where there is none. What `read` returns at the end is the number of instructions executed after the last record, 0
    where there are none. Two more methods are optional: ``width(head)`` gives the bytes of a record where each has as
    many, else 0; the static ``suggest(head)`` says which options would help with a file that nothing recognises and
    that could still be of the format, or nothing.
    """

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether a file that begins with these bytes and has this name is of the format."""

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every record. Raises TraceError naming source, record or line, byte offset and what was expected."""


def schema_of(reader: Any) -> Schema:
    """The schema of what a reader or a generator yields."""
    return SCHEMAS[getattr(reader, "schema", ACCESS.name)]


def width_of(reader: Any, head: bytes) -> int:
    """The bytes of a record of a file that begins so, 0 when they differ or are not known."""
    return int(reader.width(head)) if hasattr(reader, "width") else 0


def suggestions(readers: list[Any], head: bytes) -> list[str]:
    """What these classes of readers would need to know to read a file that begins so."""
    said = (reader.suggest(head) for reader in readers if hasattr(reader, "suggest"))
    return [text for text in said if text]


class Records:
    """The chunks of a reader, to loop over; afterwards ``tail`` is what the reader returned."""

    def __init__(self, made: Generator[Chunk, None, int]) -> None:
        self._made = made
        self.tail = 0

    def __iter__(self) -> Iterator[Chunk]:
        self.tail = yield from self._made
