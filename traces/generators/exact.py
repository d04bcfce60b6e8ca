"""What compiled loops share: random words, logarithms and powers, the same to the last bit on every machine.

numpy and the C library compute logarithms and exponentials in other ways on other processors, and a last bit that
differs moves a record now and then. Here they are made of additions, multiplications and divisions alone, which IEEE
754 fixes, in a fixed order; they are right to some 1e-15.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "compiled",
    "drawn",
    "exp",
    "expm1",
    "image",
    "log",
    "log1p",
    "mixed",
    "normal",
    "part",
    "preimage",
    "real",
    "root",
    "word",
]

F = TypeVar("F", bound=Callable[..., Any])

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)  # the constants of counter.py
STREAM: Final = np.uint64(0xD1B54A32D192ED03)
FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
SECOND: Final = np.uint64(0x94D049BB133111EB)
LN2_HIGH: Final = 6.93147180369123816490e-01  # with so few bits that up to a thousand of them are exact
LN2_LOW: Final = 1.90821492927058770002e-10  # the rest
PER_LN2: Final = 1.0 / math.log(2.0)
A3, A5, A7, A9, A11, A13, A15, A17, A19, A21, A23 = (1.0 / n for n in range(3, 24, 2))  # of the series of atanh
B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14 = (1.0 / math.factorial(n) for n in range(2, 15))  # of exp
WHOLE: Final = 2.0**52  # from here on every float is whole
WHOLE_BITS: Final = 0x4330000000000000
ROOT2: Final = math.sqrt(2.0)
FURTHEST: Final = 700.0  # beyond, exp passes what a float holds

OPTIONS: Any = {"_nrt": False, "cache": True, "nogil": True, "error_model": "numpy"}


def compiled(function: F) -> F:
    """A loop that is compiled once, kept on disk, and runs beside other Python threads."""
    return cast(F, numba.njit(**OPTIONS)(function))


def inlined(function: F) -> F:
    """A small part of such loops: put in where it stands, so that the loop around it can do several rounds at once."""
    return cast(F, numba.njit(**OPTIONS, inline="always")(function))


@inlined
def mixed(word: np.uint64) -> np.uint64:
    """`counter.mix` of one word."""
    word = (word ^ (word >> np.uint64(30))) * FIRST
    word = (word ^ (word >> np.uint64(27))) * SECOND
    return word ^ (word >> np.uint64(31))


@inlined
def word(root: np.uint64, stream: int, index: np.uint64) -> np.uint64:
    """`counter.draw` of one index; ``root`` is that of the seed."""
    return drawn(mixed(root + np.uint64(stream) * STREAM), index)


@inlined
def drawn(key: np.uint64, index: np.uint64) -> np.uint64:
    """`counter.draw` of one index, with the key of its seed and stream."""
    return mixed((index + np.uint64(1)) * GOLDEN + key)


@inlined
def part(bits: np.uint64, size: int) -> np.uint64:
    """`counter.below` of one word."""
    return (bits >> np.uint64(32)) * np.uint64(size) >> np.uint64(32)


@inlined
def real(bits: np.uint64) -> float:
    """`counter.share` of one word."""
    return np.float64(np.int64(bits >> np.uint64(11))) * 2.0**-53


@inlined
def preimage(image: np.uint64, size: int, keys: NDArray[np.uint64]) -> np.uint64:
    """The place of which `image` makes this; the keys are those of `counter.unshuffle_keys`."""
    mask, half = keys[6], keys[7]
    while True:
        for turn in (2, 1, 0):
            image ^= image >> half  # by half of the bits or more: what is done twice is undone
            image = ((image - keys[3 + turn]) * keys[turn]) & mask
        if image < np.uint64(size):
            return image


@inlined
def normal(share: float) -> float:
    """The number under which a standard normal one lies with this probability, right to 2e-7.

    Of two rational approximations for single precision by Wichura, 1988, algorithm AS 241, doi:10.2307/2347330.
    """
    q = share - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        above = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        return q * above / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = math.sqrt(-log(max(min(share, 1.0 - share), 2.0**-60)))
    if r <= 5.0:
        r -= 1.6
        far = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) / (
            (0.12021132975 * r + 0.73700164250) * r + 1.0
        )
    else:
        r -= 5.0
        far = (((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150) / (
            (0.012258202635 * r + 0.24197894225) * r + 1.0
        )
    return far if q > 0.0 else -far


def root(seed: int) -> np.uint64:
    """Where the random words of a seed begin."""
    with np.errstate(over="ignore"):
        return np.uint64(mixed(np.uint64((seed + 1) * int(GOLDEN) & (1 << 64) - 1)))


@inlined
def log(x: float) -> float:
    """The natural logarithm of a normal number above 0.

    x is 2**e * m with m around 1; of m it is twice the series of atanh((m - 1) / (m + 1)), whose square is under 0.03.
    """
    bits = np.float64(x).view(np.int64)
    e = np.int64((bits >> 52) | WHOLE_BITS).view(np.float64) - (WHOLE + 1023.0)
    m = np.int64((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000).view(np.float64)
    above = m > ROOT2
    m = 0.5 * m if above else m
    e = e + 1.0 if above else e
    f = (m - 1.0) / (m + 1.0)
    s = f * f
    series = ((((A23 * s + A21) * s + A19) * s + A17) * s + A15) * s + A13
    series = ((((series * s + A11) * s + A9) * s + A7) * s + A5) * s + A3
    return e * LN2_HIGH + (e * LN2_LOW + (2.0 * f * s * series + 2.0 * f))


@inlined
def exp(x: float) -> float:
    """The exponential of a number, of 700 for a larger one and of -700 for a smaller one.

    x is k * log(2) + r with r within 0.35; of r it is the series.
    """
    x = x if x < FURTHEST else FURTHEST
    x = x if x > -FURTHEST else -FURTHEST
    shifted = x * PER_LN2 + 1.5 * WHOLE  # adding so much rounds to a whole number, and leaves it in the lowest bits
    k = shifted - 1.5 * WHOLE
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = (((((B14 * r + B13) * r + B12) * r + B11) * r + B10) * r + B9) * r + B8
    series = ((((((series * r + B7) * r + B6) * r + B5) * r + B4) * r + B3) * r + B2) * r + 1.0
    scale = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return (series * r + 1.0) * scale


@inlined
def log1p(x: float) -> float:
    """The logarithm of 1 + x, also where x is small (Kahan's way: what rounding does to 1 + x cancels)."""
    y = 1.0 + x
    return log(y) * (x / (y - 1.0)) if y != 1.0 else x


@inlined
def expm1(x: float) -> float:
    """The exponential less 1, also where x is small (Kahan's way)."""
    y = exp(x)
    if y == 1.0:
        return x
    return y - 1.0 if y - 1.0 <= -0.5 or y > 2.0 else (y - 1.0) * (x / log(y))


@inlined
def image(place: np.uint64, size: int, keys: NDArray[np.uint64]) -> np.uint64:
    """`counter.shuffled` of one place; the keys are those of `counter.shuffle_keys`."""
    mask, half = keys[6], keys[7]
    while True:
        for turn in range(3):
            place = (place * keys[turn] + keys[3 + turn]) & mask
            place ^= place >> half
        if place < np.uint64(size):
            return place
