"""Text of loads and stores with the instructions between them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks
from tiersim.traces.readers.words import LONGEST_GAP, Flags, Lines, head_lines
from tiersim.traces.schema import Chunk

NAMES: Final = (b"l", b"s")  # by kind


@register("gap", family="reader")
class Gap:
    """Text with ``l`` for a load or ``s`` for a store, a hexadecimal address, and the gap, decimal, on each line.

    The gap counts the instructions since the access before, the access's own included, so that it is 0 for the second
    access of one instruction. How many bytes are touched the format does not tell.
    """

    size: Annotated[int, Param("bytes of each access", unit="bytes", ge=1, le=65535)] = 1

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is an access."""
        lines = head_lines(head)
        return len(lines) > 0 and bool(_fields(lines)[1].all())

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every access as a record of the access schema. Raises TraceError with line, byte offset and text."""
        for block in blocks(stream, source):
            lines = Lines(block)
            chunk, right = _fields(lines)
            if not right.all():
                raise lines.refused(
                    right,
                    source,
                    "an access",
                    "expected 'l' or 's', a hexadecimal address, and how many instructions, decimal and under 2**32; "
                    "cut the file before this line, or name its format",
                )
            yield chunk | {"size": np.full(len(lines), self.size, np.uint16)}
        return 0


def _fields(lines: Lines) -> tuple[Chunk, Flags]:
    """The records of the lines but for their size, and which of the lines are accesses."""
    kind = lines.names(lines.word(0), *NAMES)
    address, fine = lines.hexadecimals(lines.word(1))
    gap, few = lines.decimals(lines.word(2), LONGEST_GAP)
    right = (lines.count == 3) & (kind < len(NAMES)) & fine & few
    return {"address": address, "kind": kind, "gap": gap.astype(np.uint32)}, right
