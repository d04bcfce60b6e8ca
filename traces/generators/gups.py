"""Random updates of a table."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter
from tiersim.traces.generators.kernels import BASE, Kernel, Made

UPDATE: Final = 1  # the random stream that decides which word is updated
WORD: Final = 8


@register("gups", family="generator", paper="https://hpcchallenge.org/projectsfiles/hpcc/RandomAccess.html")
class Gups(Kernel):
    """Giga-updates per second: a random word of a table is loaded, and stored again with some bits turned.

    The table of words of 8 bytes begins at 4 GiB. Words are drawn with splitmix64, and not with the polynomial of the
    HPC Challenge benchmark, so that the trace can be entered anywhere.
    """

    footprint: Annotated[int, Param("bytes of the table", unit="bytes", ge=WORD, le=1 << 35)] = 64 << 20

    def touched(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""
        update = np.arange(start // 2, (start + count + 1) // 2, dtype=np.uint64)
        word = counter.below(counter.draw(self.seed, UPDATE, update), self.footprint // WORD).astype(np.int64)
        index = np.arange(start, start + count)
        address = np.repeat(word * WORD + BASE, 2)[start % 2 :][:count]
        return address, np.full(count, WORD, np.uint16), (index % 2).astype(np.uint8)
