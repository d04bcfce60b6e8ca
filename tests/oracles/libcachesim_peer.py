"""The same requests through libCacheSim, another simulator, where its Python wheel is installed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["hits"]


def hits(
    policy: str, ids: Iterable[int], capacity: int, sizes: Iterable[int] | None = None, **params: Any
) -> list[bool]:
    """Whether each request hits in a cache of the class `policy` of libCacheSim; without sizes every object is of one.

    Skips the test that asks where the wheel is not installed.
    """
    peer = pytest.importorskip("libcachesim")
    cache = getattr(peer, policy)(cache_size=capacity, hashpower=16, **params)
    request = peer.Request()
    request.obj_size = 1
    out = []
    if sizes is None:
        for x in ids:
            request.obj_id = int(x)
            out.append(bool(cache.get(request)))
    else:
        for x, size in zip(ids, sizes, strict=True):
            request.obj_id, request.obj_size = int(x), int(size)
            out.append(bool(cache.get(request)))
    return out
