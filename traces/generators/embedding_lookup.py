"""Look-ups of rows of embedding tables."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import exact, zipf
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import BASE, PAGE, Kernel, Made, load, store

INDEX: Final = 8  # bytes
LOADED: Final = 64  # the most bytes of a row that one load takes


@register("embedding-lookup", family="generator", paper="Naumov et al., 2019, arXiv:1906.00091")
class EmbeddingLookup(Kernel):
    """Embedding bags of a recommender: of each table some rows, popular by Zipf's law, are summed for each sample.

    Sample by sample and table by table, each row number is loaded and then its row, in loads of at most 64 bytes; then
    the sum is stored likewise. In memory, in this order, each from a page of 4 KiB on: the row numbers of a batch (8
    bytes each; by sample, table and place in the bag), the tables, the sums of a batch (by sample and table). Every
    batch uses the same room; in every table the same row numbers are popular.
    """

    uses: ClassVar[tuple[str, ...]] = (zipf.__name__, exact.__name__)

    tables: Annotated[int, Param("tables", unit="count", ge=1, le=4096)] = 8
    rows: Annotated[int, Param("rows of each table", unit="count", ge=1, le=1 << 30)] = 100_000
    row: Annotated[int, Param("bytes of a row", unit="bytes", ge=1, le=PAGE)] = 128
    pooling: Annotated[int, Param("rows that are summed", unit="count", ge=1, le=4096)] = 20
    batch: Annotated[int, Param("samples of a batch", unit="count", ge=1, le=1 << 20)] = 64
    skew: Annotated[float, Param("how unequal rows are: 0 is uniform, 1 is Zipf's law", ge=0, le=8)] = 0.9

    def touched(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""
        pieces = -(-self.row // LOADED)
        bag, place = divmod(start, self.pooling * (1 + pieces) + pieces)
        first = bag * self.pooling + min(place // (1 + pieces), self.pooling)
        lookups = np.arange(first, first + count // (1 + pieces) + 2, dtype=np.uint64)
        rows = zipf.scattered(lookups, self.rows, self.skew, self.seed)
        made = np.empty(count, np.int64), np.empty(count, np.uint16), np.empty(count, np.uint8)
        _sum_up(self.tables, self.rows, self.row, self.pooling, self.batch, pieces, bag, place, rows, made)
        return made


@compiled
def _sum_up(
    tables: int,
    rows: int,
    row: int,
    pooling: int,
    batch: int,
    pieces: int,
    bag: int,
    place: int,
    drawn: Words,
    made: Made,
) -> None:
    """The references from a place in a bag on; `drawn` are the rows from the look-up on that it is in."""
    indices = (tables * batch * pooling * INDEX + PAGE - 1) // PAGE * PAGE
    table = (rows * row + PAGE - 1) // PAGE * PAGE
    lookup, part = min(place // (1 + pieces), pooling), place % (1 + pieces)
    taken = 0
    for k in range(len(made[0])):
        within = bag % (tables * batch)
        if lookup == pooling:
            store(made, k, (BASE + indices + tables * table + within * row + part * LOADED, 0, LOADED), 0)
            made[1][k] = min(LOADED, row - part * LOADED)
        elif part == 0:
            load(made, k, (BASE, INDEX, INDEX), within * pooling + lookup)
        else:
            at = (part - 1) * LOADED
            load(made, k, (BASE + indices + bag % tables * table + int(drawn[taken]) * row + at, 0, LOADED), 0)
            made[1][k] = min(LOADED, row - at)
        part += 1
        if part == pieces + (lookup < pooling):
            part = 0
            taken += lookup < pooling
            lookup += 1
            if lookup > pooling:
                lookup = 0
                bag += 1
