"""Text of keys, as libCacheSim's txt."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import Fields, blocks, first_lines, is_number, keys, malformed
from tiersim.traces.schema import Chunk

AROUND: Final = re.compile(rb"^[ \t\r]+|[ \t\r]+$", re.MULTILINE)
DIGIT: Final = re.compile(rb"[0-9]")
NOT_IN_A_KEY: Final = bytes({*range(33), ord(","), 127} - {ord("\n")})


@register("libcachesim-txt", family="reader", paper="https://github.com/1a1a11a/libCacheSim")
class LibcachesimTxt:
    """Text with one key a line, a request for it each: libCacheSim's txt.

    A key is one word without blanks and commas; blanks around it do not count. Keys that are decimal numbers under
    2**64 without leading zeros stay; any other is hashed to 64 bits (BLAKE2b, digest of 8 bytes, little-endian).
    """

    schema: ClassVar[str] = "object"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether each line is a key, one comes again, several differ, and most hold a digit, as words of prose do not.

        Files of nothing but numbers are those of lirs.
        """
        found = _keys(head)
        numbered = sum(DIGIT.search(key) is not None for key in found)
        return 1 < len(set(found)) < len(found) < 2 * numbered

    @staticmethod
    def suggest(head: bytes) -> str:
        """Which format to name."""
        if not _keys(head):
            return ""
        return (
            "a file of one key a line needs format='libcachesim-txt' unless most keys have a digit and some come again "
            "in its first 64 KiB"
        )

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every key as a record of the object schema. Raises TraceError with line, byte offset and text."""
        for block in blocks(stream, source):
            text = AROUND.sub(b"", block.text) if re.search(rb"[ \t\r]", block.text) else block.text
            if len(text.translate(None, NOT_IN_A_KEY)) != len(text):
                raise malformed(
                    block,
                    _right,
                    source,
                    "a key",
                    "expected one word without blanks, commas and control characters; a table needs "
                    "format='object-csv' and id_column=, and with delimiter='bar' and id_column=1 a key may have all "
                    "but '|'",
                )
            yield {"id": keys(Fields(text, 1, free=0).texts(0))}
        return 0


def _right(line: bytes) -> bool:
    word = line.strip(b" \t\r")
    return len(word.translate(None, NOT_IN_A_KEY)) == len(word)


def _keys(head: bytes) -> list[bytes]:
    """The keys that a file begins with, if it is of keys and not all are numbers, which is for lirs, or marks there."""
    lines = first_lines(head)
    words = [word for line in lines if (word := line.strip(b" \t\r"))]
    if not all(map(_right, lines)) or head.startswith((b"{", b"[")):
        return []
    return words if not all(word == b"*" or is_number(word) for word in words) else []
