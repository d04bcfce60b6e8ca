"""The report and the figures of a study, from results written by hand."""

import importlib.util
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import StudyError
from tiersim.experiments.figures import amounts, default_figures, draw, encode, text_of, words
from tiersim.experiments.report import write_report
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenario import Metric

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

METRICS = {
    "caches.l2.miss_ratio": Metric("caches.l2.miss_ratio", "ratio", "misses / references", "less"),
    "caches.l2.hits": Metric("caches.l2.hits", "references", "found <here>", "more"),
    "cycles_per_instruction": Metric("cycles_per_instruction", "cycles", "for each instruction", "less"),
    "memory.reads": Metric("memory.reads", "lines", "read from memory", "less"),
}
LATENCY, CAPACITY = "system.memory.latency", "system.caches.l2.capacity"
OVER_LATENCY = {"x": LATENCY, "y": "cycles_per_instruction", "by": "what_if", "title": None}


def run(variant: str, place: int = 0, seed: int = 0, **swept: Any) -> Row:
    factors = {"what_if": variant, **{key.replace("__", "."): value for key, value in swept.items()}}
    return Row(
        ", ".join(map(str, factors.values())),
        factors,
        seed,
        f"{variant}{place}{seed}",
        metrics={
            "caches.l2.miss_ratio": 0.4 - 0.1 * (variant != "base"),
            "caches.l2.hits": 600 - 100 * (variant != "base"),
            "cycles_per_instruction": 1.0 + place - 0.25 * (variant != "base") + 0.5 * seed,
            "memory.reads": 400,
        },
        tables={"windows": {"end": [0.25, 0.5, 1.0], "caches.l2.miss_ratio": [0.9, math.nan, 0.2 + 0.1 * seed]}},
    )


def study(
    rows: Sequence[Row], folder: Path | None = None, skipped: Sequence[dict[str, str]] = (), **more: Any
) -> StudyResult:
    return StudyResult(
        "demo",
        "Does it help?",
        list(rows),
        list(skipped),
        METRICS,
        ["caches.l2.miss_ratio", "caches.l2.hits", "cycles_per_instruction"],
        "base",
        more.pop("figures", []),
        more.pop("provenance", {"trace": "mine", "sha256": "12ab" * 16, "command": ["ls", "-l"]}),
        folder=folder,
        **more,
    )


def sweep(
    values: Sequence[Any], key: str = LATENCY, seeds: int = 1, variants: Sequence[str] = ("base", "twice")
) -> list[Row]:
    return [
        run(variant, place, seed, **{key.replace(".", "__"): value})
        for variant in variants
        for place, value in enumerate(values)
        for seed in range(seeds)
    ]


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text of its cells by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data.strip()}".strip()

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def written(result: StudyResult) -> str:
    lines = write_report(result)
    assert result.folder is not None
    assert lines[0] == f"report: {result.folder / 'report.html'}"
    return (result.folder / "report.html").read_text(encoding="utf-8")


def axes_of(result: StudyResult, spec: dict[str, Any]) -> Any:
    return draw(result, spec).axes[0]


def tick_texts(axes: Any) -> list[str]:
    return [tick.get_text() for tick in axes.get_xticklabels()]


def legend_of(axes: Any) -> list[str]:
    return [text.get_text() for legend in axes.figure.legends for text in legend.get_texts()]


def test_a_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = written(study(sweep(["70 ns", "90 ns"]), tmp_path, provenance={"from": "https://example.org/a.zst"}))
    page = Page(text)
    assert page.count("svg") == 5
    assert page.count("figure") == 5 + 1  # that of the explorer
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster", "data"):
            assert re.match(r"#|data:", attributes.get(name) or "#"), (tag, name)
        assert tag not in ("iframe", "object", "embed", "base")
    assert not re.search(r"url\((?!#|[\"']?data:)|@import", text)
    assert ("meta", "default-src 'none'") in [(tag, (held.get("content") or "")[:18]) for tag, held in page.tags]
    assert "https://example.org/a.zst" in text


def test_ids_are_of_one_figure_and_lead_somewhere(tmp_path: Path) -> None:
    page = Page(written(study(sweep(["70 ns", "90 ns"], seeds=2), tmp_path)))
    ids = [held["id"] for _, held in page.tags if held.get("id")]
    assert len(ids) == len(set(ids))
    leads = [
        value[1:]
        for _, held in page.tags
        for name in ("href", "xlink:href")
        if (value := held.get(name) or "")[:1] == "#"
    ]
    leads += re.findall(r"url\(#([^)]+)\)", (tmp_path / "report.html").read_text())
    leads += [label for _, held in page.tags if (label := held.get("aria-labelledby"))]
    assert leads
    assert set(leads) <= set(ids)


def test_text_of_users_is_never_markup(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&amp;'
    result = study(
        [run("base"), run(evil), run("broken<b>")],
        tmp_path,
        [{"what": "<img src=x>", "why": "<i>no</i>"}],
        notes=["<u>note</u>"],
        provenance={"<q>": "<s>"},
        figures=[{"x": "what_if", "y": "memory.reads", "by": None, "title": evil}],
    )
    result.question = f"Is {evil} safe?"
    result.rows[2].status, result.rows[2].error = "failed", "<em>broken</em>"
    (tmp_path / "resolved.yaml").write_text("a: </pre><script>")
    page = Page(text := written(result))
    assert page.count("script") == 4  # plotly, figures and data, packed, and what draws them
    assert not {"b", "i", "u", "q", "s", "em", "img"} & {tag for tag, _ in page.tags}
    assert "&lt;script&gt;alert" in text
    assert "a: &lt;/pre&gt;&lt;script&gt;" in text


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        bars, _, _, lines, course = default_figures(result := study(sweep(["70 ns", "90 ns"], seeds=2), folder))
        result.figures = [bars, lines, course]
        write_report(result)
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}

    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    assert len(first) == 1 + 2 * 3


def test_figures_are_files_of_their_kind(tmp_path: Path) -> None:
    result = study(sweep(["70 ns", "90 ns"]), tmp_path, figures=[OVER_LATENCY, OVER_LATENCY])
    lines = write_report(result)
    assert lines[1:] == [f"figures: {tmp_path / 'figures'} (2, each as PNG and SVG)"]
    name = "cycles-per-instruction-over-system.memory.latency-by-what-if"
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        f"{name}{again}.{kind}" for again in ("", "-2") for kind in ("png", "svg")
    )
    png = (tmp_path / "figures" / f"{name}.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20], "big") == 3.5 * 200
    svg = (tmp_path / "figures" / f"{name}.svg").read_text()
    assert len(ET.fromstring(svg).findall(".//{*}path")) > 20
    assert "<dc:date>" not in svg


def test_a_table_says_what_is_better(tmp_path: Path) -> None:
    page = Page(written(study(sweep(["70 ns", "90 ns"]), tmp_path, figures=[OVER_LATENCY])))
    head, base, _, better = page.rows[0], page.rows[1], page.rows[2], page.rows[3]
    assert head == [
        *("variant", "memory latency", "L2 miss ratio", "vs base", "L2 hits (references)", "vs base"),
        *("cycles per instruction (cycles)", "vs base"),
    ]
    assert base == ["base", "70 ns", "40 %", "", "600", "", "1", ""]
    assert better == ["twice", "70 ns", "30 %", "-25 % better", "500", "-16.7 % worse", "0.75", "-25 % better"]


def test_a_table_of_single_runs_shows_how_far_intervals_reach(tmp_path: Path) -> None:
    rows = [run("base"), run("twice"), run("noise")]
    draw = np.random.default_rng(3)
    asked = [0.0] * 10 + [100.0] * 90
    base = draw.uniform(0.3, 0.5, 100)
    name = "caches.l2.miss_ratio"
    for row, ratios in zip(rows, (base, base - draw.uniform(0.05, 0.15, 100), base + draw.normal(0, 0.05, 100))):
        ends = [step / 100 for step in range(1, 101)]
        row.tables = {"windows": {"end": ends, name: ratios.tolist(), f"{name}.weight": asked}}
        row.metrics[name] = float(ratios[10:].mean())
    text = written(study(rows, tmp_path, figures=[OVER_LATENCY | {"x": "what_if", "by": None}]))
    found = {cells[0]: cells for cells in Page(text).rows if cells}
    assert re.fullmatch(r"[\d.]+ % ±[\d.]+", found["base"][1])
    assert re.fullmatch(r"-[\d.]+ % ±[\d.]+ better", found["twice"][2])
    assert re.fullmatch(r"[-+][\d.]+ % ±[\d.]+; p = [\d.]+; needs .* times", found["noise"][2])
    assert "one sample of its kind" in text
    assert ">Variants<" not in text  # a line a run says it all


def test_every_column_head_is_a_button_and_quantities_sort_as_such(tmp_path: Path) -> None:
    text = written(study(sweep(["512 KiB", "1 MiB"], CAPACITY), tmp_path, figures=[OVER_LATENCY]))
    page = Page(text)
    heads = [tag for tag, held in page.tags if tag == "th" and held.get("scope") == "col"]
    assert page.count("button") == len(heads) + 1  # light and dark
    assert 'data-sort="524288.0">512 KiB' in text
    assert 'data-sort="1048576.0">1 MiB' in text


def test_a_run_without_a_factor_leaves_its_cell_empty(tmp_path: Path) -> None:
    rows = [run("base"), *(run("random", seed=seed) for seed in (1, 12))]
    for row in rows[1:]:
        row.factors["seed"] = row.seed
    text = written(study(rows, tmp_path, figures=[OVER_LATENCY | {"x": "what_if", "by": None}]))
    assert [row[:2] for row in Page(text).rows[4:7]] == [["base", ""], ["random", "1"], ["random", "12"]]
    assert '<td class="left"></td>' in text
    assert '<td class="left" data-sort="12.0">12</td>' in text


def test_failed_and_skipped_runs_are_shown_with_their_reasons(tmp_path: Path) -> None:
    rows = [run("base"), run("twice"), run("broken")]
    rows[2] = Row("broken one", {"what_if": "broken"}, 0, "x", "failed", "the books do not balance")
    skipped = [{"what": "opt", "why": "it needs the future"}]
    text = written(study(rows, tmp_path, skipped, figures=[OVER_LATENCY]))
    page = Page(text)
    assert page.rows[3] == ["broken failed", "-", "", "-", "", "-", ""]
    assert re.search(r"<strong>broken one</strong>.*the books do not balance", text)
    assert re.search(r"<strong>opt</strong>.*it needs the future", text)
    assert "3 runs, 1 of them failed; 1 more skipped" in text


def test_a_study_of_failures_has_a_report_too(tmp_path: Path) -> None:
    result = study([Row("base", {"what_if": "base"}, 0, "x", "failed", "no")], tmp_path)
    assert "Failed" in written(result)
    assert not (tmp_path / "figures").exists()


def test_sources_and_other_metrics(tmp_path: Path) -> None:
    (tmp_path / "resolved.yaml").write_text("study: demo\nline: 64 B\n")
    text = written(study(sweep(["70 ns"]), tmp_path, notes=["nothing is random"], figures=[OVER_LATENCY]))
    assert "<dt>sha256</dt>\n<dd>" + "12ab" * 16 in text
    assert "<dt>command</dt>\n<dd>ls -l</dd>" in text
    assert "study: demo\nline: 64 B" in text
    assert "<li>nothing is random</li>" in text
    assert ["memory.reads", "lines", "read from memory", "400", "400"] in Page(text).rows
    assert re.search(r"tiersim \d+\.\d+", text)


def test_a_figure_that_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    wrong = {"x": "time", "y": "memory.reads", "by": None, "title": None}
    result = study(sweep(["70 ns"]), tmp_path, figures=[wrong, OVER_LATENCY])
    said = "no figure of memory.reads over time: no run that finished has it; there are: caches.l2.miss_ratio"
    assert write_report(result)[1:] == [f"figures: {tmp_path / 'figures'} (1, each as PNG and SVG)", said]
    assert said in (tmp_path / "report.html").read_text()
    with pytest.raises(StudyError, match="no run that finished has it"):
        draw(result, wrong)


@pytest.mark.parametrize("absent", ["matplotlib", "jinja2", "plotly"])
def test_without_the_extra_one_line_says_how_to_get_it(
    absent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "tiersim.experiments.report.page.find_spec", lambda name: None if name == absent else known(name)
    )
    (line,) = write_report(study([run("base")], tmp_path))
    assert "pip install 'tiersim[report]'" in line
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_a_folder_writes_nothing() -> None:
    assert write_report(study([run("base")])) == []


def test_quantities_lie_on_a_real_axis() -> None:
    axes = axes_of(study(sweep(["120 ns", "70 ns", "90 ns"])), OVER_LATENCY)
    assert tick_texts(axes) == ["70", "90", "120"]
    assert axes.get_xlabel() == "memory latency (ns)"
    assert list(axes.lines[0].get_xdata()) == [70_000, 90_000, 120_000]
    assert list(axes.lines[0].get_ydata()) == [2.0, 3.0, 1.0]
    assert axes.get_xscale() == "linear"


def test_units_that_differ_stay_with_their_numbers() -> None:
    spec = OVER_LATENCY | {"x": CAPACITY}
    axes = axes_of(study(sweep(["1 MiB", "512 KiB"], CAPACITY)), spec)
    assert tick_texts(axes) == ["512 KiB", "1 MiB"]
    assert axes.get_xlabel() == "L2 capacity"
    assert axes_of(study(sweep(["512 KiB", "1 MiB", "8 MiB"], CAPACITY)), spec).get_xscale() == "log"


def test_names_stay_in_the_order_of_the_study() -> None:
    key = "system.caches.l2.policy"
    axes = axes_of(study(sweep(["srrip", "lru", "8 ns"], key)), OVER_LATENCY | {"x": key})
    assert tick_texts(axes) == ["srrip", "lru", "8 ns"]
    assert list(axes.lines[0].get_xdata()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["512 KiB", "1 MiB"], [524288, 1048576]),
        ([4, 8.5], [4, 8.5]),
        (["10 %", "50 %"], [10**8, 5 * 10**8]),
        (["70 ns", "12 cycles"], None),
        (["lru", "srrip"], None),
        ([True, False], None),
        ([{"use": "lru"}], None),
    ],
)
def test_amounts(values: list[Any], expected: list[float] | None) -> None:
    assert amounts(values) == expected


def test_seeds_are_a_mean_with_a_band() -> None:
    axes = axes_of(study(sweep(["70 ns", "90 ns"], seeds=3)), OVER_LATENCY)
    assert list(axes.lines[0].get_ydata()) == [1.5, 2.5]
    (band, _) = axes.collections
    corners = band.get_paths()[0].vertices
    assert {(70_000, 1.0), (70_000, 2.0), (90_000, 2.0), (90_000, 3.0)} <= {(x, y) for x, y in corners}
    assert "mean and range of 3 seeds" in axes.figure.get_suptitle()
    assert not axes_of(study(sweep(["70 ns", "90 ns"])), OVER_LATENCY).collections


def test_seeds_are_error_bars_where_there_is_no_line() -> None:
    rows = [run("base"), *(run("random", seed=seed) for seed in range(3))]
    axes = axes_of(study(rows), {"x": "what_if", "y": "cycles_per_instruction", "by": None, "title": None})
    (ranges,) = [held for held in axes.containers if type(held).__name__ == "ErrorbarContainer"]
    drawn = [segment for segment in ranges.lines[2][0].get_segments() if len(segment)]  # empty where nothing is random
    assert [segment[:, 0].tolist() for segment in drawn] == [[0.75, 1.75]]
    assert [text.get_text() for text in axes.texts] == ["1", "1.25"]


def test_bars_keep_the_order_of_the_study_and_carry_their_values() -> None:
    rows = [run("twice"), run("base"), run("a name so long that no axis could take it in one line")]
    axes = axes_of(study(rows), {"x": "what_if", "y": "caches.l2.miss_ratio", "by": None, "title": "Mine"})
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names[:2] == ["twice", "base (baseline)"]
    assert names[2].count("\n") >= 1
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.3, 0.4, 0.3])
    assert [text.get_text() for text in axes.texts] == ["30 %", "40 %", "30 %"]
    assert axes.get_xlabel() == "L2 miss ratio (%)"
    assert axes.figure.get_suptitle() == "Mine"
    assert axes.patches[1].get_facecolor() != axes.patches[0].get_facecolor() == axes.patches[2].get_facecolor()
    assert not axes.figure.legends


def test_no_label_lies_over_another_or_leaves_the_figure() -> None:
    long = [f"variant {place} with a name that says in many words what it changes in the caches" for place in range(4)]
    result = study(sweep(["70 ns", "90 ns", "120 ns"], variants=["base", *long], seeds=2))
    for spec in (OVER_LATENCY, *default_figures(result)):
        figure = draw(result, spec)
        figure.draw_without_rendering()
        axes: Any = figure.axes[0]
        edge = figure.bbox.padded(1)
        assert figure.get_suptitle()
        title = figure.texts[0].get_window_extent()
        assert edge.x0 <= title.x0 < title.x1 <= edge.x1, spec
        assert not title.overlaps(axes.get_tightbbox()), spec
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert edge.x0 <= box.x0 < box.x1 <= edge.x1, spec
            assert not box.overlaps(axes.get_tightbbox()), spec
        values = [text.get_window_extent() for text in axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            boxes = [tick.label1.get_window_extent() for tick in ticks if tick.label1.get_text()]
            for found in (boxes, values):
                assert all(edge.x0 <= box.x0 < box.x1 <= edge.x1 for box in found), spec
                assert not any(one.overlaps(two) for one, two in pairwise(found)), spec


def test_a_course_is_over_the_share_of_the_trace() -> None:
    axes = axes_of(study(sweep(["70 ns"])), {"x": "time", "y": "caches.l2.miss_ratio", "by": None, "title": None})
    (line,) = axes.lines  # both variants have the same course
    assert list(line.get_xdata()) == [0, 25, 50, 100]
    assert list(line.get_ydata())[:2] == [0.9, 0.9]
    assert math.isnan(line.get_ydata()[2])
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylabel() == "L2 miss ratio (%)"
    assert "the same for every variant" in axes.figure.get_suptitle()


def test_equal_lines_share_their_names() -> None:
    rows = sweep(["70 ns", "90 ns"], variants=("base", "twice", "thrice"))
    assert legend_of(axes_of(study(rows), OVER_LATENCY)) == ["base", "twice = thrice"]
    rows = sweep(["70 ns", "90 ns"], variants=("base", "x" * 40, "y" * 40))
    assert legend_of(axes_of(study(rows), OVER_LATENCY)) == ["base", f"{'x' * 40}\n= {'y' * 40}"]


def test_what_else_varies_is_kept_and_said() -> None:
    rows = [
        run(variant, place, 0, **{"system__line": line, LATENCY.replace(".", "__"): value})
        for variant in ("other", "base")
        for line in ("64 B", "128 B")
        for place, value in enumerate(("70 ns", "90 ns"))
    ]
    axes = axes_of(study(rows), OVER_LATENCY | {"by": "system.line"})
    assert "variant: base" in axes.figure.get_suptitle()
    assert list(axes.lines[0].get_ydata()) == [1.0, 2.0]
    axes = axes_of(study(rows), OVER_LATENCY)
    assert "line: 64 B" in axes.figure.get_suptitle()
    assert legend_of(axes) == ["other", "base"]


def test_a_missing_run_is_a_gap() -> None:
    rows = sweep(["70 ns", "90 ns", "120 ns"])
    rows[1].status = "failed"
    axes = axes_of(study(rows), OVER_LATENCY)
    assert math.isnan(axes.lines[0].get_ydata()[1])
    bars = axes_of(study(rows), {"x": "what_if", "y": "memory.reads", "by": LATENCY, "title": None})
    assert [text.get_text() for text in bars.texts].count("no run") == 1


def test_colours_dashes_and_markers_all_tell_lines_apart() -> None:
    result = study([])
    result.rows = [row for place in range(6) for row in sweep(["70 ns", "90 ns"], variants=(f"v{place}",))]
    for place, row in enumerate(result.rows):
        row.metrics["cycles_per_instruction"] = float(place)
    lines = axes_of(result, OVER_LATENCY).lines
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 6
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 6


def test_figures_of_a_study_that_names_none() -> None:
    found = [(spec["x"], spec["y"], spec["by"]) for spec in default_figures(study(sweep(["70 ns", "90 ns"])))]
    assert found == [
        ("what_if", "caches.l2.miss_ratio", LATENCY),
        ("what_if", "caches.l2.hits", LATENCY),
        ("what_if", "cycles_per_instruction", LATENCY),
        (LATENCY, "cycles_per_instruction", "what_if"),
        ("time", "caches.l2.miss_ratio", LATENCY),
    ]
    assert default_figures(study([run("base")])) == [
        {"x": "time", "y": "caches.l2.miss_ratio", "by": None, "title": None, "where": {}}
    ]


def test_only_the_baseline_is_in_the_course_by_default() -> None:
    rows = [run("other"), run("base")]
    rows[0].windows["caches.l2.miss_ratio"] = [0.1, 0.1, 0.1]
    result = study(rows)
    (line,) = axes_of(result, default_figures(result)[-1]).lines
    assert line.get_ydata()[-1] == 0.2


def test_labels_of_any_script_and_sign_are_drawn_as_they_are(recwarn: pytest.WarningsRecorder) -> None:
    axes = axes_of(study([run("base"), run("缓存 $\\frac$")]), {"x": "what_if", "y": "memory.reads", "by": None})
    assert encode(axes.figure, "svg").startswith(b"<?xml")
    assert axes.get_yticklabels()[1].get_text() == "缓存 $\\frac$"
    assert not recwarn.list


def test_drawing_leaves_the_settings_of_others_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    encode(draw(study(sweep(["70 ns", "90 ns"])), OVER_LATENCY), "svg")
    assert dict(matplotlib.rcParams) == before


def test_the_settings_of_others_change_no_figure() -> None:
    import matplotlib

    result = study(sweep(["70 ns", "90 ns"]))
    plain = encode(draw(result, OVER_LATENCY), "png")
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "xtick.labelsize": 20}):
        assert encode(draw(result, OVER_LATENCY), "png") == plain


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("caches.l2.miss_ratio", "L2 miss ratio"),
        ("tlbs.l2.mpki", "L2 TLB MPKI"),
        ("tlbs.dtlb.mpki", "dtlb MPKI"),
        ("caches.l1d.mpki", "L1d MPKI"),
        ("memory.reads", "memory reads"),
        ("what_if", "variant"),
        ("system.caches.l2.capacity", "L2 capacity"),
        ("system", "system"),
    ],
)
def test_plain_names(name: str, plain: str) -> None:
    assert words(name) == plain


@pytest.mark.parametrize(
    ("value", "text"),
    [("70 ns", "70 ns"), (8, "8"), (True, "true"), ({"use": "lru", "ways": [1, 2]}, "use: lru, ways: 1, 2")],
)
def test_values_read_as_in_the_study(value: Any, text: str) -> None:
    assert text_of(value) == text
