"""Routers: whom they choose, and how evenly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.oracles.routing import Request, cluster, prompt, router


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


@pytest.mark.parametrize(("load", "expected"), [("waiting", 1), ("pages", 0), ("requests", 3)])
def test_other_notions_of_load(load: str, expected: int) -> None:
    seen = cluster(waiting=[2, 0, 1, 1], running=[3, 9, 1, 0], pages=[1, 2, 3, 4])
    assert router("least-loaded", load=load).route(Request(), seen) == expected


def test_of_equals_any() -> None:
    made = router("least-loaded", tie="random")
    seen = cluster(waiting=[1, 0, 0, 2])
    drawn = Counter(made.route(Request(), seen) for _ in range(1000))
    assert set(drawn) == {1, 2}
    assert 400 < drawn[1] < 600
    assert made.random
    assert not router("least-loaded").random


def test_random_is_even_and_blind() -> None:
    made = router("random")
    drawn = [made.route(Request(), cluster(waiting=[9, 0, 9, 9])) for _ in range(4000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values())
    made.start(4, 0)
    assert [made.route(Request(), cluster()) for _ in range(50)] == drawn[:50]
    made.start(4, 1)
    assert [made.route(Request(), cluster()) for _ in range(50)] != drawn[:50]


def test_two_are_drawn_and_the_better_one_taken() -> None:
    """Of four, the worst is never better, and the best is drawn by half of the pairs."""
    made = router("power-of-two")
    drawn = Counter(made.route(Request(), cluster(waiting=[0, 1, 2, 3])) for _ in range(6000))
    assert drawn[3] == 0
    assert all(abs(drawn[k] - expected) < 200 for k, expected in enumerate((3000, 2000, 1000)))
    by_pages = router("power-of-two", load="pages", drawn=4)
    assert {by_pages.route(Request(), cluster(waiting=[0, 9, 9, 9], pages=[9, 9, 1, 9])) for _ in range(20)} == {2}
    one = router("power-of-two", drawn=1)
    assert {one.route(Request(), cluster(waiting=[0, 1, 2, 3])) for _ in range(100)} == {0, 1, 2, 3}


def test_equal_loads_fall_evenly_on_those_that_are_drawn() -> None:
    made = router("power-of-two")
    drawn = Counter(made.route(Request(), cluster()) for _ in range(4000))
    assert all(880 < count < 1120 for count in drawn.values())


@pytest.mark.parametrize("name", ["session-hash", "consistent-hash"])
def test_sessions_stay_where_they_are(name: str) -> None:
    made = router(name)
    where = [made.route(prompt(k, k + 1, session=k % 40), cluster(waiting=[k, 0, 0, 0])) for k in range(400)]
    assert where == where[:40] * 10
    assert set(where) == {0, 1, 2, 3}
    unknown = {made.route(prompt(1, number=k), cluster()) for k in range(100)}
    assert unknown == {0, 1, 2, 3}


def test_a_modulo_moves_nearly_all_sessions_and_a_ring_few() -> None:
    moved = {}
    for name in ("session-hash", "consistent-hash"):
        eight, seven = router(name, 8), router(name, 7)
        ask = [Request(session=k) for k in range(2000)]
        moved[name] = sum(eight.route(one, cluster(8)) != seven.route(one, cluster(7)) for one in ask) / len(ask)
    assert moved["session-hash"] == pytest.approx(7 / 8, abs=0.03)
    assert moved["consistent-hash"] == pytest.approx(1 / 8, abs=0.03)


def test_affinity_is_a_ring_of_prefixes_and_without_them_of_sessions() -> None:
    ring, affinity = router("consistent-hash"), router("cache-affinity", prefix=3)
    unknown = [Request(session=5), Request(number=7)]
    assert [ring.route(one, cluster()) for one in unknown] == [affinity.route(one, cluster()) for one in unknown]
    where = [affinity.route(prompt(k // 4, 1, 2, k, session=k), cluster()) for k in range(400)]
    assert where == [place for place in where[::4] for _ in range(4)]
    assert set(where) == {0, 1, 2, 3}
