"""Betweenness of the vertices of a graph."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import (
    Graph,
    Ints,
    Made,
    Memory,
    Program,
    Reals,
    Vertices,
    load,
    row,
    store,
)


@register("betweenness", family="generator", paper="Brandes, 2001, doi:10.1080/0022250X.2001.9990249")
class Betweenness(Graph):
    """Betweenness centrality by Brandes: a search from one random source after the other, and back along its paths.

    Neighbours that come before on a shortest path are told by their depth, not kept in lists. In memory, in this order,
    each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), depth (4), number of shortest paths (8),
    dependency (8), centrality (8), queue (4). Before each search depth, paths and dependency of every vertex are
    stored once; the centrality goes on adding up.
    """

    properties = (4, 8, 8, 8)

    def program(self) -> Program:
        """The searches before their first reference."""
        count = len(self.rows[0]) - 1
        depth, queue = np.zeros(count, np.int32), np.zeros(count, np.int32)
        paths, dependency, centrality = np.zeros(count), np.zeros(count), np.zeros(count)
        arrays = *self.rows, depth, paths, dependency, centrality, queue
        given, unit, layout = [self.sources()], 6 * self.widest + 16, self.layout(2, 3, 4, 5)
        return Program(add_up, *arrays, given=given, cursor=(0, 0, 0, 0), unit=unit, records=layout)


@compiled
def add_up(
    offsets: Ints,
    neighbours: Vertices,
    depth: Vertices,
    paths: Reals,
    dependency: Reals,
    centrality: Reals,
    queue: Vertices,
    sources: Ints,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Phase 0 clears, 1 searches and counts paths, 2 goes back and adds up dependencies."""
    offset_at, neighbour_at, depth_at, path_at, dependency_at, centrality_at, queue_at = memory
    phase, i, tail, turn = cursor
    k = 0
    while k < most:
        if phase == 0:
            depth[i] = -1
            paths[i] = 0.0
            dependency[i] = 0.0
            k = store(made, k, depth_at, i)
            k = store(made, k, path_at, i)
            k = store(made, k, dependency_at, i)
            i += 1
            if i == len(depth):
                source = sources[turn % len(sources)]
                turn += 1
                depth[source] = 0
                k = store(made, k, depth_at, source)
                paths[source] = 1.0
                k = store(made, k, path_at, source)
                queue[0] = source
                k = store(made, k, queue_at, 0)
                phase, i, tail = 1, 0, 1
        elif phase == 1:
            u = queue[i]
            k = load(made, k, queue_at, i)
            k = load(made, k, depth_at, u)
            k = load(made, k, path_at, u)
            k = row(made, k, offset_at, u)
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = load(made, k, neighbour_at, e)
                k = load(made, k, depth_at, v)
                if depth[v] < 0:
                    depth[v] = depth[u] + 1
                    k = store(made, k, depth_at, v)
                    queue[tail] = v
                    k = store(made, k, queue_at, tail)
                    tail += 1
                if depth[v] == depth[u] + 1:
                    paths[v] += paths[u]
                    k = load(made, k, path_at, v)
                    k = store(made, k, path_at, v)
            i += 1
            if i == tail:
                phase, i = 2, tail - 1
        else:
            u = queue[i]
            k = load(made, k, queue_at, i)
            k = load(made, k, depth_at, u)
            k = load(made, k, path_at, u)
            k = load(made, k, dependency_at, u)
            share = (1.0 + dependency[u]) / paths[u]
            k = row(made, k, offset_at, u)
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = load(made, k, neighbour_at, e)
                k = load(made, k, depth_at, v)
                if depth[v] == depth[u] - 1:
                    dependency[v] += paths[v] * share
                    k = load(made, k, path_at, v)
                    k = load(made, k, dependency_at, v)
                    k = store(made, k, dependency_at, v)
            if i > 0:  # the source is between nothing
                centrality[u] += dependency[u]
                k = load(made, k, centrality_at, u)
                k = store(made, k, centrality_at, u)
                i -= 1
            else:
                phase = 0
    cursor[0], cursor[1], cursor[2], cursor[3] = phase, i, tail, turn
    return k
