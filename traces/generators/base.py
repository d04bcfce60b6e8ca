"""What the generators share: how many records, how large, how many stores, which seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Final

import numpy as np

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.units import show
from tiersim.traces.generators import counter
from tiersim.traces.generators.counter import Words
from tiersim.traces.schema import LOAD, STORE, Chunk

__all__ = ["Generator"]

BASE: Final = 1 << 32
WIDTH: Final = 8  # bytes of each access
WRITES: Final = 1  # the random stream that decides who stores


@config
class Generator(ABC):
    """Accesses of 8 bytes inside one stretch of memory, each with the same number of instructions before it."""

    records: Annotated[int, Param("accesses in all", unit="count", ge=1)] = 1_000_000
    footprint: Annotated[int, Param("memory that is accessed", unit="bytes", ge=WIDTH, le=1 << 40)] = 64 << 20
    write_share: Annotated[int, Param("accesses that store", unit="ratio", ge=0, le=10**9)] = 0
    gap: Annotated[int, Param("instructions of each access, its own included", unit="count", ge=1, le=10**9)] = 4
    seed: Annotated[int, Param("which of the possible traces", ge=0)] = 0

    @abstractmethod
    def places(self, index: Words) -> Words:
        """The offset in bytes of each access, from the number of its record."""

    def block(self, start: int, count: int) -> Chunk:
        """The records from ``start`` on."""
        index = np.arange(start, start + count, dtype=np.uint64)
        kind = np.full(count, LOAD, np.uint8)
        if self.write_share:
            bits = counter.draw(self.seed, WRITES, index)
            kind[counter.below(bits, 10**9) < self.write_share] = STORE
        return {
            "address": self.places(index) + np.uint64(BASE),
            "size": np.full(count, WIDTH, np.uint16),
            "kind": kind,
            "gap": np.full(count, self.gap, np.uint32),
        }

    def _grains(self, grain: int) -> int:
        """How many grains the footprint holds. Raises StudyError when that is none, or more than 2**32."""
        grains = self.footprint // grain
        if not 1 <= grains <= 1 << 32:
            raise StudyError(
                f"a footprint of {show(self.footprint, 'bytes')} holds {grains:,} grains of {show(grain, 'bytes')}; "
                "it must hold between 1 and 4 Gi"
            )
        return grains
