"""Hyperbolic caching: by hand, against its definition, and within chance of libCacheSim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_policies.drawn import Hyperbolic
from tests.oracles.object_requests import object_requests, scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, seed: int = 0, **more: Any) -> list[int]:
    held: list[Any] = []
    policy = build("object-replacement", {"use": "hyperbolic", **more})
    replay_objects(policy, capacity, requests, outcomes=held, compiled=compiled, seed=seed)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    # with so many draws out of two all are looked at
    ids = [1, 1, 1, 2, 3, 1, 4, 3, 2]
    found = [
        0,  # 1 enters at 0
        1,  # 1
        1,  # 1: three uses
        0,  # 2 enters at 3
        0,  # at 4: 1 has 3 uses in 4 requests, 2 has one in one: 1 goes though it was used more
        0,  # at 5: 2 has 1/2, 3 has 1: 2 goes
        0,  # at 6: 3 has 1/2, 1 has 1: 3 goes
        0,  # at 7: 1 has 1/2, 4 has 1: 1 goes
        0,  # at 8: 4 has 1/2, 3 has 1
    ]
    assert outcomes(2, requests_from(ids)) == found
    assert outcomes(2, requests_from(ids), compiled=True) == found


def test_sizes_count_when_they_should() -> None:
    # at 3: 1 of four bytes has 2/3 and 2 has 1/1; by byte 1 has less, and at 5 it is gone or not
    requests = requests_from([1, 1, 2, 2, 3, 1, 2], size=[4, 4, 1, 1, 1, 4, 1])
    assert outcomes(5, requests, sizes_count=True) == [0, 1, 0, 1, 0, 0, 0]


def test_a_deleted_object_is_counted_anew() -> None:
    ids, op = [1, 1, 1, 1, 1, 2, 2, 3, 2], [GET, GET, GET, GET, DELETE, *[GET] * 4]
    assert outcomes(1, requests_from(ids, op=op)) == [0, 1, 1, 1, 2, 0, 1, 0, 0]


@pytest.mark.parametrize("sizes_count", [False, True])
@settings(deadline=None, max_examples=100)
@given(
    requests=object_requests(ops=False, ttl=False),
    capacity=st.integers(1, 12),
    samples=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_equals_its_definition(sizes_count: bool, requests: Requests, capacity: int, samples: int, seed: int) -> None:
    ids = requests.ids[:].tolist()
    sizes = [1] * len(ids) if requests.size is None else requests.size[:].tolist()
    oracle = Hyperbolic(capacity, samples, seed, sizes_count)
    expected = [int(oracle.on_access(x, size)) for x, size in zip(ids, sizes, strict=True)]
    assert outcomes(capacity, requests, seed=seed, samples=samples, sizes_count=sizes_count) == expected


def test_agrees_with_libcachesim() -> None:
    ids = scans_and_favourites(30_000, 3)
    theirs = hits("Hyperbolic", ids, 100).count(True)
    ours = [sum(outcomes(100, requests_from(ids), compiled=True, seed=seed)) for seed in range(5)]
    assert theirs == pytest.approx(sum(ours) / 5, rel=0.01)
