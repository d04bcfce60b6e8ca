"""Figures of changes against a variant, of means over a factor, and of reuse, from results written by hand."""

import math
from typing import Any

import pytest

import tiersim
from tiersim._base.errors import StudyError
from tiersim.experiments.figures import draw
from tiersim.experiments.figures.derived import derived
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import SPEEDUP, Row, StudyResult
from tiersim.experiments.scenario import Metric

pytest.importorskip("matplotlib")

TRACE, SIZE, FACTOR = "trace", "system.caches.l2.capacity", "system.core.stall_factor"
# walks of base and of the other variant, by trace
WALKS = {"generated/bfs (scale: 22)": (100, 50), "generated/gups": (400, 100)}


def run(trace: str, variant: str, value: float, seed: int = 0, **more: Any) -> Row:
    factors = {"what_if": variant, TRACE: trace, FACTOR: f"{len(trace)} %", "seed": seed, **more}
    reuse = {"least": [0, 1, 6], "zero": [6 - seed, 3 + seed, 1]} if variant == "base" else {}
    return Row(variant, factors, seed, "", metrics={"walks": value, "zero": 0.6}, tables={"reuse": reuse})


def result(rows: list[Row]) -> StudyResult:
    return StudyResult("demo", "", rows, [], {"walks": Metric("walks", "walks", "", "less")}, ["walks"], "base", [], {})


def two(seeds: int = 1) -> StudyResult:
    return result(
        [
            run(trace, variant, value * (1 + seed), seed)
            for trace, values in WALKS.items()
            for variant, value in zip(("base", "other"), values, strict=True)
            for seed in range(seeds)
        ]
    )


def bars_of(figure: Any) -> dict[str, list[float]]:
    """The lengths of the bars of each row, by its name."""
    axes = figure.axes[0]
    names = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    found: dict[str, list[float]] = {name: [] for name in names}
    for patch in axes.patches:
        found[names[round(patch.get_y() + patch.get_height() / 2)]].append(patch.get_width())
    return found


AGAINST = {"x": TRACE, "y": "walks", "by": None, "title": None, "against": "base", "variants": ["other"]}


def test_a_change_is_that_of_each_run_against_its_own_baseline() -> None:
    assert bars_of(draw(two(), AGAINST)) == {"bfs": [-0.5], "gups": [-0.75]}
    assert bars_of(draw(two(seeds=3), AGAINST)) == {"bfs": [-0.5], "gups": [-0.75]}


def test_a_baseline_that_no_seed_reaches_is_that_of_every_seed() -> None:
    rows = two(seeds=2).rows
    alone = [row for row in rows if row.factors["what_if"] == "other" or row.seed == 0]
    for row in alone:
        if row.factors["what_if"] == "base":
            del row.factors["seed"]
    made, _ = derived(result(alone), AGAINST)
    assert [row.metrics["change of walks against base"] for row in made.rows] == [-0.5, 0, -0.75, -0.5]


def test_the_mean_of_changes_is_geometric_and_one_more_bar() -> None:
    bars = bars_of(draw(two(), AGAINST | {"mean": TRACE}))
    assert list(bars) == ["bfs", "gups", "geometric mean"]
    assert bars["geometric mean"] == [pytest.approx(math.sqrt(0.5 * 0.25) - 1)]


def test_the_mean_of_values_is_arithmetic() -> None:
    bars = bars_of(draw(two(), {"x": TRACE, "y": "walks", "by": None, "title": None, "mean": TRACE}))
    assert bars["mean"] == [250, 75]  # of both variants


def test_a_mean_over_another_factor_leaves_one_line_a_variant() -> None:
    rows = [
        run(trace, variant, value / (2 if size == "2 MiB" else 1), **{SIZE: size})
        for trace, values in WALKS.items()
        for variant, value in zip(("base", "other"), values, strict=True)
        for size in ("1 MiB", "2 MiB")
    ]
    axes = draw(result(rows), {"x": SIZE, "y": "walks", "by": "what_if", "title": None, "mean": TRACE}).axes[0]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[250, 125], [75, 37.5]]
    assert FACTOR not in axes.figure.get_suptitle()  # it goes with the trace


def test_a_speedup_is_called_so() -> None:
    rows = two().rows
    for row in rows:
        row.metrics[SPEEDUP.name] = 100 / row.metrics["walks"]
    figure = draw(result(rows), AGAINST | {"y": SPEEDUP.name})
    assert bars_of(figure) == {"bfs": [1.0], "gups": [3.0]}
    assert figure.axes[0].get_xlabel() == "speedup over base (%)"


def test_reuse_is_shown_in_shares() -> None:
    spec = {"x": "reuse", "y": "zero", "by": TRACE, "title": None}
    for lengths in bars_of(draw(two(), spec)).values():
        assert lengths == pytest.approx([0.6, 0.3, 0.1])
    figure = draw(two(seeds=3), spec)  # 6, 5 and 4 of ten were not hit
    assert bars_of(figure)["bfs"] == pytest.approx([0.5, 0.4, 0.1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1 to 5", "6 or more"]


@pytest.mark.parametrize("spec", [{"x": "reuse", "y": "walks"}, {"x": "reuse", "y": "zero", "variants": ["other"]}])
def test_what_has_no_reuse_is_one_message(spec: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="no figure of the reuse of"):
        draw(two(), {"by": TRACE, "title": None, **spec})


def test_a_change_against_what_has_not_run_is_one_message() -> None:
    rows = [row for row in two().rows if row.factors["what_if"] == "other"]
    with pytest.raises(StudyError, match="no figure of change of walks against base over trace"):
        draw(result(rows), AGAINST)


def study(**figure: Any) -> dict[str, Any]:
    return {
        "study": "figures",
        "scenario": "memory-hierarchy",
        "trace": "generated/stride",
        "system": "desktop-cpu",
        "what_if": {"other": {"system.memory.latency": "99 ns"}},
        "sweep": {"trace.seed": [1, 2]},
        "report": {"figures": [{"x": "what_if", "y": "cycles_per_instruction", **figure}]},
    }


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({"against": "bass"}, "no variant is called 'bass'; did you mean 'base'"),
        ({"variants": ["base", "othr"]}, "no variant is called 'othr'; did you mean 'other'"),
        ({"mean": "trace.sed"}, "nothing varies 'trace.sed'; did you mean 'trace.seed'"),
    ],
)
def test_what_a_figure_names_is_checked_before_anything_runs(figure: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        make_plan(study(**figure))


def test_a_study_draws_them() -> None:
    made = tiersim.run(study(y="speedup", against="other", mean="trace.seed"), ["trace.limit=2k"], keep=False)
    (spec,) = made.figures
    bars = bars_of(draw(made, spec))
    base, other = (
        [row.metrics["cycles_per_instruction"] for row in made.rows if row.factors["what_if"] == name]
        for name in ("base", "other")
    )
    ratios = [slow / fast for fast, slow in zip(base, other, strict=True)]
    assert bars["base (baseline)"] == [pytest.approx(math.prod(ratios) ** 0.5 - 1)]
    assert bars["other"] == [0]
