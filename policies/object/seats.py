"""The objects of a cache without gaps, so that one can be drawn: each has a row of so many words in ``rows``.

The first word of a row is the object, the others are the policy's; ``seat[x]`` is the number of the row of x, -1 when
it has none; ``seated[0]`` counts them. When a row is given up the last one takes its place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim.policies.object.contract import Words

__all__ = ["rise", "seats", "sit"]


def seats(most: int, objects: int, width: int) -> dict[str, NDArray[Any]]:
    """The arrays for at most so many objects with rows of `width` words."""
    return {
        "rows": np.zeros(most * width, np.int64),
        "seat": np.full(objects, -1, np.int32),
        "seated": np.zeros(1, np.int64),
    }


def sit(rows: Words, seat: Words, seated: Words, width: int, x: int) -> int:
    """Give x a row. Returns where it begins."""
    at = seated[0]
    seated[0] = at + 1
    seat[x] = at
    rows[at * width] = x
    return at * width


def rise(rows: Words, seat: Words, seated: Words, width: int, x: int) -> None:
    """Give up the row of x."""
    at = seat[x]
    end = seated[0] - 1
    seated[0] = end
    seat[rows[end * width]] = at
    for k in range(width):
        rows[at * width + k] = rows[end * width + k]
    seat[x] = -1
