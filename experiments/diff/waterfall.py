"""Steps from one value to another as they are shown: rounded so that they add up, and in what unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tiersim.experiments.diff.shares import rounded
from tiersim.experiments.scenario import Metric

__all__ = ["Step", "Waterfall", "waterfall"]

SIGNIFICANT = 4  # digits of the largest step
MOST_DIGITS = 12  # behind the point
PREFIXES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


@dataclass(frozen=True)
class Step:
    """A step: its name, where it begins and ends on the scale that is shown, and its size as text."""

    name: str
    begin: float
    end: float
    text: str
    mark: str


@dataclass(frozen=True)
class Waterfall:
    """From A to B by steps; `a`, `b` and `difference` are texts, and the texts of the steps add up to them."""

    a: str
    b: str
    difference: str
    unit: str
    step_unit: str
    steps: tuple[Step, ...]
    ends: tuple[float, float]
    factor: Fraction
    digits: int

    def written(self, value: Fraction) -> str:
        """Another value of the metric, to the same digits."""
        return _text(round(value * self.factor * Fraction(10) ** self.digits), self.digits)


def waterfall(metric: Metric, ends: tuple[Fraction, Fraction], steps: Sequence[tuple[str, Fraction, str]]) -> Waterfall:
    """Names, sizes and marks of steps that lead from one end to the other exactly, as they are shown.

    All are rounded to the same digits, and each step up or down so that they add up to the difference as shown.
    """
    factor, unit, step_unit = _scale(metric, ends)
    a, b = (end * factor for end in ends)
    sizes = [size * factor for _, size, _ in steps]
    digits = _digits([a, b], [b - a, *sizes])
    unit_of = Fraction(10) ** digits
    first, last = round(a * unit_of), round(b * unit_of)
    texts = rounded(sizes, digits, last - first)
    made, at = [], a
    for (name, _, mark), size, text in zip(steps, sizes, texts, strict=True):
        made.append(Step(name, float(at), float(at + size), _text(text, digits, sign=True), mark))
        at += size
    return Waterfall(
        _text(first, digits),
        _text(last, digits),
        _text(last - first, digits, sign=True),
        unit,
        step_unit,
        tuple(made),
        (float(a), float(b)),
        factor,
        digits,
    )


def _scale(metric: Metric, ends: tuple[Fraction, Fraction]) -> tuple[Fraction, str, str]:
    """What values are multiplied with, and the units of a value and of a step."""
    if metric.unit == "ratio":
        return Fraction(100), "%", "points"
    if metric.unit == "bytes":
        power = min(len(PREFIXES) - 1, max(0, len(str(int(max(map(abs, ends))))) - 1) // 3)
        return Fraction(1, 1000**power), PREFIXES[power], PREFIXES[power]
    return Fraction(1), metric.unit, metric.unit


def _digits(ends: Sequence[Fraction], sizes: Sequence[Fraction]) -> int:
    """Digits behind the point: as many as the largest step has use for."""
    if all(held.denominator == 1 for held in (*ends, *sizes)):
        return 0
    most = max((abs(held) for held in sizes if held), default=max(map(abs, ends)))
    if not most:
        return 0
    return min(MOST_DIGITS, max(0, SIGNIFICANT - 1 - math.floor(math.log10(max(float(most), 10.0**-MOST_DIGITS)))))


def _text(units: int, digits: int, *, sign: bool = False) -> str:
    """A number of units of 10^-digits, with its sign where that is asked for."""
    whole, rest = divmod(abs(units), 10**digits)
    text = f"{whole:,}" + (f".{rest:0{digits}d}" if digits else "")
    return ("-" if units < 0 else "+" if sign and units else "") + text
