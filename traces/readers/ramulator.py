"""Text of requests to a memory, as Ramulator reads it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Final, Literal

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks
from tiersim.traces.readers.words import LONGEST_GAP, Flags, Lines, head_lines
from tiersim.traces.schema import LOAD, STORE, Chunk

LINE: Final = 64  # bytes of the lines that what is traced missed
LOADS: Final = (b"LD", b"ST")  # by kind
READS: Final = (b"R", b"W")
Form = Literal["cpu", "load-store", "memory"]


@register("ramulator", family="reader", paper="Kim et al., IEEE CAL 15(1), 2016, doi:10.1109/LCA.2015.2414456")
class Ramulator:
    """Ramulator's text in any of its three forms; what comes first in the file decides which.

    ``bubble address [writeback]``, of a processor: so many other instructions and then a load, which may have evicted a
    line that is written back; the load's gap is bubble + 1, the writeback is a store after it with a gap of 0.
    ``LD address`` and ``ST address``, or ``address R`` and ``address W``, of a memory: gaps are 0. Addresses are
    hexadecimal with 0x and decimal without; before R and W they are always hexadecimal.
    """

    size: Annotated[int, Param("bytes of each request", unit="bytes", ge=1, le=65535)] = LINE
    writebacks: Annotated[bool, Param("keep the writebacks of a processor's trace, as stores")] = True

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is a request; where there is no word, whether every address is that of a line.

        Rows of two or three numbers are common, and those of something else are not all multiples of 64.
        """
        lines = head_lines(head)
        if not len(lines):
            return False
        form = _form(lines)
        chunk, right = _fields(lines, form, True)
        return bool(right.all()) and (form != "cpu" or not (chunk["address"] % np.uint64(LINE)).any())

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request as a record of the access schema. Raises TraceError with line, byte offset and text."""
        form: Form | None = None
        for block in blocks(stream, source):
            lines = Lines(block)
            if not len(lines):
                continue
            form = form or _form(lines)
            chunk, right = _fields(lines, form, self.writebacks)
            if not right.all():
                raise lines.refused(
                    right,
                    source,
                    "a request",
                    {
                        "cpu": "expected how many instructions, decimal and under 2**32 - 1, the address of a load, "
                        "and perhaps that of a writeback, or for all lines 'LD' or 'ST' and an address, or an address "
                        "and 'R' or 'W'",
                        "load-store": "expected 'LD' or 'ST' and an address, as in the lines before",
                        "memory": "expected a hexadecimal address and 'R' or 'W', as in the lines before",
                    }[form]
                    + "; cut the file before this line, or name its format",
                )
            yield chunk | {"size": np.full(len(chunk["kind"]), self.size, np.uint16)}
        return 0


def _form(lines: Lines) -> Form:
    if lines.names(lines.word(0), *LOADS)[0] < len(LOADS):
        return "load-store"
    if lines.count[0] == 2 and lines.names(lines.word(1), *READS)[0] < len(READS):
        return "memory"
    return "cpu"


def _fields(lines: Lines, form: Form, writebacks: bool) -> tuple[Chunk, Flags]:
    """The records of the lines but for their size, and which of the lines are requests."""
    if form == "cpu":
        return _of_processor(lines, writebacks)
    if form == "load-store":
        kind = lines.names(lines.word(0), *LOADS)
        address, right = lines.addresses(lines.word(1))
    else:
        address, right = lines.hexadecimals(lines.word(0))
        kind = lines.names(lines.word(1), *READS)
    right &= (lines.count == 2) & (kind <= STORE)
    return {"address": address, "kind": kind, "gap": np.zeros(len(lines), np.uint32)}, right


def _of_processor(lines: Lines, writebacks: bool) -> tuple[Chunk, Flags]:
    bubble, right = lines.decimals(lines.word(0), LONGEST_GAP - 1)
    address, fine = lines.addresses(lines.word(1))
    right &= fine & ((lines.count == 2) | (lines.count == 3))
    evicts = lines.count == 3
    gap = (bubble + np.uint64(1)).astype(np.uint32)
    kind = np.full(len(lines), LOAD, np.uint8)
    if evicts.any():
        evicted, fine = lines.addresses(lines.word(2))
        right &= ~evicts | fine
        if writebacks:
            after = np.flatnonzero(evicts) + 1
            address = np.insert(address, after, evicted[evicts])
            kind = np.insert(kind, after, np.uint8(STORE))
            gap = np.insert(gap, after, np.uint32(0))
    return {"address": address, "kind": kind, "gap": gap}, right
