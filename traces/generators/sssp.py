"""Shortest paths from one vertex."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import (
    Bytes,
    Graph,
    Ints,
    Made,
    Memory,
    Program,
    Room,
    Vertices,
    load,
    row,
    store,
    weights,
)


@register("sssp", family="generator")
class Sssp(Graph):
    """Shortest paths from one random source after the other, by Bellman and Ford with a queue; weights are 1 to 255.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), weights (4),
    distance (4), whether a vertex waits (1), queue (4). Before each search every distance is stored once.
    """

    properties = (4, 1)
    weighted = True

    def program(self) -> Program:
        """The search before its first reference."""
        offsets, neighbours = self.rows
        count, edges = len(offsets) - 1, len(neighbours)
        distance, waiting, queue = np.zeros(count, np.int32), np.zeros(count, np.uint8), np.zeros(count, np.int32)
        arrays = offsets, neighbours, Room(4, edges), distance, waiting, queue
        given, unit, layout = (weights(self.seed, edges), self.sources()), 7 * self.widest + 8, self.layout(3, 4)
        return Program(relax, *arrays, given=given, cursor=(0, 0, 0, 0, 0), unit=unit, records=layout)


@compiled
def relax(
    offsets: Ints,
    neighbours: Vertices,
    distance: Vertices,
    waiting: Bytes,
    queue: Vertices,
    weight: Bytes,
    sources: Ints,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Shortest paths by Bellman and Ford with a queue, a ring, of the vertices whose distance fell."""
    offset_at, neighbour_at, weight_at, distance_at, waiting_at, queue_at = memory
    phase, i, head, held, turn = cursor
    n = len(distance)
    k = 0
    while k < most:
        if phase == 0:
            distance[i] = 2**31 - 1
            k = store(made, k, distance_at, i)
            i += 1
            if i == n:
                source = sources[turn % len(sources)]
                turn += 1
                distance[source] = 0
                k = store(made, k, distance_at, source)
                waiting[source] = 1
                k = store(made, k, waiting_at, source)
                queue[0] = source
                k = store(made, k, queue_at, 0)
                phase, head, held = 1, 0, 1
        elif held == 0:
            phase, i = 0, 0
        else:
            u = queue[head]
            k = load(made, k, queue_at, head)
            waiting[u] = 0
            k = store(made, k, waiting_at, u)
            far = distance[u]
            k = load(made, k, distance_at, u)
            k = row(made, k, offset_at, u)
            head = (head + 1) % n
            held -= 1
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = load(made, k, neighbour_at, e)
                k = load(made, k, weight_at, e)
                k = load(made, k, distance_at, v)
                if far + weight[e] < distance[v]:
                    distance[v] = far + weight[e]
                    k = store(made, k, distance_at, v)
                    k = load(made, k, waiting_at, v)
                    if waiting[v] == 0:
                        waiting[v] = 1
                        k = store(made, k, waiting_at, v)
                        place = (head + held) % n
                        queue[place] = v
                        k = store(made, k, queue_at, place)
                        held += 1
    cursor[0], cursor[1], cursor[2], cursor[3], cursor[4] = phase, i, head, held, turn
    return k
