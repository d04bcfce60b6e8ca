"""LRU-K: by hand, against its definition and libCacheSim."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.against import SHARES, equals_oracle, equals_peer, outcomes, streams
from tests.oracles.object_policies.lru_k import LruK
from tiersim.sim.object_loop import DELETE, GET

IDS = [1, 1, 2, 3, 1, 2, 3, 1, 3]
FORGETS = {"use": "lru-k", "retained": 0}


def test_by_hand() -> None:
    assert outcomes("lru-k", 2, IDS) == [
        0,  # 1 enters at time 0
        1,  # 1 has two uses
        0,  # 2 enters at time 2: full
        0,  # 3: 2 has one use and goes
        1,  # 1: its last use but one is at 1
        0,  # 2: 3 has one use and goes; that of 2 at time 2 is remembered, and is its last but one
        0,  # 3: the last but one is at 1 for 1 and at 2 for 2; 1 goes
        0,  # 1: at 2 for 2 and at 3 for 3; 2 goes
        1,  # 3
    ]


def test_by_hand_where_nothing_is_remembered() -> None:
    # as above up to request 5; then 2 has one use, and goes for 3; 1 stays
    assert outcomes(FORGETS, 2, IDS) == [0, 1, 0, 0, 1, 0, 0, 1, 1]


def test_uses_are_forgotten_when_they_are_too_old() -> None:
    # 2 was used at 2; at 5 that is 3 requests ago: known with 3, and with 2 it comes back as new, and goes for 3
    assert outcomes({"use": "lru-k", "retained": 3}, 2, IDS[:8]) == [0, 1, 0, 0, 1, 0, 0, 0]
    assert outcomes({"use": "lru-k", "retained": 2}, 2, IDS[:8]) == [0, 1, 0, 0, 1, 0, 0, 1]


def test_a_deleted_object_is_forgotten() -> None:
    # 1, with two uses, is deleted; it comes back with one, and goes before 2, which entered later but has two
    op = [GET, GET, DELETE, GET, GET, GET, GET, GET]
    assert outcomes("lru-k", 2, [1, 1, 1, 1, 2, 2, 3, 2], op=op) == [0, 1, 2, 0, 0, 1, 0, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("lru-k", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(LruK, "lru-k", stream)


@settings(deadline=None, max_examples=100)
@given(stream=streams(), k=st.integers(1, 4), retained=st.integers(0, 20))
def test_other_ks_equal_their_definition(
    stream: tuple[int, list[int], list[int] | None], k: int, retained: int
) -> None:
    use = {"use": "lru-k", "k": k, "retained": retained}
    equals_oracle(lambda capacity: LruK(capacity, k, retained), use, stream)


@pytest.mark.parametrize("share", SHARES)
def test_equals_libcachesim(share: float) -> None:
    equals_peer(FORGETS, "LRUK", share)


def test_equals_libcachesim_in_bytes() -> None:
    equals_peer(FORGETS, "LRUK", 0.1, sized=True)
