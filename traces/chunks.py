"""Cutting a stream of column chunks into other sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tiersim.traces.ragged import joined
from tiersim.traces.schema import Chunk

__all__ = ["length", "rechunk", "window"]


def length(chunk: Chunk) -> int:
    """How many records a chunk holds."""
    return len(next(iter(chunk.values()), ()))


def rechunk(pieces: Iterable[Chunk], records: int) -> Iterator[Chunk]:
    """The same records in chunks of exactly this many; the last may be shorter. Pieces that fit are not copied."""
    held: list[Chunk] = []
    count = 0
    for piece in pieces:
        start, end = 0, length(piece)
        while start < end:
            step = min(end - start, records - count)
            held.append({name: values[start : start + step] for name, values in piece.items()})
            start += step
            count += step
            if count == records:
                yield _joined(held)
                held, count = [], 0
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
