"""Parses lackey's lines, compiled: apart from the reader, so that asking what a file is loads no compiler."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from tiersim.traces.schema import FETCH, LOAD, MODIFY, STORE

__all__ = ["parse"]

NEWLINE: Final = ord("\n")
COMMA: Final = ord(",")
SPACE: Final = ord(" ")
NONE: Final = 255
DIGIT: Final = np.full(256, NONE, np.uint8)
DIGIT[list(b"0123456789abcdef")] = range(16)
DIGIT[list(b"ABCDEF")] = range(10, 16)
KIND: Final = np.full(256, NONE, np.uint8)
KIND[list(b"LSM")] = LOAD, STORE, MODIFY
I_LINE: Final = ord("I")
MOST_DIGITS: Final = 16
MOST_PLACES: Final = 5
LARGEST: Final = 65535

OPTIONS: Any = {"_nrt": False, "cache": True, "nogil": True, "error_model": "numpy"}


def _parse(
    text: NDArray[np.uint8],
    fetches: bool,
    since: int,
    digit: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    address: NDArray[np.uint64],
    size: NDArray[np.uint16],
    kind: NDArray[np.uint8],
    gap: NDArray[np.uint32],
) -> tuple[int, int]:
    """Write the records of lines, each of which ends, into the columns, which have room for one a line.

    `since` counts the instructions after the last record before. Returns how many records there are, -1 where a line
    is wrong, and the instructions after the last.
    """
    made = 0
    # unsigned, because an index that may be negative costs a comparison at each character
    one, two = np.uint64(1), np.uint64(2)
    at, end = np.uint64(0), np.uint64(len(text))
    while at < end:
        if at + two >= end or text[at + two] != SPACE:
            return -1, 0
        if text[at] == SPACE:
            what = kinds[text[at + one]]
        else:
            what = FETCH if text[at] == I_LINE and text[at + one] == SPACE else NONE
        if what == NONE:
            return -1, 0
        at += two + one
        begin = at
        number = np.uint64(0)
        held = digit[text[at]]  # a line ends before the text does, and its end is no digit
        while held != NONE:
            number = number << np.uint64(4) | np.uint64(held)
            at += one
            held = digit[text[at]]
        if text[at] != COMMA or at == begin or at - begin > np.uint64(MOST_DIGITS):
            return -1, 0
        at += one
        begin = at
        length = 0
        held = digit[text[at]]
        while held < 10:
            length = length * 10 + held
            at += one
            held = digit[text[at]]
        if text[at] != NEWLINE or at - begin > np.uint64(MOST_PLACES) or length < 1 or length > LARGEST:
            return -1, 0
        at += one
        if what == FETCH:
            since += 1
            if not fetches:
                continue
        address[made] = number
        size[made] = length
        kind[made] = what
        gap[made] = since
        since = 0
        made += 1
    return made, since


_compiled: Any = numba.njit(**OPTIONS)(_parse)


def parse(text: bytes, fetches: bool, since: int) -> tuple[dict[str, Any], int] | None:
    """The records of lines, each of which ends, and the instructions after the last; None where a line is wrong."""
    count = text.count(b"\n")
    columns: dict[str, NDArray[Any]] = {
        "address": np.empty(count, np.uint64),
        "size": np.empty(count, np.uint16),
        "kind": np.empty(count, np.uint8),
        "gap": np.empty(count, np.uint32),
    }
    made, after = _compiled(np.frombuffer(text, np.uint8), fetches, since, DIGIT, KIND, *columns.values())
    return ({name: column[:made] for name, column in columns.items()}, after) if made >= 0 else None
