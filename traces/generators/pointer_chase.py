"""A linked list in random order, over and over."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter
from tiersim.traces.generators.base import Generator
from tiersim.traces.generators.counter import Words


@register("pointer-chase", family="generator")
class PointerChase(Generator):
    """A list whose nodes fill the footprint in random order, walked round and round: no node twice in a round."""

    grain: Annotated[int, Param("bytes of a node", unit="bytes", ge=8)] = 64

    def __post_init__(self) -> None:
        self._grains(self.grain)

    def places(self, index: Words) -> Words:
        """The offset in bytes of each access, from the number of its record."""
        nodes = self._grains(self.grain)
        return counter.shuffled(index % np.uint64(nodes), nodes, self.seed) * np.uint64(self.grain)
