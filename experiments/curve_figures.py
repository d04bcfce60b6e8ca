"""Figures of replays and miss ratio curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tiersim._base.errors import StudyError
from tiersim.experiments.figures import COLUMN, DASHES, MARKERS, PAGE, PALETTE, encode, style
from tiersim.experiments.miss_ratio_curve import Curve
from tiersim.experiments.replays import ReplayResult, Row
from tiersim.experiments.store import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_kind", "draw_curves", "draw_replay", "saved"]

KINDS = (".png", ".svg", ".pdf")


def draw_curves(curves: Sequence[Curve]) -> Figure:
    """Miss ratio over size, a line a policy; estimated curves in a band of two standard errors."""
    figure = _figure(1)
    with style():
        axes = figure.axes[0]
        for place, curve in enumerate(curves):
            sizes, ratio = np.array(curve.sizes, float), np.array(curve.miss_ratio)
            _line(axes, sizes, ratio, curve.policy, place)
            if curve.error:
                spread = 2 * np.array(curve.error)
                axes.fill_between(
                    sizes, np.clip(ratio - spread, 0, 1), np.clip(ratio + spread, 0, 1), color=_colour(place), alpha=0.2
                )
        _label(axes, f"size ({curves[0].unit})", curves[0].trace, len(curves), log=True)
    return figure


def draw_replay(result: ReplayResult) -> Figure:
    """Miss ratio over size, a line a policy; beside it over the course of the trace where there are windows."""
    if not result.rows:
        raise StudyError("there is nothing to draw: every policy was skipped")
    figure = _figure(2 if result.windows else 1)
    policies = list(dict.fromkeys(row.policy for row in result.rows))
    with style():
        axes = figure.axes[0]
        for place, policy in enumerate(policies):
            points = _mean_by([row for row in result.rows if row.policy == policy], "capacity")
            _line(axes, np.array(list(points)), np.array(list(points.values())), policy, place)
        _label(axes, "size", result.trace, len(policies), log=len({row.capacity for row in result.rows}) > 1)
        if result.windows:
            axes = figure.axes[1]
            largest = max(row.capacity for row in result.windows)
            for place, policy in enumerate(policies):
                rows = [row for row in result.windows if row.policy == policy and row.capacity == largest]
                points = _mean_by(rows, "end")
                _line(axes, np.array(list(points)), np.array(list(points.values())), policy, place)
            size = next(row.size for row in result.windows if row.capacity == largest)
            _label(axes, "requests", f"windows, at {size}", len(policies))
    return figure


def saved(figure: Figure, path: Path) -> str:
    """Write a figure, in the format that the name of the file says. Raises StudyError for any other format."""
    check_kind(path)
    if path.suffix == ".pdf":
        with style():
            figure.savefig(path, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    else:
        write_bytes(path, encode(figure, "png" if path.suffix == ".png" else "svg"))
    return f"figure: {path}"


def check_kind(path: Path) -> None:
    """Raise StudyError unless the name of a file says a format that figures have."""
    if path.suffix not in KINDS:
        raise StudyError(f"a figure is written as {', '.join(KINDS)}, not as {path.suffix or 'a file without ending'}")


def _figure(panels: int) -> Figure:
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(COLUMN if panels == 1 else PAGE, 2.6))
        figure.subplots(1, panels)
    return figure


def _mean_by(rows: Sequence[Row], key: str) -> dict[float, float]:
    """The mean miss ratio over seeds by capacity or by end of window."""
    held: dict[float, list[float]] = {}
    for row in rows:
        held.setdefault(float(getattr(row, key)), []).append(row.miss_ratio)
    return {at: sum(found) / len(found) for at, found in sorted(held.items())}


def _colour(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, label: str, place: int) -> None:
    marker, dash = MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)]
    axes.plot(x, y, label=label, color=_colour(place), marker=marker, linestyle=dash)


def _label(axes: Axes, x: str, title: str, lines: int, *, log: bool = False) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 10k, as sizes are written
    axes.set_xlabel(x)
    axes.set_ylabel("miss ratio")
    axes.set_title(title)
    axes.set_ylim(bottom=0)
    axes.grid(True)
    if lines > 1:
        axes.legend()
