"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Progress"]

Progress: TypeAlias = Callable[[int, int | None, str], None]
"""Called with what is done, what there is in all (None when not known), and the unit: ``bytes`` or ``records``."""
