"""Where along a factor the best variant changes, and which variant is best over two factors.

Each factor is moved alone, from the study's own point. A range is looked at in nine places; between two with different
winners it is halved until they are neighbours on a grid of 256 parts, or stand for the same two values. A change that
comes and goes between two of the nine places is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tiersim.experiments.sensitivity.answers import Answers
from tiersim.experiments.sensitivity.spec import Point, Varied
from tiersim.experiments.unfold import Setting, as_written

__all__ = ["Change", "Course", "Winners", "course", "positions", "winner", "winners"]

FINEST = 256
COARSE = 8


@dataclass(frozen=True)
class Change:
    """Between two neighbouring values of a factor the winner is another; None where no variant ran."""

    low: str
    high: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Course:
    """An output of each variant along a factor alone: `values` by variant (not-a-number where it failed), at `shares`.

    `settings` are the values of the factor there, as they would be written.
    """

    factor: str
    kind: str
    output: str
    shares: tuple[float, ...]
    settings: tuple[str, ...]
    values: dict[str, tuple[float, ...]]
    winners: tuple[str | None, ...]

    @property
    def changes(self) -> list[Change]:
        """Where the winner changes; categories have no order, and so none."""
        if self.kind == "categories":
            return []
        found = zip(self.settings, self.settings[1:], self.winners, self.winners[1:], strict=False)
        return [Change(low, high, before, after) for low, high, before, after in found if before != after]


@dataclass(frozen=True)
class Winners:
    """The best variant over two factors: a row for each setting of the first, a column for each of the second."""

    factors: tuple[str, str]
    output: str
    settings: tuple[tuple[str, ...], tuple[str, ...]]
    cells: tuple[tuple[str | None, ...], ...]


def winner(values: Sequence[float], labels: Sequence[str], better: str) -> str | None:
    """The label of the best value, of equal ones the first; None where all have failed."""
    there = [(value, label) for value, label in zip(values, labels, strict=True) if math.isfinite(value)]
    if not there:
        return None
    best = min if better == "less" else max
    return best(there, key=lambda held: held[0])[1]  # the first of equal ones


def positions(factor: Varied) -> list[int]:
    """Where a factor is looked at first, in parts of `FINEST`: nine places of a range, each entry of a list."""
    if factor.range is not None:
        return list(range(0, FINEST + 1, FINEST // COARSE))
    return list(range(len(factor.entries)))


def share(factor: Varied, position: int) -> float:
    """The share of a position: of a list's, the middle of its part."""
    return position / FINEST if factor.range is not None else (position + 0.5) / len(factor.entries)


def course(labels: Sequence[str], factor: Varied, output: str, better: str, answers: Answers) -> Course | None:
    """The course along one factor, with the places at which the winner changes; None while answers are missing."""
    found: dict[int, list[float]] = {}
    waiting = positions(factor)
    while waiting:
        for position in waiting:
            setting = factor.at(share(factor, position))
            held = answers.all([Point(label, (setting,) if factor.of(label) else ()) for label in labels])
            if held is not None:
                found[position] = [answer.value(output) for answer in held]
        if any(position not in found for position in waiting):
            return None
        waiting = _between(factor, found, labels, better)
    there: dict[str, int] = {}  # positions that round to the same value are one
    for position in sorted(found):
        there.setdefault(_written(factor, position), position)
    places = list(there.values())
    return Course(
        factor.key,
        factor.kind,
        output,
        tuple(share(factor, position) for position in places),
        tuple(there),
        {label: tuple(found[position][at] for position in places) for at, label in enumerate(labels)},
        tuple(winner(found[position], labels, better) for position in places),
    )


def _between(factor: Varied, found: dict[int, list[float]], labels: Sequence[str], better: str) -> list[int]:
    """The middles of neighbours whose winners differ, where something lies between them."""
    if factor.range is None:
        return []
    places = sorted(found)
    return [
        (low + high) // 2
        for low, high in pairwise(places)
        if high - low > 1
        and winner(found[low], labels, better) != winner(found[high], labels, better)
        and _written(factor, low) != _written(factor, high)
    ]


def _written(factor: Varied, position: int) -> str:
    return str(as_written(factor.at(share(factor, position)).node))


def _both(label: str, factors: tuple[Varied, Varied], settings: tuple[Setting, Setting]) -> Point:
    return Point(label, tuple(setting for factor, setting in zip(factors, settings, strict=True) if factor.of(label)))


def winners(
    labels: Sequence[str], factors: tuple[Varied, Varied], output: str, better: str, answers: Answers
) -> Winners | None:
    """The best variant in each cell of a grid of two factors; None while answers are missing."""
    rows, columns = ([factor.at(share(factor, position)) for position in positions(factor)] for factor in factors)
    cells: list[list[str | None]] = []
    whole = True
    for row in rows:
        cells.append([])
        for column in columns:
            held = answers.all([_both(label, factors, (row, column)) for label in labels])
            whole &= held is not None
            cells[-1].append(winner([answer.value(output) for answer in held or ()], labels[: len(held or ())], better))
    if not whole:
        return None
    first, second = (tuple(str(as_written(setting.node)) for setting in settings) for settings in (rows, columns))
    return Winners((factors[0].key, factors[1].key), output, (first, second), tuple(map(tuple, cells)))
