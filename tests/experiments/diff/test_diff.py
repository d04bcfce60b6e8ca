"""Differences of real runs: what is switched, what it costs, and what is said where something cannot be."""

import json
from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from itertools import permutations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.experiments import expert_studies
from tiersim._base.errors import StudyError, TraceError
from tiersim.experiments.diff import Diff, changes
from tiersim.experiments.diff.shares import MOST
from tiersim.experiments.results import StudyResult
from tiersim.traces.store import Writer

STUDY: dict[str, Any] = {
    "study": "small",
    "scenario": "memory-hierarchy",
    "trace": {"use": "generated/zipf", "records": "4k", "footprint": "256 KiB", "write_share": "20 %", "seed": 1},
    "system": {
        "caches": {
            "l1": {"capacity": "4 KiB", "ways": 4, "latency": "1 ns"},
            "l2": {"capacity": "32 KiB", "ways": 8, "latency": "4 ns"},
        },
        "memory": {"latency": "80 ns"},
        "core": {"frequency": "1 GHz", "base_cpi": 0.5, "exposed": "50 %"},
    },
    "what_if": {
        "all three": {
            "system.caches.l2.capacity": "64 KiB",
            "system.caches.l2.policy": "srrip",
            "system.memory.latency": "100 ns",
        },
        "policy": {"system.caches.l2.policy": "srrip"},
        "capacity, latency": {"system.caches.l2.capacity": "64 KiB", "system.memory.latency": "100 ns"},
    },
}
KEYS = ("system.caches.l2.capacity", "system.caches.l2.policy", "system.memory.latency")
TIME = "average_access_time"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(**more: Any) -> StudyResult:
    return tiersim.run({**STUDY, **more}, keep=False)


def steps(found: Diff) -> dict[str, Fraction]:
    return {change.name: change.step for change in found.changes.steps}


def is_exact(found: Diff) -> None:
    """All that sums to the difference does so, without any tolerance."""
    total = found.difference
    if found.changes.method != "none":
        assert sum(steps(found).values()) == total
    if found.parts:
        assert sum(part.step for part in found.parts) == total
        assert sum(part.a for part in found.parts) == found.values[0]
    public = found.to_dict()
    assert sum(Fraction(step["exact"]) for step in public["by_change"]["steps"]) == Fraction(public["value"]["exact"])
    assert sum(Fraction(pair["exact"]) for pair in public["runs"]) == total * len(found.pairs)
    json.dumps(public, allow_nan=False)


def by_orders(study: dict[str, Any], settings: dict[str, Any], metric: str) -> dict[str, Fraction]:
    """Shapley values by their definition, each mixture a study of its own."""

    def value(keys: Sequence[str]) -> Fraction:
        chosen = {key: settings[key] for key in settings if key in keys}
        plain = {key: held for key, held in study.items() if key != "what_if"}
        rows = tiersim.run({**plain, "what_if": {"x": chosen}} if chosen else plain, keep=False).rows
        return Fraction(rows[-1].metrics[metric])

    out = dict.fromkeys(settings, Fraction(0))
    for order in permutations(settings):
        for place, key in enumerate(order):
            out[key] += value(order[: place + 1]) - value(order[:place])
    return {key: held / factorial(len(settings)) for key, held in out.items()}


def test_three_changes_have_the_values_of_their_definition() -> None:
    result = run()
    found = tiersim.diff((result, "base"), (result, "all three"), TIME, keep=False)
    assert found.changes.method == "shapley"
    assert steps(found) == by_orders(STUDY, STUDY["what_if"]["all three"], TIME)
    assert found.difference == Fraction(result.rows[1].metrics[TIME]) - Fraction(result.rows[0].metrics[TIME])
    assert found.changes.mixtures == 6
    assert found.changes.simulated == 4  # the study itself has two of them
    is_exact(found)
    assert {change.name: found.mark(change.step) for change in found.changes.steps} == {
        KEYS[0]: "better",
        KEYS[1]: "better",
        KEYS[2]: "worse",
    }


def test_the_other_way_round_every_step_is_negative() -> None:
    result = run()
    there = tiersim.diff((result, "base"), (result, "all three"), TIME, keep=False)
    back = tiersim.diff((result, "all three"), (result, "base"), TIME, keep=False)
    assert steps(back) == {name: -step for name, step in steps(there).items()}
    assert {part.name: part.step for part in back.parts} == {part.name: -part.step for part in there.parts}


def test_nothing_differs_between_a_result_and_itself() -> None:
    result = run()
    found = tiersim.diff(result, result, keep=False)
    assert (found.changes.method, found.changes.steps, found.difference) == ("none", [], 0)
    assert found.metric.name == result.shown[0]
    assert len(found.pairs) == 4
    is_exact(found)


def test_one_cause_is_the_difference_and_needs_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run()
    monkeypatch.setattr(changes, "scenario_of", None)  # not even a trace
    found = tiersim.diff((result, "base"), (result, "policy"), keep=False)
    assert found.changes.method == "one"
    assert steps(found) == {"system.caches.l2.policy": found.difference}
    assert found.difference != 0
    assert [cause.told() for cause in found.changes.causes] == [("lru", "srrip")]
    is_exact(found)


def test_a_second_time_nothing_is_simulated() -> None:
    result = run()
    first = tiersim.diff((result, "base"), (result, "all three"), TIME)
    assert first.changes.simulated == 4
    again = tiersim.diff((result, "all three"), (result, "base"), "cycles_per_instruction")
    assert (again.changes.mixtures, again.changes.simulated) == (6, 0)
    assert len(list(Path("results/diff/runs").glob("*.parquet"))) == 4


def test_the_parts_of_access_time_and_cycles_sum_to_them() -> None:
    result = run()
    for metric in (TIME, "cycles_per_instruction"):
        found = tiersim.diff((result, "base"), (result, "all three"), metric, keep=False)
        named = {part.name: part for part in found.parts}
        rest = named.pop("rounding", None)
        assert rest is None or abs(rest.a) + abs(rest.b) < Fraction(1, 10**12)
        level = "access_time" if metric == TIME else "cycles_per_instruction"
        assert {f"caches.l2.{level}", f"memory.{level}"} < set(named)
        # the L1 is the same in both, and its misses are what the L2 is asked for
        assert named[f"memory.{level}"].step == found.difference - sum(
            part.step for part in found.parts if part.name != f"memory.{level}"
        )
        is_exact(found)


def test_misses_are_of_three_kinds() -> None:
    result = run()
    found = tiersim.diff((result, "base"), (result, "capacity, latency"), "caches.l2.misses", keep=False)
    kinds = {part.name.rpartition(".")[2]: part.step for part in found.parts}
    assert set(kinds) <= {"cold_misses", "capacity_misses", "conflict_misses"}
    assert kinds["capacity_misses"] < 0
    assert steps(found)["system.memory.latency"] == 0
    is_exact(found)


def test_seeds_are_paired_and_a_run_without_stands_against_each() -> None:
    study = {"what_if": {"random": {KEYS[1]: "random"}, "larger": {KEYS[1]: "random", KEYS[0]: "64 KiB"}}}
    result = run(**study, repeat={"seeds": [3, 4]})
    found = tiersim.diff((result, "base"), (result, "larger"), TIME, keep=False)
    assert [pair[1].seed for pair in found.pairs] == [3, 4]
    assert found.pairs[0][0] is found.pairs[1][0]
    assert set(steps(found)) == set(KEYS[:2])  # the seed says nothing of the base
    is_exact(found)
    paired = tiersim.diff((result, "random"), (result, "larger"), TIME, keep=False)
    assert [(a.seed, b.seed) for a, b in paired.pairs] == [(3, 3), (4, 4)]
    assert paired.changes.method == "one"


def test_another_seed_is_a_cause() -> None:
    random = {"system": {**STUDY["system"], "memory": {"latency": "80 ns"}}, "what_if": {"random": {KEYS[1]: "random"}}}
    one, other = run(**random, seed=1), run(**random, seed=2)
    found = tiersim.diff((one, "random"), (other, "random"), TIME, keep=False)
    assert steps(found) == {"seed": found.difference}
    assert found.difference != 0
    assert tiersim.diff((one, "base"), (other, "base"), keep=False).changes.method == "none"
    both = tiersim.diff((one, "base"), (other, "random"), TIME, keep=False)
    assert set(steps(both)) == {KEYS[1]}
    larger = run(**{**random, "what_if": {"random": {KEYS[1]: "random", KEYS[0]: "64 KiB"}}}, seed=2)
    mixed = tiersim.diff((one, "random"), (larger, "random"), TIME, keep=False)
    assert set(steps(mixed)) == {"seed", KEYS[0]}
    is_exact(mixed)


@pytest.mark.slow
def test_many_causes_are_switched_in_order_and_in_its_reverse() -> None:
    caches = {name: {**held, "latency": "2 ns", "ways": 2} for name, held in STUDY["system"]["caches"].items()}
    caches["l1"]["capacity"], caches["l2"]["capacity"] = "8 KiB", "16 KiB"
    other = run(
        system={"caches": caches, "memory": {"latency": "90 ns"}, "core": {**STUDY["system"]["core"], "base_cpi": 1}},
        what_if={"x": {KEYS[1]: "fifo"}},
    )
    found = tiersim.diff((run(), "base"), (other, "x"), "cycles_per_instruction", keep=False)
    assert found.changes.method == "both-ways"
    assert len(found.changes.causes) > MOST
    assert found.changes.mixtures == 2 * len(found.changes.causes) - 2
    assert steps(found)["system.core.base_cpi"] == Fraction(1, 2)  # adds to all of it, in any order
    is_exact(found)
    back = tiersim.diff((other, "x"), (run(), "base"), "cycles_per_instruction", keep=False)
    assert {name: -step for name, step in steps(back).items()} == steps(found)


def test_causes_that_need_each_other_are_one() -> None:
    """Ways alone do not divide the new capacity, nor the new ways the old one."""
    caches = STUDY["system"]["caches"]
    other = {"l1": caches["l1"], "l2": {**caches["l2"], "capacity": "48 KiB", "ways": 6}}
    memory = {"latency": "100 ns"}
    b = run(system={**STUDY["system"], "caches": other, "memory": memory}, what_if={"x": {"system.line": "64 B"}})
    found = tiersim.diff((run(), "base"), (b, "base"), TIME, keep=False)
    assert set(steps(found)) == {"system.caches.l2.capacity + system.caches.l2.ways", "system.memory.latency"}
    (note,) = found.changes.notes
    assert "system.caches.l2.capacity and system.caches.l2.ways are one cause" in note
    is_exact(found)


def test_a_cache_that_only_one_has_is_one_cause() -> None:
    caches = {**STUDY["system"]["caches"], "l3": {"capacity": "128 KiB", "ways": 8, "latency": "10 ns"}}
    b = run(system={**STUDY["system"], "caches": caches, "memory": {"latency": "100 ns"}})
    found = tiersim.diff((run(), "base"), (b, "base"), TIME, keep=False)
    assert "system.caches.l3" in " ".join(steps(found))
    named = {part.name: part for part in found.parts}
    assert named["caches.l3.access_time"].a == 0 < named["caches.l3.access_time"].b
    is_exact(found)


def test_another_trace_is_a_cause_of_its_own() -> None:
    b = run(trace={"use": "generated/stride", "records": "4k", "footprint": "64 KiB"}, what_if=STUDY["what_if"])
    found = tiersim.diff((run(), "base"), (b, "policy"), TIME, keep=False)
    assert set(steps(found)) == {"trace", KEYS[1]}
    assert found.changes.causes[0].told() == ("generated/zipf", "generated/stride")
    is_exact(found)


def test_studies_are_matched_run_by_run() -> None:
    slower = {**STUDY["system"], "memory": {"latency": "90 ns"}}
    a, b = run(), run(system=slower, what_if={**STUDY["what_if"], "only here": {KEYS[0]: "16 KiB"}})
    found = tiersim.diff(a, b, TIME, keep=False)
    assert [pair[0].label for pair in found.pairs] == ["base", "all three", "policy", "capacity, latency"]
    assert [label for label, _ in found.only_b] == ["only here"]
    # two what_ifs set the latency themselves
    assert [a.key == b.key for a, b in found.pairs] == [False, True, False, True]
    assert steps(found) == {"system.memory.latency": found.difference}
    is_exact(found)


def test_studies_whose_runs_differ_by_other_causes_have_shares_of_runs() -> None:
    a = run()
    b = run(what_if={**STUDY["what_if"], "policy": {KEYS[1]: "fifo"}, "all three": {KEYS[2]: "100 ns"}})
    found = tiersim.diff(a, b, TIME, keep=False)
    assert found.changes.method == "runs"
    assert set(steps(found)) == {"base", "all three", "policy", "capacity, latency"}
    assert steps(found)["base"] == 0
    assert steps(found)["policy"] == found.to_dict()["runs"][2]["step"] / Fraction(4) or steps(found)["policy"] != 0
    is_exact(found)


def test_swept_variants_are_matched_by_what_is_swept() -> None:
    result = run(sweep={"system.memory.latency": ["80 ns", "120 ns"]}, what_if={"policy": {KEYS[1]: "srrip"}})
    found = tiersim.diff((result, "base"), (result, "policy"), TIME, keep=False)
    assert [pair[1].label for pair in found.pairs] == ["policy, latency 80 ns", "policy, latency 120 ns"]
    assert steps(found) == {KEYS[1]: found.difference}
    one = tiersim.diff((result, "base, latency 80 ns"), (result, "policy, latency 120 ns"), TIME, keep=False)
    assert set(steps(one)) == {KEYS[1], KEYS[2]}
    is_exact(one)
    half = tiersim.diff((result, "policy, latency 80 ns"), (result, "base"), TIME, keep=False)
    assert [pair[1].label for pair in half.pairs] == ["base, latency 80 ns"]
    assert half.only_b == [("base, latency 120 ns", "small:policy, latency 80 ns has no such run")]
    with pytest.raises(StudyError, match="small:policy is one run, and small:base is 2") as error:
        tiersim.diff((run(), "policy"), (result, "base"), keep=False)
    assert error.value.remedy == "name one of them by its own label"


def test_other_code_is_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = run()
    with monkeypatch.context() as patch:
        patch.setattr("tiersim.experiments.runner.code_hash", lambda modules: "another version")
        before = run()
    for row in before.rows:  # as another version may have measured it
        row.metrics = {**row.metrics, TIME: row.metrics[TIME] + 1}
    found = tiersim.diff(before, now, TIME, keep=False)
    assert steps(found) == {"code": Fraction(-1)}
    is_exact(found)
    # a change beside it: A is run again, and what that changes is a step
    found = tiersim.diff((before, "base"), (now, "all three"), TIME, keep=False)
    assert set(steps(found)) == {"code: A run again", *KEYS}
    assert steps(found)["code: A run again"] == pytest.approx(-1)
    is_exact(found)
    own = tiersim.diff((now, "base"), (now, "all three"), TIME, keep=False)
    assert {key: steps(found)[key] for key in KEYS} == steps(own)
    # of one study both ends are of the same code, and one cause between them needs no run
    assert tiersim.diff((before, "base"), (before, "policy"), TIME, keep=False).changes.method == "one"
    back = tiersim.diff((now, "all three"), (before, "base"), TIME, keep=False)
    assert steps(back)["code: B run again"] == -steps(found)["code: A run again"]


def test_runs_that_only_the_code_changed_are_among_those_that_a_key_changed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tiersim.experiments.runner.code_hash", lambda modules: "another version")
        before = run()
    for row in before.rows:
        row.metrics = {**row.metrics, TIME: row.metrics[TIME] + 1}
    now = run(system={**STUDY["system"], "memory": {"latency": "90 ns"}})
    found = tiersim.diff(before, now, TIME, keep=False)  # two of four set the latency themselves
    assert [len(changes.causes_of(a.config, b.config)) for a, b in found.pairs] == [1, 0, 1, 0]
    assert set(steps(found)) == {"code: A run again", KEYS[2]}
    assert steps(found)["code: A run again"] == pytest.approx(-1)
    own = tiersim.diff(run(), now, TIME, keep=False)
    assert steps(own) == {KEYS[2]: steps(found)[KEYS[2]]}
    is_exact(found)


def _trace(path: Path, stride: int) -> None:
    count = 2000
    address = (np.arange(count, dtype=np.uint64) * np.uint64(stride)) % np.uint64(1 << 17)
    with Writer(path) as out:
        kind = np.zeros(count, np.uint8)
        out.append({"address": address, "size": np.full(count, 8, np.uint16), "kind": kind, "gap": kind + np.uint32(1)})


def test_a_trace_whose_file_changed_is_told_from_other_code() -> None:
    path = Path("own.parquet")
    _trace(path, 64)
    before = run(trace={"use": str(path)})
    path.unlink()
    copy = StudyResult(**{item.name: getattr(before, item.name) for item in fields(before) if item.init})
    assert tiersim.diff(before, copy, TIME, keep=False).changes.method == "none"  # without the trace
    _trace(path, 192)
    now = run(trace={"use": str(path)})
    found = tiersim.diff((before, "base"), (now, "base"), TIME, keep=False)
    assert [name.split(" ")[0] for name in steps(found)] == ["trace"]
    found = tiersim.diff((before, "base"), (now, "capacity, latency"), TIME, keep=False)
    assert set(steps(found)) == {"trace: A run again", KEYS[0], KEYS[2]}
    is_exact(found)


def test_a_trace_that_is_gone_is_needed_for_several_causes_only() -> None:
    path = Path("own.parquet")
    _trace(path, 64)
    result = run(trace={"use": str(path)})
    path.unlink()
    assert tiersim.diff((result, "base"), (result, "policy"), TIME, keep=False).changes.method == "one"
    with pytest.raises(TraceError, match="stands between 'base' and 'all three' cannot be run") as error:
        tiersim.diff((result, "base"), (result, "all three"), TIME, keep=False)
    assert "own.parquet" in error.value.message
    assert "differ by one cause need none" in error.value.remedy
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("metric", "message", "remedy"),
    [
        ("average_acces_time", "has the metric 'average_acces_time'", "average_access_time"),
        ("nothing like it", "no run of small and of small has the metric", "both have: average_access_time"),
        ("speedup", "already a comparison", "made of"),
    ],
)
def test_a_metric_that_not_both_have_is_refused(metric: str, message: str, remedy: str) -> None:
    result = run()
    with pytest.raises(StudyError, match=message) as error:
        tiersim.diff(result, result, metric, keep=False)
    assert remedy in error.value.remedy


def test_an_unknown_label_is_refused_with_its_nearest_spelling() -> None:
    result = run()
    with pytest.raises(StudyError, match="no run of small is called 'all tree'") as error:
        tiersim.diff((result, "base"), (result, "all tree"), keep=False)
    assert "all three" in error.value.remedy
    with pytest.raises(StudyError, match="called 'x'") as error:
        tiersim.diff((result, "base"), (result, "x"), keep=False)
    assert error.value.remedy == "there are: base, all three, policy, capacity, latency"


def test_studies_without_a_run_in_common_are_refused() -> None:
    result = run(sweep={"trace.seed": [2, 3]})
    with pytest.raises(StudyError, match="no run of small has its like in small") as error:
        tiersim.diff(result, run(), keep=False)
    assert "FOLDER:LABEL" in error.value.remedy


CACHE: dict[str, Any] = {
    "study": "objects",
    "scenario": "object-cache",
    "trace": {"use": "generated/loop-objects", "requests": "3k", "objects": 300},
    "cache": {"capacity": "10 %", "policy": "lru"},
    "regret": True,
    "what_if": {"both": {"cache.policy": "s3-fifo", "cache.capacity": "20 %"}},
}


def test_a_cache_of_objects_is_explained() -> None:
    result = tiersim.run(CACHE, keep=False)
    found = tiersim.diff((result, "base"), (result, "both"), keep=False)
    assert found.metric.name == "miss_ratio"
    assert steps(found) == by_orders(CACHE, CACHE["what_if"]["both"], "miss_ratio")
    assert [part.name for part in found.parts] == ["regret", "what Belady's policy misses too"]
    is_exact(found)


def test_other_scenarios_are_refused() -> None:
    with pytest.raises(StudyError, match="of the scenario memory-hierarchy, and objects of object-cache") as error:
        tiersim.diff(run(), tiersim.run(CACHE, keep=False), keep=False)
    assert "one scenario" in error.value.remedy


def test_experts_that_do_not_fit_are_explained() -> None:
    expert_studies.write_trace(Path("routing.parquet"), 1)
    what_if = {"both": {"policy": "moe-infinity", "system.expert_slots": "5 per layer"}}
    result = tiersim.run({**expert_studies.STUDY, "what_if": what_if}, keep=False)
    found = tiersim.diff((result, "base"), (result, "both"), "tpot.mean", keep=False)
    assert set(steps(found)) == {"policy", "system.expert_slots"}
    is_exact(found)
    named = {part.name: part for part in found.parts}
    rest = named.pop("computing and exchanging")
    assert set(named) <= {"stall_time", "wait_time"}
    # with one GPU there is nothing to exchange: what is left is the time that it computes
    for value, row in ((rest.a, found.pairs[0][0]), (rest.b, found.pairs[0][1])):
        assert float(value) == pytest.approx(row.metrics["gpu.busy"] * row.metrics["tpot.mean"], rel=1e-9)
    rate = tiersim.diff((result, "base"), (result, "both"), keep=False)
    assert rate.metric.name == "tokens_per_second"
    assert rate.parts == []
    is_exact(rate)


def test_the_stages_of_requests_are_parts() -> None:
    study = {
        "study": "served",
        "scenario": "serving",
        "trace": {"use": "generated/conversations", "requests": 60},
        "system": {
            "instance": {"time_model": {"use": "linear", "prefill": "1 ms/token"}, "memory": {"capacity": "1M tokens"}}
        },
        "what_if": {"slower": {"system.instance.time_model.prefill": "4 ms/token"}},
    }
    result = tiersim.run(study, keep=False)
    for metric, first in (("ttft.mean", "queue.mean"), ("e2e.mean", "ttft.mean")):
        found = tiersim.diff((result, "base"), (result, "slower"), metric, keep=False)
        assert [part.name for part in found.parts][:1] == [first]
        assert all(part.a >= 0 <= part.b for part in found.parts)
        is_exact(found)


def test_addresses_that_are_translated_are_explained() -> None:
    study = {
        "study": "walks",
        "scenario": "translation",
        "trace": {"use": "generated/zipf", "records": "3k", "footprint": "64 MiB"},
        "system": "victima-paper",
        "what_if": {"slower": {"system.memory.latency": "200 ns", "system.core.base_cpi": 1.5}},
    }
    result = tiersim.run(study, keep=False)
    found = tiersim.diff((result, "base"), (result, "slower"), keep=False)
    assert found.metric.name == "cycles_per_instruction"
    named = {part.name: part for part in found.parts}
    rest = named.pop("rounding", None)
    assert rest is None or abs(rest.a) + abs(rest.b) < Fraction(1, 10**9)
    assert named["translation.cycles_per_instruction"].step > 0
    assert named["memory.cycles_per_instruction"].step > 0
    row = found.pairs[0][0]
    share = row.metrics["translation.share"] * row.metrics["cycles_per_instruction"]
    assert float(named["translation.cycles_per_instruction"].a) == pytest.approx(share)
    is_exact(found)
