"""The report of a study: one HTML file that opens anywhere, and its figures as files for a paper."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiersim._base.errors import StudyError
from tiersim.experiments.comparison import Compared, Summary, point, repeated
from tiersim.experiments.figures import COLUMN, amounts, default_figures, draw, encode, text_of, words
from tiersim.experiments.results import Row, StudyResult, differing
from tiersim.experiments.scenario import Metric
from tiersim.experiments.store import write_bytes
from tiersim.experiments.table import (
    change,
    change_with_reach,
    estimated,
    explained,
    mark,
    number,
    sureness,
    with_reach,
)

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["write_report"]

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Cell:
    """One cell of a table; `sort` is the number that orders it, `mark` is ``better``, ``worse`` or nothing."""

    text: str
    sort: float | None = None
    mark: str = ""


@dataclass
class Picture:
    """A figure in the page and as files."""

    name: str
    caption: str
    wide: bool
    svg: Markup


def write_report(result: StudyResult) -> list[str]:
    """Write ``report.html`` and ``figures/*.png, *.svg`` into the folder of a study; gives the lines to print.

    A figure that cannot be drawn is left out with its reason. Without a folder nothing is written, and without the
    packages of the extra ``report`` neither: the line says how to install them.
    """
    if result.folder is None:
        return []
    try:
        import jinja2
        import matplotlib  # noqa: F401  (the figures need it)
    except ImportError:
        return ["report: not written, it needs matplotlib and jinja2: pip install 'tiersim[report]'"]
    pictures, missing = _figures(result, result.folder)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("report.html.j2").render(_content(result, pictures, missing))
    write_bytes(result.folder / "report.html", page.encode())
    lines = [f"report: {result.folder / 'report.html'}"]
    if pictures:
        lines.append(f"figures: {result.folder / 'figures'} ({len(pictures)}, each as PNG and SVG)")
    return lines + missing


def _figures(result: StudyResult, folder: Path) -> tuple[list[Picture], list[str]]:
    from markupsafe import Markup

    pictures: list[Picture] = []
    missing: list[str] = []
    for spec in result.figures or default_figures(result):
        name = _file_name(spec, {picture.name for picture in pictures})
        try:
            figure = draw(result, spec)
        except StudyError as error:
            missing.append(f"{error.message}; {error.remedy}")
            continue
        svg = encode(figure, "svg")
        write_bytes(folder / "figures" / f"{name}.svg", svg)
        write_bytes(folder / "figures" / f"{name}.png", encode(figure, "png"))
        caption = figure.get_suptitle().replace("\n", ". ", 1).replace("\n", " ")
        inline = Markup(_inline(svg.decode(), f"figure-{len(pictures) + 1}-"))
        pictures.append(Picture(name, caption, figure.get_figwidth() > COLUMN, inline))
    return pictures, missing


def _file_name(spec: dict[str, Any], taken: set[str]) -> str:
    parts = [spec["y"], "over", spec["x"], *(["by", spec["by"]] if spec.get("by") else [])]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")
    last = next(count for count in range(1, len(taken) + 2) if (name if count == 1 else f"{name}-{count}") not in taken)
    return name if last == 1 else f"{name}-{last}"


def _inline(svg: str, prefix: str) -> str:
    """An SVG file as an element of a page: no prologue and no comments, and ids that no other figure has."""
    svg = re.sub(r"<!--.*?-->\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()


def _content(result: StudyResult, pictures: list[Picture], missing: list[str]) -> dict[str, Any]:
    assert result.folder is not None
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", result.question) if part.strip()]
    factors = differing(result.rows)
    compared = "what_if" in factors
    summaries = result.compare()
    varied = [name for name in factors if name != "seed"]
    resolved = result.folder / "resolved.yaml"
    return {
        "result": result,
        "words": words,
        "seeds": len({row.seed for row in result.rows}) > 1,
        "title": paragraphs[0] if paragraphs else result.study,
        "paragraphs": paragraphs[1:],
        "version": import_module("tiersim").__version__,  # the front door's one fact that all floors may know
        "compared": compared,
        "factors": [words(name) for name in factors] or ["run"],
        "variants": _variants(result, summaries, varied, compared) if repeated(result.rows) else [],
        "varied": [words(name) for name in varied] or ["variant"],
        "explained": explained(result, summaries),
        "shown": [_described(result, name) for name in result.shown],
        "runs": _runs(result, {point(held.factors): held for held in summaries}, factors, compared),
        "failed": [row for row in result.rows if row.status != "done"],
        "verdicts": result.verdicts(),
        "pictures": pictures,
        "missing": missing,
        "labels": _labels(result),
        "others": _others(result),
        "sources": list(_flat(result.provenance)),
        "resolved": resolved.read_text(encoding="utf-8") if resolved.exists() else "",
    }


def _described(result: StudyResult, name: str) -> Metric:
    return result.metrics.get(name) or Metric(name, "", "")


def _runs(
    result: StudyResult, summaries: dict[str, Summary], factors: list[str], compared: bool
) -> list[tuple[Row, list[Cell], list[Cell]]]:
    """Each run with the cells of its factors and those of its shown metrics."""
    columns = []
    for name in factors:
        values = [row.factors.get(name, result.baseline if name == "what_if" else "") for row in result.rows]
        given = [value for value in values if value != ""]  # a variant that no seed changes is run without one
        order = {text_of(value): amount for value, amount in zip(given, amounts(given) or ())}
        columns.append([Cell(text_of(value), order.get(text_of(value))) for value in values])
    heads = [list(cells) for cells in zip(*columns)] if columns else [[Cell(row.label)] for row in result.rows]
    seeds = repeated(result.rows)
    cells = [
        _measured(result, row, compared) if seeds else _estimates(result, summaries[point(row.factors)], compared)
        for row in result.rows
    ]
    return list(zip(result.rows, heads, cells, strict=True))


def _variants(
    result: StudyResult, summaries: list[Summary], varied: list[str], compared: bool
) -> list[tuple[list[Cell], list[Cell]]]:
    """Each variant over its seeds with the cells of its factors and those of its shown metrics."""
    return [
        (
            [Cell(text_of(held.factors.get(name, ""))) for name in varied] or [Cell(held.label)],
            _estimates(result, held, compared),
        )
        for held in summaries
    ]


def _estimates(result: StudyResult, summary: Summary, compared: bool) -> list[Cell]:
    """Cells of a variant, over its seeds or of its one run."""
    seeds, cells = repeated(result.rows), []
    for name in result.shown:
        metric, held = _described(result, name), summary.metrics.get(name)
        if held is None:
            cells += [Cell("-"), Cell("")] if compared else [Cell("-")]
            continue
        unit = metric.unit
        value = held.value.written(*estimated(held.value, unit)) if seeds else with_reach(held.value, unit)
        cells.append(Cell(value, held.value.value))
        if compared:
            sort = held.ratio.value - 1 if held.ratio else None
            cells.append(Cell(_against(held, unit, seeds), sort, mark(held, metric.better)))
    return cells


def _against(held: Compared, unit: str, seeds: bool) -> str:
    if held.difference is None:
        return ""
    by = [held.difference.written(*change(held, unit))] if seeds else change_with_reach(held, unit)
    return "; ".join([*by, *(sureness(held) if seeds or not held.told else [])])


def _measured(result: StudyResult, row: Row, compared: bool) -> list[Cell]:
    cells = []
    base = result.base_of(row)
    for name in result.shown:
        metric, value = _described(result, name), row.metrics.get(name)
        cells.append(_cell(value, metric.unit))
        if compared:
            cells.append(_change(value, base.metrics.get(name) if base else None, metric.better))
    return cells


def _cell(value: float | None, unit: str) -> Cell:
    if value is None or math.isnan(value):
        return Cell("-")
    return Cell(number(value, unit), value)


def _change(value: float | None, base: float | None, better: str) -> Cell:
    if value is None or base is None:
        return Cell("")
    mark = ""
    if better and value != base:
        mark = "better" if (value < base) == (better == "less") else "worse"
    return Cell(_relative(value, base), value / base - 1 if base else None, mark)


def _relative(value: float, base: float) -> str:
    """A value of one seed against that of the baseline, in per cent of it."""
    if value == base:
        return "="
    return f"{100 * (value / base - 1):+.3g} %" if base else "new"


def _labels(result: StudyResult) -> list[str]:
    """A name for each finished run, with the seed where there are several."""
    several = len({row.seed for row in result.rows}) > 1
    return [f"{row.label}, seed {row.seed}" if several else row.label for row in result.rows if row.status == "done"]


def _others(result: StudyResult) -> list[tuple[Metric, list[Cell]]]:
    """The metrics that are not in the main table, with a cell for each finished run."""
    rows = [row for row in result.rows if row.status == "done"]
    found = dict.fromkeys(name for row in rows for name in row.metrics if name not in result.shown)
    described = [_described(result, name) for name in found]
    return [(metric, [_cell(row.metrics.get(metric.name), metric.unit) for row in rows]) for metric in described]


def _flat(tree: Any, path: str = "") -> Any:
    """Nested provenance as pairs of a dotted name and a text."""
    if isinstance(tree, dict) and tree:
        for key, held in tree.items():
            yield from _flat(held, f"{path}.{key}" if path else str(key))
    elif tree is not None:
        yield path.replace("_", " "), " ".join(map(str, tree)) if isinstance(tree, list | tuple) else _plain(tree)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
