"""The scenario expert-routing: what its metrics are, that every key changes something, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.oracles.expert_caches import run_hits, window_counts
from tests.sim.test_expert_stack import EXPERTS, LAYERS, drawn
from tiersim._base.errors import PolicyError, StudyError, TraceError
from tiersim.experiments.results import StudyResult
from tiersim.experiments.scenarios.expert_routing import METRICS
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import ROUTING
from tiersim.traces.store import Writer

FIRST = 3  # number of the first layer
LENGTHS = [14, 5, 21, 9, 30, 17, 12, 24, 8, 19]
SEQUENCES = drawn(11, LENGTHS)
OBJECTS = LAYERS * EXPERTS


def write(path: Path, sequences: list[list[list[int]]], *, named: bool = True) -> None:
    rows = [
        (number + 100, token, layer, [x - layer * EXPERTS for x in held if x // EXPERTS == layer])
        for number, sequence in enumerate(sequences)
        for token, held in enumerate(sequence)
        for layer in range(LAYERS)
    ]
    sequence, token, layer, experts = zip(*rows, strict=True)
    chunk: Any = {
        "layer": np.array(layer, np.uint16) + np.uint16(FIRST),
        "token": np.array(token, np.uint32),
        "experts": Ragged.of(experts, "uint16"),
    }
    if named:
        chunk["sequence"] = np.array(sequence, np.uint64)
    with Writer(path, schema=ROUTING) as out:
        out.append(chunk)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("routing") / "routing.parquet"
    write(path, SEQUENCES)
    return str(path)


def run(use: str, sets: tuple[str, ...] = (), **keys: Any) -> StudyResult:
    study = {"study": "s", "scenario": "expert-routing", "trace": {"use": use}, **keys}
    result = tiersim.run(study, list(sets), keep=False)
    for row in result.rows:
        assert row.status == "done", row.error
    return result


def measured(use: str, *sets: str, **keys: Any) -> dict[str, int | float]:
    return run(use, sets, **keys).rows[0].metrics


def by_hand(size: int, policy: str = "lru", **more: Any) -> list[int]:
    """Hits of each sequence, by the plain caches."""
    about = {"experts": EXPERTS, "objects": OBJECTS, **more}
    return [sum(run_hits(sequence, size, policy, **about)) for sequence in SEQUENCES]


CACHE = {"policy": "lru", "size": 1}
USES = sum(len(token) for sequence in SEQUENCES for token in sequence)
TOKENS = sum(LENGTHS)


def test_metrics_of_a_cache_are_those_of_the_plain_one(trace: str) -> None:
    row = run(trace, cache=CACHE, regret=True).rows[0]
    hits, best = by_hand(6), by_hand(6, "belady")
    assert row.metrics == {
        "active": 6,
        "uses": USES,
        "tokens": TOKENS,
        "sequences": len(LENGTHS),
        "hit_ratio": sum(hits) / USES,
        "loads_per_token": (USES - sum(hits)) / TOKENS,
        "regret": (sum(best) - sum(hits)) / USES,
        "cache.held": 6,
    }
    table = row.table("sessions")
    assert list(table["hit_ratio"]) == [held / (6 * length) for held, length in zip(hits, LENGTHS, strict=True)]
    assert list(table["hit_ratio.weight"]) == [6 * length for length in LENGTHS]
    sizes = row.table("sizes")
    assert list(sizes["hit_ratio"]) == [sum(by_hand(size)) / USES for size in range(1, OBJECTS + 1)]
    assert list(sizes["size"]) == [size / 6 for size in range(1, OBJECTS + 1)]


def test_a_cache_for_each_layer_has_its_part(trace: str) -> None:
    row = run(trace, cache={**CACHE, "size": 1.5, "scope": "layer"}).rows[0]
    assert row.metrics["cache.held"] == 9
    assert row.metrics["hit_ratio"] == sum(by_hand(3, by_layer=True)) / USES
    assert list(row.table("sizes")["held"]) == [3, 6, 9, 12]
    assert row.metrics == measured(trace, cache={"policy": "lru", "experts": 3, "scope": "layer"})


def test_metrics_of_segments(trace: str) -> None:
    metrics = measured(trace, segment={"length": 8})
    windows = [window_counts(each, x, 8) for each in SEQUENCES for x in range(OBJECTS)]
    flat = np.concatenate([held for held in windows if held])
    hits = [2 * flat[flat >= alpha].sum() / (8 * (flat >= alpha).sum() + flat.sum()) for alpha in range(9)]
    assert metrics["srp"] == pytest.approx(max(hits))
    assert metrics["srp.low"] < metrics["srp"] < metrics["srp.high"]
    assert "hit_ratio" not in metrics
    layers = [measured(trace, f"trace.layers=[{FIRST + k}]", segment={"length": 8})["srp"] for k in range(LAYERS)]
    assert measured(trace, segment={"length": 8, "level": "layer"})["srp"] == pytest.approx(sum(layers) / LAYERS)


def test_runs_that_differ_in_size_or_level_share_a_simulation(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiersim.experiments.scenarios import expert_routing

    calls: list[str] = []
    whole = expert_routing.expert_hits
    monkeypatch.setattr(
        expert_routing, "expert_hits", lambda policy, *given, **more: calls.append("") or whole(policy, *given, **more)
    )
    result = run(
        trace,
        cache=CACHE,
        segment={"length": 4},
        sweep={"cache.size": [0.5, 1, 1.5], "segment.level": ["model", "layer", "expert"]},
    )
    assert len({row.metrics["hit_ratio"] for row in result.rows}) == 3
    assert len({row.metrics["srp"] for row in result.rows}) == 3
    assert len(calls) == 2  # one compiles


BASE: dict[str, Any] = {"cache": {"policy": "sch", "size": 1}, "segment": {"length": 4}}
TURNED = {  # key -> a value that changes a metric
    "trace.skip": "30 records",
    "trace.limit": "300 records",
    "trace.warm_up": "30 %",
    "trace.least": "10",
    "trace.cut": "9",
    "trace.layers": f"[{FIRST}, {FIRST + 2}]",
    "cache": "null",
    "cache.policy": "lfu",
    "cache.size": "1.5",
    "cache.scope": "layer",
    "cache.rule": "cold",
    "cache.sequences": "together",
    "segment": "null",
    "segment.length": "6",
    "segment.level": "expert",
    "regret": "true",
}


@pytest.mark.parametrize("key", TURNED)
def test_every_key_changes_something(trace: str, key: str) -> None:
    assert measured(trace, f"{key}={TURNED[key]}", **BASE) != measured(trace, **BASE)


def test_every_key_is_turned() -> None:
    from tiersim.experiments.catalogue import keys_of
    from tiersim.experiments.scenarios.expert_routing import ExpertRouting

    known = {key.key for key in keys_of(ExpertRouting)}
    assert known - set(TURNED) == {"trace", "trace.use", "trace.format", "cache.experts"}


@pytest.mark.parametrize(
    ("policy", "other"),
    [
        ({"use": "sch", "ahead": 2}, {"use": "sch", "ahead": 9}),
        ({"use": "lfu-aged", "period": 1}, {"use": "lfu-aged", "period": 50}),
    ],
)
def test_every_parameter_of_a_policy_changes_something(trace: str, policy: Any, other: Any) -> None:
    assert measured(trace, cache={**CACHE, "policy": policy}) != measured(trace, cache={**CACHE, "policy": other})


def test_a_warm_up_is_not_measured_and_tells_who_is_popular(trace: str) -> None:
    """Of the fifth sequence one record lies in the warm-up, and so all of it does."""
    part = {"use": trace, "warm_up": f"{sum(LENGTHS[:4]) * LAYERS + 1} records"}
    popular = np.bincount([x for each in SEQUENCES[:5] for token in each for x in token], minlength=OBJECTS)
    metrics = measured(trace, trace=part, cache={"policy": "static", "size": 1})
    assert metrics["sequences"] == 5
    held = by_hand(6, "static", popular=popular.tolist())[5:]
    assert metrics["hit_ratio"] == sum(held) / metrics["uses"]
    everyone = np.bincount([x for each in SEQUENCES for token in each for x in token], minlength=OBJECTS)
    metrics = measured(trace, cache={"policy": "static", "size": 1})
    assert metrics["hit_ratio"] == sum(by_hand(6, "static", popular=everyone.tolist())) / USES
    # sequences that share a cache find in it what the warm-up has left
    warm = measured(trace, trace=part, cache={**CACHE, "rule": "cold", "sequences": "together", "size": 1.5})
    run = [token for sequence in SEQUENCES for token in sequence]
    hits = run_hits(run, 9, "lru", experts=EXPERTS, objects=OBJECTS, cold=True)[sum(LENGTHS[:5]) :]
    assert warm["hit_ratio"] == sum(hits) / warm["uses"]


OWN = """
import numpy as np


class LastIn:
    "The expert that was used last leaves."

    compiled = False

    @staticmethod
    def state(objects):
        return {"last": np.zeros(objects, np.int64)}

    @staticmethod
    def use(last, x, now):
        last[x] = now

    @staticmethod
    def worth(last, x):
        return -last[x]
"""


def test_a_policy_of_ones_own_is_a_class_in_a_file(trace: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    metrics = measured(trace, cache={"policy": f"{tmp_path / 'own.py'}:LastIn", "experts": 1})
    assert metrics["hit_ratio"] == measured(trace, cache={"policy": "lru", "experts": 1})["hit_ratio"]
    more = measured(trace, cache={"policy": f"{tmp_path / 'own.py'}:LastIn", "experts": 6})
    assert metrics["hit_ratio"] < more["hit_ratio"] != measured(trace, cache=CACHE)["hit_ratio"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return -last[x]", "return 1 // 0 + last[x]", "LastIn fails: ZeroDivisionError"),
        ("def use(last, x, now)", "def uses(last, x, now)", "LastIn has no static function 'use'"),
        ("def worth(last, x)", "def worth(last, capacity, x)", "a verb of LastIn asks for 'capacity'"),
        (
            "def state(objects)",
            "def state(most)",
            "LastIn.state asks for 'most'; it may ask for objects, layers, expert",
        ),
        ("compiled = False", "compiled = True", "LastIn cannot be compiled"),
    ],
)
def test_a_policy_that_fails_is_told(trace: str, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = OWN.replace(old, new).replace("-last[x]", "-last[x] if now else {}" if "True" in new else "-last[x]")
    text = text.replace("def worth(last, x)", "def worth(last, x, now)" if "True" in new else "def worth(last, x)")
    (tmp_path / "own.py").write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError) as told:
        run(trace, cache={"policy": f"{tmp_path / 'own.py'}:LastIn"})
    assert message in str(told.value)


def test_random_draws_by_seed(trace: str) -> None:
    result = run(trace, cache={**CACHE, "policy": "random"}, repeat={"seeds": 3})
    assert len({row.metrics["hit_ratio"] for row in result.rows}) == 3
    assert len(run(trace, cache=CACHE, repeat={"seeds": 3}).rows) == 1


def test_intervals_are_of_sequences(trace: str) -> None:
    study = {"cache": CACHE, "what_if": {"Belady": {"cache.policy": "belady"}}, "report": {"blocks": "sessions"}}
    summary = next(held for held in run(trace, **study).compare() if held.factors["what_if"] == "Belady")
    told = summary.metrics["hit_ratio"]
    assert told.value.low < told.value.value < told.value.high


def test_segments_longer_than_sequences_are_noted(trace: str) -> None:
    result = run(trace, segment={"length": 20})
    assert "7 of 10 sequences are shorter than a segment of 20 tokens, and count for nothing in srp" in result.notes
    assert "srp.low" not in result.rows[0].metrics  # of three sequences nothing can be told
    assert "srp" not in run(trace, segment={"length": 31}).rows[0].metrics


def test_a_cache_larger_than_the_model_is_noted(trace: str) -> None:
    result = run(trace, cache={"policy": "lru", "experts": 13})
    assert result.rows[0].metrics["hit_ratio"] == 1
    assert "a cache of 13 experts holds all 12" in result.notes


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "nothing is asked of the trace"),
        ({"segment": {}, "regret": True}, "regret is of a cache"),
        ({"cache": {"policy": "lru", "size": 2, "experts": 3}}, "say `size` or `experts`, not both"),
        ({"cache": {"policy": "lrru"}}, "no expert-replacement is called 'lrru'; did you mean 'lru'?"),
        ({"cache": {"policy": {"use": "sch", "ahead": 0}}}, "must be at least 1"),
        ({"cache": {"size": 0}}, "must be at least 0.001"),
        ({"segment": {"length": 0}}, "must be at least 1"),
        ({"segment": {"level": "token"}}, "must be"),
        ({"cache": {}, "metric": 1}, "unknown key 'metric'"),
    ],
)
def test_what_is_refused(trace: str, keys: Any, message: str) -> None:
    with pytest.raises(StudyError) as told:
        run(trace, **keys)
    assert message in str(told.value)


def test_a_trace_of_something_else_is_refused() -> None:
    with pytest.raises(StudyError, match="is a trace of object records, and this scenario replays routing records"):
        run("generated/zipf-objects", cache={})


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"least": 31}, "no sequence has 31 tokens or more"),
        ({"layers": [1]}, "the trace has no layer 1: its layers are 3 to 5"),
        ({"warm_up": f"{(TOKENS - 1) * LAYERS} records"}, "the warm-up takes all sequences"),
    ],
)
def test_nothing_left_is_told_whoever_asks(trace: str, part: Any, message: str) -> None:
    with pytest.raises((StudyError, TraceError, PolicyError), match=message):
        run(trace, trace={"use": trace, **part}, cache={})


def test_a_trace_without_sequences_is_one(tmp_path: Path) -> None:
    write(tmp_path / "one.parquet", SEQUENCES[4:5], named=False)
    metrics = measured(str(tmp_path / "one.parquet"), cache=CACHE, segment={"length": 4})
    assert metrics["sequences"] == 1
    assert metrics["hit_ratio"] == by_hand(6)[4] / (6 * LENGTHS[4])
    with pytest.raises(StudyError, match="has no sessions"):
        run(str(tmp_path / "one.parquet"), cache=CACHE, report={"blocks": "sessions"})


def test_every_metric_occurs(trace: str) -> None:
    found = set(measured(trace, cache=CACHE, segment={"length": 4}, regret=True))
    assert found == set(METRICS)
