"""Way replacement written as naively as it can be said, one object for each set of a cache.

Nothing here is built as a fast engine would build it: recency is a diary of uses, the clock is a ring that turns, the
tree is made of nodes, SRRIP keeps ways on shelves, and the TLB-aware one a list of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["Belady", "Clock", "Fifo", "Lru", "SetPolicy", "Srrip", "TlbAwareSrrip", "TreePlru", "make"]


class SetPolicy(Protocol):
    """What a cache tells the policy of one set and asks of it; ways count from 0."""

    def hit(self, way: int) -> None: ...

    def fill(self, way: int) -> None: ...

    def victim(self, lines: Sequence[int], future: Sequence[int]) -> int:
        """The way to evict from a full set; `future` holds the lines that this cache will still be asked for."""
        ...


class Lru:
    """The way whose last use lies longest ago."""

    def __init__(self) -> None:
        self.diary: list[int] = []

    def hit(self, way: int) -> None:
        self.diary.append(way)

    def fill(self, way: int) -> None:
        self.diary.append(way)

    def victim(self, lines: Sequence[int], future: Sequence[int]) -> int:
        newest_first: list[int] = []
        for way in reversed(self.diary):
            if way not in newest_first:
                newest_first.append(way)
        self.diary = newest_first[::-1]  # older uses of these ways say no more
        return newest_first[-1]


class Fifo(Lru):
    """The way whose line came in longest ago."""

    def hit(self, way: int) -> None:
        pass


class Clock:
    """Second chance: the hand passes over referenced ways once."""

    def __init__(self, ways: int) -> None:
        self.ring = list(range(ways))  # the hand stands at the front
        self.referenced: set[int] = set()

    def hit(self, way: int) -> None:
        self.referenced.add(way)

    def fill(self, way: int) -> None:
        self.referenced.discard(way)

    def victim(self, lines: Sequence[int], future: Sequence[int]) -> int:
        while self.ring[0] in self.referenced:
            self.referenced.remove(self.ring[0])
            self.ring = self.ring[1:] + self.ring[:1]
        way = self.ring[0]
        self.ring = self.ring[1:] + self.ring[:1]
        return way


class TreePlru:
    """A binary tree whose nodes each remember which half was used less recently."""

    def __init__(self, ways: Sequence[int]) -> None:
        self.ways = ways
        self.older = 0
        half = len(ways) // 2
        self.halves = [TreePlru(ways[:half]), TreePlru(ways[half:])] if half else []

    def hit(self, way: int) -> None:
        for side, half in enumerate(self.halves):
            if way in half.ways:
                half.hit(way)
                self.older = 1 - side

    def fill(self, way: int) -> None:
        self.hit(way)

    def victim(self, lines: Sequence[int], future: Sequence[int]) -> int:
        return self.halves[self.older].victim(lines, future) if self.halves else self.ways[0]


class Srrip:
    """Static re-reference interval prediction, hit priority: shelf n holds the ways whose RRPV is n."""

    def __init__(self, ways: int, bits: int) -> None:
        self.shelves: list[set[int]] = [set() for _ in range(2**bits)]
        self.shelves[-1].update(range(ways))

    def _move(self, way: int, shelf: int) -> None:
        for ways in self.shelves:
            ways.discard(way)
        self.shelves[shelf].add(way)

    def hit(self, way: int) -> None:
        self._move(way, 0)

    def fill(self, way: int) -> None:
        self._move(way, len(self.shelves) - 2)

    def victim(self, lines: Sequence[int], future: Sequence[int]) -> int:
        while not self.shelves[-1]:
            self.shelves = [set(), *self.shelves[:-1]]
        return min(self.shelves[-1])


class TlbAwareSrrip:
    """docs/explanation/translation.md, its section of this name; whether a way holds a TLB block is asked of the cache.

    `spared` is how many victims may be passed by at once, `pressed` says whether translation pressure is high, and
    `near` whether a new block is expected at once.
    """

    def __init__(
        self,
        ways: int,
        is_block: Callable[[int], bool] = lambda way: False,
        pressed: Callable[[], bool] = lambda: False,
        spared: int = 1,
        near: bool = True,
    ) -> None:
        self.expected = [3] * ways
        self.pointer = 0
        self.is_block, self.pressed, self.spared, self.near = is_block, pressed, spared, near

    def favoured(self, way: int) -> bool:
        return self.pressed() and self.is_block(way)

    def hit(self, way: int) -> None:
        self.expected[way] = 0 if self.favoured(way) else max(self.expected[way] - 1, 0)

    def fill(self, way: int) -> None:
        self.expected[way] = 0 if self.near and self.favoured(way) else 2

    def next_last(self, allowed: Sequence[int]) -> int:
        """The next allowed way with 3; the pointer then stands behind it."""
        while not any(self.expected[way] == 3 for way in allowed):
            self.expected = [min(value + 1, 3) for value in self.expected]
        ways = len(self.expected)
        from_pointer_on = [(self.pointer + step) % ways for step in range(ways)]
        found = next(way for way in from_pointer_on if way in allowed and self.expected[way] == 3)
        self.pointer = (found + 1) % ways
        return found

    def victim_of(self, allowed: Sequence[int]) -> int:
        found = self.next_last(allowed)
        for _ in range(self.spared):
            if not self.favoured(found):
                break
            self.expected[found] = 0
            found = self.next_last(allowed)
        return found

    def victim(self, lines: Sequence[int], future: Sequence[int]) -> int:
        return self.victim_of(range(len(lines)))


class Belady:
    """The way whose line is asked for again last, or never."""

    def hit(self, way: int) -> None:
        pass

    def fill(self, way: int) -> None:
        pass

    def victim(self, lines: Sequence[int], future: Sequence[int]) -> int:
        asked = list(future)
        waits = [asked.index(line) if line in asked else len(asked) for line in lines]
        return waits.index(max(waits))


def make(name: str, ways: int, bits: int = 2) -> SetPolicy:
    """A fresh policy for one set of `ways` ways."""
    if name == "lru":
        return Lru()
    if name == "fifo":
        return Fifo()
    if name == "clock":
        return Clock(ways)
    if name == "tree-plru":
        assert ways & (ways - 1) == 0, "a tree needs a power of two"
        return TreePlru(range(ways))
    if name == "srrip":
        return Srrip(ways, bits)
    if name == "tlb-aware-srrip":
        return TlbAwareSrrip(ways)
    assert name == "belady", name
    return Belady()
