"""Admission at the second miss: by hand, without false positives, and against libCacheSim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_requests import scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, **more: Any) -> list[int]:
    held: list[Any] = []
    gate, lru = build("admission", {"use": "bloom-filter", **more}), build("object-replacement", "lru")
    replay_objects(lru, capacity, requests, admission=gate, outcomes=held, compiled=compiled)
    made: list[int] = np.concatenate(held).tolist()
    return made


@pytest.mark.parametrize("bits", [0, 10])
def test_by_hand(bits: int) -> None:
    ids = [1, 1, 1, 2, 3, 2, 1, 2, 3, 3]
    found = [
        0,  # 1 is noted
        0,  # 1 was missed before and enters
        1,  # 1
        0,  # 2 is noted
        0,  # 3 is noted
        0,  # 2 enters, 1 goes
        0,  # 1 was missed before, long ago, and takes the place of 2
        0,  # 2 takes it back
        0,  # 3 takes it
        1,  # 3
    ]
    assert outcomes(1, requests_from(ids), bits=bits) == found


class SecondMiss:
    """LRU behind two sets of names, the older of which is forgotten when the newer one is full."""

    def __init__(self, capacity: int, remember: int) -> None:
        self.capacity, self.remember = capacity, remember
        self.newer: set[int] = set()
        self.older: set[int] = set()
        self.held: list[int] = []

    def on_access(self, x: int) -> bool:
        if x in self.held:
            self.held.remove(x)
            self.held.append(x)
            return True
        known = x in self.newer or x in self.older
        self.newer.add(x)
        if len(self.newer) == self.remember:
            self.newer, self.older = set(), self.newer
        if known:
            self.held = [*self.held, x][-self.capacity :]
        return False


@settings(deadline=None, max_examples=150)
@given(
    ids=st.lists(st.integers(0, 15), min_size=1, max_size=150),
    capacity=st.integers(1, 8),
    remember=st.integers(0, 12),
)
def test_equals_its_definition(ids: list[int], capacity: int, remember: int) -> None:
    oracle = SecondMiss(capacity, remember)
    expected = [int(oracle.on_access(x)) for x in ids]
    assert outcomes(capacity, requests_from(ids), bits=0, remember=remember) == expected


def test_few_false_positives() -> None:
    # each object is asked for twice in turn: with room for all, what hits at the second request was let in at the first
    ids = np.repeat(np.arange(20_000), 2)
    assert sum(outcomes(20_000, requests_from(ids), compiled=True)[1::2]) < 0.01 * 20_000
    assert sum(outcomes(20_000, requests_from(ids), compiled=True, bits=3)[1::2]) > 0.01 * 20_000


def test_equals_libcachesim() -> None:
    peer = pytest.importorskip("libcachesim")
    ids = scans_and_favourites(5000, 1)
    theirs = hits("LRU", ids, 100, admissioner=peer.BloomFilterAdmissioner())
    assert outcomes(100, requests_from(ids), bits=0) == theirs
