"""Text of ``valgrind --tool=lackey --trace-mem=yes``."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Annotated, Final

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.schema import Chunk

BLOCK: Final = 1 << 20  # small enough for the arrays made from it to stay in the processor's cache
LINE: Final = re.compile(rb"(?:I  | [LSM] )[0-9a-fA-F]{1,16},[0-9]{1,5}")
NOTE: Final = re.compile(rb"==\d+==|--\d+--|\*\*\d+\*\*")


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
                chunk, since = _records(block, self.fetches, since, source, lines, offset)
                lines += block.count(b"\n")
                offset += len(block)
                yield chunk
        if rest:
            chunk, since = _records(rest, self.fetches, since, source, lines, offset)
            yield chunk
        return since


def _records(block: bytes, fetches: bool, since: int, source: str, lines: int, offset: int) -> tuple[Chunk, int]:
    """The records of whole lines, and the instructions after the last of them."""
    from tiersim.traces.readers.lackey_lines import parse  # takes a compiler along

    text = block if block.endswith(b"\n") else block + b"\n"
    made = parse(text, fetches, since)
    if made is None:  # the usual block has no line of valgrind's own
        kept = [line for line in text.split(b"\n")[:-1] if not NOTE.match(line)]
        made = parse(b"".join(line + b"\n" for line in kept), fetches, since)
    if made is None:
        raise _malformed(block, source, lines, offset)
    return made


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
