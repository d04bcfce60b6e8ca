"""The terminal's view of a difference."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiersim.experiments.claims.show import make_console
from tiersim.experiments.diff import ROUNDING, Diff, Part
from tiersim.experiments.diff.changes import Change
from tiersim.experiments.diff.waterfall import Waterfall, waterfall
from tiersim.experiments.table import number

__all__ = ["by_change", "by_part", "show_diff"]

WIDTH = 24  # letters of the bars
ROWS = 20  # of a table; --json has them all
VALUE = 40  # letters of a value of the configuration
STYLES = {"better": "blue", "worse": "dark_orange3", "": ""}  # told by any eye, and the words stand beside


def show_diff(held: Diff, console: Console | None = None) -> None:
    """Print both values, what differs, and the waterfalls."""
    console = console or make_console()
    falls = by_change(held)
    unit = f" ({falls.unit})" if falls.unit else ""
    console.print(Text(f"{held.metric.name}{unit}: {held.metric.doc}", style="bold"))
    _ends(held, falls, console)
    if held.changes.method == "none":
        console.print(Text(_nothing(held)))
    else:
        _differences(held, console)
        if len(held.pairs) > 1:
            _runs(held, console)
        if held.parts:
            _show(by_part(held), "by part", console, held.parts)
        _show(falls, "by run" if held.changes.method == "runs" else "by change", console)
        console.print(Text(_explained(held)))
    for note in held.changes.notes:
        console.print(Text(f"note: {note}"))
    for side, only in (("A", held.only_a), ("B", held.only_b)):
        for label, why in only[:ROWS]:
            console.print(Text(f"only in {side}: {label} ({why})", style="yellow"))
        if len(only) > ROWS:
            console.print(Text(f"only in {side}: {len(only) - ROWS} more", style="yellow"))


def by_change(held: Diff) -> Waterfall:
    """The steps of the changes, the largest first where their order says nothing."""
    steps = held.changes.steps
    if held.changes.method != "both-ways":
        steps = _sorted(steps)
    return waterfall(held.metric, held.values, [(step.name, step.step, held.mark(step.step)) for step in steps])


def _sorted(steps: list[Change]) -> list[Change]:
    """By size; ends that were made again stay at theirs."""
    first = [step for step in steps[:1] if step.again]
    last = [step for step in steps[len(first) :][-1:] if step.again]
    between = steps[len(first) : len(steps) - len(last)]
    return [*first, *sorted(between, key=lambda step: -abs(step.step)), *last]


def by_part(held: Diff) -> Waterfall:
    """The steps of the parts, as they stand in the metric."""
    return waterfall(held.metric, held.values, [(part.name, part.step, held.mark(part.step)) for part in held.parts])


def _ends(held: Diff, falls: Waterfall, console: Console) -> None:
    many = f", mean of {len(held.pairs)}" if len(held.pairs) > 1 else ""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for side in ("left", "left", "right", "left"):
        justify: Any = side
        table.add_column(justify=justify, overflow="fold")
    table.add_row("A", Text(f"{held.a.name}{many}"), falls.a)
    a, b = held.values
    share = f" ({_changed(a, b)})" if a and a != b else ""
    mark = held.mark(b - a)
    table.add_row(
        "B",
        Text(f"{held.b.name}{many}"),
        falls.b,
        Text(f"{_with(falls.difference, falls.step_unit)}{share}{f', {mark}' if mark else ''}", style=STYLES[mark]),
    )
    console.print(table)


def _with(text: str, unit: str) -> str:
    return f"{text} points" if unit == "points" else text


def _nothing(held: Diff) -> str:
    count = len(held.pairs)
    what = f"{count} runs of each" if count > 1 else "the runs"
    return f"nothing differs: {what} have the same configuration, content of the trace, code and seed"


def _differences(held: Diff, console: Console) -> None:
    causes = held.changes.causes
    if not causes:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("what differs", "A", "B"):
        table.add_column(name, overflow="fold")
    for cause in causes[:ROWS]:
        table.add_row(Text(cause.name), *(Text(_short(text)) for text in cause.told()))
    console.print(table)
    if len(causes) > ROWS:
        console.print(Text(f"and {len(causes) - ROWS} more: --json has them all"))


def _short(text: str) -> str:
    return text if len(text) <= VALUE else f"{text[: VALUE - 4]} ..."


def _runs(held: Diff, console: Console) -> None:
    """The runs that changed most first."""
    name = held.metric.name
    rows = sorted(held.pairs, key=lambda pair: -abs(Fraction(pair[1].metrics[name]) - Fraction(pair[0].metrics[name])))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    for head in ("A", "B", "change"):
        table.add_column(head, justify="right")
    for a, b in rows[:ROWS]:
        ends = Fraction(a.metrics[name]), Fraction(b.metrics[name])
        seed = f", seed {b.seed}" if "seed" in b.factors else ""
        mark = held.mark(ends[1] - ends[0])
        table.add_row(
            Text((a.label if a.label == b.label else f"{a.label} to {b.label}") + seed),
            number(a.metrics[name], held.metric.unit),
            number(b.metrics[name], held.metric.unit),
            Text(_changed(*ends), style=STYLES[mark]),
        )
    console.print(table)
    if len(rows) > ROWS:
        console.print(Text(f"and {len(rows) - ROWS} runs more, which changed less: --json has them all"))


def _changed(a: Fraction, b: Fraction) -> str:
    if a == b:
        return "="
    if not a:
        return "new"
    return f"{float(100 * (b - a) / abs(a)):+.3g} %"


def _show(falls: Waterfall, head: str, console: Console, parts: Sequence[Part] = ()) -> None:
    """A row a step, with what it is on both sides where it is a part."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(head, overflow="fold")
    for name in ("A", "B") if parts else ():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"step{f' ({falls.step_unit})' if falls.step_unit else ''}", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=WIDTH)
    table.add_column("", no_wrap=True)
    values = [*falls.ends, *(end for step in falls.steps for end in (step.begin, step.end))]
    low, high = min(values), max(values)
    ends = [_bar(end, end, low, high) for end in falls.ends]
    table.add_row("A", *((falls.a, "", "") if parts else (falls.a,)), ends[0])
    for place, step in enumerate(falls.steps):
        if parts and parts[place].name == ROUNDING and not step.text.strip("0."):
            continue
        values_of = [falls.written(end) for end in (parts[place].a, parts[place].b)] if parts else []
        bar = Text(_bar(step.begin, step.end, low, high), style=STYLES[step.mark])
        table.add_row(Text(step.name), *values_of, step.text, bar, Text(step.mark, style=STYLES[step.mark]))
    table.add_row("B", *(("", falls.b, "") if parts else (falls.b,)), ends[1])
    console.print(table)


def _bar(begin: float, end: float, low: float, high: float) -> str:
    """A bar between two values, in halves of letters; a line where it has no length."""
    span = (high - low) or 1.0
    first, last = sorted(round((value - low) / span * 2 * WIDTH) for value in (begin, end))
    if first == last:
        return " " * min(first // 2, WIDTH - 1) + "│"
    half = first % 2
    cells = " " * (first // 2) + "▐" * half + "█" * ((last - first - half) // 2)
    return cells + "▌" * ((last - first - half) % 2)


def _explained(held: Diff) -> str:
    changes = held.changes
    many = " The mean of the pairs." if len(held.pairs) > 1 else ""
    if changes.method == "one":
        return f"One cause, which is the whole difference.{many}" + _made(held)
    if changes.method == "runs":
        return "Runs differ by different causes: each has its own share of the mean difference."
    if changes.method == "shapley":
        how = "Each cause has its Shapley value: what it changes, in the mean of all orders of switching A to B."
    else:
        how = (
            f"{len(changes.causes)} causes are too many for all orders: each has what it changes in the order that is "
            "listed and in its reverse, in the mean. The order matters."
        )
    return how + many + _made(held)


def _made(held: Diff) -> str:
    changes = held.changes
    if not changes.mixtures and not changes.simulated:
        return ""
    kept = f", kept in {held.folder}" if held.folder is not None and changes.simulated else ""
    return f" Runs between A and B: {changes.mixtures}; simulated now: {changes.simulated}{kept}."
