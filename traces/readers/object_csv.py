"""Tables of requests as comma-separated text."""

from __future__ import annotations

import csv
from collections.abc import Generator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Final, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import Block, blocks, decimal_texts, first_lines, keys, shown, text_offsets
from tiersim.traces.schema import DELETE, GET, PIN, SET, UNPIN, Chunk

NAMES: Final = {
    "id": ("id", "obj_id", "object_id", "key", "lbn", "lba", "block"),
    "time": ("time", "timestamp", "clock_time", "real_time", "ts"),
    "size": ("size", "obj_size", "object_size", "bytes"),
    "op": ("op", "operation", "opcode"),
    "ttl": ("ttl",),
    "tenant": ("tenant", "tenant_id", "client", "client_id", "namespace"),
    "cost": ("cost",),
}
ROLE: Final = {name: role for role, names in NAMES.items() for name in names}
# SCSI opcodes: 6, 10, 12 and 16 bytes long; https://www.t10.org/lists/op-num.htm
OPS_BY_NAME: Final = {
    **dict.fromkeys((b"get", b"gets", b"read", b"r", b"08", b"28", b"a8", b"88"), GET),
    **dict.fromkeys((b"set", b"put", b"write", b"w", b"add", b"replace", b"update", b"cas"), SET),
    **dict.fromkeys((b"append", b"prepend", b"incr", b"decr", b"0a", b"2a", b"aa", b"8a"), SET),
    **dict.fromkeys((b"delete", b"del", b"remove"), DELETE),
    b"pin": PIN,
    b"unpin": UNPIN,
}
BLANK: Final = " \t\r"
DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "bar": "|"}
DIGITS: Final = {"s": 9, "ms": 6, "us": 3, "ns": 0}  # of a unit's fraction that nanoseconds show
EXPECTED: Final = {
    "id": "a key",
    "time": "a time, no earlier than the first and less than 2**63 ns",
    "size": "a whole number of bytes under 2**63",
    "op": "a get, set, delete, pin or unpin, or a SCSI opcode that reads or writes",
    "ttl": "a time of at least 0 and less than 2**63 ns",
    "tenant": "a whole number under 2**32",
    "cost": "a finite number above 0",
}


@dataclass(frozen=True)
class Layout:
    """What stands where: the place of each role, counted from 0; how many columns; whether line 1 names them."""

    places: dict[str, int]
    width: int
    header: bool


@register("object-csv", family="reader")
class ObjectCsv:
    """A table of requests: a key, and as far as there are columns for them time, size, op, ttl, tenant and cost.

    Columns are known by their names in a header (id, key, lbn, time, timestamp, size, op ...) or given by number.
    Blanks around a field do not count. Keys that are decimal numbers under 2**64 without leading zeros stay; any other
    is hashed to 64 bits (BLAKE2b, digest of 8 bytes, little-endian). Times are given since the first request, with
    ``time_unit`` for them and ttls. SCSI opcodes in hexadecimal are gets (08, 28, 88, a8) and sets (0a, 2a, 8a, aa).
    """

    schema: ClassVar[str] = "object"

    id_column: Annotated[int | None, Param("column of the key, counted from 1; found by its name", ge=1)] = None
    time_column: Annotated[int | None, Param("column of the time, counted from 1; found by its name", ge=1)] = None
    size_column: Annotated[int | None, Param("column of the size, counted from 1; found by its name", ge=1)] = None
    op_column: Annotated[int | None, Param("column of the operation, counted from 1; found by its name", ge=1)] = None
    ttl_column: Annotated[int | None, Param("column of the ttl, counted from 1; found by its name", ge=1)] = None
    tenant_column: Annotated[int | None, Param("column of the tenant, counted from 1; found by its name", ge=1)] = None
    cost_column: Annotated[int | None, Param("column of the cost, counted from 1; found by its name", ge=1)] = None
    header: Annotated[
        bool | None, Param("whether line 1 names the columns; when not given, if it has a known name")
    ] = None
    delimiter: Annotated[Literal["comma", "semicolon", "tab", "space", "bar"], Param("what is between columns")] = (
        "comma"
    )
    time_unit: Annotated[Literal["s", "ms", "us", "ns"], Param("unit of times and ttls")] = "s"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names one column as the key and one at least as time, size or what else is known."""
        roles = [ROLE[name] for name in _names(first_lines(head)[0], ",") if name in ROLE]
        return roles.count("id") == 1 and len(roles) > 1

    @staticmethod
    def suggest(head: bytes) -> str:
        """Which options are needed."""
        lines = first_lines(head)
        widths = {len(_row(line, ",")) for line in lines}
        if len(lines) < 2 or len(widths) > 1 or widths == {1} or head.startswith((b"{", b"[")):
            return ""
        return "a table of requests needs format='object-csv' and id_column=, counted from 1"

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every line as a record of the object schema. Raises TraceError with line, column, byte offset and text."""
        layout: Layout | None = None
        first: int | None = None
        for block in blocks(stream, source):
            part = block
            if layout is None:
                layout = self._layout(block.text.partition(b"\n")[0], source)
                if layout.header:
                    _, _, text = block.text.partition(b"\n")
                    part = Block(text, 1, len(block.text) - len(text), block.cut and bool(text))
            if not part.text.strip(b"\r\n"):  # lines of blanks are as wrong in a block of their own as in others
                continue
            chunk, first = _Rows(part, layout, DELIMITERS[self.delimiter], source).records(
                DIGITS[self.time_unit], first
            )
            yield chunk
        return 0

    def _layout(self, line: bytes, source: str) -> Layout:
        names = _names(line, DELIMITERS[self.delimiter])
        header = any(name in ROLE for name in names) if self.header is None else self.header
        places: dict[str, int] = {}
        for role in NAMES:
            given: int | None = getattr(self, f"{role}_column")
            found = [place for place, name in enumerate(names) if header and ROLE.get(name) == role]
            if given is not None and given > len(names):
                raise TraceError(
                    f"{source}: line 1 has {len(names)} columns, and {role}_column is {given}",
                    None,
                    "columns count from 1; delimiter= says what stands between them",
                )
            if given is None and len(found) > 1:
                raise TraceError(
                    f"{source}: line 1 names columns {found[0] + 1} and {found[1] + 1} as the {role}",
                    None,
                    f"say which with {role}_column=",
                )
            if given is not None or found:
                places[role] = found[0] if given is None else given - 1
        if "id" not in places:
            raise TraceError(
                f"{source}: line 1 (byte 0) names no column as the key: {shown(line.rstrip())}",
                None,
                f"expected one of {', '.join(NAMES['id'])}; or give id_column=, counted from 1",
            )
        return Layout(places, len(names), header)


def _names(line: bytes, delimiter: str) -> list[str]:
    return [name.strip().lower().replace("-", "_") for name in _row(line, delimiter)]


def _row(line: bytes, delimiter: str) -> list[str]:
    text = line.decode("latin-1").rstrip("\r\n")
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:  # a stray carriage return, or a field of more than 128 KiB
        return text.split(delimiter)


class _Rows:
    """The lines of a block, and what is said of a wrong one."""

    def __init__(self, block: Block, layout: Layout, delimiter: str, source: str) -> None:
        self.block = block
        self.layout = layout
        self.delimiter = delimiter
        self.source = source

    def records(self, digits: int, first: int | None) -> tuple[Chunk, int | None]:
        """The records, and the time of the first record of all."""
        columns = self._columns()
        chunk: Chunk = {"id": self._keys(columns["id"])}
        if "time" in columns:
            time = self._times("time", columns["time"], digits)
            first = int(time[0]) if first is None else first
            self._check("time", columns["time"], time >= first)
            chunk["time"] = time - first
        if "size" in columns:
            chunk["size"] = self._numbers("size", columns["size"], 1 << 63).astype(np.int64)
        if "op" in columns:
            chunk["op"] = self._ops(columns["op"])
        if "ttl" in columns:
            chunk["ttl"] = self._times("ttl", columns["ttl"], digits)
        if "tenant" in columns:
            chunk["tenant"] = self._numbers("tenant", columns["tenant"], 1 << 32).astype(np.uint32)
        if "cost" in columns:
            chunk["cost"] = self._costs(columns["cost"])
        return chunk, first

    def _columns(self) -> dict[str, Any]:
        text = self.block.text.removesuffix(b"\r")
        if text.count(b"\r") != text.count(b"\r\n"):
            self._malformed("")
        names = [str(place) for place in range(self.layout.width)]
        wanted = {role: str(place) for role, place in self.layout.places.items()}
        try:
            found = pcsv.read_csv(
                pa.BufferReader(self.block.text),
                pcsv.ReadOptions(use_threads=False, block_size=len(self.block.text) + 1, column_names=names),
                pcsv.ParseOptions(delimiter=self.delimiter),
                pcsv.ConvertOptions(
                    include_columns=sorted(set(wanted.values())), column_types=dict.fromkeys(names, pa.binary())
                ),
            )
        except pa.ArrowInvalid as error:
            self._malformed(str(error))
        if b'"' in text and len(found) != sum(line not in (b"", b"\r") for line in text.split(b"\n")):
            self._malformed("a text in quotes goes over a line end")
        made = {role: found[name].combine_chunks() for role, name in wanted.items()}
        return {role: _trimmed(values) for role, values in made.items()}

    def _malformed(self, said: str) -> NoReturn:
        """Raise for the first line that is no row of the table, or else for the block."""
        number, offset = self.block.lines + 1, self.block.offset
        lines = self.block.text.removesuffix(b"\n").split(b"\n")
        wrong, inside = lines[0], False
        for count, line in enumerate(lines):
            has = len(_row(line, self.delimiter))
            if has not in (0, self.layout.width) or b"\r" in line[:-1]:
                stray = "has a carriage return inside"  # to pyarrow another line, and then no number of a line is right
                said = stray if b"\r" in line[:-1] else f"has {has} columns, and line 1 has {self.layout.width}"
                number += count
                wrong, inside = line, self.block.cut and count == len(lines) - 1
                break
            offset += len(line) + 1
        else:
            offset = self.block.offset
            said = f"or one of {len(lines) - 1:,} after it is no row of a table ({ascii(said[:200])[1:-1]})"
        raise TraceError(
            f"{self.source}: line {number:,} (byte {offset:,}) {said}: {shown(wrong.rstrip())}"
            + ("; the file ends inside this line" if inside else ""),
            None,
            "expected as many columns in each line, with quotes around a text that holds the delimiter; cut the file "
            "before this line, or give delimiter=",
        )

    def _check(self, role: str, values: Any, right: NDArray[np.bool_]) -> None:
        """Raise for the first value that is not right."""
        if right.all():
            return
        row = int(np.argmin(right))
        offset = self.block.offset
        seen = -1
        number = self.block.lines
        for line in self.block.text.split(b"\n"):
            number += 1
            seen += line not in (b"", b"\r")
            if seen == row:
                break
            offset += len(line) + 1
        text = shown(values[row].as_py())
        last = self.block.cut and row == len(right) - 1
        raise TraceError(
            f"{self.source}: line {number:,}, column {self.layout.places[role] + 1} (byte {offset:,}): {text} is not "
            f"{EXPECTED[role]}" + ("; the file ends inside this line" if last else ""),
            None,
            f"{role}_column= says where else the {role} stands, header= whether line 1 names the columns; or cut the "
            "file before this line",
        )

    def _keys(self, values: Any) -> NDArray[np.uint64]:
        self._check("id", values, np.diff(text_offsets(values)) > 0)
        return keys(values)

    def _numbers(self, role: str, values: Any, end: int) -> NDArray[np.uint64]:
        made, right, _ = decimal_texts(values)
        self._check(role, values, right & (made < end))
        return made

    def _times(self, role: str, values: Any, digits: int) -> NDArray[np.int64]:
        """Nanoseconds."""
        whole, number, _ = decimal_texts(values)
        if number.all():
            self._check(role, values, whole <= np.uint64((2**63 - 1) // 10**digits))
            return whole.astype(np.int64) * np.int64(10**digits)
        halves = _exact(values, digits)
        if halves is None:  # a wrong one, one with an exponent, or more digits than nanoseconds show
            made = [_nanoseconds(text, digits) for text in values.to_pylist()]
            self._check(role, values, np.array([item is not None for item in made]))
            return np.array(made, np.int64)
        self._check(role, values, (halves[:, 1] == 0) & (halves[:, 0] >= 0))
        return halves[:, 0]

    def _ops(self, values: Any) -> NDArray[np.uint8]:
        texts = values.dictionary_encode()
        known = np.array([OPS_BY_NAME.get(text.lower(), 255) for text in texts.dictionary.to_pylist()], np.uint8)
        made: NDArray[np.uint8] = known[texts.indices.to_numpy()]
        self._check("op", values, made < 255)
        return made

    def _costs(self, values: Any) -> NDArray[np.float64]:
        try:
            made: NDArray[np.float64] = pc.cast(values.cast(pa.string()), pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            made = np.array([_real(text) for text in values.to_pylist()])
        self._check("cost", values, (made > 0) & (made < np.inf))
        return made


def _trimmed(values: Any) -> Any:
    """Texts without blanks around them."""
    held = memoryview(values.buffers()[2] or b"").tobytes()
    if not any(blank in held for blank in (b" ", b"\t", b"\r")):
        return values
    try:
        return pc.ascii_trim(values.cast(pa.string()), BLANK).cast(pa.binary())
    except pa.ArrowInvalid:  # not UTF-8
        return pa.array([text.strip(BLANK.encode()) for text in values.to_pylist()], pa.binary())


def _exact(values: Any, digits: int) -> NDArray[np.int64] | None:
    """The low and the high half of numbers with so many decimals; None if they are not all plain ones."""
    held = memoryview(values.buffers()[2] or b"").tobytes().lower()
    if b"e" in held:  # pyarrow 26 crashes at an exponent of -2147483647
        return None
    try:
        exact = pc.cast(values.cast(pa.string()), pa.decimal128(38, digits))
    except pa.ArrowInvalid:
        return None
    return np.frombuffer(exact.buffers()[1], np.int64, 2 * len(exact)).reshape(-1, 2)


def _nanoseconds(text: bytes, digits: int) -> int | None:
    try:
        exact = Decimal(_plain(text))
        if not exact.is_finite() or exact.adjusted() > 30:
            return None
        made = int(exact.scaleb(digits).to_integral_value())
    except (ValueError, InvalidOperation):
        return None
    return made if 0 <= made < 1 << 63 else None


def _real(text: bytes) -> float:
    try:
        return float(_plain(text))
    except ValueError:
        return 0.0


def _plain(text: bytes) -> str:
    """What Python reads as a number, without the digits of other scripts and the underscores that it would take."""
    return text.decode("ascii").replace("_", "?")
