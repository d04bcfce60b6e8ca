"""The figures of a sensitivity, in the style of those of a study: indices, pairs, winners, and what speed is worth."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from tiersim.experiments.figures.canvas import COLUMN, DASHES, HATCHES, LETTER, PALETTE, look, marker, style
from tiersim.experiments.figures.words import words
from tiersim.experiments.sensitivity.methods import Estimate, Indices
from tiersim.experiments.sensitivity.ranks import LEADING, Scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Ticks", "draw_cells", "draw_indices", "draw_pairs", "draw_plane", "draw_scatter", "draw_speedups"]

P = ParamSpec("P")
Ticks = Sequence[tuple[float, str]]  # shares of a factor with the values that stand there

MOST = 12  # factors in one figure
PAIRED = 8  # in a heat map
NAMED = 7  # by marks of their own
ROW = 0.3  # inches
LETTERS = 26  # of a name beside an axis, in a line

BARS: dict[str, tuple[tuple[str, str], ...]] = {  # method -> names of indices and of their bars
    "sobol": (("total", "with interactions"), ("first", "alone")),
    "morris": (("mu_star", "mean size of the change"),),
    "pawn": (("median", "median over slices"), ("dummy", "of a factor without effect")),
    "delta": (("delta", "delta"), ("dummy", "of a factor without effect")),
}
AXES = {
    "sobol": "share of the variance (%)",
    "pawn": "distance of distributions",
    "delta": "part of the density that moves",
}


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return inside


@_styled
def draw_indices(indices: Indices, title: str, unit: str = "") -> Figure:
    """Bars of each factor with their intervals, the greatest first; `unit` is the output's, in which Morris counts."""
    order = _order(indices, MOST)
    kinds = [kind for kind, _ in BARS[indices.method]]
    names = [_name(indices.names[at]) for at in order]
    figure, axes = _begin(title, _left(indices, order), ROW * max(len(names), 2) + 0.1, len(kinds) > 1)
    times = _times(unit, indices.method)
    thick = 0.8 / len(kinds)
    handles = []
    for row, kind in enumerate(kinds):
        held = [_known(indices.kinds[kind][at]) for at in order]
        at = np.arange(len(order)) + (row - (len(kinds) - 1) / 2) * thick
        values = times * np.array([one.value for one in held])
        reach = times * np.array([_reach(one) for one in held]).T
        bars = axes.barh(
            at,
            values,
            thick * 0.92,
            color=PALETTE[1 + row],
            edgecolor="white",
            linewidth=0,
            hatch=HATCHES[row],
            xerr=reach,
            error_kw={"ecolor": "black", "elinewidth": 0.8, "capsize": 2},
        )
        handles.append(bars)
    axes.axvline(0, color="#444444", linewidth=0.6)
    axes.set_yticks(np.arange(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(AXES.get(indices.method, _with("change over the range", unit)))
    axes.grid(axis="x")
    _legend(figure, handles, [name for _, name in BARS[indices.method]])
    return figure


@_styled
def draw_pairs(indices: Indices, title: str) -> Figure:
    """What two factors do together beyond each alone, as a heat map; in colour where the interval is above 0."""
    order = _order(indices, PAIRED, 2)
    names = [_name(indices.names[at]) for at in order]
    figure, axes = _begin(title, _left(indices, order), ROW * len(names) + 0.7)
    top = max([0.01, *(one.value for one in indices.second.values())])
    for row, first in enumerate(order):
        for column, second in enumerate(order[:row]):
            pair = (indices.names[first], indices.names[second])
            one = indices.second.get(pair) or indices.second[pair[::-1]]
            dark = min(one.value / top, 1.0) if one.low is not None and one.low > 0 else 0.0
            axes.add_patch(_cell(column, row, _shade(dark)))
            axes.annotate(
                f"{100 * one.value:.0f}",
                (column, row),
                ha="center",
                va="center",
                color="white" if dark > 0.6 else "black",
                fontsize=7,
            )
    _grid_of(axes, names[:-1], names)
    axes.set_xlabel("of the variance, together (%)")
    return figure


@_styled
def draw_plane(indices: Indices, title: str, unit: str = "") -> Figure:
    """Morris's plane: how much a factor moves the output, and how much that varies; categories have no spread."""
    order = _order(indices, len(indices.names))
    spreads = indices.kinds["sigma"]
    shown = [at for at in order if spreads[at] is not None]
    bare = [words(indices.names[at]) for at in order if spreads[at] is None]
    small = "; ".join(filter(None, [_left(indices, order), f"no spread: {', '.join(bare)}" if bare else ""]))
    figure, axes = _begin(title, small, 2.2, True, min(len(shown), NAMED + 1) + 1)
    handles: list[Any] = []
    labels = []
    for place, at in enumerate(shown):
        size, spread = (_scaled(one, _times(unit)) for one in (indices.kinds["mu_star"][at], spreads[at]))
        named = place < NAMED
        looks: dict[str, Any] = {"color": PALETTE[place]} if named else {"color": "#999999"}
        held = axes.errorbar(
            size.value, spread.value, xerr=np.array([_reach(size)]).T, fmt=marker(place) if named else ".",
            markersize=5 if named else 3, elinewidth=0.8, capsize=2, **looks,
        )  # fmt: skip
        if named or place == NAMED:
            handles.append(held)
            labels.append(words(indices.names[at]) if named else f"{len(shown) - NAMED} with less")
    handles.append(axes.axline((0, 0), slope=1, color="#777777", linewidth=0.6, linestyle=DASHES[1]))
    labels.append("spread = size")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_with("mean size of the change", unit))
    axes.set_ylabel(_with("spread of the change", unit))
    axes.grid()
    _legend(figure, handles, labels)
    return figure


@_styled
def draw_cells(
    factors: tuple[str, str],
    settings: tuple[Sequence[str], Sequence[str]],
    cells: Sequence[Sequence[str | None]],
    variants: Sequence[str],
    title: str,
) -> Figure:
    """Which variant is the best in each cell of a grid; a row for each setting of the first factor."""
    there = [name for name in variants if any(name in row for row in cells)]
    figure, axes = _begin(title, "", 0.24 * len(settings[0]) + 0.5, True, len(there) + 1)
    for row, line in enumerate(cells):
        for column, name in enumerate(line):
            axes.add_patch(_cell(column, row, *(_looks(variants.index(name)) if name is not None else ("white", ""))))
    _grid_of(axes, settings[1], settings[0])
    axes.invert_yaxis()
    axes.set_ylabel(words(factors[0]))
    axes.set_xlabel(words(factors[1]))
    nobody = any(name is None for row in cells for name in row)
    names = [*there, *(["no run"] if nobody else [])]
    patches = [_cell(0, 0, *(("white", "") if name == "no run" else _looks(variants.index(name)))) for name in names]
    _legend(figure, patches, names)
    return figure


@_styled
def draw_scatter(scatter: Scatter, variants: Sequence[str], x: Ticks, y: Ticks, title: str) -> Figure:
    """Which variant is the best at each sample, over the two factors that matter most; ticks say what shares are."""
    there = [at for at in range(len(variants)) if (scatter.winners == at).any()]
    figure, axes = _begin(title, "", 2.4, True, len(there) + 1)
    handles, labels = [], []
    for at in [*there, -1]:
        points = scatter.places[scatter.winners == at]
        if not len(points):
            continue
        looks: dict[str, Any] = {"color": PALETTE[1 + at % (len(PALETTE) - 1)], "marker": marker(at)}
        looks = looks if at >= 0 else {"color": "#999999", "marker": "x"}
        (held,) = axes.plot(points[:, 0], points[:, 1], linestyle="none", alpha=0.7, markeredgewidth=0.5, **looks)
        handles.append(held)
        labels.append(f"{variants[at]} ({len(points)})" if at >= 0 else f"failed ({len(points)})")
    for axis, name, ticks in ((axes.xaxis, scatter.x, x), (axes.yaxis, scatter.y, y)):
        axis.set_ticks([place for place, _ in ticks], [text for _, text in ticks])
        axis.set_label_text(words(name))
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.grid()
    _legend(figure, handles, labels)
    return figure


@_styled
def draw_speedups(curves: Mapping[str, Sequence[tuple[float, float]]], output: str, title: str) -> Figure:
    """What an output is when one factor alone is faster: for each factor speeds and ratios to the study's own point."""
    height, names = 2.0, [words(name) for name in curves]
    figure, axes = _begin(title, "", height, True, len(curves))
    handles = []
    for place, points in enumerate(curves.values()):
        known = [(0.0, 0.0), *((100 * (x - 1), 100 * (y - 1)) for x, y in points if math.isfinite(y))]
        xs, ys = zip(*sorted(known), strict=True)
        (line,) = axes.plot(xs, ys, marker=marker(place), **look(place))
        handles.append(line)
    axes.axhline(0, color="#444444", linewidth=0.6)
    axes.set_xlabel("faster by (%)")
    axes.set_ylabel(textwrap.fill(f"change of {words(output)} (%)", 34))
    axes.grid()
    _legend(figure, handles, names)
    return figure


def _order(indices: Indices, most: int, least: int = 1) -> list[int]:
    """Places of the factors that matter, that which does most first."""
    held = [_known(one).value for one in indices.kinds[LEADING[indices.method]]]
    found = sorted(range(len(held)), key=lambda at: -held[at])
    return found[: min(most, max(least, sum(one > 0 for one in held)))]


def _left(indices: Indices, shown: Sequence[int]) -> str:
    left = len(indices.names) - len(shown)
    return f"{left} more factor{' has' if left == 1 else 's have'} less, or none" if left else ""


def _known(one: Estimate | None) -> Estimate:
    return Estimate(0.0) if one is None else one


def _scaled(one: Estimate | None, times: int) -> Estimate:
    held = _known(one)
    ends = (None if end is None else times * end for end in (held.low, held.high))
    return Estimate(times * held.value, *ends)


def _reach(one: Estimate) -> tuple[float, float]:
    """How far the interval goes to both sides."""
    low, high = (one.value if end is None else end for end in (one.low, one.high))
    return max(one.value - low, 0.0), max(high - one.value, 0.0)


def _begin(title: str, small: str, height: float, legend: bool = False, entries: int = 2) -> tuple[Figure, Axes]:
    """An empty figure of a column's width whose axes have about this height (inches)."""
    from matplotlib.figure import Figure

    letters = int(COLUMN / LETTER)
    text = "\n".join(textwrap.fill(line, letters) for line in (title, small) if line)
    more = 0.16 * (text.count("\n") + 1) + (0.15 * math.ceil(entries / 2) + 0.1 if legend else 0) + 0.5
    figure = Figure(figsize=(COLUMN, height + more))
    axes = figure.subplots()
    figure.suptitle(text, x=0.01, ha="left")
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    if len(labels) < 1 or (len(labels) == 1 and len(handles) == 1 and hasattr(handles[0], "patches")):
        return
    widest = max(map(len, labels))
    columns = max(1, min(len(labels), int(COLUMN / LETTER / (widest + 8))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _name(factor: str) -> str:
    return textwrap.fill(words(factor), LETTERS)


def _with(text: str, unit: str) -> str:
    return f"{text} ({'%' if unit == 'ratio' else unit})" if unit else text


def _times(unit: str, method: str = "morris") -> int:
    """Shares are shown in per cent."""
    return 100 if method == "sobol" or (method == "morris" and unit == "ratio") else 1


def _shade(dark: float) -> tuple[float, float, float]:
    """From white to the palette's blue."""
    return 1 - dark, 1 - dark * (1 - 0x72 / 255), 1 - dark * (1 - 0xB2 / 255)


def _looks(place: int) -> tuple[str, str]:
    """Colour and hatch of a variant's cells."""
    return PALETTE[1 + place % (len(PALETTE) - 1)], HATCHES[place % len(HATCHES)]


def _cell(column: float, row: float, colour: Any, hatch: str = "") -> Any:
    from matplotlib.patches import Rectangle

    edge = "#bbbbbb" if colour == "white" else "white"
    return Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor=edge, linewidth=0.6, hatch=hatch)


def _grid_of(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """The axes of a grid whose cells stand at whole numbers."""
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
