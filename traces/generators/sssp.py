"""Shortest paths from one vertex."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators import kernels
from tiersim.traces.generators.kernels import Graph, Ints, Program, Step


@register("sssp", family="generator")
class Sssp(Graph):
    """Shortest paths from one random source after the other, by Bellman and Ford with a queue; weights are 1 to 255.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), weights (4),
    distance (4), whether a vertex waits (1), queue (4). Before each search every distance is stored once.
    """

    def program(self) -> Program:
        """The search before its first reference."""
        offsets, neighbours = self.rows
        count = len(offsets) - 1
        weight = kernels.weights(self.seed, len(neighbours))
        distance, waiting, queue = np.zeros(count, np.int32), np.zeros(count, np.uint8), np.zeros(count, np.int32)
        sources, cursor = self.sources(), np.zeros(5, np.int64)

        def step(first: Ints) -> Step:
            return lambda *made: kernels.sssp(
                offsets, neighbours, weight, distance, waiting, queue, sources, first, cursor, *made
            )

        return Program([offsets, neighbours, weight, distance, waiting, queue], 7 * self.widest + 8, step)
