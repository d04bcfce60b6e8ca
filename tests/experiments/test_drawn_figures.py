"""Figures of sweeps that draw their points, from results written by hand: what is plotted, not how it looks."""

import math
from typing import Any

import numpy as np
import pytest

from tiersim.experiments.figures import default_figures, draw
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenario import Metric
from tiersim.experiments.statistics import estimate

pytest.importorskip("matplotlib")

CAPACITY, LATENCY, POLICY = "system.caches.l2.capacity", "system.memory.latency", "system.caches.l2.policy"
TIME = "average_access_time"
DRAWN: dict[str, str | list[Any]] = {CAPACITY: "log", LATENCY: "linear", POLICY: ["srrip", "lru", "fifo"]}
COUNT = 48


def point(number: int) -> dict[str, Any]:
    capacity = f"{256 * (1 + 7 * number % 33)} KiB"  # from 256 KiB to 8,448 KiB, and some of them twice
    return {CAPACITY: capacity, LATENCY: f"{60 + number} ns", POLICY: ["lru", "fifo", "srrip"][number % 3]}


def spent(number: int, variant: str, seed: int = 0) -> float:
    return 10 + number / 4 + 0.1 * (number * 37 % 11) - (variant != "base") + seed


def design(count: int = COUNT, variants: tuple[str, ...] = ("base", "twice"), seeds: int = 1) -> StudyResult:
    rows = []
    for variant in variants:
        for number in range(count):
            for seed in range(seeds):
                factors = {"what_if": variant} if len(variants) > 1 else {}
                factors |= point(number) | ({"seed": seed} if seeds > 1 else {})
                measured = {TIME: spent(number, variant, seed)}
                windows = {"end": [0.5, 1.0], "caches.l3.miss_ratio": [0.9, number / 100]}
                rows.append(Row(f"point {number}", factors, seed, "", metrics=measured, tables={"windows": windows}))
    metrics = {TIME: Metric(TIME, "ns", "", "less")}
    return StudyResult("demo", "", rows, [], metrics, [TIME], "base", [], {}, drawn=DRAWN)


def over(x: str, by: str | None = None) -> dict[str, Any]:
    return {"x": x, "y": TIME, "by": by, "title": None}


def axes_of(result: StudyResult, spec: dict[str, Any]) -> Any:
    return draw(result, spec).axes[0]


def clouds(axes: Any) -> list[Any]:
    """What is plotted as points, without the large marks."""
    return [line for line in axes.lines if line.get_alpha() == 0.5]


def means(axes: Any) -> list[Any]:
    return [held for held in axes.containers if type(held).__name__ == "ErrorbarContainer"]


def test_every_drawn_point_is_shown_and_no_line_joins_two() -> None:
    axes = axes_of(design(), over(LATENCY))
    first, second = clouds(axes)
    assert list(first.get_xdata()) == list(second.get_xdata()) == [1000 * (60 + number) for number in range(COUNT)]
    assert list(first.get_ydata()) == [spent(number, "base") for number in range(COUNT)]
    assert list(second.get_ydata()) == [spent(number, "twice") for number in range(COUNT)]
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    assert all(line.get_linestyle() == "None" for line in axes.lines)
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["base", "twice"]
    assert axes.figure.get_suptitle().split("\n")[1].startswith("48 points; ")


def test_an_axis_has_the_scale_that_points_were_drawn_on_with_round_ticks() -> None:
    axes = axes_of(design(), over(LATENCY))
    assert axes.get_xscale() == "linear"
    assert axes.get_xlabel() == "memory latency (ns)"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["60", "70", "80", "90", "100"]
    assert list(axes.get_xticks()) == [60_000, 70_000, 80_000, 90_000, 100_000]
    axes = axes_of(design(), over(CAPACITY))
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == [2**power for power in range(18, 24)]
    assert [text for tick in axes.get_xticklabels() if (text := tick.get_text())][-1] == "8 MiB"
    assert all(low <= 2**18 < 2**23 <= high for low, high in [axes.get_xlim()])


def test_a_range_of_plain_numbers_has_an_axis_too() -> None:
    result = design(variants=("base",))
    result.drawn = {"trace.skew": "log"}
    for number, row in enumerate(result.rows):
        row.factors = {"trace.skew": 0.02 + number / 50}
    axes = axes_of(result, over("trace.skew"))
    assert list(axes.get_xticks()) == [0.02, 0.05, 0.1, 0.2, 0.5]
    assert list(clouds(axes)[0].get_xdata()) == [0.02 + number / 50 for number in range(COUNT)]


def test_large_marks_are_means_of_equally_many_neighbours_with_their_intervals() -> None:
    axes = axes_of(design(), over(LATENCY))
    (line, _, (bars,)) = means(axes)[0].lines
    for part, middle, mean, segment in zip(range(6), *line.get_data(), bars.get_segments(), strict=True):
        held = [spent(number, "base") for number in range(8 * part, 8 * part + 8)]
        expected = estimate(held)
        assert middle == pytest.approx(1000 * (63.5 + 8 * part))
        assert mean == pytest.approx(np.mean(held))
        assert segment[:, 1] == pytest.approx([expected.low, expected.high])
    assert "means with 95 % intervals" in axes.figure.get_suptitle()


@pytest.mark.parametrize(("count", "parts"), [(15, 0), (16, 2), (24, 3), (100, 6)])
def test_few_points_have_no_means(count: int, parts: int) -> None:
    axes = axes_of(design(count, variants=("base",)), over(LATENCY))
    assert sum(len(held.lines[0].get_xdata()) for held in means(axes)) == parts
    assert ("means" in axes.figure.get_suptitle()) == bool(parts)
    assert len(clouds(axes)[0].get_xdata()) == count


def test_categories_are_columns_in_the_order_of_their_list() -> None:
    axes = axes_of(design(), over(POLICY))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["srrip", "lru", "fifo"]
    column = {"srrip": 0, "lru": 1, "fifo": 2}
    places = [list(line.get_xdata()) for line in clouds(axes)]
    for at in places:
        for number, place in enumerate(at):
            assert round(place) == column[point(number)[POLICY]]
    assert not set(places[0]) & set(places[1])
    assert len(set(places[0])) == COUNT  # no two lie over each other
    (line, _, _) = means(axes)[0].lines
    held = [[spent(number, "base") for number in range(first, COUNT, 3)] for first in (2, 0, 1)]
    assert list(line.get_ydata()) == pytest.approx([np.mean(one) for one in held])
    assert [round(place) for place in line.get_xdata()] == [0, 1, 2]


def test_a_category_tells_points_apart() -> None:
    axes = axes_of(design(variants=("base",)), over(LATENCY, POLICY))
    assert [len(line.get_xdata()) for line in clouds(axes)] == [16, 16, 16]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["srrip", "lru", "fifo"]
    assert list(clouds(axes)[0].get_xdata()) == [1000 * (60 + number) for number in range(2, COUNT, 3)]


def test_many_values_of_a_range_tell_points_apart_in_three_parts() -> None:
    axes = axes_of(design(variants=("base",)), over(CAPACITY, LATENCY))
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
        "60 ns to 75 ns",
        "76 ns to 91 ns",
        "92 ns to 107 ns",
    ]
    assert list(clouds(axes)[1].get_ydata()) == [spent(number, "base") for number in range(16, 32)]


def test_equal_variants_share_their_points() -> None:
    result = design()
    for row in result.rows:
        row.metrics[TIME] = 1.0
    axes = axes_of(result, over(LATENCY))
    assert len(clouds(axes)) == 1
    assert "the same for every variant" in axes.figure.get_suptitle()


def test_a_point_of_several_seeds_is_their_mean_with_its_range() -> None:
    axes = axes_of(design(8, seeds=3), over(LATENCY))
    assert list(clouds(axes)[0].get_ydata()) == pytest.approx([spent(number, "base", 1) for number in range(8)])
    ranges = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert ranges == [[spent(number, "base", 0), spent(number, "base", 2)] for number in range(8)]
    assert "8 points; mean and range of 3 seeds" in axes.figure.get_suptitle()


def test_a_failed_run_is_no_point() -> None:
    result = design(8)
    result.rows[3].status = "failed"
    first, second = clouds(axes_of(result, over(LATENCY)))
    assert (len(first.get_xdata()), len(second.get_xdata())) == (7, 8)
    assert 63_000 not in first.get_xdata()


def test_bars_and_courses_are_over_all_points() -> None:
    axes = axes_of(design(seeds=2), over("what_if"))
    held = [[spent(number, variant, seed) for number in range(COUNT) for seed in (0, 1)] for variant in ("base", "x")]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([np.mean(one) for one in held])
    assert "mean and range of 48 points with 2 seeds" in axes.figure.get_suptitle()
    assert "ns" not in axes.figure.get_suptitle()  # no factor is kept at a value
    axes = axes_of(design(), {"x": "time", "y": "caches.l3.miss_ratio", "by": None, "title": None})
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.9, 0.9, np.mean(range(COUNT)) / 100])
    assert "mean and range of 48 points" in axes.figure.get_suptitle()


def test_figures_of_a_design_that_names_none() -> None:
    found = [(spec["x"], spec["by"]) for spec in default_figures(design())]
    assert found == [
        ("what_if", POLICY),
        (CAPACITY, "what_if"),
        (LATENCY, "what_if"),
        (POLICY, "what_if"),
        ("time", POLICY),
    ]
    found = [(spec["x"], spec["by"]) for spec in default_figures(design(variants=("base",)))]
    assert found == [(CAPACITY, POLICY), (LATENCY, POLICY), (POLICY, None), ("time", POLICY)]


def test_what_goes_in_step_is_not_kept_at_its_first_value() -> None:
    result = design(3, variants=("base",))
    result.drawn = {}
    for number, row in enumerate(result.rows):
        row.factors = {CAPACITY: f"{1 << number} MiB", LATENCY: f"{70 + number} ns"}
    axes = axes_of(result, over(CAPACITY))
    assert list(axes.lines[0].get_ydata()) == [spent(number, "base") for number in range(3)]
    assert not any(map(math.isnan, axes.lines[0].get_ydata()))
    assert "memory latency in step" in axes.figure.get_suptitle()


@pytest.mark.parametrize("kind", ["random", "latin-hypercube", "sobol"])
def test_a_plan_tells_how_its_factors_are_drawn(kind: str) -> None:
    factors = {
        LATENCY: {"range": ["60 ns", "140 ns"], "step": "1 ns"},
        CAPACITY: {"range": ["256 KiB", "4 MiB"], "scale": "log", "step": "64 KiB"},
        POLICY: ["lru", {"use": "srrip", "bits": 3}],
    }
    study = {
        "study": "drawn",
        "scenario": "memory-hierarchy",
        "trace": {"use": "generated/zipf", "records": 1000, "footprint": "1 MiB"},
        "system": {"use": "desktop-cpu"},
    }
    swept = make_plan({**study, "sweep": {"design": kind, "points": 4, "factors": factors}})
    assert swept.result([]).drawn == {LATENCY: "linear", CAPACITY: "log", POLICY: ["lru", "srrip (bits: 3)"]}
    assert {run.factors[POLICY] for run in swept.runs} <= {"lru", "srrip (bits: 3)"}
    assert make_plan({**study, "sweep": {LATENCY: ["60 ns", "90 ns"]}}).result([]).drawn == {}
