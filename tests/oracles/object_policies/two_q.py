"""2Q, the full version of its paper."""

from __future__ import annotations


class TwoQ:
    """Three dicts of names and sizes, from the tail of the paper (first out) to its head."""

    def __init__(self, capacity: int, short: float = 0.25, ghost: float = 0.5) -> None:
        self.capacity = capacity
        self.k_in, self.k_out = int(capacity * short), int(capacity * ghost)
        self.a1in: dict[int, int] = {}
        self.a1out: dict[int, int] = {}
        self.am: dict[int, int] = {}

    def reclaim(self, size: int) -> None:
        while sum(self.a1in.values()) + sum(self.am.values()) + size > self.capacity:
            if sum(self.a1in.values()) > self.k_in or not self.am:
                y = next(iter(self.a1in))
                gone = self.a1in.pop(y)
                if gone <= self.k_out:
                    self.a1out[y] = gone
                    while sum(self.a1out.values()) > self.k_out:
                        del self.a1out[next(iter(self.a1out))]
            else:
                del self.am[next(iter(self.am))]

    def on_access(self, x: int, size: int) -> bool:
        if x in self.am:
            self.am[x] = self.am.pop(x)
            return True
        if x in self.a1in:
            return True
        if size > self.capacity:
            return False
        to = self.am if self.a1out.pop(x, 0) else self.a1in
        self.reclaim(size)
        to[x] = size
        return False
