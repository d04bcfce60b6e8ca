"""What came out at the points of a sensitivity: whoever asks for one that is not there has it run.

So an analysis is a function of answers, and which points it asks for next is one as well: a study that is resumed asks
for the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tiersim.experiments.sensitivity.spec import Point, point_name
from tiersim.experiments.unfold import BASE

if TYPE_CHECKING:
    from tiersim.experiments.results import Row

__all__ = ["Answer", "Answers"]


@dataclass(frozen=True)
class Answer:
    """What came out at a point, over its seeds; `why` tells of a failure and is empty elsewhere."""

    rows: tuple[Row, ...]
    why: str

    def value(self, metric: str) -> float:
        """The mean of a metric, not-a-number where the point failed or has none that is finite."""
        found = [row.metrics.get(metric, math.nan) for row in self.rows]
        return math.nan if self.why or not all(map(math.isfinite, found)) else fmean(found)

    @property
    def config(self) -> dict[str, Any]:
        """What was run there, with every default."""
        return self.rows[0].config


class Answers:
    """The answers of rows by point. `missing` are the points that were asked for in vain, in order."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.missing: dict[Any, Point] = {}
        self._rows: dict[Any, list[Row]] = {}
        for row in rows:
            values = {key: held for key, held in row.factors.items() if key not in ("what_if", "seed")}
            self._rows.setdefault(point_name(row.factors.get("what_if", BASE), values), []).append(row)

    def at(self, point: Point) -> Answer | None:
        """The answer at a point, or None."""
        rows = self._rows.get(point.name)
        if rows is None or any(row.status == "waiting" for row in rows):
            self.missing.setdefault(point.name, point)
            return None
        return Answer(tuple(rows), next((row.error or row.status for row in rows if row.status != "done"), ""))

    def all(self, points: Sequence[Point]) -> list[Answer] | None:
        """The answers at points; None unless all are there."""
        found = [self.at(point) for point in points]
        there = [answer for answer in found if answer is not None]
        return there if len(there) == len(found) else None
