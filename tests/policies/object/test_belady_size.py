"""Belady with sizes: by hand, against its definition, and near libCacheSim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.drawn import BeladySize
from tests.oracles.object_requests import object_requests, scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, seed: int = 0, **more: Any) -> list[int]:
    held: list[Any] = []
    policy = build("object-replacement", {"use": "belady-size", **more})
    replay_objects(policy, capacity, requests, outcomes=held, compiled=compiled, seed=seed)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    # (object, size): what is looked at is size times requests until the next use
    requests = requests_from([1, 2, 3, 2, 1, 3, 4, 3], size=[4, 1, 1, 1, 4, 1, 4, 1])
    found = [
        0,  # 1 of four bytes enters, used again at 4
        0,  # 2 enters: full with five bytes
        0,  # at 2: 1 is worth 4 * 2, 2 one: 1 goes; 3 enters
        1,  # 2 is not used again
        0,  # 1 needs four bytes: 2 goes first, and that is enough; 1 is not used again
        1,  # 3
        0,  # 4 takes the place of 1
        1,  # 3
    ]
    assert outcomes(5, requests, samples=0) == found
    assert outcomes(5, requests, samples=0, compiled=True) == found


def test_it_is_belady_where_all_are_looked_at() -> None:
    requests = requests_from(scans_and_favourites(2000, 5, objects=60))
    held: list[Any] = []
    replay_objects(build("object-replacement", "belady"), 20, requests, outcomes=held, compiled=False)
    assert outcomes(20, requests, samples=0) == held[0].tolist()


def test_a_deleted_object_is_no_victim() -> None:
    ids, op = [1, 2, 1, 3, 2, 3, 1], [GET, GET, DELETE, GET, GET, GET, GET]
    assert outcomes(2, requests_from(ids, op=op)) == [0, 0, 2, 0, 1, 1, 0]


@settings(deadline=None, max_examples=150)
@given(
    requests=object_requests(ops=False, ttl=False),
    capacity=st.integers(1, 12),
    samples=st.integers(0, 5),
    seed=st.integers(0, 9),
)
def test_equals_its_definition(requests: Requests, capacity: int, samples: int, seed: int) -> None:
    ids = requests.ids[:].tolist()
    sizes = [1] * len(ids) if requests.size is None else requests.size[:].tolist()
    oracle = BeladySize(capacity, samples, seed, ids)
    expected = [int(oracle.on_access(x, size)) for x, size in zip(ids, sizes, strict=True)]
    assert outcomes(capacity, requests, seed=seed, samples=samples) == expected


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_fewer_misses_than_belady_with_sizes(share: float) -> None:
    ids = scans_and_favourites(20_000, 3)
    sizes = (np.random.default_rng(4).pareto(1.2, int(ids.max()) + 1) * 10 + 1).astype(np.int64)[ids]
    requests = requests_from(ids, size=sizes)
    capacity = int(requests.footprint * share)
    belady = replay_objects(build("object-replacement", "belady"), capacity, requests).totals.misses
    assert outcomes(capacity, requests, compiled=True).count(0) < belady
