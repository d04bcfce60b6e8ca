"""S3-FIFO: by hand and against its paper, with and without the choices of its authors' library."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.against import equals_oracle, outcomes
from tests.oracles.object_policies.s3_fifo import S3Fifo
from tests.oracles.object_requests import scans_and_favourites

# capacity 10: the small queue's share is 1, the ghost remembers 9
IDS = [*range(1, 11), 1, 1, 11, 12, 1, 11, 13]


def test_by_hand() -> None:
    assert outcomes({"use": "s3-fifo", "fill": False}, 10, IDS) == [
        *[0] * 10,  # 1 to 10 into the small queue, which nothing keeps from growing yet
        *[1, 1],  # two uses of 1
        0,  # 11: 1 was used twice and goes to the main queue, 2 leaves into the ghost
        0,  # 12: 3 leaves into the ghost
        1,  # 1 is in the main queue
        1,  # 11 is in the small queue
        0,  # 13: 4 leaves
    ]


def test_what_comes_back_soon_enters_the_main_queue() -> None:
    ids = [*range(1, 12), 1, *range(20, 29), 1]
    # 11 drives 1 out into the ghost; it comes back into the main queue, and nine newcomers pass through the small one
    assert outcomes({"use": "s3-fifo", "fill": False}, 10, ids)[-1] == 1
    assert outcomes("fifo", 10, ids)[-1] == 1
    assert outcomes({"use": "s3-fifo", "fill": False}, 10, [*ids[:-1], *range(30, 60), 1])[-1] == 1
    assert outcomes("lru", 10, [*ids[:-1], *range(30, 60), 1])[-1] == 0


def test_the_first_objects_fill_the_main_queue_too() -> None:
    # 1 into the small queue, 2 to 10 into the main one; newcomers push each other out of the small one
    ids = [*range(1, 11), *range(20, 40), *range(2, 11)]
    assert sum(outcomes("s3-fifo", 10, ids)) == 9
    assert sum(outcomes({"use": "s3-fifo", "fill": False}, 10, ids)) == 0


@pytest.mark.parametrize("fill", [True, False])
@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 10**6), capacity=st.integers(1, 40), sized=st.booleans())
def test_equals_its_paper(fill: bool, seed: int, capacity: int, sized: bool) -> None:
    ids = [int(x) % 90 for x in scans_and_favourites(400, seed, objects=30)]
    sizes = [x % 5 + 1 for x in ids] if sized else None
    equals_oracle(partial(S3Fifo, fill=fill), {"use": "s3-fifo", "fill": fill}, (capacity, ids, sizes))
