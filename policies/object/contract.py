"""Names shared by object policies."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

__all__ = ["NEVER", "Reals", "State", "Words"]

Words: TypeAlias = MutableSequence[int]
"""A flat array that verbs work on."""
Reals: TypeAlias = MutableSequence[float]
"""A flat array of floating-point numbers."""
State: TypeAlias = dict[str, NDArray[Any]]
"""The arrays of a policy by name."""

NEVER = (1 << 62) - 1
"""The next use of an object that is not used again."""
