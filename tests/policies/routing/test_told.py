"""Routers are told of what has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from tiersim._base.registry import build, index
from tiersim.models.cluster import Cluster, drives
from tiersim.models.routed import Asked, Driver
from tiersim.sim.prompts import Prompts
from tiersim.sim.serving import Engines, Server
from tiersim.traces.ragged import Ragged

ROUTERS = sorted(name for name, entry in index("routing").items() if name == entry.name)


@dataclass
class Books:
    """Sends in turn, and keeps what is said to have ended before each request."""

    log: list[list[int]] = field(default_factory=list)

    def start(self, instances: int, seed: int) -> None:
        self.last, self.heard = -1, list[int]()

    def ended(self, requests: Sequence[int]) -> None:
        self.heard += requests

    def route(self, request: Any, view: Any) -> int:
        self.log.append(sorted(self.heard))
        self.last = (self.last + 1) % len(view.waiting)
        return self.last


def driver(prompt: list[int], arrival: list[int], session: list[int], router: Any, count: int = 2) -> Driver:
    """Two servers that take a microsecond for a token of a prompt, and have 20 pages of 16 tokens."""
    n = len(prompt)
    empty = Ragged(np.zeros(0, np.int64), np.zeros(n + 1, np.int64))
    ones, none = np.ones(n, np.int64), np.full(n, -1, np.int64)
    when, who = np.array(arrival) * 10**6, np.array(session, np.int64)
    prompts = Prompts(when, np.array(prompt, np.int64), ones, empty, none[:0], 0, who, none)
    clock = build("time-model", {"use": "linear", "prefill": "1 us/token"})
    arrays = clock.compiled(None, None, None)
    engines = Engines(prompts, Server(20, budget=1000), count, clock, arrays, compiled=False)
    return Driver(engines, router, 0, lambda done: None)


def test_by_arrival() -> None:
    """0 ends at 100, before 2 comes; 1 at 150, as 3 comes, and so after it; 4, too large, is over at once."""
    made = driver([100, 140, 10, 10, 999, 10], [0, 10, 120, 150, 151, 400], [-1] * 6, Books())
    made.as_recorded()
    assert made.router.policy.log == [[], [], [0], [0, 2], [0, 1, 2], [0, 1, 2, 3, 4]]


def test_in_turn() -> None:
    """3 is rejected at 30, so 4 comes 10 later; 0 ends at 100, so 2 comes at 120, when 1 is still there."""
    made = driver([100, 150, 10, 999, 10], [0, 0, 20, 30, 40], [5, 6, 5, 7, 7], Books())
    made.in_turn(None)
    assert made.router.policy.log == [[], [], [], [3], [0, 3]]


@dataclass
class Closed(Books):
    """Refuses every second request."""

    def route(self, request: Any, view: Any) -> int | None:
        super().route(request, view)
        return None if request.number % 2 else 0


def test_alone_they_are_asked_too_and_may_refuse() -> None:
    made = driver([100, 140, 10, 999], [0, 30, 200, 300], [-1] * 4, Closed(), count=1)
    made.as_recorded()
    assert made.router.policy.log == [[], [], [0, 1], [0, 1, 2]]
    served = made.engines.served
    assert served.refused.tolist() == [False, True, False, True]
    assert served.rejected.tolist() == [False] * 4
    assert served.instance.tolist() == [0, -1, 0, -1]
    assert (served.end >= 0).tolist() == [True, False, True, False]


def test_a_turn_that_is_refused_is_over_at_once() -> None:
    made = driver([100, 140, 10], [0, 30, 50], [1, 2, 2], Closed(), count=1)
    assert (made.in_turn(None) // 10**6).tolist() == [0, 30, 50]


def test_blocks_have_a_size() -> None:
    made = driver([5], [0], [-1], Books())
    assert Asked(replace(made.prompts, block=512)).block == 512


@pytest.mark.parametrize("name", ROUTERS)
def test_every_router_drives_a_cluster(name: str) -> None:
    """60 prompts down a small tree, on three servers with prefix caches: all are served, and the books are kept."""
    rng = np.random.default_rng(8)
    ways = [rng.integers(0, 2, rng.integers(1, 6)) for _ in range(60)]
    lists = [[int("1" + "".join(map(str, way[: k + 1])), 3) for k in range(len(way))] for way in ways]
    names = {block: place for place, block in enumerate(dict.fromkeys(block for blocks in lists for block in blocks))}
    parent = [names.get(block // 3, -1) for block in names]
    sizes = np.array([32 * len(blocks) for blocks in lists], np.int64)
    blocks = Ragged.of([[names[block] for block in blocks] for blocks in lists], "int64")
    session = rng.integers(-1, 9, 60)
    clock = build("time-model", {"use": "linear", "prefill": "1 us/token", "decode": "5 us/request"})
    prompts = Prompts(
        np.arange(60) * 50 * 10**6,
        sizes,
        rng.integers(1, 9, 60),
        blocks,
        np.array(parent, np.int64),
        32,
        session,
        np.full(60, -1, np.int64),
    )
    for in_turn in (False, True):
        lru = build("object-replacement", "lru")
        server = Server(40, prefix="memory")
        arrays = clock.compiled(None, None, None)
        engines = Engines(prompts, server, 3, clock, arrays, policy=lru, compiled=False, audited=True)
        policy = build("routing", name)
        made = (Cluster if drives(policy) else Driver)(engines, policy, 0, lambda done: None)
        made.in_turn(None) if in_turn else made.as_recorded()
        assert (engines.served.end > 0).all()
        assert len(set(engines.served.instance.tolist())) > 1
