"""MQ: by hand, against its definition and libCacheSim."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.against import SHARES, equals_oracle, equals_peer, outcomes, streams
from tests.oracles.object_policies.mq import Mq
from tiersim.sim.object_loop import DELETE, GET

SHORT = {"use": "mq", "levels": 3, "life": 2, "ghost": 1}


def test_by_hand() -> None:
    ids = [1, 1, 2, 3, 2, 3, 1, 1, 3, 4, 1]
    assert outcomes(SHORT, 2, ids) == [
        0,  # 1 into Q0 with one use
        1,  # 1 into Q1 with two, until 3
        0,  # 2 into Q0: full
        0,  # 3: 2 goes, from Q0, and is remembered with one use; then 1 sinks to Q0, behind 3
        0,  # 2, with two uses into Q1, until 6; 3 goes, the oldest of Q0
        0,  # 3, with two uses into Q1, until 7; 1 goes, from Q0
        0,  # 1, with three uses into Q1; Q0 is empty, and so 2 goes, the oldest of Q1
        1,  # 1, with four uses into Q2, until 9; then 3 sinks to Q0
        1,  # 3, with three uses into Q1
        0,  # 4 into Q0: 3 goes, from Q1; then 1 sinks to Q1
        1,  # 1
    ]


def test_deleted_objects_make_room_and_are_not_remembered() -> None:
    # 1, deleted from Q1, comes back with one use, and goes for 3 before 2, which entered Q0 later and rose to Q1
    op = [GET, GET, DELETE, GET, GET, GET, GET, GET]
    assert outcomes("mq", 2, [1, 1, 1, 1, 2, 2, 3, 2], op=op) == [0, 1, 2, 0, 0, 1, 0, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("mq", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(Mq, "mq", stream)


@settings(deadline=None, max_examples=100)
@given(stream=streams(), life=st.integers(1, 20), levels=st.integers(1, 4))
def test_short_lives_equal_their_definition(
    stream: tuple[int, list[int], list[int] | None], life: int, levels: int
) -> None:
    use = {"use": "mq", "levels": levels, "life": life, "ghost": 0.5}
    equals_oracle(lambda capacity: Mq(capacity, levels, life, 0.5), use, stream)


@pytest.mark.parametrize("share", SHARES)
def test_equals_libcachesim(share: float) -> None:
    equals_peer({"use": "mq", "life": 100}, "MQ", share, lifetime=100)


def test_equals_libcachesim_in_bytes() -> None:
    equals_peer({"use": "mq", "life": 100}, "MQ", 0.1, sized=True, lifetime=100)
