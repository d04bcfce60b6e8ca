"""How a difference is shared out among its causes, exactly.

`shapley` gives each cause the mean of what it changes over all orders in which the causes can be switched (Shapley,
"A value for n-person games", 1953): the only rule by which shares sum to the difference, causes that do the same get
the same, one that does nothing gets nothing, and shares of a sum are sums of shares. It needs all 2^n mixtures.
`both_ways` is for more causes than that is worth: the mean over the order as it stands and its reverse, of 2 n.
Both give the negative of every share when the ends change places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import combinations, pairwise

__all__ = ["MOST", "both_ways", "mixtures", "rounded", "shapley", "shares"]

MOST = 6  # causes with Shapley values: these take 64 mixtures, and each more doubles them

Mixture = frozenset[int]
Value = Callable[[Mixture], Fraction]


def mixtures(count: int, most: int = MOST) -> list[Mixture]:
    """The sets of causes, by number, whose values `shares` needs."""
    if count <= most:
        return [frozenset(held) for size in range(count + 1) for held in combinations(range(count), size)]
    first = [frozenset(range(size)) for size in range(count + 1)]
    last = [frozenset(range(size, count)) for size in range(1, count)]
    return [*first, *last]


def shares(count: int, value: Value, most: int = MOST) -> list[Fraction]:
    """What each cause adds to the value, from none to all."""
    return shapley(count, value) if count <= most else both_ways(count, value)


def shapley(count: int, value: Value) -> list[Fraction]:
    """The Shapley value of each of so many causes; `value` tells that of any set of them."""
    out = [Fraction(0)] * count
    for one in range(count):
        others = [number for number in range(count) if number != one]
        for size in range(count):
            weight = Fraction(math.factorial(size) * math.factorial(count - size - 1), math.factorial(count))
            for held in combinations(others, size):
                out[one] += weight * (value(frozenset((*held, one))) - value(frozenset(held)))
    return out


def both_ways(count: int, value: Value) -> list[Fraction]:
    """The mean of what each cause changes in the order of their numbers and in its reverse."""
    return [(a + b) / 2 for a, b in zip(_ordered(range(count), value), _ordered(range(count)[::-1], value)[::-1])]


def _ordered(order: Sequence[int], value: Value) -> list[Fraction]:
    values = [value(frozenset(order[:size])) for size in range(len(order) + 1)]
    return [after - before for before, after in pairwise(values)]


def rounded(steps: Iterable[Fraction], digits: int, total: int) -> list[int]:
    """Each step in units of 10^-digits, so that they sum to `total`, which is less than one unit from their own sum.

    Each is rounded down or up: up where most is left over (the method of largest remainders).
    """
    exact = [step * Fraction(10) ** digits for step in steps]
    down = [math.floor(step) for step in exact]
    lack = total - sum(down)
    by_rest = sorted(range(len(exact)), key=lambda number: (down[number] - exact[number], number))
    for number in by_rest[:lack]:
        down[number] += 1
    return down
