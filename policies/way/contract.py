"""Names shared by way policies."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATA", "NESTED_TLB", "NEVER", "PAGE_TABLE", "TLB", "State", "Words"]

Words: TypeAlias = MutableSequence[int]
"""The flat 64-bit state that the verbs work on."""
State: TypeAlias = NDArray[np.int64]
"""Its first value, shape (sets, words a set)."""

DATA, PAGE_TABLE, TLB, NESTED_TLB = range(4)  # what a line holds; the last two are TLB blocks

NEVER = (1 << 62) - 1  # the next use of a line that is not used again
