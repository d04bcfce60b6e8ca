"""LFU with dynamic aging: by hand, against its definition."""

from __future__ import annotations

from hypothesis import given, settings

from tests.oracles.object_policies.against import equals_oracle, outcomes, streams
from tests.oracles.object_policies.lfu_da import LfuDa
from tiersim.sim.object_loop import DELETE, GET


def test_by_hand() -> None:
    ids = [1, 1, 1, 2, 3, 4, 5, 1, 5]
    assert outcomes("lfu-da", 2, ids) == [
        0,  # 1 enters with key 1
        1,  # 1 has key 2
        1,  # 1 has key 3
        0,  # 2 enters with key 1
        0,  # 3: 2 goes, the age is 1, and 3 has key 2
        0,  # 4: 3 goes, the age is 2, and 4 has key 3
        0,  # 5: 1 and 4 have key 3, 1 for longer, and goes; the age is 3, and 5 has key 4
        0,  # 1: 4 goes
        1,  # 5
    ]


def test_a_deleted_object_leaves_the_age_alone() -> None:
    # 1 is deleted with key 3; 3 enters with key 1, as the age is still 0, and goes after 2 for 4
    op = [GET, GET, GET, GET, DELETE, GET, GET, GET]
    assert outcomes("lfu-da", 2, [1, 1, 1, 2, 1, 3, 4, 3], op=op) == [0, 1, 1, 0, 2, 0, 0, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("lfu-da", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(LfuDa, "lfu-da", stream)
