"""MRU: by hand, against its definition."""

from __future__ import annotations

from hypothesis import given, settings

from tests.oracles.object_policies.against import equals_oracle, outcomes, streams
from tests.oracles.object_policies.mru import Mru
from tiersim.sim.object_loop import DELETE, GET


def test_by_hand() -> None:
    ids = [1, 2, 3, 4, 1, 2, 3, 1]
    assert outcomes("mru", 3, ids) == [
        0,  # 1 enters
        0,  # 2 enters
        0,  # 3 enters: full
        0,  # 4: 3 was asked for last and goes
        1,  # 1
        1,  # 2
        0,  # 3: 2 was asked for last and goes
        1,  # 1
    ]


def test_a_deleted_object_is_no_victim() -> None:
    # 2 was asked for last and is deleted: 3 has room, and goes for 4
    op = [GET, GET, DELETE, GET, GET, GET]
    assert outcomes("mru", 2, [1, 2, 2, 3, 4, 1], op=op) == [0, 0, 2, 0, 0, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("mru", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(Mru, "mru", stream)
