"""The scenario `serving`: requests in, times and hits out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tiersim._base.errors import TiersimError
from tiersim.experiments.scenarios.serving import Capacity, _points
from tiersim.experiments.timelines import write_timeline
from tiersim.traces import load_trace

SECOND = 1000  # milliseconds

Row = dict[str, Any]
CAPACITY: dict[str, Any] = {"least": "0.1 /s", "most": "2 /s", "attainment": "80 %", "within": "5 %"}
NO_CACHE: dict[str, Any] = {"prefix_cache": None}


def row(time: int, prompt: int, answer: int = 1, blocks: list[int] | None = None) -> Row:
    """A line of Mooncake's form: at this second."""
    ids = list(range(-(-prompt // 512))) if blocks is None else blocks
    return {"timestamp": 1000 * time, "input_length": prompt, "output_length": answer, "hash_ids": ids}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def study(rows: list[Row], **keys: Any) -> dict[str, Any]:
    """A server that takes 1 ms for each token of a prompt, and for each of an answer."""
    Path("trace.jsonl").write_text("".join(json.dumps(held) + "\n" for held in rows))
    instance = {
        "time_model": {"use": "linear", "prefill": "1 ms/token", "decode": "1 ms/request"},
        "memory": {"capacity": "100k tokens"},
        "prefix_cache": {},
        "scheduler": {"budget": 4096, "chunked": False},
    }
    made: dict[str, Any] = {
        "study": "small",
        "scenario": "serving",
        "trace": {"use": "trace.jsonl", "format": "mooncake-requests"},
        "system": {"instance": instance},
    }
    for key, value in keys.items():
        if key == "instance":
            instance |= value
        elif isinstance(value, dict) and key in made:
            made[key] = {**made[key], **value}
        else:
            made[key] = value
    return made


def run(rows: list[Row], **keys: Any) -> tiersim.experiments.results.StudyResult:
    return tiersim.run(study(rows, **keys), keep=False)


def test_times_by_hand() -> None:
    # both prompts fit one iteration; one with two decodes takes 2 ms, the last 1 ms; 512 tokens are cached at 9 s
    result = run([row(0, 600, 3, [1, 2]), row(0, 400, 2, [3]), row(9, 600, 1, [1, 2])])
    table = result.rows[0].table("requests")
    assert table["ttft"] == [1000, 1000, 88]
    assert table["e2e"] == [1003, 1002, 88]
    assert table["tpot"][:2] == [1.5, 2]
    assert np.isnan(table["tpot"][2])
    assert table["hit"] == [0, 0, 512]
    metrics = result.rows[0].metrics
    assert metrics["ttft.mean"] == pytest.approx(2088 / 3)
    assert (metrics["ttft.p50"], metrics["ttft.p99"]) == (1000, 1000)
    assert metrics["itl.mean"] == pytest.approx(5 / 3)
    assert metrics["duration"] == pytest.approx(9.088)
    assert metrics["throughput"] == pytest.approx(3 / 9.088)
    assert metrics["prefix_hit_ratio.tokens"] == 512 / 1600
    assert metrics["prefix_hit_ratio.blocks"] == 1 / 5
    assert metrics["prefix_hit_ratio.bound"] == 512 / 1600
    assert metrics["prefix_hit_ratio.shared"] == 600 / 1600


def test_objectives_and_warm_up() -> None:
    rows = [row(0, 3000), row(0, 500, 1, [9]), row(20, 100, 1, [7])]
    result = run(rows, slo={"ttft": "2 s"}, report={"metrics": ["slo_attainment"]})
    assert result.rows[0].metrics["slo_attainment"] == pytest.approx(1 / 3)
    late = run(rows, slo={"ttft": "2 s"}, trace={"warm_up": 2}).rows[0].metrics
    assert (late["slo_attainment"], late["requests"], late["ttft.mean"]) == (1, 1, 100)


def test_arrivals_are_stretched() -> None:
    rows = [row(time, 100, 1, [time]) for time in (0, 1, 3)]
    table = run(rows, load={"rate": "1 /s"}, instance=NO_CACHE).rows[0].table("requests")
    assert table["arrival"] == pytest.approx([0, 2000 / 3, 2000])


def test_arrivals_may_be_drawn() -> None:
    rows = [row(0, 100, 1, [k]) for k in range(2000)]
    for how, spread in (("poisson", 0.5), ("even", 0)):
        result = run(rows, load={"rate": "2 /s", "arrivals": how}, instance=NO_CACHE, repeat={"seeds": 2})
        assert len(result.rows) == (2 if how == "poisson" else 1)
        gaps = np.diff(result.rows[0].table("requests")["arrival"]) / SECOND
        assert gaps.mean() == pytest.approx(0.5, rel=0.1)
        assert gaps.std() == pytest.approx(spread, abs=0.05)


def test_a_trace_without_arrivals_needs_drawn_ones() -> None:
    Path("lengths.csv").write_text("num_prefill_tokens,num_decode_tokens\n" + "500,3\n" * 50)
    lengths: dict[str, Any] = {"use": "lengths.csv", "format": "vidur-lengths"}
    made = study([row(0, 1)], instance=NO_CACHE) | {"trace": lengths}
    with pytest.raises(TiersimError, match="does not say when its requests come"):
        tiersim.run(made, keep=False)
    done = tiersim.run(made | {"load": {"rate": "1 /s", "arrivals": "even"}}, keep=False).rows[0]
    assert done.table("requests")["ttft"] == [500] * 50


def test_what_no_instance_has_memory_for_is_rejected() -> None:
    result = run([row(0, 600), row(0, 100, 1, [5])], instance={"memory": {"capacity": "512 tokens"}})
    assert result.rows[0].metrics["rejected"] == 1
    assert result.rows[0].metrics["throughput"] > 0


def test_routers_see_where_prompts_are_cached() -> None:
    rows = [row(10 * k, 1100, 1, [3 * (k % 2), 3 * (k % 2) + 1, 10 + k]) for k in range(20)]
    result = run(
        rows, system={"cluster": {"instances": 2}}, policy="min-ttft", what_if={"in turn": {"policy": "round-robin"}}
    )
    nearest, turn = result.rows
    assert nearest.metrics["prefix_hit_ratio.tokens"] == turn.metrics["prefix_hit_ratio.tokens"] > 0.8
    once = run([*rows, row(210, 1100, 1, [0, 1, 99])], system={"cluster": {"instances": 2}}, policy="round-robin")
    assert once.rows[0].table("requests")["instance"][-1] == 0


def test_a_router_of_ones_own(tmp_path: Path) -> None:
    Path("mine.py").write_text(
        "class Last:\n    def route(self, request, view):\n        return len(view.waiting) - 1\n"
        "class Wrong:\n    def route(self, request, view):\n        return 7\n"
    )
    rows = [row(k, 100, 1, [k]) for k in range(4)]
    three: dict[str, Any] = {"system": {"cluster": {"instances": 3}}, "instance": NO_CACHE}
    result = run(rows, policy="mine.py:Last", **three)
    assert set(result.rows[0].table("requests")["instance"]) == {2}
    failed = run(rows, policy="mine.py:Wrong", **three).rows[0]
    assert failed.error.startswith("Wrong.route gave 7, which is none of 3 instances")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"instance": {"memory": {}}}, "nothing tells how many tokens the memory holds: there is no `model`"),
        ({"instance": {"memory": {"capacity": "1 GiB"}}}, "there is no `model`"),
        ({"instance": {"prefix_cache": {"block": 64}}}, "the blocks of the trace have 512 tokens, and these 64"),
        ({"instance": {"prefix_cache": {"capacity": "100 tokens"}}}, "no room for a block of 512 tokens"),
        ({"instance": {"memory": {"capacity": "8 tokens"}}}, "no room for a page of 16 tokens"),
        ({"instance": {"memory": {"capacity": "9k tokens", "page": 100}}}, "no whole pages of 100"),
        ({"instance": {"scheduler": {"budget": 10}}}, "no room for a token of each of 256 requests"),
        ({"load": {"sessions": "wait"}}, "does not know sessions"),
        ({"load": {"arrivals": "poisson"}}, "what is drawn has a rate"),
        ({"load": {"think": "1 s"}}, "sessions: wait"),
        ({"capacity": CAPACITY}, "`slo` says nothing that could be kept"),
        ({"capacity": {**CAPACITY, "most": "0.1 /s"}, "slo": {"ttft": "1 s"}}, "the highest rate must be above"),
        ({"capacity": CAPACITY, "slo": {"ttft": "1 s"}, "load": {"rate": "1 /s"}}, "the search sets the rate"),
        ({"policy": "nearest"}, "no routing is called 'nearest'"),
        ({"trace": {"format": "mooncake"}}, "`format: mooncake-requests` reads it so"),
    ],
)
def test_what_does_not_fit_is_one_message(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(TiersimError) as caught:
        run([row(0, 600), row(1, 600)], **keys)
    assert message in f"{caught.value.message} {caught.value.remedy}"


def test_percentiles_of_values_that_there_are_many_of() -> None:
    values, counts = np.array([5, 1, 3]), np.array([1, 97, 2])
    assert _points(values, counts) == _points(np.repeat(values, counts))
    assert _points(np.array([1.0, 2.0, 3.0, 4.0])) == {"mean": 2.5, "p50": 2, "p90": 4, "p95": 4, "p99": 4}
    assert _points(np.zeros(0)) == {}


def test_intervals_of_means_come_from_blocks_of_requests() -> None:
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.exponential(0.5, 2000)).tolist()
    rows = [{**row(0, 200, 1, [k]), "timestamp": int(1000 * time)} for k, time in enumerate(times)]
    result = run(
        rows,
        instance=NO_CACHE,
        report={"metrics": ["ttft.mean"]},
        what_if={"faster": {"system.instance.time_model.prefill": "500 us/token"}},
    )
    base, faster = result.compare()
    held = base.metrics["ttft.mean"].value
    assert held.low < held.value < held.high
    assert faster.metrics["ttft.mean"].told


def talk(**keys: Any) -> dict[str, Any]:
    options = {"use": "generated/conversations", "requests": 400, "rate": "3 /s", "longest": 2000, "seed": 3}
    return study([row(0, 1)], **keys) | {"trace": options}


@pytest.mark.parametrize("think", [None, 2 * SECOND])
def test_a_turn_waits_for_the_one_before_it(think: int | None) -> None:
    load: dict[str, Any] = {"sessions": "wait"} | ({} if think is None else {"think": f"{think} ms"})
    keys: dict[str, Any] = {"system": {"cluster": {"instances": 2}}, "policy": "least-loaded", "instance": NO_CACHE}
    open_, closed = (tiersim.run(talk(load=how, **keys), keep=False).rows[0].table("requests") for how in ({}, load))
    chunk = next(iter(load_trace("generated/conversations", requests=400, rate="3 /s", longest=2000, seed=3).chunks()))
    sessions = chunk["session"].tolist()
    last: dict[int, int] = {}
    turns = 0
    for number, session in enumerate(sessions):
        if (before := last.get(session)) is None:
            assert closed["arrival"][number] == open_["arrival"][number]
        else:
            turns += 1
            pause = open_["arrival"][number] - open_["arrival"][before] if think is None else think
            ended = closed["arrival"][before] + closed["e2e"][before]
            assert closed["arrival"][number] == pytest.approx(ended + pause, abs=1e-5)
        last[session] = number
    assert turns > 200
    assert np.nanmean(closed["ttft"]) < np.nanmean(open_["ttft"])  # who waits for answers asks for less at a time


def test_who_waits_goes_on_when_a_request_is_rejected() -> None:
    small = {"memory": {"capacity": "900 tokens"}, **NO_CACHE}
    result = tiersim.run(talk(load={"sessions": "wait"}, instance=small), keep=False).rows[0]
    assert 0 < result.metrics["rejected"] < 400
    assert result.metrics["requests"] == 400


def test_the_capacity_is_where_a_scan_of_all_rates_finds_it() -> None:
    keys: dict[str, Any] = {"instance": NO_CACHE, "slo": {"ttft": "4 s"}}
    found = tiersim.run(talk(capacity=CAPACITY, **keys), keep=False).rows[0]
    rates = Capacity(least=10**8, most=2 * 10**9, within=5 * 10**7).rates
    kept = []
    for rate in rates:
        metrics = tiersim.run(talk(load={"rate": f"{rate / 1e9} /s"}, **keys), keep=False).rows[0].metrics
        kept.append(metrics["slo_attainment"] >= 0.8)
        if rate / 1e9 == found.metrics["capacity"]:
            assert metrics["slo_attainment"] == found.metrics["slo_attainment"]
    assert kept == sorted(kept, reverse=True)
    assert 0 < sum(kept) < len(rates)
    assert found.metrics["capacity"] == rates[sum(kept) - 1] / 1e9
    assert 0.1 < found.metrics["capacity.low"] <= found.metrics["capacity"] < found.metrics["capacity.high"]
    assert found.metrics["capacity.probes"] < len(rates) / 2


def test_a_capacity_beyond_the_rates_is_said() -> None:
    keys: dict[str, Any] = {"instance": NO_CACHE, "capacity": CAPACITY}
    slow = tiersim.run(talk(slo={"ttft": "1 ms"}, **keys), keep=False).rows[0]
    assert slow.metrics["capacity"] == 0
    assert "below 0.1 /s" in slow.notes[0]
    fast = tiersim.run(talk(slo={"ttft": "1 h"}, **keys), keep=False).rows[0]
    assert fast.metrics["capacity"] == 2
    assert "capacity.high" not in fast.metrics
    assert "2 /s or more" in fast.notes[0]


def test_a_queue_of_equal_prompts_waits_as_theory_says() -> None:
    """M/D/1: at a load of a half the mean wait is half a service."""
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.exponential(0.4, 20_000)).tolist()
    rows = [{**row(0, 200, 1, [k]), "timestamp": int(1000 * time)} for k, time in enumerate(times)]
    alone = {"scheduler": {"budget": 200, "chunked": False}, **NO_CACHE}
    metrics = run(rows, instance=alone).rows[0].metrics
    assert metrics["ttft.mean"] == pytest.approx(200 + 100, rel=0.05)


def test_the_same_seed_gives_the_same_rows_however_many_work() -> None:
    rows = [row(k // 3, 700, 5, [k % 4, 10 + k % 4]) for k in range(60)]
    keys: dict[str, Any] = {"sweep": {"system.cluster.instances": [1, 2, 3]}, "policy": "least-loaded"}
    one = tiersim.run(study(rows, **keys), out="one", workers=1)
    two = tiersim.run(study(rows, **keys), out="two", workers=2)
    assert [held.metrics for held in one.rows] == [held.metrics for held in two.rows]
    assert one.rows[0].metrics["ttft.mean"] > one.rows[2].metrics["ttft.mean"]


def test_a_timeline_shows_iterations_and_what_requests_wait_for() -> None:
    rows = [row(0, 600, 3, [1, 2]), row(0, 400, 2, [3])]
    written = write_timeline(study(rows), "timeline.json")
    assert written.left_out == 0
    events = json.loads(Path("timeline.json").read_text())
    slices = [(event["name"], event["ts"], event["dur"]) for event in events if event["ph"] == "X"]
    assert slices == [("1000 tokens of prompts", 0, 1e6), ("2 decodes", 1e6, 2000), ("1 decodes", 1.002e6, 1000)]
    begun = {(event["name"], event["args"]["request"], event["ts"]) for event in events if event["ph"] == "b"}
    assert begun == {("prefill", 0, 0), ("prefill", 1, 0), ("decode", 0, 1e6), ("decode", 1, 1e6)}


def test_how_busy_instances_are() -> None:
    metrics = run([row(0, 600), row(1, 400, 1, [9])], instance=NO_CACHE).rows[0].metrics
    assert metrics["busy"] == pytest.approx(1000 / 1400)
    assert metrics["running"] == pytest.approx(1000 / 1400)


def test_what_tokens_cost() -> None:
    gpu = {"use": "a100-80", "power": "500 W"}
    instance = {**NO_CACHE, "accelerator": gpu, "parallel": {"tensor": 2}, "price": 3.6}
    metrics = run([row(0, 600), row(1, 400, 3, [9])], instance=instance).rows[0].metrics
    assert metrics["energy"] == pytest.approx(2 * 500 * 1.002 / 4)
    assert metrics["cost"] == pytest.approx(2 * 3.6 * 1.402 / 3600 / 4 * 1e6)
