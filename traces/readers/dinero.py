"""Text of accesses with labels, as Dinero III and IV read it."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks
from tiersim.traces.readers.words import Flags, Lines, head_lines
from tiersim.traces.schema import FETCH, LOAD, STORE, Chunk

NAMES: Final = (b"0", b"1", b"2", b"r", b"w", b"i")
KIND_OF: Final = np.zeros(256, np.uint8)
KIND_OF[: len(NAMES)] = LOAD, STORE, FETCH, LOAD, STORE, FETCH
LARGEST: Final = 65535
LETTER: Final = re.compile(rb"^[ \t]*(?:[rwi]|[0-2][ \t]+(?:0[xX]|[0-9]*[a-fA-F]))", re.MULTILINE)
NAMED: Final = re.compile(r"\.x?din\b", re.IGNORECASE)


@register("dinero", family="reader", paper="https://pages.cs.wisc.edu/~markhill/DineroIV/")
class Dinero:
    """Dinero's din: a label (0 read, 1 write, 2 fetch), a hexadecimal address and perhaps a size a line.

    The size is of bytes and hexadecimal, as in the extended form, whose labels ``r``, ``w`` and ``i`` are known too.
    Without ``fetches`` the fetches become the gaps of the accesses; a file without any has gaps of 0.
    """

    fetches: Annotated[bool, Param("keep instruction fetches as records of their own")] = False
    size: Annotated[int, Param("bytes of an access whose line has no size", unit="bytes", ge=1, le=LARGEST)] = 4

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is an access, and one has a letter or the name says so: pairs of numbers are common."""
        lines = head_lines(head)
        if not len(lines) or not (LETTER.search(head) or NAMED.search(name)):
            return False
        return bool(_fields(lines, 1)[3].all())

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every access as a record of the access schema. Raises TraceError with line, byte offset and text."""
        since = 0
        for block in blocks(stream, source):
            lines = Lines(block)
            kind, address, size, right = _fields(lines, self.size)
            if not right.all():
                raise lines.refused(
                    right,
                    source,
                    "an access",
                    "expected the label 0 (read), 1 (write) or 2 (fetch), a hexadecimal address, and perhaps a size of "
                    f"1 to {LARGEST:x} bytes, hexadecimal; cut the file before this line, or name its format",
                )
            fetch = kind == FETCH
            if self.fetches:
                yield {"address": address, "size": size, "kind": kind, "gap": fetch.astype(np.uint32)}
                continue
            data = np.flatnonzero(~fetch)
            gap = (np.diff(data, prepend=-1) - 1).astype(np.uint32)
            gap[:1] += np.uint32(since)
            since = len(kind) - (int(data[-1]) + 1 if len(data) else -since)
            yield {"address": address[data], "size": size[data], "kind": kind[data], "gap": gap}
        return since


def _fields(lines: Lines, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint16], Flags]:
    """Kind, address and size of each line, and which lines are accesses."""
    name = lines.names(lines.word(0), *NAMES)
    address, right = lines.hexadecimals(lines.word(1))
    right &= (name < len(NAMES)) & ((lines.count == 2) | (lines.count == 3))
    sizes = np.full(len(lines), size, np.uint16)
    sized = lines.count == 3
    if sized.any():
        told, fine = lines.hexadecimals(lines.word(2), LARGEST)
        right &= ~sized | (fine & (told > 0))
        sizes[sized] = told[sized]
    return KIND_OF[name], address, sizes, right
