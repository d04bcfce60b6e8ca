"""Factors out of what presets and defaults say of themselves: each number that a study uses and nobody measured.

An uncertainty is a text. These can be factors; a reason may follow a colon:

    100 to 400 ns                   a range, logarithmic where the greater end is four times the smaller or more
    128, 256 or 512 B               levels, in their order
    no range: half the capacity     none, and why; so is any other text
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tiersim._base import units
from tiersim._base.errors import UnitError
from tiersim._base.params import Param, params
from tiersim._base.registry import validate
from tiersim.experiments.presets import Preset, Value, expand, still_there
from tiersim.experiments.study import problem
from tiersim.experiments.yaml_tree import Node, get, plain, scalar

__all__ = ["Uncertain", "auto_factors", "read_uncertainty", "without_range"]

LOG_FROM = 4
NUMBER = re.compile(r"([0-9][0-9_.]*)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Uncertain:
    """A dotted key with what could stand there, as under `factors`, who says its value, and how sure that is."""

    key: str
    range: dict[str, Any]
    source: str
    uncertainty: str


def auto_factors(cls: type, tree: Node) -> list[Uncertain]:
    """What a study's tree for this scenario takes from presets and defaults with an uncertainty, in its order.

    A number that the study sets itself is none of them, nor one of a preset that it replaces by another. Raises
    StudyError where no scenario can be built.
    """
    found = ((key, value, read_uncertainty(value.uncertainty)) for key, value in _taken(cls, tree))
    return [Uncertain(key, said, value.source, value.uncertainty) for key, value, said in found if said is not None]


def without_range(cls: type, tree: Node) -> list[str]:
    """Those that `auto_factors` leaves out, as sentences: their uncertainty is no range."""
    left = [(key, value) for key, value in _taken(cls, tree) if read_uncertainty(value.uncertainty) is None]
    return [f"{key} is uncertain and no factor: {value.uncertainty}" for key, value in left]


def read_uncertainty(text: str) -> dict[str, Any] | None:
    """What an uncertainty allows, as it is written under `factors`, or None where it is no range and no list.

    What stands last says the unit of all: ``16 to 24 B``, ``150M to 215M /s``.
    """
    said = text.partition(": ")[0]
    word = " to " if " to " in said else " or "
    before, _, last = said.rpartition(word)
    read = [_completed(part, last) for part in [*before.split(", "), last]]
    parts = [part for part in read if part is not None]
    numbers = [number for _, number in parts]
    if len(parts) < len(read) or sorted(set(numbers)) != numbers:
        return None
    written = [scalar(text) for text, _ in parts]
    if word == " or ":
        return {"levels": written}
    if len(parts) > 2:
        return None
    low, high = numbers
    return {"range": written, "scale": "log"} if 0 < LOG_FROM * low <= high else {"range": written}


def _completed(part: str, last: str) -> tuple[str, Fraction] | None:
    """A part with the unit that is written once, behind the last, and its number in the base unit."""
    (mine, ending) = (NUMBER.fullmatch(text) for text in (part, last))
    if mine is None or ending is None:
        return None
    unit = ending[2]
    if not unit:
        return None if mine[2] else (part, Fraction(part.replace("_", "")))
    dimension = next((name for name in units.DIMENSIONS if _amount(last, name) is not None), None)
    over = re.search(r"(/| per ).*", unit)
    tries = [part, part + over[0]] if mine[2] and over else [part] if mine[2] else [f"{part} {unit}"]
    found = ((text, _amount(text, dimension)) for text in tries if dimension is not None)
    return next(((text, Fraction(amount)) for text, amount in found if amount is not None), None)


def _amount(text: str, dimension: str) -> int | None:
    try:
        return units.parse(text, dimension).amount
    except UnitError:
        return None


def _taken(cls: type, tree: Node) -> Iterator[tuple[str, Value]]:
    """The dotted keys at which a preset's or a default's value with an uncertainty stands."""
    used: list[Preset] = []
    whole = expand(tree, cls, used)
    problems, made = validate(cls, plain(whole))
    if problems:
        raise problem(whole, *problems[0])
    yield from ((key, value) for key, _, value in still_there(whole, used) if value.uncertainty)
    yield from _from_defaults(made, whole, "")


def _from_defaults(made: Any, node: Node | None, path: str) -> Iterator[tuple[str, Value]]:
    """The fields of a config, and of those in it, that the tree does not say."""
    steps: list[tuple[Any, Any, Param | None]] = []
    if isinstance(made, dict | list):
        steps = [(step, held, None) for step, held in (made.items() if isinstance(made, dict) else enumerate(made))]
    elif hasattr(type(made), "__pydantic_config__"):
        steps = [(item.name, getattr(made, item.name, None), param) for item, _, param in params(type(made))]
    for step, held, param in steps:
        inside = None if node is None else get(node, (step,))
        key = f"{path}.{step}" if path else str(step)
        if param is not None and param.uncertainty and held is not None and (inside is None or inside.value is None):
            yield key, Value(key, held, param.source, param.uncertainty)
        if inside is not None or not hasattr(type(held), "registered"):  # what no one names has no keys to set
            yield from _from_defaults(held, inside, key)
