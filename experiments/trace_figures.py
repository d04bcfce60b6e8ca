"""The figure of a trace's fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tiersim._base.errors import DependencyError
from tiersim.experiments.figures import DASHES, PAGE, PALETTE, style
from tiersim.experiments.trace_doctor import Info

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_info"]


def draw_info(info: Info) -> Figure:
    """Three panels: requests within a reuse distance, requests by rank, and the working set over the trace.

    Raises DependencyError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure as Made
    except ImportError:
        raise DependencyError("a figure needs matplotlib", None, "pip install 'tiersim[report]'") from None
    from matplotlib.ticker import NullFormatter

    with style():
        figure = Made(figsize=(PAGE, 2.4))
        reuse, ranks, working = figure.subplots(1, 3)
        distances, share = info.drawn["curve"]
        few = np.unique(np.geomspace(1, len(distances), 400).round().astype(int)) - 1  # as many as a panel can show
        reuse.plot(distances[few], 100 * share[few], color=PALETTE[1], drawstyle="steps-post")
        reuse.set_ylim(0, 100)
        _label(reuse, f"reuse distance ({info.unit})", "requests within it (%)", x_log=True)

        at, count = info.drawn["ranks"]
        ranks.plot(at, count, color=PALETTE[1])
        slope, last = info.popularity.zipf_slope, info.popularity.last
        if slope is not None and last is not None:
            ends = np.array([1.0, last])
            held = at <= last
            middle = np.exp(np.mean(np.log(count[held])) + slope * np.mean(np.log(at[held])))
            ranks.plot(ends, middle * ends**-slope, color=PALETTE[2], linestyle=DASHES[1], label=f"slope {slope:.2f}")
            ranks.legend()
        ranks.set_yscale("log")
        ranks.yaxis.set_minor_formatter(NullFormatter())
        _label(ranks, "rank", "requests", x_log=True)

        ends = np.array([row["end"] for row in info.working_set])
        held = np.array([row["objects"] for row in info.working_set])
        working.plot(ends, held, color=PALETTE[1], drawstyle="steps-pre")
        working.set_ylim(bottom=0)
        _label(working, "requests", f"{info.unit} asked for", x_log=False)
        figure.suptitle(f"{info.trace}: {info.records:,} records")
    return figure


def _label(axes: Axes, x: str, y: str, *, x_log: bool) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

    if x_log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(EngFormatter(sep=""))  # 10k, as sizes are written
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True)
