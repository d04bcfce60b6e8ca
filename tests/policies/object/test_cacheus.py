"""Cacheus: by hand, and against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.cacheus import Cacheus
from tests.oracles.object_requests import object_requests, scans_and_favourites
from tiersim._base.errors import PolicyError
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, seed: int = 0, **more: Any) -> list[int]:
    held: list[Any] = []
    policy = build("object-replacement", {"use": "cacheus", **more})
    replay_objects(policy, capacity, requests, outcomes=held, compiled=compiled, seed=seed)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    # four places: three of the reused list, filled first, and one on probation
    ids = [1, 2, 3, 4, 5, 5, 1, 6, 2]
    found = [
        0,  # 1, 2 and 3 fill the reused list
        0,
        0,
        0,  # 4 is on probation, new
        0,  # 5: 4 is the oldest on probation, and the latest used of the least often used: both experts want it out
        1,  # 5 is lifted, and 1, the oldest of the reused, comes down
        1,  # 1 is lifted again, which gives no more room, as one place stays for probation; 2 comes down
        0,  # 6: LRU would evict 2, CR-LFU 3, which was used later than 2: it is drawn
    ]
    seeds = [outcomes(4, requests_from(ids), seed=seed) for seed in range(30)]
    assert all(made[:8] == found for made in seeds)
    assert {made[8] for made in seeds} == {0, 1}


def test_a_scan_does_not_disturb_what_is_reused() -> None:
    # all new objects pass through probation; LRU would lose 1, 2 and 3
    requests = requests_from([1, 2, 3, 1, 2, 3, *range(10, 60), 1, 2, 3])
    assert outcomes(4, requests)[-3:] == [1, 1, 1]


def test_deletion_everywhere() -> None:
    # 4 is on probation and 1 reused: each misses once after its deletion
    ids, op = [1, 2, 3, 4, 4, 1, 4, 1, 2], [GET, GET, GET, GET, DELETE, DELETE, GET, GET, GET]
    assert outcomes(4, requests_from(ids, op=op)) == [0, 0, 0, 0, 2, 2, 0, 0, 1]


@settings(deadline=None, max_examples=300)
@given(requests=object_requests(sizes=False, ops=False, ttl=False), capacity=st.integers(1, 12), seed=st.integers(0, 9))
def test_equals_its_definition(requests: Requests, capacity: int, seed: int) -> None:
    oracle = Cacheus(capacity, seed)
    expected = [int(oracle.on_access(x, 1)) for x in requests.ids[:].tolist()]
    assert outcomes(capacity, requests, seed=seed) == expected


def test_equals_its_definition_for_long() -> None:
    ids = scans_and_favourites(20_000, 3)
    oracle = Cacheus(50, 4)
    expected = [int(oracle.on_access(x, 1)) for x in ids.tolist()]
    assert outcomes(50, requests_from(ids), compiled=True, seed=4) == expected


def test_sizes_are_refused() -> None:
    with pytest.raises(PolicyError, match="not defined for sizes"):
        outcomes(4, requests_from([1], size=[3]))
