"""The folder `paper/` of a study: figures, tables and citations as files, and a page that shows them all.

paper/
    figures/NAME-column.pdf, .svg, .png, NAME-page.pdf, ...
                        3.5 and 7 inches wide, with no title: that is the caption
    tables/NAME.csv, NAME.tex
    all.tex             figures, tables and references on a few pages, to see them and to copy from
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tiersim._base.errors import StudyError
from tiersim.experiments.figures import WIDTHS, default_figures, draw, encode, style
from tiersim.experiments.paper.latex import escaped, label, to_latex
from tiersim.experiments.paper.references import bibtex, merged
from tiersim.experiments.paper.sources import sources
from tiersim.experiments.paper.tables import MOST_ROWS, grids, printed, to_csv
from tiersim.experiments.report.page import file_name
from tiersim.experiments.results import StudyResult
from tiersim.experiments.store import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Paper", "write_paper"]

KINDS: tuple[Literal["pdf", "svg", "png"], ...] = ("pdf", "svg", "png")
LINE = 0.16  # inches that a line of a title takes
MOST_FLOATS = 12  # that LaTeX is given at once


@dataclass
class Paper:
    """What was written: figures and tables by name, each with its caption and files, and what could not be."""

    folder: Path
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    references: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "folder": str(self.folder)}

    def lines(self) -> list[str]:
        """What was written, as a person reads it."""
        files, kinds = sum(len(held["files"]) for held in self.figures.values()), ", ".join(KINDS)
        return [
            f"paper: {self.folder}",
            f"  figures: {len(self.figures)}, one column and two columns wide, each as {kinds} ({files} files)",
            f"  tables: {', '.join(self.tables)}, each as CSV and LaTeX",
            f"  references.bib: {len(self.references)} works; sources.md says what each number is from",
            *(f"  {line}" for line in self.missing),
        ]


def write_paper(result: StudyResult) -> Paper:
    """Write the folder `paper/` of a study; a figure that cannot be drawn is left out with its reason.

    Raises StudyError where a file cannot be written, and DependencyError without matplotlib.
    """
    assert result.folder is not None, "only a study in a folder has one for papers"
    paper = Paper(result.folder / "paper")
    for name, caption, sizes in _figures(result, paper.missing):
        files = []
        for width, figure in sizes.items():
            for kind in KINDS:
                files.append(f"figures/{name}-{width}.{kind}")
                write_bytes(paper.folder / files[-1], encode(figure, kind))
        paper.figures[name] = {"caption": caption, "files": files}
    for grid in grids(result):
        files = [f"tables/{grid.name}.csv"]
        write_bytes(paper.folder / files[0], to_csv(grid).encode())
        shown = printed(grid)
        if shown is None:
            paper.missing.append(f"tables/{grid.name}.tex: not typeset, {len(grid.rows):,} rows are over {MOST_ROWS}")
        elif shown.rows:
            files.append(f"tables/{grid.name}.tex")
            write_bytes(paper.folder / files[1], to_latex(shown, result.study).encode())
        paper.tables[grid.name] = {"caption": grid.caption, "rows": len(grid.rows), "files": files}
    found = sources(result)
    works = merged(found.references)
    paper.references = [{"key": key, "said": one.said, "for": one.used, **one.fields} for key, one in works.items()]
    write_bytes(paper.folder / "references.bib", bibtex(works).encode())
    write_bytes(paper.folder / "sources.md", found.markdown().encode())
    write_bytes(paper.folder / "all.tex", _document(result.study, paper).encode())
    return paper


def _figures(result: StudyResult, missing: list[str]) -> Iterator[tuple[str, str, dict[str, Figure]]]:
    """Each figure with its name, its caption, and as it is in each width."""
    taken: set[str] = set()
    for spec in result.figures or default_figures(result):
        name = file_name(spec, taken)
        try:
            drawn = {width: draw(result, {**spec, "width": width}) for width in WIDTHS}
        except StudyError as error:
            missing.append(f"{error.message}; {error.remedy}")
            continue
        taken.add(name)
        yield (name, *_untitled(drawn))
    for section in result.sections():
        for drawing in section.drawings:
            drawn = {width: _resized(drawing.draw, inches) for width, inches in WIDTHS.items()}
            yield drawing.name, drawing.caption, _untitled(drawn)[1]


def _resized(draw: Callable[[], Figure], inches: float) -> Figure:
    with style():
        figure = draw()
    figure.set_size_inches(inches, figure.get_figheight())
    return figure


def _untitled(sizes: dict[str, Figure]) -> tuple[str, dict[str, Figure]]:
    """The caption of a figure, and the figures without it."""
    caption = ""
    for figure in sizes.values():
        title = figure.get_suptitle()
        if title:
            caption = title.replace("\n", ". ", 1).replace(
                "\n", " "
            )  # the last is the widest: none of its lines is broken
            figure.suptitle("")
            width, height = figure.get_size_inches()
            figure.set_size_inches(width, height - LINE * (title.count("\n") + 1))
    return caption, sizes


def _document(study: str, paper: Paper) -> str:
    lines = [
        "% Every figure and table of the study, to look at and to copy from: latexmk -pdf all.tex",
        "\\documentclass[twocolumn]{article}",
        # columns of 3.5 inches
        "\\usepackage[letterpaper,textwidth=7.25in,textheight=9.5in,columnsep=0.25in]{geometry}",
        "\\usepackage{booktabs,graphicx,url}",
        "\\begin{document}",
        f"\\section*{{{escaped(study)}}}",
    ]
    for place, (name, held) in enumerate(paper.figures.items()):
        lines += ["\\clearpage"] if place and not place % MOST_FLOATS else []
        lines += [
            "\\begin{figure}[t]",
            "\\centering",
            f"\\includegraphics{{{{figures/{name}-column}}.pdf}} % for both columns: figure*, {name}-page",
            f"\\caption{{{escaped(held['caption'])}}}",
            f"\\label{{{label('fig:', study, name)}}}",
            "\\end{figure}",
        ]
    lines += [f"\\input{{{file}}}" for held in paper.tables.values() for file in held["files"] if file.endswith(".tex")]
    lines += [
        "\\clearpage",
        "\\nocite{*}",
        "\\bibliographystyle{plain}",
        "\\bibliography{references}",
        "\\end{document}",
    ]
    return "\n".join(lines) + "\n"
