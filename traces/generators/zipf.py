"""A few places are popular, most are not."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter
from tiersim.traces.generators.base import Generator
from tiersim.traces.generators.counter import Words

FIRST_TRY = 16  # each further try of a record draws from the next stream
Reals = NDArray[np.float64]


@register("zipf", family="generator", paper="Hoermann and Derflinger, ACM TOMACS 6(3), 1996, doi:10.1145/235025.235029")
class Zipf(Generator):
    """Random accesses, the k-th most popular grain with a probability proportional to 1 / k**skew.

    Popular grains lie scattered over the footprint. Ranks are drawn by rejection-inversion: no table, so the footprint
    may be of any size.
    """

    skew: Annotated[float, Param("how unequal: 0 is uniform, 1 is Zipf's law", ge=0, le=8)] = 0.9
    grain: Annotated[int, Param("bytes between one possible place and the next", unit="bytes", ge=8)] = 64

    def __post_init__(self) -> None:
        self._grains(self.grain)

    def places(self, index: Words) -> Words:
        """The offset in bytes of each access, from the number of its record."""
        grains = self._grains(self.grain)
        return counter.shuffled(self._ranks(index, grains), grains, self.seed) * np.uint64(self.grain)

    def _ranks(self, index: Words, grains: int) -> Words:
        """The rank of each record, 0 the most popular."""
        first = self._area(np.array([1.5]))[0] - 1.0
        last = self._area(np.array([grains + 0.5]))[0]
        sure = 2.0 - self._at(self._area(np.array([2.5])) - 2.0**-self.skew)[0]
        ranks = np.empty(len(index), np.uint64)
        open_ = np.arange(len(index))
        turn = FIRST_TRY
        while len(open_):
            u = last + counter.share(counter.draw(self.seed, turn, index[open_])) * (first - last)
            x = self._at(u)
            k = np.clip(np.floor(x + 0.5), 1.0, float(grains))
            taken = (k - x <= sure) | (u >= self._area(k + 0.5) - k**-self.skew)
            ranks[open_[taken]] = k[taken].astype(np.uint64) - np.uint64(1)
            open_ = open_[~taken]
            turn += 1
        return ranks

    def _area(self, x: Reals) -> Reals:
        """The integral of t**-skew from 1 to x."""
        log = np.log(x)
        power = (1.0 - self.skew) * log
        small = np.abs(power) < 1e-8
        return np.where(small, 1.0 + power / 2, np.expm1(power) / np.where(small, 1.0, power)) * log

    def _at(self, area: Reals) -> Reals:
        """The x up to which the integral has this area."""
        power = np.maximum(area * (1.0 - self.skew), -1.0)
        small = np.abs(power) < 1e-8
        with np.errstate(divide="ignore"):  # the whole area of a steep law is reached at infinity, and clipped
            slope = np.where(small, 1.0 - power / 2, np.log1p(power) / np.where(small, 1.0, power))
        return np.exp(slope * area)
