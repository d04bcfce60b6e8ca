"""LRU curves in one pass against LRU caches one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_requests import object_requests, scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from
from tiersim.sim.stack_distance import has_distances, lru_curve

LRU = build("object-replacement", "lru")


def one_by_one(requests: Requests, capacities: np.ndarray, warm_up: int = 0) -> tuple[list[int], list[int]]:
    done = [replay_objects(LRU, int(size), requests, warm_up=warm_up).totals for size in capacities]
    return [held.misses for held in done], [held.byte_misses for held in done]


@settings(deadline=None, max_examples=150)
@given(requests=object_requests(sizes=False, ops=False, ttl=False), warm_up=st.integers(0, 50))
def test_every_size_is_exact(requests: Requests, warm_up: int) -> None:
    capacities = np.arange(1, 22)
    warm_up = min(warm_up, len(requests) - 1)
    curve = lru_curve(requests, capacities, warm_up)
    assert curve.misses.tolist() == one_by_one(requests, capacities, warm_up)[0]
    assert curve.requests == len(requests) - warm_up


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 200))
def test_sizes_are_exact_from_the_largest_object_on(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 15, count)
    requests = requests_from(ids, size=rng.integers(0, 9, 15)[ids])
    capacities = rng.permutation(np.arange(8, 100, 7))
    curve = lru_curve(requests, capacities)
    assert (curve.misses.tolist(), curve.byte_misses.tolist()) == one_by_one(requests, capacities)


@pytest.mark.parametrize("sized", [False, True])
def test_times_are_made_compact(sized: bool) -> None:
    """Far more requests than times for so few objects."""
    ids = scans_and_favourites(60_000, 3, objects=50) % np.uint64(900)
    columns = {"size": (ids % np.uint64(7) + np.uint64(1)).astype(np.int64)} if sized else {}
    requests = requests_from(ids, **columns)
    capacities = np.array([7, 10, 50, 200, 901, 4000])
    assert lru_curve(requests, capacities).misses.tolist() == one_by_one(requests, capacities)[0]


def test_a_larger_lru_cache_misses_only_what_a_smaller_one_misses() -> None:
    requests = requests_from(scans_and_favourites(5000, 1))
    before = None
    for size in (3, 10, 40, 200):
        held: list[np.ndarray] = []
        replay_objects(LRU, size, requests, outcomes=held)
        hits = np.concatenate(held)
        assert before is None or not (before & ~hits & 1).any()
        before = hits


def test_what_has_no_stack_distance_is_refused() -> None:
    requests = requests_from([1, 1], op=[0, 2])
    assert not has_distances(requests)
    with pytest.raises(ValueError, match="no stack distances"):
        lru_curve(requests, np.array([1]))
    assert has_distances(requests_from([1, 1], op=[0, 1]))
    assert not has_distances(requests_from([1, 1], op=[0, 1], size=[1, 2]))
    assert not has_distances(requests_from([1], ttl=[3], time=[0]))
