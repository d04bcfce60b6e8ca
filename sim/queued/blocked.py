"""Who waited for whom, and where."""

from __future__ import annotations

from collections import defaultdict

__all__ = ["Blocked"]


class Blocked:
    """Time that jobs of one owner lost to jobs of another at one station, in picoseconds.

    An owner is a name that a model gives to its jobs: a core, a tenant, ``demand`` or ``prefetch``. At a server the
    time is that of waiting, given to those who were served meanwhile: whole numbers that add up to it. At a link that
    is shared it is that by which a transfer is later than alone, given to the others by their share of the bandwidth.
    """

    def __init__(self) -> None:
        self._held: defaultdict[tuple[str, str, str], float] = defaultdict(int)

    def add(self, who: str, whom: str, where: str, time: float) -> None:
        """Add time that ``who`` lost to ``whom`` at ``where``."""
        if time:
            self._held[who, whom, where] += time

    def rows(self) -> list[tuple[str, str, str, float]]:
        """Who, for whom, where and how long: longest first, then by name."""
        return sorted(((*key, time) for key, time in self._held.items()), key=lambda row: (-row[3], row[:3]))

    def of(self, who: str) -> float:
        """All that this owner lost."""
        return sum(time for (waiting, _, _), time in self._held.items() if waiting == who)
