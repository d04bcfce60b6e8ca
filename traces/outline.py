"""What a stored trace tells of its records before they are read, so that a replay can begin at the first of them.

The entry ``outline`` of a trace's description (`tiersim.traces.store`). Of objects: ``objects``, how many different
ones; ``footprint``, their bytes, each as large as it is first; ``ranges``, the smallest and largest value of every
column but the key. Of accesses: ``references``, for each size of a line the lines that data and that fetches touch.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np

from tiersim.traces.schema import ACCESS, FETCH, KINDS, MODIFY, OBJECT, Chunk, Schema

__all__ = ["MOST_OBJECTS", "Outline", "outline_of"]

MOST_OBJECTS: Final = 3 << 24  # that are counted: the table of their keys has half a gibibyte then
SHIFTS: Final = range(4, 13)  # lines of 16 bytes to those of 4 KiB


class Outline(Protocol):
    """Takes the records of a trace and tells of them."""

    def add(self, chunk: Chunk) -> None:
        """Look at further records."""

    def told(self) -> dict[str, Any]:
        """What there is to tell of all of them, as plain data."""


def outline_of(schema: Schema) -> Outline:
    """What tells of records of this schema."""
    if schema == OBJECT:
        return _Objects()
    return _Accesses() if schema == ACCESS else _Nothing()


class _Nothing:
    def add(self, chunk: Chunk) -> None:
        return

    def told(self) -> dict[str, Any]:
        return {}


class _Objects:
    """Counts keys in a table until there are too many, so that memory stays bounded."""

    def __init__(self) -> None:
        self.table = np.zeros(1 << 12, np.uint64)
        self.known = self.footprint = 0
        self.zero = np.zeros(1, np.uint8)  # whether the key 0, which is an empty place of the table, came
        self.ranges: dict[str, list[Any]] = {}

    def add(self, chunk: Chunk) -> None:
        from tiersim.traces.counting import count_keys  # takes a compiler along

        size = chunk.get("size")
        done = 0
        while done < len(chunk["id"]) and self.known <= MOST_OBJECTS:
            # in pieces, so that a few objects asked for often do not make a table for as many as there are requests
            part = slice(done, done + max(1 << 16, len(self.table) // 4))
            key = chunk["id"][part]
            self._room(self.known + len(key))
            weight = np.ones(len(key), np.int64) if size is None else size[part]
            new, weighs = count_keys(key, weight, self.table, self.zero)
            self.known += new
            self.footprint += weighs
            done += len(key)
        for name, values in chunk.items():
            if name != "id" and len(values):
                least, most = values.min().item(), values.max().item()
                before = self.ranges.get(name, [least, most])
                self.ranges[name] = [min(before[0], least), max(before[1], most)]

    def _room(self, need: int) -> None:
        from tiersim.traces.counting import count_keys

        if 4 * need > 3 * len(self.table):
            held = self.table[self.table != 0]
            self.table = np.zeros(1 << (4 * need // 3).bit_length(), np.uint64)
            count_keys(held, np.zeros(len(held), np.int64), self.table, self.zero)

    def told(self) -> dict[str, Any]:
        if self.known > MOST_OBJECTS:
            return {}
        return {"objects": self.known, "footprint": self.footprint, "ranges": self.ranges}


class _Accesses:
    def __init__(self) -> None:
        self.data = dict.fromkeys(SHIFTS, 0)
        self.fetches = dict.fromkeys(SHIFTS, 0)

    def add(self, chunk: Chunk) -> None:
        kind = chunk["kind"]
        loads, stores, modifies, fetches = np.bincount(kind, minlength=len(KINDS)).tolist()
        first = chunk["address"]
        last = first + chunk["size"].astype(np.uint64) - np.uint64(1)
        for shift in SHIFTS:
            further = (last >> np.uint64(shift)) - (first >> np.uint64(shift))
            across = np.flatnonzero(further)  # what lies within a line lies within a larger one too
            first, last, kind, further = first[across], last[across], kind[across], further[across]
            fetched = int(further[kind == FETCH].sum())
            modified = int(further[kind == MODIFY].sum())
            self.fetches[shift] += fetches + fetched
            # a modify loads and stores
            self.data[shift] += loads + stores + 2 * modifies + int(further.sum()) - fetched + modified

    def told(self) -> dict[str, Any]:
        return {"references": {str(1 << shift): [self.data[shift], self.fetches[shift]] for shift in SHIFTS}}
