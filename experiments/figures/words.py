"""The words of figures and tables: names and values as a reader of the study knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tiersim._base import units
from tiersim._base.errors import UnitError

__all__ = ["amounts", "quantities", "shortened", "text_of", "words"]


def words(name: str) -> str:
    """The plain name of a metric or factor: ``caches.l2.mpki`` is `L2 MPKI`, and ``tlbs.l2.mpki`` is `L2 TLB MPKI`."""
    if name == "what_if":
        return "variant"
    parts = name.split(".")
    if len(parts) > 1 and parts[0] == "system":
        parts = parts[1:]
    if len(parts) > 1 and parts[0] == "caches":
        parts = parts[1:]
    if len(parts) > 1 and parts[0] == "tlbs":
        parts = [parts[1], *([] if parts[1].endswith("tlb") else ["tlb"]), *parts[2:]]
    found = " ".join(parts).replace("_", " ").split()
    return " ".join(re.sub(r"^(l\d|mpki$|tlb$)", lambda match: match[1].upper(), word) for word in found)


def text_of(value: Any) -> str:
    """The value of a factor as a reader knows it from the study file."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text_of(held)}" for key, held in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(held) for held in value)
    return value if isinstance(value, str) else json.dumps(value)


def shortened(factor: str, texts: Sequence[str]) -> dict[str, str]:
    """What each value of a factor is called in a figure: a trace without folder and options, where that tells it."""
    if factor != "trace":
        return {text: text for text in texts}
    short = [text.partition(" (")[0].rpartition("/")[2] for text in texts]
    return {text: name if short.count(name) == 1 else text for text, name in zip(texts, short, strict=True)}


def amounts(values: Sequence[Any]) -> list[float] | None:
    """All values as numbers of one base unit, or None when they are not quantities of one dimension."""
    found = quantities(values)
    return found[0] if found else None


def quantities(values: Sequence[Any]) -> tuple[list[float], str, str] | None:
    """All values as numbers of one base unit, their dimension and what they are per; plain numbers have none."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values], "", ""
    for dimension in units.DIMENSIONS:
        try:
            found = [units.parse(value, dimension) for value in values]
        except UnitError:
            continue
        return [float(one.amount) for one in found], dimension, found[0].item if found else ""
    return None
