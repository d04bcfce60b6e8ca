"""LRU, FIFO, CLOCK and SIEVE: by hand and against their definitions; and the queues that they stand in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.against import equals_oracle, outcomes, streams
from tests.oracles.object_policies.queues import Clock, Fifo, Lru, Sieve
from tiersim.policies.object.queues import leave, move, newest, oldest, queues
from tiersim.sim.object_loop import DELETE, GET


class TwoBits(Clock):
    most = 3


BY_HAND = {
    # Oldest first. 1 2 3. 1 is used: 2 3 1. 4 for 2: 3 1 4. 2 for 3: 1 4 2. 1 is used: 4 2 1. 3 for 4: 2 1 3.
    "lru": ([1, 2, 3, 1, 4, 2, 1, 3, 2], "...+..+.+"),
    # 1 2 3. The use of 1 changes nothing. 4 for 1: 2 3 4. 2 is used. 1 for 2: 3 4 1. 3 is used. 2 for 3: 4 1 2.
    "fifo": ([1, 2, 3, 1, 4, 2, 1, 3, 2], "...+.+.+."),
    # 1 2 3, and 1 is marked. 4: 1 is spared and goes behind 3, 2 leaves: 3 1 4. 3 is used and marked.
    # 2: 3 is spared: 1 4 3; 1 has no mark any more and leaves: 4 3 2. 3 is used, marked. 5 for 4: 3 2 5.
    "clock": ([1, 2, 3, 1, 4, 3, 2, 3, 5, 1], "...+.+.+.."),
    # 1 2 3, 1 visited. 4: the hand forgets the visit of 1 and evicts 2, where it stays: 1 | 3 4. 3 is visited.
    # 2: the hand forgets the visit of 3 and evicts 4, the youngest, so that it begins again at the oldest: | 1 3 2.
    # 1 is visited. 5: the hand forgets that and evicts 3: 1 | 2 5. 2 is visited. 3: 2 is spared, 5 leaves: | 1 2 3.
    # 1 and 2 are still there.
    "sieve": ([1, 2, 3, 1, 4, 3, 2, 1, 5, 2, 3, 1, 2], "...+.+.+.+.++"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    ids, expected = BY_HAND[name]
    for compiled in (False, True):
        assert "".join(".+"[hit] for hit in outcomes(name, 3, ids, compiled=compiled)) == expected


@pytest.mark.parametrize(
    ("oracle", "use"),
    [
        (Lru, "lru"),
        (Fifo, "fifo"),
        (Clock, "clock"),
        (TwoBits, {"use": "clock", "bits": 2}),
        (Sieve, "sieve"),
    ],
    ids=str,
)
@settings(deadline=None, max_examples=200)
@given(stream=streams())
def test_equals_its_definition(oracle: Any, use: Any, stream: tuple[int, list[int], list[int] | None]) -> None:
    equals_oracle(oracle, use, stream)


@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_deleted_comes_back_as_new(name: str) -> None:
    # 2 is deleted, and the hand of CLOCK and SIEVE may stand there
    ids, op = [1, 2, 3, 2, 4, 1, 3, 4, 2], [GET, GET, GET, DELETE, *[GET] * 5]
    assert outcomes(name, 3, ids, op=op) == [0, 0, 0, 2, 0, 1, 1, 1, 0]


@settings(deadline=None, max_examples=300)
@given(
    steps=st.lists(st.tuples(st.sampled_from("mmmlon"), st.integers(0, 7), st.integers(0, 1)), max_size=300),
)
def test_queues_are_lists(steps: list[tuple[str, int, int]]) -> None:
    """Every operation on two queues, against two lists; rings are small, so that they are swept often."""
    arrays = {name: array.tolist() for name, array in queues(2, 8, 8).items()}
    queue, ends, spot = arrays["queue"], arrays["ends"], arrays["spot"]
    lists: list[list[int]] = [[], []]
    for what, x, k in steps:
        if what == "m":
            for held in lists:
                if x in held:
                    held.remove(x)
            lists[k].append(x)
            move(queue, ends, spot, k, x)
        elif what == "l":
            for held in lists:
                if x in held:
                    held.remove(x)
            leave(spot, x)
        elif what == "o":
            assert oldest(queue, ends, spot, k) == (lists[k][0] if lists[k] else -1)
        else:
            assert newest(queue, ends, spot, k) == (lists[k][-1] if lists[k] else -1)
    for k in (0, 1):
        drained = []
        while (x := oldest(queue, ends, spot, k)) >= 0:
            drained.append(x)
            leave(spot, x)
        assert drained == lists[k]
    assert np.all(np.array(spot) == -1)
