"""Random draws and the exponential function, the same to the last bit in Python and compiled.

Draws are counter-based: ``draws`` holds a key made from the seed and how often was drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiersim.policies.object.contract import Words
from tiersim.policies.way.random_ import mix

__all__ = ["below", "chance", "draws", "exponential"]

LOWER = 0xFFFFFFFF
LN_2 = 0.6931471805599453


def draws(seed: int) -> NDArray[np.int64]:
    """The array that draws come from."""
    return np.array([np.random.SeedSequence(seed).generate_state(1, np.uint32)[0], 0], np.int64)


def below(draws: Words, n: int) -> int:
    """A number from 0 to n - 1 (n < 2^31), each as likely as the others."""
    draws[1] += 1
    return mix((draws[0] ^ mix(draws[1] & LOWER)) & LOWER) * n >> 32


def chance(draws: Words) -> float:
    """A number from 0 to below 1."""
    return below(draws, 1 << 30) / (1 << 30)


def exponential(x: float) -> float:
    """e to the x, for x of at most 0; exact to 15 digits."""
    if x < -700.0:
        return 0.0
    # x = halves * ln 2 + rest with the rest near 0, where a short series is exact
    halves = int(0.5 - x / LN_2)
    rest = x + halves * LN_2
    total = 1.0
    for k in range(13, 0, -1):
        total = 1.0 + total * rest / k
    while halves >= 30:
        total /= 1 << 30
        halves -= 30
    return total / (1 << halves)
