"""Numbers by the labels of what varies: what the runs of a study gave, brought together, folded and put in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tiersim._base import units
from tiersim._base.errors import UnitError
from tiersim.experiments.results import Row
from tiersim.experiments.statistics import Estimate, estimate

__all__ = [
    "VARIANT",
    "Key",
    "Missing",
    "Runs",
    "Table",
    "UnmeasuredError",
    "Values",
    "amount",
    "combine",
    "estimated",
    "folded",
    "grouped",
    "in_order",
    "label_of",
    "stacked",
]

VARIANT = "what_if"

Values = NDArray[np.float64]  # one for each seed, or a single one without a dimension where no seed reaches
Key = tuple[str, ...]
T = TypeVar("T")
S = TypeVar("S")
U = TypeVar("U")


class UnmeasuredError(Exception):
    """What an expression asks for was not measured; `refused` where the runs were skipped for a stated reason."""

    def __init__(self, why: str, refused: bool = False) -> None:
        super().__init__(why)
        self.why, self.refused = why, refused


@dataclass(frozen=True)
class Missing:
    """A value that is not there, told only if it is used."""

    why: str
    refused: bool = False


@dataclass(frozen=True)
class Table(Generic[T]):
    """Values by the labels of what varies."""

    factors: tuple[str, ...]
    cells: dict[Key, T]

    def where(self, key: Key) -> str:
        return ", ".join(f"{name} {label}" for name, label in zip(self.factors, key, strict=True))


class Runs:
    """The runs of a study as tables of metrics.

    `skipped` are variants that were refused, with the reason in `error`; `chance` are labels of variants that a seed
    reaches though there is only one; `planned` runs have no numbers yet, and each metric is 1.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        skipped: Sequence[Row] = (),
        chance: Iterable[str] = (),
        *,
        known: Callable[[str], bool] | None = None,
        names: Iterable[str] = (),
        planned: bool = False,
    ) -> None:
        self.chance, self.planned = set(chance), planned
        self.names = list(dict.fromkeys([*names, *(name for row in rows for name in row.metrics)]))
        self.known = known or set(self.names).__contains__
        rows = [*rows, *skipped]
        varied = (name for row in rows for name in row.factors if name != "seed")
        self.factors = tuple(dict.fromkeys([VARIANT, *varied]))
        self.groups: dict[Key, list[Row]] = {}
        for row in rows:
            key = tuple(label_of(row.factors.get(name, "base" if name == VARIANT else "")) for name in self.factors)
            self.groups.setdefault(key, []).append(row)

    def table(self, name: str) -> Table[Values | Missing]:
        """The values of a metric by all that varies."""
        return Table(self.factors, {key: self._values(group, name) for key, group in self.groups.items()})

    def _values(self, group: list[Row], name: str) -> Values | Missing:
        seeded = "seed" in group[0].factors or group[0].label in self.chance
        if self.planned:
            return np.ones(len(group) if seeded else ())
        values = []
        for row in sorted(group, key=lambda row: row.seed):
            value = row.metrics.get(name)
            if row.status == "skipped":
                return Missing(f"{row.label} was skipped: {row.error}", refused=True)
            if row.status != "done":
                said = f"failed: {' '.join(row.error.split())}" if row.status == "failed" else "has not run"
                return Missing(f"{_name(row)} {said}")
            if value is None or not math.isfinite(value):
                return Missing(f"{_name(row)} has no {name}")
            values.append(float(value))
        return np.array(values if seeded else values[0])


def label_of(value: Any) -> str:
    """The value of a factor as text."""
    return value if isinstance(value, str) else str(value)


def _name(row: Row) -> str:
    return f"{row.label}, seed {row.seed}" if "seed" in row.factors else row.label


def combine(left: Table[S], right: Table[T], made: Callable[[S, T], U]) -> Table[U]:
    """Both value by value. Labels of factors that both have must agree; raises KeyError with what only one has."""
    shared = [name for name in left.factors if name in right.factors]
    mine, theirs = ([factors.index(name) for name in shared] for factors in (left.factors, right.factors))
    added = [place for place, name in enumerate(right.factors) if name not in left.factors]
    groups: dict[Key, list[tuple[Key, T]]] = {}
    for key, other in right.cells.items():
        rest = tuple(key[place] for place in added)
        groups.setdefault(tuple(key[place] for place in theirs), []).append((rest, other))
    cells: dict[Key, U] = {}
    used: set[Key] = set()
    for key, value in left.cells.items():
        common = tuple(key[place] for place in mine)
        if common not in groups:
            raise KeyError(", ".join(f"{name} {label}" for name, label in zip(shared, common)))
        used.add(common)
        for rest, held in groups[common]:
            cells[key + rest] = made(value, held)
    if lost := [common for common in groups if common not in used]:
        raise KeyError(", ".join(f"{name} {label}" for name, label in zip(shared, lost[0])))
    return Table((*left.factors, *(right.factors[place] for place in added)), cells)


def grouped(table: Table[T], names: Iterable[str]) -> tuple[tuple[str, ...], dict[Key, dict[Key, T]]]:
    """The factors that stay, and for each of their points the values over `names`, by labels of those.

    A factor that those decide, such as one that a sweep zips with them, goes with them.
    """
    chosen = [table.factors.index(name) for name in names]
    gone = {*chosen, *(place for place in range(len(table.factors)) if _follows(table, place, chosen))}
    stay = [place for place in range(len(table.factors)) if place not in gone]
    groups: dict[Key, dict[Key, T]] = {}
    for key, value in table.cells.items():
        inner = tuple(key[place] for place in chosen)
        groups.setdefault(tuple(key[place] for place in stay), {})[inner] = value
    return tuple(table.factors[place] for place in stay), groups


def _follows(table: Table[Any], place: int, chosen: list[int]) -> bool:
    """Whether the label of a factor varies, and with those of others only."""
    pairs = {(tuple(key[other] for other in chosen), key[place]) for key in table.cells}
    return len({label for _, label in pairs}) > 1 and len(pairs) == len({others for others, _ in pairs})


def folded(table: Table[Values], names: Sequence[str], made: Callable[[Values], Values]) -> Table[Values]:
    """Values over `names` made one; `made` gets them along the first dimension, seeds along the second."""
    stay, groups = grouped(table, names)
    return Table(stay, {key: made(stacked(list(inner.values()))) for key, inner in groups.items()})


def stacked(values: Sequence[Values]) -> Values:
    """Values in a row along a new first dimension; what is exact stands for every seed."""
    return np.stack(np.broadcast_arrays(*values))


def estimated(values: Values) -> Estimate:
    """The mean over seeds with its interval."""
    return Estimate.exact(float(values)) if values.ndim == 0 else estimate(values)


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels by their amount, in the order of the study where they are not amounts of one kind."""
    labels = list(labels)
    for read in (float, *(_amount_in(name) for name in units.DIMENSIONS)):
        try:
            return sorted(labels, key=read)
        except (ValueError, UnitError):
            continue
    return labels


def _amount_in(dimension: str) -> Callable[[str], float]:
    return lambda label: units.parse(label, dimension).amount


def amount(label: str) -> float | None:
    """A label as a number of its base unit; None where it is no amount."""
    for read in (float, lambda text: float(units.parse(text, *units.DIMENSIONS).amount)):
        try:
            return read(label)
        except (ValueError, UnitError):
            continue
    return None
