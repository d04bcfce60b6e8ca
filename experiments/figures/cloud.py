"""Points that a design drew: all of them, and the means of parts of them where there are enough.

A drawn point has no neighbour that differs in x alone, so no line joins two of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base import units
from tiersim.experiments.figures.canvas import COLUMN, at_least, begin, factor_axis, legend, look, marker, metric_axis
from tiersim.experiments.figures.series import Series, Spec, pick, values_of
from tiersim.experiments.figures.words import quantities, text_of
from tiersim.experiments.results import StudyResult
from tiersim.experiments.statistics import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_cloud"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

FEWEST = 8  # points whose mean says something
MOST_PARTS = 6
WIDTH = 0.8  # of the distance between two categories that their points take
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples lie evenly in 0 to 1, however many there are


def draw_cloud(result: StudyResult, spec: Spec) -> Figure:
    """All points over one factor of a design; means of each category, or of parts of the range with as many points."""
    picked = pick(result, spec)
    name = spec["x"]
    listed = isinstance(result.drawn[name], list)
    xs = values_of(result, result.rows, name) if listed else list(picked.xs.values())
    found = None if listed else quantities(xs)
    places = {text_of(x): place for x, place in zip(xs, found[0] if found else range(len(xs)))}
    clouds = [_cloud(one, {key: places[text_of(x)] for key, x in picked.xs.items()}) for one in picked.series]
    groups = [_columns(at) if found is None else _parts(at) for _, at in clouds]
    means = "; large marks are means with 95 % intervals" if any(groups) else ""
    picked.note = f"{len(picked.xs)} points{means}"
    figure, axes = begin(result, spec, picked, COLUMN, 2.2)
    slot = WIDTH / len(clouds) if found is None else 0.0
    handles = []
    for number, (one, (keys, at), parts) in enumerate(zip(picked.series, clouds, groups)):
        middle = at + (number - (len(clouds) - 1) / 2) * slot
        handles.append(_draw_points(axes, one, keys, middle + slot * _jitter(len(at)), bool(picked.seeds > 1)))
        _draw_means(axes, one, one.columns(keys)[0], middle, parts)
    if found is None:
        factor_axis(axes, name, xs, np.arange(len(xs), dtype=float), real=False)
        axes.set_xlim(-0.5, len(xs) - 0.5)
    else:
        log = result.drawn[name] == "log"
        ticks = _ticks(min(found[0]), max(found[0]), log, found[1])
        shown = [units.show(tick, found[1], found[2]) if found[1] else f"{tick:g}" for tick in ticks]
        factor_axis(axes, name, shown, np.array(ticks, float), real=True, log=log)
    metric_axis(result, axes, spec["y"])
    at_least(axes)
    legend(figure, picked, handles)
    return figure


def _cloud(one: Series, places: dict[str, float]) -> tuple[list[str], Floats]:
    """The points that a series has, and where they lie."""
    keys = [key for key in places if key in one.points]
    return keys, np.array([places[key] for key in keys], float)


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


def _draw_means(axes: Axes, one: Series, y: Floats, at: Floats, groups: Sequence[Indices]) -> None:
    """The mean of each group with its interval, over a thin line as long as the group is wide."""
    if not groups:
        return
    held = [estimate(y[group]) for group in groups]
    mean = np.array([found.value for found in held])
    ends = np.array([(found.low, found.high) for found in held]).T
    middle = np.array([np.median(at[group]) for group in groups])
    reach = np.array([(at[group].min(), at[group].max()) for group in groups]).T
    colour = look(one.place)["color"]
    axes.hlines(mean, *reach, color=colour, linewidth=0.6)
    axes.errorbar(
        middle,
        mean,
        yerr=np.abs(ends - mean),
        fmt=marker(one.place),
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
