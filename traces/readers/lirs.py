"""Text of block numbers, as the traces of the LIRS paper."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import blocks, first_lines, is_number, malformed, table
from tiersim.traces.schema import Chunk

MARK: Final = re.compile(rb"^[ \t\r]*\*[ \t\r]*$", re.MULTILINE)


@register("lirs", family="reader", paper="Jiang and Zhang, ACM SIGMETRICS 2002, doi:10.1145/511334.511340")
class Lirs:
    """Text with one decimal block number a line, a request for that block each; lines of ``*`` alone are marks."""

    schema: ClassVar[str] = "object"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether every line is one number or a mark, and one at least a number."""
        lines = first_lines(head)
        return all(map(_right, lines)) and any(line.strip().isdigit() for line in lines)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every number as a record of the object schema. Raises TraceError with line, byte offset and text."""
        for block in blocks(stream, source):
            text = MARK.sub(b"", block.text) if b"*" in block.text else block.text
            found = table(text, 1)
            if found is None:
                raise malformed(
                    block,
                    _right,
                    source,
                    "a block number",
                    "expected one decimal number under 2**64, or '*'; cut the file before this line, or name its "
                    "format",
                )
            yield {"id": found[:, 0]}
        return 0


def _right(line: bytes) -> bool:
    text = line.strip(b" \t\r")
    return text in (b"", b"*") or is_number(text)
