"""SIEVE."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.lists import oldest, push, rings, unlink

OUT, NEW, VISITED = 0, 1, 2


@register("sieve", family="object-replacement", paper="Zhang et al., NSDI 2024, usenix.org/conference/nsdi24")
class Sieve:
    """A queue in order of entry whose hand moves from old to new, spares what was visited and forgets the visit.

    Unlike CLOCK a spared object keeps its place, so that new objects are sifted quickly.
    """

    @staticmethod
    def state(objects: int) -> State:
        # hand: where the search goes on; the sentinel means from the oldest
        return {
            "link": rings(objects, 1),
            "mark": np.zeros(objects, np.uint8),
            "hand": np.full(1, objects, np.int64),
        }

    @staticmethod
    def lookup(mark: Words, x: int) -> int:
        return mark[x]

    @staticmethod
    def touch(mark: Words, x: int) -> None:
        mark[x] = VISITED

    @staticmethod
    def insert(link: Words, mark: Words, objects: int, x: int) -> None:
        push(link, objects, x)
        mark[x] = NEW

    @staticmethod
    def victim(link: Words, mark: Words, hand: Words, objects: int) -> int:
        at = hand[0]
        if at == objects:
            at = oldest(link, objects)
        while mark[at] == VISITED:
            mark[at] = NEW
            at = link[2 * at]
            if at == objects:
                at = oldest(link, objects)
        hand[0] = at
        return at

    @staticmethod
    def remove(link: Words, mark: Words, hand: Words, x: int) -> None:
        if hand[0] == x:
            hand[0] = link[2 * x]
        unlink(link, x)
        mark[x] = OUT
