"""Admission by size, by hand and against libCacheSim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_requests import scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import Requests, requests_from


def outcomes(capacity: int, requests: Requests, compiled: bool = False, **more: Any) -> list[int]:
    held: list[Any] = []
    gate, lru = build("admission", {"use": "size-threshold", **more}), build("object-replacement", "lru")
    replay_objects(lru, capacity, requests, admission=gate, outcomes=held, compiled=compiled)
    made: list[int] = np.concatenate(held).tolist()
    return made


def test_by_hand() -> None:
    # 1 is as large as allowed and enters, 2 is larger by one and never does
    requests = requests_from([1, 2, 1, 2], size=[10, 11, 10, 11])
    assert outcomes(1000, requests, largest="10B") == [0, 0, 1, 0]
    assert outcomes(1000, requests) == [0, 0, 1, 0]  # a hundredth of the capacity
    assert outcomes(1000, requests, share="2%") == [0, 0, 1, 1]
    # a small cache lets something in
    assert outcomes(20, requests_from([1, 1, 2, 2], size=[1, 1, 2, 2])) == [0, 1, 0, 0]


def test_equals_libcachesim() -> None:
    peer = pytest.importorskip("libcachesim")
    ids = scans_and_favourites(5000, 1)
    sizes = np.random.default_rng(2).integers(1, 100, int(ids.max()) + 1)[ids]
    theirs = hits("LRU", ids, 2000, sizes, admissioner=peer.SizeAdmissioner(51))
    assert outcomes(2000, requests_from(ids, size=sizes), compiled=True, largest="50B") == theirs
