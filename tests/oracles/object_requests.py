"""Requests for objects of every kind, and a plain account of what any cache may do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tiersim.sim.object_loop import DELETE, GET, HIT, MISS, OTHER, PIN, SET, UNPIN
from tiersim.sim.requests import Requests, requests_from

__all__ = ["allowed", "object_requests", "scans_and_favourites"]


@st.composite
def object_requests(
    draw: Any, *, sizes: bool = True, ops: bool = True, ttl: bool = True, whole: bool = False
) -> Requests:
    """Up to 200 requests for up to 20 objects, with any of the columns that are allowed; `whole`: with all or none.

    A loop is compiled for each set of columns, so that tests of compiled loops want few sets.
    """
    every = draw(st.booleans())

    def has() -> bool:
        return every if whole else bool(draw(st.booleans()))

    count = draw(st.integers(1, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = np.where(rng.random(count) < 0.6, rng.integers(0, 5, count), rng.integers(0, 20, count))
    columns: dict[str, Any] = {}
    if sizes and has():
        each = rng.integers(0, 9, 20)
        columns["size"] = each[ids]
        if draw(st.booleans()):  # objects that change their size
            columns["size"] = columns["size"] + (rng.random(count) < 0.1)
    if ops and has():
        columns["op"] = rng.choice([GET, GET, GET, SET, DELETE, PIN, UNPIN], count).astype(np.uint8)
    if ttl and has():
        columns["ttl"] = rng.choice([0, 5, 30], count)
    if has() or "ttl" in columns:
        columns["time"] = np.cumsum(rng.integers(0, 4, count))
    return requests_from(ids, **columns)


def scans_and_favourites(count: int, seed: int, objects: int = 400) -> np.ndarray:
    """Zipf-like favourites, loops and one-time scans in turn: a stream that tells policies apart."""
    rng = np.random.default_rng(seed)
    favourites = np.minimum(rng.zipf(1.2, count), objects)
    ids = favourites.copy()
    for begin in range(0, count, 500):
        part = slice(begin, begin + 120)
        length = len(ids[part])
        if begin // 500 % 2:
            ids[part] = objects + np.arange(length) % 60
        else:
            ids[part] = 10 * objects + begin + np.arange(length)
    return ids.astype(np.uint64)


def allowed(requests: Requests, outcomes: Sequence[int], capacity: int) -> str:
    """What is wrong with these outcomes for any policy at all, or nothing.

    A hit needs the object to have been asked for before, not deleted since, and not expired; an object that is pinned
    stays; what does not fit never hits.
    """
    last: dict[int, int] = {}  # object -> when it expires, 0 never; absent when it cannot be there
    sizes: dict[int, int] = {}
    pinned: set[int] = set()
    for at, outcome in enumerate(outcomes):
        x = int(requests.ids[at])
        op = GET if requests.op is None else int(requests.op[at])
        size = 1 if requests.size is None else int(requests.size[at])
        time = at if requests.time is None else int(requests.time[at])
        ttl = 0 if requests.ttl is None else int(requests.ttl[at])
        if op >= DELETE:
            if outcome != OTHER:
                return f"request {at} is no demand"
            if op == DELETE:
                last.pop(x, None)
                pinned.discard(x)
            elif op == UNPIN:
                pinned.discard(x)
            elif x in last:
                pinned.add(x)  # if it is there, which only the next request shows
            continue
        stale = x in last and last[x] != 0 and last[x] < time
        if outcome == HIT and (x not in last or stale):
            return f"request {at} hits what cannot be there"
        if outcome == HIT and size > capacity and sizes.get(x, 0) > capacity:
            return f"request {at} hits what does not fit"
        if outcome == MISS or op == SET:
            last[x] = time + ttl if ttl > 0 else 0
            sizes[x] = size
    return ""
