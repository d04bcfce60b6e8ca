"""Repeated studies: variants over their seeds, paired with the baseline, in the result, its table, JSON and report."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tiersim
from tiersim._base.errors import StudyError
from tiersim.experiments.comparison import compare
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenario import Metric
from tiersim.experiments.statistics import paired
from tiersim.experiments.table import show_result

METRICS = {"misses": Metric("misses", "", "how many", "less")}


def row(variant: str, seed: int | None, misses: float | None, **swept: Any) -> Row:
    factors = {"what_if": variant, **swept, **({} if seed is None else {"seed": seed})}
    metrics = {} if misses is None else {"misses": misses}
    status = "failed" if misses is None else "done"
    return Row(variant, factors, seed or 0, f"{variant}{seed}{swept}", status=status, metrics=metrics)


def study(rows: list[Row]) -> StudyResult:
    return StudyResult("demo", "Does it help?", rows, [], METRICS, ["misses"], "base", [], {})


BASE, MINE = [10.0, 12.0, 11.0, 13.0, 9.0], [9.0, 11.5, 10.2, 12.1, 8.3]


def seeds_of(variant: str, values: list[float], **swept: Any) -> list[Row]:
    return [row(variant, seed, value, **swept) for seed, value in enumerate(values)]


def test_seed_is_paired_with_seed() -> None:
    base, mine = compare([*seeds_of("base", BASE), *seeds_of("mine", MINE)], "base", ["misses"])
    right = paired(MINE, BASE)
    held = mine.metrics["misses"]
    assert (held.difference, held.ratio) == (right.difference, right.ratio)
    assert held.test is not None
    assert (held.test.p, held.p_adjusted) == (right.p, right.p)  # one test needs no correction
    assert held.told
    assert mine.seeds == [0, 1, 2, 3, 4]
    alone = base.metrics["misses"]
    assert alone.value.value == pytest.approx(11)
    assert (alone.difference, alone.test, alone.told) == (None, None, False)


def test_pairs_know_their_seeds_whatever_the_order() -> None:
    shuffled = seeds_of("mine", MINE)[::-1]
    first = compare([*seeds_of("base", BASE), *seeds_of("mine", MINE)], "base", ["misses"])[1]
    other = compare([*shuffled, *seeds_of("base", BASE)], "base", ["misses"])[0]
    assert first.metrics["misses"].difference == other.metrics["misses"].difference
    lost = compare([*seeds_of("base", BASE[:4]), *seeds_of("mine", MINE)], "base", ["misses"])[1]
    assert lost.metrics["misses"].difference is not None
    assert lost.metrics["misses"].difference.n == 4  # the fifth has no partner


def test_a_baseline_that_no_seed_reaches_stands_against_every_seed() -> None:
    rows = [row("base", None, 11.0), *seeds_of("random", MINE)]
    base, mine = compare(rows, "base", ["misses"])
    assert base.metrics["misses"].value.method == "exact"
    assert base.seeds == []
    held = mine.metrics["misses"]
    assert held.difference == paired(MINE, [11.0] * 5).difference
    result = study(rows)
    assert [result.base_of(other) for other in rows] == [None, *[rows[0]] * 5]


def test_points_of_a_sweep_have_baselines_of_their_own() -> None:
    rows = [
        *(item for size in (1, 2) for item in seeds_of("base", [value * size for value in BASE], size=size)),
        *(item for size in (1, 2) for item in seeds_of("mine", [value * size for value in MINE], size=size)),
    ]
    found = {(held.label, held.factors["size"]): held.metrics["misses"] for held in compare(rows, "base", ["misses"])}
    one, two = found["mine", 1], found["mine", 2]
    assert one.difference is not None
    assert two.difference is not None
    assert two.difference.value == pytest.approx(2 * one.difference.value)
    assert one.test is not None
    assert one.p_adjusted == pytest.approx(2 * one.test.p)  # Holm, of two
    result = study(rows)
    for other in rows:
        base = result.base_of(other)
        if base is not None:
            assert (base.factors["size"], base.seed) == (other.factors["size"], other.seed)


def test_failed_runs_and_values_that_are_none() -> None:
    rows = [*seeds_of("base", BASE), row("mine", 0, None), *seeds_of("mine", MINE)[1:4], row("mine", 4, math.nan)]
    mine = compare(rows, "base", ["misses", "absent"])[1]
    assert (mine.failed, mine.seeds) == (1, [1, 2, 3, 4])
    assert mine.metrics.keys() == {"misses"}
    assert mine.metrics["misses"].value.n == 3
    assert mine.public()["failed"] == 1


def test_what_cannot_be_told_says_how_many_more_it_needs() -> None:
    base, mine = [10.0, 12.0, 11.0, 13.0, 9.0], [10.4, 11.5, 11.3, 12.4, 9.6]
    held = compare([*seeds_of("base", base), *seeds_of("mine", mine)], "base", ["misses"])[1].metrics["misses"]
    assert not held.told
    assert held.needed is not None
    assert held.public()["repeats_needed"]["more"] == held.needed.more


def printed(result: StudyResult) -> str:
    out = io.StringIO()
    show_result(result, Console(file=out, width=140, no_color=True))
    return out.getvalue()


def test_a_table_of_repeats_has_a_line_a_variant() -> None:
    text = printed(study([*seeds_of("base", BASE), *seeds_of("mine", MINE)]))
    assert "seeds" in text
    assert "95 % intervals" in text
    (line,) = (line for line in text.splitlines() if line.split()[:1] == ["mine"])
    assert line.split()[1] == "5"
    assert "9.0 to 13.0" in text  # the interval of the baseline
    assert "p = " in text or "p < " in text


def test_a_study_without_repeats_is_as_it_was() -> None:
    result = study([row("base", None, 11.0), row("mine", None, 10.0)])
    assert result.compare() == []
    assert "variants" not in result.to_dict()
    text = printed(result)
    assert "seeds" not in text
    assert "-9.09 %" in text


def test_a_random_policy_against_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """End to end: the baseline runs once, the variant with three seeds, and both forms tell the same."""
    monkeypatch.chdir(tmp_path)
    result = tiersim.run(
        {
            "study": "seeds",
            "scenario": "object-cache",
            "trace": {"use": "generated/zipf-objects", "requests": "20k", "objects": "2k"},
            "cache": {"capacity": "200 objects", "policy": "lru"},
            "what_if": {"random": {"cache.policy": "random"}},
            "repeat": {"seeds": 3},
        }
    )
    assert len(result.rows) == 4
    base, mine = result.compare()
    held = mine.metrics["miss_ratio"]
    assert base.metrics["miss_ratio"].value.method == "exact"
    assert held.difference is not None
    values = [other.metrics["miss_ratio"] - result.rows[0].metrics["miss_ratio"] for other in result.rows[1:]]
    assert held.difference.value == pytest.approx(sum(values) / 3)
    assert held.difference.low < held.difference.value < held.difference.high
    public = result.to_dict()["variants"]
    assert public[1]["metrics"]["miss_ratio"]["estimate"]["n"] == 3
    windows = result.over_windows(result.rows[1], "miss_ratio", after=0.1)
    assert windows.low < windows.value < windows.high
    with pytest.raises(StudyError, match="has no windows of nothing"):
        result.over_windows(result.rows[1], "nothing")
