"""How often lines had been hit when they left a cache."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tiersim._base.errors import StudyError
from tiersim.experiments.figures.canvas import COLUMN, HATCHES, PALETTE, begin, legend, metric_axis
from tiersim.experiments.figures.series import Picked, Series, Spec, done, factor, pick
from tiersim.experiments.figures.words import shortened
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenario import Metric
from tiersim.experiments.store import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SHARE", "draw_reuse", "parts_of"]

TABLE, LEAST = "reuse", "least"
SHARE = "share of the lines that left"


def parts_of(result: StudyResult, spec: Spec) -> tuple[str, Picked]:
    """What the bars are of, and their parts as series."""
    by = spec.get("by") or "what_if"
    held = [(row, row.table(TABLE)) for row in _rows(result, by)]
    held = [(row, table) for row, table in held if spec["y"] in table]
    if not held:
        message = f"no figure of the reuse of {spec['y']}: no run that finished has it"
        raise StudyError(message, None, "take a metric that is a share of lines without reuse, such as zero_reuse")
    return by, _picked(result, spec["y"], by, held)


def draw_reuse(result: StudyResult, spec: Spec) -> Figure:
    """Bars in parts, one for each value of ``by``."""
    by, picked = parts_of(result, spec)
    xs = list(picked.xs)
    short = shortened(by, xs)
    figure, axes = begin(result, {**spec, "x": by}, picked, COLUMN, 0.2 * len(xs) + 0.1)
    left, handles = np.zeros(len(xs)), []
    for one in picked.series:
        mean, _, _ = one.columns(xs)
        colour, hatch = PALETTE[1 + one.place % (len(PALETTE) - 1)], HATCHES[one.place % len(HATCHES)]
        bars = axes.barh(
            np.arange(len(xs)), mean, 0.75, left, color=colour, hatch=hatch, edgecolor="white", linewidth=0
        )
        handles.append(bars)
        left += mean
    axes.set_yticks(np.arange(len(xs)), [textwrap.fill(short[x], 24) for x in xs])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(xs) - 0.5, -0.5)
    metric_axis(replace(result, metrics={SHARE: Metric(SHARE, "ratio", "")}), axes, SHARE, "x")
    axes.set_xlim(0, 1)
    legend(figure, picked, handles)
    return figure


def _rows(result: StudyResult, by: str) -> list[Row]:
    """Those of all variants, or of one where other things are compared."""
    rows = done(result)
    there = dict.fromkeys(factor(result, row, "what_if") for row in rows)
    if by == "what_if" or len(there) < 2:
        return rows
    one = result.baseline if result.baseline in there else next(iter(there))
    return [row for row in rows if factor(result, row, "what_if") == one]


def _picked(result: StudyResult, name: str, by: str, held: list[tuple[Row, Table]]) -> Picked:
    """Each row of the histogram as one series."""
    spans = _spans([int(low) for low in held[0][1][LEAST]])
    parts = []
    for place in range(len(spans)):
        rows = [replace(row, metrics={name: table[name][place] / sum(table[name])}) for row, table in held]
        parts.append(pick(replace(result, rows=rows), {"x": by, "y": name, "by": None}))
    series = [Series([span], place, points=parts[place].series[0].points) for place, span in enumerate(spans)]
    return replace(parts[0], series=series, by="hits", joined=False)


def _spans(least: list[int]) -> list[str]:
    """The rows of a histogram in words, from where each begins."""
    spans = [str(low) if low == following - 1 else f"{low} to {following - 1}" for low, following in pairwise(least)]
    return [*spans, f"{least[-1]} or more"]
