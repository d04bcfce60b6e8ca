"""Breadth-first search."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators import kernels
from tiersim.traces.generators.kernels import Graph, Ints, Program, Step


@register("bfs", family="generator")
class Bfs(Graph):
    """Breadth-first search from one random source after the other, top down, with a queue.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), parent (4), queue
    (4). Before each search every parent is stored once.
    """

    def program(self) -> Program:
        """The search before its first reference."""
        offsets, neighbours = self.rows
        count = len(offsets) - 1
        parent, queue = np.zeros(count, np.int32), np.zeros(count, np.int32)
        sources, cursor = self.sources(), np.zeros(4, np.int64)

        def step(first: Ints) -> Step:
            return lambda *made: kernels.bfs(offsets, neighbours, parent, queue, sources, first, cursor, *made)

        return Program([offsets, neighbours, parent, queue], 4 * self.widest + 8, step)
