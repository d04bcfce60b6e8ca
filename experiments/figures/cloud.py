"""Points that a design drew: all of them, and the means of parts of them where there are enough.

A drawn point has no neighbour that differs in x alone, so no line joins two of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base import units
from tiersim.experiments.figures.canvas import COLUMN, at_least, begin, factor_axis, legend, look, marker, metric_axis
from tiersim.experiments.figures.series import Picked, Series, Spec, pick, values_of
from tiersim.experiments.figures.words import quantities, text_of
from tiersim.experiments.results import StudyResult
from tiersim.experiments.statistics import Estimate, estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Cloud", "Clouds", "Part", "clouds", "draw_cloud"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

FEWEST = 8  # points whose mean says something
MOST_PARTS = 6
WIDTH = 0.8  # of the distance between two categories that their points take
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples lie evenly in 0 to 1, however many there are


@dataclass(frozen=True)
class Part:
    """A mean of points that lie side by side, with its interval: around `middle`, from `left` to `right`."""

    mean: Estimate
    middle: float
    left: float
    right: float


@dataclass(frozen=True)
class Cloud:
    """The points of a series: what they are called, where they lie, and the means of their parts."""

    series: Series
    keys: list[str]
    at: Floats
    parts: list[Part]


@dataclass(frozen=True)
class Clouds:
    """All points over a factor; `axis` has the numbers, dimension and what they are per, None for a list of names."""

    picked: Picked
    xs: list[Any]
    axis: tuple[list[float], str, str] | None
    clouds: list[Cloud]


def clouds(result: StudyResult, spec: Spec) -> Clouds:
    """All points over one factor of a design; means of each category, or of parts of the range with as many points."""
    picked = pick(result, spec)
    name = spec["x"]
    listed = isinstance(result.drawn[name], list)
    xs = values_of(result, result.rows, name) if listed else list(picked.xs.values())
    axis = None if listed else quantities(xs)
    places = {text_of(x): float(place) for x, place in zip(xs, axis[0] if axis else range(len(xs)))}
    lies = {key: places[text_of(x)] for key, x in picked.xs.items()}
    slot = WIDTH / len(picked.series) if axis is None else 0.0
    found = []
    for number, one in enumerate(picked.series):
        keys = [key for key in lies if key in one.points]
        at = np.array([lies[key] for key in keys], float)
        groups = _columns(at) if axis is None else _parts(at)
        mean, middle = one.columns(keys)[0], at + (number - (len(picked.series) - 1) / 2) * slot
        parts = [
            Part(estimate(mean[group]), float(np.median(middle[group])), middle[group].min(), middle[group].max())
            for group in groups
        ]
        found.append(Cloud(one, keys, middle + slot * _jitter(len(at)), parts))
    means = "; large marks are means with 95 % intervals" if any(one.parts for one in found) else ""
    picked.note = f"{len(picked.xs)} points{means}"
    return Clouds(picked, xs, axis, found)


def draw_cloud(result: StudyResult, spec: Spec) -> Figure:
    """All points over one factor of a design, and means of parts of them."""
    held = clouds(result, spec)
    picked, found, name = held.picked, held.axis, spec["x"]
    figure, axes = begin(result, spec, picked, COLUMN, 2.2)
    handles = []
    for one in held.clouds:
        handles.append(_draw_points(axes, one.series, one.keys, one.at, bool(picked.seeds > 1)))
        _draw_means(axes, one)
    if found is None:
        factor_axis(axes, name, held.xs, np.arange(len(held.xs), dtype=float), real=False)
        axes.set_xlim(-0.5, len(held.xs) - 0.5)
    else:
        log = result.drawn[name] == "log"
        ticks = _ticks(min(found[0]), max(found[0]), log, found[1])
        shown = [units.show(tick, found[1], found[2]) if found[1] else f"{tick:g}" for tick in ticks]
        factor_axis(axes, name, shown, np.array(ticks, float), real=True, log=log)
    metric_axis(result, axes, spec["y"])
    at_least(axes)
    legend(figure, picked, handles)
    return figure


def _columns(at: Floats) -> list[Indices]:
    """The points of each category that has enough of them."""
    groups = (np.flatnonzero(at == place) for place in np.unique(at))
    return [group for group in groups if len(group) >= FEWEST]


def _parts(at: Floats) -> list[Indices]:
    """The points in parts of the range that hold equally many; none where there are too few for two parts."""
    count = min(len(at) // FEWEST, MOST_PARTS)
    return np.array_split(np.argsort(at, kind="stable"), count) if count > 1 else []


def _jitter(count: int) -> Floats:
    """Places from -0.4 to 0.4 that keep points of one category apart."""
    return np.array([0.8 * (number * GOLDEN % 1 - 0.5) for number in range(count)])


def _draw_points(axes: Axes, one: Series, keys: Sequence[str], at: Floats, several: bool) -> Any:
    """The mean of each point over its seeds, and the range of them."""
    mean, low, high = one.columns(keys)
    looks: dict[str, Any] = {**look(one.place), "linestyle": "none"}
    (points,) = axes.plot(at, mean, marker=marker(one.place), alpha=0.5, markeredgewidth=0, **looks)
    if several:
        axes.vlines(at, low, high, color=looks["color"], alpha=0.5, linewidth=0.8)
    return points


def _draw_means(axes: Axes, one: Cloud) -> None:
    """The mean of each part with its interval, over a thin line as long as the part is wide."""
    if not one.parts:
        return
    mean = np.array([part.mean.value for part in one.parts])
    ends = np.array([(part.mean.low, part.mean.high) for part in one.parts]).T
    colour = look(one.series.place)["color"]
    axes.hlines(mean, *np.array([(part.left, part.right) for part in one.parts]).T, color=colour, linewidth=0.6)
    axes.errorbar(
        [part.middle for part in one.parts],
        mean,
        yerr=np.abs(ends - mean),
        fmt=marker(one.series.place),
        color=colour,
        markersize=6,
        markeredgecolor="white",
        elinewidth=1.2,
        capsize=2,
    )


def _ticks(low: float, high: float, log: bool, dimension: str) -> list[Any]:
    """Round values of a range, in whole base units of a dimension."""
    binary = dimension in ("bytes", "bandwidth")
    found = list(_log_ticks(low, high, binary) if log else _linear_ticks(low, high, binary))
    return [round(tick) if dimension else tick for tick in found if low <= tick <= high] or [low, high]


def _log_ticks(low: float, high: float, binary: bool) -> Iterator[float]:
    """Powers of two, or 1, 2 and 5 times powers of ten."""
    if binary:
        yield from (2.0**power for power in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1))
        return
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (digit * 10.0**power for digit in (1, 2, 5))


def _linear_ticks(low: float, high: float, binary: bool) -> Iterator[float]:
    from matplotlib.ticker import MaxNLocator

    unit = 1024.0 ** math.floor(math.log(high, 1024)) if binary and high >= 1 else 1.0
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low / unit, high / unit)
    yield from (float(tick) * unit for tick in ticks)
