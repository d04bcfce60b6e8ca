"""PageRank."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators import kernels
from tiersim.traces.generators.kernels import Graph, Ints, Program, Step


@register("pagerank", family="generator")
class PageRank(Graph):
    """PageRank, pulling, one iteration after the other: what each vertex gives, then what each gets.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), rank (4), share of
    the rank that each neighbour gets (4).
    """

    def program(self) -> Program:
        """The iterations before their first reference."""
        offsets, neighbours = self.rows
        real = np.zeros(len(offsets) - 1, np.float32)
        cursor = np.zeros(2, np.int64)

        def step(first: Ints) -> Step:
            return lambda *made: kernels.pagerank(offsets, neighbours, first, cursor, *made)

        return Program([offsets, neighbours, real, real], 2 * self.widest + 8, step)
