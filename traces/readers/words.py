"""What the readers of accesses in text share: the words of lines, and what they say, without a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.traces.readers.text import BLANK, PAD, Block, Places, decimals, first_lines, padded, shown

__all__ = ["LONGEST_GAP", "Lines", "cycle_gaps", "head_lines"]

Flags = NDArray[np.bool_]
Numbers = NDArray[np.uint64]
Span = tuple[Places, Places]  # where words start and end

AFTER: Final = b"\n" * 9  # ends the last line, and has room for the 8 bytes from the start of any word
LONGEST_GAP: Final = (1 << 32) - 1
HEX_PLACES: Final = 16
LOWER: Final = 0x20
SOLID: Final = np.ones(256, bool)
SOLID[list(BLANK)] = False
HIGH: Final = np.uint64(0x8080808080808080)  # the topmost bit of each of eight bytes
ZEROS: Final = np.uint64(0x3030303030303030)
NONE: Final = 255


class Lines:
    """The words of whole lines, blanks between and around them; lines without a word do not count.

    ``count`` is how many words each line has. What the methods give has one value for each line; that of a line that
    has no such word means nothing, so `count` is for the caller to look at too.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._raw = raw = padded(block.text + AFTER)
        solid = np.take(SOLID, raw)
        self._words: Numbers = np.ndarray((len(raw) - 7,), np.dtype("<u8"), raw, strides=(1,))  # from each byte on
        solid[:PAD] = False
        edges = np.flatnonzero(solid[1:] != solid[:-1]) + 1  # the pad before is blank, and so are the line ends after
        self._starts, self._ends = edges[::2], edges[1::2]
        known = np.searchsorted(self._starts, np.flatnonzero(raw == ord("\n")))
        count = np.diff(known, prepend=0)
        held = np.flatnonzero(count)
        self.count: Places = count[held]
        self._first = known[held] - self.count

    def __len__(self) -> int:
        return len(self.count)

    def word(self, place: int) -> Span:
        """Where the word at this place of each line is, from 0 on."""
        which = np.minimum(self._first + place, len(self._starts) - 1)
        return self._starts[which], self._ends[which]

    def last_is(self, span: Span, byte: int) -> tuple[Span, Flags]:
        """The words without their last byte; which of them have that one as the last, and more before it."""
        starts, ends = span
        return (starts, ends - 1), (self._raw[ends - 1] == byte) & (ends - starts > 1)

    def names(self, span: Span, *names: bytes) -> NDArray[np.uint8]:
        """Which of these names, of at most 8 bytes each, the words are; 255 for none."""
        starts, ends = span
        places = ends - starts
        # eight bytes as one number, of which those after the word's end are made 0
        words = self._words[starts]
        beyond = (np.clip(8 - places, 0, 7) * 8).astype(np.uint64)
        words = words << beyond >> beyond
        made = np.full(len(words), NONE, np.uint8)
        for number, name in enumerate(names):
            made[(words == int.from_bytes(name, "little")) & (places == len(name))] = number
        return made

    def decimals(self, span: Span, most: int = (1 << 64) - 1) -> tuple[Numbers, Flags]:
        """The words as decimal numbers; which of them are such numbers and at most ``most``."""
        starts, ends = span
        value, right = decimals(self._raw, ends, ends - starts)
        right &= self._made_of(_no_digit, ends, ends - starts)
        return value, right & (value <= most)

    def hexadecimals(self, span: Span, most: int = (1 << 64) - 1) -> tuple[Numbers, Flags]:
        """The words as hexadecimal numbers, with 0x or without; which are such numbers and at most ``most``."""
        starts, ends = span
        starts = starts + 2 * self._prefixed(starts)
        places = ends - starts
        words = self._words
        value = _eight(words[ends - 8], places)
        long = np.flatnonzero(places > 8)
        value[long] |= _eight(words[ends[long] - 16], places[long] - 8) << np.uint64(32)
        right = (places > 0) & (places <= HEX_PLACES)
        right &= self._made_of(_no_hex, ends, places)
        return value, right & (value <= most)

    def addresses(self, span: Span) -> tuple[Numbers, Flags]:
        """The words as numbers that are hexadecimal with 0x and decimal without; which of them are."""
        value, right = self.decimals(span)
        prefixed = self._prefixed(span[0])
        if prefixed.any():
            other, fine = self.hexadecimals(span)
            value, right = np.where(prefixed, other, value), np.where(prefixed, fine, right)
        return value, right

    def _prefixed(self, starts: Places) -> Flags:
        found: Flags = (self._raw[starts] == ord("0")) & (self._raw[starts + 1] | LOWER == ord("x"))
        return found

    def _made_of(self, wrong: Callable[[Numbers], Numbers], ends: Places, places: Places) -> Flags:
        """Which words, of at most 24 characters, have no wrong one."""
        right: Flags = wrong(_zero_filled(self._words[ends - 8], places)) == 0
        for more in (8, 16):
            long = np.flatnonzero(places > more)
            if len(long):
                right[long] &= wrong(_zero_filled(self._words[ends[long] - 8 - more], places[long] - more)) == 0
        return right

    def refused(self, right: Flags, source: str, what: str, remedy: str) -> TraceError:
        """The message for the first line that is not right."""
        text = self._block.text
        at = int(self._starts[self._first[np.flatnonzero(~right)[0]]]) - PAD
        number = self._block.lines + text.count(b"\n", 0, at) + 1
        begin, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        line = text[begin : end if end >= 0 else None]
        return TraceError(
            f"{source}: line {number:,} (byte {self._block.offset + begin:,}) is not {what}: {shown(line)}"
            + ("; the file ends inside this line" if end < 0 and self._block.cut else ""),
            None,
            remedy,
        )


def head_lines(head: bytes) -> Lines:
    """The whole lines that a file begins with."""
    return Lines(Block(b"\n".join(first_lines(head)), 0, 0))


def cycle_gaps(cycle: Numbers, before: int) -> tuple[Numbers, Flags]:
    """The cycles since the record before; for which records they are no less than 0 and no more than a gap holds."""
    gap = np.diff(cycle, prepend=np.uint64(before))  # of one that goes back, it is far larger than any gap
    return gap, gap <= LONGEST_GAP


def _zero_filled(word: Numbers, places: Places) -> Numbers:
    """Eight characters, of which all but the last ``places`` are made '0'."""
    foreign = (np.clip(8 - places, 0, 7) * 8).astype(np.uint64)
    kept = np.uint64((1 << 64) - 1) << foreign
    filled: Numbers = (word & kept) | (ZEROS & ~kept)
    return filled


def _no_digit(word: Numbers) -> Numbers:
    """0 if each of eight characters is a decimal digit."""
    place = word ^ ZEROS  # 0 to 9 for a digit: 0x76 more leaves the topmost bit as it is
    wrong: Numbers = (place | (place + np.uint64(0x7676767676767676))) & HIGH
    return wrong


def _no_hex(word: Numbers) -> Numbers:
    """0 if each of eight characters is a hexadecimal digit."""
    # 1 to 6 for a letter; a byte that carries into the next has its topmost bit set, and is wrong itself
    place = (word | np.uint64(0x2020202020202020)) ^ np.uint64(0x6060606060606060)
    no_letter = place | (place + np.uint64(0x7979797979797979)) | ~(place + np.uint64(0x7F7F7F7F7F7F7F7F))
    wrong: Numbers = _no_digit(word) & no_letter & HIGH
    return wrong


def _eight(word: Numbers, places: NDArray[Any]) -> Numbers:
    """Eight hexadecimal characters to a number, of which only the last ``places`` belong to it."""
    if int(places.min(initial=8)) < 8:
        foreign = (np.clip(8 - places, 0, 7) * 8).astype(np.uint64)
        word = word >> foreign << foreign
    # '0'-'9' are 0x30-0x39, 'a'-'f' and 'A'-'F' have bit 6 set and count from 1
    letters = (word >> np.uint64(6)) & np.uint64(0x0101010101010101)
    nibbles = (word & np.uint64(0x0F0F0F0F0F0F0F0F)) + np.uint64(9) * letters
    pairs = ((nibbles << np.uint64(4)) | (nibbles >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = ((pairs << np.uint64(8)) | (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return ((fours << np.uint64(16)) | (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
