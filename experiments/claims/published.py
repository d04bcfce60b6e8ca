"""Published figures as data, and the ranges that decide whether a measured one reproduces them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tiersim._base import units
from tiersim._base.errors import StudyError
from tiersim.experiments.yaml_tree import Node, load, plain

__all__ = ["COUNTED", "Published", "Range", "number_of", "published", "read_figures", "read_ranges", "written"]

FILE = Path(__file__).with_name("published.yaml")
COUNTED = ("average", "monotone", "count")
SCALES = {"%": 0.01, "kB": 1e3, "MB": 1e6, "GB": 1e9}  # what a number is written in; sizes are measured in bytes


@dataclass(frozen=True)
class Range:
    """Where a measured mean must fall, ends included; `below` leaves the upper one out."""

    low: float
    high: float
    below: bool = False

    def holds(self, value: float) -> bool:
        return value < self.high if self.below else self.low <= value <= self.high

    def public(self) -> list[float | None]:
        """The form of `tiersim verify --json`."""
        return [end if math.isfinite(end) else None for end in (self.low, self.high)]


@dataclass(frozen=True)
class Published:
    """A published figure and what counts as reproducing it.

    `ranges` has one for each number, and is empty where `asks` says what a comparison must tell: an order, a monotone
    course or an exact relation. `also` is what must hold besides. A figure with a text in `calibration` may not be
    claimed.
    """

    claim: str
    what: str
    published: str
    source: str
    tolerance: str
    figures: tuple[float, ...] = ()
    ranges: tuple[Range, ...] = ()
    asks: str = ""
    unit: str = ""
    also: str = ""
    setup: str = ""
    known: str = ""
    calibration: str = ""
    average: int = 0
    monotone: int = 0
    count: int = 0
    seeds: int = 0


@cache
def published() -> dict[str, Published]:
    """Every published figure by its id, those for calibration last."""
    sections = [held for _, held in load(FILE).items()]
    found = [_one(name, node, section) for section in sections for name, node in section.value["claims"].items()]
    found += [
        _one(name, node, section)
        for section in sections
        if "calibration" in section.value
        for name, node in section.value["calibration"].items()
    ]
    return {one.claim: one for one in found}


def _one(name: str, node: Node, section: Node) -> Published:
    said, shared = plain(node), plain(section)
    ranges, unit = read_ranges(node)
    return Published(
        name,
        said["what"],
        str(said["published"]),
        shared["paper"],
        said.get("tolerance") or ("" if "why" in said else told(node)),
        read_figures(node),
        ranges,
        said.get("asks", ""),
        unit,
        said.get("and", ""),
        shared["setup"],
        said["known"],
        said.get("why", ""),
        said.get("average", shared.get("average", 0)),
        said.get("monotone", 0),
        said.get("count", 0),
        said.get("seeds", shared.get("seeds", 0)),
    )


def told(node: Node) -> str:
    """The tolerance in words, as it is written."""
    inside = node.value
    if "below" in inside:
        text = f"below {inside['below'].text}"
    elif "range" in inside:
        pairs = inside["range"].value
        pairs = [pairs] if not isinstance(pairs[0].value, list) else [pair.value for pair in pairs]
        text = ", ".join(f"{low.text} to {high.text}" for low, high in pairs)
    else:
        text = inside["asks"].text if "asks" in inside else "order"
    return f"{text}, and {inside['and'].text}" if "and" in inside and "asks" not in inside else text


def read_figures(node: Node) -> tuple[float, ...]:
    """The numbers of a published figure, none where it has none."""
    said = node.value.get("figure")
    if said is None:
        return ()
    return tuple(number_of(held)[0] for held in (said.value if isinstance(said.value, list) else [said]))


def read_ranges(node: Node) -> tuple[tuple[Range, ...], str]:
    """The ranges that `range` or `below` says and the unit that they are written in.

    Raises StudyError with the place of what is no range.
    """
    below, said = node.value.get("below"), node.value.get("range")
    if below is not None and said is not None:
        raise StudyError("`range` and `below` both say what is allowed", below.key_place, "leave one of them out")
    if below is not None:
        value, unit = number_of(below)
        return (Range(-math.inf, value, below=True),), unit
    if said is None:
        return (), ""
    several = isinstance(said.value, list) and bool(said.value) and isinstance(said.value[0].value, list)
    found = [_range(pair) for pair in (said.value if several else [said])]
    _same(found, said)
    return tuple(held for held, _ in found), found[0][1]


def _range(node: Node) -> tuple[Range, str]:
    if not isinstance(node.value, list) or len(node.value) != 2:
        raise StudyError("a range has two ends", node.place, REMEDY)
    ends = [number_of(held) for held in node.value]
    _same(ends, node)
    (low, unit), (high, _) = ends
    if not low < high:
        raise StudyError("a range goes from its lower end to its upper end", node.place, REMEDY)
    return Range(low, high), unit


def _same(found: Iterable[tuple[Any, str]], node: Node) -> None:
    if len({unit if unit == "%" else unit[-1:] for _, unit in found}) > 1:
        raise StudyError("all ends are of one unit", node.place, REMEDY)


REMEDY = "write range: [4 %, 12 %], or plain numbers"


def number_of(node: Node) -> tuple[float, str]:
    """A number as it is measured and the unit it is written in: a share of 7.4 % is 0.074, 220 MB are bytes.

    Raises StudyError at the place of what is none.
    """
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    text = str(value).strip()
    try:
        held = units.parse(text.lstrip("+-") if isinstance(value, str) else value, "ratio", "bytes")
    except StudyError as error:
        remedy = "write a number, a share such as 7.4 %, or a size such as 220 MB"
        raise StudyError(error.message, node.place, remedy) from None
    size = held.amount / (10**9 if held.dimension == "ratio" else 1)
    return -size if text.startswith("-") else size, text.lstrip("+-0123456789._ ")


def written(value: float, unit: str) -> str:
    """A measured number in the unit of its range."""
    scale = SCALES.get(unit, 1)
    return f"{value / scale:.4g} {unit if unit in SCALES else ''}".strip()
