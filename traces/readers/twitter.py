"""Requests to the in-memory caches of Twitter."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, ClassVar, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import Fields, blocks, first_lines, is_number, keys, malformed
from tiersim.traces.schema import DELETE, GET, SET, Chunk

FIELDS: Final = 7
OPS: Final = {
    **dict.fromkeys((b"get", b"gets"), GET),
    **dict.fromkeys((b"set", b"add", b"replace", b"cas", b"append", b"prepend", b"incr", b"decr"), SET),
    b"delete": DELETE,
}
NO_OP: Final = 255
BYTES: Final = 1 << 32  # of a key, or of a value: one more than there can be
CLIENTS: Final = 1 << 32
SECOND: Final = 10**9
LATEST: Final = (2**63 - 1) // SECOND


@register(
    "twitter",
    family="reader",
    paper="Yang, Yue and Rashmi, USENIX OSDI 2020; https://github.com/twitter/cache-trace",
)
class Twitter:
    """Twitter's cache traces: time, key, bytes of key and of value, client, operation and ttl, commas between them.

    The size is that of key and value together, the tenant the client. Keys may hold commas; those that are decimal
    numbers under 2**64 without leading zeros stay, any other is hashed to 64 bits (BLAKE2b). Times, in seconds, are
    given since the first request. A get whose value has 0 bytes is a miss of Twitter's cache: it is kept with the size
    of its key, unless ``skip_empty`` leaves it out.
    """

    schema: ClassVar[str] = "object"

    skip_empty: Annotated[bool, Param("leave out gets of values of 0 bytes, as libCacheSim does")] = False

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is a request, and one at least is."""
        lines = first_lines(head)
        return any(map(bytes.strip, lines)) and all(map(_Lines().right, lines))

    @staticmethod
    def suggest(head: bytes) -> str:
        """What would tell more of a file that begins with a request."""
        line = first_lines(head)[0]
        return "format='twitter' tells which line is no request" if line.strip() and _Lines().right(line) else ""

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request as a record of the object schema. Raises TraceError with line, byte offset and text."""
        first: int | None = None
        for block in blocks(stream, source):
            fields = Fields(block.text, FIELDS, free=1)
            if not len(fields):
                continue
            before, chunk = first, None
            if fields.right.all():
                first = int(fields.decimals(0)[0][0]) if first is None else first
                chunk = self._records(fields, first)
            if chunk is None:
                raise malformed(
                    block,
                    _Lines(before).right,
                    source,
                    "a request",
                    "expected 'time,key,key size,value size,client,operation,ttl' with times in s, none before the "
                    "first, sizes in bytes and an operation of memcached; sort the file by time, cut it before this "
                    "line, or name the format that it has",
                )
            yield chunk
        return 0

    def _records(self, fields: Fields, first: int) -> Chunk | None:
        """The records of lines, or None if one is wrong."""
        time, right = fields.decimals(0, LATEST + 1)
        starts, ends = fields.field(1)
        key_size, sized = fields.decimals(2, BYTES)
        value_size, filled = fields.decimals(3, BYTES)
        tenant, known = fields.decimals(4, CLIENTS)
        op = fields.codes(5, OPS, NO_OP)
        ttl, ending = fields.decimals(6, LATEST + 1)
        right = right & (time >= first) & (ends > starts) & sized & filled & known & (op != NO_OP) & ending
        if not right.all():
            return None
        chunk: Chunk = {
            "id": keys(fields.texts(1)),
            "time": (time.astype(np.int64) - first) * SECOND,
            "size": (key_size + value_size).astype(np.int64),
            "op": op,
            "ttl": ttl.astype(np.int64) * SECOND,
            "tenant": tenant.astype(np.uint32),
        }
        if self.skip_empty:
            kept = (value_size > 0) | (op != GET)
            chunk = {name: values[kept] for name, values in chunk.items()}
        return chunk


class _Lines:
    """Whether lines are requests, one after the other: none before this time, or that of the first."""

    def __init__(self, first: int | None = None) -> None:
        self._first = first

    def right(self, line: bytes) -> bool:
        """Whether this is one, or nothing."""
        line = line.removesuffix(b"\r")
        if not line:
            return True
        time, *rest = line.split(b",")
        if len(rest) < FIELDS - 1 or not b",".join(rest[:-5]):
            return False
        key_size, value_size, client, op, ttl = rest[-5:]
        numbers = ((time, LATEST + 1), (key_size, BYTES), (value_size, BYTES), (client, CLIENTS), (ttl, LATEST + 1))
        if not all(is_number(text) and int(text) < end for text, end in numbers) or op.lower() not in OPS:
            return False
        self._first = int(time) if self._first is None else self._first
        return int(time) >= self._first
