"""What the readers of requests to disks share: a request as one for each block of a size that it touches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim.traces.schema import Chunk

__all__ = ["by_block"]

PIECE: Final = 1 << 18


def by_block(chunk: Chunk, offset: NDArray[np.uint64], size: int) -> Iterator[Chunk]:
    """Each request of a chunk as one for each block of ``size`` bytes that it touches, in order and in pieces.

    ``offset`` is where a request begins on its disk, in bytes, and the chunk's ``size`` how long it is; one of 0 bytes
    touches no block. The number of the block is added to the request's ``id``.
    """
    length = chunk["size"].astype(np.uint64)
    begin = offset // np.uint64(size)
    count = ((offset + length - np.uint64(1)) // np.uint64(size) - begin).astype(np.int64) + 1
    count[length == 0] = 0
    ends = np.cumsum(count)
    before = ends - count
    total = int(ends[-1]) if len(ends) else 0
    for at in range(0, total, PIECE):
        block = np.arange(at, min(at + PIECE, total))
        row = np.searchsorted(ends, block, side="right")
        made = {name: values[row] for name, values in chunk.items()}
        made["id"] = made["id"] + begin[row] + (block - before[row]).astype(np.uint64)
        made["size"] = np.full(len(block), size, np.int64)
        yield made
