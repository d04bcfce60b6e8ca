"""Routers: whom they choose, and how evenly."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from tiersim._base.registry import build, index


@dataclass
class Request:
    number: int = 0
    time: int = 0
    prompt: int = 1000
    session: int = -1
    blocks: list[int] = field(default_factory=list)


@dataclass
class Cluster:
    waiting: list[int]
    running: list[int]
    prompts: list[int]
    pending: list[int]
    pages: list[int]
    cached: list[int]

    def hits(self, request: Request) -> list[int]:
        return self.cached


def cluster(n: int = 4, **columns: list[int]) -> Cluster:
    names = ("waiting", "running", "prompts", "pending", "pages", "cached")
    return Cluster(**{name: columns.get(name, [0] * n) for name in names})


def router(name: str, **parameters: object) -> object:
    made = build("routing", {"use": name, **parameters})
    if hasattr(made, "start"):
        made.start(4, 0)
    return made


def test_round_robin_goes_round() -> None:
    made = router("round-robin")
    assert [made.route(Request(), cluster()) for _ in range(6)] == [0, 1, 2, 3, 0, 1]
    made.start(4, 0)
    assert made.route(Request(), cluster()) == 0


@pytest.mark.parametrize(("load", "expected"), [("requests", 1), ("prompt-tokens", 2), ("pending-tokens", 3)])
def test_least_loaded_takes_the_least_of_what_it_looks_at(load: str, expected: int) -> None:
    seen = cluster(waiting=[3, 0, 2, 2], running=[0, 1, 1, 2], prompts=[9, 9, 1, 9], pending=[9, 9, 9, 1])
    assert router("least-loaded", load=load).route(Request(), seen) == expected
    assert router("least-loaded", load=load).route(Request(), cluster()) == 0


def test_min_ttft_weighs_what_is_cached_against_what_waits() -> None:
    made = router("min-ttft")
    assert made.route(Request(prompt=1000), cluster(pending=[500, 0, 300, 0], cached=[600, 0, 500, 0])) == 2
    assert made.route(Request(prompt=1000), cluster(pending=[0, 0, 0, 0], cached=[0, 512, 0, 1000])) == 3
    dear = router("min-ttft", hit_cost="100 %")  # as if nothing were cached
    assert dear.route(Request(prompt=1000), cluster(pending=[1, 0, 0, 0], cached=[1000, 0, 0, 0])) == 1


def test_affinity_depends_on_the_beginning_alone() -> None:
    made = router("cache-affinity")
    first = made.route(Request(blocks=[1, 2, 3]), cluster(waiting=[9, 9, 9, 9]))
    assert {made.route(Request(number=k, blocks=[1, 2, k]), cluster()) for k in range(20)} == {first}
    assert len({made.route(Request(blocks=[1, k]), cluster()) for k in range(100)}) == 4
    by_session = {made.route(Request(number=k, session=5), cluster()) for k in range(20)}
    assert len(by_session) == 1
    assert len({made.route(Request(number=k), cluster()) for k in range(100)}) == 4


def test_a_ring_is_nearly_even_and_loses_only_what_was_on_a_lost_instance() -> None:
    eight, seven = router("cache-affinity"), router("cache-affinity")
    eight.start(8, 0)
    seven.start(7, 0)
    keys = [Request(blocks=[k, k + 1]) for k in range(4000)]
    before = [eight.route(key, cluster(8)) for key in keys]
    after = [seven.route(key, cluster(7)) for key in keys]
    shares = np.array(list(Counter(before).values())) / len(keys)
    assert 0.08 < shares.min() <= shares.max() < 0.18
    assert all(one == other for one, other in zip(before, after, strict=True) if one != 7)


def test_every_router_answers_with_an_instance() -> None:
    for name in index("routing"):
        made = router(name)
        for k in range(10):
            assert made.route(Request(number=k, blocks=[k]), cluster()) in range(4)
