"""Binary traces of the commands of virtual disks, as CloudPhysics collected them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.disk import by_block
from tiersim.traces.schema import GET, SET, Chunk

SECTOR: Final = 512  # bytes; what a number of a logical block counts
MIDDLE: Final = [("serial", "<u4"), ("size", "<u4"), ("pieces", "<u4")]
COMMAND: Final = [("op", "<u2"), ("version", "<u2")]
PLACE: Final = [("block", "<u8"), ("time", "<u8")]
VERSIONS: Final = {  # 2 before 1, as libCacheSim tries them
    2: np.dtype([*COMMAND, *MIDDLE, *PLACE, ("took", "<u8")]),
    1: np.dtype([*MIDDLE, *COMMAND, *PLACE]),
}
SHORTEST: Final = VERSIONS[1].itemsize
WHOLE: Final = 160  # bytes that whole records of either version fill
BLOCK: Final = WHOLE << 13
MICROSECOND: Final = 1000
FARTHEST: Final = 1 << 54  # blocks of a disk that is split, so that no byte of it is beyond 64 bits
LATEST: Final = (2**63 - 1) // MICROSECOND
NO_OP: Final = 255
# reads and writes of 6, 10, 12 and 16 bytes, write and verify (2e, 8e, ae), and what libCacheSim also takes for one;
# https://www.t10.org/lists/op-num.htm
OPS: Final = np.full(1 << 16, NO_OP, np.uint8)
OPS[[0x08, 0x28, 0x2D, 0x88, 0xA8]] = GET
OPS[[0x0A, 0x2A, 0x2E, 0x3F, 0x8A, 0x8E, 0x9A, 0x9C, 0xAA, 0xAE]] = SET


@register("vscsi", family="reader", paper="Waldspurger et al., USENIX FAST 2015")
class Vscsi:
    """CloudPhysics' traces of virtual SCSI disks: little-endian, 32 bytes a command (version 1) or 40 (version 2).

    The key is the number of the first logical block, of 512 bytes, and the size that of the request: as libCacheSim
    does it. With ``block_bytes`` a request is one for each block of that size that it touches instead. Times, in
    microseconds, are given since the first command.
    """

    schema: ClassVar[str] = "object"

    block_bytes: Annotated[
        int | None, Param("split each request into blocks of this size; when not given it is one", unit="bytes", ge=512)
    ] = None
    skip_other: Annotated[bool, Param("leave out commands that neither read nor write")] = False

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every record is of one version and none is before the first, and most read or write."""
        version = _version(head)
        if version is None:
            return False
        rows = _rows(head, version)
        fine = _wrong(rows, version, int(rows["time"][0]), skip_other=True, split=False) is None
        return fine and bool(np.count_nonzero(OPS[rows["op"]] != NO_OP) * 2 > len(rows))

    @staticmethod
    def suggest(head: bytes) -> str:
        """What would tell more of a file that begins with a request."""
        version = _version(head)
        known = version is not None and OPS[_rows(head, version)["op"][0]] != NO_OP
        return "format='vscsi' tells which record is no request to a disk" if known else ""

    def width(self, head: bytes) -> int:
        """The bytes of a record."""
        version = _version(head)
        return 0 if self.block_bytes or self.skip_other or version is None else VERSIONS[version].itemsize

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request as a record of the object schema. Raises TraceError with record, byte offset and values."""
        version: int | None = None
        done = first = 0
        while data := stream.read(BLOCK):
            if version is None:
                version = _version(data)
                if version is None:
                    raise _unknown(data, source)
                first = int(_rows(data, version)["time"][0])
            rows = _rows(data, version)
            bad = _wrong(rows, version, first, self.skip_other, split=self.block_bytes is not None)
            if bad is not None:
                raise _malformed(rows[bad], source, done + bad, version, first)
            done += len(rows)
            yield from self._chunks(rows, first)
            width = VERSIONS[version].itemsize
            if left := len(data) % width:
                stream.read(1)  # raises if it is the packing that breaks off
                raise TraceError(
                    f"{source}: record {done + 1:,} (byte {done * width:,}) breaks off after {left} of {width} bytes",
                    None,
                    "fetch the file again, or cut it before this record",
                )
        return 0

    def _chunks(self, rows: NDArray[Any], first: int) -> Iterator[Chunk]:
        op = OPS[rows["op"]]
        if self.skip_other and (op == NO_OP).any():
            kept = op != NO_OP
            rows, op = rows[kept], op[kept]
        time = (rows["time"] - np.uint64(first)).astype(np.int64) * MICROSECOND
        chunk: Chunk = {"id": rows["block"].astype(np.uint64), "time": time, "size": rows["size"].astype(np.int64)}
        chunk["op"] = op
        if self.block_bytes is None:
            yield chunk
        else:
            offset = chunk["id"] * np.uint64(SECTOR)
            chunk["id"] = np.zeros_like(offset)
            yield from by_block(chunk, offset, self.block_bytes)


def _version(head: bytes) -> int | None:
    """The version of the first two records, or of the only one."""
    for version, form in VERSIONS.items():
        found = np.frombuffer(head, form, min(len(head) // form.itemsize, 2))["version"] >> 8
        if len(found) and (found == version).all():
            return version
    return None


def _rows(data: bytes, version: int) -> NDArray[Any]:
    form = VERSIONS[version]
    return np.frombuffer(data, form, len(data) // form.itemsize)


def _wrong(rows: NDArray[Any], version: int, first: int, skip_other: bool, split: bool) -> int | None:
    """The first of the records that cannot be one, or not one that can be told as what was asked for."""
    time, other = rows["time"], OPS[rows["op"]] == NO_OP
    right = (rows["version"] >> 8 == version) & (time >= first) & (time - np.uint64(first) <= LATEST)
    right &= (other & skip_other) | (~other & ((rows["block"] < FARTHEST) | (not split)))
    return None if right.all() else int(np.argmin(right))


def _unknown(data: bytes, source: str) -> TraceError:
    if len(data) < SHORTEST:
        what = f"breaks off after {len(data)} of {SHORTEST} bytes"
    else:
        what = f"is of no known version: {data[:16].hex(' ', 4)}"
    return TraceError(
        f"{source}: record 1 (byte 0) {what}",
        None,
        "expected version 1 (32 bytes, with 1 in byte 15) or 2 (40 bytes, with 2 in byte 3); fetch the file again, or "
        "name the format that it has",
    )


def _malformed(row: Any, source: str, number: int, version: int, first: int) -> TraceError:
    remedy = "fetch the file again, or cut it before this record"
    if row["version"] >> 8 != version:
        what = f"its version is {row['version'] >> 8}, and that of record 1 is {version}"
    elif row["time"] < first:
        what = f"its time, {row['time']} us, is before that of record 1, {first} us"
    elif row["time"] - np.uint64(first) > LATEST:
        what = f"its time, {row['time']} us, is 2**63 ns or more after that of record 1"
    elif OPS[row["op"]] == NO_OP:
        what = f"its command, {row['op']:#04x}, neither reads nor writes"
        remedy = "skip_other=True leaves such commands out; if this one cannot be, fetch the file again"
    else:
        what = f"its block, {row['block']}, is beyond 2**54 blocks of {SECTOR} bytes"
    return TraceError(
        f"{source}: record {number + 1:,} (byte {number * VERSIONS[version].itemsize:,}) is not a request: {what}",
        None,
        remedy,
    )
