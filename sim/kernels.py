"""The few compiled functions that every replay shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FREE",
    "compiled",
    "first_bytes",
    "first_sizes",
    "mark_windows",
    "next_uses",
    "number_keys",
    "number_lines",
    "rehash",
    "renumber",
    "replace_keys",
]

F = TypeVar("F", bound=Callable[..., Any])

FREE = -1  # an empty place of the dictionary
SPREAD = -7046029254386353131  # 2^64 / golden ratio as a signed word: Knuth's multiplicative hash


OPTIONS: Any = {"_nrt": False, "cache": True, "nogil": True, "error_model": "numpy"}


def compiled(function: F) -> F:
    """A kernel that is compiled once, kept on disk, and runs beside other Python threads."""
    return cast(F, numba.njit(**OPTIONS)(function))


@compiled
def number_lines(
    address: NDArray[np.uint64],
    size: NDArray[np.uint16],
    kind: NDArray[np.uint8],
    shift: int,
    fetches: bool,
    within: int,
    keys: NDArray[np.int64],
    ids: NDArray[np.int32],
    known: int,
    lines: NDArray[np.int64],
    events: NDArray[np.int32],
) -> tuple[int, int]:
    """Turn records into events, giving each line a number by first appearance.

    With `within`, groups of ``2**within`` lines are numbered, and a line is its group's number followed by its own
    within. An event is ``line number << 2 | kind`` with kind 0 for a load, 1 a store, 2 a fetch; a record of several
    lines is several events and a modify its loads, then its stores. The dictionary (`keys`, `ids`: open addressing, a
    power of two, at most half full) and `lines` (line or group address by number) grow in place and must have room.
    Returns the number of lines or groups known and of events written.
    """
    mask = len(keys) - 1
    inside = (1 << within) - 1
    written = 0
    for i in range(len(address)):
        what = kind[i]
        if what == 3 and not fetches:
            continue
        first = np.int64(address[i] >> np.uint64(shift))
        last = np.int64((address[i] + np.uint64(size[i]) - np.uint64(1)) >> np.uint64(shift))
        begin = written
        for line in range(first, last + 1):
            group = line >> within
            place = ((group * SPREAD) >> 20) & mask
            while keys[place] != group and keys[place] != FREE:
                place = (place + 1) & mask
            if keys[place] == FREE:
                keys[place] = group
                ids[place] = known
                lines[known] = group
                known += 1
            code = 2 if what == 3 else (1 if what == 1 else 0)
            events[written] = (np.int64(ids[place]) << within | line & inside) << 2 | code
            written += 1
        if what == 2:
            for j in range(begin, written):
                events[written] = events[j] | 1
                written += 1
    return known, written


@compiled
def mark_windows(
    address: NDArray[np.uint64],
    size: NDArray[np.uint16],
    kind: NDArray[np.uint8],
    gap: NDArray[np.uint32],
    shift: int,
    fetches: bool,
    width: int,
    told: NDArray[np.int64],
    marks: NDArray[np.int64],
) -> int:
    """Note the events before which windows of `width` instructions end; returns how many were noted.

    `told` holds the instructions, the events and the windows before these records, and is kept up. A window ends before
    the first event of the record that executes the first instruction beyond it.
    """
    instructions, events, ended = told[0], told[1], told[2]
    made = 0
    for i in range(len(address)):
        what = kind[i]
        instructions += gap[i]
        while (ended + 1) * width < instructions:
            marks[made] = events
            made += 1
            ended += 1
        if what == 3 and not fetches:
            continue
        first = address[i] >> np.uint64(shift)
        last = (address[i] + np.uint64(size[i]) - np.uint64(1)) >> np.uint64(shift)
        events += np.int64(last - first + np.uint64(1)) << (what == 2)
    told[0], told[1], told[2] = instructions, events, ended
    return made


@compiled
def rehash(lines: NDArray[np.int64], known: int, keys: NDArray[np.int64], ids: NDArray[np.int32]) -> None:
    """Fill an empty dictionary with the first `known` lines."""
    mask = len(keys) - 1
    for number in range(known):
        place = ((lines[number] * SPREAD) >> 20) & mask
        while keys[place] != FREE:
            place = (place + 1) & mask
        keys[place] = lines[number]
        ids[place] = number


@compiled
def next_uses(stream: NDArray[np.int32], upcoming: NDArray[np.int64], never: int, out: NDArray[np.int64]) -> None:
    """For each reference of a stream the position of the next one to the same line, or `never`.

    `upcoming` has a place for each line number and must hold `never` everywhere; `out` has the stream's length.
    """
    for i in range(len(stream) - 1, -1, -1):
        out[i] = upcoming[stream[i]]
        upcoming[stream[i]] = i


@compiled
def number_keys(
    key: NDArray[np.uint64],
    places: NDArray[np.int32],
    keys: NDArray[np.uint64],
    known: int,
    out: NDArray[np.int32],
) -> int:
    """Give each key a number by first appearance; returns how many are known.

    `places` is an open-addressing table of numbers (FREE where empty, a power of two, at most half full), `keys` the
    key of each number; both must have room. Only numbers lie in the table, so that it stays small beside the keys, and
    keys that are asked for often lie together.
    """
    mask = np.uint64(len(places) - 1)
    for i in range(len(key)):
        k = key[i]
        place = ((k * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
        at = places[place]
        while at != FREE and keys[at] != k:
            place = (place + np.uint64(1)) & mask
            at = places[place]
        if at == FREE:
            at = known
            places[place] = known
            keys[known] = k
            known += 1
        out[i] = at
    return known


@compiled
def replace_keys(keys: NDArray[np.uint64], known: int, places: NDArray[np.int32]) -> None:
    """Fill an empty table with the numbers of the first `known` keys."""
    mask = np.uint64(len(places) - 1)
    for number in range(known):
        place = ((keys[number] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
        while places[place] != FREE:
            place = (place + np.uint64(1)) & mask
        places[place] = number


@compiled
def renumber(ids: NDArray[np.int32], number: NDArray[np.int32]) -> int:
    """Number the objects that occur, by first appearance, and return how many; `number` holds -1 for each before."""
    known = 0
    for i in range(len(ids)):
        if number[ids[i]] < 0:
            number[ids[i]] = known
            known += 1
    return known


@compiled
def first_sizes(ids: NDArray[np.int32], size: NDArray[np.int64], first: NDArray[np.int64]) -> None:
    """Note the size of each object at its first request; `first` holds -1 before."""
    for i in range(len(ids)):
        if first[ids[i]] < 0:
            first[ids[i]] = size[i]


@compiled
def first_bytes(ids: NDArray[np.int32], size: NDArray[np.int64], known: int) -> int:
    """The bytes of the objects that are new where `known` came before: numbers are by first appearance."""
    total = 0
    for i in range(len(ids)):
        if ids[i] == known:
            total += size[i]
            known += 1
    return total
