"""The figures of a study: bars over variants, lines over a swept quantity, clouds of drawn points, the course of a run.

Made for a paper's column (3.5 or 7 inches, 8 point) and for readers of any eyesight: the palette of Okabe and Ito
(Color Universal Design, 2008), and what colours tell apart, markers and dashes tell apart too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiersim.experiments.figures.canvas import COLUMN, DASHES, MARKERS, PAGE, PALETTE, WIDTHS, encode, style
from tiersim.experiments.figures.charts import draw_bars, draw_course, draw_lines
from tiersim.experiments.figures.cloud import draw_cloud
from tiersim.experiments.figures.derived import derived
from tiersim.experiments.figures.reuse import draw_reuse
from tiersim.experiments.figures.series import Spec, done, matches, values_of
from tiersim.experiments.figures.words import amounts, text_of, words
from tiersim.experiments.results import StudyResult, differing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLUMN",
    "DASHES",
    "MARKERS",
    "PAGE",
    "PALETTE",
    "WIDTHS",
    "amounts",
    "default_figures",
    "draw",
    "encode",
    "style",
    "text_of",
    "words",
]


def default_figures(result: StudyResult) -> list[Spec]:
    """The figures of a study that names none.

    Bars of each shown metric over what_if if that varies, lines (or the points of a design) of the last shown metric
    over each swept key, and the miss ratio of the lowest cache over the course of the baseline's runs. Metrics that no
    run has are left out.
    """
    rows = done(result)
    varied = differing(rows)
    swept = [name for name in varied if name not in ("what_if", "seed")]
    shown = [name for name in result.shown if any(name in row.metrics for row in rows)]
    few = [name for name in swept if len(values_of(result, rows, name)) <= 4]
    made: list[Spec] = []
    if "what_if" in varied:
        made += [_spec("what_if", name, few[0] if few else None) for name in shown]
    for key in swept if shown else []:
        others = ("what_if", *(few if result.drawn else swept))
        other = next((name for name in others if name in varied and name != key), None)
        made.append(_spec(key, shown[-1], other))
    only = {"what_if": result.baseline} if "what_if" in varied else {}
    courses = (row.windows for row in rows if matches(result, row, only))
    ratios = next((found for held in courses if (found := [name for name in held if name.endswith("miss_ratio")])), [])
    if ratios:
        over = few if result.drawn else swept
        made.append(_spec("time", ratios[-1], over[0] if over else None) | {"where": only})
    return made


def draw(result: StudyResult, spec: Spec) -> Figure:
    """One figure of a study.

    `spec` holds ``x`` (a factor, ``what_if``, ``time``, or ``reuse`` for how often lines were hit before they left),
    ``y`` (a metric), ``by`` (the factor that makes the lines apart, what_if if it varies), ``title``, ``width``
    (``column`` or ``page``), ``where`` (factors that are kept at a value), and what `derived` works out. Other factors
    that vary are kept at the baseline or at their first value, and the title says so, unless they go in step with x;
    several seeds are drawn as their mean with the range from least to greatest. A factor of a design has no value to be
    kept at: over one of them all points are shown, and over others their mean and range. Raises StudyError when no run
    has what is asked for.
    """
    result, spec = derived(result, spec)
    with style():
        if spec["x"] == "reuse":
            return draw_reuse(result, spec)
        if spec["x"] == "time":
            return draw_course(result, spec)
        if spec["x"] in ("what_if", "trace"):  # which have no order
            return draw_bars(result, spec)
        if spec["x"] in result.drawn:
            return draw_cloud(result, spec)
        return draw_lines(result, spec)


def _spec(x: str, y: str, by: str | None) -> Spec:
    return {"x": x, "y": y, "by": by, "title": None}
