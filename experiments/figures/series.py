"""Which runs a figure shows, and as what: one line, one set of bars or one cloud of points for each value of `by`."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.experiments.figures.words import amounts, shortened, text_of
from tiersim.experiments.results import Row, StudyResult, differing

__all__ = ["Picked", "Series", "Spec", "done", "factor", "follows", "matches", "pick", "values_of"]

Spec = dict[str, Any]
MOST_SERIES = 7  # of a range's values: as many as there are colours


@dataclass
class Series:
    """What is drawn as one line or one set of bars; `place` decides its colour, the same in every figure."""

    labels: list[str]
    place: int
    ends: tuple[float, ...] = ()
    points: dict[str, list[Any]] = field(default_factory=dict)  # by the text of x or of a drawn point; an entry a run

    def range(self, x: str) -> tuple[float, float, float]:
        """Mean, least and greatest over the runs; not-a-number where there is no run."""
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
    """The runs of one figure, in series.

    `xs` are the values of x by what the points of a series are called; `held` what else varies and is kept, `in_step`
    what varies with x. Each mean is of `seeds` seeds of `drawn` drawn points.
    """

    series: list[Series]
    xs: dict[str, Any]
    by: str | None
    held: dict[str, Any]
    in_step: list[str]
    seeds: int
    drawn: int
    joined: bool
    note: str = ""

    @property
    def many(self) -> str:
        """What a mean is of, nothing where there is one run."""
        several = ((self.drawn, "points"), (self.seeds, "seeds"))
        return " with ".join(f"{count} {what}" for count, what in several if count > 1)


def pick(result: StudyResult, spec: Spec) -> Picked:
    x, y, over_time = spec["x"], spec["y"], spec["x"] == "time"
    where = dict(spec.get("where") or {})
    rows = [row for row in done(result) if matches(result, row, where)]
    if x not in ("time", "what_if"):
        rows = [row for row in rows if x in row.factors]
    courses = {id(row): row.windows for row in rows} if over_time else {}  # each is read once
    known = sorted({name for row in rows for name in courses.get(id(row), ()) if name in row.metrics})
    rows = [row for row in rows if y in (courses[id(row)] if over_time else row.metrics)]
    if not rows:
        hint = f"there are: {', '.join(known)}" if known else "see the reasons of failed and skipped runs"
        raise StudyError(f"no figure of {y} over {x}: no run that finished has it", None, hint)
    varied = [name for name in ("what_if", *differing(rows)) if len(values_of(result, rows, name)) > 1]
    by: str | None = spec.get("by")
    if by is None and x != "what_if" and "what_if" in varied:
        by = "what_if"
    held: dict[str, Any] = {}
    in_step: list[str] = []
    for name in dict.fromkeys(varied):
        if name in (x, by, "seed") or name in result.drawn:
            continue
        if name != "what_if" and follows(result, rows, name, x):
            in_step.append(name)
            continue
        if name != "what_if" and by and follows(result, rows, name, by):
            continue  # as each line has one of it
        there = values_of(result, rows, name)
        chosen = result.baseline if name == "what_if" and result.baseline in there else there[0]
        rows = [row for row in rows if matches(result, row, {name: chosen})]
        held[name] = chosen
    xs = {} if over_time else {_point(result, row, x): factor(result, row, x) for row in rows}
    series = _series(result, rows, spec, by, courses)
    same = Counter(json.dumps({**row.factors, "seed": ""}) for row in rows)
    seeds = max(same.values())
    most = max(len(runs) for one in series for runs in one.points.values())
    return Picked(_joined(series), xs, by, held, in_step, seeds, math.ceil(most / seeds), len(series) > 1)


def follows(result: StudyResult, rows: Sequence[Row], name: str, x: str) -> bool:
    """Whether each value of x has one of this factor, as in a zip."""
    pairs = {(text_of(factor(result, row, x)), text_of(factor(result, row, name))) for row in rows}
    return len(pairs) == len({one for one, _ in pairs})


def _point(result: StudyResult, row: Row, x: str) -> str:
    """What a run is a point of: its x, or all that a design drew."""
    if x not in result.drawn:
        return text_of(factor(result, row, x))
    return ", ".join(text_of(factor(result, row, name)) for name in result.drawn)


def _series(
    result: StudyResult, rows: list[Row], spec: Spec, by: str | None, courses: dict[int, dict[str, list[float]]]
) -> list[Series]:
    labels = _labels(result, by) if by else {}
    order = list(dict.fromkeys(labels.values()))
    found: dict[tuple[str, tuple[float, ...]], Series] = {}
    for row in rows:
        label = labels.get(text_of(factor(result, row, by)), "") if by else ""
        ends = tuple(courses[id(row)]["end"]) if courses else ()
        one = found.setdefault((label, ends), Series([label], order.index(label) if label in order else 0, ends))
        if ends:
            one.points.setdefault("", []).append(np.array(courses[id(row)][spec["y"]], float))
        else:
            one.points.setdefault(_point(result, row, spec["x"]), []).append(float(row.metrics[spec["y"]]))
    return sorted(found.values(), key=lambda one: one.place) if by in result.drawn else list(found.values())


def _labels(result: StudyResult, by: str) -> dict[str, str]:
    """The label of each value of a factor, in order; many values of a range are in three parts, each as often."""
    there = values_of(result, result.rows, by)
    if by == "what_if" and result.baseline in there:
        there.remove(result.baseline)
        there.insert(0, result.baseline)
    numbers = amounts(there)
    if isinstance(result.drawn.get(by), str) and numbers and len(there) > MOST_SERIES:
        ordered = [value for _, value in sorted(zip(numbers, there), key=lambda pair: pair[0])]
        parts = np.array_split(np.arange(len(there)), 3)
        spans = [(ordered[part[0]], ordered[part[-1]], part) for part in parts]
        return {text_of(ordered[at]): f"{text_of(low)} to {text_of(high)}" for low, high, part in spans for at in part}
    return shortened(by, [text_of(value) for value in there])


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
    """The different values of a factor in the order of the study, those that a design drew in that of its list."""
    there = {text_of(value): value for row in rows if (value := factor(result, row, name)) is not None}
    listed = result.drawn.get(name)
    if isinstance(listed, list):
        return [there[text] for value in listed if (text := text_of(value)) in there]
    return list(there.values())
