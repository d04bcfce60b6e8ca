"""Arrays on large pages of the host, where it has them: what is read here and there takes fewer walks of its tables."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["on_large_pages"]

WORTH_IT = 1 << 20  # bytes


def on_large_pages(held: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """A copy of an array, of this type, in memory for which large pages were asked."""
    kind = np.dtype(held.dtype if dtype is None else dtype)
    size = held.size * kind.itemsize
    if size < WORTH_IT or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.array(held, kind)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    made = np.frombuffer(memory, kind, held.size).reshape(held.shape)
    made[...] = held
    return made
