"""Columns with a list of numbers a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ragged", "joined"]


class Ragged:
    """A list of numbers a record: those of record ``i`` are ``values[offsets[i] : offsets[i + 1]]``.

    ``offsets`` begins with 0 and has one entry more than there are records. A loop gives the array of each record; a
    slice is a Ragged that shares the values.
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        self.values = values
        self.offsets = offsets

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]], dtype: str = "uint64") -> Self:
        """The column of these lists."""
        values = np.array([value for held in lists for value in held], dtype)
        return cls.counted(values, np.array([len(held) for held in lists], np.int64))

    @classmethod
    def counted(cls, values: NDArray[Any], counts: NDArray[np.int64]) -> Self:
        """The column of the values of all records one after another, of which each record has so many."""
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return cls(values, offsets)

    @classmethod
    def texts(cls, texts: Sequence[str]) -> Self:
        """The column of these texts as UTF-8; half a surrogate pair, which it cannot hold, becomes a question mark."""
        held = [text.encode("utf-8", "replace") for text in texts]
        values = np.frombuffer(b"".join(held), np.uint8)
        return cls.counted(values, np.array([len(text) for text in held], np.int64))

    @property
    def strings(self) -> list[str]:
        """The texts that the bytes of each record are. Raises UnicodeDecodeError where they are none."""
        held = self.values.tobytes()
        return [held[start:end].decode() for start, end in pairwise(self.offsets.tolist())]

    @property
    def garbled(self) -> str:
        """Why the values of some record are no text in UTF-8, or nothing."""
        try:
            self.values.tobytes().decode()
        except UnicodeDecodeError as error:
            return f"is not UTF-8 in record {np.searchsorted(self.offsets, error.start, 'right'):,}: {error.reason}"
        starts = self.offsets[:-1][self.counts > 0]
        inside = starts[(self.values[starts] & 0xC0) == 0x80]  # a byte that goes on with a character
        if not len(inside):
            return ""
        return (
            f"is not UTF-8 in record {np.searchsorted(self.offsets, inside[0], 'right'):,}: a character is cut in two"
        )

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many numbers each record has."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """The bytes of values and offsets."""
        return self.values.nbytes + self.offsets.nbytes

    @property
    def broken(self) -> str:
        """Why this is no ragged column, or nothing."""
        at = self.offsets
        if at.ndim != 1 or self.values.ndim != 1 or at.dtype != np.int64 or not len(at):
            return "needs a row of values and int64 offsets, one more than there are records"
        if at[0] or at[-1] != len(self.values) or (np.diff(at) < 0).any():
            return "has offsets that do not run from 0 up to the number of values"
        return ""

    def take(self, rows: NDArray[Any]) -> Self:
        """The lists of these records, in this order."""
        counts = self.counts[rows]
        shift = self.offsets[:-1][rows] - (np.cumsum(counts) - counts)
        return type(self).counted(self.values[np.arange(int(counts.sum())) + np.repeat(shift, counts)], counts)

    def copy(self) -> Self:
        """The same, in arrays of its own."""
        return type(self)(self.values.copy(), self.offsets.copy())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, place: int) -> NDArray[Any]: ...

    @overload
    def __getitem__(self, place: slice) -> Self: ...

    def __getitem__(self, place: int | slice) -> NDArray[Any] | Self:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                raise ValueError("a ragged column is cut in steps of 1")
            at = self.offsets[start : max(start, stop) + 1]
            return type(self)(self.values[at[0] : at[-1]], at - at[0])
        row = range(len(self))[place]
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        ends = self.offsets.tolist()
        return (self.values[start:end] for start, end in pairwise(ends))

    def __repr__(self) -> str:
        return f"<Ragged: {len(self):,} lists of {len(self.values):,} {self.values.dtype} in all>"


def joined(parts: Sequence[Any]) -> Any:
    """Pieces of one column, ragged or not, as one."""
    if not isinstance(parts[0], Ragged):
        return np.concatenate(parts)
    counts = np.concatenate([part.counts for part in parts])
    return Ragged.counted(np.concatenate([part.values for part in parts]), counts)
