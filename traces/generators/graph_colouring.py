"""Colouring of a graph."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Graph, Ints, Made, Memory, Program, Vertices, load, row, store


@register(
    "graph-colouring", family="generator", paper="Gebremedhin, Manne and Pothen, 2005, doi:10.1137/S0036144504444711"
)
class GraphColouring(Graph):
    """Greedy colouring: vertex by vertex the first colour that no neighbour has; when all are coloured, again.

    Which colours the neighbours of a vertex have is marked with the vertex, so that no mark is ever taken away. In
    memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), colours (4), marks by
    colour (4). Before each colouring every colour is stored once.
    """

    properties = (4,)

    def program(self) -> Program:
        """The colouring before its first reference."""
        colour = np.full(len(self.rows[0]) - 1, -1, np.int32)
        marks = np.full(self.widest + 1, -1, np.int32)  # the last vertex that a colour was refused to
        unit, layout = 4 * self.widest + 8, self.layout(2)
        return Program(colour_all, *self.rows, colour, marks, cursor=(0, 0), unit=unit, records=layout)


@compiled
def colour_all(
    offsets: Ints,
    neighbours: Vertices,
    colour: Vertices,
    marks: Vertices,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Greedy colouring in the order of the vertices."""
    offset_at, neighbour_at, colour_at, mark_at = memory
    phase, u = cursor
    k = 0
    while k < most:
        if phase == 0:
            colour[u] = -1
            k = store(made, k, colour_at, u)
        else:
            k = row(made, k, offset_at, u)
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = load(made, k, neighbour_at, e)
                k = load(made, k, colour_at, v)
                if colour[v] >= 0:
                    marks[colour[v]] = u
                    k = store(made, k, mark_at, colour[v])
            free = 0
            k = load(made, k, mark_at, free)
            while marks[free] == u:  # of one colour more than there are neighbours, one is free
                free += 1
                k = load(made, k, mark_at, free)
            colour[u] = free
            k = store(made, k, colour_at, u)
        u += 1
        if u == len(colour):
            phase, u = 1 - phase, 0
    cursor[0], cursor[1] = phase, u
    return k
