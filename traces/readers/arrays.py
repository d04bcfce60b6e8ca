"""Files that are one JSON array, read element by element: no more is in memory than an element needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tiersim._base.errors import TraceError
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import BLANK, shown

__all__ = ["Element", "elements"]

STEP: Final = 1 << 16
LONGEST: Final = 8 << 20  # bytes of an element, or up to twice as many
TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{},"]', re.DOTALL)  # a quote alone: its text goes on
SHOWN: Final = 60
REMEDY: Final = "expected one JSON array, [element, element, ...]; fetch the file again, or name the format that it has"


@dataclass(frozen=True)
class Element:
    """What an element of the array holds, its JSON, its number counted from 1 and the byte where it begins."""

    value: Any
    text: bytes
    number: int
    offset: int
    source: str

    def wrong(self, what: str, remedy: str) -> TraceError:
        """The message that this element is not what it should be."""
        where = f"{self.source}: element {self.number:,} (byte {self.offset:,})"
        return TraceError(f"{where} is not {what}: {shown(self.text)}", None, remedy)


def elements(stream: ByteStream, source: str) -> Iterator[Element]:
    """Every element of the array that a file is. Raises TraceError with element and byte where it is none."""
    file = _Window(stream, source)
    if file.blanks() != b"[":
        raise file.fault("does not begin a JSON array")
    file.take(1)
    more = file.blanks() != b"]"
    while more:
        file.number += 1
        file.blanks()
        offset = file.offset
        length = _length(file)
        value = _value(file, length)
        yield Element(value, file.take(length), file.number, offset, source)
        more = file.blanks() == b","
        file.take(more)
    file.take(1)
    file.number = 0
    if file.blanks():
        raise file.fault("is after the end of the array")


class _Window:
    """The bytes of a file that are looked at: ``raw`` from ``at`` on, ``offset`` bytes after the file's beginning.

    ``number`` is that of the element that begins there, 0 where none does.
    """

    def __init__(self, stream: ByteStream, source: str) -> None:
        self.raw = b""
        self.at = self.offset = self.number = 0
        self._stream = stream
        self._source = source

    def more(self) -> bool:
        """As many bytes again, so that an element is copied a few times only; whether there were any."""
        self.raw = self.raw[self.at :]
        self.at = 0
        data = self._stream.read(max(STEP, len(self.raw)))
        self.raw += data
        return bool(data)

    def take(self, count: int) -> bytes:
        """The next bytes, which are gone then."""
        made = self.raw[self.at : self.at + count]
        self.at += len(made)
        self.offset += len(made)
        return made

    def blanks(self) -> bytes:
        """The next byte that is not blank, nothing at the end of the file; the blanks before it are gone."""
        while True:
            part = self.raw[self.at : self.at + STEP]
            left = part.lstrip(BLANK)
            self.take(len(part) - len(left))
            if left:
                return left[:1]
            if not part and not self.more():
                return b""

    def fault(self, what: str) -> TraceError:
        """The message about what is here."""
        place = f"element {self.number:,} (byte {self.offset:,})" if self.number else f"byte {self.offset:,}"
        text = shown(self.raw[self.at : self.at + SHOWN])
        return TraceError(f"{self._source}: {place} {what}: {text}", None, REMEDY)


def _length(file: _Window) -> int:
    """How many bytes the element has that begins here: up to a comma or a bracket that is not its own."""
    depth = done = 0
    while True:
        for token in TOKEN.finditer(file.raw, file.at + done):
            mark = token[0]
            if mark == b'"':
                break
            if mark in b"[{":
                depth += 1
            elif depth and mark in b"]}":
                depth -= 1
            elif not depth and mark in b",]":
                return token.start() - file.at
            done = token.end() - file.at
        if len(file.raw) - file.at > LONGEST:
            raise file.fault(f"has more than {LONGEST:,} bytes")
        if not file.more():
            raise file.fault("breaks off: the file ends inside this element or before the bracket after it")


def _value(file: _Window, length: int) -> Any:
    text = file.raw[file.at : file.at + length]
    try:
        return json.loads(text.decode())
    except json.JSONDecodeError as error:
        at = file.offset + len(error.doc[: error.pos].encode())
        raise file.fault(f"is not JSON ({error.msg} at byte {at:,})") from None
    except UnicodeDecodeError as error:
        raise file.fault(f"is not UTF-8 at byte {file.offset + error.start:,}") from None
    except RecursionError:
        raise file.fault("has lists in lists, deeper than can be read") from None
    except ValueError as error:  # a number of more digits than Python turns into one
        raise file.fault(f"cannot be read ({error})") from None
