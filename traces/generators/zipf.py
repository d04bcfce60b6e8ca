"""A few places are popular, most are not."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter, exact
from tiersim.traces.generators.base import Generator
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled, exp, expm1, image, inlined, log, log1p, real, root, word

FIRST_TRY = 16  # each further try of a record draws from the next stream
FARTHEST = 1e18
Reals: TypeAlias = NDArray[np.float64]


@register("zipf", family="generator", paper="Hoermann and Derflinger, ACM TOMACS 6(3), 1996, doi:10.1145/235025.235029")
class Zipf(Generator):
    """Random accesses, the k-th most popular grain with a probability proportional to 1 / k**skew.

    Popular grains lie scattered over the footprint. Ranks are drawn by rejection-inversion: no table, so the footprint
    may be of any size.
    """

    uses: ClassVar[tuple[str, ...]] = (exact.__name__,)

    skew: Annotated[float, Param("how unequal: 0 is uniform, 1 is Zipf's law", ge=0, le=8)] = 0.9
    grain: Annotated[int, Param("bytes between one possible place and the next", unit="bytes", ge=8)] = 64

    def __post_init__(self) -> None:
        self._grains(self.grain)

    def places(self, index: Words) -> Words:
        """The offset in bytes of each access, from the number of its record."""
        grains = self._grains(self.grain)
        return scattered(index, grains, self.skew, self.seed) * np.uint64(self.grain)


def ranks(index: Words, count: int, skew: float, seed: int) -> Words:
    """The rank of each record, 0 the most popular; the k-th has a probability proportional to 1 / k**skew."""
    made, areas, points = np.empty(len(index), np.uint64), np.empty(len(index)), np.empty(len(index))
    _ranks(index, root(seed), skew, count, areas, points, made)
    return made


def scattered(index: Words, count: int, skew: float, seed: int) -> Words:
    """Ranks likewise, under other names: which are popular is the seed's choice."""
    made = ranks(index, count, skew, seed)
    _rename(made, count, counter.shuffle_keys(count, seed))
    return made


@compiled
def _rename(made: Words, count: int, keys: Words) -> None:
    for i in range(len(made)):
        made[i] = image(made[i], count, keys)


@compiled
def _ranks(index: Words, root: np.uint64, skew: float, count: int, areas: Reals, points: Reals, made: Words) -> None:
    """Rejection-inversion: a point under t**-skew, drawn by its area, is under the bar of a rank or is drawn again."""
    power = 1.0 - skew
    most = _area(count + 0.5, power)
    span = _area(1.5, power) - 1.0 - most
    sure = 2.0 - _at(_area(2.5, power) - exp(-skew * log(2.0)), power)
    for i in range(len(index)):  # a loop of its own, so that the processor draws several at once
        areas[i] = most + real(word(root, FIRST_TRY, index[i])) * span
        points[i] = _at(areas[i], power)
    for i in range(len(index)):
        area, point, turn = areas[i], points[i], FIRST_TRY
        while True:
            rank = min(max(math.floor(point + 0.5), 1), count)
            if rank - point <= sure or _under(area, rank, power):
                break
            turn += 1
            area = most + real(word(root, turn, index[i])) * span
            point = _at(area, power)
        made[i] = np.uint64(rank - 1)


@compiled
def _under(area: float, rank: int, power: float) -> bool:
    """Whether a point is under the bar of a rank; seldom asked, so that it must not slow down what is asked always."""
    return area >= _area(rank + 0.5, power) - exp((power - 1.0) * log(float(rank)))


@inlined
def _area(x: float, power: float) -> float:
    """The integral of t**(power - 1) from 1 to x."""
    rise = log(x)
    scaled = power * rise
    return rise * (1.0 + scaled / 2 if abs(scaled) < 1e-8 else expm1(scaled) / scaled)


@inlined
def _at(area: float, power: float) -> float:
    """The x up to which the integral has this area; of a steep law the whole of it is reached very far away."""
    scaled = area * power
    slope = log1p(scaled) / scaled if abs(scaled) >= 1e-8 else 1.0 - scaled / 2
    return exp(area * slope) if scaled > -1.0 else FARTHEST
