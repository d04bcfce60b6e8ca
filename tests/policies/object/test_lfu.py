"""LFU: by hand, against its definition and libCacheSim."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.oracles.object_policies.against import SHARES, equals_oracle, equals_peer, outcomes, streams
from tests.oracles.object_policies.lfu import Lfu
from tiersim.sim.object_loop import DELETE, GET


def test_by_hand() -> None:
    ids = [1, 1, 2, 3, 2, 2, 3, 1, 2]
    assert outcomes("lfu", 2, ids) == [
        0,  # 1 enters
        1,  # 1 has two uses
        0,  # 2 enters: full
        0,  # 3: 2 has one use and goes
        0,  # 2: 3 has one use and goes
        1,  # 2 has two uses, as 1 has
        0,  # 3: of 1 and 2, 1 has had its two uses for longer and goes
        0,  # 1: 3 has one use and goes
        1,  # 2
    ]


def test_a_deleted_object_starts_anew() -> None:
    # 1, with two uses, is deleted and comes back with one, after 2, which goes for 3
    op = [GET, GET, GET, DELETE, GET, GET, GET]
    assert outcomes("lfu", 2, [1, 1, 2, 1, 1, 3, 1], op=op) == [0, 1, 0, 2, 0, 0, 1]
    # for 3 goes 1, and 2 is deleted after that; at its return 3 is the oldest with one use
    op = [GET, GET, GET, GET, GET, DELETE, GET, GET, GET]
    assert outcomes("lfu", 2, [1, 1, 2, 2, 3, 2, 4, 2, 4], op=op) == [0, 1, 0, 1, 0, 2, 0, 0, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("lfu", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(Lfu, "lfu", stream)


@pytest.mark.parametrize("share", SHARES)
def test_equals_libcachesim(share: float) -> None:
    equals_peer("lfu", "LFU", share)


def test_equals_libcachesim_in_bytes() -> None:
    equals_peer("lfu", "LFU", 0.1, sized=True)
