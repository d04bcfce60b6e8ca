"""Random numbers that are a function of (seed, stream, record), so that a trace can be entered anywhere."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["below", "draw", "key", "mix", "share", "shuffle_keys", "shuffled", "unshuffle_keys"]

Words = NDArray[np.uint64]

GOLDEN: Final = 0x9E3779B97F4A7C15
ALL: Final = (1 << 64) - 1


def mix(words: Words) -> Words:
    """Every word scrambled, no two to the same (the finaliser of splitmix64: Steele et al., OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def draw(seed: int, stream: int, index: Words) -> Words:
    """64 random bits for each index; streams of one seed are independent of each other."""
    return mix((index + np.uint64(1)) * np.uint64(GOLDEN) + key(seed, stream))


def below(bits: Words, size: int) -> Words:
    """Uniform whole numbers under ``size``, which is at most 2**32."""
    return (bits >> np.uint64(32)) * np.uint64(size) >> np.uint64(32)


def share(bits: Words) -> NDArray[np.float64]:
    """Uniform numbers from 0 up to but without 1."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(places: Words, size: int, seed: int) -> Words:
    """The image of each place under a random bijection of 0 .. ``size`` - 1.

    Rounds of odd multiplication and a half-width xor permute the next power of two; what falls outside is sent round
    again until it falls inside.
    """
    *keys, mask, half = shuffle_keys(size, seed)

    def step(x: Words) -> Words:
        for odd, add in zip(keys[:3], keys[3:]):
            x = (x * odd + add) & mask
            x = x ^ (x >> half)
        return x

    made = step(places)
    while len(outside := np.flatnonzero(made >= size)):
        made[outside] = step(made[outside])
    return made


def shuffle_keys(size: int, seed: int) -> Words:
    """What a shuffle is made of: the three odd factors, what is added after each, a mask, and half its bits."""
    bits = max(1, (size - 1).bit_length())
    odd = [key(seed, -1 - turn) | np.uint64(1) for turn in range(3)]
    added = [key(seed, -9 - turn) for turn in range(3)]
    return np.array([*odd, *added, (1 << bits) - 1, (bits + 1) // 2], np.uint64)


def unshuffle_keys(size: int, seed: int) -> Words:
    """The same for the way back, with the inverse of each factor."""
    *odd, first, second, third, mask, half = (int(key) for key in shuffle_keys(size, seed))
    inverse = [pow(key, -1, 1 << 64) for key in odd]
    return np.array([*inverse, first, second, third, mask, half], np.uint64)


def key(seed: int, stream: int) -> np.uint64:
    """What tells a stream of a seed from others."""
    first = mix(np.array([(seed + 1) * GOLDEN & ALL], np.uint64))
    return np.uint64(mix(first + np.array([stream * 0xD1B54A32D192ED03 & ALL], np.uint64))[0])
