"""How an object policy is held against another version of itself, request by request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_requests import scans_and_favourites
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import requests_from

__all__ = ["SHARES", "equals_oracle", "equals_peer", "outcomes", "streams"]

SHARES = (0.001, 0.01, 0.1, 0.5)


def outcomes(
    use: Any, capacity: int, ids: Iterable[int], *, compiled: bool = False, seed: int = 0, **columns: Any
) -> list[int]:
    """1 for a hit, 0 for a miss, 2 for what is no demand, of each request."""
    held: list[Any] = []
    policy = build("object-replacement", use)
    replay_objects(policy, capacity, requests_from(ids, **columns), outcomes=held, compiled=compiled, seed=seed)
    made: list[int] = np.concatenate(held).tolist()
    return made


@st.composite
def streams(draw: Any) -> tuple[int, list[int], list[int] | None]:
    """A capacity, requests for a few more objects than fit, with loops among them, and sizes or none."""
    capacity = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    many = capacity + int(rng.integers(1, 2 * capacity + 3))
    count = draw(st.integers(1, 200))
    ids = np.where(rng.random(count) < rng.random(), np.arange(count) % many, rng.integers(0, many, count))
    ids = np.where(rng.random(count) < 0.2, rng.integers(0, 3, count), ids)
    if draw(st.booleans()):
        return capacity, ids.tolist(), None
    each = rng.integers(1, 6, many + 3)
    return capacity * 3, ids.tolist(), each[ids].tolist()


def equals_oracle(make: Callable[[int], Any], use: Any, stream: tuple[int, list[int], list[int] | None]) -> None:
    """The outcomes are those of a plain class with ``on_access(x, size)``, in a cache of the same capacity."""
    capacity, ids, sizes = stream
    oracle = make(capacity)
    expected = [int(oracle.on_access(x, size)) for x, size in zip(ids, sizes or [1] * len(ids), strict=True)]
    columns = {} if sizes is None else {"size": sizes}
    assert outcomes(use, capacity, ids, **columns) == expected


def equals_peer(use: Any, peer: str, share: float, *, sized: bool = False, multiple: int = 1, **params: Any) -> None:
    """The outcomes are those of libCacheSim, in a cache with this share of all objects, or of their bytes."""
    ids = scans_and_favourites(12_000, 3)
    sizes = np.random.default_rng(4).integers(1, 100, int(ids.max()) + 1)[ids] if sized else None
    columns = {"size": sizes} if sized else {}
    capacity = max(100, int(requests_from(ids, **columns).footprint * share)) if sized else 0
    capacity = capacity or max(1, int(len(np.unique(ids)) * share))
    capacity = -(-capacity // multiple) * multiple
    expected = list(map(int, hits(peer, ids, capacity, sizes, **params)))
    assert outcomes(use, capacity, ids, compiled=True, **columns) == expected
