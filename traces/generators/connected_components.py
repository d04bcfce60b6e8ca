"""Connected components."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Graph, Ints, Made, Memory, Program, Vertices, load, row, store


@register("connected-components", family="generator")
class ConnectedComponents(Graph):
    """Connected components by labels: each vertex takes the smallest label around it, until none changes; then again.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), labels (4).
    """

    properties = (4,)

    def program(self) -> Program:
        """The passes before their first reference."""
        component = np.zeros(len(self.rows[0]) - 1, np.int32)
        unit, layout = 2 * self.widest + 8, self.layout(2)
        return Program(spread, *self.rows, component, cursor=(0, 0, 0), unit=unit, records=layout)


@compiled
def spread(
    offsets: Ints,
    neighbours: Vertices,
    component: Vertices,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """Connected components: every vertex takes the smallest name around it, until none changes."""
    offset_at, neighbour_at, component_at = memory
    phase, u, changed = cursor
    k = 0
    while k < most:
        if phase == 0:
            component[u] = u
            k = store(made, k, component_at, u)
        else:
            least = component[u]
            before = least
            k = load(made, k, component_at, u)
            k = row(made, k, offset_at, u)
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = load(made, k, neighbour_at, e)
                k = load(made, k, component_at, v)
                least = min(least, component[v])
            if least < before:
                component[u] = least
                k = store(made, k, component_at, u)
                changed = 1
        u += 1
        if u == len(component):
            phase = 1 if phase == 0 or changed else 0
            u, changed = 0, 0
    cursor[0], cursor[1], cursor[2] = phase, u, changed
    return k
