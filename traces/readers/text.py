"""What the readers of text share: whole lines a block at a time, and decimal numbers without a loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.traces.keys import keys_of
from tiersim.traces.readers.contract import ByteStream

__all__ = [
    "PAD",
    "Block",
    "Fields",
    "blocks",
    "decimal_texts",
    "decimals",
    "first_lines",
    "is_number",
    "keys",
    "malformed",
    "padded",
    "shown",
    "table",
    "text_offsets",
]

BLOCK: Final = 1 << 20
PAD: Final = 24  # room before the text, so that the 24 bytes before the end of any number can be loaded
PLACES: Final = 20  # no number of more digits fits 64 bits
BLANK: Final = b" \t\r\n"
Bytes = NDArray[np.uint8]
Places = NDArray[np.intp]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.uint64]
Span = tuple[Places, Places]  # where fields start and end


@dataclass(frozen=True)
class Block:
    """Whole lines of a file: how many lines and bytes come before them, and whether the file ends inside the last."""

    text: bytes
    lines: int
    offset: int
    cut: bool = False


def blocks(stream: ByteStream, source: str, size: int = 0) -> Iterator[Block]:
    """A stream cut after line ends, blocks of ``size`` bytes or a line more. Raises TraceError for an endless line."""
    size = size or BLOCK
    rest = b""
    lines = offset = 0
    while data := stream.read(size):
        cut = data.rfind(b"\n") + 1
        text, rest = rest + data[:cut], (data[cut:] if cut else rest + data)
        if cut:
            yield Block(text, lines, offset)
            lines += text.count(b"\n")
            offset += len(text)
        if len(rest) > 2 * size:
            raise TraceError(
                f"{source}: line {lines + 1:,} (byte {offset:,}) has more than {2 * size:,} bytes: {shown(rest)}",
                None,
                "expected text in lines; name the format that the file has, or cut it before this line",
            )
    if rest:
        yield Block(rest, lines, offset, cut=True)


def shown(text: bytes) -> str:
    """The beginning of a line, as a message shows it."""
    return repr(text[:60].decode("ascii", "backslashreplace"))


def first_lines(head: bytes) -> list[bytes]:
    """The lines of a head that are whole, or all of them if there is only one."""
    return (head[: head.rfind(b"\n") + 1] or head).removesuffix(b"\n").split(b"\n")


def padded(text: bytes | memoryview) -> Bytes:
    """The bytes after `PAD` zeros."""
    raw = np.zeros(PAD + len(text), np.uint8)
    raw[PAD:] = np.frombuffer(text, np.uint8)
    return raw


def decimals(raw: Bytes, ends: Places, places: Places) -> tuple[Numbers, Flags]:
    """The decimal numbers of so many digits that end before these places of a padded text; which of them fit 64 bits.

    That the characters are digits is for the caller to see to.
    """
    words = np.ndarray((len(raw) - 7,), np.dtype("<u8"), raw, strides=(1,))
    value = _eight(words[ends - 8], places)
    most = int(places.max(initial=0))
    for more, scale in ((8, 10**8), (16, 10**16)):
        if most > more:
            long = np.flatnonzero(places > more)
            value[long] += _eight(words[ends[long] - 8 - more], places[long] - more) * np.uint64(scale)
    fit = (places > 0) & (places <= PLACES)
    if most >= PLACES:
        # 10**19 to 2 * 10**19 pass 2**64 by less than 10**19, so that a number beyond comes out below 10**19
        full = np.flatnonzero(places == PLACES)
        lead = raw[ends[full] - PLACES]
        fit[full] = (lead == ord("0")) | ((lead == ord("1")) & (value[full] >= 10**19))
    return value, fit


def is_number(text: bytes) -> bool:
    """Whether this is a number that `table` takes."""
    return text.isdigit() and len(text) <= PLACES and int(text) < 1 << 64


class Fields:
    """The fields of whole lines, a comma between two and none of them quoted; lines of nothing do not count.

    With ``free``, the field at this place, counted from 0, may hold commas itself. ``right`` says of each line whether
    it has ``count`` fields; only when all have, the other methods may be asked.
    """

    def __init__(self, text: bytes, count: int, free: int | None = None) -> None:
        self._raw = raw = padded(text if text.endswith(b"\n") else text + b"\n")
        ends = np.flatnonzero(raw == ord("\n"))
        starts = np.concatenate([np.array([PAD]), ends[:-1] + 1])
        ends = ends - (raw[ends - 1] == ord("\r"))  # the pad before is no carriage return
        held = ends > starts
        self._starts, self._ends = starts[held], ends[held]
        self._commas = commas = np.flatnonzero(raw == ord(","))
        self._first = np.searchsorted(commas, self._starts)
        self._after = np.searchsorted(commas, self._ends)
        self._count = count
        self._free = count if free is None else free
        number = self._after - self._first + 1
        self.right: Flags = number == count if free is None else number >= count
        self._foreign: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def field(self, place: int) -> Span:
        """Where the field at this place of each line is, counted from 0."""
        # those before the free one are found from the left, those after it from the right
        left, right = self._first + place, self._after - (self._count - 1 - place)
        if place == 0:
            starts = self._starts
        else:
            starts = self._commas[(left if place <= self._free else right) - 1] + 1
        ends = self._ends if place == self._count - 1 else self._commas[left if place < self._free else right]
        return starts, ends

    def decimals(self, place: int, end: int = 1 << 64) -> tuple[Numbers, Flags]:
        """The fields at this place as decimal numbers; which of them are, and are under ``end``."""
        starts, ends = self.field(place)
        value, right = decimals(self._raw, ends, ends - starts)
        if self._foreign is None:  # how many bytes before each are no digit
            self._foreign = np.zeros(len(self._raw) + 1, np.int32)
            np.cumsum(self._raw - np.uint8(ord("0")) > 9, out=self._foreign[1:])
        right &= self._foreign[ends] == self._foreign[starts]
        return value, right & (value <= end - 1)

    def texts(self, place: int) -> Any:
        """The fields at this place, an array of pyarrow."""
        starts, ends = self.field(place)
        offsets = np.full(2 * len(starts) + 1, len(self._raw), np.int32)
        offsets[:-1:2], offsets[1::2] = starts, ends  # the fields, and between two of them what is not asked for
        return pa.Array.from_buffers(
            pa.binary(), 2 * len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(self._raw)]
        ).take(pa.array(np.arange(0, 2 * len(starts), 2)))

    def codes(self, place: int, known: dict[bytes, int], none: int) -> NDArray[np.uint8]:
        """What the fields at this place stand for, ``none`` for what is not known; lower case as upper case."""
        texts = self.texts(place).dictionary_encode()
        codes = np.array([known.get(text.lower(), none) for text in texts.dictionary.to_pylist()], np.uint8)
        made: NDArray[np.uint8] = codes[texts.indices.to_numpy()]
        return made


def keys(texts: Any) -> Numbers:
    """Texts as keys: decimal numbers under 2**64 without leading zeros stay, any other is hashed (`key_of`)."""
    made, number, lead = decimal_texts(texts)
    named = np.flatnonzero(~number | lead)
    if len(named):
        found = texts.take(pa.array(named)).dictionary_encode()
        made[named] = keys_of(found.dictionary.to_pylist())[found.indices.to_numpy()]
    return made


def text_offsets(texts: Any) -> NDArray[np.int64]:
    """Where each text of an array of pyarrow starts in its buffer, and where the last ends."""
    held: NDArray[np.int32] = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, 4 * texts.offset)
    return held.astype(np.int64)


def decimal_texts(texts: Any) -> tuple[Numbers, Flags, Flags]:
    """Each text as a decimal number; whether it is one that fits 64 bits; whether it has zeros before it."""
    at = text_offsets(texts)
    raw = padded(memoryview(texts.buffers()[2] or b"")[: int(at[-1])])
    at = at + PAD
    starts, ends = at[:-1], at[1:]
    places = ends - starts
    made, number = decimals(raw, ends, places)
    digit = raw[PAD:] - np.uint8(ord("0")) < 10
    if not digit.all():
        foreign = np.concatenate([np.zeros(1, np.int64), np.cumsum(~digit)])
        number &= foreign[ends - PAD] == foreign[starts - PAD]
    raw_at = raw[np.minimum(starts, len(raw) - 1)]
    return made, number, (places > 1) & (raw_at == ord("0"))


def _eight(word: NDArray[np.uint64], places: Places) -> NDArray[np.uint64]:
    """Eight characters to a number, of which only the last ``places`` belong to it."""
    if int(places.min(initial=8)) < 8:
        foreign = (np.clip(8 - places, 0, 7) * 8).astype(np.uint64)  # a shift by 64 bits would be none
        word = word >> foreign << foreign
    ones = word & np.uint64(0x0F0F0F0F0F0F0F0F)
    pairs = (ones * np.uint64(10) + (ones >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = (pairs * np.uint64(100) + (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return (fours * np.uint64(10_000) + (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


def table(text: bytes, columns: int) -> NDArray[np.uint64] | None:
    """The numbers of lines of so many each, blanks between and around them; None if a line is not so.

    Empty lines do not count. Numbers that do not fit 64 bits make it None too.
    """
    raw = padded(text + b"\n")
    digit = raw - np.uint8(ord("0")) < 10
    if np.count_nonzero(digit) != len(text) - _count(text, BLANK):
        return None
    edges = np.flatnonzero(digit[1:] != digit[:-1]) + 1  # the pad before is no digit, nor is the line end after
    starts, ends = edges[::2], edges[1::2]
    places = ends - starts
    if len(starts) % columns or not _in_rows(raw, starts, columns):
        return None
    value, fit = decimals(raw, ends, places)
    return value.reshape(-1, columns) if fit.all() else None


def _in_rows(raw: Bytes, starts: Places, columns: int) -> bool:
    """Whether each row of numbers is on a line of its own."""
    line = np.searchsorted(np.flatnonzero(raw == ord("\n")), starts).reshape(-1, columns)
    return bool((line == line[:, :1]).all() and (line[1:, 0] != line[:-1, 0]).all())


def _count(text: bytes, which: bytes) -> int:
    return len(text) - len(text.translate(None, which))


def malformed(block: Block, right: Any, source: str, what: str, remedy: str) -> TraceError:
    """The message for the first line of a block that ``right`` refuses."""
    offset = block.offset
    lines = block.text.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):
        if not right(line):
            inside = number == len(lines) and block.cut
            return TraceError(
                f"{source}: line {block.lines + number:,} (byte {offset:,}) is not {what}: {shown(line)}"
                + ("; the file ends inside this line" if inside else ""),
                None,
                remedy,
            )
        offset += len(line) + 1
    raise AssertionError("a block was refused and each of its lines is right")
