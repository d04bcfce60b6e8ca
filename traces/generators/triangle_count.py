"""Counting triangles."""

from __future__ import annotations

from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Graph, Ints, Made, Memory, Program, Vertices, load, row


@register("triangle-count", family="generator")
class TriangleCount(Graph):
    """Counting of triangles: for each edge from a vertex to a smaller one, their sorted neighbours are gone along.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4). Nothing is stored.
    """

    def program(self) -> Program:
        """The count before its first reference."""
        return Program(count, *self.rows, cursor=(0, -1, 0), unit=4 * self.widest + 8, records=self.layout())


@compiled
def count(
    offsets: Ints,
    neighbours: Vertices,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Triangles u > v > w, by going along the neighbours of u and v at once; ``cursor[2]`` counts them."""
    offset_at, neighbour_at = memory
    u, e, total = cursor
    n = len(offsets) - 1
    k = 0
    while k < most:
        if e < 0:
            k = row(made, k, offset_at, u)
            e = offsets[u]
        v = n
        if e < offsets[u + 1]:
            v = neighbours[e]
            k = load(made, k, neighbour_at, e)
        if v > u:
            u, e = (u + 1) % n, -1
            continue
        k = row(made, k, offset_at, v)
        along = offsets[u]
        for f in range(offsets[v], offsets[v + 1]):
            w = neighbours[f]
            k = load(made, k, neighbour_at, f)
            if w > v:
                break
            k = load(made, k, neighbour_at, along)
            while neighbours[along] < w:  # ends at v at the latest
                along += 1
                k = load(made, k, neighbour_at, along)
            total += neighbours[along] == w
        e += 1
    cursor[0], cursor[1], cursor[2] = u, e, total
    return k
