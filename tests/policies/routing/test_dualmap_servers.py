"""The engine with the time model that DualMap estimates with is the plain model of servers, to the picosecond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.oracles.prefill_servers import Servers
from tests.oracles.routing import prompt, router
from tests.policies.routing.test_dualmap_queues import some
from tiersim._base.registry import build
from tiersim.models.cluster import Cluster, drives
from tiersim.models.prompts import prompts_of
from tiersim.models.routed import Driver
from tiersim.sim.serving import Engines, Server
from tiersim.traces.ragged import Ragged

PREFILL = 160 * 10**6
CASES: list[tuple[str, dict[str, Any]]] = [
    ("dualmap", {}),
    ("dualmap", {"profile": "artifact"}),
    ("dualmap", {"pending": 3, "order": "arrival"}),
    ("dualmap", {"eager": False, "candidates": 3}),
    ("dualmap-no-rebalance", {}),
    ("min-ttft", {}),
]


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=str)
def test_the_engine_is_the_plain_model(name: str, parameters: dict[str, Any]) -> None:
    n, capacity = 4, 150
    requests = some(300, n, 7, 7.0)
    answers = np.random.default_rng(2).integers(1, 5, len(requests)).tolist()
    chunk: Any = {
        "input": np.array([ask.prompt for ask in requests], np.uint32),
        "output": np.array(answers, np.uint32),
        "arrival": np.arange(len(requests)),
        "blocks": Ragged.of([ask.blocks for ask in requests]),
    }
    prompts = replace(prompts_of([chunk]), arrival=np.array([ask.time for ask in requests], np.int64))
    for ask, nodes in zip(requests, prompts.blocks, strict=True):  # keys are hashed by these numbers
        ask.blocks = nodes.tolist()
    made = router(name, n, **parameters)
    courses = Servers(n, made, prefill=PREFILL, capacity=capacity).serve(requests, answers)
    if name == "dualmap":
        assert made.moves > 0
    clock = build("time-model", {"use": "linear", "prefill": "160 us/token"})
    arrays = clock.compiled(None, None, None)
    server = Server(1 << 16, budget=20_480, max_requests=1, prefix="apart", blocks=capacity)
    lru = build("object-replacement", "lru")
    engines = Engines(prompts, server, n, clock, arrays, policy=lru, compiled=False)
    policy = build("routing", {"use": name, **parameters})
    (Cluster if drives(policy) else Driver)(engines, policy, 0, lambda done: None).as_recorded()
    served = engines.served
    for what in ("first", "end", "hit"):
        assert getattr(served, what).tolist() == [getattr(course, what) for course in courses], what
    assert served.instance.tolist() == [course.place for course in courses]


def test_loads_count_what_is_held() -> None:
    """Twelve equal prompts at once, of one session, on two servers: each has one, and five wait for it."""
    requests = [prompt(0, 1, 2, number=k) for k in range(12)]
    chunk: Any = {
        "input": np.array([ask.prompt for ask in requests], np.uint32),
        "output": np.ones(12, np.uint32),
        "arrival": np.arange(12),
        "blocks": Ragged.of([ask.blocks for ask in requests]),
    }
    clock = build("time-model", {"use": "linear", "prefill": "160 us/token"})
    server = Server(1 << 16, max_requests=1, prefix="apart", blocks=100)
    arrays = clock.compiled(None, None, None)
    lru = build("object-replacement", "lru")
    engines = Engines(prompts_of([chunk]), server, 2, clock, arrays, policy=lru, compiled=False)
    driver = Cluster(engines, build("routing", {"use": "dualmap", "candidates": 1}), 0, lambda done: None)
    driver.as_recorded()
    assert [look.variation for look in driver.loads] == [0, 1]  # the tenth comes when all are at one of two
