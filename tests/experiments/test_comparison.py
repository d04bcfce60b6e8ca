"""Variants over their seeds or the parts of a run, paired with the baseline, in the result, its table and JSON."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import tiersim
from tiersim._base.errors import StudyError
from tiersim.experiments.comparison import compare
from tiersim.experiments.results import Row, StudyResult, speed_up
from tiersim.experiments.scenario import Metric
from tiersim.experiments.scenarios import object_cache
from tiersim.experiments.statistics import Estimate, paired, paired_ratios, ratio_of_sums
from tiersim.experiments.table import number, show_result

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


def test_speedups_are_against_the_baseline_of_the_same_seed_and_point() -> None:
    def timed(variant: str, seed: int | None, cycles: float | None, **swept: Any) -> Row:
        made = row(variant, seed, 1.0, **swept)
        made.metrics = {} if cycles is None else {"cycles_per_instruction": cycles}
        return made

    rows = [timed("base", 0, 3.0), timed("base", 1, 4.0), timed("mine", 1, 2.0), timed("mine", 0, 2.0)]
    speed_up(rows, "base")
    assert [held.metrics["speedup"] for held in rows] == [1, 1, 2, 1.5]
    rows = [timed("base", None, 3.0, size=1), timed("base", None, 5.0, size=2), timed("mine", 7, 2.0, size=2)]
    speed_up(rows, "base")
    assert [held.metrics["speedup"] for held in rows] == [1, 1, 2.5]
    rows = [
        timed("base", 0, None),
        timed("mine", 0, 2.0),
        Row("alone", {}, 0, "", metrics={"cycles_per_instruction": 1.0}),
    ]
    speed_up(rows, "base")
    assert all("speedup" not in held.metrics for held in rows)


def test_a_study_with_variants_knows_speedups() -> None:
    system = {
        "caches": {"l1": {"capacity": "4 KiB", "ways": 4, "latency": "1 ns"}},
        "memory": {"latency": "80 ns"},
        "core": {"frequency": "1 GHz"},
    }
    study = {
        "study": "small",
        "scenario": "memory-hierarchy",
        "trace": {"use": "generated/zipf", "records": "20k", "footprint": "64 KiB", "seed": 1},
        "system": system,
        "report": {"metrics": ["speedup", "cycles_per_instruction"]},
    }
    with pytest.raises(StudyError, match="no metric 'speedup'"):
        tiersim.run(study, keep=False)
    done = tiersim.run(study | {"what_if": {"larger": {"system.caches.l1.capacity": "32 KiB"}}}, keep=False)
    base, larger = (held.metrics for held in done.rows)
    assert base["speedup"] == 1
    assert larger["speedup"] == base["cycles_per_instruction"] / larger["cycles_per_instruction"] > 1
    assert "speedup" in printed(done)


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


def test_a_study_of_exact_values_says_no_more_than_them() -> None:
    result = study([row("base", None, 11.0), row("mine", None, 10.0)])
    assert [held.metrics["misses"].value.method for held in result.compare()] == ["exact", "exact"]
    assert result.to_dict()["variants"][1]["metrics"]["misses"]["difference"]["method"] == "exact"
    text = printed(result)
    assert "seeds" not in text
    assert "±" not in text
    assert "-9.09 %" in text


# the parts of one run


def windows(
    over: Sequence[float], under: Sequence[float], ends: Sequence[float] | None = None
) -> dict[str, list[float]]:
    ratio = [a / b if b else math.nan for a, b in zip(over, under)]
    last = [step / len(over) for step in range(1, len(over) + 1)]
    return {"end": list(ends or last), "misses": ratio, "misses.weight": list(under)}


def alone(variant: str, over: Sequence[float], under: Sequence[float], **swept: Any) -> Row:
    made = row(variant, None, sum(over) / sum(under), **swept)
    made.tables = {"windows": windows(over, under)}
    return made


DRAWN = np.random.default_rng(0)
UNDER = [0.0] * 10 + DRAWN.integers(80, 120, 90).tolist()  # the first ten are warm-up
SOME = [held * share for held, share in zip(UNDER, DRAWN.uniform(0.3, 0.6, 100))]
LESS = [held - under * share for held, under, share in zip(SOME, UNDER, DRAWN.uniform(0.02, 0.06, 100))]
NOISE = [held + under * share for held, under, share in zip(SOME, UNDER, DRAWN.normal(0.002, 0.02, 100))]


def same(one: Estimate | None, other: Estimate) -> bool:
    """Equal but for rounding: numerators are told by ratio and weight."""
    assert one is not None
    ends = [one.value, one.low, one.high]
    return one.method == other.method and ends == pytest.approx([other.value, other.low, other.high])


def test_one_run_has_intervals_from_its_windows() -> None:
    base, mine = study([alone("base", SOME, UNDER), alone("mine", LESS, UNDER)]).compare()
    held, pair = mine.metrics["misses"], paired_ratios((LESS, UNDER), (SOME, UNDER))
    assert same(base.metrics["misses"].value, ratio_of_sums(SOME, UNDER))
    assert same(held.value, ratio_of_sums(LESS, UNDER))
    assert same(held.difference, pair.difference)
    assert same(held.ratio, pair.ratio)
    assert held.value.value == pytest.approx(sum(LESS) / sum(UNDER))
    assert held.told
    assert held.public()["estimate"]["method"] == "blocks of 17 windows"
    assert held.public()["superiority"] is None


def test_what_windows_cannot_tell_says_how_much_longer_a_trace_would() -> None:
    rows = [alone("base", SOME, UNDER), alone("mine", NOISE, UNDER), alone("other", NOISE[::-1], UNDER[::-1])]
    held = study(rows[:2]).compare()[1].metrics["misses"]
    assert not held.told
    assert held.longer is not None
    assert held.longer.times is not None
    assert held.longer.times > 1
    assert held.public()["length_needed"] == {"times": held.longer.times, "at_most": held.longer.at_most}
    more = study(rows).compare()[1].metrics["misses"]  # two tests ask for more
    assert more.p_adjusted >= held.p_adjusted
    assert more.longer is not None
    assert more.longer.times is not None
    assert more.longer.times > held.longer.times


def test_windows_that_are_others_are_not_paired() -> None:
    other = alone("mine", LESS[::2], UNDER[::2])
    held = study([alone("base", SOME, UNDER), other]).compare()[1].metrics["misses"]
    assert held.value.method == "blocks of 8 windows"
    assert held.difference is not None
    assert held.difference.method == "exact"
    apart = alone("mine", LESS, UNDER)
    apart.tables["windows"]["end"] = [end + 0.0004 for end in apart.windows["end"]]  # another line size, say
    held = study([alone("base", SOME, UNDER), apart]).compare()[1].metrics["misses"]
    assert same(held.difference, paired_ratios((LESS, UNDER), (SOME, UNDER)).difference)
    less = {"what_if": {"half": {"trace.limit": "10k"}, "sieve": {"cache.policy": "sieve"}}}
    _, half, sieve = tiersim.run(OBJECTS | less, keep=False).compare()
    found = [held.metrics["miss_ratio"].difference for held in (half, sieve)]
    assert [held and held.method for held in found] == ["exact", "blocks of 17 windows"]


def test_windows_without_weights_tell_nothing() -> None:
    rows = [alone("base", SOME, UNDER), alone("mine", LESS, UNDER)]
    for held in rows:
        del held.tables["windows"]["misses.weight"]
    assert all(held.metrics["misses"].value.method == "exact" for held in study(rows).compare())


def test_a_variant_that_changes_nothing_is_no_test() -> None:
    rows = [alone("base", SOME, UNDER), alone("twin", SOME, UNDER), alone("mine", LESS, UNDER)]
    _, twin, less = study(rows).compare()
    assert twin.metrics["misses"].test is None
    assert not twin.metrics["misses"].told
    held = less.metrics["misses"]
    assert held.test is not None
    assert held.p_adjusted == held.test.p  # of one test


def test_the_table_shows_how_far_intervals_reach() -> None:
    sides = {"base": SOME, "same": SOME, "mine": LESS, "noise": NOISE}
    result = study([alone(name, over, UNDER) for name, over in sides.items()])
    result.metrics = {"misses": Metric("misses", "ratio", "how many", "less")}
    text = printed(result)
    found = {line.split()[0]: line for line in text.splitlines() if line.split()[:1]}
    value = ratio_of_sums(SOME, UNDER)
    assert f"{100 * value.value:.3g} % ±{100 * (value.high - value.value):.1f}" in found["base"]
    assert found["same"].split()[-1] == "="
    pair = paired_ratios((LESS, UNDER), (SOME, UNDER)).ratio
    assert f"{100 * (pair.value - 1):+.3g} % ±{100 * (pair.high - pair.value):.2g}" in found["mine"]
    assert text.count("needs ") == 1  # at what chance explains
    assert "one sample of its kind" in text
    assert "±?" not in text
    assert "corrected for 2 comparisons (Holm)" in " ".join(text.split())


@pytest.mark.parametrize("seed", range(8))
def test_what_the_table_shows_agrees_with_the_test(seed: int) -> None:
    """Where ± reaches over 0 there is a p, and where it does not there is none."""
    draw = np.random.default_rng(seed)
    steps = np.repeat(draw.uniform(0.1, 0.9, 10), 10) * UNDER  # a baseline that wanders
    other = steps + draw.normal(0.004, 0.02, 100) * UNDER
    text = printed(study([alone("base", steps.tolist(), UNDER), alone("mine", other.tolist(), UNDER)]))
    (line,) = (line for line in text.splitlines() if line.split()[:1] == ["mine"])
    if ends := re.search(r"([+-][\d.]+) to ([+-][\d.]+)", text):
        over = float(ends[1]) <= 0 <= float(ends[2])
    else:
        by, reach = re.findall(r"([+-][\d.]+) % ±([\d.]+)", line)[-1]
        over = float(reach) > abs(float(by))
    assert over == ("needs" in text)


def test_a_few_long_phases_have_no_interval() -> None:
    steps = [0.9 * under if place < 50 else 0.1 * under for place, under in enumerate(UNDER)]
    text = printed(study([alone("base", SOME, UNDER), alone("mine", steps, UNDER)]))
    assert "±? stands where the run is a few long phases" in text
    (line,) = (line for line in text.splitlines() if line.split()[:1] == ["mine"])
    assert line.count("±?") == 2


def test_confidence_and_correction_are_as_asked() -> None:
    result = study([alone("base", SOME, UNDER), *(alone(name, NOISE, UNDER) for name in ("one", "two", "three"))])
    first = result.compare()[1].metrics["misses"]
    result.correction = "benjamini-hochberg"
    second = result.compare()[1].metrics["misses"]
    assert first.test is not None
    assert first.p_adjusted == pytest.approx(min(1, 3 * first.test.p))
    assert second.p_adjusted == pytest.approx(first.test.p)  # three alike
    assert "(Benjamini-Hochberg)" in printed(result)
    result.confidence = 0.5
    narrow = result.compare()[1].metrics["misses"]
    assert narrow.value.high - narrow.value.low < 0.6 * (first.value.high - first.value.low)
    assert "50 % interval" in printed(result)
    assert narrow.told == (narrow.p_adjusted < 0.5)


def test_sessions_are_paired_by_their_number() -> None:
    rows = [alone("base", SOME, UNDER), alone("mine", LESS, UNDER)]
    over, under = np.array([[9.0, 20, 4, 7, 30, 6, 9, 3, 8], [30.0, 50, 20, 20, 90, 30, 20, 10, 20]])
    for held, misses in zip(rows, (over, over - 2)):
        held.tables["sessions"] = windows(misses.tolist(), under.tolist()) | {"session": [*range(9)]}
        del held.tables["sessions"]["end"]
    result = study(rows)
    result.blocks = "sessions"
    held = result.compare()[1].metrics["misses"]
    pair = paired_ratios((over - 2, under), (over, under), "sessions")
    assert same(held.difference, pair.difference)
    assert held.public()["cohens_dz"] == pytest.approx(pair.effect)
    assert held.public()["superiority"] == 0  # the share of sessions in which it misses more
    assert "whole sessions" in printed(result)
    rows[1].tables["sessions"]["session"] = [*range(1, 10)]
    result = study(rows)
    result.blocks = "sessions"
    other = result.compare()[1].metrics["misses"].difference
    assert other is not None
    assert other.method == "exact"
    del rows[1].tables["sessions"]
    result = study(rows)
    result.blocks = "sessions"
    with pytest.raises(StudyError, match="mine has fewer than 8 sessions") as failed:
        result.compare()
    assert "blocks: requests" in failed.value.remedy


OBJECTS = {
    "study": "tenants",
    "scenario": "object-cache",
    "trace": {"use": "generated/zipf-objects", "requests": "20k", "objects": "2k", "tenants": 12, "warm_up": "10 %"},
    "cache": {"capacity": "200 objects", "policy": "lru"},
    "regret": True,
    "what_if": {"sieve": {"cache.policy": "sieve"}},
    "report": {"metrics": ["miss_ratio", "byte_miss_ratio", "regret"]},
}
MEMORY = {
    "study": "hierarchy",
    "scenario": "memory-hierarchy",
    "trace": {"use": "captured/sqlite-query", "limit": "200k", "warm_up": "13 %"},
    "system": "desktop-cpu",
    "what_if": {"larger lines": {"system.line": "128 B"}},
}


@pytest.mark.parametrize("asked", [OBJECTS, MEMORY, MEMORY | {"timing": "queued"}], ids=["objects", "memory", "queued"])
def test_weights_make_the_metric_of_its_parts(asked: dict[str, Any]) -> None:
    for held in tiersim.run(asked, keep=False).rows:
        split = [(table, name) for table in held.tables.values() for name in held.metrics if name in table]
        assert len(split) >= 3
        for table, name in split:
            values, weights = np.array(table[name]), np.array(table[f"{name}.weight"])
            assert np.nansum(values * weights) / weights.sum() == pytest.approx(held.metrics[name], rel=1e-12)


@pytest.mark.parametrize("blocks", ["requests", "sessions"])
def test_blocks_of_requests_or_sessions(blocks: str) -> None:
    """End to end: the same values, with intervals of the kind that the study asks for."""
    result = tiersim.run(OBJECTS | {"report": OBJECTS["report"] | {"blocks": blocks, "confidence": "90 %"}}, keep=False)
    _, mine = result.compare()
    assert set(mine.metrics) == {"miss_ratio", "byte_miss_ratio", "regret"}
    for name, held in mine.metrics.items():
        assert held.value.value == pytest.approx(result.rows[1].metrics[name])
        assert held.value.n == (90 if blocks == "requests" else 12)
        assert held.value.low < held.value.value < held.value.high
        assert held.difference is not None
        assert held.difference.value == pytest.approx(result.rows[1].metrics[name] - result.rows[0].metrics[name])
    assert "90 % interval" in printed(result)


def test_few_tenants_are_no_sessions_and_many_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(tenants: int) -> Row:
        return tiersim.run(OBJECTS | {"trace": OBJECTS["trace"] | {"tenants": tenants}}, keep=False).rows[0]

    assert "sessions" not in ran(7).tables
    assert len(ran(8).table("sessions")["session"]) == 8
    monkeypatch.setattr(object_cache, "SESSIONS", 10)
    monkeypatch.setattr(object_cache, "TENANTS", 20)
    held = ran(25)
    assert held.table("sessions")["session"] == [*range(10)]
    assert sum(held.table("sessions")["miss_ratio.weight"]) == held.metrics["requests"]
    assert "tenants.1.requests" not in held.metrics
    assert any("25 tenants" in note for note in held.notes)


@pytest.mark.parametrize("study", [MEMORY, OBJECTS | {"trace": "generated/zipf-objects"}], ids=["memory", "one tenant"])
def test_sessions_are_refused_where_there_are_none(study: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"base has no sessions.*`blocks: requests`"):
        tiersim.run(study | {"report": {"blocks": "sessions"}}, keep=False)


def test_sessions_are_refused_beside_seeds_and_where_they_are_few() -> None:
    seeds = {"what_if": {"random": {"cache.policy": "random"}}, "repeat": {"seeds": 3}}
    asked = {"report": {"blocks": "sessions"}}
    with pytest.raises(StudyError, match="with `repeat` intervals are those of seeds"):
        tiersim.run(OBJECTS | seeds | asked, keep=False)
    few = tiersim.run(OBJECTS | asked | {"trace": OBJECTS["trace"] | {"tenants": 7}}, keep=False)
    with pytest.raises(StudyError, match="base has fewer than 8 sessions"):
        few.compare()


@pytest.mark.parametrize(
    "wrong", [{"confidence": "40 %"}, {"confidence": "100 %"}, {"correction": "none"}, {"blocks": "x"}]
)
def test_what_a_report_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=next(iter(wrong)) + "|must"):
        tiersim.run(OBJECTS | {"report": wrong}, keep=False)


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


def test_many_bytes_have_a_prefix() -> None:
    values = (0, 5, 999_999, 10**6, 11_468_837_748_736, 2.5e20)
    assert [number(value, "bytes") for value in values] == ["0", "5", "999,999", "1 MB", "11.47 TB", "250 EB"]
    assert number(11_468_837_748_736, "") == "11,468,837,748,736"
