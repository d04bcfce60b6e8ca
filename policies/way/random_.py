"""Random replacement."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words

LOW = 0xFFFFFFFF


def mix(x: int) -> int:
    """A 32-bit hash whose products stay inside 63 bits, so that Python and machine integers agree.

    Source: the two-round "lowbias" search of Chris Wellons, hash-prospector (constants 21f0aaad, 735a2d97).
    """
    x ^= x >> 16
    x = (x * 0x21F0AAAD) & LOW
    x ^= x >> 15
    x = (x * 0x735A2D97) & LOW
    return x ^ (x >> 15)


@register("random", family="way-replacement", paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078")
class Random:
    """Evicts a way drawn at random, each allowed way as likely as the others.

    Counter-based: each set has a key made from the seed and counts its draws, so that a draw depends on nothing else.
    """

    hit_is_idempotent: ClassVar[bool] = True
    random: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        words = np.zeros((sets, 2), np.int64)
        words[:, 0] = np.random.SeedSequence(seed).generate_state(sets, np.uint32)
        return words

    @staticmethod
    def hit(s: Words, at: int, way: int) -> None:
        return

    @staticmethod
    def fill(s: Words, at: int, way: int) -> None:
        return

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int) -> int:
        choices = 0
        for way in range(ways):
            choices += (allowed >> (way & 63)) & 1
        s[at + 1] += 1
        drawn = mix((s[at] ^ mix(s[at + 1] & LOW)) & LOW)
        left = (drawn * choices) >> 32
        for way in range(ways):
            if (allowed >> (way & 63)) & 1:
                if left == 0:
                    return way
                left -= 1
        return -1
