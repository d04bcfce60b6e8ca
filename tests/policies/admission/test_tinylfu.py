"""TinyLFU admission in front of LRU: by hand and against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_policies.sketch import Sketch
from tests.oracles.object_requests import object_requests
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, **more: Any) -> list[int]:
    held: list[Any] = []
    gate = build("admission", {"use": "tinylfu", **more})
    lru = build("object-replacement", "lru")
    replay_objects(lru, capacity, requests, admission=gate, outcomes=held, compiled=compiled)
    made: list[int] = np.concatenate(held).tolist()
    return made


@pytest.mark.parametrize("doorkeeper", [False, True])
def test_by_hand(doorkeeper: bool) -> None:
    ids = [1, 2, 1, 3, 3, 3, 2, 2, 2, 1]
    hits = [
        0,  # 1 enters
        0,  # 2 enters: full
        1,  # 1 has two uses
        0,  # 3 has one use, as has 2, the oldest: at a tie it stays out
        0,  # 3 has two and takes the place of 2
        1,  # 3 has three
        0,  # 2 has two, and 1, now the oldest, two: it stays out
        0,  # 2 has three and takes the place of 1
        1,  # 2
        0,  # 1 has left
    ]
    assert outcomes(2, requests_from(ids), doorkeeper=doorkeeper) == hits
    assert outcomes(2, requests_from(ids), doorkeeper=doorkeeper, compiled=True) == hits


class LruBehindTinyLfu:
    def __init__(self, capacity: int, most: int, doorkeeper: bool) -> None:
        self.capacity, self.sketch = capacity, Sketch(capacity, most, doorkeeper)
        self.held: dict[int, int] = {}

    def on_access(self, x: int, size: int) -> bool:
        self.sketch.count(x, size)
        if x in self.held:
            self.held[x] = self.held.pop(x)
            return True
        if size <= self.capacity:
            while sum(self.held.values()) + size > self.capacity:
                oldest = next(iter(self.held))
                if self.sketch.counted(x) <= self.sketch.counted(oldest):
                    return False
                del self.held[oldest]
            self.held[x] = size
        return False


@pytest.mark.parametrize("doorkeeper", [False, True])
@settings(deadline=None, max_examples=150)
@given(requests=object_requests(ops=False, ttl=False), capacity=st.integers(1, 30))
def test_equals_its_definition(doorkeeper: bool, requests: Requests, capacity: int) -> None:
    ids = requests.ids[:].tolist()
    sizes = [1] * len(ids) if requests.size is None else requests.size[:].tolist()
    most = min(capacity, requests.objects) if requests.size is None else requests.objects
    oracle = LruBehindTinyLfu(capacity, most, doorkeeper)
    expected = [int(oracle.on_access(x, size)) for x, size in zip(ids, sizes, strict=True)]
    assert outcomes(capacity, requests, doorkeeper=doorkeeper) == expected
