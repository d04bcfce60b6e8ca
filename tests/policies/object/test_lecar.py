"""LeCaR: by hand, against its algorithms, and within chance of libCacheSim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_policies.drawn import LeCar
from tests.oracles.object_requests import object_requests, scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, seed: int = 0, **more: Any) -> list[int]:
    held: list[Any] = []
    policy = build("object-replacement", {"use": "lecar", **more})
    replay_objects(policy, capacity, requests, outcomes=held, compiled=compiled, seed=seed)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    # with all weight on LRU and nothing learned it is LRU, with none LFU
    ids = [1, 1, 2, 3, 1, 2, 3]
    lru = [
        0,  # 1 enters
        1,  # 1: two uses
        0,  # 2 enters: full
        0,  # 3 takes the place of 1, or of 2
        0,  # 1 takes the place of 2
        0,  # 2 takes the place of 3
        0,
    ]
    lfu = [0, 1, 0, 0, 1, 0, 0]
    assert outcomes(2, requests_from(ids), rate=0, lru_weight="100%") == lru
    assert outcomes(2, requests_from(ids), rate=0, lru_weight="0%") == lfu
    assert outcomes(2, requests_from(ids), rate=0, lru_weight="0%", compiled=True) == lfu


def test_it_learns_that_lru_is_wrong() -> None:
    # favourites between scans longer than the cache: LRU would lose them each time
    ids: list[int] = []
    for turn in range(300):
        ids += [1, 2, 3, 4, 1, 2, 3, 4, *range(100 + 8 * turn, 108 + 8 * turn)]
    requests = requests_from(ids)
    learned = sum(outcomes(8, requests, lru_weight="99%"))
    assert learned > sum(outcomes(8, requests, rate=0, lru_weight="99%")) * 1.1


def test_deletion_from_the_cache() -> None:
    ids, op = [1, 2, 1, 2, 3, 1, 3], [GET, GET, DELETE, GET, GET, GET, GET]
    assert outcomes(3, requests_from(ids, op=op)) == [0, 0, 2, 1, 0, 0, 1]


@settings(deadline=None, max_examples=200)
@given(requests=object_requests(ops=False, ttl=False), capacity=st.integers(1, 12), seed=st.integers(0, 9))
def test_equals_its_definition(requests: Requests, capacity: int, seed: int) -> None:
    ids = requests.ids[:].tolist()
    sizes = [1] * len(ids) if requests.size is None else requests.size[:].tolist()
    oracle = LeCar(capacity, seed)
    expected = [int(oracle.on_access(x, size)) for x, size in zip(ids, sizes, strict=True)]
    assert outcomes(capacity, requests, seed=seed) == expected


def test_agrees_with_libcachesim() -> None:
    ids = scans_and_favourites(30_000, 3)
    theirs = [hits("LeCaR", ids, 100).count(True) for _ in range(3)]
    ours = [sum(outcomes(100, requests_from(ids), compiled=True, seed=seed)) for seed in range(5)]
    assert sum(theirs) / 3 == pytest.approx(sum(ours) / 5, rel=0.02)
