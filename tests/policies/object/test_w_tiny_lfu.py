"""W-TinyLFU: by hand and against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.w_tiny_lfu import WTinyLfu
from tests.oracles.object_requests import object_requests
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, **more: Any) -> list[int]:
    held: list[Any] = []
    policy = build("object-replacement", {"use": "w-tinylfu", **more})
    replay_objects(policy, capacity, requests, outcomes=held, compiled=compiled)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    # four places: a window of one and a main cache of three, two of them protected
    ids = [1, 2, 3, 4, 1, 5, 6, 2, 6, 2, 7, 2, 4, 3]
    hits = [
        0,  # 1 enters the window
        0,  # 2: the window sends 1 to probation, where there is room
        0,  # 3: and 2
        0,  # 4: and 3; full: window 4, probation 1 2 3
        1,  # 1 is lifted: protected 1, probation 2 3
        0,  # 5: 4 and 2, the oldest on probation, have one use each; at a tie the newcomer, 4, goes
        0,  # 6: 5 and 2 have one use each: 5 goes
        1,  # 2 is lifted: protected 1 2, probation 3
        1,  # 6 is in the window, and now used twice
        1,  # 2
        0,  # 7: 6 was used twice and 3 once: 3 goes, probation 6, window 7
        1,  # 2
        0,  # 4: 7 was used once and 6 twice: 7 goes
        0,  # 3 left when 7 came
    ]
    assert outcomes(4, requests_from(ids)) == hits
    assert outcomes(4, requests_from(ids), compiled=True) == hits


def test_a_loop_larger_than_the_cache() -> None:
    # all are used as often, so that what came first stays; LRU would have no hit
    assert outcomes(4, requests_from([1, 2, 3, 4, 5, 6] * 3)).count(1) == 6


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_small_caches(capacity: int) -> None:
    # the main cache has room for no, one and two objects
    assert outcomes(capacity, requests_from([1, 1, 2, 2, 1])) == [0, 1, 0, 1, int(capacity > 1)]


def test_an_old_favourite_is_forgotten() -> None:
    # 1 has 15 uses and is in the main cache of 2; the sketch is halved every ten requests after the first twenty
    often, others = [1, 9, *[1] * 15], [2, 3] * 30
    assert outcomes(2, requests_from([*often, *others, 1]))[-1] == 0
    assert outcomes(2, requests_from([*often, *others[:4], 1]))[-1] == 1


def test_deletion_everywhere() -> None:
    # window 4, probation 2 3, protected 1: each is deleted, and misses once
    ids, op = [1, 2, 3, 4, 1, 4, 2, 1, 4, 2, 1], [GET, GET, GET, GET, GET, DELETE, DELETE, DELETE, GET, GET, GET]
    assert outcomes(4, requests_from(ids, op=op)) == [0, 0, 0, 0, 1, 2, 2, 2, 0, 0, 0]


def test_the_parameters_matter() -> None:
    rng = np.random.default_rng(2)
    requests = requests_from(np.where(rng.random(3000) < 0.7, rng.integers(0, 30, 3000), rng.integers(0, 500, 3000)))
    first = outcomes(50, requests)
    assert outcomes(50, requests, window="50%") != first
    assert outcomes(50, requests, protected="10%") != first
    assert outcomes(50, requests, doorkeeper=True) != first


@pytest.mark.parametrize("doorkeeper", [False, True])
@settings(deadline=None, max_examples=150)
@given(
    requests=object_requests(ops=False, ttl=False),
    capacity=st.integers(1, 30),
    window=st.sampled_from([1, 20, 50]),
)
def test_equals_its_definition(doorkeeper: bool, requests: Requests, capacity: int, window: int) -> None:
    ids = requests.ids[:].tolist()
    sizes = [1] * len(ids) if requests.size is None else requests.size[:].tolist()
    most = min(capacity, requests.objects) if requests.size is None else requests.objects
    oracle = WTinyLfu(capacity, most, window / 100, doorkeeper)
    expected = [int(oracle.on_access(x, size)) for x, size in zip(ids, sizes, strict=True)]
    assert outcomes(capacity, requests, window=f"{window}%", doorkeeper=doorkeeper) == expected
