"""LHD: its model by hand, and what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_requests import object_requests, scans_and_favourites
from tiersim._base.registry import build
from tiersim.policies.object import lhd
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, seed: int = 0, **more: Any) -> list[int]:
    held: list[Any] = []
    policy = build("object-replacement", {"use": "lhd", **more})
    replay_objects(policy, capacity, requests, outcomes=held, compiled=compiled, seed=seed)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_hit_densities_by_hand() -> None:
    # one class of four ages: hits at ages 0 and 2, an eviction at age 3; the statistics keep nine tenths
    ages = 4
    n = [0, 1, 0, 10, 0, 0, ages]
    hits_, evictions = [0.0] * 64, [0.0] * 64
    hits_[0], hits_[2], evictions[3] = 2.0, 1.0, 1.0
    density = [0.0] * 64
    lhd.tick(hits_, evictions, density, [0.0] * 3, n, 10, 100)
    assert hits_[0] == pytest.approx(1.8)
    # at age 2: one of two events is a hit, and they take 1 step and 2 steps
    assert density[2] == pytest.approx(1 / 3)
    # at age 1: the same two, a step later each
    assert density[1] == pytest.approx(1 / 5)
    # at age 0: three hits of four; two take one step, one three, one four
    assert density[0] == pytest.approx(3 / 9)
    assert n[lhd.LEFT] == 100
    assert n[lhd.DONE] == 1


def test_steps_of_age_may_change() -> None:
    counts = [0.0] * (16 * 8)
    counts[:8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    lhd.rescale(counts, 8, 1)
    assert counts[:8] == [3.0, 7.0, 11.0, 7.0, 0.0, 0.0, 0.0, 8.0]
    lhd.rescale(counts, 8, -1)
    assert counts[:8] == [1.5, 1.5, 3.5, 3.5, 5.5, 5.5, 3.5, 8.0]


def test_classes_by_hand() -> None:
    n = [0, 1, 0, 10, 0, 0, 20_000]
    for ages, found in (((0, 0), 15), ((1, 0), 15), ((9000, 1000), 1), ((20_000, 0), 0), ((0, 20_000), 0)):
        assert lhd.class_of([1, 0, *ages, 0], n, 0) == found


def test_by_hand() -> None:
    # one step of age is 1024 requests, so that all have age 0 and the class decides: 1 has hit at once, 2 never
    ids = [1, 1, 1, 2, 3, 1]
    for seed in range(20):
        found = outcomes(2, requests_from(ids), seed=seed)
        assert found[:5] == [0, 1, 1, 0, 0]
    # out of eight draws and the newcomers 2 is missed rarely; explorers are rare too
    assert sum(outcomes(2, requests_from(ids), seed=seed)[5] for seed in range(50)) > 40


def test_large_objects_go_first() -> None:
    requests = requests_from([1, 2, 3, 2, 1], size=[8, 1, 2, 1, 8])
    assert sum(outcomes(10, requests, seed=seed) == [0, 0, 0, 1, 0] for seed in range(50)) > 40


def test_deletion_gives_explorers_back() -> None:
    ids = np.repeat(np.arange(200), 2)
    op = np.tile([GET, DELETE], 200)
    assert outcomes(300, requests_from(ids, op=op)) == [0, 2] * 200


@pytest.mark.parametrize("knob", [{"samples": 1}, {"newcomers": 1}, {"ages": 64}, {"interval": 500}])
def test_the_parameters_matter(knob: dict[str, int]) -> None:
    requests = requests_from(scans_and_favourites(40_000, 3))
    assert outcomes(100, requests, compiled=True, **knob) != outcomes(100, requests, compiled=True)


@settings(deadline=None, max_examples=100)
@given(requests=object_requests(ops=False, ttl=False), capacity=st.integers(1, 12), seed=st.integers(0, 9))
def test_renewals_keep_the_books(requests: Requests, capacity: int, seed: int) -> None:
    """With a renewal every other request the audit of the replay still balances, and room for all is enough."""
    found = outcomes(capacity, requests, seed=seed, interval=2, ages=64)
    if requests.size is None and requests.objects <= capacity:
        assert found.count(0) == requests.objects


def test_learns_what_lru_does_not() -> None:
    # a loop larger than the cache: LRU has no hit at all
    ids = np.tile(np.arange(150), 200)
    assert sum(outcomes(100, requests_from(ids), compiled=True, interval=1000)) > 0.4 * len(ids)
    assert hits("LRU", ids[:1000], 100).count(True) == 0
