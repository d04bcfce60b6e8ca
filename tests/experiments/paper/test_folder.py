"""The folder for a paper, and `tiersim report`, which writes it from the folder of a study."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import tiersim
from tests.experiments.paper.tex import read_table
from tiersim._base.errors import StudyError
from tiersim.cli import main
from tiersim.experiments.opened import open_result
from tiersim.experiments.paper.folder import write_paper
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import StudyResult
from tiersim.experiments.sections import Column, Drawing, Grid, Section, Slot

Call = Callable[..., tuple[int, str, str]]
STUDY = """\
# Does a larger L1 help?
study: larger-l1
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 20k, footprint: 256 KiB, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
what_if:
  100 % more & larger_: {system.caches.l1.capacity: 8 KiB}
report:
  metrics: [caches.l1.miss_ratio, average_access_time]
"""
WIDTHS = {"column": 3.5, "page": 7.0}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a study that has run."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "s.yaml").write_text(STUDY, encoding="utf-8")
    tiersim.run(folder / "s.yaml", out=folder / "there")
    return folder / "there"


@pytest.fixture
def there(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in a folder of its own."""
    shutil.copytree(finished, tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    return Path("there")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line here: exit status, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return call


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def inflated(pdf: bytes) -> bytes:
    """A PDF with its streams unpacked."""
    parts = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    out = pdf
    for part in parts:
        try:
            out += zlib.decompress(part)
        except zlib.error:
            continue
    return out


def test_figures_are_in_every_format_and_width(there: Path) -> None:
    paper = write_paper(open_result(there))
    assert list(paper.figures) == [
        "caches.l1.miss-ratio-over-what-if",
        "average-access-time-over-what-if",
        "caches.l1.miss-ratio-over-time",
    ]
    for name, held in paper.figures.items():
        assert held["files"] == [f"figures/{name}-{width}.{kind}" for width in WIDTHS for kind in ("pdf", "svg", "png")]
        for file in held["files"]:
            data, inches = (there / "paper" / file).read_bytes(), WIDTHS[file.rpartition("-")[2].partition(".")[0]]
            if file.endswith("pdf"):
                (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", data)
                assert float(box) == pytest.approx(72 * inches)
            elif file.endswith("svg"):
                assert f'width="{72 * inches:.0f}pt"'.encode() in data
            else:
                assert int.from_bytes(data[16:20]) == 200 * inches


def test_fonts_are_truetype_inside_and_no_file_knows_the_day(there: Path) -> None:
    write_paper(open_result(there))
    for name, data in content(there / "paper" / "figures").items():
        plain = inflated(data) if name.endswith("pdf") else data
        assert not re.search(rb"CreationDate|ModDate|dc:date|20[2-9]\d-\d\d-\d\d", plain), name
        if name.endswith("pdf"):
            assert b"/CIDFontType2" in plain
            assert b"/FontFile2" in plain
            assert b"/Type3" not in plain


def test_equal_studies_have_equal_bytes(there: Path) -> None:
    write_paper(open_result(there))
    first = content(there / "paper")
    shutil.rmtree(there / "paper")
    write_paper(open_result(there))
    assert content(there / "paper") == first


def test_a_pdf_is_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from matplotlib.figure import Figure; from tiersim.experiments.figures import encode, style\n"
        "with style():\n    figure = Figure(); figure.subplots().set_title('abc déf')\n"
        "print(hashlib.sha256(encode(figure, 'pdf')).hexdigest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_captions_are_the_titles_that_figures_lack(there: Path) -> None:
    paper = write_paper(open_result(there))
    assert paper.figures["caches.l1.miss-ratio-over-what-if"]["caption"] == "L1 miss ratio by variant"
    assert paper.figures["caches.l1.miss-ratio-over-time"]["caption"] == "L1 miss ratio over the trace. variant: base"
    page = (there / "paper" / "all.tex").read_text()
    assert "\\caption{L1 miss ratio by variant}" in page
    assert "\\input{tables/variants.tex}" in page


def test_tables_are_there_and_every_letter_is_safe(there: Path) -> None:
    write_paper(open_result(there))
    _, name, (_, _, row) = read_table((there / "paper/tables/variants.tex").read_text())
    assert name == "tab:larger-l1-variants"
    assert row[0] == r"100 \% more \& larger\_"
    assert (there / "paper/tables/runs.csv").read_text().startswith("variant,caches.l1.miss_ratio (ratio),")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX here")
def test_the_page_of_all_compiles(there: Path) -> None:
    write_paper(open_result(there))
    told = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=there / "paper",
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-2000:]


def test_sections_have_figures_and_tables_too(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> Figure:
        figure = Figure(figsize=(5, 3))
        figure.subplots().plot([1, 2])
        figure.suptitle("Indices")
        return figure

    grid = Grid("indices", "Which matter", (Column("factor"),), ((Slot("a"),),))
    section = Section("Sensitivity", grids=(grid,), drawings=(Drawing("bars", "Bars of indices", drawn),))
    monkeypatch.setattr(StudyResult, "sections", lambda self: [section])
    paper = write_paper(open_result(there))
    assert paper.figures["bars"]["caption"] == "Bars of indices"
    assert int.from_bytes((there / "paper/figures/bars-page.png").read_bytes()[16:20]) == 1400
    assert (there / "paper/tables/indices.csv").read_text() == "factor\na\n"


def test_a_figure_that_cannot_be_drawn_is_told(there: Path) -> None:
    result = open_result(there)
    result.figures = [{"x": "what_if", "y": "nothing"}]
    paper = write_paper(result)
    assert paper.figures == {}
    assert paper.missing[0].startswith("no figure of nothing over what_if: no run that finished has it")


# the width in a study


def test_a_figure_may_say_its_width(there: Path) -> None:
    Path("s.yaml").write_text(
        STUDY + "  figures: [{x: what_if, y: caches.l1.miss_ratio, width: page}, {x: time, y: caches.l1.miss_ratio}]\n"
    )
    plan = make_plan("s.yaml")
    assert plan.report.figures is not None
    assert [figure.width for figure in plan.report.figures] == ["page", None]
    Path("s.yaml").write_text(STUDY + "  figures: [{x: what_if, y: caches.l1.miss_ratio, width: wide}]\n")
    with pytest.raises(StudyError, match="must be `column` or `page`, not 'wide'"):
        make_plan("s.yaml")


# the command


def test_the_command_writes_report_and_paper_without_a_simulation(there: Path, command: Call) -> None:
    shutil.rmtree(there / "figures", ignore_errors=True)
    before = content(there / "runs")
    status, out, err = command("report", "there")
    assert (status, err) == (0, "")
    assert "report: there/report.html" in out
    assert "figures: 3, one column and two columns wide, each as pdf, svg, png (18 files)" in out
    assert "tables: variants, runs, each as CSV and LaTeX" in out
    assert content(there / "runs") == before


def test_what_is_printed_can_be_had_as_json(there: Path, command: Call) -> None:
    status, out, _ = command("report", "there", "--json")
    told: dict[str, Any] = json.loads(out)
    assert status == 0
    assert told["study"] == "larger-l1"
    assert list(told["paper"]["tables"]) == ["variants", "runs"]
    for held in (*told["paper"]["figures"].values(), *told["paper"]["tables"].values()):
        assert all((there / "paper" / file).exists() for file in held["files"])


def test_a_folder_of_no_study_is_one_message(there: Path, command: Call) -> None:
    assert command("report", "nowhere")[::2] == (
        2,
        "error: there is no folder 'nowhere'\n  name a folder that `tiersim run` wrote\n",
    )


def test_without_matplotlib_one_message_says_how_to_get_it(
    there: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(there)])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert "a figure needs matplotlib" in told
    assert "pip install 'tiersim[report]'" in told
    assert not (there / "paper").exists()
