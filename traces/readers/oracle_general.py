"""Binary traces of libCacheSim with the next access of each request."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.schema import Chunk

RECORD: Final = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
BLOCK: Final = RECORD.itemsize << 15  # small enough for what is made of it to stay in the processor's cache
SECOND: Final = 10**9
NEVER: Final = (-1, 2**63 - 1)
FARTHEST: Final = 1 << 40  # no trace has as many requests; text and other formats read as far larger numbers
NAMED: Final = re.compile(r"\.oraclegeneral\b", re.IGNORECASE)
TEXT: Final = bytes(range(32, 127)) + b"\t\n\r"


@register("oracle-general", family="reader", paper="https://github.com/1a1a11a/libCacheSim")
class OracleGeneral:
    """libCacheSim's oracleGeneral: 24 bytes a request, little-endian, of time, id, size and next access.

    Time is whole seconds (u32) and given since the first request; the next access (i64) is checked, not kept. Requests
    of size 0 are kept as 0 bytes; libCacheSim leaves them out unless told otherwise, as ``skip_empty`` does.
    """

    schema: ClassVar[str] = "object"

    skip_empty: Annotated[bool, Param("leave out requests of size 0, as libCacheSim does")] = False

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the next accesses are those of the ids, or the name says so and the first record can be one."""
        rows = np.frombuffer(head, RECORD, len(head) // RECORD.itemsize)
        if not len(rows) or not head.translate(None, TEXT):
            return False
        if NAMED.search(name):
            return _wrong(rows[:1], int(rows["time"][0])) is None
        return _consistent(rows)

    def width(self, head: bytes) -> int:
        """The bytes of a record."""
        return 0 if self.skip_empty else RECORD.itemsize

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request as a record of the object schema. Raises TraceError with record, byte offset and values."""
        done = first = 0
        while data := stream.read(BLOCK):
            rows = np.frombuffer(data, RECORD, len(data) // RECORD.itemsize)
            if len(rows) and not done:
                first = int(rows["time"][0])
            bad = _wrong(rows, first)
            if bad is not None:
                raise _malformed(rows[bad], source, done + bad, first)
            done += len(rows)
            time = rows["time"].astype(np.int64)
            time -= first
            time *= SECOND
            chunk: Chunk = {"id": rows["id"].astype(np.uint64), "time": time, "size": rows["size"].astype(np.int64)}
            if self.skip_empty and not chunk["size"].all():
                kept = np.flatnonzero(chunk["size"])
                chunk = {name: values[kept] for name, values in chunk.items()}
            yield chunk
            if left := len(data) % RECORD.itemsize:
                stream.read(1)  # raises if it is the packing that breaks off
                raise _cut(source, done, left)
        return 0


def _wrong(rows: NDArray[Any], first: int) -> int | None:
    """The first of the records that cannot be one."""
    after, time = rows["next"], rows["time"]
    # the smallest and largest values tell of whole blocks, and only what looks wrong is looked at record by record
    if not len(rows) or (after.min() >= -1 and after.max() < FARTHEST and time.min() >= first):
        return None
    bad = np.flatnonzero(((after < -1) | ((after >= FARTHEST) & (after != NEVER[1]))) | (time < first))
    return int(bad[0]) if len(bad) else None


def _consistent(rows: NDArray[Any]) -> bool:
    """Whether each next access is where the id comes next, and time never goes back."""
    count = len(rows)
    after, time = rows["next"].astype(np.int64), rows["time"]
    never = np.isin(after, NEVER)
    order = np.argsort(rows["id"], kind="stable")
    same = rows["id"][order][:-1] == rows["id"][order][1:]
    truth = np.full(count, -1)
    truth[order[:-1][same]] = order[1:][same]
    linked = truth >= 0
    beyond = never | ((after >= count) & (after < FARTHEST))
    return bool(
        (time[1:] >= time[:-1]).all()
        and (after[linked] == truth[linked]).all()
        and beyond[~linked].all()
        and (linked.any() or never.any())
    )


def _malformed(row: Any, source: str, number: int, first: int) -> TraceError:
    time, after = int(row["time"]), int(row["next"])
    what = (
        f"its time, {time} s, is before that of record 1, {first} s" if time < first else f"its next access is {after}"
    )
    return TraceError(
        f"{source}: record {number + 1:,} (byte {number * RECORD.itemsize:,}) is not a request: {what}",
        None,
        "expected 24 bytes, little-endian: time in s (u32), id (u64), size in bytes (u32), and as i64 the number of "
        "the next request for the id, -1 if there is none; name the format that the file has, or fetch it again",
    )


def _cut(source: str, number: int, left: int) -> TraceError:
    return TraceError(
        f"{source}: record {number + 1:,} (byte {number * RECORD.itemsize:,}) breaks off after {left} of "
        f"{RECORD.itemsize} bytes",
        None,
        "fetch the file again, or cut it before this record",
    )
