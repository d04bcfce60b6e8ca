"""The queued engine: a SimPy clock in whole picoseconds, and the stations where jobs wait for each other."""

from __future__ import annotations

from typing import Final

__all__ = ["SECOND"]

SECOND: Final = 10**12  # picoseconds
