"""The terminal's view of a study."""

from __future__ import annotations

import math
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiersim.experiments.claims.show import make_console, show_verdicts
from tiersim.experiments.comparison import Compared, Summary, repeated
from tiersim.experiments.results import StudyResult, differing
from tiersim.experiments.sections import Section
from tiersim.experiments.statistics import OUT_OF_REACH_LENGTH, Estimate, Longer

__all__ = [
    "change",
    "change_with_reach",
    "estimated",
    "explained",
    "mark",
    "number",
    "show_estimate",
    "show_result",
    "sureness",
    "with_reach",
]


MEGA, PREFIXES = 10**6, "_kMGTPE"
MANY = 10_000  # repeats: more need no exact number
LEANING = 1.2  # one side of an interval against the other
CORRECTIONS = {"holm": "Holm", "benjamini-hochberg": "Benjamini-Hochberg"}
PARTS = {
    "requests": ("blocks", "block", "as long a trace"),
    "sessions": ("whole sessions", "session", "as many sessions"),
}


def number(value: float, unit: str = "") -> str:
    """A number as a person reads it; ratios as per cent, many bytes with their prefix."""
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    if unit == "bytes" and abs(value) >= MEGA:
        power = next(k for k in range(len(PREFIXES)) if abs(value) < 1000 ** (k + 1) or k == len(PREFIXES) - 1)
        return f"{value / 1000**power:.4g} {PREFIXES[power]}B"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.4g}"


def short(name: str) -> str:
    """A dotted name for the head of a column: its last two parts, with spaces where a line may break."""
    return " ".join(name.split(".")[-2:]).replace("_", " ")


def estimated(held: Estimate, unit: str = "") -> tuple[str, str]:
    """An estimate as a person reads it, and its interval."""
    if held.method == "exact":
        return number(held.value, unit), "exact"
    value, interval = (held.times(100) if unit == "ratio" else held).parts()
    return (f"{value} %" if unit == "ratio" else value), interval


def with_reach(held: Estimate, unit: str = "") -> str:
    """An exact value of a run, and how far its interval reaches to either side."""
    return number(held.value, unit) + _reach(held.times(100) if unit == "ratio" else held)


def _reach(held: Estimate) -> str:
    if held.low == held.high:
        return ""
    reach = held.value - held.low if held.value > 0 else held.high - held.value  # towards 0, where it decides
    if not math.isfinite(held.high - held.low):
        return " ±?"
    return f" ±{reach:,.{max(0, 1 - math.floor(math.log10(reach)))}f}"


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


def change_with_reach(held: Compared, unit: str = "") -> list[str]:
    """The difference of two runs in per cent of the baseline with its interval: how far it reaches, or two ends."""
    if held.difference is None:
        return []
    if held.difference.low == held.difference.high == 0:
        return ["="]
    if held.ratio is None:
        return ["new" if held.difference.method == "exact" else with_reach(held.difference, unit)]
    relative = held.ratio.times(100, -100)
    sides = sorted((relative.value - relative.low, relative.high - relative.value))
    if sides[1] > LEANING * sides[0] and math.isfinite(sides[1]):
        return [f"{relative.value:+.3g} %", relative.parts("+")[1]]
    return [f"{relative.value:+.3g} %{_reach(relative)}"]


def sureness(held: Compared) -> list[str]:
    """How likely so great a difference is by chance, and what would tell: more repeats, or more of the trace."""
    if held.test is None:
        return []
    p = "p < 0.001" if held.p_adjusted < 0.001 else f"p = {held.p_adjusted:.2g}"
    if held.longer is not None:
        return [p, _longer(held.longer)]
    if held.needed is None:
        return [p]
    more, most = held.needed.more, held.needed.at_most
    if more is None or more > MANY:
        return [p, f"needs over {MANY:,} more"]
    upper = f" to {most:,}" if most is not None and most <= MANY else " and up"
    return [p, f"needs {more:,}{'' if most == more else upper} more"]


def _longer(held: Longer) -> str:
    if held.times is None:
        return f"needs over {OUT_OF_REACH_LENGTH:,} times"
    upper = "and up" if held.at_most is None else f"to {_rounded(held.at_most)}"
    return f"needs {_rounded(held.times)} {upper} times"


def _rounded(times: float) -> str:
    return f"{times:.1f}" if times < 10 else f"{times:,.0f}"


def explained(result: StudyResult, summaries: list[Summary]) -> str:
    """What the numbers of a study mean that are not exact, in a line under its table; empty where all are."""
    compared = [held for summary in summaries for held in summary.metrics.values()]
    tests = sum(held.test is not None for held in compared)
    sure = f"{100 * result.confidence:g} %"
    corrected = f" corrected for {tests} comparisons ({CORRECTIONS[result.correction]})" if tests > 1 else ""
    if repeated(result.rows):
        lines = f"Means over seeds with {sure} intervals; exact where no seed reaches the run."
        if tests:
            lines += f" Differences to {result.baseline} are paired seed by seed"
            lines += f", p is{corrected}." if corrected else "."
        if any(held.needed for held in compared):
            lines += (
                " Where chance explains a difference, `needs` says how many more repeats would tell one of this size."
            )
        return lines
    if all(held.value.method == "exact" for held in compared):
        return ""
    of, each, more = PARTS[result.blocks]
    lines = (
        f"± is a {sure} interval (two ends where it leans) from {of} of the run: it takes this trace as one sample of"
    )
    lines += " its kind, and tells nothing of chance in the simulator. What has no ± is exact for this trace."
    if any(math.isnan(held.value.low) or (held.difference and math.isnan(held.difference.low)) for held in compared):
        lines += " ±? stands where the run is a few long phases, or too short, to tell."
    if tests:
        lines += f" Differences to {result.baseline} are paired {each} by {each}"
        lines += f", p is{corrected}." if corrected else "."
    if any(held.longer for held in compared):
        lines += f" Where chance explains a difference, `needs` says how many times {more} would tell one of this size."
    return lines


def show_result(result: StudyResult, console: Console | None = None) -> None:
    """Print the question, one line a variant and point with differences to the baseline, and what was skipped."""
    console = console or make_console()
    if result.question:
        console.print(Text(result.question, style="bold"))
    summaries = result.compare()
    seeds = repeated(result.rows)
    factors = [name for name in differing(result.rows) if not seeds or name != "seed"]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, int(seeds), int(console.width >= 100)))
    for name in factors or ["run"]:
        table.add_column("variant" if name == "what_if" else short(name), overflow="fold")
    if seeds:
        table.add_column("seeds", justify="right")
    compared = "what_if" in factors
    for name in result.shown:
        found = result.metrics.get(name)
        unit = found.unit if found and found.unit != "ratio" else ""
        table.add_column(f"{short(name)}{f' ({unit})' if unit else ''}", justify="right", overflow="fold")
        if compared:
            table.add_column(f"vs {result.baseline}", justify="right", no_wrap=not seeds)
    for summary in summaries:
        cells = [str(summary.factors.get(name, "")) for name in factors] or [summary.label]
        cells += [str(len(summary.seeds) or "-")] if seeds else []
        table.add_row(*cells, *_estimates(result, summary, compared))
    console.print(table)
    if lines := explained(result, summaries):
        console.print(Text(lines))
    for row in result.rows:
        if row.status == "failed":
            seed = f", seed {row.seed}" if "seed" in row.factors else ""
            console.print(Text(f"failed: {row.label}{seed}: {row.error}", style="red"))
    for item in result.skipped:
        console.print(Text(f"skipped: {item['what']}: {item['why']}", style="yellow"))
    for note in result.notes:
        console.print(Text(f"note: {note}"))
    for section in result.sections():
        show_section(section, console)
    if verdicts := result.verdicts():
        show_verdicts(verdicts, console)


def show_section(section: Section, console: Console) -> None:
    """Print what an analysis adds: its tables, then its sentences."""
    console.print(Text(f"\n{section.title}", style="bold"))
    for grid in section.grids:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, title=grid.caption, title_justify="left", title_style="")
        for place, column in enumerate(grid.columns):
            numeric = any(row[place].value is not None for row in grid.rows)
            head = f"{column.name}{f' ({column.unit})' if column.unit and column.unit != 'ratio' else ''}"
            table.add_column(head, justify="right" if numeric else "left", overflow="fold")
        for row in grid.rows:
            table.add_row(*(Text(slot.text) for slot in row))
        console.print(table)
    for text in section.text:
        console.print(Text(text))


def _estimates(result: StudyResult, summary: Summary, compared: bool) -> list[Any]:
    """Cells of a variant, over its seeds or of its one run."""
    if summary.status != "done":
        return [summary.status, *([""] * (len(result.shown) * (1 + compared) - 1))]
    seeds = repeated(result.rows)
    cells: list[Any] = []
    for name in result.shown:
        held = summary.metrics.get(name)
        found = result.metrics.get(name)
        unit, better = (found.unit, found.better) if found else ("", "")
        if held is None:
            cells += ["-", ""] if compared else ["-"]
            continue
        cells.append("\n".join(estimated(held.value, unit)) if seeds else with_reach(held.value, unit))
        if compared:
            lines = [*change(held, unit), _pairs(held, summary)] if seeds else change_with_reach(held, unit)
            lines += sureness(held) if seeds or not held.told else []
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


def show_estimate(cost: Any) -> str:
    """What `--dry-run` prints."""
    how = _measured(cost)
    runs = f"{cost.runs} runs{_sampled(cost)}"
    lines = [
        f"{cost.study}: {runs}, {cost.stored} of them stored already; {cost.simulations} simulations left",
        f"about {cost.steps:,} {cost.of}, {_span(cost.seconds)} on {_cores(cost.workers)} ({how})",
        f"about {cost.bytes / 1e6:,.0f} MB of memory for each worker",
    ]
    lines += [f"skipped: {item['what']}: {item['why']}" for item in cost.skipped]
    lines += [f"note: {note}" for note in cost.notes]
    return "\n".join(lines)


def _sampled(cost: Any) -> str:
    return f" ({cost.samples} of the sensitivity)" if cost.samples else ""


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
