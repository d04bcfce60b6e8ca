"""How uneven loads are: by definition, at the times that are looked at, and as the mean over measured requests."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles.prefill_servers import Servers
from tests.oracles.routing import router
from tests.policies.routing.test_dualmap_queues import some
from tiersim._base.registry import build
from tiersim.experiments.serving_metrics import load_metrics
from tiersim.models.cluster import Cluster, drives
from tiersim.models.members import Change
from tiersim.models.prompts import prompts_of
from tiersim.models.routed import Driver, Look, look
from tiersim.sim.serving import Engines, Server
from tiersim.traces.ragged import Ragged

PREFILL = 160 * 10**6


def plain(loads: list[int]) -> tuple[float, float]:
    """Both measures of a look, from their definitions."""
    mean = Fraction(sum(loads), len(loads))
    if not mean:
        return 0, 0
    square = sum((load - mean) ** 2 for load in loads) / len(loads)
    return sqrt(square) / mean, float((max(loads) - mean) / mean)


def test_by_hand() -> None:
    assert look(7, [6, 2, 2, 2]) == Look(7, pytest.approx(sqrt(3) / 3), 1)  # the mean is 3
    assert look(0, [0, 0, 5, 0]) == Look(0, pytest.approx(sqrt(3)), 3)  # one has all: n - 1
    assert look(0, [4, 4]) == look(0, [0, 0]) == Look(0, 0, 0)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_both_are_what_they_are_defined_to_be(loads: list[int]) -> None:
    found = look(3, loads)
    assert found[1:] == pytest.approx(plain(loads), rel=1e-9, abs=1e-12)
    assert 0 <= found.variation <= sqrt(len(loads) - 1) + 1e-9
    assert 0 <= found.deviation <= len(loads) - 1 + 1e-9
    assert look(3, [160 * load for load in loads])[1:] == pytest.approx(found[1:])  # whatever the unit


def test_only_looks_with_measured_requests_count() -> None:
    looks = [Look(0, 9, 9), Look(30, 1, 2), Look(20, 2, 6), Look(10, 5, 5)]  # not in the order of the trace
    assert load_metrics(looks, 20) == {"load_cv": 1.5, "load_deviation": 4}
    assert load_metrics(looks, 31) == {}


class Watched:
    """A router that notes the loads whenever every tenth request comes to it."""

    def __init__(self, policy: Any) -> None:
        self.policy, self.noted = policy, list[list[int]]()
        holds = hasattr(policy, "arrive")
        own = getattr(policy, "loads", None)

        def watch(verb: Any) -> Any:
            def told(request: Any, view: Any) -> Any:
                if request.number % 10 == 0:
                    self.noted.append(list(view.pending if own is None else own()))
                return verb(request, view)

            return told

        for name in ("arrive", "dispatch", "first", "ended", "route"):
            if hasattr(policy, name):
                verb = getattr(policy, name)
                setattr(self, name, watch(verb) if name == ("arrive" if holds else "route") else verb)


def asked(count: int, n: int) -> tuple[Any, Any]:
    """Requests of a few sessions that do not keep up, and the same as prompts."""
    requests = some(count, n, 7, 7.0)
    chunk: Any = {
        "input": np.array([ask.prompt for ask in requests], np.uint32),
        "output": np.ones(count, np.uint32),
        "arrival": np.arange(count),
        "blocks": Ragged.of([ask.blocks for ask in requests]),
    }
    prompts = replace(prompts_of([chunk]), arrival=np.array([ask.time for ask in requests], np.int64))
    for ask, nodes in zip(requests, prompts.blocks, strict=True):
        ask.blocks = nodes.tolist()
    return requests, prompts


def engines(prompts: Any, n: int, capacity: int) -> Engines:
    clock = build("time-model", {"use": "linear", "prefill": "160 us/token"})
    server = Server(1 << 16, budget=20_480, max_requests=1, prefix="apart", blocks=capacity)
    lru = build("object-replacement", "lru")
    return Engines(prompts, server, n, clock, clock.compiled(None, None, None), policy=lru, compiled=False)


@pytest.mark.parametrize("name", ["dualmap", "dualmap-no-rebalance", "min-ttft", "round-robin"])
def test_looks_are_those_of_plain_servers(name: str) -> None:
    n, capacity = 4, 150
    requests, prompts = asked(300, n)
    watched = Watched(router(name, n))
    Servers(n, watched, prefill=PREFILL, capacity=capacity).serve(requests)
    assert len(watched.noted) == 30
    assert max(max(loads) for loads in watched.noted) > 0
    policy = build("routing", name)
    driver = (Cluster if drives(policy) else Driver)(engines(prompts, n, capacity), policy, 0, lambda done: None)
    driver.as_recorded()
    assert [one.number for one in driver.loads] == list(range(0, 300, 10))
    for one, loads in zip(driver.loads, watched.noted, strict=True):
        assert one[1:] == pytest.approx(plain(loads), rel=1e-12)


def test_nothing_is_looked_at_while_one_is_alone() -> None:
    """The second instance comes with the 20th request, so that the looks are not one for each tenth request."""
    requests, prompts = asked(60, 2)
    begins = requests[20].time
    driver = Cluster(
        engines(prompts, 2, 150),
        build("routing", "min-ttft"),
        0,
        lambda done: None,
        up=[0],
        changes=[Change(begins, "start", 1)],
    )
    driver.as_recorded()
    assert [one.number for one in driver.loads] == [20, 30, 40, 50]
    assert load_metrics(driver.loads, 30)["load_deviation"] == pytest.approx(
        sum(one.deviation for one in driver.loads[1:]) / 3
    )
