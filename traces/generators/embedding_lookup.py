"""Look-ups of rows of embedding tables."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import base, zipf
from tiersim.traces.generators.kernels import BASE, PAGE, Kernel, Made
from tiersim.traces.generators.zipf import Zipf
from tiersim.traces.schema import LOAD, STORE

INDEX: Final = 8  # bytes
LOADED: Final = 64  # the most bytes of a row that one load takes
GRAIN: Final = 8


@register("embedding-lookup", family="generator", paper="Naumov et al., 2019, arXiv:1906.00091")
class EmbeddingLookup(Kernel):
    """Embedding bags of a recommender: of each table some rows, popular by Zipf's law, are summed for each sample.

    Sample by sample and table by table, each row number is loaded and then its row, in loads of at most 64 bytes; then
    the sum is stored likewise. In memory, in this order, each from a page of 4 KiB on: the row numbers of a batch (8
    bytes each; by sample, table and place in the bag), the tables, the sums of a batch (by sample and table). Every
    batch uses the same room; in every table the same row numbers are popular.
    """

    uses: ClassVar[tuple[str, ...]] = (zipf.__name__, base.__name__)

    tables: Annotated[int, Param("tables", unit="count", ge=1, le=4096)] = 8
    rows: Annotated[int, Param("rows of each table", unit="count", ge=1, le=1 << 30)] = 100_000
    row: Annotated[int, Param("bytes of a row", unit="bytes", ge=1, le=PAGE)] = 128
    pooling: Annotated[int, Param("rows that are summed", unit="count", ge=1, le=4096)] = 20
    batch: Annotated[int, Param("samples of a batch", unit="count", ge=1, le=1 << 20)] = 64
    skew: Annotated[float, Param("how unequal rows are: 0 is uniform, 1 is Zipf's law", ge=0, le=8)] = 0.9

    def touched(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""
        pieces = -(-self.row // LOADED)
        each = 1 + pieces  # references of a look-up
        bag, place = np.divmod(np.arange(start, start + count), self.pooling * each + pieces)
        table, within = bag % self.tables, bag % (self.tables * self.batch)
        stores = place >= self.pooling * each
        lookup, part = np.divmod(np.minimum(place, self.pooling * each - 1), each)
        part = np.where(stores, place - self.pooling * each, part - 1)
        lookup += bag * self.pooling
        row = self._rows(lookup)
        numbers = _whole(self.tables * self.batch * self.pooling * INDEX)
        whole = _whole(self.rows * self.row)
        address = numbers + table * whole + row * self.row + part * LOADED
        sums = numbers + self.tables * whole + within * self.row + part * LOADED
        index = lookup % (self.tables * self.batch * self.pooling) * INDEX
        address = BASE + np.where(stores, sums, np.where(part < 0, index, address))
        size = np.where(part < 0, INDEX, np.minimum(LOADED, self.row - part * LOADED))
        return address, size.astype(np.uint16), np.where(stores, STORE, LOAD).astype(np.uint8)

    def _rows(self, lookup: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each look-up, which come in order, so that each is drawn once."""
        made: type[Any] = Zipf  # its fields come from the register, which a type checker does not see
        law: Zipf = made(footprint=self.rows * GRAIN, grain=GRAIN, skew=self.skew, seed=self.seed)
        drawn = law.places(np.arange(lookup[0], lookup[-1] + 1, dtype=np.uint64)) // np.uint64(GRAIN)
        found: NDArray[np.int64] = drawn.astype(np.int64)[lookup - lookup[0]]
        return found


def _whole(count: int) -> int:
    """The bytes of the pages that so many take."""
    return -(-count // PAGE) * PAGE
