"""The page of a report and the files of its figures.

The page holds the results once, as columns that its script draws from, and what a reader without JavaScript needs as
plain HTML. It asks for nothing beyond itself: its policy (Content-Security-Policy) forbids every request.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiersim._base.errors import StudyError
from tiersim.experiments.claims.show import counted
from tiersim.experiments.figures import COLUMN, default_figures, draw, encode
from tiersim.experiments.figures.interactive import chart
from tiersim.experiments.report.answers import answers
from tiersim.experiments.report.data import columns, library, packed
from tiersim.experiments.report.tables import (
    WRITTEN,
    Table,
    audit_table,
    claim_table,
    grid_table,
    metric_table,
    run_table,
    setting_table,
    variant_table,
)
from tiersim.experiments.results import StudyResult, differing
from tiersim.experiments.sections import Section
from tiersim.experiments.store import write_bytes

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

__all__ = ["file_name", "write_report"]

TEMPLATES = Path(__file__).parents[1] / "templates"
PACKAGES = ("jinja2", "matplotlib", "plotly")
INLINE = 250_000  # bytes of an SVG that stands in the page
SENTENCES = 8  # of an analysis that are read at once; where there are more, the rest unfolds
LONG = 100_000  # characters of a configuration that stands in the page as it is


@dataclass
class Picture:
    """A figure in the page; `place` is that of its data, None for a drawing alone."""

    name: str
    caption: str
    wide: bool
    drawn: Markup
    place: int | None = None


@dataclass
class Part:
    """A section that an analysis adds."""

    name: str
    title: str
    text: tuple[str, ...]
    tables: list[Table]
    pictures: list[Picture]


def write_report(result: StudyResult) -> list[str]:
    """Write ``report.html`` and ``figures/*.png, *.svg`` into the folder of a study; gives the lines to print.

    A figure that cannot be drawn is left out with its reason. Without a folder nothing is written, and without the
    packages of the extra ``report`` neither: the line says how to install them.
    """
    if result.folder is None:
        return []
    if any(find_spec(name) is None for name in PACKAGES):
        return ["report: not written, it needs matplotlib, plotly and jinja2: pip install 'tiersim[report]'"]
    import jinja2

    pictures, charts, missing = _figures(result, result.folder)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["ticked"] = _ticked
    page = environment.get_template("report.html.j2").render(_content(result, pictures, charts, missing))
    write_bytes(result.folder / "report.html", page.encode())
    lines = [f"report: {result.folder / 'report.html'}"]
    if pictures:
        lines.append(f"figures: {result.folder / 'figures'} ({len(pictures)}, each as PNG and SVG)")
    return lines + missing


def _figures(result: StudyResult, folder: Path) -> tuple[list[Picture], list[dict[str, Any]], list[str]]:
    pictures: list[Picture] = []
    charts: list[dict[str, Any]] = []
    missing: list[str] = []
    for spec in result.figures or default_figures(result):
        name = file_name(spec, {picture.name for picture in pictures})
        try:
            figure = draw(result, spec)
            charts.append(chart(result, spec))
        except StudyError as error:
            missing.append(f"{error.message}; {error.remedy}")
            continue
        svg = encode(figure, "svg")
        write_bytes(folder / "figures" / f"{name}.svg", svg)
        write_bytes(folder / "figures" / f"{name}.png", encode(figure, "png"))
        caption = figure.get_suptitle().replace("\n", ". ", 1).replace("\n", " ")
        wide, place = figure.get_figwidth() > COLUMN, len(pictures)
        pictures.append(Picture(name, caption, wide, _drawn(figure, svg, f"figure-{place + 1}-"), place))
    return pictures, charts, missing


def file_name(spec: dict[str, Any], taken: set[str]) -> str:
    """The name of a figure's files, without their ending."""
    parts = [spec["y"], "over", spec["x"], *(["by", spec["by"]] if spec.get("by") else [])]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")
    last = next(count for count in range(1, len(taken) + 2) if (name if count == 1 else f"{name}-{count}") not in taken)
    return name if last == 1 else f"{name}-{last}"


def _drawn(figure: Figure, svg: bytes, prefix: str) -> Markup:
    """A figure as an element of a page: the SVG, or a PNG where that has many thousand marks."""
    from markupsafe import Markup

    if len(svg) > INLINE:
        return Markup('<img alt="" src="data:image/png;base64,{}">').format(b64encode(encode(figure, "png")).decode())
    return Markup(_inline(svg.decode(), prefix))


def _inline(svg: str, prefix: str) -> str:
    """An SVG file as an element of a page: no prologue and no comments, and ids that no other figure has."""
    svg = re.sub(r"<!--.*?-->\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()


def _content(
    result: StudyResult, pictures: list[Picture], charts: list[dict[str, Any]], missing: list[str]
) -> dict[str, Any]:
    assert result.folder is not None
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", result.question) if part.strip()]
    summaries = result.compare()
    claims, audits = claim_table(result), audit_table(result)
    variants, runs, metrics = variant_table(result, summaries), run_table(result, summaries), metric_table(result)
    configuration = setting_table(result)
    parts = _parts(result.sections())
    tables = [held for held in (variants, claims, runs, metrics, audits, configuration) if held is not None]
    tables += [table for part in parts for table in part.tables]
    resolved = result.folder / "resolved.yaml"
    text = resolved.read_text(encoding="utf-8") if resolved.exists() else ""
    data = columns(result, summaries, tables)
    return {
        "result": result,
        "written": WRITTEN,
        "few": SENTENCES,
        "title": paragraphs[0] if paragraphs else result.study,
        "paragraphs": paragraphs[1:],
        "version": import_module("tiersim").__version__,  # the front door's one fact that all floors may know
        "compared": "what_if" in differing(result.rows),
        "seeds": len({row.seed for row in result.rows}) > 1,
        "answers": answers(result, summaries),
        "counted": counted(result.verdicts()) if claims else "",
        "variants": variants,
        "claims": claims,
        "runs": runs,
        "metrics": metrics,
        "audits": audits,
        "configuration": configuration,
        "parts": parts,
        "failed": [row for row in result.rows if row.status != "done"],
        "pictures": pictures,
        "missing": missing,
        "sources": list(_flat(result.provenance)),
        "resolved": text if len(text) <= LONG else "",
        "style": _raw("report.css"),
        "script": _raw("report.js"),
        "library": library(),
        "charts": packed(charts),
        "data": packed(data | ({"resolved": text} if len(text) > LONG else {})),
    }


def _ticked(text: str) -> Markup:
    """Text whose `parts` in ticks are code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _raw(name: str) -> Markup:
    from markupsafe import Markup

    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _parts(sections: list[Section]) -> list[Part]:
    parts: list[Part] = []
    taken: list[str] = []
    for place, section in enumerate(sections, 1):
        tables = []
        for grid in section.grids:
            tables.append(grid_table(grid, taken))
            taken.append(tables[-1].name)
        pictures = []
        for count, drawing in enumerate(section.drawings, 1):
            figure = drawing.draw()
            drawn = _drawn(figure, encode(figure, "svg"), f"section-{place}-{count}-")
            pictures.append(Picture(drawing.name, drawing.caption, figure.get_figwidth() > COLUMN, drawn))
        parts.append(Part(f"section-{place}", section.title, section.text, tables, pictures))
    return parts


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
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
