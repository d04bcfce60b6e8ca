"""Quantities with units, as exact integers of a base unit.

A general units library reads "100 Gb/s" as gilberts and "12 cycles" as turns, so this small parser is our own. Every
dimension has one base unit and every quantity is a whole number of it: bytes, bytes/s, picoseconds, cycles, hertz, items,
items per 10^9 s, picoseconds per item, parts per billion. What would need a fraction of the base unit is an error.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tiersim._base.errors import UnitError

__all__ = ["DIMENSIONS", "Quantity", "describe", "parse", "show"]

DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
NOUNS = (
    "accesses",
    "blocks",
    "bytes",
    "clients",
    "entries",
    "experts",
    "instructions",
    "items",
    "layers",
    "lines",
    "obj",
    "objects",
    "pages",
    "records",
    "references",
    "requests",
    "samples",
    "seeds",
    "sessions",
    "tokens",
    "ways",
)
SINGULAR = {noun.removesuffix("s") if noun != "entries" else "entry": noun for noun in NOUNS} | {"access": "accesses"}

SIZES: dict[str, Fraction] = {f"{sign}B": Fraction(size) for sign, size in (DECIMAL | BINARY).items()}
BITS: dict[str, Fraction] = {f"{sign}b": Fraction(size, 8) for sign, size in (DECIMAL | BINARY).items()}
TIMES: dict[str, Fraction] = {
    "ps": Fraction(1),
    "ns": Fraction(10**3),
    "us": Fraction(10**6),
    "µs": Fraction(10**6),
    "ms": Fraction(10**9),
    "s": Fraction(10**12),
    "min": Fraction(60 * 10**12),
    "h": Fraction(3600 * 10**12),
}
COUNTS: dict[str, Fraction] = {sign: Fraction(size) for sign, size in (DECIMAL | BINARY).items()}


@dataclass(frozen=True)
class _Dimension:
    """A kind of quantity: its units in base units, and what a reader should see."""

    units: dict[str, Fraction]
    example: str
    what: str


DIMENSIONS: dict[str, _Dimension] = {
    "bytes": _Dimension(SIZES, "80 GiB", "a size"),
    "bandwidth": _Dimension(
        {f"{unit}/s": size for unit, size in (SIZES | BITS).items()}, "3.35 TB/s", "a bandwidth"
    ),
    "time": _Dimension(TIMES, "90 ns", "a time"),
    "cycles": _Dimension({"cycles": Fraction(1), "cycle": Fraction(1)}, "12 cycles", "a number of cycles"),
    "frequency": _Dimension({f"{sign}Hz": Fraction(size) for sign, size in DECIMAL.items()}, "3.2 GHz", "a frequency"),
    "count": _Dimension(COUNTS, "64 Ki", "a count"),
    "rate": _Dimension({"/s": Fraction(10**9), "/min": Fraction(10**9, 60)}, "4 /s", "a rate"),
    "time_per_item": _Dimension({}, "160 us/token", "a time for each item"),
    "count_per_item": _Dimension({}, "12 per layer", "a count for each item"),
    "ratio": _Dimension({"%": Fraction(10**7), "": Fraction(10**9)}, "7.4 %", "a share"),
    "points": _Dimension({"points": Fraction(10**7), "point": Fraction(10**7)}, "5 points", "percentage points"),
}

NUMBER = re.compile(r"\s*([+-]?)(\d[\d_]*(?:\.\d*)?|\.\d+)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Quantity:
    """A whole number of base units of a dimension; `item` is what it is per, such as ``token``."""

    amount: int
    dimension: str
    item: str = ""

    def __str__(self) -> str:
        return show(self.amount, self.dimension, self.item)


def describe(*dimensions: str) -> str:
    """What is expected, with an example: ``a size such as 80 GiB``."""
    return " or ".join(f"{DIMENSIONS[name].what} such as {DIMENSIONS[name].example}" for name in dimensions)


def parse(value: Any, *dimensions: str) -> Quantity:
    """Read a quantity in one of these dimensions.

    Raises UnitError when the text is no quantity, the unit is unknown or of another dimension, the value is negative, or
    is no whole number of the base unit.
    """
    expected = f"expected {describe(*dimensions)}"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError(f"{value!r} is not a quantity; {expected}")
    text = str(value).strip() if isinstance(value, str) else repr(value)
    if not text:
        raise UnitError(f"nothing is given; {expected}")
    match = NUMBER.fullmatch(text)
    if not match:
        raise UnitError(f"{text!r} does not begin with a number; {expected}")
    sign, digits, rest = match.groups()
    unit = rest.strip()
    if re.match(r"[eE][+-]?\d", rest):
        raise UnitError(f"{text!r}: write the number out or use a prefix such as k, M, Ki; {expected}")
    if sign == "-":
        raise UnitError(f"{text!r} is negative; {expected}")
    number = Fraction(digits.replace("_", "").rstrip("."))
    for name in dimensions:
        found = _in(name, unit, rest)
        if found is not None:
            size, item = found
            amount = number * size
            if amount.denominator != 1:
                raise UnitError(f"{text!r} is no whole number of {BASE[name]}")
            return Quantity(int(amount), name, item)
    if not unit:
        raise UnitError(f"{text!r} has no unit; {expected}")
    near = _near(unit, dimensions)
    hint = f"did you mean {digits} {near}?" if near else expected
    other = next((DIMENSIONS[name].what for name in DIMENSIONS if _in(name, unit, rest) is not None), None)
    raise UnitError(f"{text!r} is {other}; {expected}" if other else f"{text!r} has an unknown unit {unit!r}; {hint}")


BASE = {
    "bytes": "bytes",
    "bandwidth": "bytes a second",
    "time": "picoseconds",
    "cycles": "cycles",
    "frequency": "hertz",
    "count": "items",
    "rate": "events in 10^9 seconds",
    "time_per_item": "picoseconds an item",
    "count_per_item": "items",
    "ratio": "parts per billion",
    "points": "parts per billion",
}


def _in(name: str, unit: str, rest: str) -> tuple[Fraction, str] | None:
    """The size of a unit in a dimension's base unit and what it is per, or None if it is not of that dimension."""
    if name == "time_per_item":
        time, slash, item = unit.partition("/")
        item = item.strip()
        return (TIMES[time.strip()], item) if slash and time.strip() in TIMES and item in SINGULAR else None
    if name == "count_per_item":
        match = re.fullmatch(r"(\w*)\s*per\s+(\w+)", unit)
        if not match or match[1] not in COUNTS or match[2] not in SINGULAR:
            return None
        return COUNTS[match[1]], match[2]
    if name == "count":
        prefix, _, noun = unit.partition(" ")
        if prefix in NOUNS or prefix in SINGULAR:
            prefix, noun = "", prefix
        if prefix in COUNTS and (not noun or noun.strip() in NOUNS or noun.strip() in SINGULAR):
            return COUNTS[prefix], ""
        return None
    size = DIMENSIONS[name].units.get(unit)
    return None if size is None else (size, "")


def _near(unit: str, dimensions: tuple[str, ...]) -> str:
    known = [known for name in dimensions for known in DIMENSIONS[name].units if known]
    same = [known_unit for known_unit in known if known_unit.lower() == unit.lower()]
    return next(iter(same or difflib.get_close_matches(unit, known, n=1, cutoff=0.5)), "")


def show(amount: int, dimension: str, item: str = "") -> str:
    """A quantity in the largest unit in which it is short and exact; `parse` reads the same amount back."""
    if dimension == "count_per_item":
        return f"{show(amount, 'count')} per {item or 'item'}"
    if dimension == "time_per_item":
        return f"{show(amount, 'time')}/{item or 'item'}"
    best = ""
    for unit, size in DIMENSIONS[dimension].units.items():
        if dimension in ("ratio",) and unit != "%":
            continue
        value = Fraction(amount) / size
        text = _decimal(value)
        if text is None or (dimension == "bandwidth" and "b" in unit):
            continue
        shown = f"{text} {unit}".strip()
        if not best or (len(text), value) < (len(best.split(" ")[0]), Fraction(best.split(" ")[0])):
            best = shown
    return best


def _decimal(value: Fraction) -> str | None:
    """A fraction as an exact decimal, or None when it has no end."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return None
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = str(int(value * 10**digits)).rjust(digits + 1, "0")
    return f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole
