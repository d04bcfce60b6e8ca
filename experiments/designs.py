"""Designs of experiments: which points of many factors to run when there are too many for all.

A design says where each point stands in each factor, as a share from 0 up to 1; a factor turns a share into one of its
values: a list has equal parts, a range its least and greatest with everything between. Shares are fractions and
logarithms decimals, so that the same design is the same points on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np

from tiersim._base import units
from tiersim._base.errors import StudyError, UnitError
from tiersim._base.registry import nearest
from tiersim.experiments.yaml_tree import Node
from tiersim.sim.queued.streams import stream

__all__ = ["MOST_SOBOL", "NAMES", "Range", "read_range", "shares"]

RANGE_KEYS = ("range", "scale", "step")
SCALES = ("linear", "log")
AS_IN = "as in {range: [256 KiB, 8 MiB], scale: log, step: 64 KiB}"
EXACT = Context(prec=50)
FINEST = 6  # a plain decimal without a step has so many digits behind its smaller end's first


# factors


@dataclass(frozen=True)
class Range:
    """The multiples of a step from the `low`-th to the `high`-th; `show` makes one of them the value of a factor.

    A share falls on the multiple that is nearest, on the scale: on a linear one all are equally likely.
    """

    low: int
    high: int
    step: Fraction
    log: bool
    show: Callable[[Fraction], str | int | float]

    def at(self, share: Fraction) -> str | int | float:
        """The value at a share of the range."""
        low, high = 2 * self.low - 1, 2 * self.high + 1  # twice the ends of what rounds to a multiple
        if self.log:
            ratio = EXACT.divide(Decimal(high), Decimal(low))
            grown = EXACT.power(ratio, EXACT.divide(Decimal(share.numerator), Decimal(share.denominator)))
            doubled = Fraction(EXACT.multiply(grown, Decimal(low)))
        else:
            doubled = low + share * (high - low)
        nearest_one = math.floor((doubled + 1) / 2)
        return self.show(min(nearest_one, self.high) * self.step)


def read_range(key: str, node: Node) -> Range:
    """The factor that ``{range: [low, high], scale: log, step: 64 KiB}`` says. Raises StudyError with its place."""
    for word, held in node.items():
        if word not in RANGE_KEYS:
            hint = nearest(word, RANGE_KEYS) or f"known here: {', '.join(RANGE_KEYS)}"
            raise StudyError(f"unknown key {word!r}; {hint}", held.key_place or held.place, AS_IN)
    said = node.value.get("range")
    if said is None or not isinstance(said.value, list) or len(said.value) != 2:
        raise StudyError(f"the range of {key} has two ends", said.place if said else node.place, AS_IN)
    scale, stepped = node.value.get("scale"), node.value.get("step")
    if scale is not None and scale.value not in SCALES:
        hint = nearest(scale.text, SCALES) or "there are: linear, log"
        raise StudyError(f"no scale is called {scale.text!r}; {hint}", scale.place, AS_IN)
    log = scale is not None and scale.value == "log"
    numbers, show = _numbers(key, [*said.value, *([stepped] if stepped else [])])
    low, high = numbers[:2]
    first, last = (held.text for held in said.value)
    if low >= high:
        wrong = "has one value" if low == high else f"is empty: {first} is above {last}"
        raise StudyError(f"the range of {key} {wrong}", said.place, "write the smaller end first, and a greater behind")
    if log and low <= 0:
        zero = said.value[0].place
        raise StudyError(f"{key} has no logarithm at {first}", zero, "begin above 0, or take scale: linear")
    step = numbers[2] if stepped is not None else _finest(said.value, numbers)
    if stepped is not None and step <= 0:
        raise StudyError(f"the step of {key} is {stepped.text}", stepped.place, "leave it out, or make it more than 0")
    bottom, top = math.ceil(low / step), math.floor(high / step)
    if stepped is not None and top <= bottom:
        many = "one multiple" if top == bottom else "no multiple"
        message = f"{key} cannot vary: {many} of {stepped.text} lies from {first} to {last}"
        raise StudyError(message, stepped.place, "values are multiples of the step: make it smaller")
    return Range(bottom, top, step, log, show)


def _numbers(key: str, nodes: list[Node]) -> tuple[list[Fraction], Callable[[Fraction], str | int | float]]:
    """Quantities of one dimension in base units, or plain numbers; and how such a number is written."""
    dimensions = [_dimension(key, node) for node in nodes]
    if not any(dimensions):
        return [Fraction(str(node.value)) for node in nodes], _plain
    first = next(at for at, name in enumerate(dimensions) if name)
    dimension, item = dimensions[first], ""
    numbers = []
    for node in nodes:
        try:
            found = units.parse(node.value, dimension)
        except UnitError as error:
            remedy = f"{nodes[first].text} says what {key} is counted in"
            raise StudyError(error.message, node.place, remedy) from None
        item = item or found.item
        if found.item != item:
            raise StudyError(f"{key} mixes per {item} and per {found.item or 'item'}", node.place, "take one of them")
        numbers.append(Fraction(found.amount))
    return numbers, lambda amount: units.show(int(amount), dimension, item)


def _dimension(key: str, node: Node) -> str:
    """The first dimension that reads a quantity, an empty text for a plain number."""
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return ""
    for name in units.DIMENSIONS:
        try:
            units.parse(node.value, name)
        except UnitError:
            continue
        return name
    said = repr(node.text) if node.text else "a list or a mapping"
    raise StudyError(f"{key} cannot range to {said}: this is no number and no quantity", node.place, AS_IN)


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


def _finest(ends: list[Node], numbers: list[Fraction]) -> Fraction:
    """The step of a range that says none: a base unit, a whole number, or a millionth of a decimal's smaller end."""
    forms = {type(end.value) for end in ends}
    if float not in forms or str in forms:
        return Fraction(1)
    digits = min(Decimal(str(end.value)).adjusted() for end, number in zip(ends, numbers, strict=False) if number)
    return Fraction(10) ** (digits - FINEST)


# designs


def shares(design: str, factors: Mapping[str, bool], count: int, seed: int | None) -> list[list[Fraction]]:
    """Where each of `count` points stands in each factor, as shares from 0 up to 1; a list for each factor.

    `factors` says for each name whether its values are categories, of which a Latin hypercube takes each equally
    often. What is drawn for a factor depends on the seed, its name and, in a Latin hypercube, on the number of points;
    in a Sobol sequence also on its position. So more points of a random design or Sobol sequence begin with the same
    ones, and another factor behind the others changes none of theirs.
    """
    if design == "sobol":
        return [_sobol(place, count, seed, name) for place, name in enumerate(factors)]
    make = _random if design == "random" else _latin_hypercube
    return [make(count, seed or 0, name, categories) for name, categories in factors.items()]


def _drawn(seed: int, name: str, count: int) -> list[int]:
    """So many random whole numbers below 2^64."""
    return [int(number) for number in stream(seed, f"sweep.{name}").bit_generator.random_raw(count)]


def _random(count: int, seed: int, name: str, categories: bool) -> list[Fraction]:
    """Independent points."""
    return [Fraction(number, 2**64) for number in _drawn(seed, name, count)]


def _latin_hypercube(count: int, seed: int, name: str, categories: bool) -> list[Fraction]:
    """A point in each of as many equal parts as there are points, in random order (McKay, Beckman and Conover, 1979).

    Where a point stands in its part is random; of categories it is the same for all, so that each occurs equally often,
    or once more than others where their number does not divide that of the points.
    """
    numbers = _drawn(seed, name, 2 * count)
    order, within = np.argsort(np.array(numbers[:count], np.uint64), kind="stable"), numbers[count:]
    if categories:
        within = within[:1] * count
    return [Fraction(int(part) * 2**64 + rest, count * 2**64) for part, rest in zip(order, within, strict=True)]


NAMES = ("random", "latin-hypercube", "sobol")

# S. Joe and F. Y. Kuo, Constructing Sobol sequences with better two-dimensional projections, SIAM J. Sci. Comput. 30
# (2008), doi:10.1137/070709359; the first lines of https://web.maths.unsw.edu.au/~fkuo/sobol/new-joe-kuo-6.21201, from
# the second dimension on: a primitive polynomial's coefficients between its first and last as bits, and its m
JOE_KUO = (
    (0, (1,)),
    (1, (1, 3)),
    (1, (1, 3, 1)),
    (2, (1, 1, 1)),
    (1, (1, 1, 3, 3)),
    (4, (1, 3, 5, 13)),
    (2, (1, 1, 5, 5, 17)),
    (4, (1, 1, 5, 5, 5)),
    (7, (1, 1, 7, 11, 19)),
    (11, (1, 1, 5, 1, 1)),
    (13, (1, 1, 1, 3, 11)),
    (14, (1, 3, 5, 5, 31)),
    (1, (1, 3, 3, 9, 7, 49)),
    (13, (1, 1, 1, 15, 21, 21)),
    (16, (1, 3, 1, 13, 27, 49)),
    (19, (1, 1, 1, 15, 7, 5)),
    (22, (1, 3, 1, 15, 13, 25)),
    (25, (1, 1, 5, 5, 19, 61)),
    (1, (1, 3, 7, 11, 23, 15, 103)),
    (4, (1, 3, 7, 13, 13, 15, 69)),
    (7, (1, 1, 3, 13, 7, 35, 63)),
    (8, (1, 3, 5, 9, 1, 25, 53)),
    (14, (1, 3, 1, 13, 9, 35, 107)),
    (19, (1, 3, 1, 5, 27, 61, 31)),
    (21, (1, 1, 5, 11, 19, 41, 61)),
    (28, (1, 3, 5, 3, 3, 13, 69)),
    (31, (1, 1, 7, 13, 1, 19, 1)),
    (32, (1, 3, 7, 5, 13, 19, 59)),
    (37, (1, 1, 3, 9, 25, 29, 41)),
    (41, (1, 3, 5, 13, 23, 1, 55)),
    (42, (1, 3, 7, 3, 13, 59, 17)),
    (50, (1, 3, 1, 3, 5, 53, 69)),
    (55, (1, 1, 5, 5, 23, 33, 13)),
    (56, (1, 1, 7, 7, 1, 61, 123)),
    (59, (1, 1, 7, 9, 13, 61, 49)),
    (62, (1, 3, 3, 5, 3, 55, 33)),
)
MOST_SOBOL = 1 + len(JOE_KUO)
BITS = 32


def _sobol(place: int, count: int, seed: int | None, name: str) -> list[Fraction]:
    """A dimension of the Sobol sequence in Gray code's order; a seed scrambles it, which keeps its balance."""
    steps, at = _directions(place), 0
    if seed is not None:
        drawn = [number >> BITS for number in _drawn(seed, name, BITS + 1)]
        steps, at = [_scrambled(step, drawn) for step in steps], drawn[BITS]
    out = []
    for index in range(count):
        out.append(Fraction(at, 2**BITS))
        at ^= steps[(~index & (index + 1)).bit_length() - 1]  # of the lowest bit that is 0
    return out


def _directions(place: int) -> list[int]:
    """The direction numbers of a dimension, from the half down, as whole numbers of 2^-32."""
    if place == 0:
        return [1 << (BITS - bit) for bit in range(1, BITS + 1)]
    between, first = JOE_KUO[place - 1]
    degree = len(first)
    out = [odd << (BITS - bit) for bit, odd in enumerate(first, 1)]
    while len(out) < BITS:
        made = out[-degree] ^ (out[-degree] >> degree)
        for back in range(1, degree):
            if between >> (degree - 1 - back) & 1:
                made ^= out[-back]
        out.append(made)
    return out


def _scrambled(step: int, drawn: list[int]) -> int:
    """A direction number times a random lower triangular matrix (Matousek, 1998, doi:10.1006/jcom.1998.0489)."""
    out = 0
    for bit in range(BITS):
        above = drawn[bit] >> (bit + 1) << (bit + 1)
        out |= ((above | 1 << bit) & step).bit_count() % 2 << bit
    return out
