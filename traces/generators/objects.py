"""What the generators of object requests share: how many, of which objects, how large, whose."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.units import show
from tiersim.traces.generators import counter, exact, zipf
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled, exp, log, normal, preimage, real, root, word
from tiersim.traces.schema import GET, SET, Chunk

__all__ = ["LOOPED", "SCANNED", "ObjectGenerator", "PopularObjects"]

SETS: Final = 3  # the random streams: who sets, how large an object is, whose it is, whose size its rank decides
SIZES: Final = 4
TENANTS: Final = 5
COUPLED: Final = 6
LOOPED: Final = 1 << 61  # keys of popular objects are below; of what is looped from here on, of what is scanned beyond
SCANNED: Final = 1 << 62
LAWS: Final = ("log-uniform", "lognormal", "pareto")
EQUAL: Final = -1

Reals = NDArray[np.float64]


@config
class ObjectGenerator(ABC):
    """Requests for objects. Size and tenant belong to the object: each request for it says the same."""

    schema: ClassVar[str] = "object"
    uses: ClassVar[tuple[str, ...]] = (exact.__name__,)

    requests: Annotated[int, Param("requests in all", unit="count", ge=1)] = 1_000_000
    size: Annotated[int, Param("bytes of an object, of the smallest where they differ", unit="bytes", ge=1)] = 1
    largest: Annotated[
        int | None, Param("bytes of the largest object; all are equal when not given", unit="bytes", le=1 << 50)
    ] = None
    sizes: Annotated[
        Literal["log-uniform", "lognormal", "pareto"],
        Param("law of the sizes between; what a lognormal one has outside is as large as that end"),
    ] = "log-uniform"
    shape: Annotated[
        float | None,
        Param(
            "of lognormal the standard deviation of the logarithm, of pareto the exponent of the tail", ge=0.01, le=100
        ),
    ] = None
    median: Annotated[
        int | None,
        Param(
            "bytes of the middle object of lognormal; without it the geometric mean of both ends", unit="bytes", ge=1
        ),
    ] = None
    tenants: Annotated[
        int, Param("tenants, to each of whom a random part of the objects belongs", ge=1, le=1 << 32)
    ] = 1
    set_share: Annotated[int, Param("requests that set", unit="ratio", ge=0, le=10**9)] = 0
    seed: Annotated[int, Param("which of the possible traces", ge=0)] = 0

    def __post_init__(self) -> None:
        if self.largest is None:
            if (self.sizes, self.shape, self.median) != (LAWS[0], None, None):
                raise StudyError("objects of equal size have no law: give the size of the largest as well")
        elif self.largest < self.size:
            raise StudyError(
                f"the largest object has {show(self.largest, 'bytes')}, less than the smallest with "
                f"{show(self.size, 'bytes')}"
            )
        elif (self.shape is None) != (self.sizes == LAWS[0]):
            raise StudyError(f"{' and '.join(LAWS[1:])} sizes need a shape, and {LAWS[0]} sizes have none")
        if self.median is not None and (
            self.sizes != "lognormal" or not self.size <= self.median <= (self.largest or 0)
        ):
            raise StudyError("a median is that of lognormal sizes, between the smallest and the largest")

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

    def shares(self, key: Words) -> Reals:
        """The share of the objects that are smaller than each: evenly spread, and the same whenever asked."""
        return counter.share(counter.draw(self.seed, SIZES, key))

    def _sizes(self, key: Words) -> NDArray[np.int64]:
        made = np.full(len(key), self.size, np.int64)
        if self.largest is not None:
            middle = math.sqrt(self.size * self.largest) if self.median is None else float(self.median)
            _draw_sizes(
                self.shares(key), LAWS.index(self.sizes), self.size, self.largest, self.shape or 0.0, middle, made
            )
        return made


@config
class PopularObjects(ObjectGenerator):
    """Requests of which many are for objects that are popular by Zipf's law."""

    uses: ClassVar[tuple[str, ...]] = (zipf.__name__,)

    objects: Annotated[int, Param("objects with a popularity", unit="count", ge=1, le=1 << 32)] = 100_000
    skew: Annotated[float, Param("how unequal they are: 0 is uniform, 1 is Zipf's law", ge=0, le=8)] = 0.9
    correlation: Annotated[
        float, Param("rank correlation of size and popularity: 1 makes the most popular the largest", ge=-1, le=1)
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.correlation and self.largest is None:
            raise StudyError("sizes that are equal correlate with nothing: give the size of the largest as well")

    def popular(self, index: Words) -> Words:
        """An object for each request, under ``objects``; which ones are popular is the seed's choice."""
        return zipf.scattered(index, self.objects, self.skew, self.seed)

    def shares(self, key: Words) -> Reals:
        """Likewise; of some popular objects, as many as the correlation says, the rank decides."""
        made = super().shares(key)
        if self.correlation:
            keys = counter.unshuffle_keys(self.objects, self.seed)
            _couple(key, self.objects, self.correlation, root(self.seed), keys, made)
        return made


@compiled
def _couple(key: Words, objects: int, correlation: float, root: np.uint64, keys: Words, made: Reals) -> None:
    for i in range(len(key)):
        if key[i] < LOOPED and real(word(root, COUPLED, key[i])) < abs(correlation):
            rank = preimage(key[i] % np.uint64(objects), objects, keys)
            within = (np.float64(rank) + made[i]) / objects  # 0 is the most popular
            made[i] = 1.0 - within if correlation > 0 else within


@compiled
def _draw_sizes(
    share: Reals, law: int, smallest: int, largest: int, shape: float, median: float, made: NDArray[np.int64]
) -> None:
    """The size that so many objects are not above, by each law."""
    first, span = float(smallest), log((largest + 1.0) / smallest)
    middle = log(median)
    tail = 1.0 - exp(-shape * span)
    for i in range(len(share)):
        if law == 0:
            size = first * exp(share[i] * span)
        elif law == 1:
            size = exp(middle + shape * normal(share[i]))
        else:
            size = first * exp(-log(1.0 - share[i] * tail) / shape)
        made[i] = np.int64(min(max(size, first), float(largest)))
