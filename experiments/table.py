"""The terminal's view of a study."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiersim.experiments.results import Row, StudyResult, differing

__all__ = ["difference", "number", "show_estimate", "show_result"]


def number(value: float, unit: str = "") -> str:
    """A number as a person reads it; ratios as per cent."""
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.4g}"


def short(name: str) -> str:
    """A dotted name for the head of a column: its last two parts, with spaces where a line may break."""
    return " ".join(name.split(".")[-2:]).replace("_", " ")


def difference(value: float, base: float) -> str:
    """A value against its baseline in per cent of it."""
    if value == base:
        return "="
    if base == 0:
        return "new"
    return f"{100 * (value / base - 1):+.3g} %"


def show_result(result: StudyResult, console: Console | None = None) -> None:
    """Print the question, one line a run with differences to the baseline, and what was skipped."""
    console = console or _console()
    if result.question:
        console.print(Text(result.question, style="bold"))
    factors = differing(result.rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, int(console.width >= 100)))
    for name in factors or ["run"]:
        table.add_column("variant" if name == "what_if" else short(name), overflow="fold")
    compared = "what_if" in factors
    for name in result.shown:
        found = result.metrics.get(name)
        unit = found.unit if found and found.unit != "ratio" else ""
        table.add_column(f"{short(name)}{f' ({unit})' if unit else ''}", justify="right", overflow="fold")
        if compared:
            table.add_column(f"vs {result.baseline}", justify="right", no_wrap=True)
    for row in result.rows:
        cells: list[Any] = [str(row.factors.get(name, "")) for name in factors] or [row.label]
        table.add_row(*cells, *_values(result, row, compared))
    console.print(table)
    for row in result.rows:
        if row.status == "failed":
            console.print(Text(f"failed: {row.label}: {row.error}", style="red"))
    for item in result.skipped:
        console.print(Text(f"skipped: {item['what']}: {item['why']}", style="yellow"))
    for note in result.notes:
        console.print(Text(f"note: {note}"))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 120))


def _values(result: StudyResult, row: Row, compared: bool) -> list[Any]:
    if row.status != "done":
        return [row.status, *([""] * (len(result.shown) * (1 + compared) - 1))]
    base = result.base_of(row)
    cells: list[Any] = []
    for name in result.shown:
        value = row.metrics.get(name)
        found = result.metrics.get(name)
        cells.append("-" if value is None else number(value, found.unit if found else ""))
        if compared:
            theirs = base.metrics.get(name) if base else None
            cells.append(_delta(value, theirs, found.better if found else ""))
    return cells


def _delta(value: float | None, theirs: float | None, better: str) -> Text:
    if value is None or theirs is None:
        return Text("")
    style = ""
    if better and value != theirs:
        style = "green" if (value < theirs) == (better == "less") else "red"
    return Text(difference(value, theirs), style=style)


def show_estimate(cost: Any) -> str:
    """What `--dry-run` prints."""
    how = "measured on this machine" if cost.measured else "a guess until something has run here"
    lines = [
        f"{cost.study}: {cost.runs} runs, {cost.stored} of them stored already; {cost.simulations} simulations left",
        f"about {cost.steps:,} {cost.of}, {_span(cost.seconds)} on one core ({how})",
        f"about {cost.bytes / 1e6:,.0f} MB of memory for each worker",
    ]
    lines += [f"skipped: {item['what']}: {item['why']}" for item in cost.skipped]
    lines += [f"note: {note}" for note in cost.notes]
    return "\n".join(lines)


def _span(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
