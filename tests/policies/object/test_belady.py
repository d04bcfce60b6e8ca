"""Belady's optimum: by hand, against its definition, all schedules, the other policies and libCacheSim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.belady import Belady, fewest_misses
from tests.oracles.object_requests import object_requests, scans_and_favourites
from tiersim._base.registry import build, index
from tiersim.sim.object_loop import DELETE, GET
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, name: Any = "belady", **more: Any) -> list[int]:
    held: list[Any] = []
    replay_objects(build("object-replacement", name), capacity, requests, outcomes=held, **more)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    ids = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5]
    hits = [
        0,  # 1 enters
        0,  # 2 enters
        0,  # 3 enters: full
        0,  # 4 takes the place of 3, used again at request 9; 1 and 2 are at 4 and 5
        1,  # 1
        1,  # 2
        0,  # 5 takes the place of 4 (next at 10); 1 is next at 7, 2 at 8
        1,  # 1, for the last time
        1,  # 2, for the last time
        0,  # 3 takes the place of 2 or 1, which are not used again
        0,  # 4 takes the place of the other of them
        1,  # 5 has stayed
    ]
    assert outcomes(3, requests_from(ids), compiled=False) == hits
    assert outcomes(3, requests_from(ids)) == hits


def test_one_place_holds_what_was_asked_for_last() -> None:
    # the missed object must enter, even one that is never used again
    assert outcomes(1, requests_from([1, 1, 2, 1, 1]), compiled=False) == [0, 1, 0, 0, 1]


def test_larger_ones_need_several_to_go() -> None:
    # 9 needs all the room: 1 and 2 go, the furthest first, and both miss
    requests = requests_from([1, 2, 9, 2, 1, 2], size=[1, 1, 2, 1, 1, 1])
    assert outcomes(2, requests, compiled=False) == [0, 0, 0, 0, 0, 1]


def test_deleted_objects_are_no_victims() -> None:
    # after 3 is deleted there is room for 4, and 1 and 2 stay; at its second entry 3 is never used again
    ids = [1, 2, 3, 3, 4, 1, 2, 3, 5, 1, 2]
    op = [GET, GET, GET, DELETE, *[GET] * 7]
    assert outcomes(3, requests_from(ids, op=op), compiled=False) == [0, 0, 0, 2, 0, 1, 1, 0, 0, 1, 1]


@settings(deadline=None, max_examples=150)
@given(requests=object_requests(ops=False, ttl=False), capacity=st.integers(1, 12))
def test_equals_its_definition(requests: Requests, capacity: int) -> None:
    oracle = Belady(capacity, requests.ids[:].tolist())
    sizes = [1] * len(requests) if requests.size is None else requests.size[:].tolist()
    expected = [int(oracle.on_access(x, size)) for x, size in zip(requests.ids[:].tolist(), sizes, strict=True)]
    assert outcomes(capacity, requests, compiled=False) == expected


@settings(deadline=None, max_examples=300)
@given(ids=st.lists(st.integers(0, 4), min_size=1, max_size=14), capacity=st.integers(1, 4))
def test_no_schedule_has_fewer_misses(ids: list[int], capacity: int) -> None:
    assert outcomes(capacity, requests_from(ids), compiled=False).count(0) == fewest_misses(ids, capacity)


@pytest.mark.parametrize("name", sorted({entry.name for entry in index("object-replacement").values()}))
@settings(deadline=None, max_examples=20)
@given(ids=st.lists(st.integers(0, 12), min_size=1, max_size=150), capacity=st.integers(1, 12))
def test_nothing_beats_it(name: str, ids: list[int], capacity: int) -> None:
    requests = requests_from(ids)
    other = outcomes(capacity, requests, name, compiled=False)
    assert outcomes(capacity, requests, compiled=False).count(0) <= other.count(0)


@settings(deadline=None, max_examples=40)
@given(requests=object_requests(whole=True), capacity=st.integers(1, 40))
def test_compiled_equals_plain(requests: Requests, capacity: int) -> None:
    assert outcomes(capacity, requests) == outcomes(capacity, requests, compiled=False)


def peer_hits(ids: np.ndarray, capacity: int, sizes: np.ndarray | None = None) -> list[int]:
    """What libCacheSim says, which wants to be told the next request for each object."""
    peer = pytest.importorskip("libcachesim")
    cache, request = peer.Belady(cache_size=capacity, hashpower=16), peer.Request()
    never, later, last = (1 << 63) - 1, [], {}
    for at in range(len(ids) - 1, -1, -1):
        later.append(last.get(int(ids[at]), never))
        last[int(ids[at])] = at
    request.obj_size = 1
    out = []
    for at, (x, use) in enumerate(zip(ids.tolist(), reversed(later), strict=True)):
        request.obj_id, request.next_access_vtime = x, use
        if sizes is not None:
            request.obj_size = int(sizes[at])
        out.append(int(cache.get(request)))
    return out


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5])
def test_equals_libcachesim(share: float) -> None:
    ids = scans_and_favourites(20_000, 3)
    requests = requests_from(ids)
    capacity = max(1, int(requests.objects * share))
    assert outcomes(capacity, requests) == peer_hits(ids, capacity)
    sizes = np.random.default_rng(4).integers(1, 100, int(ids.max()) + 1)[ids]
    requests = requests_from(ids, size=sizes)
    capacity = max(100, int(requests.footprint * share))
    assert outcomes(capacity, requests) == peer_hits(ids, capacity, sizes)
