"""Binary traces of libCacheSim that say in a header what their records hold."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.schema import DELETE, GET, SET, Chunk

MAGIC: Final = (0x123456789ABCDEF0).to_bytes(8, "little")
HEADERS: Final = (8192, 1024)  # bytes of a header, whose last 8 are the magic number again, today and in older files
RECORDS: Final = 1 << 15  # at a time: few enough for what is made of them to stay in the processor's cache
SECOND: Final = 10**9
FARTHEST: Final = 1 << 40  # no trace has as many requests
LATEST: Final = (2**63 - 1) // SECOND
UNITS: Final = {"time": "time, in s,", "next": "next access", "op": "operation", "ttl": "ttl, in s,"}
ENDLESS: Final = (0, -1, 2**32 - 1)  # ttls of what stays valid

BEGIN: Final = [("time", "<u4"), ("id", "<u8"), ("size", "<u4")]
WIDE: Final = [("time", "<u4"), ("id", "<u8"), ("size", "<i8"), ("op_tenant", "<u4"), ("ttl", "<u4"), ("next", "<i8")]
VERSIONS: Final = {
    1: np.dtype([*BEGIN, ("next", "<i8")]),
    2: np.dtype([*BEGIN, ("op_tenant", "<u4"), ("next", "<i8")]),
    3: np.dtype(WIDE),
    **{4 + more: np.dtype([*WIDE, ("features", "<u4", (1 << more,))]) for more in range(5)},
}
CODES: Final = str.maketrans("clL", "biI")  # to numpy's codes of the same fields, where they differ from struct's
ROLES: Final = ("id", "size", "time", "", "next", "op", "ttl", "tenant")  # whose places a header of fields gives

# nop, get, gets; set, add, cas, replace, append, prepend; delete; incr, decr; read; write, update; and one not known
OPS: Final = np.full(256, 255, np.uint8)
OPS[[0, 1, 2, 12, 255]] = GET
OPS[[3, 4, 5, 6, 7, 8, 10, 11, 13, 14]] = SET
OPS[9] = DELETE


@dataclass(frozen=True)
class Form:
    """What a header says: its bytes, a record's fields, the requests that it counts (0: not said) and where it does."""

    begin: int
    record: np.dtype[Any]
    requests: int
    counted_at: int


@register("lcs", family="reader", paper="https://github.com/1a1a11a/libCacheSim")
class Lcs:
    """libCacheSim's LCS: a header, and little-endian records of time, id, size, next access and what the version adds.

    Versions 1 to 8 after a header of 8,192 bytes, or of 1,024 as first written, and the files from before there were
    versions, whose header lists the fields. Time is whole seconds and given since the first request; the next access
    is checked, not kept; features (versions 4 to 8) are left out. Operations without a name count as gets. Requests of
    size 0 are kept as 0 bytes; libCacheSim leaves them out unless told otherwise, as ``skip_empty`` does.
    """

    schema: ClassVar[str] = "object"

    skip_empty: Annotated[bool, Param("leave out requests of size 0, as libCacheSim does")] = False

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the file begins with the magic number."""
        return head.startswith(MAGIC)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request as a record of the object schema. Raises TraceError with record, byte offset and values."""
        head = stream.read(HEADERS[0])
        form = _form(head, source)
        width = form.record.itemsize
        rest = head[form.begin :]
        done = first = 0
        while True:
            more = stream.read(width * RECORDS)
            data = rest + more
            rows = np.frombuffer(data, form.record, len(data) // width)
            rest = data[len(rows) * width :]
            if len(rows):
                columns = _columns(rows)
                first = first if done else int(columns["time"][0])
                _check(columns, first, done, form, source)
                done += len(rows)
                yield self._chunk(columns, first)
            if not more:
                break
        end = form.begin + done * width
        if rest:
            raise TraceError(
                f"{source}: record {done + 1:,} (byte {end:,}) breaks off after {len(rest)} of {width} bytes",
                None,
                "fetch the file again, or cut it before this record",
            )
        if form.requests not in (0, done):  # a file that breaks off between two records shows only so
            raise TraceError(
                f"{source}: record {done:,} is the last one (byte {end:,} is the end), and the header counts "
                f"{form.requests:,}",
                None,
                "fetch the file again; for a part that was cut on purpose, write its number of requests into the "
                f"header, as i64 at byte {form.counted_at}",
            )
        return 0

    def _chunk(self, columns: dict[str, NDArray[Any]], first: int) -> Chunk:
        made: Chunk = {"id": columns["id"], "time": (columns["time"] - first) * SECOND}
        if "size" in columns:
            made["size"] = columns["size"]
        if "op" in columns:
            made["op"] = OPS[columns["op"]]
        if "ttl" in columns:
            made["ttl"] = np.where(np.isin(columns["ttl"], ENDLESS), 0, columns["ttl"]) * SECOND
        if "tenant" in columns:
            made["tenant"] = columns["tenant"].astype(np.uint32)
        if self.skip_empty and "size" in columns and not columns["size"].all():
            kept = np.flatnonzero(columns["size"])
            made = {name: values[kept] for name, values in made.items()}
        return made


def _form(head: bytes, source: str) -> Form:
    """What the header of a file says that begins so. Raises TraceError when it is none."""
    begin = next((size for size in HEADERS if head[size - 8 : size] == MAGIC), 0)
    if not head.startswith(MAGIC) or not begin:
        what = (
            f"begins with {head[:8].hex(' ')} and not with {MAGIC.hex(' ')}"
            if not head.startswith(MAGIC)
            else f"has no end: {MAGIC.hex(' ')} stands neither at byte {HEADERS[0] - 8:,} nor at {HEADERS[1] - 8:,}"
            if len(head) == HEADERS[0]
            else f"breaks off after {len(head):,} bytes"
        )
        raise _no_header(source, what)
    version = int.from_bytes(head[8:16], "little")
    if version in VERSIONS:
        form = Form(begin, VERSIONS[version], int.from_bytes(head[24:32], "little", signed=True), 24)
    elif head[8:9] == b"<" and begin == HEADERS[1]:
        form = Form(begin, _listed(head, source), int.from_bytes(head[488:496], "little", signed=True), 488)
    else:
        raise _no_header(source, f"has version {version}, and known are {min(VERSIONS)} to {max(VERSIONS)}")
    if form.requests < 0:
        raise _no_header(source, f"counts {form.requests:,} requests")
    return form


def _listed(head: bytes, source: str) -> np.dtype[Any]:
    """The record of a header that lists fields as the codes of Python's module struct, and says which is which."""
    count, width = np.frombuffer(head[1000:1008], "<u4").tolist()
    codes = head[9 : 9 + min(count, 239)].decode("latin-1")
    names = [f"field {place}" for place in range(1, len(codes) + 1)]
    for role, place in zip(ROLES, head[248:256]):
        if role and place:
            if place > len(codes) or codes[place - 1] in "fd":
                raise _no_header(source, f"has the {role} in field {place} of {codes!r}")
            names[place - 1] = role
    if not {"id", "time"} <= set(names):
        raise _no_header(source, f"names no field as the {'id' if 'id' not in names else 'time'}")
    if not set(codes) <= set("cbBhHiIlLqQfd"):
        raise _no_header(source, f"has unknown fields: {codes!r}")
    made = np.dtype([(name, f"<{code}") for name, code in zip(names, codes.translate(CODES))])
    if made.itemsize != width:
        raise _no_header(source, f"says that a record has {width} bytes, and its fields {codes!r} have {made.itemsize}")
    return made


def _columns(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The fields that are used, by name, as numbers of 64 bits; one that is beyond 63 bits comes out below 0."""
    made = {name: rows[name].astype(np.int64) for name in (rows.dtype.names or ()) if name in ROLES}
    made["id"] = made["id"].view(np.uint64)
    if "op_tenant" in (rows.dtype.names or ()):
        made["op"] = (rows["op_tenant"] & np.uint32(255)).astype(np.int64)
        made["tenant"] = (rows["op_tenant"] >> np.uint32(8)).astype(np.int64)
    return made


def _check(columns: dict[str, NDArray[Any]], first: int, done: int, form: Form, source: str) -> None:
    """Raise for the first record that cannot be one."""
    wrong = {name: _beyond(name, values, first) for name, values in columns.items() if name != "id"}
    bad = np.logical_or.reduce(list(wrong.values()))
    if not bad.any():
        return
    row = int(np.argmax(bad))
    name = next(name for name, found in wrong.items() if found[row])
    raise TraceError(
        f"{source}: record {done + row + 1:,} (byte {form.begin + (done + row) * form.record.itemsize:,}) is not a "
        f"request: its {UNITS.get(name, name)} is {int(columns[name][row])}"
        + (f", and that of record 1 is {first}" if name == "time" else ""),
        None,
        "expected a time no earlier than that of record 1, a size of at least 0 bytes, an operation of 0 to 14 or 255, "
        "and as next access the number of a request, or -1 or 2**63 - 1 if there is none; fetch the file again, or cut "
        "it before this record",
    )


def _beyond(name: str, values: NDArray[Any], first: int) -> NDArray[np.bool_]:
    """Which values cannot be those of a request."""
    if name == "time":
        made = (values < max(first, 0)) | (values > LATEST)
    elif name == "next":
        made = (values < -1) | ((values >= FARTHEST) & (values != 2**63 - 1))
    elif name == "op":
        made = (values < 0) | ((values > 14) & (values != 255))
    elif name == "ttl":
        made = (values < -1) | (values > LATEST)
    elif name == "tenant":
        made = (values < 0) | (values >= 1 << 32)
    else:
        made = values < 0
    return made


def _no_header(source: str, what: str) -> TraceError:
    return TraceError(
        f"{source}: the header (byte 0) {what}",
        None,
        "expected the 8,192 bytes of LCS's versions 1 to 8, or the 1,024 of older files; fetch the file again, or name "
        "the format that it has",
    )
