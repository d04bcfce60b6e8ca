"""One step after the other."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.base import Generator
from tiersim.traces.generators.counter import Words


@register("stride", family="generator")
class Stride(Generator):
    """A walk in equal steps that begins again where the footprint ends; the seed decides only who stores."""

    stride: Annotated[int, Param("bytes from one access to the next", unit="bytes", ge=1, le=1 << 40)] = 64

    def places(self, index: Words) -> Words:
        """The offset in bytes of each access, from the number of its record."""
        # the product is taken from the first record on, because from record 0 on it could pass 64 bits
        begin = int(index[0]) * self.stride % self.footprint
        step = np.uint64(self.stride % self.footprint)
        along: Words = (np.uint64(begin) + (index - index[0]) * step) % np.uint64(self.footprint)
        return along
