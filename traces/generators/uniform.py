"""Every place as likely as any other."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter
from tiersim.traces.generators.base import Generator
from tiersim.traces.generators.counter import Words

PLACE = 2


@register("uniform", family="generator")
class Uniform(Generator):
    """Random accesses, every grain of the footprint as likely as any other."""

    grain: Annotated[int, Param("bytes between one possible place and the next", unit="bytes", ge=8)] = 64

    def __post_init__(self) -> None:
        self._grains(self.grain)

    def places(self, index: Words) -> Words:
        """The offset in bytes of each access, from the number of its record."""
        drawn = counter.below(counter.draw(self.seed, PLACE, index), self._grains(self.grain))
        return drawn * np.uint64(self.grain)
