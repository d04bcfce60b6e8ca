"""LIRS: by hand, against its definition and libCacheSim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_policies.against import equals_oracle, outcomes, streams
from tests.oracles.object_policies.lirs import Lirs
from tests.oracles.object_requests import scans_and_favourites
from tiersim.sim.object_loop import DELETE, GET


def test_by_hand() -> None:
    ids = [1, 2, 3, 4, 3, 1, 1, 4, 3, 2, 4, 1]
    # the stack from the bottom, (x) what is not resident
    assert outcomes("lirs", 3, ids) == [
        0,  # 1 is LIR; room for two of them, and for one HIR
        0,  # 2 is LIR
        0,  # 3 is HIR; stack 1 2 3, queue 3
        0,  # 4: 3 goes; stack 1 2 (3) 4, queue 4
        0,  # 3 is in the stack and becomes LIR: 4 goes, 1 from the bottom becomes HIR; stack 2 (4) 3, queue 1
        1,  # 1 is in the queue only and stays HIR; stack 2 (4) 3 1
        1,  # 1 is in the stack and becomes LIR, 2 becomes HIR; stack 3 1, pruned, queue 2
        0,  # 4 is new: 2 goes; stack 3 1 4, queue 4
        1,  # 3 is LIR; stack 1 4 3
        0,  # 2 is new: 4 goes; stack 1 (4) 3 2, queue 2
        0,  # 4 is in the stack and becomes LIR: 2 goes, 1 becomes HIR; stack 3 (2) 4, queue 1
        1,  # 1 is in the queue
    ]


def test_the_stack_is_bounded() -> None:
    # 1 and 2 are LIR, 3 to 7 pass. The stack tells of six: 1, 2, 7 and those that left last, 4, 5, 6. So 4 becomes LIR,
    # and it is not 4 that goes for 8; 3 is forgotten, is HIR and goes
    passing = [1, 2, 3, 4, 5, 6, 7]
    assert outcomes("lirs", 3, [*passing, 4, 8, 4]) == [0] * 9 + [1]
    assert outcomes("lirs", 3, [*passing, 3, 8, 3]) == [0] * 10
    # of three it tells only of what is resident
    assert outcomes({"use": "lirs", "stack": 1}, 3, [*passing, 4, 8, 4]) == [0] * 10


def test_deleted_objects_make_room() -> None:
    # 3 is deleted from the queue and 1 from the bottom of the stack: 4 is LIR, and 5 HIR goes for 6
    op = [GET, GET, GET, DELETE, DELETE, *[GET] * 5]
    ids = [1, 2, 3, 3, 1, 4, 5, 6, 4, 2]
    assert outcomes("lirs", 3, ids, op=op) == [0, 0, 0, 2, 2, 0, 0, 0, 1, 1]


def test_one_place_holds_what_was_asked_for_last() -> None:
    assert outcomes("lirs", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]


@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(Lirs, "lirs", stream)


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_equals_libcachesim_until_it_departs_from_the_paper(share: float) -> None:
    """There a hit on what is in the queue only turns the oldest LIR block into HIR, though nothing becomes LIR."""
    ids = scans_and_favourites(12_000, 3)
    capacity = int(len(np.unique(ids)) * share)
    oracle, until = Lirs(capacity), 0
    for x in ids.tolist():
        if x in oracle.queue and x not in oracle.stack:
            break
        oracle.on_access(x, 1)
        until += 1
    assert until > 2 * capacity
    found = outcomes("lirs", capacity, ids[:until], compiled=True)
    assert found == list(map(int, hits("LIRS", ids[:until], capacity)))
