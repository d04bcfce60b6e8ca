"""Counts different keys, compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["count_keys"]

OPTIONS: Any = {"_nrt": False, "cache": True, "nogil": True, "error_model": "numpy"}
SPREAD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: Knuth's multiplicative hash


def _count_keys(
    key: NDArray[np.uint64], weight: NDArray[np.int64], table: NDArray[np.uint64], zero: NDArray[np.uint8]
) -> tuple[int, int]:
    """How many keys are new, and what these weigh; they are in `table` then.

    `table` is open addressing over a power of two of places, which must have room; 0 is an empty one, and `zero` says
    whether that key came.
    """
    mask = np.uint64(len(table) - 1)
    new, weighs = 0, 0
    for i in range(len(key)):
        k = key[i]
        if k == 0:
            if zero[0] == 0:
                zero[0] = 1
                new += 1
                weighs += weight[i]
            continue
        place = ((k * np.uint64(SPREAD)) >> np.uint64(20)) & mask
        while table[place] != 0 and table[place] != k:
            place = (place + np.uint64(1)) & mask
        if table[place] == 0:
            table[place] = k
            new += 1
            weighs += weight[i]
    return new, weighs


count_keys: Any = numba.njit(**OPTIONS)(_count_keys)
