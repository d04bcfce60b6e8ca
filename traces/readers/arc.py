"""Text of runs of blocks, as the traces of the ARC paper."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks, first_lines, is_number, malformed, table
from tiersim.traces.schema import Chunk

LONGEST: Final = 1 << 24  # pages of one request: more than any disk takes at once
PIECE: Final = 1 << 18


@register("arc", family="reader", paper="Megiddo and Modha, USENIX FAST 2003")
class Arc:
    """Text with four decimal numbers a line: first block, how many blocks, one that is ignored, number of the request.

    A run becomes one request for each of its blocks, in order.
    """

    schema: ClassVar[str] = "object"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is four numbers, of at least one block each, and the numbers of requests do not fall."""
        found = table(b"\n".join(first_lines(head)), 4)
        return found is not None and len(found) > 0 and _right(found) and bool((found[1:, 3] >= found[:-1, 3]).all())

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every block as a record of the object schema. Raises TraceError with line, byte offset and text."""
        for block in blocks(stream, source):
            found = table(block.text, 4)
            if found is None or not _right(found):
                raise malformed(
                    block,
                    _right_line,
                    source,
                    "a run of blocks",
                    f"expected 'first-block blocks ignored request-number', decimal, with 1 to {LONGEST:,} blocks; cut "
                    "the file before this line, or name its format",
                )
            yield from _expanded(found[:, 0], found[:, 1].astype(np.int64))
        return 0


def _right(found: NDArray[np.uint64]) -> bool:
    count = found[:, 1]
    return not len(found) or bool(count.min() >= 1 and count.max() <= LONGEST)


def _right_line(line: bytes) -> bool:
    words = line.strip(b" \t\r").replace(b"\t", b" ").split(b" ")
    numbers = [word for word in words if word]
    return not numbers or (len(numbers) == 4 and all(map(is_number, numbers)) and 1 <= int(numbers[1]) <= LONGEST)


def _expanded(start: NDArray[np.uint64], count: NDArray[np.int64]) -> Iterator[Chunk]:
    """The blocks of the runs, in pieces: a line can stand for a million of them."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    before = ends - count
    for at in range(0, total, PIECE):
        page = np.arange(at, min(at + PIECE, total))
        run = np.searchsorted(ends, page, side="right")
        yield {"id": start[run] + (page - before[run]).astype(np.uint64)}
