"""What is measured while a model runs: levels over time, and distributions of times."""

from __future__ import annotations

from typing import Final

__all__ = ["Gauge", "Histogram"]

EXACT: Final = 1 << 12  # different values that a histogram tells apart before it puts them into buckets
BITS: Final = 8  # of a value that its bucket keeps: neighbours differ by less than 1 in 2**BITS


class Gauge:
    """A level that changes at instants, such as jobs in a queue or bytes in use: its integral and its extremes.

    ``level`` is the level now, ``area`` its integral up to ``since``, the last change, in units of the level times
    picoseconds; both are exact.
    """

    __slots__ = ("area", "least", "level", "most", "since", "start")

    def __init__(self, level: int = 0, since: int = 0) -> None:
        self.level = self.least = self.most = level
        self.since = self.start = since
        self.area = 0

    def change(self, delta: int, at: int) -> None:
        """Raise the level, or lower it, at a time that is not before the last change. Raises ValueError otherwise."""
        if at < self.since:
            raise ValueError(f"a change at {at} ps comes after one at {self.since} ps")
        self.area += self.level * (at - self.since)
        self.since = at
        self.level += delta
        if self.level > self.most:
            self.most = self.level
        elif self.level < self.least:
            self.least = self.level

    def integral(self, until: int) -> int:
        """The integral of the level up to a time that is not before the last change."""
        return self.area + self.level * (until - self.since)

    def mean(self, until: int) -> float:
        """The mean level over time; the level itself where no time has passed."""
        span = until - self.start
        return self.integral(until) / span if span else float(self.level)


class Histogram:
    """A distribution of whole numbers of 0 or more, such as latencies in picoseconds, in bounded memory.

    ``count``, ``total``, ``least`` and ``most`` are exact. So are quantiles while there are at most 4,096 different
    values; after that (``rounded``) they are too large by at most 1 part in 256.
    """

    __slots__ = ("_counts", "count", "least", "most", "rounded", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = self.total = self.least = self.most = 0
        self.rounded = False

    def add(self, value: int, count: int = 1) -> None:
        """Count a value. Raises ValueError for a negative one."""
        if value < 0:
            raise ValueError(f"a histogram holds numbers of 0 or more, and not {value}")
        if not self.count or value < self.least:
            self.least = value
        if value > self.most:
            self.most = value
        self.count += count
        self.total += value * count
        key = _bucket(value) if self.rounded else value
        counts = self._counts
        counts[key] = counts.get(key, 0) + count
        if len(counts) > EXACT and not self.rounded:
            self._round()

    def _round(self) -> None:
        self.rounded = True
        made: dict[int, int] = {}
        for value, count in self._counts.items():
            key = _bucket(value)
            made[key] = made.get(key, 0) + count
        self._counts = made

    @property
    def mean(self) -> float:
        """The mean. Raises ValueError when nothing was counted."""
        if not self.count:
            raise ValueError("nothing was counted, so there is no mean")
        return self.total / self.count

    def quantile(self, share: float) -> int:
        """The smallest value that at least this share, above 0 and up to 1, of the values does not exceed.

        Raises ValueError for other shares, and when nothing was counted.
        """
        if not 0 < share <= 1 or not self.count:
            raise ValueError("nothing was counted" if not self.count else f"{share} is no share above 0 and up to 1")
        seen = 0
        for value in sorted(self._counts):
            seen += self._counts[value]
            if seen >= share * self.count:
                return min(value, self.most)
        raise AssertionError("the counts do not add up")

    def merge(self, other: Histogram) -> None:
        """Count all values of another histogram as well."""
        if not other.count:
            return
        least = min(self.least, other.least) if self.count else other.least
        self.count, self.total = self.count + other.count, self.total + other.total
        self.least, self.most = least, max(self.most, other.most)
        for value, count in other._counts.items():
            self._counts[value] = self._counts.get(value, 0) + count
        if self.rounded or other.rounded or len(self._counts) > EXACT:
            self._round()


def _bucket(value: int) -> int:
    """The largest value of the bucket; one that is the largest of its bucket stays as it is."""
    shift = value.bit_length() - BITS - 1
    return value if shift <= 0 else (((value >> shift) + 1) << shift) - 1
