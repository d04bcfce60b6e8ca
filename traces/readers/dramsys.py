"""Text of requests to a memory by cycle, as DRAMSys reads it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks
from tiersim.traces.readers.words import Flags, Lines, Numbers, cycle_gaps, head_lines
from tiersim.traces.schema import Chunk

NAMES: Final = (b"read", b"write")  # by kind


@register("dramsys", family="reader", paper="https://github.com/tukl-msd/DRAMSys")
class DramSys:
    """DRAMSys's traces (.stl): the cycle, decimal, and a colon, ``read`` or ``write``, a hexadecimal address a line.

    Cycles never fall. They are not instructions: gaps are 0 unless told otherwise. A request is a burst of the memory,
    32 bytes in the traces of MediaBench that came with DRAMSys.
    """

    size: Annotated[int, Param("bytes of each request", unit="bytes", ge=1, le=65535)] = 32
    cycles: Annotated[bool, Param("count each cycle as an instruction, so that gaps are the cycles between")] = False

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is a request."""
        lines = head_lines(head)
        return len(lines) > 0 and bool(_fields(lines, 0)[2].all())

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request as a record of the access schema. Raises TraceError with line, byte offset and text."""
        before = 0
        for block in blocks(stream, source):
            lines = Lines(block)
            chunk, cycle, right = _fields(lines, before)
            if not right.all():
                raise lines.refused(
                    right,
                    source,
                    "a request",
                    "expected the cycle, decimal, no less than that before and less than 2**32 more, and a colon, "
                    "'read' or 'write', a hexadecimal address; cut the file before this line, or name its format",
                )
            if len(cycle):
                before = int(cycle[-1])
            if not self.cycles:
                chunk["gap"] = np.zeros(len(lines), np.uint32)
            yield chunk | {"size": np.full(len(lines), self.size, np.uint16)}
        return 0


def _fields(lines: Lines, before: int) -> tuple[Chunk, Numbers, Flags]:
    """The records of the lines but for their size, their cycles, and which of the lines are requests."""
    stamp, colon = lines.last_is(lines.word(0), ord(":"))
    cycle, whole = lines.decimals(stamp)
    kind = lines.names(lines.word(1), *NAMES)
    address, fine = lines.hexadecimals(lines.word(2))
    gap, few = cycle_gaps(cycle, before)
    right = (lines.count == 3) & colon & whole & (kind < len(NAMES)) & fine & few
    return {"address": address, "kind": kind, "gap": gap.astype(np.uint32)}, cycle, right
