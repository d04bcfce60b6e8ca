"""What the readers of requests in comma-separated text share: a header with known names, and rows as wide as it."""

from __future__ import annotations

from collections.abc import Iterator

from tiersim._base.errors import TraceError
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Line, lines
from tiersim.traces.readers.text import first_lines, shown

__all__ = ["headed", "rows", "whole"]


def headed(head: bytes, needed: tuple[bytes, ...]) -> bool:
    """Whether line 1 has these names among its columns."""
    return set(needed) <= set(_fields(first_lines(head)[0]))


def rows(
    stream: ByteStream, source: str, needed: tuple[bytes, ...], remedy: str
) -> Iterator[tuple[Line, dict[bytes, bytes]]]:
    """Each line after the header with its fields by name. Raises TraceError for a line of another width."""
    names: list[bytes] = []  # of a file's first line that is not blank
    for line in lines(stream, source):
        fields = _fields(line.text)
        if not names:
            names = fields
            if not set(needed) <= set(names):
                raise TraceError(
                    f"{source}: line {line.number:,} (byte {line.offset:,}) does not name the columns "
                    f"{b', '.join(needed).decode()}: {shown(line.text)}",
                    None,
                    f"{remedy}; or name the format that the file has",
                )
            continue
        if len(fields) != len(names):
            raise line.wrong(f"a row of {len(names)} fields", f"{remedy}; cut the file before this line")
        yield line, dict(zip(names, fields, strict=True))


def whole(text: bytes) -> int | None:
    """A number of tokens, or None."""
    return int(text) if text.isdigit() and len(text) <= 10 and int(text) < 1 << 32 else None


def _fields(line: bytes) -> list[bytes]:
    return [text.strip().strip(b'"') for text in line.removeprefix(b"\xef\xbb\xbf").split(b",")]
