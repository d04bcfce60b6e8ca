"""Counting triangles."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators import kernels
from tiersim.traces.generators.kernels import Graph, Ints, Program, Step


@register("triangle-count", family="generator")
class TriangleCount(Graph):
    """Counting of triangles: for each edge from a vertex to a smaller one, their sorted neighbours are gone along.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4). Nothing is stored.
    """

    def program(self) -> Program:
        """The count before its first reference."""
        offsets, neighbours = self.rows
        cursor = np.array([0, -1, 0], np.int64)

        def step(first: Ints) -> Step:
            return lambda *made: kernels.triangle_count(offsets, neighbours, first, cursor, *made)

        return Program([offsets, neighbours], 4 * self.widest + 8, step)
