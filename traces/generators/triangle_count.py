"""Counting triangles."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import DRAWN, Graph, Ints, Made, Memory, Program, Vertices, load, row


@register("triangle-count", family="generator")
class TriangleCount(Graph):
    """Counting of triangles: for each edge from a vertex to a smaller one, their sorted neighbours are gone along.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4). Nothing is stored.
    """

    first: Annotated[
        int, Param("the vertex to begin with; those before it see few others below them", unit="count", ge=0)
    ] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.graph == DRAWN:
            self._has_first(1 << self.scale)

    def _has_first(self, vertices: int) -> None:
        if self.first >= vertices:
            raise StudyError(f"the graph has no vertex {self.first:,}, it has {vertices:,} from 0 on")

    def program(self) -> Program:
        """The count before its first reference."""
        self._has_first(len(self.rows[0]) - 1)
        cursor, unit = (self.first, -1, 0), 4 * self.widest + 8
        return Program(count, *self.rows, cursor=cursor, unit=unit, records=self.layout())


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
