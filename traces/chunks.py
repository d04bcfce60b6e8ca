"""Cutting a stream of column chunks into other sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import Chunk

__all__ = ["NUMBERS", "length", "numbers", "rechunk", "window"]

NUMBERS = 1 << 24  # of lists, or bytes of texts, in one column of a chunk: a record may hold millions


def length(chunk: Chunk) -> int:
    """How many records a chunk holds."""
    return len(next(iter(chunk.values()), ()))


def numbers(chunk: Chunk) -> int:
    """How many numbers, or bytes of text, the longest of its columns of lists holds."""
    return max((len(column.values) for column in chunk.values() if isinstance(column, Ragged)), default=0)


def rechunk(pieces: Iterable[Chunk], records: int) -> Iterator[Chunk]:
    """The same records in chunks of exactly this many; the last may be shorter. Pieces that fit are not copied.

    Chunks are shorter too where lists or texts are long: at most `NUMBERS` numbers in a column, or one record. Where
    they are cut does not depend on how the pieces were.
    """
    held: list[Chunk] = []
    count = 0
    room: dict[str, int] = {}  # for numbers, in each column of lists
    for piece in pieces:
        start, end = 0, length(piece)
        lists = {name: column for name, column in piece.items() if isinstance(column, Ragged)}
        while start < end:
            step = min(end - start, records - count)
            for name, column in lists.items():
                most = int(column.offsets[start]) + room.get(name, NUMBERS)
                step = min(step, int(np.searchsorted(column.offsets, most, "right")) - 1 - start)
            step = max(step, 0 if count else 1)
            if step:
                held.append({name: values[start : start + step] for name, values in piece.items()})
                for name, column in lists.items():
                    taken = int(column.offsets[start + step] - column.offsets[start])
                    room[name] = room.get(name, NUMBERS) - taken
                start += step
                count += step
            if count == records or not step:
                yield _joined(held)
                held, count, room = [], 0, {}
    if held:
        yield _joined(held)


def window(pieces: Iterable[Chunk], skip: int, limit: int | None) -> Iterator[Chunk]:
    """The records from ``skip`` on, at most ``limit`` of them; nothing beyond is asked for."""
    left = limit
    if left == 0:
        return
    for piece in pieces:
        size = length(piece)
        if skip >= size:
            skip -= size
            continue
        end = size if left is None else min(size, skip + left)
        yield {name: values[skip:end] for name, values in piece.items()}
        if left is not None:
            left -= end - skip
            if left == 0:
                return
        skip = 0


def _joined(held: list[Chunk]) -> Chunk:
    if len(held) == 1:
        return held[0]
    return {name: joined([piece[name] for piece in held]) for name in held[0]}
