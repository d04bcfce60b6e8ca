"""Quantities with units, as exact integers of a base unit.

A general units library reads "100 Gb/s" as gilberts and "12 cycles" as turns, so this small parser is our own. Every
dimension has one base unit, and what would need a fraction of it is an error: nothing is rounded.

    dimension        base unit                  written
    bytes            byte                       80 GiB, 64 kB, 512 B
    bandwidth        byte a second              3.35 TB/s, 100 Gb/s
    time             picosecond                 90 ns, 5 s, 1.5 h
    cycles           cycle                      12 cycles
    frequency        hertz                      3.2 GHz
    count            item                       64 Ki, 5M, 1 Mi tokens, 1_000
    rate             event in 10^9 seconds      4 /s, 6.25 requests/s
    power            milliwatt                  700 W
    time_per_item    picosecond an item         160 us/token
    count_per_item   item an item               12 per layer
    ratio            part per billion           7.4 %, 0.074
    points           part per billion           5 points

k, M, G, T and P are powers of 1000; Ki, Mi, Gi, Ti and Pi are powers of 1024. Case counts: Mb/s are bits, MB/s bytes.
``KB`` and ``K`` mean 1000 to some and 1024 to others, so they are refused with both spellings offered.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tiersim._base.errors import UnitError

__all__ = ["DIMENSIONS", "Dimension", "Quantity", "describe", "parse", "show"]

PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    prefix: 1024**power for power, prefix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)
}

# what can be counted, and what something can be per
# fmt: off
NOUNS = (
    "access", "block", "client", "core", "entry", "event", "expert", "frame", "head", "image", "instance",
    "instruction", "item", "key", "layer", "line", "node", "obj", "object", "page", "query", "record", "reference",
    "request", "row", "sample", "seed", "session", "set", "slot", "step", "thread", "token", "user", "walk", "way",
    "worker",
)
# fmt: on


def _plural(noun: str) -> str:
    if noun.endswith("s"):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"


SIZES = {f"{prefix}B": Fraction(size) for prefix, size in PREFIXES.items()}
BITS = {f"{prefix}b": Fraction(size, 8) for prefix, size in PREFIXES.items()}
TIMES = {unit: Fraction(10**power) for unit, power in (("ps", 0), ("ns", 3), ("us", 6), ("ms", 9), ("s", 12))} | {
    "min": Fraction(60 * 10**12),
    "h": Fraction(3600 * 10**12),
    "µs": Fraction(10**6),  # U+00B5 and U+03BC look alike
    "μs": Fraction(10**6),
}
COUNTS = {
    f"{prefix} {noun}".strip(): Fraction(size)
    for prefix, size in PREFIXES.items()
    for noun in ("", *NOUNS, *map(_plural, NOUNS))
}
RATES = {unit: size * 10**9 for unit, size in COUNTS.items()}
SECOND = {"s": Fraction(1)}
SPANS = {"s": Fraction(1), "min": Fraction(60), "h": Fraction(3600)}
ITEMS = {noun: Fraction(1) for noun in NOUNS}

# other people's spellings of a unit, in lower case
ALIASES = {
    "k": ("Ki", "k"),
    "kb": ("KiB", "kB", "kb"),
    "byte": ("B",),
    "bytes": ("B",),
    "nsec": ("ns",),
    "usec": ("us",),
    "msec": ("ms",),
    "sec": ("s",),
    "second": ("s",),
    "seconds": ("s",),
    "minute": ("min",),
    "minutes": ("min",),
    "hour": ("h",),
    "hours": ("h",),
    "clocks": ("cycles",),
    "cyc": ("cycles",),
    "percent": ("%",),
    "pp": ("points",),
}


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its units in base units, what they may be per, and what a reader should see."""

    what: str
    example: str
    base: str
    units: Mapping[str, Fraction]
    per: Mapping[str, Fraction] = field(default_factory=dict)
    shown: tuple[str, ...] = ()


_SHOWN_SIZES = tuple(SIZES)
DIMENSIONS: dict[str, Dimension] = {
    "bytes": Dimension("a size", "80 GiB", "bytes", SIZES, shown=_SHOWN_SIZES),
    "bandwidth": Dimension("a bandwidth", "3.35 TB/s", "bytes a second", SIZES | BITS, SECOND, _SHOWN_SIZES),
    "time": Dimension("a time", "90 ns", "picoseconds", TIMES, shown=("ps", "ns", "us", "ms", "s", "min", "h")),
    "cycles": Dimension(
        "a number of cycles", "12 cycles", "cycles", {"cycles": Fraction(1), "cycle": Fraction(1)}, shown=("cycles",)
    ),
    "frequency": Dimension(
        "a frequency",
        "3.2 GHz",
        "hertz",
        {f"{prefix}Hz": Fraction(PREFIXES[prefix]) for prefix in ("", "k", "M", "G", "T")},
        shown=("Hz", "kHz", "MHz", "GHz", "THz"),
    ),
    "count": Dimension("a count", "64 Ki", "items", COUNTS, shown=tuple(PREFIXES)),
    "rate": Dimension("a rate", "4 /s", "events in 10^9 seconds", RATES, SPANS, ("",)),
    "time_per_item": Dimension(
        "a time for each item", "160 us/token", "picoseconds an item", TIMES, ITEMS, ("ps", "ns", "us", "ms", "s")
    ),
    "count_per_item": Dimension(
        "a count for each item", "12 per layer", "items an item", COUNTS, ITEMS, tuple(PREFIXES)
    ),
    "ratio": Dimension(
        "a share", "7.4 %", "parts per billion", {"%": Fraction(10**7), "": Fraction(10**9)}, shown=("%",)
    ),
    "power": Dimension(
        "a power",
        "700 W",
        "milliwatts",
        {"mW": Fraction(1), "W": Fraction(1000), "kW": Fraction(10**6)},
        shown=("mW", "W", "kW"),
    ),
    "points": Dimension(
        "percentage points",
        "5 points",
        "parts per billion",
        {"points": Fraction(10**7), "point": Fraction(10**7)},
        shown=("points",),
    ),
}

NUMBER = re.compile(r"([+-]?)((?:[0-9]+(?:_[0-9]+)*)(?:\.[0-9]+)?|\.[0-9]+)(.*)", re.DOTALL)
LONGEST = 60  # digits: no quantity needs more, and Python refuses to read thousands


@dataclass(frozen=True)
class Quantity:
    """A whole number of base units of a dimension; `item` is what it is per, such as ``token``."""

    amount: int
    dimension: str
    item: str = ""

    def __str__(self) -> str:
        return show(self.amount, self.dimension, self.item)


def describe(*dimensions: str) -> str:
    """What is expected, with an example of each dimension: ``a size such as 80 GiB``."""
    return " or ".join(f"{DIMENSIONS[name].what} such as {DIMENSIONS[name].example}" for name in dimensions)


def parse(value: Any, *dimensions: str) -> Quantity:
    """Read a quantity in one of these dimensions, the first that fits.

    A number without a unit fits a count or a ratio. Raises UnitError when the text is no quantity, the unit is unknown
    or of another dimension, or the value is negative or no whole number of the base unit.
    """
    expected = f"expected {describe(*dimensions)}"
    number, digits, unit, text = _split(value, expected)
    fits = [(name, found) for name in dimensions if (found := _size(name, unit)) is not None]
    for name, (size, item) in fits:
        if (amount := number * size).denominator == 1:
            return Quantity(int(amount), name, item)
    if fits:
        raise UnitError(f"{text!r} is no whole number of {DIMENSIONS[fits[0][0]].base}, the finest that is kept")
    raise UnitError(f"{text!r} {_misfit(digits, unit, dimensions, expected)}")


@lru_cache(maxsize=4096)  # the runs of a study show the same amounts over and over
def show(amount: int, dimension: str, item: str = "") -> str:
    """The shortest exact text of base units, in the largest unit that makes it short; `parse` reads the same back.

    `item` is what a quantity per item is per. Raises UnitError for a negative amount.
    """
    kind = DIMENSIONS[dimension]
    if amount < 0:
        raise UnitError(f"{amount} {kind.base} is negative")
    first, *larger = kind.shown
    if kind.units is COUNTS and amount < 10_000:  # 4000 requests, not 4k
        larger = []
    fitting = [first, *(unit for unit in larger if kind.units[unit] <= amount)]
    texts = {unit: _decimal(amount / kind.units[unit]) for unit in fitting}
    least = min(len(text) for text in texts.values() if text)
    unit, text = [(unit, text) for unit, text in texts.items() if len(text) == least][-1]
    under = (item or "item") if kind.per is ITEMS else "s" if kind.per else ""
    if kind.units is COUNTS:
        gap = " " if unit.endswith("i") else ""
        return f"{text}{gap}{unit}" + (f" per {under}" if under else "")
    if text == "1":
        unit = {"cycles": "cycle", "points": "point"}.get(unit, unit)
    return f"{text} {unit}" + (f"/{under}" if under else "")


def _split(value: Any, expected: str) -> tuple[Fraction, str, str, str]:
    """The number, its digits as written, the unit in normal form, and the whole text."""
    if isinstance(value, float) and math.isfinite(value) and value >= 0:
        return Fraction(repr(value)), repr(value), "", repr(value)  # what was written, not its binary neighbour
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        said = {"dict": "a mapping", "list": "a list", "NoneType": "nothing", "bool": str(value).lower()}
        raise UnitError(f"{said.get(type(value).__name__, repr(value))} is not a quantity; {expected}")
    if isinstance(value, int) and abs(value) >= 10**LONGEST:
        raise UnitError(f"a number of more than {LONGEST} digits is too long; {expected}")
    text = str(value).strip()
    if not text:
        raise UnitError(f"an empty text is not a quantity; {expected}")
    match = NUMBER.fullmatch(text)
    if not match:
        raise UnitError(f"{text!r} does not begin with a number; {expected}")
    sign, digits, rest = match.groups()
    if len(digits) > LONGEST:
        raise UnitError(f"a number of more than {LONGEST} digits is too long; {expected}")
    if sign == "-":
        raise UnitError(f"{text!r} is negative; {expected}")
    if re.match(r"[eE][+-]?[0-9]", rest):
        raise UnitError(f"{text!r}: write the number out, or with a prefix such as k, M or Ki; {expected}")
    if re.match(r"[.,_0-9]", rest):
        raise UnitError(f"{text!r}: a number is written 1000, 1_000 or 7.4; {expected}")
    unit = re.sub(r"\s*(?:/|\bper\b)\s*", "/", " ".join(rest.split()))
    return Fraction(digits), digits, unit, text


def _size(name: str, unit: str) -> tuple[Fraction, str] | None:
    """A unit in the base unit of a dimension and what it is per, or None when it is not of that dimension."""
    kind = DIMENSIONS[name]
    over, slash, under = unit.rpartition("/")
    if not kind.per:
        over, under = unit, ""
    elif not slash or under not in kind.per:
        return None
    if over not in kind.units:
        return None
    item = under if kind.per is ITEMS and under != "item" else ""
    return kind.units[over] / kind.per.get(under, 1), item


def _misfit(digits: str, unit: str, dimensions: tuple[str, ...], expected: str) -> str:
    """What is wrong with a unit that fits none of the dimensions."""
    if not unit:
        return f"has no unit; {expected}"
    other = next((kind.what for name, kind in DIMENSIONS.items() if _size(name, unit) is not None), None)
    if other:
        return f"is {other}; {expected}"
    near = [f"{digits} {found}" for found in _near(unit, dimensions)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    if unit in BITS:
        return f"is in bits, which only a bandwidth has; {expected}{hint}"
    if len(unit.split()) > 1 and all(map(_begins_quantity, unit.split())):
        return f"has more than one unit; {expected}"
    written = unit.replace("/", " per ").strip() if dimensions == ("count_per_item",) else unit
    return f"has an unknown unit {written!r}; {expected}{hint}"


def _begins_quantity(word: str) -> bool:
    return word[0] in "0123456789" or any(_size(name, word) for name in DIMENSIONS)


def _near(unit: str, dimensions: Iterable[str]) -> list[str]:
    """Spellings near a unit that fit one of the dimensions."""
    over, slash, under = unit.rpartition("/")
    if not slash:
        over, under = unit, ""
    if re.search(r"[bB]ps$", unit):
        over, slash, under = unit[:-2], "/", "s"
    found: list[str] = []
    for name in dimensions:
        kind = DIMENSIONS[name]
        if bool(slash) == bool(kind.per):
            unders = _alike(under, kind.per) if slash else [""]
            join = " per " if name == "count_per_item" else slash
            found += [f"{first}{join}{second}".strip() for first in _alike(over, kind.units) for second in unders]
    return list(dict.fromkeys(found))


def _alike(word: str, known: Mapping[str, Any]) -> list[str]:
    if word in known:
        return [word]
    found = [other for other in ALIASES.get(word.lower(), ()) if other in known]
    found = found or [other for other in known if other.lower() == word.lower()]
    return found or difflib.get_close_matches(word, known, n=1, cutoff=0.7)


def _decimal(value: Fraction) -> str:
    """A fraction as an exact decimal, or an empty text when it has no end."""
    places = 0
    while value.denominator != 1:
        if math.gcd(value.denominator, 10) == 1:
            return ""
        value *= 10
        places += 1
    digits = str(value.numerator).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits
