"""GreedyDual-Size with frequency: by hand and against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.gdsf import Gdsf
from tests.oracles.object_requests import object_requests
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, **more: Any) -> list[int]:
    held: list[Any] = []
    replay_objects(build("object-replacement", "gdsf"), capacity, requests, outcomes=held, **more)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    ids = [1, 1, 1, 2, 3, 2, 4, 5, 1]
    hits = [
        0,  # 1 enters with 1
        1,  # 1: 2
        1,  # 1: 3
        0,  # 2 enters with 1
        0,  # 3 has 1, as has 2, which has had it for longer and goes: the clock is 1; 3 enters with 1
        0,  # 2 has 2: 3 goes with 1, the clock is 1; 2 enters with 2
        0,  # 4 has 2: 2 goes with 2, the clock is 2; 4 enters with 2
        0,  # 5 has 3: 4 goes with 2; 5 enters with 3
        1,  # 1 has been there all the time with 3, and gets 2 + 4
    ]
    assert outcomes(2, requests_from(ids), compiled=False) == hits
    assert outcomes(2, requests_from(ids)) == hits


def test_size_counts_against_uses() -> None:
    # 1 of 4 bytes and used twice has 1/2, 2 of one byte 1: 1 goes
    requests = requests_from([1, 1, 2, 3, 2, 1], size=[4, 4, 1, 1, 1, 4])
    assert outcomes(5, requests, compiled=False) == [0, 1, 0, 0, 1, 0]


def test_what_is_the_lowest_itself_does_not_enter() -> None:
    # 1 has 2; 2 has 1 and does not enter, the clock is 1; then 2 has 2 and takes the place of 1
    assert outcomes(1, requests_from([1, 1, 2, 2, 2, 1]), compiled=False) == [0, 1, 0, 0, 1, 0]


def test_a_deleted_object_is_counted_anew() -> None:
    # without the deletion 1 would have 4 and stay until the end
    ids, op = [1, 1, 1, 1, 1, 1, 2, 2, 3, 1], [GET, GET, GET, GET, DELETE, *[GET] * 5]
    assert outcomes(2, requests_from(ids, op=op), compiled=False) == [0, 1, 1, 1, 2, 0, 0, 1, 0, 0]


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
    oracle = Gdsf(capacity)
    expected = [int(oracle.on_access(*asked)) for asked in zip(ids, sizes, price, strict=True)]
    assert outcomes(capacity, requests_from(ids, **columns), compiled=False) == expected
