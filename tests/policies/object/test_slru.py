"""Segmented LRU: by hand, against its definition and libCacheSim."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.oracles.object_policies.against import SHARES, equals_oracle, equals_peer, outcomes, streams
from tests.oracles.object_policies.slru import Slru
from tiersim.sim.object_loop import DELETE, GET, PIN

PAPER = {"use": "slru", "segments": 2, "protected": 0.5, "fill": False}


def test_four_lists_by_hand() -> None:
    ids = [1, 2, 3, 4, 1, 5, 2, 4, 3, 5, 1]
    assert outcomes("slru", 4, ids) == [
        0,  # 1 into the lowest list, which has room for one
        0,  # 2 into the next
        0,  # 3 into the next
        0,  # 4 into the highest: full
        1,  # 1 rises by one, and 2 sinks to the lowest
        0,  # 5: 2 goes, from the lowest list
        0,  # 2: 5 goes
        1,  # 4 is in the highest
        1,  # 3 rises to the highest, and 4 sinks by one
        0,  # 5: 2 goes
        1,  # 1
    ]


def test_the_paper_by_hand() -> None:
    ids = [1, 2, 3, 1, 2, 3, 4, 5, 6, 2, 4, 1]
    assert outcomes(PAPER, 4, ids) == [
        0,  # 1 is on probation
        0,  # 2
        0,  # 3
        1,  # 1 is protected
        1,  # 2 is protected: two of two
        1,  # 3 is protected, and 1, the oldest, is on probation again, as the newest
        0,  # 4 is on probation: full
        0,  # 5: 1, the oldest on probation, goes
        0,  # 6: 4 goes
        1,  # 2
        0,  # 4: 5 goes
        0,  # 1: 6 goes
    ]


def test_deleted_objects_make_room() -> None:
    # 1 is deleted from the protected list and 2 from the other: 3, 4 and 5 have room beside each other
    op = [GET, GET, GET, DELETE, DELETE, *[GET] * 6]
    ids = [1, 1, 2, 1, 2, 3, 4, 5, 3, 4, 5]
    assert outcomes({**PAPER, "protected": 0.4}, 3, ids, op=op) == [0, 1, 0, 2, 2, 0, 0, 0, 1, 1, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("slru", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


def test_an_empty_object_goes_when_all_else_is_pinned() -> None:
    # 1 fills the cache and is pinned; 2 has no bytes, is let in and goes for 3, which does not fit all the same
    op = [GET, PIN, GET, GET, GET]
    assert outcomes("slru", 3, [1, 1, 2, 3, 1], op=op, size=[3, 3, 0, 1, 3]) == [0, 2, 0, 0, 1]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(Slru, "slru", stream)


@settings(deadline=None, max_examples=100)
@given(stream=streams())
def test_the_paper_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(lambda capacity: Slru(capacity, 2, capacity // 2, fill=False), PAPER, stream)


@pytest.mark.parametrize("share", SHARES)
def test_equals_libcachesim(share: float) -> None:
    equals_peer("slru", "SLRU", share, multiple=4)
