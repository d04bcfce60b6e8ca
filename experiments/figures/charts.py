"""Lines over a swept quantity, bars over variants, and metrics over the course of a run."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.figures.canvas import (
    COLUMN,
    DASHES,
    HATCHES,
    LETTER,
    PAGE,
    PALETTE,
    at_least,
    begin,
    factor_axis,
    legend,
    look,
    marker,
    metric_axis,
    metric_of,
    width_of,
)
from tiersim.experiments.figures.series import Picked, Spec, pick
from tiersim.experiments.figures.words import amounts, shortened, text_of
from tiersim.experiments.results import StudyResult
from tiersim.experiments.table import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

__all__ = ["draw_bars", "draw_course", "draw_lines", "placed"]


def placed(picked: Picked) -> tuple[list[Any], NDArray[np.float64], bool]:
    """The values of x from left to right, where they lie, and whether that is an amount of theirs."""
    values = list(picked.xs.values())
    numbers = amounts(values)
    if numbers is None:
        return values, np.arange(len(values), dtype=float), False
    return [value for _, value in sorted(zip(numbers, values), key=lambda p: p[0])], np.array(sorted(numbers)), True


def draw_lines(result: StudyResult, spec: Spec) -> Figure:
    picked = pick(result, spec)
    xs, at, real = placed(picked)
    figure, axes = begin(result, spec, picked, COLUMN, 2.0 if real else 2.4)
    handles = []
    texts = [text_of(x) for x in xs]
    for one in picked.series:
        mean, low, high = one.columns(texts)
        looks = look(one.place)
        (line,) = axes.plot(at, mean, marker=marker(one.place), **looks)
        handles.append(line)
        if picked.many and (not real or len(xs) == 1):
            axes.errorbar(at, mean, one.errors(texts), fmt="none", ecolor=looks["color"], elinewidth=0.8, capsize=2)
        elif picked.many:
            axes.fill_between(at, low, high, color=looks["color"], alpha=0.2, linewidth=0)
    factor_axis(axes, spec["x"], xs, at, real)
    metric_axis(result, axes, spec["y"])
    at_least(axes)
    legend(figure, picked, handles)
    return figure


def draw_bars(result: StudyResult, spec: Spec) -> Figure:
    """Bars that lie, since names of variants are long."""
    picked = pick(result, spec)
    xs = list(picked.xs)
    short = shortened(spec["x"], xs)
    names = [textwrap.fill(f"{x} (baseline)" if x == result.baseline else short[x], 24) for x in xs]
    groups = len(picked.series)
    slot = max(0.13 * groups + 0.1, 0.14 * (1 + max(name.count("\n") for name in names)) + 0.08, 0.26)
    figure, axes = begin(result, spec, picked, COLUMN, slot * len(xs) + 0.1)
    unit = metric_of(result, spec["y"]).unit
    thick = 0.82 / groups
    handles = []
    for place, one in enumerate(picked.series):
        mean, _, high = one.columns(xs)
        at = np.arange(len(xs)) + (place - (groups - 1) / 2) * thick
        colours: Any = PALETTE[1 + one.place % (len(PALETTE) - 1)]
        if groups == 1:
            colours = ["#777777" if x == result.baseline else PALETTE[1] for x in xs]
        error = {"ecolor": "black", "elinewidth": 0.8, "capsize": 2}
        bars = axes.barh(
            at,
            mean,
            thick * 0.92,
            color=colours,
            edgecolor="white",
            linewidth=0,
            hatch=HATCHES[one.place % len(HATCHES)] if groups > 1 else "",
            xerr=one.errors(xs) if picked.many else None,
            error_kw=error,
        )
        handles.append(bars)
        _print_values(axes, bars, [(_written(value, unit), top) for value, top in zip(mean, high)])
    axes.set_yticks(np.arange(len(xs)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(xs) - 0.5, -0.5)
    metric_axis(result, axes, spec["y"], "x")
    _room_for_values(axes, names, picked, xs, unit)
    if groups == 1 and result.baseline in xs:
        axes.axvline(
            picked.series[0].range(result.baseline)[0], color="#777777", linewidth=0.8, linestyle=DASHES[1], zorder=0.9
        )
    legend(figure, picked, handles)
    return figure


def _written(value: float, unit: str) -> str:
    return "no run" if math.isnan(value) else number(value, unit)


def _print_values(axes: Axes, bars: BarContainer, texts: list[tuple[str, float]]) -> None:
    for bar, (text, top) in zip(bars, texts):
        right = 0.0 if math.isnan(top) else max(top, 0.0)
        axes.annotate(
            text,
            (right, bar.get_y() + bar.get_height() / 2),
            (2.5, 0),
            textcoords="offset points",
            va="center_baseline",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},  # the line of the baseline passes behind
            fontsize=7 if bar.get_height() > 0.3 else 6,
        ).set_in_layout(False)


def _room_for_values(axes: Axes, names: list[str], picked: Picked, xs: list[str], unit: str) -> None:
    """Widen the axis so that the printed value of the longest bar ends inside."""
    ranges = [one.range(x) for one in picked.series for x in xs]
    top = max([0.0, *(high for _, _, high in ranges if not math.isnan(high))])
    low = min([0.0, *(least for _, least, _ in ranges if not math.isnan(least))])
    room = width_of(axes) - 0.25 - LETTER * max(len(line) for name in names for line in name.split("\n"))
    value = LETTER * (1 + max(len(_written(mean, unit)) for mean, _, _ in ranges))
    span = (top - low) or 1.0
    axes.set_xlim(low * 1.05, low + span / max(0.2, 1 - value / room))


def draw_course(result: StudyResult, spec: Spec) -> Figure:
    picked = pick(result, spec)
    figure, axes = begin(result, spec, picked, PAGE, 1.6)
    handles = []
    for one in picked.series:
        stack = np.array(one.points[""])
        ends = np.array([0.0, *one.ends]) * 100
        looks = look(one.place)
        line = axes.step(ends, _from_start(stack.mean(axis=0)), where="pre", **{**looks, "linewidth": 1.0})[0]
        handles.append(line)
        if len(stack) > 1:
            low, high = _from_start(stack.min(axis=0)), _from_start(stack.max(axis=0))
            axes.fill_between(ends, low, high, step="pre", color=looks["color"], alpha=0.2, linewidth=0)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the trace (%)")
    metric_axis(result, axes, spec["y"])
    if all(np.nanmin(one.points[""], initial=0.0) >= 0 for one in picked.series):
        axes.set_ylim(bottom=0)
    legend(figure, picked, handles)
    return figure


def _from_start(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Window values with the first one twice: a step begins where its window does."""
    return np.concatenate([values[:1], values])
