"""Belady's optimum: what is used furthest in the future leaves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import NEVER, State, Words

BITS = 5  # a word of the tree stands for 32 below it
OUT, DEAD, LIVE = 0, 1, 2  # use[x]: LIVE + the number of the next request for x
LEVELS, DEAD_ONES, BASE = range(3)  # in `n`; from BASE on, where each level of the tree begins


@register(
    "belady",
    family="object-replacement",
    aliases=("opt", "min"),
    paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078",
)
class Belady:
    """Evicts the object whose next request is furthest in the future, and first of all those with none.

    No policy that lets every missed object in has fewer misses where all sizes are one; one that may refuse objects
    can have fewer, which is another bound. With sizes that differ it evicts the furthest until there is room, and is no
    bound. A request of any kind counts as use, a deletion too. The misses equal those of libCacheSim 0.3.5.

    Requests that some object in the cache waits for are bits; over each 32 of them stands one bit of the level above,
    so that the last one is found in a few steps. Bits of requests that have passed, or whose object has left, are
    dropped when the search comes by them.
    """

    needs_future: ClassVar[bool] = True

    @staticmethod
    def state(objects: int, requests: int) -> State:
        levels = [(requests >> BITS) + 1]
        while levels[-1] > 1:
            levels.append((levels[-1] - 1 >> BITS) + 1)
        n = np.zeros(BASE + len(levels), np.int64)
        n[LEVELS] = len(levels)
        n[BASE + 1 :] = np.cumsum(levels)[:-1]
        return {
            "use": np.zeros(objects, np.int32 if requests < 1 << 30 else np.int64),
            "tree": np.zeros(sum(levels), np.uint32),
            "dead": np.zeros(objects, np.int32),  # a stack: who is not used again leaves by eviction only
            "n": n,
        }

    @staticmethod
    def lookup(use: Words, x: int) -> int:
        return use[x]

    @staticmethod
    def touch(use: Words, tree: Words, dead: Words, n: Words, x: int, next_use: int) -> None:
        if next_use == NEVER:
            use[x] = DEAD
            dead[n[DEAD_ONES]] = x
            n[DEAD_ONES] += 1
        else:
            use[x] = LIVE + next_use
            wait(tree, n, next_use)

    @staticmethod
    def insert(use: Words, tree: Words, dead: Words, n: Words, x: int, next_use: int) -> None:
        Belady.touch(use, tree, dead, n, x, next_use)

    @staticmethod
    def victim(use: Words, tree: Words, dead: Words, n: Words, stream: Words) -> int:
        if n[DEAD_ONES] > 0:
            return dead[n[DEAD_ONES] - 1]
        at = last(tree, n)
        while at >= 0 and use[stream[at]] != LIVE + at:
            drop(tree, n, at)
            at = last(tree, n)
        return stream[at] if at >= 0 else -1

    @staticmethod
    def remove(use: Words, n: Words, x: int) -> None:
        if use[x] == DEAD:
            n[DEAD_ONES] -= 1
        use[x] = OUT


def wait(tree: Words, n: Words, at: int) -> None:
    """Set the bit of a request."""
    for level in range(n[LEVELS]):
        word = n[BASE + level] + (at >> BITS)
        old = tree[word]
        tree[word] = old | 1 << (at & 31)
        if old != 0:
            return
        at >>= BITS


def drop(tree: Words, n: Words, at: int) -> None:
    """Clear the bit of a request; it is set."""
    for level in range(n[LEVELS]):
        word = n[BASE + level] + (at >> BITS)
        tree[word] ^= 1 << (at & 31)
        if tree[word] != 0:
            return
        at >>= BITS


def last(tree: Words, n: Words) -> int:
    """The last request whose bit is set, or -1."""
    at = 0
    level = n[LEVELS]
    while level > 0:
        level -= 1
        word = tree[n[BASE + level] + at]
        if word == 0:
            return -1
        at = at << BITS | top(word)
    return at


def top(word: int) -> int:
    """The number of the highest bit of 32."""
    at = 0
    if word >= 1 << 16:
        word >>= 16
        at = 16
    if word >= 1 << 8:
        word >>= 8
        at += 8
    if word >= 1 << 4:
        word >>= 4
        at += 4
    if word >= 1 << 2:
        word >>= 2
        at += 2
    return at + (word >> 1)
