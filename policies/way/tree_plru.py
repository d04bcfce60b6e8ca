"""Tree pseudo-LRU."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.errors import PolicyError
from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words


@register(
    "tree-plru",
    family="way-replacement",
    aliases=("plru",),
    paper="So and Rechtschaffen, IEEE Transactions on Computers 37(9), 1988, doi:10.1109/12.2261",
)
class TreePlru:
    """A binary tree of bits points to the half that was not used last; the victim is found by following it.

    Node n has the children 2n and 2n + 1 and a word of its own; 0 points to the lower ways.
    """

    hit_is_idempotent: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        if ways & (ways - 1):
            raise PolicyError(
                f"tree-plru needs a power of two of ways, not {ways}", None, "use lru, or another number of ways"
            )
        return np.zeros((sets, ways), np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int, ways: int) -> None:
        node = way + ways
        while node > 1:
            s[at + (node >> 1)] = 1 - (node & 1)  # away from this child
            node >>= 1

    @staticmethod
    def fill(s: Words, at: int, way: int, ways: int) -> None:
        TreePlru.hit(s, at, way, ways)

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        node = 1
        span = ways
        while node < ways:
            span >>= 1
            node = 2 * node + s[at + node]
            usable = 0  # whether the half that the bit points to holds an allowed way
            for way in range(node * span - ways, (node + 1) * span - ways):
                usable |= (allowed >> (way & 63)) & 1
            if not usable:
                node ^= 1
        return node - ways
