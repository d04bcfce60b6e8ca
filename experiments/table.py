"""The terminal's view of a study."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiersim.experiments.comparison import Compared, Summary
from tiersim.experiments.results import Row, StudyResult, differing
from tiersim.experiments.statistics import Estimate

__all__ = [
    "change",
    "difference",
    "estimated",
    "explained",
    "mark",
    "number",
    "show_estimate",
    "show_result",
    "sureness",
]


MANY = 10_000  # repeats: more need no exact number


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


def estimated(held: Estimate, unit: str = "") -> tuple[str, str]:
    """An estimate as a person reads it, and its interval."""
    if held.method == "exact":
        return number(held.value, unit), "exact"
    value, interval = (held.times(100) if unit == "ratio" else held).parts()
    return (f"{value} %" if unit == "ratio" else value), interval


def change(held: Compared, unit: str = "") -> tuple[str, str]:
    """The difference to the baseline in per cent of it (in its own unit where that is 0), and its interval."""
    if held.difference is None:
        return "", ""
    if held.difference.low == held.difference.high == 0:
        return "=", held.difference.parts()[1]
    if held.ratio is None:
        return estimated(held.difference, unit)
    relative = held.ratio.times(100, -100)
    if held.ratio.method == "exact":
        return f"{relative.value:+.3g} %", "exact"
    value, interval = relative.parts("+")
    return f"{value} %", interval


def sureness(held: Compared) -> list[str]:
    """How likely so great a difference is by chance, and how many more repeats would tell."""
    if held.test is None:
        return []
    p = "p < 0.001" if held.p_adjusted < 0.001 else f"p = {held.p_adjusted:.2g}"
    if held.needed is None:
        return [p]
    more, most = held.needed.more, held.needed.at_most
    if more is None or more > MANY:
        return [p, f"needs over {MANY:,} more"]
    upper = f" to {most:,}" if most is not None and most <= MANY else " and up"
    return [p, f"needs {more:,}{'' if most == more else upper} more"]


def explained(result: StudyResult, summaries: list[Summary]) -> str:
    """What the numbers of a study with repeats mean, in a line under its table."""
    tests = sum(held.test is not None for summary in summaries for held in summary.metrics.values())
    lines = "Means over seeds with 95 % intervals; exact where no seed reaches the run."
    if not tests:
        return lines
    lines += f" Differences to {result.baseline} are paired seed by seed"
    lines += f", p is corrected for {tests} comparisons (Holm)." if tests > 1 else "."
    if any(held.needed for summary in summaries for held in summary.metrics.values()):
        lines += " Where chance explains a difference, `needs` says how many more repeats would tell one of this size."
    return lines


def show_result(result: StudyResult, console: Console | None = None) -> None:
    """Print the question, one line a run with differences to the baseline, and what was skipped."""
    console = console or _console()
    if result.question:
        console.print(Text(result.question, style="bold"))
    summaries = result.compare()
    factors = [name for name in differing(result.rows) if not summaries or name != "seed"]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, int(bool(summaries)), int(console.width >= 100)))
    for name in factors or ["run"]:
        table.add_column("variant" if name == "what_if" else short(name), overflow="fold")
    if summaries:
        table.add_column("seeds", justify="right")
    compared = "what_if" in factors
    for name in result.shown:
        found = result.metrics.get(name)
        unit = found.unit if found and found.unit != "ratio" else ""
        table.add_column(f"{short(name)}{f' ({unit})' if unit else ''}", justify="right", overflow="fold")
        if compared:
            table.add_column(f"vs {result.baseline}", justify="right", no_wrap=not summaries)
    for row in [] if summaries else result.rows:
        cells: list[Any] = [str(row.factors.get(name, "")) for name in factors] or [row.label]
        table.add_row(*cells, *_values(result, row, compared))
    for summary in summaries:
        cells = [str(summary.factors.get(name, "")) for name in factors] or [summary.label]
        table.add_row(*cells, str(len(summary.seeds) or "-"), *_estimates(result, summary, compared))
    console.print(table)
    if summaries:
        console.print(Text(explained(result, summaries)))
    for row in result.rows:
        if row.status == "failed":
            seed = f", seed {row.seed}" if "seed" in row.factors else ""
            console.print(Text(f"failed: {row.label}{seed}: {row.error}", style="red"))
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


def _estimates(result: StudyResult, summary: Summary, compared: bool) -> list[Any]:
    if not summary.metrics and summary.failed:
        return ["failed", *([""] * (len(result.shown) * (1 + compared) - 1))]
    cells: list[Any] = []
    for name in result.shown:
        held = summary.metrics.get(name)
        found = result.metrics.get(name)
        unit, better = (found.unit, found.better) if found else ("", "")
        cells.append("\n".join(estimated(held.value, unit)) if held else "-")
        if compared:
            lines = [*change(held, unit), _pairs(held, summary), *sureness(held)] if held else []
            cells.append(Text("\n".join(filter(None, lines)), style=STYLES[mark(held, better)]))
    return cells


def _pairs(held: Compared, summary: Summary) -> str:
    """How many pairs there are, where it is not as many as seeds."""
    if held.difference is None or held.difference.n == max(1, len(summary.seeds)):
        return ""
    return f"n = {held.difference.n}"


def mark(held: Compared | None, better: str) -> str:
    """``better`` or ``worse`` where a difference is told and its direction means something, and nothing elsewhere."""
    if held is None or not better or not held.told or held.difference is None:
        return ""
    return "better" if (held.difference.value < 0) == (better == "less") else "worse"


STYLES = {"": "", "better": "green", "worse": "red"}


def _delta(value: float | None, theirs: float | None, better: str) -> Text:
    if value is None or theirs is None:
        return Text("")
    style = ""
    if better and value != theirs:
        style = "green" if (value < theirs) == (better == "less") else "red"
    return Text(difference(value, theirs), style=style)


def show_estimate(cost: Any) -> str:
    """What `--dry-run` prints."""
    how = _measured(cost)
    lines = [
        f"{cost.study}: {cost.runs} runs, {cost.stored} of them stored already; {cost.simulations} simulations left",
        f"about {cost.steps:,} {cost.of}, {_span(cost.seconds)} on {_cores(cost.workers)} ({how})",
        f"about {cost.bytes / 1e6:,.0f} MB of memory for each worker",
    ]
    lines += [f"skipped: {item['what']}: {item['why']}" for item in cost.skipped]
    lines += [f"note: {note}" for note in cost.notes]
    return "\n".join(lines)


def _cores(workers: int) -> str:
    return "one core" if workers == 1 else f"{workers} cores"


def _measured(cost: Any) -> str:
    """Where the rates behind an estimate are from."""
    if cost.measured == cost.simulations:
        return "measured on this machine"
    if not cost.measured:
        return "a guess until something like it has run here"
    return f"{cost.measured} of {cost.simulations} simulations at rates measured on this machine, the rest a guess"


def _span(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
