"""What the generators of object requests share: how many, of which objects, how large, whose."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.units import show
from tiersim.traces.generators import base, counter, zipf
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.zipf import Zipf
from tiersim.traces.schema import GET, SET, Chunk

__all__ = ["ObjectGenerator"]

SETS: Final = 3  # the random streams: who sets, how large an object is, whose it is
SIZES: Final = 4
TENANTS: Final = 5
GRAIN: Final = 8


@config
class ObjectGenerator(ABC):
    """Requests for objects. Size and tenant belong to the object: each request for it says the same."""

    schema: ClassVar[str] = "object"
    uses: ClassVar[tuple[str, ...]] = (zipf.__name__, base.__name__)

    requests: Annotated[int, Param("requests in all", unit="count", ge=1)] = 1_000_000
    objects: Annotated[int, Param("objects with a popularity", unit="count", ge=1, le=1 << 32)] = 100_000
    skew: Annotated[float, Param("how unequal they are: 0 is uniform, 1 is Zipf's law", ge=0, le=8)] = 0.9
    size: Annotated[int, Param("bytes of an object, of the smallest where they differ", unit="bytes", ge=1)] = 1
    largest: Annotated[
        int | None,
        Param("bytes of the largest object: sizes are log-uniform; all equal when not given", unit="bytes", le=1 << 50),
    ] = None
    tenants: Annotated[
        int, Param("tenants, to each of whom a random part of the objects belongs", ge=1, le=1 << 32)
    ] = 1
    set_share: Annotated[int, Param("requests that set", unit="ratio", ge=0, le=10**9)] = 0
    seed: Annotated[int, Param("which of the possible traces", ge=0)] = 0

    def __post_init__(self) -> None:
        if self.largest is not None and self.largest < self.size:
            raise StudyError(
                f"the largest object has {show(self.largest, 'bytes')}, less than the smallest with "
                f"{show(self.size, 'bytes')}"
            )

    @property
    def records(self) -> int:
        """How many requests there are."""
        return self.requests

    @abstractmethod
    def keys(self, index: Words) -> Words:
        """The key of each request, from the number of its record."""

    def block(self, start: int, count: int) -> Chunk:
        """The records from ``start`` on."""
        index = np.arange(start, start + count, dtype=np.uint64)
        key = self.keys(index)
        made: Chunk = {"id": key}
        if self.largest is not None or self.size != 1:
            made["size"] = self._sizes(key)
        if self.set_share:
            bits = counter.draw(self.seed, SETS, index)
            made["op"] = np.where(counter.below(bits, 10**9) < self.set_share, SET, GET).astype(np.uint8)
        if self.tenants > 1:
            made["tenant"] = counter.below(counter.draw(self.seed, TENANTS, key), self.tenants).astype(np.uint32)
        return made

    def popular(self, index: Words) -> Words:
        """An object for each request, under ``objects``; which ones are popular is the seed's choice."""
        made: type[Any] = Zipf  # its fields come from the register, which a type checker does not see
        law: Zipf = made(footprint=self.objects * GRAIN, grain=GRAIN, skew=self.skew, seed=self.seed)
        return law.places(index) // np.uint64(GRAIN)

    def _sizes(self, key: Words) -> NDArray[np.int64]:
        if self.largest is None:
            return np.full(len(key), self.size, np.int64)
        share = counter.share(counter.draw(self.seed, SIZES, key))
        made = self.size * np.exp(share * math.log((self.largest + 1) / self.size))
        return np.clip(made.astype(np.int64), self.size, self.largest)
