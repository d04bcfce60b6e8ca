"""The report in headless Chromium: opened as a file, without a network, used by mouse and by keyboard alone."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")
pytest.importorskip("playwright", reason="playwright drives the browser: pip install 'tiersim[test]'")
if shutil.which("chromium") is None:
    pytest.skip("there is no chromium on the path", allow_module_level=True)

from tests.browser.pictures import PARTS, alike, chromium, kept, taken
from tests.browser.studies import LATENCIES, MANY, VARIANTS, long, small
from tiersim.experiments.report import write_report
from tiersim.experiments.results import StudyResult
from tiersim.experiments.table import number

WAIT = 60_000  # milliseconds: the machine may do other things as well
LINES, BARS = "figure[data-chart='0']", "figure[data-chart='1']"
LOOKS = Path(__file__).with_name("looks.js").read_text()


def asked(page: Any, what: str) -> Any:
    """What a page gives to one of the questions in looks.js."""
    return page.evaluate(f"{LOOKS}.{what}")


@dataclass
class Opened:
    """A page with all that it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


def opened(browser: Any, file: Path, **more: Any) -> Opened:
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "color_scheme": "light", **more})
    found = Opened(context.new_page())
    found.page.set_default_timeout(WAIT)
    found.page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on("request", lambda request: found.asked.append(request.url))
    found.page.goto(file.as_uri())
    if more.get("java_script_enabled", True):
        found.page.wait_for_selector("html[data-ready]", state="attached")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as held:
        yield held


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    result = small(tmp_path_factory.mktemp("small"))
    assert result.folder is not None
    (result.folder / "resolved.yaml").write_text("study: demo\nline: 64 B\n")
    write_report(result)
    return result


@pytest.fixture(scope="module")
def report(made: StudyResult) -> Path:
    assert made.folder is not None
    return made.folder / "report.html"


@pytest.fixture(scope="module")
def whole(browser: Any, report: Path) -> Iterator[Opened]:
    """One page for all tests that leave it as it was."""
    held = opened(browser, report, accept_downloads=True)
    yield held
    assert held.said == []
    assert [url for url in held.asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    held.page.context.close()


@pytest.fixture
def page(whole: Opened) -> Iterator[Any]:
    yield whole.page
    assert whole.said == []


@pytest.fixture(scope="module")
def many(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, StudyResult]]:
    result = long(tmp_path_factory.mktemp("long"))
    write_report(result)
    assert result.folder is not None
    held = opened(browser, result.folder / "report.html")
    yield held.page, result
    assert held.said == []
    held.page.context.close()


def column(table: Any, place: int) -> list[str]:
    texts: list[str] = table.evaluate(
        "(table, place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent.trim())", place
    )
    return texts


def head(table: Any, text: str) -> Any:
    return table.locator("thead button", has_text=text).first


def ranges(page: Any, figure: str) -> list[list[float]]:
    found: list[list[float]] = page.locator(f"{figure} .plot").evaluate(
        "(plot) => [plot._fullLayout.xaxis.range, plot._fullLayout.yaxis.range]"
    )
    return found


def press(figure: Any, text: str) -> None:
    figure.locator(".tools button", has_text=text).first.click()


def test_a_report_opens_offline_and_says_and_asks_nothing(browser: Any, report: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.html"
    moved.write_bytes(report.read_bytes())  # alone, and not beside its figures
    held = opened(browser, moved, offline=True)
    for plot in held.page.locator("figure.chart .plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
    assert held.said == []
    assert held.asked == [moved.as_uri()]
    assert held.page.locator("figure.chart .main-svg").count() >= 3
    held.page.context.close()


def test_a_table_sorts_by_mouse_and_keyboard(page: Any) -> None:
    table = page.locator("table[data-name=variants]")
    before = column(table, 2)
    button = head(table, "L2 miss ratio")
    values = [float(text.split()[0]) for text in before]
    button.click()
    assert [float(text.split()[0]) for text in column(table, 2)] == sorted(values)
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
    button.focus()
    page.keyboard.press("Enter")
    assert [float(text.split()[0]) for text in column(table, 2)] == sorted(values, reverse=True)
    page.keyboard.press("Space")  # back to the order of the study
    assert column(table, 2) == before
    assert table.locator("[aria-sort]").count() == 0


def test_quantities_sort_as_amounts(page: Any) -> None:
    table = page.locator("table[data-name=variants]")
    head(table, "memory latency").click()
    head(table, "memory latency").click()
    assert column(table, 1) == [latency for latency in reversed(LATENCIES) for _ in VARIANTS]
    head(table, "memory latency").click()


def test_a_filter_leaves_the_rows_with_all_its_words(page: Any) -> None:
    tools = page.locator("section[aria-labelledby=variants] .tools")
    tools.locator("input").fill("TWICE 90")
    table = page.locator("table[data-name=variants]")
    assert column(table, 0) == ["twice the cache"]
    assert tools.locator(".count").text_content() == "1 of 9 rows"
    with page.expect_download() as download:
        tools.locator("button", has_text="CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("twice the cache,90 ns,")
    tools.locator("input").fill("")
    assert len(column(table, 0)) == 9


def test_a_long_table_turns_pages_and_sorts_all_rows(many: tuple[Any, StudyResult]) -> None:
    page, result = many
    table, tools = page.locator("table[data-name=runs]"), page.locator("section[aria-labelledby=runs] .tools")
    assert len(column(table, 0)) == 200
    assert tools.locator(".count").text_content() == f"1 to 200 of {MANY:,} rows"
    tools.locator("button", has_text="Next").click()
    assert column(table, 0)[0] == "250 ns"
    button = head(table, "cycles per instruction")
    place = table.locator("thead th").count() - 1
    assert "cycles per instruction" in table.locator("thead th").nth(place).text_content()
    button.click()
    button.click()
    values = sorted((float(row.metrics["cycles_per_instruction"]) for row in result.rows), reverse=True)
    assert column(table, place) == [number(value, "cycles") for value in values[:200]]
    for _ in range(6):
        tools.locator("button", has_text="Next").click()
    assert column(table, place)[-1] == number(values[-1], "cycles")
    assert tools.locator("button", has_text="Next").is_disabled()
    button.click()


def test_the_table_of_runs_takes_other_metrics(many: tuple[Any, StudyResult]) -> None:
    page, result = many
    table = page.locator("table[data-name=runs]")
    choices = page.locator("section[aria-labelledby=runs] details.choices")
    choices.locator("summary").click()
    choices.locator("label", has_text="memory reads").locator("input").check()
    place = table.locator("thead th").count() - 1
    assert column(table, place) == [f"{int(row.metrics['memory.reads']):,}" for row in result.rows[:200]]
    head(table, "memory reads").click()
    least = sorted(int(row.metrics["memory.reads"]) for row in result.rows)
    assert column(table, place) == [f"{value:,}" for value in least[:200]]
    choices.locator("label", has_text="memory reads").locator("input").uncheck()
    assert table.locator("thead th").count() == place


def test_numbers_are_written_as_in_python(page: Any) -> None:
    draw = np.random.default_rng(3)
    values = [*(10.0 ** draw.uniform(-7, 18, 400) * draw.choice([-1, 1], 400)).tolist(), 0.03125, 2.5, 1.0625, 0.0]
    values += [float(value) for value in draw.integers(-(10**12), 10**12, 50)] + [0.5 / 2**power for power in range(20)]
    for unit in ("", "ratio", "bytes", "cycles"):
        written = page.evaluate("([values, unit]) => values.map((value) => number(value, unit))", [values, unit])
        assert written == [number(value, unit) for value in values]


def test_a_figure_tells_its_values_and_intervals_under_the_mouse(page: Any, made: StudyResult) -> None:
    figure = page.locator(LINES)
    figure.scroll_into_view_if_needed()
    marks = figure.locator(".scatterlayer .trace .points path")
    box = marks.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 30, box["y"] + 30)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    figure.locator(".hoverlayer .hovertext").wait_for()
    values = [
        float(row.metrics["cycles_per_instruction"])
        for row in made.rows
        if row.factors["what_if"] == "base" and row.factors["system.memory.latency"] == "70 ns"
    ]
    said = figure.locator(".readout").text_content()
    mean = f"{sum(values) / len(values):.4g} cycles"
    assert said == f"base: memory latency (ns) 70: {mean}: {min(values):.4g} to {max(values):.4g}"
    assert mean in figure.locator(".hovertext").text_content()


def test_a_figure_zooms_moves_and_comes_back(page: Any) -> None:
    figure = page.locator(LINES)
    before = ranges(page, LINES)
    press(figure, "Zoom in")
    inside = ranges(page, LINES)
    assert all(one[0] > two[0] and one[1] < two[1] for one, two in zip(inside, before, strict=True))
    press(figure, "Zoom out")
    press(figure, "Zoom out")
    assert all(one[0] < two[0] and one[1] > two[1] for one, two in zip(ranges(page, LINES), before, strict=True))
    press(figure, "All")
    assert np.allclose(ranges(page, LINES), before)
    press(figure, "Drag: move")
    box = figure.locator(".nsewdrag").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 80, middle[1], steps=4)
    page.mouse.up()
    moved = ranges(page, LINES)
    assert moved[0][0] < before[0][0]
    assert np.isclose(moved[0][1] - moved[0][0], before[0][1] - before[0][0])
    press(figure, "Drag: zoom")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 60, steps=4)
    page.mouse.up()
    zoomed = ranges(page, LINES)
    assert zoomed[0][1] - zoomed[0][0] < moved[0][1] - moved[0][0]
    press(figure, "All")
    assert np.allclose(ranges(page, LINES), before)


def test_series_are_hidden_and_shown(page: Any) -> None:
    figure = page.locator(LINES)
    buttons = figure.locator(".legend button")
    assert buttons.all_text_contents() == list(VARIANTS)
    there = figure.locator(".scatterlayer .trace").count()
    buttons.nth(1).click()
    assert buttons.nth(1).get_attribute("aria-pressed") == "false"
    assert figure.locator(".scatterlayer .trace").count() == there - 3  # the line, and two of its band
    buttons.nth(1).press("Enter")
    assert figure.locator(".scatterlayer .trace").count() == there


def test_a_figure_is_read_by_keyboard_alone(page: Any) -> None:
    for figure, moves in ((LINES, ("ArrowRight", "ArrowDown")), (BARS, ("ArrowDown", "ArrowRight"))):
        plot = page.locator(f"{figure} .plot")
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
        plot.focus()
        read = []
        for key in (moves[0], moves[0], moves[0], moves[1]):
            page.keyboard.press(key)
            read.append(page.locator(f"{figure} .readout").text_content())
        assert len(set(read[:3])) == 3, read
        assert all(read)
        before = ranges(page, figure)
        page.keyboard.press("+")
        assert ranges(page, figure)[0] != before[0]
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("0")
        assert np.allclose(ranges(page, figure), before)
        assert plot.get_attribute("aria-label")


@pytest.mark.parametrize("format", ["SVG", "PNG"])
def test_a_figure_is_saved(format: str, page: Any) -> None:
    with page.expect_download() as download:
        press(page.locator(LINES), format)
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\x89PNG" if format == "PNG" else b"<svg")
    assert download.value.suggested_filename.endswith(format.lower())


def shown(page: Any) -> dict[str, Any]:
    """What the explorer draws: its data as the page has them."""
    found: dict[str, Any] = page.evaluate("() => charts.find((held) => held.figure.id === 'explored').data")
    return found


def test_the_explorer_draws_any_metric_over_anything(page: Any, made: StudyResult) -> None:
    form = page.locator("#explorer")
    choose = [form.locator("select").nth(place) for place in range(5)]
    first = shown(page)
    assert first["kind"] == "lines"
    assert first["x"]["texts"] == list(LATENCIES)
    assert [one["label"] for one in first["series"]] == list(VARIANTS)
    held = made.compare()[0].metrics["cycles_per_instruction"].value
    base = first["series"][0]
    assert (base["y"][0], base["low"][0], base["high"][0]) == (held.value, held.low, held.high)
    choose[0].select_option(label="L2 miss ratio")
    choose[1].select_option(label="variant")
    choose[2].select_option(label="memory latency")
    bars = shown(page)
    assert bars["kind"] == "bars"
    assert bars["title"] == "L2 miss ratio over variant"
    choose[1].select_option(label="cycles per instruction (cycles)")
    assert shown(page)["kind"] == "points"
    choose[4].select_option(label="single runs")
    choose[0].select_option(label="cycles per instruction (cycles)")
    choose[1].select_option(label="L2 miss ratio")
    assert sum(len(one["y"]) for one in shown(page)["series"]) == len(made.rows)
    form.locator("input[type=search]").fill("twice 120")
    assert sum(len(one["y"]) for one in shown(page)["series"]) == 4
    form.locator("input[type=search]").fill("")
    choices = form.locator("details", has_text="variant: 3 of 3")
    choices.locator("summary").click()
    choices.locator("label", has_text="twice the cache").locator("input").uncheck()
    assert sum(len(one["y"]) for one in shown(page)["series"]) == len(made.rows) * 2 // 3
    form.locator("details", has_text="variant: 2 of 3").locator("button", has_text="all").click()
    assert sum(len(one["y"]) for one in shown(page)["series"]) == len(made.rows)
    page.locator("#explored").scroll_into_view_if_needed()
    page.locator("#explored .scatterlayer .point").first.wait_for()


def test_light_and_dark_follow_the_system_and_the_button(browser: Any, report: Path) -> None:
    held = opened(browser, report, color_scheme="dark")
    page = held.page

    def colours() -> list[str]:
        found: list[str] = page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor, "
            f'getComputedStyle(document.querySelector("{LINES} .xtick text")).fill]'
        )
        return found

    dark = colours()
    assert dark[0] == "rgb(20, 23, 27)"
    assert asked(page, "contrast()")[0] >= 4.5, asked(page, "contrast()")
    page.locator("#theme").click()
    light = colours()
    assert light[0] == "rgb(255, 255, 255)"
    assert light[1] != dark[1]
    assert asked(page, "contrast()")[0] >= 4.5, asked(page, "contrast()")
    page.emulate_media(color_scheme="light")  # what the button says holds
    page.locator("#theme").press("Enter")
    assert colours() == dark
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert colours()[0] == light[0]
    assert held.said == []
    page.context.close()


def test_the_page_is_used_by_keyboard_alone(browser: Any, report: Path) -> None:
    held = opened(browser, report)
    page = held.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached, outlines = [], []
    for _ in range(200):
        page.keyboard.press("Tab")
        told, outline = asked(page, "focused()")
        if not told:
            break
        reached.append(told)
        outlines.append(outline)
    wanted = ("Figures", "Zoom in", "Drag: move", VARIANTS[1], "CSV", "More columns", "Filter the rows")
    assert [text for text in wanted if not any(text in told for told in reached)] == []
    assert any("Cycles per instruction" in told for told in reached)  # the figure itself
    assert set(outlines) == {"solid"}
    assert asked(page, "nameless()") == []
    assert asked(page, "twice()") == 0
    page.context.close()


def test_a_narrow_screen_needs_no_scrolling_across(browser: Any, report: Path) -> None:
    held = opened(browser, report, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = held.page
    for details in page.locator("details").all():
        details.evaluate("(held) => { held.open = true; }")
    for plot in page.locator("figure.chart .plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert asked(page, "beyond(360)") == []
    assert held.said == []
    page.context.close()


def test_a_report_is_printed_light_and_whole(browser: Any, report: Path) -> None:
    held = opened(browser, report, color_scheme="dark")
    page = held.page
    assert page.locator(f"{LINES} .main-svg").count()
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF")
    drawn = page.locator("figure.chart .plot .main-svg")
    assert drawn.count() >= 2 * page.locator("figure.chart").count()  # those that had not been seen as well
    page.emulate_media(media="print")
    assert not page.locator(".tools").first.is_visible()
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert held.said == []
    page.context.close()


def test_without_javascript_tables_and_figures_are_there(browser: Any, report: Path) -> None:
    held = opened(browser, report, java_script_enabled=False)
    page = held.page
    assert page.locator("table[data-name=runs] tbody tr").count() == len(VARIANTS) * len(LATENCIES) * 4
    assert page.locator("table[data-name=variants] tbody tr").count() == 9
    assert page.locator("figure.chart .card svg").count() == 2
    assert page.locator("figure.chart .card svg").first.is_visible()
    for control in ("#theme", "#explorer", ".tools"):
        assert page.locator(f"{control}:visible").count() == 0
    page.context.close()


def test_what_an_analysis_adds_is_shown(page: Any) -> None:
    section = page.locator("section", has=page.locator("h2", has_text="What decides"))
    assert section.locator("figure svg").is_visible()
    table = section.locator("table")
    assert column(table, 1) == ["0.7 (0.6 to 0.8)", "0.3 (0.25 to 0.35)"]
    head(table, "total").click()
    assert column(table, 0) == ["capacity", "latency"]
    head(table, "total").click()
    head(table, "total").click()
    assert section.locator("p:visible", has_text="Two factors were varied.").count() == 1


def test_pictures_are_those_that_are_kept(browser: Any, report: Path) -> None:
    page = opened(browser, report).page
    for name, (width, scheme, selector) in PARTS.items():
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        assert alike(taken(page, selector), kept(name)), name
    page.context.close()


def test_pictures_tell_faults(browser: Any, report: Path) -> None:
    page = opened(browser, report, viewport={"width": 1000, "height": 800}).page
    faults = {
        "lines-light": ".scatterlayer { display: none; }",
        "table-light": "tbody { visibility: hidden; }",
        "head-light": "h1 { display: none; }",
    }
    for name, fault in faults.items():
        selector = PARTS[name][2]
        assert alike(taken(page, selector), kept(name)), name
        style = page.add_style_tag(content=fault)
        assert not alike(taken(page, selector), kept(name)), name
        style.evaluate("(held) => held.remove()")
    page.locator("#theme").click()
    for name in faults:
        assert not alike(taken(page, PARTS[name][2]), kept(name)), name
    page.context.close()
