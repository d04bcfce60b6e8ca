"""Requests to the disks of servers, as Microsoft Research Cambridge published them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.disk import by_block
from tiersim.traces.readers.text import Block, Fields, blocks, first_lines, is_number, malformed
from tiersim.traces.schema import GET, SET, Chunk

HEADER: Final = b"timestamp,hostname,disknumber,type,offset,size,responsetime"
FIELDS: Final = 7
OPS: Final = {b"read": GET, b"write": SET}
NO_OP: Final = 255
TICK: Final = 100  # ns; Windows counts time in them, from 1601 on
LONGEST: Final = (2**63 - 1) // TICK
DISKS: Final = 1 << 32
VOLUMES: Final = 256
PLACES: Final = 1 << 56  # bytes of a volume, so that numbers of volumes fit above
BYTES: Final = 1 << 32
Volume = tuple[bytes, int]  # host and disk


@register("msr", family="reader", paper="Narayanan, Donnelly and Rowstron, USENIX FAST 2008")
class Msr:
    """MSR Cambridge's traces of disks: time, host, disk, Read or Write, offset, size and response time.

    The key is the byte offset and the size that of the request; with ``block_bytes`` a request is one for each block
    of that size that it touches instead. Volumes after the file's first have keys of their own: the second begins at
    2**56, the third at 2 * 2**56. The tenant is the number of the disk. Times, in ticks of 100 ns, are given since the
    first request. A first line of names is passed over.
    """

    schema: ClassVar[str] = "object"

    block_bytes: Annotated[
        int | None, Param("split each request into blocks of this size; when not given it is one", unit="bytes", ge=512)
    ] = None

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is a request, but for one of names at the beginning."""
        lines = first_lines(head)
        requests = lines[1:] if _is_header(lines[0]) else lines
        return any(map(bytes.strip, lines)) and all(map(_Lines({}).right, requests))

    @staticmethod
    def suggest(head: bytes) -> str:
        """What would tell more of a file that begins with a request or with the names of the columns."""
        line = first_lines(head)[0]
        begun = line.strip() and (_is_header(line) or _Lines({}).right(line))
        return "format='msr' tells which line is no request to a disk" if begun else ""

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request as a record of the object schema. Raises TraceError with line, byte offset and text."""
        first: int | None = None
        volumes: dict[Volume, int] = {}
        for block in blocks(stream, source):
            line, _, rest = block.text.partition(b"\n")
            if not block.lines and _is_header(line):
                block = Block(rest, 1, len(block.text) - len(rest), block.cut and bool(rest))
            fields = Fields(block.text, FIELDS)
            if not len(fields):
                continue
            before = dict(volumes)
            chunk = None
            if fields.right.all():
                first = int(fields.decimals(0)[0][0]) if first is None else first
                chunk = _records(fields, first, volumes)
            if chunk is None:
                raise malformed(
                    block,
                    _Lines(before, first).right,
                    source,
                    "a request to a disk",
                    "expected 'time,host,disk,Read or Write,offset,size,response time' with times in ticks of 100 ns, "
                    f"none before the first, offset and size in bytes, and at most {VOLUMES} volumes; sort the file by "
                    "time, cut it before this line, or name the format that it has",
                )
            if self.block_bytes is None:
                yield chunk
            else:
                offset = chunk["id"] % np.uint64(PLACES)
                chunk["id"] -= offset
                yield from by_block(chunk, offset, self.block_bytes)
        return 0


def _is_header(line: bytes) -> bool:
    return line.strip().lower() == HEADER


def _records(fields: Fields, first: int, volumes: dict[Volume, int]) -> Chunk | None:
    """The records of lines, or None if one is wrong. New volumes are numbered on."""
    time, right = fields.decimals(0)
    disk, numbered = fields.decimals(2, DISKS)
    op = fields.codes(3, OPS, NO_OP)
    offset, placed = fields.decimals(4, PLACES)
    size, sized = fields.decimals(5, BYTES)
    right = right & (time >= first) & numbered & (op != NO_OP) & placed & sized & (offset + size <= PLACES)
    right &= (time - np.uint64(first) <= LONGEST) & _filled(fields, 1) & _filled(fields, 6)
    if not right.all():
        return None
    volume = _numbered(fields.texts(1), disk, volumes)
    if len(volumes) > VOLUMES:
        return None
    return {
        "id": volume * np.uint64(PLACES) + offset,
        "time": (time - np.uint64(first)).astype(np.int64) * TICK,
        "size": size.astype(np.int64),
        "op": op,
        "tenant": disk.astype(np.uint32),
    }


def _filled(fields: Fields, place: int) -> NDArray[np.bool_]:
    starts, ends = fields.field(place)
    return ends > starts


def _numbered(hosts: Any, disks: NDArray[np.uint64], volumes: dict[Volume, int]) -> NDArray[np.uint64]:
    """The number of each line's volume, in the order in which they came first."""
    hosts = hosts.dictionary_encode()
    pairs = (hosts.indices.to_numpy().astype(np.uint64) << np.uint64(32)) + disks
    distinct, at, which = np.unique(pairs, return_index=True, return_inverse=True)
    numbers = np.zeros(len(distinct), np.uint64)
    for place in np.argsort(at):
        pair = int(distinct[place])
        numbers[place] = volumes.setdefault((hosts.dictionary[pair >> 32].as_py(), pair & (DISKS - 1)), len(volumes))
    return numbers[which]


class _Lines:
    """Whether lines are requests, one after the other: after these volumes, none before this time or the first's."""

    def __init__(self, volumes: dict[Volume, int], first: int | None = None) -> None:
        self._seen = set(volumes)
        self._first = first

    def right(self, line: bytes) -> bool:
        """Whether this is one, or nothing."""
        line = line.removesuffix(b"\r")
        if not line:
            return True
        words = line.split(b",")
        if len(words) != FIELDS:
            return False
        time, host, disk, op, offset, size, took = words
        if not all(map(is_number, (time, disk, offset, size))) or not host or not took or op.lower() not in OPS:
            return False
        self._seen.add((host, int(disk)))
        self._first = int(time) if self._first is None else self._first
        fit = int(disk) < DISKS and int(size) < BYTES and int(offset) + int(size) <= PLACES and int(offset) < PLACES
        return fit and 0 <= int(time) - self._first <= LONGEST and len(self._seen) <= VOLUMES
