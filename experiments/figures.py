"""The figures of a study: bars over variants, lines over a swept quantity, metrics over the course of a run.

Made for a paper's column (3.5 or 7 inches, 8 point) and for readers of any eyesight: the palette of Okabe and Ito
(Color Universal Design, 2008), and what colours tell apart, markers and dashes tell apart too.
"""

from __future__ import annotations

import io
import json
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base import units
from tiersim._base.errors import StudyError, UnitError
from tiersim.experiments.results import Row, StudyResult, differing
from tiersim.experiments.scenario import Metric
from tiersim.experiments.table import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

__all__ = ["amounts", "default_figures", "draw", "encode", "text_of", "words"]

Spec = dict[str, Any]

COLUMN, PAGE = 3.5, 7.0  # inches: one column of a paper, and both
LETTER = 0.062  # inches: the mean width of a letter at 8 point
PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # its yellow is lost on white
MARKERS = "osD^vPX<"
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
HATCHES = ("", "////", "----", "\\\\\\\\", "xxxx")  # of lines only: dots make an SVG ten times larger
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
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "tiersim",
    "text.parse_math": False,  # a dollar in a label is a dollar
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass
class Series:
    """What is drawn as one line or one set of bars; `place` decides its colour, the same in every figure."""

    labels: list[str]
    place: int
    ends: tuple[float, ...] = ()
    points: dict[str, list[Any]] = field(default_factory=dict)  # by the text of x; an entry a seed

    def range(self, x: str) -> tuple[float, float, float]:
        """Mean, least and greatest over the seeds; not-a-number where there is no run."""
        held = self.points.get(x)
        return (sum(held) / len(held), min(held), max(held)) if held else (math.nan, math.nan, math.nan)

    def columns(self, xs: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        mean, low, high = np.array([self.range(x) for x in xs]).T
        return mean, low, high

    def errors(self, xs: Sequence[str]) -> NDArray[np.float64]:
        """How far the range lies below and above the mean; no range where nothing is random."""
        mean, low, high = self.columns(xs)
        return np.where(high > low, np.maximum([mean - low, high - mean], 0.0), math.nan)


@dataclass
class Picked:
    """The runs of one figure, in series."""

    series: list[Series]
    xs: list[Any]
    by: str | None
    held: dict[str, Any]
    seeds: int
    joined: bool


def default_figures(result: StudyResult) -> list[Spec]:
    """The figures of a study that names none.

    Bars of each shown metric over what_if if that varies, lines of the last shown metric over each swept key, and the
    miss ratio of the lowest cache over the course of the baseline's runs. Metrics that no run has are left out.
    """
    rows = _done(result)
    varied = differing(rows)
    swept = [name for name in varied if name not in ("what_if", "seed")]
    shown = [name for name in result.shown if any(name in row.metrics for row in rows)]
    made: list[Spec] = []
    if "what_if" in varied:
        few = [name for name in swept if len(_values(result, rows, name)) <= 4]
        made += [_spec("what_if", name, few[0] if few else None) for name in shown]
    for key in swept if shown else []:
        other = next((name for name in ("what_if", *swept) if name in varied and name != key), None)
        made.append(_spec(key, shown[-1], other))
    ratios = [name for row in rows for name in row.windows if name.endswith("miss_ratio")]
    if ratios:
        only = {"what_if": result.baseline} if "what_if" in varied else {}
        if not only or any(ratios[-1] in row.windows and _matches(result, row, only) for row in rows):
            made.append(_spec("time", ratios[-1], swept[0] if swept else None) | {"where": only})
    return made


def draw(result: StudyResult, spec: Spec) -> Figure:
    """One figure of a study.

    `spec` holds ``x`` (a factor, ``what_if`` or ``time``), ``y`` (a metric), ``by`` (the factor that makes the lines
    apart, what_if if it varies), ``title``, and ``where`` (factors that are kept at a value). Other factors that vary
    are kept at the baseline or at their first value, and the title says so; several seeds are drawn as their mean with
    the range from least to greatest. Raises StudyError when no run has what is asked for.
    """
    with style():
        if spec["x"] == "time":
            return _over_time(result, spec)
        if spec["x"] == "what_if":
            return _bars(result, spec)
        return _lines(result, spec)


def encode(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """A figure as the bytes of a file (PNG at 200 dots an inch), without dates: equal figures, equal bytes."""
    nothing: dict[str, None] = (
        {"Date": None, "Creator": None, "Format": None, "Type": None} if kind == "svg" else {"Software": None}
    )
    sink = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a label in a script that the font lacks
        figure.savefig(sink, format=kind, metadata=nothing)
    return sink.getvalue()


def words(name: str) -> str:
    """The plain name of a metric or factor: ``caches.l2.miss_ratio`` is `L2 miss ratio`."""
    if name == "what_if":
        return "variant"
    parts = name.split(".")
    if len(parts) > 1 and parts[0] == "system":
        parts = parts[1:]
    if len(parts) > 1 and parts[0] == "caches":
        parts = parts[1:]
    found = " ".join(parts).replace("_", " ").split()
    return " ".join(re.sub(r"^(l\d|mpki$|tlb$)", lambda match: match[1].upper(), word) for word in found)


def text_of(value: Any) -> str:
    """The value of a factor as a reader knows it from the study file."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text_of(held)}" for key, held in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(held) for held in value)
    return value if isinstance(value, str) else json.dumps(value)


def amounts(values: Sequence[Any]) -> list[float] | None:
    """All values as numbers of one base unit, or None when they are not quantities of one dimension."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    for dimension in units.DIMENSIONS:
        try:
            return [float(units.parse(value, dimension).amount) for value in values]
        except UnitError:
            continue
    return None


@contextmanager
def style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's own settings
        matplotlib.rcParams.update(STYLE)
        yield


def _spec(x: str, y: str, by: str | None) -> Spec:
    return {"x": x, "y": y, "by": by, "title": None}


def _done(result: StudyResult) -> list[Row]:
    return [row for row in result.rows if row.status == "done"]


def _factor(result: StudyResult, row: Row, name: str) -> Any:
    return row.factors.get(name, result.baseline if name == "what_if" else None)


def _matches(result: StudyResult, row: Row, where: dict[str, Any]) -> bool:
    return all(text_of(_factor(result, row, name)) == text_of(value) for name, value in where.items())


def _values(result: StudyResult, rows: Sequence[Row], name: str) -> list[Any]:
    """The different values of a factor in the order of the study."""
    return list({text_of(value): value for row in rows if (value := _factor(result, row, name)) is not None}.values())


def _pick(result: StudyResult, spec: Spec) -> Picked:
    x, y, over_time = spec["x"], spec["y"], spec["x"] == "time"
    where = dict(spec.get("where") or {})
    rows = [row for row in _done(result) if _matches(result, row, where)]
    if x not in ("time", "what_if"):
        rows = [row for row in rows if x in row.factors]
    known = sorted({name for row in rows for name in row.windows} - {"end"}) if over_time else []
    rows = [row for row in rows if y in (row.windows if over_time else row.metrics)]
    if not rows:
        hint = f"there are: {', '.join(known)}" if known else "see the reasons of failed and skipped runs"
        raise StudyError(f"no figure of {y} over {x}: no run that finished has it", None, hint)
    varied = [name for name in ("what_if", *differing(rows)) if len(_values(result, rows, name)) > 1]
    by: str | None = spec.get("by")
    if by is None and x != "what_if" and "what_if" in varied:
        by = "what_if"
    held: dict[str, Any] = {}
    for name in dict.fromkeys(varied):
        if name in (x, by, "seed"):
            continue
        there = _values(result, rows, name)
        chosen = result.baseline if name == "what_if" and result.baseline in there else there[0]
        rows = [row for row in rows if _matches(result, row, {name: chosen})]
        held[name] = chosen
    series = _series(result, rows, spec, by)
    seeds = max(len(values) for one in series for values in one.points.values())
    return Picked(_joined(series), [] if over_time else _values(result, rows, x), by, held, seeds, len(series) > 1)


def _series(result: StudyResult, rows: list[Row], spec: Spec, by: str | None) -> list[Series]:
    order = [text_of(value) for value in _values(result, result.rows, by)] if by else []
    if by == "what_if" and result.baseline in order:
        order.remove(result.baseline)
        order.insert(0, result.baseline)
    found: dict[tuple[str, tuple[float, ...]], Series] = {}
    for row in rows:
        label = text_of(_factor(result, row, by)) if by else ""
        ends = tuple(row.windows["end"]) if spec["x"] == "time" else ()
        one = found.setdefault((label, ends), Series([label], order.index(label) if label in order else 0, ends))
        if ends:
            one.points.setdefault("", []).append(np.array(row.windows[spec["y"]], float))
        else:
            one.points.setdefault(text_of(_factor(result, row, spec["x"])), []).append(float(row.metrics[spec["y"]]))
    return list(found.values())


def _joined(series: list[Series]) -> list[Series]:
    """Series that are equal become one that has all their names: drawn over each other only the last would be seen."""
    found: dict[str, Series] = {}
    for one in series:
        same = json.dumps([one.ends, {x: [np.asarray(held).tolist() for held in one.points[x]] for x in one.points}])
        if same in found:
            found[same].labels += one.labels
        else:
            found[same] = one
    return list(found.values())


def _metric(result: StudyResult, name: str) -> Metric:
    return result.metrics.get(name) or Metric(name, "ratio" if name.endswith("_ratio") else "", "")


def _axis_label(metric: Metric) -> str:
    unit = "%" if metric.unit == "ratio" else metric.unit
    return f"{words(metric.name)} ({unit})" if unit else words(metric.name)


def _title(result: StudyResult, spec: Spec, picked: Picked, width: float) -> str:
    over = {"what_if": "by variant", "time": "over the trace"}.get(spec["x"], f"over {words(spec['x'])}")
    said = spec.get("title") or f"{words(spec['y'])} {over}"
    said = said if spec.get("title") else said[:1].upper() + said[1:]
    kept = {**(spec.get("where") or {}), **picked.held}
    small = [f"{words(name)}: {text_of(value)}" for name, value in kept.items()]
    if picked.by and picked.joined and len(picked.series) == 1:
        small.append(f"the same for every {words(picked.by)}")
    if picked.seeds > 1:
        small.append(f"mean and range of {picked.seeds} seeds")
    letters = int(width / LETTER)
    return "\n".join(textwrap.fill(line, letters) for line in (said, "; ".join(small)) if line)


def _begin(result: StudyResult, spec: Spec, picked: Picked, width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure whose axes have this height (inches) when title and legend have theirs."""
    from matplotlib.figure import Figure

    title = _title(result, spec, picked, width)
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


def _legend(figure: Figure, picked: Picked, handles: Sequence[Any]) -> None:
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


def _scale_y(result: StudyResult, axes: Axes, name: str, which: Literal["x", "y"] = "y") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    metric = _metric(result, name)
    axis = axes.yaxis if which == "y" else axes.xaxis
    times = 100 if metric.unit == "ratio" else 1
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(times * value)))
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    label = textwrap.fill(_axis_label(metric), 34)
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


def _look(place: int) -> dict[str, Any]:
    return {"color": PALETTE[place % len(PALETTE)], "linestyle": DASHES[place % len(DASHES)]}


def _lines(result: StudyResult, spec: Spec) -> Figure:
    picked = _pick(result, spec)
    numbers = amounts(picked.xs)
    xs = picked.xs if numbers is None else [value for _, value in sorted(zip(numbers, picked.xs), key=lambda p: p[0])]
    at = np.arange(len(xs), dtype=float) if numbers is None else np.array(sorted(numbers))
    figure, axes = _begin(result, spec, picked, COLUMN, 2.0 if numbers is not None else 2.4)
    handles = []
    texts = [text_of(x) for x in xs]
    for one in picked.series:
        mean, low, high = one.columns(texts)
        look = _look(one.place)
        (line,) = axes.plot(at, mean, marker=MARKERS[one.place % len(MARKERS)], **look)
        handles.append(line)
        if picked.seeds > 1 and (numbers is None or len(xs) == 1):
            axes.errorbar(at, mean, one.errors(texts), fmt="none", ecolor=look["color"], elinewidth=0.8, capsize=2)
        elif picked.seeds > 1:
            axes.fill_between(at, low, high, color=look["color"], alpha=0.2, linewidth=0)
    _quantity_axis(axes, spec["x"], xs, at, numbers is not None)
    _scale_y(result, axes, spec["y"])
    _at_least(axes)
    _legend(figure, picked, handles)
    return figure


def _quantity_axis(axes: Axes, name: str, xs: list[Any], at: NDArray[np.float64], real: bool) -> None:
    """Ticks at the values that were run, in the words of the study; the unit in the label when they share one."""
    from matplotlib.ticker import FixedLocator, NullLocator

    texts = [text_of(x) for x in xs]
    unit = ""
    if real:
        split = [re.fullmatch(r"\s*([\d._]+)\s*(.*)", text) for text in texts]
        shared = {match[2] for match in split if match}
        if len(shared) == 1 and all(split):
            unit = shared.pop()
            texts = [match[1] for match in split if match]
    places = at
    if real and at[0] > 0 and at[-1] / at[0] >= LOG_FROM:
        axes.set_xscale("log", base=2)
        places = np.log2(at)
    axes.xaxis.set_major_locator(FixedLocator(at.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    room = COLUMN - 0.9
    if real:
        span = float(places[-1] - places[0]) or 1.0
        axes.set_xticklabels(_thinned(texts, (places - places[0]) / span * room))
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


def _at_least(axes: Axes) -> None:
    """Keep differences in the noise small to the eye: the axis spans a fiftieth of its greatest value at least."""
    low, high = axes.get_ylim()
    lack = max(abs(low), abs(high)) / 50 - (high - low)
    if lack > 0:
        axes.set_ylim(low - lack / 2, high + lack / 2)


def _bars(result: StudyResult, spec: Spec) -> Figure:
    """Bars that lie, since names of variants are long."""
    picked = _pick(result, spec)
    xs = [text_of(x) for x in picked.xs]
    names = [textwrap.fill(f"{x} (baseline)" if x == result.baseline else x, 24) for x in xs]
    groups = len(picked.series)
    slot = max(0.13 * groups + 0.1, 0.14 * (1 + max(name.count("\n") for name in names)) + 0.08, 0.26)
    figure, axes = _begin(result, spec, picked, COLUMN, slot * len(xs) + 0.1)
    unit = _metric(result, spec["y"]).unit
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
            xerr=one.errors(xs) if picked.seeds > 1 else None,
            error_kw=error,
        )
        handles.append(bars)
        _print_values(axes, bars, [(_written(value, unit), top) for value, top in zip(mean, high)])
    axes.set_yticks(np.arange(len(xs)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(xs) - 0.5, -0.5)
    _scale_y(result, axes, spec["y"], "x")
    _room_for_values(axes, names, picked, xs, unit)
    if groups == 1 and result.baseline in xs:
        axes.axvline(
            picked.series[0].range(result.baseline)[0], color="#777777", linewidth=0.8, linestyle=DASHES[1], zorder=0.9
        )
    _legend(figure, picked, handles)
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
    room = COLUMN - 0.25 - LETTER * max(len(line) for name in names for line in name.split("\n"))
    value = LETTER * (1 + max(len(_written(mean, unit)) for mean, _, _ in ranges))
    span = (top - low) or 1.0
    axes.set_xlim(low * 1.05, low + span / max(0.2, 1 - value / room))


def _over_time(result: StudyResult, spec: Spec) -> Figure:
    picked = _pick(result, spec)
    figure, axes = _begin(result, spec, picked, PAGE, 1.6)
    handles = []
    for one in picked.series:
        stack = np.array(one.points[""])
        ends = np.array([0.0, *one.ends]) * 100
        look = _look(one.place)
        line = axes.step(ends, _from_start(stack.mean(axis=0)), where="pre", **{**look, "linewidth": 1.0})[0]
        handles.append(line)
        if len(stack) > 1:
            low, high = _from_start(stack.min(axis=0)), _from_start(stack.max(axis=0))
            axes.fill_between(ends, low, high, step="pre", color=look["color"], alpha=0.2, linewidth=0)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the trace (%)")
    _scale_y(result, axes, spec["y"])
    if all(np.nanmin(one.points[""], initial=0.0) >= 0 for one in picked.series):
        axes.set_ylim(bottom=0)
    _legend(figure, picked, handles)
    return figure


def _from_start(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Window values with the first one twice: a step begins where its window does."""
    return np.concatenate([values[:1], values])
