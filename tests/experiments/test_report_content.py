"""What a report says beside its tables: answers, audits, the sources of a configuration, and the data of its script."""

import base64
import importlib
import inspect
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.experiments.test_report import LATENCY, OVER_LATENCY, Page, run, study, sweep, written
from tiersim._base.params import dump
from tiersim.experiments.comparison import compare
from tiersim.experiments.figures import draw
from tiersim.experiments.figures.interactive import chart
from tiersim.experiments.opened import open_result
from tiersim.experiments.plan import make_plan, scenarios
from tiersim.experiments.report.answers import answers
from tiersim.experiments.report.audits import AUDITS, audits
from tiersim.experiments.report.settings import settings
from tiersim.experiments.report.tables import FIRST, WRITTEN, run_table
from tiersim.experiments.results import Row, StudyResult

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")


def packed(text: str) -> Any:
    """The data of a page."""
    found = re.search(r'<script type="text/plain" id="data">(.*?)</script>', text)
    assert found is not None
    return json.loads(zlib.decompress(base64.b64decode(found[1])))


# the data


def test_the_data_are_the_results(tmp_path: Path) -> None:
    result = study(sweep(["90 ns", "70 ns"], seeds=2), tmp_path, figures=[OVER_LATENCY])
    for row in result.rows:
        row.factors["seed"] = row.seed
    result.rows[3].status = "failed"
    result.rows[3].metrics = {}
    data = packed(written(result))
    done = [row for row in result.rows if row.status == "done"]
    assert data["runs"]["count"] == len(done)
    assert data["runs"]["row"] == [0, 1, 2, 4, 5, 6, 7]
    names = [metric["name"] for metric in data["metrics"]]
    assert names[: data["shown"]] == result.shown
    for name, values in zip(names, data["runs"]["values"], strict=True):
        assert values == [row.metrics[name] for row in done]
    for factor in data["runs"]["factors"]:
        assert [factor["texts"][code] for code in factor["codes"]] == [str(row.factors[factor["name"]]) for row in done]
    latency = next(factor for factor in data["runs"]["factors"] if factor["name"] == LATENCY)
    assert latency["texts"] == ["70 ns", "90 ns"]  # as amounts
    assert latency["at"] == [70_000, 90_000]


def test_means_of_seeds_have_the_intervals_of_the_comparison(tmp_path: Path) -> None:
    result = study(sweep(["70 ns", "90 ns"], seeds=3), tmp_path, figures=[OVER_LATENCY])
    for row in result.rows:
        row.factors["seed"] = row.seed
    data = packed(written(result))
    names = [metric["name"] for metric in data["metrics"]]
    every = compare(result.rows, "base", names)  # of all metrics, shown or not
    for place, name in enumerate(names):
        for kind in ("value", "low", "high"):
            told = data["points"]["values" if kind == "value" else kind][place]
            assert told == [getattr(held.metrics[name].value, kind) for held in every]


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    rows = [run("base"), run("twice")]
    rows[0].metrics["memory.reads"] = float("nan")
    rows[1].metrics["memory.reads"] = float("inf")
    data = packed(written(study(rows, tmp_path, figures=[OVER_LATENCY | {"x": "what_if", "by": None}])))
    place = [metric["name"] for metric in data["metrics"]].index("memory.reads")
    assert data["runs"]["values"][place] == [None, None]


@pytest.mark.parametrize("x", [LATENCY, "what_if", "time"])
def test_interactive_figures_are_drawn_from_the_same_series(x: str) -> None:
    y = "caches.l2.miss_ratio" if x == "time" else "cycles_per_instruction"
    result = study(sweep(["70 ns", "90 ns", "120 ns"], seeds=2))
    spec = {"x": x, "y": y, "by": LATENCY if x == "what_if" else None, "title": None}
    made, axes = chart(result, spec), draw(result, spec).axes[0]
    assert made["title"] in axes.figure.get_suptitle().replace("\n", " ")
    json.dumps(made, allow_nan=False)
    if x == "what_if":
        widths = [bar.get_width() for bar in axes.patches]
        assert widths == [value for one in made["series"] for value in one["y"]]
        return
    assert len(axes.lines) == len(made["series"])
    for line, one in zip(axes.lines, made["series"], strict=True):
        drawn = [None if np.isnan(value) else value for value in line.get_ydata()]
        assert drawn == (one["y"] if x != "time" else [one["y"][0], *one["y"]])


def test_a_long_table_stands_in_the_data_and_begins_in_the_page(tmp_path: Path) -> None:
    rows = [run("base", **{LATENCY.replace(".", "__"): f"{place} ns"}) for place in range(WRITTEN + 1)]
    for row in rows:
        row.tables = {}
    result = study(rows, tmp_path, figures=[OVER_LATENCY | {"by": None}])
    text = written(result)
    assert text.count('<th scope="row"') < 2 * FIRST
    columns = packed(text)["tables"]["runs"]
    table = run_table(result, result.compare())
    assert [column["text"] for column in columns] == [
        list(texts) for texts in zip(*[[c.text for c in r] for r in table.rows])
    ]
    result.rows = result.rows[:-1]
    assert "runs" not in packed(written(result))["tables"]


@pytest.mark.slow
def test_ten_thousand_runs_make_a_page_of_less_than_15_megabytes(tmp_path: Path) -> None:
    draw_ = np.random.default_rng(0).lognormal(0, 1, (10_000, 40))
    names = [f"metric_{place}" for place in range(40)]
    rows = [
        Row(f"{place} ns", {LATENCY: f"{place} ns"}, 0, f"{place}", metrics=dict(zip(names, values, strict=True)))
        for place, values in enumerate(draw_.tolist())
    ]
    result = replace(study(rows, tmp_path), metrics={}, shown=names[:3])
    result.figures = [{"x": "time", "y": names[0], "by": None, "title": None}]  # none: matplotlib takes its time
    written(result)
    assert (tmp_path / "report.html").stat().st_size < 15e6


# the answer


def told(result: StudyResult) -> list[tuple[str, str, str]]:
    return [(held.metric, held.who, held.how) for held in answers(result, result.compare())]


def test_the_answer_is_what_is_best_and_by_how_much() -> None:
    rows = sweep(["70 ns", "90 ns"], variants=("base", "twice", "thrice"))
    for row in rows:
        if row.factors["what_if"] == "thrice" and row.factors[LATENCY] == "90 ns":
            row.metrics["cycles_per_instruction"] = 0.5
    assert told(study(rows)) == [
        ("L2 miss ratio", "twice and thrice", "-25 % against base at every point"),
        ("L2 hits", "base", "base is not beaten at every point"),
        ("cycles per instruction", "twice and thrice", "-25 % against base at 1 of 2 points"),
    ]


def test_the_answer_says_where_chance_may_explain_it() -> None:
    rows = [run(variant, 0, seed) for variant in ("base", "twice") for seed in range(4)]
    for row, noise in zip(rows, (0, 5, -5, 0, 4, -4, 1, -2), strict=True):
        row.factors["seed"] = row.seed
        row.metrics["cycles_per_instruction"] = 10.0 + noise
    held = told(study(rows))[-1]
    assert held[1] == "twice"
    assert held[2].endswith("against base; chance may explain it")


def test_the_answer_of_a_sweep_is_its_best_point() -> None:
    rows = sweep(["70 ns", "90 ns"], variants=("base",))
    assert told(study(rows))[-1] == ("cycles per instruction", rows[0].label, "1; 1 to 2 over 2 points")


def test_one_run_answers_itself() -> None:
    assert told(study([run("base")])) == []


# audits


def test_every_scenario_says_what_it_audits_and_where() -> None:
    assert set(AUDITS) == set(scenarios())
    for held in AUDITS.values():
        for audit in held:
            module, _, path = audit.where.partition(":")
            found: Any = importlib.import_module(module)
            for step in path.split("."):
                found = getattr(found, step)
            source = inspect.getsource(found)
            assert "AuditError" in source or "_equal(" in source, audit.where


def test_the_audits_that_a_report_names_are_those_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    places = sorted({audit.where for audit in AUDITS["memory-hierarchy"]})
    for place in places:
        module, _, name = place.partition(":")
        held: Any = importlib.import_module(module)

        own = getattr(held, name)

        def noted(*rest: Any, own: Any = own, place: str = place) -> Any:
            called.append(place)
            return own(*rest)

        monkeypatch.setattr(held, name, noted)
    result = tiersim.run(SMALL, out=tmp_path)
    found = audits(result)
    assert {held.audit.where for held in found} == set(called) == {"tiersim.sim.replay:_audit"}
    assert all(held.ran == held.passed == len(result.rows) for held in found)


def test_a_run_without_a_result_has_passed_no_audit(tmp_path: Path) -> None:
    rows = [run("base"), run("twice")]
    for row in rows:
        row.config = {"timing": "additive", "miss_kinds": False}
    rows[1].status, rows[1].error = "failed", "the books do not balance"
    result = study(rows, tmp_path, figures=[OVER_LATENCY | {"x": "what_if", "by": None}])
    result.scenario = "memory-hierarchy"
    assert [(held.ran, held.passed) for held in audits(result)] == [
        (2, 1),
        (2, 1),
    ]  # no kinds of misses, none inclusive
    page = Page(written(result))
    lines = next(row for row in page.rows if row and row[0].startswith("Lines are conserved"))
    assert lines[1] == "1 of 2 runs 1 without a result"


# the configuration


SMALL: dict[str, Any] = {
    "study": "small",
    "scenario": "memory-hierarchy",
    "trace": {"use": "generated/zipf", "records": 2000, "footprint": "64 KiB", "seed": 1},
    "system": {"use": "desktop-cpu", "caches": {"l2": {"capacity": "512 KiB"}}},
    "what_if": {"twice": {"system.caches.l2.capacity": "1 MiB"}},
    "sweep": {"system.memory.latency": ["70 ns", "90 ns"]},
}


def test_each_value_stands_beside_its_source(tmp_path: Path) -> None:
    result = tiersim.run(SMALL, out=tmp_path)
    found = {held.key: held for held in settings(result)}
    frequency = found["system.core.frequency"]
    assert (frequency.value, frequency.origin) == ("4.5 GHz", "desktop-cpu")
    assert "Ryzen 9 7950X" in frequency.source
    assert frequency.uncertainty == "4.2 to 5.7 GHz"
    capacity = found["system.caches.l2.capacity"]
    assert (capacity.value, capacity.origin, capacity.source) == ("512 KiB, 1 MiB", "varies", "")
    assert found["system.memory.latency"].value == "70 ns, 90 ns"
    assert found["trace.records"].origin == "study"
    assert found["timing"].origin == "default"
    assert settings(open_result(tmp_path)) == settings(result)


def test_presets_that_only_some_variants_name_are_told_too() -> None:
    own = {**SMALL, "timing": "queued", "what_if": {}, "sweep": {"system.memory.dram": ["ddr4-3200", "ddr5-4800"]}}
    own["system"] = {**SMALL["system"], "core": {"outstanding": 12}}
    plan = make_plan({key: value for key, value in own.items() if value})
    rows = [Row(run.label, run.factors, run.seed, "", "waiting", config=dump(run.scenario)) for run in plan.runs]
    found = settings(plan.result(rows))
    clocks = {held.origin: held for held in found if held.key == "system.memory.dram.frequency"}
    assert clocks["ddr5-4800"].value == "2.4 GHz"
    assert clocks["ddr5-4800"].source == "4800 MT/s, two a cycle"
    outstanding = next(held for held in found if held.key == "system.core.outstanding")
    assert (outstanding.origin, outstanding.source) == ("study", "")
