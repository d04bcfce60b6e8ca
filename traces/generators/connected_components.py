"""Connected components."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators import kernels
from tiersim.traces.generators.kernels import Graph, Ints, Program, Step


@register("connected-components", family="generator")
class ConnectedComponents(Graph):
    """Connected components by labels: each vertex takes the smallest label around it, until none changes; then again.

    In memory, in this order, each from a page of 4 KiB on: offsets (8 bytes each), neighbours (4), labels (4).
    """

    def program(self) -> Program:
        """The passes before their first reference."""
        offsets, neighbours = self.rows
        component, cursor = np.zeros(len(offsets) - 1, np.int32), np.zeros(3, np.int64)

        def step(first: Ints) -> Step:
            return lambda *made: kernels.connected_components(offsets, neighbours, component, first, cursor, *made)

        return Program([offsets, neighbours, component], 2 * self.widest + 8, step)
