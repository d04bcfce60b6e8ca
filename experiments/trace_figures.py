"""The figure of a trace's fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tiersim._base.errors import StudyError
from tiersim.experiments.doctor.contract import Info, Panel
from tiersim.experiments.figures import COLUMN, DASHES, MARKERS, PAGE, PALETTE, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_info"]

ACROSS: Final = 3  # panels
HIGH: Final = 2.4  # inches: a row of them


def draw_info(info: Info) -> Figure:
    """The panels of a fingerprint, three in a row; for requests by key: within a reuse distance, by rank, working set.

    Raises DependencyError without matplotlib, and StudyError where there is nothing to draw.
    """
    if not info.panels:
        raise StudyError(f"{info.trace}: there is nothing to draw of these records")
    down = -(-len(info.panels) // ACROSS)
    across = -(-len(info.panels) // down)
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(max(PAGE * across / ACROSS, COLUMN), HIGH * down))
        for place, panel in enumerate(info.panels):
            _draw(figure.add_subplot(down, across, place + 1), panel)
        figure.suptitle(f"{info.trace}: {info.records:,} records")
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

    for place, curve in enumerate(panel.curves):
        colour = PALETTE[1 + place % (len(PALETTE) - 1)]
        name = curve.label or None
        if curve.points:
            mark = MARKERS[place % len(MARKERS)]
            axes.plot(curve.x, curve.y, mark, color=colour, markersize=2.5, label=name)
        else:
            dash = DASHES[place % len(DASHES)]
            axes.plot(curve.x, curve.y, color=colour, linestyle=dash, drawstyle=curve.steps, label=name)
    if any(curve.label for curve in panel.curves):
        axes.legend()
    if panel.x_log:
        axes.set_xscale("log")
    else:
        numbers = all(curve.x.dtype.kind in "iu" for curve in panel.curves)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=numbers))
    if panel.y_log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, panel.full)
    for axis, log in ((axes.xaxis, panel.x_log), (axes.yaxis, panel.y_log)):
        if log:
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(EngFormatter(sep=""))  # 10k, as sizes are written
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.grid(True)
