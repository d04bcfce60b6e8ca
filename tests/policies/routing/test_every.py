"""What holds for every router, found by registration; and that each of its parameters changes something."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles.routing import Request, cluster, router
from tiersim._base.params import params
from tiersim._base.registry import index, load

ROUTERS = sorted(name for name, entry in index("routing").items() if name == entry.name)
SECOND = 10**12
ROOT = Path(__file__).parents[3]


def choices(made: Any, n: int, count: int = 250, seed: int = 0) -> list[int | None]:
    """Requests down a small tree, some of sessions, on clusters in all sorts of states; some end meanwhile."""
    rng = np.random.default_rng(seed)
    there: list[int] = []
    out: list[int | None] = []
    loads = {"waiting": 5, "running": 60, "prompts": 30_000, "pending": 20_000, "pages": 30}
    for number in range(count):
        way = rng.integers(0, 3, rng.integers(1, 12)) if rng.random() < 0.9 else rng.integers(0, 1, 5)
        blocks = [int("1" + "".join(map(str, way[: k + 1])), 4) for k in range(len(way))]
        prompt = 512 * len(blocks) - int(rng.integers(0, 500))
        session = max(-1, int(rng.integers(-10, 20)))
        ask = Request(number, number * SECOND // 3, prompt, session, 512, blocks)
        some = int(number % 20 > 0)  # now and then nothing is there
        columns = {name: rng.integers(0, some * most + 1, n).tolist() for name, most in loads.items()}
        cached = [min(512 * held, prompt - 1) for held in rng.integers(0, some * len(blocks) + 1, n).tolist()]
        sent = answers(made, ask, cluster(n, ask.time, **columns, cached=cached), there)
        out += [instance for _, instance in sent]
        there += [held for held, _ in sent]
        gone = [held for held in there if rng.random() < 0.05]
        there = [held for held in there if held not in gone]
        if hasattr(made, "ended"):
            made.ended(gone)
    return out


def answers(made: Any, ask: Request, view: Any, there: list[int]) -> list[tuple[int, int | None]]:
    """Who goes where now; a router that holds requests is told of a first token besides."""
    if not hasattr(made, "arrive"):
        return [(ask.number, made.route(ask, view))]
    made.arrive(ask, view)
    sent: list[tuple[int, int | None]] = made.dispatch(view)
    made.first([held for held in there if held == ask.number - 6])
    return [*sent, *made.dispatch(view)]


@pytest.mark.parametrize("name", ROUTERS)
def test_it_answers_with_an_instance(name: str) -> None:
    for n in (1, 2, 8):
        found = choices(router(name, n), n)
        assert set(found) <= set(range(n))
        assert len(set(found)) > n // 2


@pytest.mark.parametrize("name", ROUTERS)
def test_a_new_start_is_a_new_start(name: str) -> None:
    made = router(name, 8)
    fresh = copy.deepcopy(made)
    first = choices(made, 8)
    if hasattr(made, "start"):
        made.start(8, 0)
    assert choices(made, 8) == first == choices(fresh, 8)


@pytest.mark.parametrize("name", ROUTERS)
def test_seeds_matter_where_it_says_so(name: str) -> None:
    found = {tuple(choices(router(name, 8, seed), 8)) for seed in range(3)}
    assert len(found) == (3 if getattr(router(name), "random", False) else 1)


def first_choices() -> list[list[int | None]]:
    return [choices(router(name, 8), 8, 100) for name in ROUTERS]


def test_choices_are_the_same_in_every_process() -> None:
    code = "from tests.policies.routing.test_every import first_choices; print(first_choices())"
    said = set()
    for salt in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": salt}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        said.add(done.stdout)
    assert said == {f"{first_choices()}\n"}


PREFIX = {"rule": "prefix-aware"}
TRANSFER = {"threshold": 2}
LATE = {"slo": "2 s"}
TURNED: Sequence[tuple[str, str, Any, dict[str, Any]]] = [
    ("cache-affinity", "prefix", 3, {}),
    ("cache-affinity", "points", 20, {}),
    ("consistent-hash", "points", 20, {}),
    ("dualmap-dynamo", "candidates", 3, {}),
    ("dualmap-dynamo", "shallowest", 2, {}),
    ("dualmap-dynamo", "levels", 2, {"shallowest": 1}),
    ("dualmap-dynamo", "window", 10, {"shallowest": 1}),
    ("dualmap-dynamo", "most", 5000, {}),
    ("dualmap-no-rebalance", "choice", "min-ttft", {}),
    ("dualmap-no-rebalance", "profile", "artifact", {}),
    ("dualmap-no-rebalance", "candidates", 3, {}),
    ("dualmap-no-rebalance", "slo", "1 s", {}),
    ("dualmap-no-rebalance", "prefill", "1 ms/token", {}),
    ("dualmap-no-rebalance", "hot", "90 %", {}),
    ("dualmap-no-rebalance", "cold", "90 %", {}),
    ("dualmap-no-rebalance", "points", 20, {}),
    ("dualmap", "profile", "artifact", {}),
    ("dualmap", "candidates", 3, {}),
    ("dualmap", "slo", "1 s", {}),
    ("dualmap", "prefill", "1 ms/token", {}),
    ("dualmap", "cached", "1 ms/token", {}),
    ("dualmap", "rebalance", False, LATE),
    ("dualmap", "order", "arrival", {}),
    ("dualmap", "pending", 2, {}),
    ("dualmap", "patience", "1 s", {}),
    ("dualmap", "eager", False, {}),
    ("dualmap", "hot", "90 %", {}),
    ("dualmap", "cold", "90 %", {}),
    ("dualmap", "points", 20, {}),
    ("dynamo-kv", "credit", "50 %", {}),
    ("dynamo-kv", "decay", 1, {}),
    ("dynamo-kv", "scale", 3, {}),
    ("dynamo-kv", "each", 500, {}),
    ("dynamo-kv", "temperature", 1.0, {}),
    ("least-loaded", "load", "pages", {}),
    ("least-loaded", "tie", "random", {"load": "waiting"}),
    ("min-ttft", "hit_cost", "50 %", {}),
    ("mooncake-conductor", "prefill", "1 ms/token", TRANSFER),
    ("mooncake-conductor", "slo", "500 ms", {}),
    ("mooncake-conductor", "threshold", 2, {}),
    ("mooncake-conductor", "transfer", "500 us/token", TRANSFER),
    ("power-of-two", "drawn", 3, {}),
    ("power-of-two", "load", "pages", {}),
    ("preble", "window", "10 s", {}),
    ("preble", "prefill", "10 ms/token", {}),
    ("preble", "tpot", "1 ms", {}),
    ("preble", "answer", 1, {}),
    ("preble", "uneven", 10, {"calm": 1}),
    ("preble", "calm", 1, {}),
    ("production-stack", "rule", "session", {}),
    ("production-stack", "missing", 500, {}),
    ("production-stack", "least", 2000, PREFIX),
    ("production-stack", "window", "1 s", {"rule": "session"}),
    ("production-stack", "points", 20, {"rule": "session"}),
    ("sglang-cache-aware", "match", "90 %", {}),
    ("sglang-cache-aware", "difference", 50, {}),
    ("sglang-cache-aware", "factor", 50, {}),
    ("sglang-cache-aware", "every", "1 s", {"tree": 20}),
    ("sglang-cache-aware", "tree", 20, {}),
]


@pytest.mark.parametrize(("name", "key", "other", "beside"), TURNED, ids=[f"{one[0]}.{one[1]}" for one in TURNED])
def test_turning_it_changes_something(name: str, key: str, other: Any, beside: dict[str, Any]) -> None:
    assert choices(router(name, 8, **beside | {key: other}), 8) != choices(router(name, 8, **beside), 8)


def test_no_parameter_is_left_out() -> None:
    known = {(name, item.name) for name in ROUTERS for item, _, _ in params(load("routing", name))}
    assert known == {(name, key) for name, key, _, _ in TURNED}
