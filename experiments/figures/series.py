"""Which runs a figure shows, and as what: one line, one set of bars or one cloud of points for each value of `by`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.experiments.figures.words import text_of
from tiersim.experiments.results import Row, StudyResult, differing

__all__ = ["Picked", "Series", "Spec", "done", "factor", "matches", "pick", "values_of"]

Spec = dict[str, Any]


@dataclass
class Series:
    """What is drawn as one line or one set of bars; `place` decides its colour, the same in every figure."""

    labels: list[str]
    place: int
    ends: tuple[float, ...] = ()
    points: dict[str, list[Any]] = field(default_factory=dict)  # by the text of x; an entry a seed

    def range(self, x: str) -> tuple[float, float, float]:
        """Mean, least and greatest over the seeds; not-a-number where there is no run."""
        held = self.points.get(x)
        return (sum(held) / len(held), min(held), max(held)) if held else (math.nan, math.nan, math.nan)

    def columns(self, xs: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        mean, low, high = np.array([self.range(x) for x in xs]).T
        return mean, low, high

    def errors(self, xs: Sequence[str]) -> NDArray[np.float64]:
        """How far the range lies below and above the mean; no range where nothing is random."""
        mean, low, high = self.columns(xs)
        return np.where(high > low, np.maximum([mean - low, high - mean], 0.0), math.nan)


@dataclass
class Picked:
    """The runs of one figure, in series."""

    series: list[Series]
    xs: list[Any]
    by: str | None
    held: dict[str, Any]
    seeds: int
    joined: bool


def pick(result: StudyResult, spec: Spec) -> Picked:
    x, y, over_time = spec["x"], spec["y"], spec["x"] == "time"
    where = dict(spec.get("where") or {})
    rows = [row for row in done(result) if matches(result, row, where)]
    if x not in ("time", "what_if"):
        rows = [row for row in rows if x in row.factors]
    known = sorted({name for row in rows for name in row.windows} - {"end"}) if over_time else []
    rows = [row for row in rows if y in (row.windows if over_time else row.metrics)]
    if not rows:
        hint = f"there are: {', '.join(known)}" if known else "see the reasons of failed and skipped runs"
        raise StudyError(f"no figure of {y} over {x}: no run that finished has it", None, hint)
    varied = [name for name in ("what_if", *differing(rows)) if len(values_of(result, rows, name)) > 1]
    by: str | None = spec.get("by")
    if by is None and x != "what_if" and "what_if" in varied:
        by = "what_if"
    held: dict[str, Any] = {}
    for name in dict.fromkeys(varied):
        if name in (x, by, "seed"):
            continue
        there = values_of(result, rows, name)
        chosen = result.baseline if name == "what_if" and result.baseline in there else there[0]
        rows = [row for row in rows if matches(result, row, {name: chosen})]
        held[name] = chosen
    series = _series(result, rows, spec, by)
    seeds = max(len(values) for one in series for values in one.points.values())
    return Picked(_joined(series), [] if over_time else values_of(result, rows, x), by, held, seeds, len(series) > 1)


def _series(result: StudyResult, rows: list[Row], spec: Spec, by: str | None) -> list[Series]:
    order = [text_of(value) for value in values_of(result, result.rows, by)] if by else []
    if by == "what_if" and result.baseline in order:
        order.remove(result.baseline)
        order.insert(0, result.baseline)
    found: dict[tuple[str, tuple[float, ...]], Series] = {}
    for row in rows:
        label = text_of(factor(result, row, by)) if by else ""
        ends = tuple(row.windows["end"]) if spec["x"] == "time" else ()
        one = found.setdefault((label, ends), Series([label], order.index(label) if label in order else 0, ends))
        if ends:
            one.points.setdefault("", []).append(np.array(row.windows[spec["y"]], float))
        else:
            one.points.setdefault(text_of(factor(result, row, spec["x"])), []).append(float(row.metrics[spec["y"]]))
    return list(found.values())


def _joined(series: list[Series]) -> list[Series]:
    """Series that are equal become one that has all their names: drawn over each other only the last would be seen."""
    found: dict[str, Series] = {}
    for one in series:
        same = json.dumps([one.ends, {x: [np.asarray(held).tolist() for held in one.points[x]] for x in one.points}])
        if same in found:
            found[same].labels += one.labels
        else:
            found[same] = one
    return list(found.values())


def done(result: StudyResult) -> list[Row]:
    return [row for row in result.rows if row.status == "done"]


def factor(result: StudyResult, row: Row, name: str) -> Any:
    return row.factors.get(name, result.baseline if name == "what_if" else None)


def matches(result: StudyResult, row: Row, where: dict[str, Any]) -> bool:
    return all(text_of(factor(result, row, name)) == text_of(value) for name, value in where.items())


def values_of(result: StudyResult, rows: Sequence[Row], name: str) -> list[Any]:
    """The different values of a factor in the order of the study."""
    return list({text_of(value): value for row in rows if (value := factor(result, row, name)) is not None}.values())
