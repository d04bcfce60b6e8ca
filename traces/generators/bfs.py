"""Breadth-first search."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Graph, Ints, Made, Memory, Program, Vertices, load, row, store


@register("bfs", family="generator")
class Bfs(Graph):
    """Breadth-first search from one random source after the other, top down, with a queue.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), parent (4), queue
    (4). Before each search every parent is stored once.
    """

    properties = (4,)

    def program(self) -> Program:
        """The search before its first reference."""
        offsets, neighbours = self.rows
        parent, queue = np.zeros(len(offsets) - 1, np.int32), np.zeros(len(offsets) - 1, np.int32)
        arrays, given = (offsets, neighbours, parent, queue), [self.sources()]
        unit, layout = 4 * self.widest + 8, self.layout(2)
        return Program(search, *arrays, given=given, cursor=(0, 0, 0, 0), unit=unit, records=layout)


@compiled
def search(
    offsets: Ints,
    neighbours: Vertices,
    parent: Vertices,
    queue: Vertices,
    sources: Ints,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Breadth-first search, top down, from one source after the other."""
    offset_at, neighbour_at, parent_at, queue_at = memory
    phase, i, tail, turn = cursor
    k = 0
    while k < most:
        if phase == 0:
            parent[i] = -1
            k = store(made, k, parent_at, i)
            i += 1
            if i == len(parent):
                source = sources[turn % len(sources)]
                turn += 1
                parent[source] = source
                k = store(made, k, parent_at, source)
                queue[0] = source
                k = store(made, k, queue_at, 0)
                phase, i, tail = 1, 0, 1
        elif i == tail:
            phase, i = 0, 0
        else:
            u = queue[i]
            k = load(made, k, queue_at, i)
            k = row(made, k, offset_at, u)
            i += 1
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = load(made, k, neighbour_at, e)
                k = load(made, k, parent_at, v)
                if parent[v] < 0:
                    parent[v] = u
                    k = store(made, k, parent_at, v)
                    queue[tail] = v
                    k = store(made, k, queue_at, tail)
                    tail += 1
    cursor[0], cursor[1], cursor[2], cursor[3] = phase, i, tail, turn
    return k
