"""What the readers of measured times share."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["from_milliseconds", "number"]

NUMBER: Final = re.compile(rb"[0-9]{1,400}(\.[0-9]{0,400})?([eE][+-]?[0-9]{1,3})?")


def number(text: bytes) -> float | None:
    """A finite number of at least 0, or None."""
    made = float(text) if NUMBER.fullmatch(text) else math.inf
    return made if made < math.inf else None


def from_milliseconds(text: bytes) -> float | None:
    """A time in ms as ns, or None."""
    made = number(text)
    return made * 1e6 if made is not None and made * 1e6 < math.inf else None
