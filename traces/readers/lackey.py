"""Text of ``valgrind --tool=lackey --trace-mem=yes``."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Annotated, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.schema import FETCH, LOAD, MODIFY, STORE, Chunk

BLOCK: Final = 1 << 20  # small enough for the arrays made from it to stay in the processor's cache
PAD: Final = 16  # room before the first line, so that the 16 bytes before any comma can be loaded
LINE: Final = re.compile(rb"(?:I  | [LSM] )[0-9a-fA-F]{1,16},[0-9]{1,5}")
NOTE: Final = re.compile(rb"==\d+==|--\d+--|\*\*\d+\*\*")
HEX: Final = b"0123456789abcdefABCDEF"

# The first three bytes of a line as one little-endian number, by kind.
HEADS: Final = np.array([int.from_bytes(head, "little") for head in (b" L ", b" S ", b" M ", b"I  ")], np.uint32)
KIND_OF: Final = np.full(256, 255, np.uint8)
KIND_OF[list(b"LSM ")] = LOAD, STORE, MODIFY, FETCH


@register("lackey", family="reader", paper="https://valgrind.org/docs/manual/lk-manual.html")
class Lackey:
    """Valgrind lackey: ``I  addr,size`` fetches, `` L`` loads, `` S`` stores, `` M`` load then store.

    Addresses are hexadecimal bytes, sizes decimal bytes; lines such as ``==pid==`` are valgrind talking and are
    skipped. Without ``fetches`` the I lines become the gaps of the accesses; a file with no I line has gaps of 0.
    """

    fetches: Annotated[bool, Param("keep instruction fetches as records of their own")] = False

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the first line that is not valgrind's own is an access."""
        whole = head[: head.rfind(b"\n") + 1] or head
        notes = 0
        for line in whole.rstrip(b"\n").split(b"\n"):
            if not NOTE.match(line):
                return LINE.fullmatch(line) is not None
            notes += 1
        return notes > 0 and b"Lackey" in head

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every access as a record of the access schema. Raises TraceError with line, byte offset and text."""
        rest = b""
        lines = offset = since = 0
        while data := stream.read(BLOCK):
            cut = data.rfind(b"\n") + 1
            block, rest = rest + data[:cut], (data[cut:] if cut else rest + data)
            if len(rest) > 2 * BLOCK:
                break
            if cut:
                fields, notes = _lines(block, source, lines, offset)
                lines += len(fields[0]) + notes
                offset += len(block)
                chunk, since = self._records(*fields, since)
                yield chunk
        if rest:
            fields, _ = _lines(rest, source, lines, offset)
            chunk, since = self._records(*fields, since)
            yield chunk
        return since

    def _records(
        self, kind: NDArray[np.uint8], address: NDArray[np.uint64], size: NDArray[np.uint16], since: int
    ) -> tuple[Chunk, int]:
        """The records of these lines, and the instructions after the last of them."""
        fetch = kind == FETCH
        if self.fetches:
            return {"address": address, "size": size, "kind": kind, "gap": fetch.astype(np.uint32)}, 0
        data = np.flatnonzero(~fetch)
        gap = (np.diff(data, prepend=-1) - 1).astype(np.uint32)
        after = len(kind) - (int(data[-1]) + 1 if len(data) else -since)
        gap[:1] += np.uint32(since)
        return {"address": address[data], "size": size[data], "kind": kind[data], "gap": gap}, after


Fields: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint16]]


def _lines(block: bytes, source: str, lines: int, offset: int) -> tuple[Fields, int]:
    """The fields of whole lines, and how many more lines were valgrind's own."""
    text = block if block.endswith(b"\n") else block + b"\n"
    fields = _fields(text)
    notes = 0
    if fields is None:  # the usual block has no notes, and looking for them in each would cost a fifth of the time
        kept = [line for line in text.split(b"\n")[:-1] if not NOTE.match(line)]
        notes = text.count(b"\n") - len(kept)
        fields = _fields(b"".join(line + b"\n" for line in kept)) if notes else None
    if fields is None:
        raise _malformed(block, source, lines, offset)
    return fields, notes


def _fields(text: bytes) -> Fields | None:
    """Kind, address and size of every line, or None if one of them is not right."""
    raw = np.zeros(PAD + len(text) + PAD, np.uint8)
    raw[PAD : PAD + len(text)] = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    commas = np.flatnonzero(raw == ord(","))
    if len(commas) != len(ends):
        return None
    starts = np.empty_like(ends)
    starts[:1] = PAD
    starts[1:] = ends[:-1] + 1
    heads = _words(raw, np.uint32)[starts] & np.uint32(0xFFFFFF)
    kind = KIND_OF[(heads >> np.uint32(8)) & np.uint32(0xFF)]
    digits = commas - starts - 3
    places = ends - commas - 1
    if not (
        (HEADS[kind & 3] == heads).all()
        and _within(kind, 0, FETCH)
        and _within(digits, 1, 16)
        and _within(places, 1, 5)
        # every byte that is neither head, comma nor end of line is a digit, if there are as many digits as such bytes
        and len(text) - len(text.translate(None, HEX)) == int(digits.sum()) + int(places.sum())
    ):
        return None
    size = _sizes(raw, ends, places)
    return None if size is None else (kind, _addresses(raw, commas, digits), size)


def _within(values: NDArray[Any], least: int, most: int) -> bool:
    return not len(values) or (int(values.min()) >= least and int(values.max()) <= most)


def _words(raw: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    """The little-endian word that begins at each byte."""
    width = np.dtype(dtype).itemsize
    return np.ndarray((len(raw) - width + 1,), np.dtype(dtype).newbyteorder("<"), raw, strides=(1,))


def _addresses(raw: NDArray[np.uint8], commas: NDArray[np.intp], digits: NDArray[np.intp]) -> NDArray[np.uint64]:
    """The hexadecimal numbers that end at the commas."""
    words = _words(raw, np.uint64)
    address = _hex(words[commas - 8], digits)
    long = np.flatnonzero(digits > 8)
    address[long] |= _hex(words[commas[long] - 16], digits[long] - 8) << np.uint64(32)
    return address


def _hex(word: NDArray[np.uint64], digits: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Eight hexadecimal characters to a number, of which only the last ``digits`` belong to it."""
    if int(digits.min(initial=8)) < 8:
        foreign = (np.maximum(8 - digits, 0) * 8).astype(np.uint64)
        word = word >> foreign << foreign
    # '0'-'9' are 0x30-0x39, 'a'-'f' and 'A'-'F' have bit 6 set and count from 1
    letters = (word >> np.uint64(6)) & np.uint64(0x0101010101010101)
    nibbles = (word & np.uint64(0x0F0F0F0F0F0F0F0F)) + np.uint64(9) * letters
    pairs = ((nibbles << np.uint64(4)) | (nibbles >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = ((pairs << np.uint64(8)) | (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return ((fours << np.uint64(16)) | (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


def _sizes(raw: NDArray[np.uint8], ends: NDArray[np.intp], places: NDArray[np.intp]) -> NDArray[np.uint16] | None:
    """The decimal numbers that stand before the ends, or None if one is not decimal, zero or too large."""
    digit = raw[ends - 1] - np.uint8(ord("0"))
    right = _within(digit, 0, 9)
    size = digit.astype(np.uint32)
    for place in range(1, int(places.max(initial=0))):
        longer = np.flatnonzero(places > place)
        digit = raw[ends[longer] - 1 - place] - np.uint8(ord("0"))
        right = right and _within(digit, 0, 9)
        size[longer] += digit * np.uint32(10**place)
    return size.astype(np.uint16) if right and _within(size, 1, 65535) else None


def _malformed(block: bytes, source: str, lines: int, offset: int) -> TraceError:
    """The message for the first wrong line of a block that has one."""
    for number, line in enumerate(block.removesuffix(b"\n").split(b"\n"), lines + 1):
        right = LINE.fullmatch(line) and 1 <= int(line.rpartition(b",")[2]) <= 65535
        if not right and not NOTE.match(line):
            text = line[:60].decode("ascii", "backslashreplace")
            last = not block.endswith(b"\n") and number == lines + block.count(b"\n") + 1
            return TraceError(
                f"{source}: line {number:,} (byte {offset:,}) is not an access: {text!r}"
                + ("; the file ends inside this line" if last else ""),
                None,
                "expected 'I  ', ' L ', ' S ' or ' M ', a hexadecimal address, a comma, a size in bytes; trace the "
                "program again, or cut the file before this line",
            )
        offset += len(line) + 1
    raise AssertionError("a block was refused and each of its lines is right")
