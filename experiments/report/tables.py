"""The tables of a report, cell by cell as they are read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from tiersim.experiments.claims.verdicts import VERDICTS
from tiersim.experiments.comparison import Compared, Summary, point, repeated
from tiersim.experiments.figures import amounts, text_of, words
from tiersim.experiments.report.audits import audits
from tiersim.experiments.report.settings import settings
from tiersim.experiments.results import Row, StudyResult, bases, differing
from tiersim.experiments.scenario import Metric
from tiersim.experiments.sections import Grid
from tiersim.experiments.table import (
    change,
    change_with_reach,
    estimated,
    explained,
    mark,
    number,
    sureness,
    with_reach,
)

__all__ = [
    "WRITTEN",
    "Cell",
    "Head",
    "Table",
    "audit_table",
    "claim_table",
    "described",
    "grid_table",
    "metric_table",
    "run_table",
    "setting_table",
    "variant_table",
]

WRITTEN = 500  # rows of a table that stands whole in the page itself, for readers without JavaScript
FIRST = 200  # rows of a longer one that do: as many as the script shows at a time
FEW = 8  # runs whose metrics have a column each


@dataclass
class Cell:
    """One cell; `sort` is the number that orders it, `mark` is ``better``, ``worse`` or another word, or nothing."""

    text: str
    sort: float | None = None
    mark: str = ""


@dataclass
class Head:
    """The head of a column: what the button says, the unit beside it, and the meaning."""

    text: str
    unit: str = ""
    doc: str = ""
    left: bool = False


@dataclass
class Table:
    """A table; the first cell of each row is its head. `name` is unique in the page."""

    name: str
    caption: str
    heads: list[Head]
    rows: list[list[Cell]] = field(default_factory=list)
    wordy: bool = False
    """Whether cells hold sentences, which may break."""

    @property
    def written(self) -> list[list[Cell]]:
        """The rows that stand in the page itself."""
        return self.rows if len(self.rows) <= WRITTEN else self.rows[:FIRST]

    def columns(self) -> list[dict[str, list[Any]]]:
        """All rows by column, for a page that shows some of them at a time."""
        out = []
        for held in zip(*self.rows, strict=True):
            column: dict[str, list[Any]] = {"text": [cell.text for cell in held]}
            if any(cell.sort is not None for cell in held):
                column["sort"] = [finite(cell.sort) for cell in held]
            if any(cell.mark for cell in held):
                column["mark"] = [cell.mark for cell in held]
            out.append(column)
        return out


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def described(result: StudyResult, name: str) -> Metric:
    return result.metrics.get(name) or Metric(name, "", "")


def variant_table(result: StudyResult, summaries: list[Summary]) -> Table | None:
    """A row a variant and point over its seeds; none where each is one run, which has a row of its own anyway."""
    if not repeated(result.rows):
        return None
    compared = "what_if" in differing(result.rows)
    varied = [name for name in differing(result.rows) if name != "seed"]
    table = Table("variants", explained(result, summaries), [*_heads(varied, "variant"), *_metrics(result, compared)])
    columns = [_factor([held.factors.get(name, "") for held in summaries]) for name in varied]
    heads = [list(cells) for cells in zip(*columns)] if columns else [[Cell(held.label)] for held in summaries]
    for head, held in zip(heads, summaries, strict=True):
        if held.status != "done":
            head[0].mark = held.status
        table.rows.append([*head, *_estimates(result, held, compared)])
    return table


def run_table(result: StudyResult, summaries: list[Summary]) -> Table:
    """A row a run with its factors and the metrics that are shown."""
    factors, seeds = differing(result.rows), repeated(result.rows)
    compared = "what_if" in factors
    caption = (
        f"One row a run. Differences are to {result.baseline} with all else equal." if compared else "One row a run."
    )
    if not seeds and (told := explained(result, summaries)):
        caption += f" {told}"
    table = Table("runs", caption, [*_heads(factors, "run"), *_metrics(result, compared)])
    columns = [
        _factor([row.factors.get(name, result.baseline if name == "what_if" else "") for row in result.rows])
        for name in factors
    ]
    heads = [list(cells) for cells in zip(*columns)] if columns else [[Cell(row.label)] for row in result.rows]
    by_point = {point(held.factors): held for held in summaries}
    bases_of = bases(result.rows, result.baseline) if seeds and compared else {}
    for head, row in zip(heads, result.rows, strict=True):
        if row.status != "done":
            head[0].mark = row.status
        if seeds:
            cells = _measured(result, row, bases_of.get(id(row)), compared)
        else:
            cells = _estimates(result, by_point[point(row.factors)], compared)
        table.rows.append([*head, *cells])
    return table


def _heads(factors: list[str], otherwise: str) -> list[Head]:
    return [Head(words(name), left=True) for name in factors] or [Head(otherwise, left=True)]


def _metrics(result: StudyResult, compared: bool) -> list[Head]:
    heads = []
    for name in result.shown:
        metric = described(result, name)
        heads.append(Head(words(name), "" if metric.unit == "ratio" else metric.unit, metric.doc))
        if compared:
            heads.append(Head(f"vs {result.baseline}"))
    return heads


def _factor(values: list[Any]) -> list[Cell]:
    """The cells of a factor, which sort as amounts where they are some."""
    given = [value for value in values if value != ""]  # a variant that no seed changes is run without one
    order = {text_of(value): amount for value, amount in zip(given, amounts(given) or ())}
    return [Cell(text := text_of(value), order.get(text)) for value in values]


def _estimates(result: StudyResult, summary: Summary, compared: bool) -> list[Cell]:
    """Cells of a variant, over its seeds or of its one run."""
    seeds, cells = repeated(result.rows), []
    for name in result.shown:
        metric, held = described(result, name), summary.metrics.get(name)
        if held is None:
            cells += [Cell("-"), Cell("")] if compared else [Cell("-")]
            continue
        unit = metric.unit
        value = held.value.written(*estimated(held.value, unit)) if seeds else with_reach(held.value, unit)
        cells.append(Cell(value, held.value.value))
        if compared:
            sort = held.ratio.value - 1 if held.ratio else None
            cells.append(Cell(_against(held, unit, seeds), sort, mark(held, metric.better)))
    return cells


def _against(held: Compared, unit: str, seeds: bool) -> str:
    if held.difference is None:
        return ""
    by = [held.difference.written(*change(held, unit))] if seeds else change_with_reach(held, unit)
    return "; ".join([*by, *(sureness(held) if seeds or not held.told else [])])


def _measured(result: StudyResult, row: Row, base: Row | None, compared: bool) -> list[Cell]:
    base, cells = None if base is row else base, []
    for name in result.shown:
        metric, value = described(result, name), row.metrics.get(name)
        cells.append(_cell(value, metric.unit))
        if compared:
            cells.append(_change(value, base.metrics.get(name) if base else None, metric.better))
    return cells


def _cell(value: float | None, unit: str) -> Cell:
    if value is None or math.isnan(value):
        return Cell("-")
    return Cell(number(value, unit), value)


def _change(value: float | None, base: float | None, better: str) -> Cell:
    """A value of one seed against that of the baseline, in per cent of it."""
    if value is None or base is None:
        return Cell("")
    marked = ""
    if better and value != base:
        marked = "better" if (value < base) == (better == "less") else "worse"
    if value == base:
        return Cell("=", 0.0)
    text = f"{100 * (value / base - 1):+.3g} %" if base else "new"
    return Cell(text, value / base - 1 if base else None, marked)


def metric_table(result: StudyResult) -> Table | None:
    """A row a metric that is not among those shown: a column a run where they are few, else what they span."""
    rows = [row for row in result.rows if row.status == "done"]
    found = dict.fromkeys(name for row in rows for name in row.metrics if name not in result.shown)
    if not found:
        return None
    heads = [Head("metric", left=True), Head("unit", left=True), Head("meaning", left=True)]
    several = len({row.seed for row in result.rows}) > 1
    few = len(rows) <= FEW
    if few:
        heads += [Head(f"{row.label}, seed {row.seed}" if several else row.label) for row in rows]
    else:
        heads += [Head("least"), Head("mean"), Head("greatest"), Head("runs")]
    table = Table("metrics", "All other metrics of the runs, each with its unit and its meaning.", heads)
    for name in found:
        metric = described(result, name)
        values = [row.metrics.get(name) for row in rows]
        given = [value for value in values if value is not None and not math.isnan(value)]
        if few:
            cells = [_cell(value, metric.unit) for value in values]
        else:
            spans = (min(given), fmean(given), max(given)) if given else (None, None, None)
            cells = [*(_cell(value, metric.unit) for value in spans), Cell(f"{len(given):,}", len(given))]
        table.rows.append([Cell(name), Cell(metric.unit), Cell(metric.doc), *cells])
    return table


def claim_table(result: StudyResult) -> Table | None:
    verdicts = result.verdicts()
    if not verdicts:
        return None
    caption = "Published figures, what is measured here, and whether that is within what was allowed beforehand."
    heads = [
        Head(name, left=True) for name in ("claim", "published", "measured", "interval", "allowed", "verdict", "source")
    ]
    rows = [
        [
            Cell(f"{held.figure.claim}: {held.figure.what}"),
            Cell(held.figure.published),
            Cell(held.measured()),
            Cell(held.interval()),
            Cell(held.figure.tolerance),
            Cell(held.why, VERDICTS.index(held.verdict), held.verdict),
            Cell(held.figure.source),
        ]
        for held in verdicts
    ]
    return Table("claims", caption, heads, rows, wordy=True)


def audit_table(result: StudyResult) -> Table | None:
    held = audits(result)
    if not held:
        return None
    caption = (
        "Checked at the end of every run, by deriving again what was counted on the way. A run whose books do not "
        "balance gives no result: what has one has passed."
    )
    rows = [
        [
            Cell(one.audit.what),
            Cell(
                f"{one.passed:,} of {one.ran:,} runs",
                one.passed,
                "passed" if one.passed == one.ran else f"{one.ran - one.passed:,} without a result",
            ),
            Cell(one.audit.where.removeprefix("tiersim.").replace(":", ", ")),
        ]
        for one in held
    ]
    heads = [Head("what must hold", left=True), Head("passed", left=True), Head("checked in", left=True)]
    return Table("audits", caption, heads, rows, wordy=True)


def setting_table(result: StudyResult) -> Table | None:
    held = settings(result)
    if not held:
        return None
    caption = (
        "The configuration of the first run, and what presets say of other variants. `study` is what the file says, "
        "`varies` what a variant or a sweep changes; each number of a preset stands beside its source."
    )
    rows = [[Cell(one.key), *map(Cell, (one.value, one.origin, one.source, one.uncertainty))] for one in held]
    heads = [Head(name, left=True) for name in ("key", "value", "from", "source", "may lie")]
    return Table("configuration", caption, heads, rows, wordy=True)


def grid_table(grid: Grid, taken: Iterable[str]) -> Table:
    """The table of an analysis, with intervals beside its numbers."""
    names = set(taken)
    name = next(held for held in _named(grid.name) if held not in names)
    heads = [
        Head(
            column.name,
            "" if column.unit == "ratio" else column.unit,
            column.doc,
            left=all(row[place].value is None for row in grid.rows),
        )
        for place, column in enumerate(grid.columns)
    ]
    rows = [
        [
            Cell(_with_interval(slot, column.unit), finite(slot.value))
            for slot, column in zip(row, grid.columns, strict=True)
        ]
        for row in grid.rows
    ]
    return Table(name, grid.caption, heads, rows)


def _named(name: str) -> Iterable[str]:
    yield f"grid-{name}"
    count = 2
    while True:
        yield f"grid-{name}-{count}"
        count += 1


def _with_interval(slot: Any, unit: str) -> str:
    if slot.low is None or slot.high is None or slot.low == slot.high:
        return str(slot.text)
    return f"{slot.text} ({number(slot.low, unit)} to {number(slot.high, unit)})"
