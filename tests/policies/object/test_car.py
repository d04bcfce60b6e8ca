"""CAR: by hand, against its definition."""

from __future__ import annotations

from hypothesis import given, settings

from tests.oracles.object_policies.against import equals_oracle, outcomes, streams
from tests.oracles.object_policies.car import Car
from tiersim.sim.object_loop import DELETE, GET, PIN


def test_by_hand() -> None:
    ids = [1, 1, 2, 3, 2, 1, 4, 2, 3, 2, 1, 2]
    assert outcomes("car", 2, ids) == [
        0,  # 1 into T1
        1,  # 1 is marked
        0,  # 2 into T1: full
        0,  # 3: the hand passes 1, which goes to T2 without its mark; 2 into B1, 3 into T1
        0,  # 2 is in B1: 3 into B1, then the target is 1, and 2 goes into T2 behind 1
        1,  # 1 is marked
        0,  # 4: T1 is empty; the hand of T2 passes 1, and 2 goes into B2; 4 into T1
        0,  # 2 is in B2: T1 has one, as many as the target; 4 into B1, then the target is 0; 2 into T2
        0,  # 3 is in B1: T1 is empty; 1 from T2 into B2, then the target is 1; 3 into T2
        1,  # 2 is marked
        0,  # 1 is in B2: the hand of T2 passes 2, and 3 goes; the target is 0, 1 into T2
        1,  # 2 is in T2
    ]


def test_deleted_objects_make_room_and_are_not_remembered() -> None:
    # 1 is deleted from T1, 3 from T2; at its return 3 is new, so that it is the next to go for 5, not the marked 4
    op = [GET, DELETE, *[GET] * 4, DELETE, *[GET] * 5]
    ids = [1, 1, 3, 3, 4, 2, 3, 4, 3, 4, 5, 4]
    assert outcomes("car", 2, ids, op=op) == [0, 2, 0, 1, 0, 0, 2, 0, 0, 1, 0, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("car", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


def test_an_empty_object_goes_when_all_else_is_pinned() -> None:
    # for 3 the hand passes 2, without bytes, to T2, and 1 goes; then 3 is pinned: 2 goes for 4, which does not fit
    op = [GET, GET, GET, GET, PIN, GET, GET]
    ids, sizes = [2, 2, 1, 3, 3, 4, 3], [0, 0, 3, 3, 3, 1, 3]
    assert outcomes("car", 3, ids, op=op, size=sizes) == [0, 1, 0, 0, 2, 0, 1]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(Car, "car", stream)
