"""The tables of a study: its variants against the baseline, its runs, its claims, and those of its sections."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tiersim.experiments.claims.verdicts import Verdict
from tiersim.experiments.comparison import Compared, repeated
from tiersim.experiments.figures.words import text_of
from tiersim.experiments.results import StudyResult, differing
from tiersim.experiments.scenario import Metric
from tiersim.experiments.sections import Column, Grid, Slot
from tiersim.experiments.statistics import Estimate
from tiersim.experiments.table import number

__all__ = ["MOST_ROWS", "grids", "printed", "to_csv"]

NOTHING = Slot("-")
MOST_ROWS = 200  # more are no table of a paper
CLAIMS = "claims"
BRIEF = ("claim", "published", "allowed", "measured", "verdict")


def grids(result: StudyResult) -> list[Grid]:
    """Every table of a study; that of claims only where it makes some."""
    verdicts = result.verdicts()
    own = [_variants(result), _runs(result), *([_claims(verdicts)] if verdicts else [])]
    return [*own, *(grid for section in result.sections() for grid in section.grids)]


def _metrics(result: StudyResult) -> list[Metric]:
    """Those that the study shows."""
    return [result.metrics.get(name) or Metric(name, "", "") for name in result.shown]


def _variants(result: StudyResult) -> Grid:
    """Each variant and point with intervals, and its change against the baseline."""
    varied = [name for name in differing(result.rows) if name != "seed"]
    compared, seeds = "what_if" in varied, repeated(result.rows)
    summaries = [held for held in result.compare() if held.status == "done"]
    tested = {name for held in summaries for name, its in held.metrics.items() if its.test is not None}
    columns = [Column("variant" if name == "what_if" else name) for name in varied] or [Column("run")]
    columns += [Column("seeds", doc="runs that differ in their seed alone")] if seeds else []
    for metric in _metrics(result):
        columns.append(Column(metric.name, metric.unit, metric.doc))
        if compared:
            columns.append(Column(f"{metric.name} vs {result.baseline}", "ratio", f"change against {result.baseline}"))
        if metric.name in tested:
            columns.append(Column(f"{metric.name} p", doc="corrected for all comparisons of the study"))
    rows = []
    for held in summaries:
        slots = [_factor(held.factors.get(name, "")) for name in varied] or [Slot(held.label)]
        slots += [Slot(str(len(held.seeds) or 1), max(1, len(held.seeds)))] if seeds else []
        for metric in _metrics(result):
            its = held.metrics.get(metric.name)
            slots.append(_slot(its.value, metric.unit) if its else NOTHING)
            slots += [_change(its)] if compared else []
            slots += [_chance(its)] if metric.name in tested else []
        rows.append(tuple(slots))
    against = f" against {result.baseline}" if compared else ""
    caption = f"{_first(result)} Variants{against}, with {100 * result.confidence:g} % intervals."
    return Grid("variants", caption, tuple(columns), tuple(rows))


def _runs(result: StudyResult) -> Grid:
    """Each run that was made."""
    factors = differing(result.rows)
    columns = [Column("variant" if name == "what_if" else name) for name in factors] or [Column("run")]
    columns += [Column(metric.name, metric.unit, metric.doc) for metric in _metrics(result)]
    rows = []
    for row in result.rows:
        if row.status != "done":
            continue
        slots = [_factor(row.factors.get(name, "")) for name in factors] or [Slot(row.label)]
        for metric in _metrics(result):
            value = row.metrics.get(metric.name)
            known = value is not None and not math.isnan(value)
            slots.append(Slot(number(value, metric.unit), value) if known and value is not None else NOTHING)
        rows.append(tuple(slots))
    return Grid("runs", f"{_first(result)} Runs.", tuple(columns), tuple(rows))


def _claims(verdicts: Sequence[Verdict]) -> Grid:
    columns = ("claim", "what", "source", "published", "allowed", "measured", "interval", "verdict", "why")
    rows = [
        (
            *(held.figure.claim, held.figure.what, held.figure.source, held.figure.published, held.figure.tolerance),
            *(held.measured(), held.interval(), held.verdict, held.why),
        )
        for held in verdicts
    ]
    named = tuple(Column(name) for name in columns)
    return Grid(CLAIMS, "Published figures, and what was measured.", named, tuple(tuple(map(Slot, r)) for r in rows))


def _first(result: StudyResult) -> str:
    """The first paragraph of the question, or the name."""
    said = " ".join(result.question.split("\n\n")[0].split()) or result.study
    return said if said.endswith((".", "?", "!")) else f"{said}."


def _factor(value: Any) -> Slot:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Slot(text_of(value), number)


def _slot(held: Estimate, unit: str) -> Slot:
    low, high = (None, None) if math.isnan(held.low) else (held.low, held.high)
    return Slot(number(held.value, unit), held.value, low, high)


def _change(held: Compared | None) -> Slot:
    """How much more than the baseline, in its parts; nothing where that is 0, or in the baseline itself."""
    if held is None or held.ratio is None:
        return NOTHING
    return _slot(held.ratio.times(1, -1), "ratio")


def _chance(held: Compared | None) -> Slot:
    if held is None or held.test is None:
        return NOTHING
    return Slot("< 0.001" if held.p_adjusted < 0.001 else f"{held.p_adjusted:.2g}", held.p_adjusted)


def printed(grid: Grid) -> Grid | None:
    """What of a table is typeset: of claims those columns that fit a page, and nothing of very many rows."""
    if len(grid.rows) > MOST_ROWS:
        return None
    if grid.name != CLAIMS:
        return grid
    places = [place for place, column in enumerate(grid.columns) if column.name in BRIEF]
    columns = tuple(grid.columns[place] for place in places)
    return replace(grid, columns=columns, rows=tuple(tuple(row[place] for place in places) for row in grid.rows))


def to_csv(grid: Grid) -> str:
    """A table as text with a line for its columns; a number with its ends in columns of their own, in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    kinds = [_kind([row[place] for row in grid.rows]) for place in range(len(grid.columns))]
    writer.writerow(name for column, kind in zip(grid.columns, kinds) for name in _heads(column, kind))
    for row in grid.rows:
        writer.writerow(cell for slot, kind in zip(row, kinds) for cell in _cells(slot, kind))
    return out.getvalue()


def _kind(slots: Sequence[Slot]) -> str:
    """What a column holds: ``words``, ``numbers``, or numbers with ``intervals``."""
    if any(slot.low is not None for slot in slots):
        return "intervals"
    return "numbers" if any(slot.value is not None for slot in slots) else "words"


def _heads(column: Column, kind: str) -> list[str]:
    unit = f" ({column.unit})" if column.unit else ""
    ends = [f"{column.name} {end}{unit}" for end in ("low", "high")] if kind == "intervals" else []
    return [f"{column.name}{unit}", *ends]


def _cells(slot: Slot, kind: str) -> Iterator[str]:
    if kind == "words":
        yield slot.text
        return
    # a column of numbers may have words in it, such as a factor that is a number or `none`
    yield slot.text if slot.value is None and slot != NOTHING else _full(slot.value)
    if kind == "intervals":
        yield from (_full(slot.low), _full(slot.high))


def _full(value: float | None) -> str:
    """A number in as many digits as tell it from all others; nothing for none."""
    return "" if value is None or math.isnan(value) else repr(value if isinstance(value, int) else float(value))
