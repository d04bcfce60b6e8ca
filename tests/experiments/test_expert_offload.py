"""The scenario expert-offload: its metrics are what the plain engine gives, its parts add up, mistakes are told."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.experiments.expert_studies import EXPERTS, LAYERS, MODEL, STUDY, write_trace
from tests.oracles.expert_offload import Fate, Lru
from tests.oracles.expert_offload import offload as plainly
from tiersim._base.errors import StudyError, TiersimError
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import Row
from tiersim.experiments.scenarios import expert_offload
from tiersim.experiments.timelines import write_timeline
from tiersim.models.expert_queued import offload_queued
from tiersim.models.expert_trace import routed_of
from tiersim.models.experts import costs_of
from tiersim.sim.expert_offload import Machine, offload
from tiersim.sim.expert_steps import rows_of, schedule_of
from tiersim.traces import load_trace

SECOND = 10**12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experts")
    write_trace(folder / "routing.parquet", 1, sequences=20)
    write_trace(folder / "plain.parquet", 3, more=False)
    return folder


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(expert_offload, "Machine", partial(Machine, compiled=False))
    monkeypatch.setattr(expert_offload, "offload_queued", partial(offload_queued, compiled=False))
    monkeypatch.setattr(expert_offload, "offload", partial(offload, compiled=False))
    monkeypatch.chdir(folder)


def run(**keys: Any) -> Row:
    row = tiersim.run(STUDY | ({"what_if": {"turned": keys}} if keys else {}), keep=False).rows[-1]
    assert row.status == "done", row.error
    return row


def expected(batch: int = 1, prompt: int = 0, gpus: int = 1, overlap: bool = True) -> tuple[Fate, Any, Any]:
    """What the plain engine makes of all sequences but the first two, which are a tenth."""
    (planned,) = make_plan(STUDY).runs
    system = planned.scenario.system
    system = type(system)(**{**vars(system), "gpus": gpus})
    trace = load_trace("routing.parquet")
    _, routed = routed_of(trace.chunks(), "small").split(2)
    rows = rows_of(routed, schedule_of(routed, batch, prompt), EXPERTS)
    costs = costs_of(system, rows)
    return plainly(rows, costs, None, Lru(), 3, gpus=gpus, overlap=overlap), rows, costs


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"batch": 3},
        {"prompt": 4},
        {"batch": 2, "prompt": 3},
        {"batch": 4, "gpus": 2},
        {"batch": 2, "overlap": False},
    ],
    ids=str,
)
def test_metrics_are_those_of_the_plain_engine(said: dict[str, Any]) -> None:
    fate, rows, costs = expected(**said)
    keys = {f"system.{key}" if key in ("gpus", "overlap") else key: held for key, held in said.items()}
    metrics = run(**keys).metrics
    gpus = said.get("gpus", 1)
    needed, counts = len(rows.expert), fate.counts
    assert metrics["tokens_per_second"] == rows.sampled.sum() * SECOND / fate.steps[-1]
    assert metrics["duration"] == fate.steps[-1] / SECOND
    assert metrics["needed"] == needed
    for name in ("hit", "late", "miss"):
        assert metrics[f"{name}_ratio"] == counts[{"hit": "hits", "miss": "misses"}.get(name, name)] / needed
    took = np.diff([0, *fate.steps])
    decodes = took[rows.prefill == 0]
    assert metrics["tpot.mean"] == pytest.approx(decodes.mean() / 1e9)
    assert metrics["tpot.p50"] == sorted(decodes)[(len(decodes) + 1) // 2 - 1] / 1e9
    assert ("prefill.mean" in metrics) == bool(said.get("prompt"))
    if "prompt" in said:
        assert metrics["prefill.mean"] == pytest.approx(took[rows.prefill == 1].mean() / 1e9)
    assert metrics["link.busy"] == len(fate.loads) * costs.load / (fate.steps[-1] * gpus)
    assert metrics["link.bytes"] == len(fate.loads) * costs.size / rows.sampled.sum()
    ran = sum(end - begin for begin, _, end in fate.runs)
    dense = (costs.before + LAYERS * costs.dense + costs.after).sum()
    assert metrics["gpu.busy"] == pytest.approx((ran / gpus + dense) / fate.steps[-1])
    assert metrics["energy"] == pytest.approx(450 * (ran + gpus * dense) / SECOND / rows.sampled.sum())
    assert metrics["stall_time"] == pytest.approx(counts["stall"] / rows.steps / 1e9)
    assert (metrics["tokens"], metrics["steps"]) == (rows.size.sum(), rows.steps)
    assert metrics["slots"] == 3 * LAYERS


def together(table: dict[str, Any], name: str) -> float:
    values, weights = (np.array(table[key], float) for key in (name, f"{name}.weight"))
    return float((np.nan_to_num(values) * weights).sum() / weights.sum())


@pytest.mark.parametrize("warm_up", ["0 %", "25 %", "7 steps"])
def test_windows_and_sessions_add_up(warm_up: str) -> None:
    row = run(**{"trace.warm_up": warm_up, "predictions": "trace"})
    windows = row.windows
    names = [name for name in windows if f"{name}.weight" in windows]
    assert set(names) >= {"tokens_per_second", "hit_ratio", "link.busy", "stall_time", "predictions.recall"}
    for name in names:
        if name in row.metrics:
            assert together(windows, name) == pytest.approx(row.metrics[name]), name
    sessions = row.table("sessions")
    for name in ("tokens_per_second", "tpot.mean", "hit_ratio", "predictions.precision"):
        assert together(sessions, name) == pytest.approx(row.metrics[name]), name
    assert len(sessions["session"]) == (18 if warm_up == "0 %" else len(set(sessions["session"])))


def test_both_timings_are_equal_where_nothing_meets() -> None:
    for keys in ({}, {"trace.warm_up": "25 %", "batch": 2}, {"predictions": "trace", "policy": "mixtral-offloading"}):
        alone, queued = run(**keys), run(**keys, timing="queued")
        assert queued.metrics == alone.metrics
        for name, held in alone.windows.items():
            assert np.array_equal(np.array(held), np.array(queued.windows[name]), equal_nan=True), name


def test_keys_and_values_from_dram_are_in_the_way_of_loads() -> None:
    keys = {"batch": 4, "system.copy": "1 ms"}
    there = {**keys, "system.kv_memory": "0 tokens"}
    alone, queued = run(**there).metrics, run(**there, timing="queued").metrics
    assert run(**keys).metrics["duration"] < alone["duration"] < queued["duration"]


@pytest.mark.parametrize("policy", ["mixtral-offloading", "fiddler", "hobbit"])
@pytest.mark.parametrize("gpus", [1, 2])
def test_to_be_seen_changes_nothing_on_links_that_are_shared(policy: str, gpus: int) -> None:
    keys = {"policy": policy, "system.gpus": gpus, "predictions": "trace", "batch": 3, "system.copy": "1 ms"}
    keys |= {"system.kv_memory": "2 tokens", "timing": "queued"}
    scenario = make_plan(STUDY | {"what_if": {"turned": keys}}).runs[-1].scenario
    rows = scenario._predicted(0)
    said = (rows, scenario._costs(rows), scenario.policy)
    options = scenario._options(rows, 0) | {"compiled": False}
    plain = offload_queued(*said, **options)
    seen: list[int] = []
    cuts = list(range(LAYERS, rows.steps * LAYERS, LAYERS))
    made = offload_queued(*said, **options, cuts=cuts, seen=lambda machine: seen.append(machine.word("row")))
    assert seen == cuts
    assert made.step_end.tolist() == plain.step_end.tolist()
    assert made.counts == plain.counts


def test_a_warm_up_is_left_out() -> None:
    fate, rows, _ = expected()
    metrics = run(**{"trace.warm_up": "20 steps"}).metrics
    assert metrics["steps"] == rows.steps - 20
    assert metrics["duration"] == (fate.steps[-1] - fate.steps[19]) / SECOND


def test_drawn_predictions_are_as_good_as_said() -> None:
    metrics = run(predictions={"use": "accuracy", "right": "100 %"}).metrics
    assert metrics["predictions.recall"] == metrics["predictions.precision"] == 1
    metrics = run(predictions={"use": "accuracy", "right": "0 %"}).metrics
    assert metrics["predictions.recall"] == 0
    assert 0 < run(predictions="fitted").metrics["predictions.recall"] < 1
    assert "predictions.recall" not in run().metrics


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"system.model": {**MODEL, "layers": 6}}, "routes at 3 layers .* and the model at 5 layers to 8 experts"),
        ({"system.model.experts.count": 7}, "to experts up to number 7, and the model at 3 layers to 7 experts"),
        ({"system.expert_slots": "2"}, "there are 3 layers, and slots for 2 experts in all"),
        ({"learn": "4 %", "predictions": "fitted"}, "4 % of 20 sequences is none to learn of"),
        ({"trace": "plain.parquet", "predictions": "trace"}, "the trace has no predictions"),
        ({"trace.warm_up": "100 %"}, "a warm-up of .* steps leaves nothing of"),
        ({"trace.limit": "61"}, "token 3 of sequence 98 has no record of layer 2"),
        ({"trace": "generated/zipf"}, "is a trace of access records, and this scenario replays routing"),
        ({"policy": "lru-but-wrong"}, "no experts is called"),
        ({"policy": {"use": "on-demand", "replacement": "static"}, "learn": "0 %"}, "none to learn of"),
    ],
    ids=str,
)
def test_mistakes_are_told(keys: dict[str, Any], what: str) -> None:
    with pytest.raises(TiersimError, match=what):
        make_plan(STUDY | {"what_if": {"turned": keys}})


def test_slots_that_are_left_over_are_told() -> None:
    (row,) = tiersim.run({**STUDY, "system": {**STUDY["system"], "expert_slots": "11"}}, keep=False).rows
    assert row.metrics["slots"] == 9
    assert any("of 11 slots 2 are left over" in note for note in row.notes)


def test_a_timeline_has_steps_layers_and_loads(tmp_path: Path) -> None:
    made = write_timeline(STUDY, tmp_path / "out.json")
    events = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    begun = [event for event in events if event["ph"] == "b"]
    fate, rows, _ = expected()
    loads = [event for event in begun if "expert" in event.get("args", {})]
    assert len(begun) == rows.steps * (LAYERS + 1) + len(fate.loads)
    assert not made.left_out
    assert [event["args"]["expert"] for event in loads] == [x for _, x, _, _ in sorted(fate.loads)]


def test_the_template_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiersim.experiments.starter import starter

    (tmp_path / "mine.yaml").write_text(starter("expert-offload", "mine"), encoding="utf-8")
    try:
        plan = make_plan(tmp_path / "mine.yaml")
    except StudyError as error:
        pytest.fail(str(error))
    assert plan.study.name == "mine"
