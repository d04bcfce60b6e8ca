"""What the fingerprints of all schemas share: the facts that each has, spreads of numbers, rows and panels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from tiersim.traces.ragged import joined
from tiersim.traces.schema import Chunk

__all__ = [
    "QUANTILES",
    "Curve",
    "Info",
    "Panel",
    "Spread",
    "distribution",
    "duration",
    "number",
    "percent",
    "spotted",
    "whole",
]

QUANTILES: Final = (10, 25, 50, 75, 90, 99)
POINTS: Final = 400  # as many as a panel can show


@dataclass(frozen=True)
class Curve:
    """What is drawn in a panel: a line, a line in steps (``steps-pre``, ``steps-post``), or points."""

    x: NDArray[Any]
    y: NDArray[Any]
    label: str = ""
    steps: str = "default"
    points: bool = False


@dataclass(frozen=True)
class Panel:
    """A part of the figure: what its axes say, and its curves. ``full`` is the end of y where that is known."""

    x: str
    y: str
    curves: tuple[Curve, ...]
    x_log: bool = False
    y_log: bool = False
    full: float | None = None


@dataclass(kw_only=True)
class Info(ABC):
    """A trace's fingerprint; ``kinds`` are those that there are, ``notes`` what to know about the numbers."""

    trace: str
    format: str
    schema: str
    records: int
    kinds: dict[str, int]
    notes: list[str] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list, repr=False)  # what a figure needs and --json does not show

    @abstractmethod
    def rows(self) -> list[tuple[str, str]]:
        """What a person reads: names and values, after those that every trace has."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `tiersim traces info --json` prints."""
        made = asdict(self)
        del made["panels"]
        return made | {"notes": made.pop("notes")}


@dataclass
class Spread:
    """Numbers in short: the least, their mean, the greatest, and quantiles by per cent.

    A quantile is the smallest number that so many per cent of all do not exceed.
    """

    least: float
    mean: float
    most: float
    quantiles: dict[str, float]

    @classmethod
    def if_any(cls, values: NDArray[Any]) -> Self | None:
        """That of some numbers; None of none."""
        return cls.of(values) if len(values) else None

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """That of some numbers, at least one."""
        ordered = np.sort(values)
        places = {str(part): -(-len(ordered) * part // 100) - 1 for part in QUANTILES}
        quantiles = {name: ordered[place].item() for name, place in places.items()}
        return cls(ordered[0].item(), float(ordered.mean(dtype=np.float64)), ordered[-1].item(), quantiles)

    def told(self, unit: str = "") -> str:
        """As a person reads it; of a time, ``unit`` is ns."""
        say = (lambda held: duration(round(held))) if unit == "ns" else number
        if self.least == self.most:
            return f"always {say(self.least)}"
        middle = ", ".join(f"{say(value)} ({name} %)" for name, value in self.quantiles.items())
        return f"{say(self.mean)} on average, {say(self.least)} to {say(self.most)}; {middle}"


def number(held: float) -> str:
    """A number as a person reads it."""
    return f"{held:,}" if isinstance(held, int) else f"{held:,.0f}" if held >= 1000 else f"{held:,.4g}"


def percent(share: float) -> str:
    """A share as a person reads it."""
    return f"{100 * share:.2f} %"


def duration(ns: int) -> str:
    """A time as a person reads it: 250 ms, 1 s."""
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")):
        if ns >= size:
            return f"{ns / size:,.4g} {unit}" if ns < 1000 * size or unit != "s" else f"{ns / size:,.0f} s"
    return f"{ns} ns"


def spotted(wrong: NDArray[np.bool_], what: str, remedy: str) -> Iterator[str]:
    """The warning about the records that are wrong, if there are any: how many, what they are, and which is first."""
    if wrong.any():
        yield f"{int(wrong.sum()):,} of {len(wrong):,} {what}, first record {int(wrong.argmax()) + 1:,}: {remedy}"


def distribution(named: Iterable[tuple[str, NDArray[Any]]]) -> tuple[Curve, ...]:
    """For each name how many per cent of its numbers are no larger, over the numbers."""
    made: list[Curve] = []
    for name, values in named:
        if len(values):
            ordered = np.sort(values)
            few = np.unique(np.linspace(0, len(ordered) - 1, POINTS).round().astype(np.int64))
            made.append(Curve(ordered[few], 100 * (few + 1) / len(ordered), name, "steps-post"))
    return tuple(made)


def whole(chunks: Iterable[Chunk], wanted: Sequence[str] = ()) -> Chunk:
    """All records of a trace as one chunk, of the columns that are wanted or all."""
    pieces = [{name: chunk[name] for name in wanted or chunk if name in chunk} for chunk in chunks]
    return {name: joined([piece[name] for piece in pieces]) for name in pieces[0]} if pieces else {}
