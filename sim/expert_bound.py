"""The least that any system must load: Belady's rule for the sets of experts that rows need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiersim.sim.expert_rows import Rows
from tiersim.sim.kernels import compiled

__all__ = ["bound_times", "least_loads", "numbers_of"]

Numbers = NDArray[np.int64]


def least_loads(rows: Rows, next_use: Numbers, slots: int, gpus: int, by_layer: bool, placed: Numbers) -> Numbers:
    """How many loads each row needs on each GPU [row, GPU].

    ``next_use`` has for each place of ``rows.expert`` the place at which the expert is needed next, or a number beyond
    all. Those that are ``placed`` are here at first. There are ``slots`` for each layer on a GPU, or for a GPU.
    """
    scopes = gpus * (rows.layers if by_layer else 1)
    room = 2 * (slots + rows.experts)
    loads = np.zeros((rows.steps * rows.layers, gpus), np.int64)
    nearest = np.full(rows.layers * rows.experts, -1, np.int64)
    seen = first_uses(rows)
    here = [x for x in placed.tolist() if seen[x] < len(rows.expert)]
    nearest[here] = seen[here]
    heap, sizes, held = np.zeros(scopes * room, np.int64), np.zeros(scopes, np.int64), np.zeros(scopes, np.int64)
    for x in here:
        layer, e = divmod(x, rows.experts)
        scope = e * gpus // rows.experts * (scopes // gpus) + (layer if by_layer else 0)
        held[scope] += 1
        sizes[scope] = _push(heap, scope * room, sizes[scope], seen[x])
    xs = numbers_of(rows)
    _replay(
        rows.layers, rows.experts, gpus, slots, by_layer, rows.start, xs, next_use, nearest, heap, sizes, held, loads
    )
    return loads


def numbers_of(rows: Rows) -> Numbers:
    """The number x of each needed expert."""
    layer = np.arange(rows.steps * rows.layers) % rows.layers
    return np.repeat(layer * rows.experts, np.diff(rows.start)) + rows.expert


def first_uses(rows: Rows) -> Numbers:
    """The place at which each expert is needed first, or one beyond all."""
    seen = np.full(rows.layers * rows.experts, len(rows.expert), np.int64)
    xs = numbers_of(rows)
    seen[xs[::-1]] = np.arange(len(xs))[::-1]
    return seen


@compiled
def _replay(
    layers: int,
    experts: int,
    gpus: int,
    slots: int,
    by_layer: bool,
    start: Numbers,
    xs: Numbers,
    next_use: Numbers,
    nearest: Numbers,
    heap: Numbers,
    sizes: Numbers,
    held: Numbers,
    loads: NDArray[np.int64],
) -> None:
    """Goes through the rows; each scope has a heap of next uses, the furthest first, among them such as have passed."""
    scopes = layers if by_layer else 1
    room = 2 * (slots + experts)
    for row in range(len(start) - 1):
        for i in range(start[row], start[row + 1]):
            x = xs[i]
            gpu = x % experts * gpus // experts
            scope = gpu * scopes + (row % layers if by_layer else 0)
            if nearest[x] < 0:
                loads[row, gpu] += 1
                held[scope] += 1
            nearest[x] = next_use[i]
            if next_use[i] >= len(xs):
                nearest[x] = -1
                held[scope] -= 1
                continue
            base = scope * room
            if sizes[scope] == room:
                kept = 0
                for k in range(base, base + room):
                    if nearest[xs[heap[k]]] == heap[k]:
                        kept = _push(heap, base, kept, heap[k])
                sizes[scope] = kept
            sizes[scope] = _push(heap, base, sizes[scope], next_use[i])
        for gpu in range(gpus):
            scope = gpu * scopes + (row % layers if by_layer else 0)
            base = scope * room
            while held[scope] > slots:
                furthest = heap[base]
                sizes[scope] = _pop(heap, base, sizes[scope])
                if nearest[xs[furthest]] == furthest:
                    nearest[xs[furthest]] = -1
                    held[scope] -= 1


@compiled
def _push(heap: Numbers, base: int, size: int, key: int) -> int:
    at = size
    while at > 0 and heap[base + (at - 1) // 2] < key:
        heap[base + at] = heap[base + (at - 1) // 2]
        at = (at - 1) // 2
    heap[base + at] = key
    return size + 1


@compiled
def _pop(heap: Numbers, base: int, size: int) -> int:
    size -= 1
    key = heap[base + size]
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[base + child + 1] > heap[base + child]:
            child += 1
        if heap[base + child] <= key:
            break
        heap[base + at] = heap[base + child]
        at = child
    heap[base + at] = key
    return size


@compiled
def bound_times(
    layers: int,
    experts: int,
    gpus: int,
    start: Numbers,
    expert: Numbers,
    tokens: Numbers,
    before: Numbers,
    dense: Numbers,
    after: Numbers,
    exchange: Numbers,
    run: Numbers,
    load: int,
    latency: int,
    loads: Numbers,
    sums: Numbers,
    step_end: Numbers,
    planned: Numbers,
    row_end: Numbers,
    stall: Numbers,
) -> int:
    """Fills the times of steps and rows, and the stalls of rows, and returns the time of runs; ``sums`` is [2, GPU]."""
    end = worked = 0
    for row in range(len(row_end)):
        step, layer = row // layers, row % layers
        if layer == 0:
            end += before[step]
        shared = exchange[step] if gpus > 1 else 0
        planned[row] = end + dense[step]
        begin = planned[row] + shared
        sums[1, :] = 0
        for i in range(start[row], start[row + 1]):
            sums[1, expert[i] * gpus // experts] += run[tokens[i]]
        done = begin
        ran = 0
        for gpu in range(gpus):
            worked += sums[1, gpu]
            sums[0, gpu] += loads[row, gpu]
            own = begin + sums[1, gpu]
            if loads[row, gpu]:
                own = max(own, sums[0, gpu] * load + latency)
            if own > done:
                done, ran = own, sums[1, gpu]
        stall[row] = done - begin - ran
        end = done + shared
        row_end[row] = end
        if layer == layers - 1:
            end += after[step]
            step_end[step] = end
    return worked
