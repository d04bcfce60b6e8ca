"""2Q: by hand, against its definition and libCacheSim."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.oracles.object_policies.against import SHARES, equals_oracle, equals_peer, outcomes, streams
from tests.oracles.object_policies.two_q import TwoQ
from tiersim.sim.object_loop import DELETE, GET, PIN


def test_by_hand() -> None:
    ids = [1, 2, 3, 4, 1, 5, 1, 2, 6, 7, 3, 1, 5, 6, 2, 5]
    assert outcomes("2q", 4, ids) == [
        0,  # 1 into A1in, whose share is one
        0,  # 2
        0,  # 3
        0,  # 4: full
        1,  # 1 stays where it is
        0,  # 5: A1in has four; 1, the first, goes and is remembered in A1out
        0,  # 1 was in A1out: into Am; 2 goes to A1out
        0,  # 2 was in A1out: into Am; 3 goes to A1out
        0,  # 6: A1in has 4 and 5; 4 goes to A1out
        0,  # 7: 5 goes to A1out, which remembers two and forgets 3
        0,  # 3 is new: 6 goes to A1out, which forgets 4
        1,  # 1 is in Am, and the newest there
        0,  # 5 was in A1out: into Am; A1in has 7 and 3, and 7 goes to A1out
        0,  # 6 was in A1out: into Am; A1in has one, and so 2, the oldest of Am, goes for good
        0,  # 2 is new: A1in has one, and so 1 goes
        1,  # 5 is in Am
    ]


def test_deleted_objects_make_room_and_are_not_remembered() -> None:
    # 2, deleted from A1in, comes back into A1in; 1, deleted from Am, too
    op = [*[GET] * 6, DELETE, GET, DELETE, GET, GET, GET]
    ids = [1, 2, 3, 4, 5, 1, 3, 3, 1, 1, 3, 4]
    assert outcomes("2q", 4, ids, op=op) == [0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 1, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("2q", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


def test_an_empty_object_goes_when_all_else_is_pinned() -> None:
    # 2, without bytes, goes to A1out for 3, and comes back into Am; 3 is pinned: 2 goes for 4, which does not fit
    op = [GET, GET, GET, GET, PIN, GET, GET]
    ids, sizes = [2, 1, 3, 2, 3, 4, 3], [0, 4, 4, 0, 4, 1, 4]
    assert outcomes("2q", 4, ids, op=op, size=sizes) == [0, 0, 0, 0, 2, 0, 1]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(TwoQ, "2q", stream)


@pytest.mark.parametrize("share", SHARES)
def test_equals_libcachesim(share: float) -> None:
    equals_peer("2q", "TwoQ", share, multiple=4)


def test_equals_libcachesim_in_bytes() -> None:
    equals_peer("2q", "TwoQ", 0.1, sized=True)
