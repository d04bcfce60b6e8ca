"""The waterfall of a difference as a figure, one column wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from tiersim.experiments.diff import Diff
from tiersim.experiments.diff.show import by_change
from tiersim.experiments.diff.waterfall import Waterfall
from tiersim.experiments.figures.canvas import COLUMN, LETTER, PALETTE, style
from tiersim.experiments.figures.words import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_diff"]

NAME = 22  # letters of a line of a name
MOST = 24  # steps that are drawn; the others are one
LOOKS = {"better": (PALETTE[1], ""), "worse": (PALETTE[2], "////"), "": ("#999999", "")}


def draw_diff(held: Diff) -> Figure:
    """The steps from A to B, below each other: what makes it worse is hatched, and each step has its number.

    Raises DependencyError without matplotlib.
    """
    falls = by_change(held)
    steps = falls.steps[:MOST]
    names = ["A", *(textwrap.fill(words(step.name), NAME) for step in steps), "B"]
    title = _title(held, len(falls.steps) - len(steps))
    height = sum(0.14 * (1 + name.count("\n")) + 0.1 for name in names)
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(COLUMN, height + 0.16 * (title.count("\n") + 1) + 0.6))
        axes = figure.subplots()
        figure.suptitle(title, x=0.01, ha="left")
        _draw(axes, falls, names)
        unit = f" ({falls.unit})" if falls.unit else ""
        axes.set_xlabel(f"{words(held.metric.name)}{unit}")
    return figure


def _title(held: Diff, more: int) -> str:
    lines = [f"A: {held.a.name}", f"B: {held.b.name}"]
    lines += [f"the {MOST} largest steps, of {MOST + more}"] if more else []
    letters = int(COLUMN / LETTER)
    return "\n".join(textwrap.fill(line, letters) for line in lines)


def _draw(axes: Axes, falls: Waterfall, names: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    steps = falls.steps[:MOST]
    values = [*falls.ends, *(end for step in steps for end in (step.begin, step.end))]
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    last = len(names) - 1
    for place, (value, text) in ((0, (falls.ends[0], falls.a)), (last, (falls.ends[1], falls.b))):
        axes.plot([value], [place], marker="D", color="black", linestyle="none")
        _write(axes, text, value, place)
    for place, step in enumerate(steps, 1):
        colour, hatch = LOOKS[step.mark]
        left, right = sorted((step.begin, step.end))
        axes.barh(place, right - left, 0.6, left, color=colour, edgecolor="white", linewidth=0, hatch=hatch)
        axes.plot([step.begin] * 2, [place - 1, place + 0.3], color="#444444", linewidth=0.5)
        if step.begin == step.end:
            axes.plot([step.end] * 2, [place - 0.3, place + 0.3], color=colour)
        _write(axes, step.text, right, place)
    if steps:
        axes.plot([steps[-1].end] * 2, [last - 1.3, last], color="#444444", linewidth=0.5)
    room = LETTER * (2 + max(len(text) for text in (falls.a, falls.b, *(step.text for step in steps))))
    plot = COLUMN - 0.3 - LETTER * max(len(line) for name in names for line in name.split("\n"))
    axes.set_xlim(low - 0.04 * span, low + span / max(0.2, 1 - room / plot))
    axes.set_ylim(last + 0.6, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _write(axes: Axes, text: str, right: float, place: int) -> None:
    axes.annotate(
        text, (right, place), (3, 0), textcoords="offset points", va="center_baseline", fontsize=7
    ).set_in_layout(False)
