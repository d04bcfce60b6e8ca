"""What all figures share: sizes, colours that any eye tells apart, titles, axes and legends."""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import DependencyError
from tiersim.experiments.figures.series import Picked, Spec
from tiersim.experiments.figures.words import text_of, words
from tiersim.experiments.results import StudyResult
from tiersim.experiments.scenario import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLUMN",
    "DASHES",
    "HATCHES",
    "LETTER",
    "MARKERS",
    "PAGE",
    "PALETTE",
    "WIDTHS",
    "at_least",
    "axis_label",
    "begin",
    "encode",
    "factor_axis",
    "far_apart",
    "legend",
    "look",
    "marker",
    "metric_axis",
    "metric_of",
    "style",
    "titled",
    "width_of",
    "without_unit",
]

COLUMN, PAGE = 3.5, 7.0  # inches: one column of a paper, and both
WIDTHS = {"column": COLUMN, "page": PAGE}
LETTER = 0.062  # inches: the mean width of a letter at 8 point
PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # its yellow is lost on white
MARKERS = "osD^vPX<"
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
HATCHES = ("", "////", "----", "\\\\\\\\", "xxxx")  # of lines only: dots make an SVG ten times larger
MOST_TICKS = 60  # of an axis: more are drawn with a label alone
LOG_FROM = 8  # a logarithmic axis once the largest value is so many times the smallest
STYLE: Any = {  # a dict; newer matplotlibs type its keys
    "axes.edgecolor": "#444444",
    "axes.formatter.useoffset": False,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 8,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 8,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # TrueType, which publishers ask for
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "tiersim",
    "text.parse_math": False,  # a dollar in a label is a dollar
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


NOTHING = {  # what matplotlib writes of itself and of today
    "png": ("Software",),
    "svg": ("Date", "Creator", "Format", "Type"),
    "pdf": ("CreationDate", "Creator", "Producer"),
}


def encode(figure: Figure, kind: Literal["png", "svg", "pdf"]) -> bytes:
    """A figure as the bytes of a file (PNG at 200 dots an inch), without dates: equal figures, equal bytes."""
    nothing: dict[str, None] = dict.fromkeys(NOTHING[kind])
    sink = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a label in a script that the font lacks
        figure.savefig(sink, format=kind, metadata=nothing)
    return sink.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """The settings of all figures while one is made. Raises DependencyError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise DependencyError("a figure needs matplotlib", None, "pip install 'tiersim[report]'") from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's own settings
        matplotlib.rcParams.update(STYLE)
        yield


def metric_of(result: StudyResult, name: str) -> Metric:
    return result.metrics.get(name) or Metric(name, "ratio" if name.endswith("_ratio") else "", "")


def axis_label(metric: Metric) -> str:
    unit = "%" if metric.unit == "ratio" else metric.unit
    return f"{words(metric.name)} ({unit})" if unit else words(metric.name)


def titled(spec: Spec, picked: Picked) -> tuple[str, str]:
    """What stands over a figure: what it shows, and what is kept and what each mean is of."""
    over = {"what_if": "by variant", "time": "over the trace"}.get(spec["x"], f"over {words(spec['x'])}")
    said = spec.get("title") or f"{words(spec['y'])} {over}"
    said = said if spec.get("title") else said[:1].upper() + said[1:]
    kept = {**(spec.get("where") or {}), **picked.held}
    small = [f"{words(name)}: {text_of(value)}" for name, value in kept.items()]
    if picked.by and picked.joined and len(picked.series) == 1:
        small.append(f"the same for every {words(picked.by)}")
    if picked.note:
        small.append(picked.note)
    if picked.in_step:
        small.append(f"{' and '.join(map(words, picked.in_step))} in step")
    if picked.many:
        small.append(f"mean and range of {picked.many}")
    return said, "; ".join(small)


def begin(result: StudyResult, spec: Spec, picked: Picked, width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure whose axes have this height (inches) when title and legend have theirs.

    It has this width unless the study says another one.
    """
    from matplotlib.figure import Figure

    width = WIDTHS.get(spec.get("width") or "", width)
    title = "\n".join(textwrap.fill(line, int(width / LETTER)) for line in titled(spec, picked) if line)
    labels = _legend_labels(picked)
    lines = 1 + max((label.count("\n") for label in labels), default=0)
    rows = lines * math.ceil(len(labels) / _legend_columns(labels, width)) + bool(_legend_title(picked))
    figure = Figure(figsize=(width, height + 0.16 * (title.count("\n") + 1) + 0.15 * rows + 0.5))
    axes = figure.subplots()
    figure.suptitle(title, x=0.01, ha="left")
    axes.set_axisbelow(True)
    return figure, axes


def _legend_labels(picked: Picked) -> list[str]:
    if len(picked.series) < 2:
        return []
    out = []
    for one in picked.series:
        short = " = ".join(one.labels)
        out.append(short if len(short) <= 46 else "\n= ".join(textwrap.fill(label, 44) for label in one.labels))
    return out


def _legend_title(picked: Picked) -> str:
    """Names of variants speak for themselves, other values need the name of their factor."""
    return "" if picked.by in (None, "what_if") or len(picked.series) < 2 else words(str(picked.by))


def _legend_columns(labels: list[str], width: float) -> int:
    widest = max((len(line) for label in labels for line in label.split("\n")), default=1)
    return max(1, min(len(labels), int(width / LETTER / (widest + 8))))


def width_of(axes: Axes) -> float:
    """Inches from side to side of the figure."""
    figure: Any = axes.figure
    return float(figure.get_figwidth())


def legend(figure: Figure, picked: Picked, handles: Sequence[Any]) -> None:
    labels = _legend_labels(picked)
    if labels:
        width = float(figure.get_size_inches()[0])
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=_legend_columns(labels, width),
            title=_legend_title(picked) or None,
        )


def metric_axis(result: StudyResult, axes: Axes, name: str, which: Literal["x", "y"] = "y") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    metric = metric_of(result, name)
    axis = axes.yaxis if which == "y" else axes.xaxis
    times = 100 if metric.unit == "ratio" else 1
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(times * value)))
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    label = textwrap.fill(axis_label(metric), 34)
    if which == "y":
        axes.set_ylabel(label)
    else:
        axes.set_xlabel(label)
    axes.grid(axis=which)


def _short(value: float) -> str:
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and size > 1e3):
            return f"{value / size:.4g} {sign}"
    return f"{value:.6g}"


def look(place: int) -> dict[str, Any]:
    return {"color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place % len(DASHES)]}


def marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]


def without_unit(texts: list[str]) -> tuple[list[str], str]:
    """Amounts without their unit, and the unit, where they share one."""
    split = [re.fullmatch(r"\s*([\d._]+)\s*(.*)", text) for text in texts]
    shared = {match[2] for match in split if match}
    return ([match[1] for match in split if match], shared.pop()) if len(shared) == 1 and all(split) else (texts, "")


def far_apart(at: NDArray[np.float64]) -> bool:
    """Whether an axis with these values is better logarithmic."""
    return bool(at[0] > 0 and at[-1] / at[0] >= LOG_FROM)


def factor_axis(
    axes: Axes, name: str, xs: list[Any], at: NDArray[np.float64], real: bool, log: bool | None = None
) -> None:
    """Ticks at these values, in the words of the study; the unit in the label when they share one.

    Without a word on `log` the axis is logarithmic where the values are far apart.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    texts = [text_of(x) for x in xs]
    unit = ""
    if real:
        texts, unit = without_unit(texts)
    places = at
    if log or (log is None and real and far_apart(at)):
        axes.set_xscale("log", base=2)
        places = np.log2(at)
    room = width_of(axes) - 0.9
    if real:
        span = float(places[-1] - places[0]) or 1.0
        texts = _thinned(texts, (places - places[0]) / span * room)
        if len(texts) > MOST_TICKS:
            at, texts = at[[bool(text) for text in texts]], [text for text in texts if text]
    axes.xaxis.set_major_locator(FixedLocator(at.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    if real:
        axes.set_xticklabels(texts)
    else:
        letters = int(room / LETTER / len(texts)) - 1
        if max(len(word) for text in texts for word in text.split() or [text]) <= letters:
            axes.set_xticklabels([textwrap.fill(text, letters) for text in texts])
        else:
            short = [text if len(text) <= 24 else f"{text[:22]} ..." for text in texts]
            axes.set_xticklabels(short, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlabel(f"{words(name)} ({unit})" if unit else words(name))


def _thinned(texts: list[str], inches: NDArray[np.float64]) -> list[str]:
    """Tick labels without those that would run into the one before."""
    out: list[str] = []
    free = -math.inf
    for text, middle in zip(texts, inches):
        half = (len(text) + 1) * LETTER / 2
        fits = middle - half >= free
        out.append(text if fits else "")
        free = middle + half if fits else free
    return out


def at_least(axes: Axes) -> None:
    """Keep differences in the noise small to the eye: the axis spans a fiftieth of its greatest value at least."""
    low, high = axes.get_ylim()
    lack = max(abs(low), abs(high)) / 50 - (high - low)
    if lack > 0:
        axes.set_ylim(low - lack / 2, high + lack / 2)
