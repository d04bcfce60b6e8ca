"""ARC: by hand, against its definition and libCacheSim."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.oracles.object_policies.against import SHARES, equals_oracle, equals_peer, outcomes, streams
from tests.oracles.object_policies.arc import Arc
from tiersim._base.registry import build
from tiersim.sim.object_loop import DELETE, GET, PIN
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import requests_from

IDS = [1, 1, 2, 3, 2, 1, 2, 4, 3, 4]


def test_by_hand() -> None:
    assert outcomes("arc", 2, IDS) == [
        0,  # 1 into T1
        1,  # 1 into T2
        0,  # 2 into T1: full
        0,  # 3, new: T1 has one, more than the target of 0; 2 into B1, 3 into T1
        0,  # 2 is in B1: the target is 1, T1 has no more; 1 from T2 into B2, 2 into T2
        0,  # 1 is in B2: the target is 0; 3 from T1 into B1, 1 into T2
        1,  # 2 is in T2
        0,  # 4, new: T1 is empty; 1, the oldest of T2, into B2, 4 into T1
        0,  # 3 is in B1: the target is 1; 2 from T2 into B2, 3 into T2
        1,  # 4 is in T1
    ]


def test_an_object_wanders_through_the_places() -> None:
    two = replay_objects(build("object-replacement", "arc"), 2, requests_from(IDS), watch=1, compiled=False)
    assert [(event.request, event.before, event.after) for event in two.life if event.before != event.after] == [
        (2, "out", "recent"),
        (3, "recent", "ghost-recent"),
        (4, "ghost-recent", "frequent"),
        (8, "frequent", "ghost-frequent"),
    ]


def test_deleted_objects_make_room_and_are_not_remembered() -> None:
    # 1 is deleted from T2, 2 from T1: 3 and 4 have room; 2 is new when it comes back, so 3 from T1 goes, not 4 from T2
    op = [GET, GET, GET, DELETE, DELETE, *[GET] * 5]
    assert outcomes("arc", 2, [1, 1, 2, 1, 2, 4, 4, 3, 2, 4], op=op) == [0, 1, 0, 2, 2, 0, 1, 0, 0, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("arc", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


def test_an_empty_object_goes_when_all_else_is_pinned() -> None:
    # 2, without bytes, is in T2; 1 fills the cache and is pinned: 2 goes for 3, which does not fit all the same
    op = [GET, GET, GET, PIN, GET, GET]
    assert outcomes("arc", 3, [2, 2, 1, 1, 3, 1], op=op, size=[0, 0, 3, 3, 1, 3]) == [0, 1, 0, 2, 0, 1]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(Arc, "arc", stream)


@pytest.mark.parametrize("share", SHARES)
def test_equals_libcachesim(share: float) -> None:
    equals_peer("arc", "ARC", share)


def test_equals_libcachesim_in_bytes() -> None:
    equals_peer("arc", "ARC", 0.1, sized=True)
