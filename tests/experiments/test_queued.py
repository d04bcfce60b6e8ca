"""Queued time in a study: the same counts as additive time, same bytes again, copies that contend."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tiersim
from tests.sim.queued.test_timeline import read
from tiersim._base.registry import index
from tiersim.cli import main
from tiersim.experiments.time_parts import ADDITIVE

STUDY: dict[str, Any] = {
    "study": "contention",
    "scenario": "memory-hierarchy",
    "trace": {"use": "captured/graph-bfs", "limit": "60k", "warm_up": "10 %"},
    "system": {"use": "desktop-cpu", "memory": {"dram": "ddr4-3200"}},
    "timing": "queued",
}
TIMES = ("time", "average_access_time", "cycles_per_instruction", "stalled", "memory.latency", "memory.bandwidth")


def metrics(changes: dict[str, Any] | None = None, **given: Any) -> list[dict[str, int | float]]:
    study = STUDY | given
    if changes:
        study = study | {"what_if": changes}
    rows = tiersim.run(study, keep=False).rows
    assert all(row.status == "done" for row in rows), [row.error for row in rows]
    return [row.metrics for row in rows]


def counted(held: dict[str, int | float]) -> dict[str, int | float]:
    kept = ("caches.", "accesses", "instructions")
    return {key: value for key, value in held.items() if key.startswith(kept) and not key.endswith(ADDITIVE)}


# every policy once, and each pair is compiled once
PAIRS = [("lru", "srrip"), ("tree-plru", "clock"), ("fifo", "random"), ("belady", "belady")]
PAIRS += [("lru", "tlb-aware-srrip")]


def test_every_policy_is_among_the_pairs() -> None:
    assert {name for pair in PAIRS for name in pair} == {entry.name for entry in index("way-replacement").values()}


@pytest.mark.parametrize("pair", PAIRS)
def test_additive_and_queued_count_alike(pair: tuple[str, str]) -> None:
    """Contents change in program order at issue, and timing follows."""
    caches = {
        "l1": {"capacity": "4 KiB", "ways": 4, "latency": "4 cycles", "policy": pair[0]},
        "l2": {"capacity": "32 KiB", "ways": 8, "latency": "12 cycles", "policy": pair[1]},
    }
    system = {"caches": caches, "memory": {"latency": "80 ns"}, "core": {"frequency": "3 GHz"}}
    queued, additive = metrics({"added": {"timing": "additive"}}, system=system)
    assert counted(queued) == counted(additive)
    assert (queued["memory.reads"], queued["memory.writes"]) == (additive["memory.reads"], additive["memory.writes"])
    assert queued["time"] > 0
    assert queued["memory.latency"] == 80


def test_copies_contend_and_only_for_what_they_share() -> None:
    one, four, small = metrics(
        {
            "four": {"copies": 4},
            "a small cache for all": {"copies": 4, "system.caches.l3.capacity": "64 KiB"},
        }
    )
    for name in ("l1d", "l2"):
        assert four[f"caches.{name}.misses"] == one[f"caches.{name}.misses"]
    assert four["caches.l3.reads"] == pytest.approx(4 * one["caches.l3.reads"], rel=0.1)  # when the first ends
    assert four["cycles_per_instruction"] > one["cycles_per_instruction"]
    assert four["memory.latency"] > one["memory.latency"]
    assert four["memory.load"] > 2 * one["memory.load"]
    assert small["caches.l3.miss_ratio"] >= four["caches.l3.miss_ratio"]


def test_neighbours_with_a_trace_of_their_own() -> None:
    alone, one, two = metrics(
        {
            "one": {"beside": {"noise": {"use": "captured/random-access", "limit": "50k"}}},
            "two": {"beside": {"noise": {"use": "captured/random-access", "limit": "50k"}, "sort": "captured/sort"}},
        }
    )
    assert counted(one) != counted(alone)  # the L3 is shared
    for name in ("l1d", "l2"):
        assert one[f"caches.{name}.misses"] == two[f"caches.{name}.misses"] == alone[f"caches.{name}.misses"]
    assert alone["cycles_per_instruction"] < one["cycles_per_instruction"] < two["cycles_per_instruction"]
    assert 0 < one["beside.noise.cycles_per_instruction"] < two["beside.noise.cycles_per_instruction"]
    assert "beside.sort.cycles_per_instruction" in two


def test_a_core_that_waits_for_all_is_slower_than_one_that_runs_ahead() -> None:
    free, short, one = metrics({"short": {"system.core.window": 0}, "one": {"system.core.outstanding": 1}})
    assert free["cycles_per_instruction"] < short["cycles_per_instruction"]
    assert free["cycles_per_instruction"] < one["cycles_per_instruction"]
    assert short["stalled.window"] > free["stalled.window"]
    assert one["stalled.outstanding"] > free["stalled.outstanding"]


def test_same_seed_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = []
    for name in ("one", "two"):
        result = tiersim.run(STUDY | {"what_if": {"two": {"copies": 2}}}, out=name)
        assert result.folder is not None
        parts.append({path.name: path.read_bytes() for path in sorted((result.folder / "runs").glob("*.parquet"))})
    assert parts[0]
    assert parts[0] == parts[1]


def test_a_trace_that_counts_no_instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.lackey").write_text("".join(f" L {64 * k:08x},8\n" for k in range(500)), encoding="utf-8")
    result = tiersim.run(STUDY | {"trace": "my.lackey"}, keep=False)
    (row,) = result.rows
    assert "cycles_per_instruction" not in row.metrics
    assert row.metrics["time"] > 0
    assert any("each access counts as one" in note for note in row.notes)


def called(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main(["timeline", "s.yaml", "--quiet", *arguments])
    return caught.value.code


def test_a_timeline_of_two_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "study: two\nscenario: memory-hierarchy\ntrace: {use: captured/graph-bfs, limit: 20k}\n"
        "system: {use: desktop-cpu, memory: {dram: ddr4-3200}}\ntiming: queued\nwhat_if: {two: {copies: 2}}\n",
        encoding="utf-8",
    )
    assert called("--variant", "two", "--out", "t.json.gz", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    events = read(Path("t.json.gz"))
    assert (said["variant"], said["left_out"]) == ("two", 0)
    tracks = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert tracks == {"core 0", "core 1", "memory"}
    spans = [event for event in events if event["ph"] == "b"]
    assert len(spans) == said["events"] / 2 > 100
    (run,) = tiersim.run("s.yaml", ["what_if=null", "copies=2"], keep=False).rows
    channels = [event for event in spans if event["name"].startswith("core ")]
    assert len(channels) == run.metrics["memory.reads"]
    # the data of one channel pass one after the other
    ends = {event["id"]: event["ts"] for event in events if event["ph"] == "e"}
    for tid in {event["tid"] for event in channels}:
        passed = sorted((event["ts"], ends[event["id"]]) for event in channels if event["tid"] == tid)
        assert all(end <= start + 1e-6 for (_, end), (start, _) in pairwise(passed))
    assert called("--out", "few.json", "--events", "10") == 0
    assert "few.json: 10 events of 'base'" in capsys.readouterr().out
    assert len([event for event in read(Path("few.json")) if event["ph"] in "be"]) == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "t.png"], "'t.png' is no name of a timeline"),
        (["--out", "no/t.json"], "there is no folder no"),
        (["--out", "t.json", "--variant", "tow"], "the study has no variant 'tow'; did you mean 'two'?"),
        (["--out", "t.json", "--set", "timing=additive"], "this variant keeps no time"),
    ],
)
def test_what_is_no_timeline(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "study: two\nscenario: memory-hierarchy\ntrace: {use: captured/sort, limit: 1k}\nsystem: desktop-cpu\n"
        "timing: queued\nwhat_if: {two: {system.memory.latency: 90 ns}}\n",
        encoding="utf-8",
    )
    assert called(*arguments) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["s.yaml"]
