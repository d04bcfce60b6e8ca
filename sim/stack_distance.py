"""LRU caches of all sizes in one pass: how far down the stack each request finds its object.

The stack distance of a request is the number of different objects asked for since the last request for the same one,
itself included (Mattson et al., 1970): an LRU cache hits exactly when its capacity is not less. Each object has a mark
at the time of its last request; the distance is the number of marks from there on. Marks are bits, their counts by
word a Fenwick tree (Bennett and Kruskal, 1975) that fits in a processor's cache, and times are made compact when they
run out. With sizes the marks weigh as many bytes as the object has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim.sim.kernels import compiled
from tiersim.sim.object_loop import SET
from tiersim.sim.requests import Requests

__all__ = ["COLD", "Curve", "has_distances", "lru_curve"]

CHUNK = 1 << 20
COLD = 0  # the distance of an object that was never asked for before


class Curve:
    """Requests and bytes that miss at each capacity, before any correction for sampling."""

    def __init__(self, capacities: NDArray[np.int64]) -> None:
        self.capacities = capacities
        self.requests = 0
        self.bytes = 0
        self.misses = np.zeros(len(capacities), np.int64)
        self.byte_misses = np.zeros(len(capacities), np.int64)


def has_distances(requests: Requests) -> bool:
    """Whether nothing but requests moves the stack: no times to live, no deletions, no pins, no sets of new sizes."""
    if requests.ttl is not None:
        return False
    return requests.op is None or (requests.size is None and int(requests.op[:].max()) <= SET)


def lru_curve(requests: Requests, capacities: NDArray[np.int64], warm_up: int = 0, progress: Any = None) -> Curve:
    """Misses of LRU caches of these capacities, exact, in one pass over the requests.

    Capacities are in objects where the requests have no sizes, in bytes where they do; then they are exact from the
    largest object on, as long as no object changes its size. The first `warm_up` requests are not counted. Raises
    ValueError when requests have no stack distance (`has_distances`).
    """
    if not has_distances(requests):
        raise ValueError("these requests have no stack distances")
    order = np.argsort(capacities, kind="stable")
    sorted_ = np.ascontiguousarray(capacities[order], np.int64)
    curve = Curve(capacities)
    # the bin of a request is the first capacity that would have hit; the last bin is a miss at all of them
    counts = np.zeros(len(sorted_) + 1, np.int64)
    weights = np.zeros(len(sorted_) + 1, np.int64)
    stack = _Weighted(requests.objects) if requests.size is not None else _Counted(requests.objects)
    for begin in range(0, len(requests), CHUNK):
        end = min(begin + CHUNK, len(requests))
        ids = requests.ids[begin:end]
        size = None if requests.size is None else requests.size[begin:end]
        distance = stack.distances(ids, size)
        start = min(max(warm_up - begin, 0), end - begin)
        distance = distance[start:]
        place = np.searchsorted(sorted_, distance)
        place[distance == COLD] = len(sorted_)
        counts += np.bincount(place, minlength=len(counts))
        if size is not None:
            np.add.at(weights, place, size[start:])
        if progress:
            progress(end - begin)
    asked, bytes_ = int(counts.sum()), int(weights.sum())
    misses = np.empty_like(curve.misses)
    misses[order] = asked - np.cumsum(counts)[:-1]
    curve.requests, curve.misses = asked, misses
    if requests.size is None:
        curve.bytes, curve.byte_misses = asked, misses
    else:
        curve.bytes = bytes_
        curve.byte_misses[order] = bytes_ - np.cumsum(weights)[:-1]
    return curve


class _Counted:
    """Distances in objects."""

    def __init__(self, objects: int) -> None:
        words = 1 << max(6, (objects // 16).bit_length())  # times for four requests an object, or more
        self.bits = np.zeros(words, np.uint64)
        self.tree = np.zeros(words + 1, np.int64)
        self.owner = np.zeros(64 * words, np.int32)
        self.last = np.full(objects, -1, np.int64)
        self.state = np.zeros(2, np.int64)  # the time, and how many marks there are

    def distances(self, ids: NDArray[np.int32], size: NDArray[np.int64] | None) -> NDArray[np.int64]:
        out = np.empty(len(ids), np.int64)
        _count_distances(ids, self.bits, self.tree, self.owner, self.last, self.state, out)
        return out


class _Weighted:
    """Distances in bytes."""

    def __init__(self, objects: int) -> None:
        times = 1 << max(10, (4 * objects).bit_length())
        self.weight = np.zeros(times, np.int64)
        self.tree = np.zeros(times + 1, np.int64)
        self.owner = np.zeros(times, np.int32)
        self.last = np.full(objects, -1, np.int64)
        self.state = np.zeros(2, np.int64)

    def distances(self, ids: NDArray[np.int32], size: NDArray[np.int64] | None) -> NDArray[np.int64]:
        assert size is not None
        out = np.empty(len(ids), np.int64)
        _weigh_distances(ids, size, self.weight, self.tree, self.owner, self.last, self.state, out)
        return out


@compiled
def _popcount(x: np.uint64) -> int:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    # signed, as all that it is added to: numba makes a float of signed and unsigned
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))  # type: ignore[return-value]


@compiled
def _count_distances(
    ids: NDArray[np.int32],
    bits: NDArray[np.uint64],
    tree: NDArray[np.int64],
    owner: NDArray[np.int32],
    last: NDArray[np.int64],
    state: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    words = len(bits)
    now, marks = state[0], state[1]
    for i in range(len(ids)):
        x = ids[i]
        if now == 64 * words:  # out of times: the marks move to the front, in order
            now = 0
            for word in range(words):
                held = bits[word]
                bits[word] = np.uint64(0)
                while held != np.uint64(0):
                    low = held & (~held + np.uint64(1))
                    at = 64 * word + _popcount(low - np.uint64(1))
                    held ^= low
                    y = owner[at]
                    owner[now] = y
                    last[y] = now
                    now += 1
            for at in range(now):
                bits[at >> 6] |= np.uint64(1) << np.uint64(at & 63)
            for node in range(1, words + 1):
                tree[node] = 0
            for node in range(1, words + 1):
                tree[node] += _popcount(bits[node - 1])
                up = node + (node & -node)
                if up <= words:
                    tree[up] += tree[node]
        before = last[x]
        if before < 0:
            out[i] = 0
            marks += 1
        else:
            word = before >> 6
            bit = np.uint64(1) << np.uint64(before & 63)
            older = _popcount(bits[word] & (bit - np.uint64(1)))
            node = word
            while node > 0:
                older += tree[node]
                node &= node - 1
            out[i] = marks - older
            bits[word] ^= bit
            node = word + 1
            while node <= words:
                tree[node] -= 1
                node += node & -node
        word = now >> 6
        bits[word] |= np.uint64(1) << np.uint64(now & 63)
        node = word + 1
        while node <= words:
            tree[node] += 1
            node += node & -node
        owner[now] = x
        last[x] = now
        now += 1
    state[0] = now
    state[1] = marks


@compiled
def _weigh_distances(
    ids: NDArray[np.int32],
    size: NDArray[np.int64],
    weight: NDArray[np.int64],
    tree: NDArray[np.int64],
    owner: NDArray[np.int32],
    last: NDArray[np.int64],
    state: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    times = len(weight)
    now, total = state[0], state[1]
    for i in range(len(ids)):
        x = ids[i]
        if now == times:
            now = 0
            for at in range(times):
                y = owner[at]
                if last[y] == at:
                    held = weight[at]
                    owner[now] = y
                    weight[now] = held
                    last[y] = now
                    now += 1
            for at in range(now, times):
                weight[at] = 0
            for node in range(1, times + 1):
                tree[node] = 0
            for node in range(1, times + 1):
                tree[node] += weight[node - 1]
                up = node + (node & -node)
                if up <= times:
                    tree[up] += tree[node]
        before = last[x]
        if before < 0:
            out[i] = 0
        else:
            older = 0
            node = before
            while node > 0:
                older += tree[node]
                node &= node - 1
            out[i] = max(total - older, 1)  # an object of no bytes that was asked for last is no stranger
            gone = weight[before]
            total -= gone
            weight[before] = 0
            node = before + 1
            while node <= times:
                tree[node] -= gone
                node += node & -node
        weight[now] = size[i]
        total += size[i]
        node = now + 1
        while node <= times:
            tree[node] += size[i]
            node += node & -node
        owner[now] = x
        last[x] = now
        now += 1
    state[0] = now
    state[1] = total
