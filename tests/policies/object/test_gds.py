"""GreedyDual-Size: by hand and against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.gds import Gds
from tests.oracles.object_requests import object_requests
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, **more: Any) -> list[int]:
    held: list[Any] = []
    replay_objects(build("object-replacement", "gds"), capacity, requests, outcomes=held, **more)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    # (object, size): its value is the clock + 1 / size
    requests = requests_from([1, 2, 3, 1, 4, 3, 2, 5, 1], size=[1, 4, 2, 1, 1, 2, 4, 4, 1])
    hits = [
        0,  # 1 enters with 1
        0,  # 2 enters with 1/4
        0,  # 3 enters with 1/2; 7 of 8 bytes are used
        1,  # 1 is set to 1 again
        0,  # 4 enters with 1: full
        1,  # 3 is set to 1/2 again
        1,  # 2 is set to 1/4 again
        0,  # 5 is large: 2, the least, goes and makes the clock 1/4; 5 enters with 1/2
        1,  # 1 is set to 5/4
    ]
    assert outcomes(8, requests, compiled=False) == hits
    assert outcomes(8, requests) == hits


def test_the_clock_ages_what_is_small() -> None:
    # 1 has the value 1, the others 1/2 more than the one that left before: 1/2, 1/2 | 1, 1 | then 1 is the oldest of 1s
    ids, sizes = [1, 2, 3, 4, 5, 6, 1], [1, 2, 2, 2, 2, 2, 1]
    assert outcomes(5, requests_from(ids, size=sizes), compiled=False) == [0, 0, 0, 0, 0, 0, 0]
    assert outcomes(5, requests_from([*ids[:5], 1], size=[*sizes[:5], 1]), compiled=False) == [0, 0, 0, 0, 0, 1]


def test_what_is_dear_stays() -> None:
    requests = requests_from([1, 2, 3, 1, 2], cost=[5.0, 1.0, 1.0, 5.0, 1.0])
    assert outcomes(2, requests, compiled=False) == [0, 0, 0, 1, 0]


def test_where_it_is_lru() -> None:
    ids = np.random.default_rng(1).integers(0, 9, 400)
    held: list[Any] = []
    replay_objects(build("object-replacement", "lru"), 4, requests_from(ids), outcomes=held, compiled=False)
    assert outcomes(4, requests_from(ids), compiled=False) == held[0].tolist()


def test_a_deletion_leaves_the_clock() -> None:
    # were the clock 1 after the deletion of 1, 3 would enter with 2, and 2 be older than it with 1
    ids, op = [1, 2, 1, 3, 2, 4, 2, 3], [GET, GET, DELETE, *[GET] * 5]
    assert outcomes(2, requests_from(ids, op=op), compiled=False) == [0, 0, 2, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("costs", [False, True])
@settings(deadline=None, max_examples=150)
@given(requests=object_requests(ops=False, ttl=False), capacity=st.integers(1, 40), seed=st.integers(0, 99))
def test_equals_its_definition(costs: bool, requests: Requests, capacity: int, seed: int) -> None:
    ids = requests.ids[:].tolist()
    # sizes whose inverses, and so all priorities, are exact: 0, 1, 2, 4 and 8 bytes
    sizes = [1] * len(ids) if requests.size is None else [1 << int(size) >> 1 for size in requests.size % 5]
    price = (1 << np.random.default_rng(seed).integers(0, 4, len(ids))).tolist() if costs else [1] * len(ids)
    columns: dict[str, Any] = {"size": sizes} if requests.size is not None else {}
    columns |= {"cost": price} if costs else {}
    oracle = Gds(capacity)
    expected = [int(oracle.on_access(*asked)) for asked in zip(ids, sizes, price, strict=True)]
    assert outcomes(capacity, requests_from(ids, **columns), compiled=False) == expected
