"""Text of requests to a memory by cycle, as DRAMSim2 reads it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks
from tiersim.traces.readers.words import Flags, Lines, Numbers, cycle_gaps, head_lines
from tiersim.traces.schema import FETCH, LOAD, STORE, Chunk

# what the traces named mase and those named k6 call them
NAMES: Final = (b"READ", b"WRITE", b"IFETCH", b"P_MEM_RD", b"P_MEM_WR", b"P_FETCH")
KIND_OF: Final = np.zeros(256, np.uint8)
KIND_OF[: len(NAMES)] = LOAD, STORE, FETCH, LOAD, STORE, FETCH


@register("dramsim", family="reader", paper="Rosenfeld et al., IEEE CAL 10(1), 2011, doi:10.1109/L-CA.2011.4")
class DramSim:
    """DRAMSim2's text: a hexadecimal address, a command, and the cycle, decimal, on each line; cycles never fall.

    Commands are ``READ``, ``WRITE`` and ``IFETCH``, or ``P_MEM_RD``, ``P_MEM_WR`` and ``P_FETCH``. They come from
    behind the caches, so that fetches are records like the others. Cycles are not instructions: gaps are 0 unless told
    otherwise.
    """

    size: Annotated[int, Param("bytes of each request", unit="bytes", ge=1, le=65535)] = 64
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
                    "expected a hexadecimal address, one of " + ", ".join(name.decode() for name in NAMES) + ", and "
                    "the cycle, decimal, no less than that before and less than 2**32 more; cut the file before this "
                    "line, or name its format",
                )
            if len(cycle):
                before = int(cycle[-1])
            if not self.cycles:
                chunk["gap"] = np.zeros(len(lines), np.uint32)
            yield chunk | {"size": np.full(len(lines), self.size, np.uint16)}
        return 0


def _fields(lines: Lines, before: int) -> tuple[Chunk, Numbers, Flags]:
    """The records of the lines but for their size, their cycles, and which of the lines are requests."""
    address, fine = lines.hexadecimals(lines.word(0))
    name = lines.names(lines.word(1), *NAMES)
    cycle, whole = lines.decimals(lines.word(2))
    gap, few = cycle_gaps(cycle, before)
    right = (lines.count == 3) & fine & (name < len(NAMES)) & whole & few
    return {"address": address, "kind": KIND_OF[name], "gap": gap.astype(np.uint32)}, cycle, right
