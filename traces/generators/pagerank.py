"""PageRank."""

from __future__ import annotations

from typing import Final

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import (
    Graph,
    Ints,
    Made,
    Memory,
    Program,
    Singles,
    Vertices,
    load,
    row,
    store,
)

DAMPING: Final = np.float32(0.85)


@register("pagerank", family="generator")
class PageRank(Graph):
    """PageRank, pulling, one iteration after the other: what each vertex gives, then what each gets; damping is 0.85.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), rank (4), share of
    the rank that each neighbour gets (4).
    """

    properties = (4, 4)

    def program(self) -> Program:
        """The iterations before their first reference."""
        count = len(self.rows[0]) - 1
        rank, share = np.full(count, 1 / count, np.float32), np.zeros(count, np.float32)
        unit, layout = 2 * self.widest + 8, self.layout(2, 3)
        return Program(iterate, *self.rows, rank, share, cursor=(0, 0), unit=unit, records=layout)


@compiled
def iterate(
    offsets: Ints,
    neighbours: Vertices,
    rank: Singles,
    share: Singles,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """PageRank by pulling, in single precision; a vertex without neighbours gives nothing away."""
    offset_at, neighbour_at, rank_at, share_at = memory
    phase, u = cursor
    left = (np.float32(1) - DAMPING) / np.float32(len(rank))
    k = 0
    while k < most:
        if phase == 0:
            k = load(made, k, rank_at, u)
            k = row(made, k, offset_at, u)
            share[u] = rank[u] / np.float32(max(offsets[u + 1] - offsets[u], 1))
            k = store(made, k, share_at, u)
        else:
            got = np.float32(0)
            k = row(made, k, offset_at, u)
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = load(made, k, neighbour_at, e)
                k = load(made, k, share_at, v)
                got += share[v]
            k = load(made, k, rank_at, u)
            rank[u] = left + DAMPING * got
            k = store(made, k, rank_at, u)
        u += 1
        if u == len(rank):
            phase, u = 1 - phase, 0
    cursor[0], cursor[1] = phase, u
    return k
