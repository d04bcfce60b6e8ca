"""Look-ups of cross sections, as codes that follow neutrons do them."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import counter, kernels
from tiersim.traces.generators.kernels import POINT, Ints, Program, Running, Step

ENERGY: Final = 19  # the random streams: the energies and materials asked for, the members, the grids
MATERIAL: Final = 20
MEMBER: Final = 21
GRID: Final = 22
LOOKUPS: Final = 1 << 18  # as many look-ups, and then the first again
# of XSBench's small model: how many nuclides each of twelve materials has, and how often it is asked for
HELD: Final = (34, 5, 4, 4, 27, 21, 21, 21, 21, 21, 9, 9)
OFTEN: Final = (0.140, 0.052, 0.275, 0.134, 0.154, 0.064, 0.066, 0.055, 0.008, 0.015, 0.025, 0.013)


@register("hash-lookup", family="generator", paper="Tramm et al., PHYSOR 2014, https://github.com/ANL-CESAR/XSBench")
class HashLookup(Running):
    """Look-ups in hashed energy grids, as XSBench's: for each nuclide of a material, the two points around an energy.

    A look-up draws an energy and one of twelve materials; for each of its nuclides the bin of the energy bounds a
    binary search in the nuclide's sorted grid. In memory, in this order, each from a page of 4 KiB on: the nuclides of
    the materials (4 bytes each), their densities (8), for each bin and nuclide where to begin (4), for each nuclide
    and point an energy and five cross sections (48). Nothing is stored.
    """

    nuclides: Annotated[int, Param("nuclides", unit="count", ge=max(HELD), le=4096)] = 68
    points: Annotated[int, Param("points of the grid of each nuclide", unit="count", ge=2, le=1 << 20)] = 11_303
    bins: Annotated[int, Param("bins of the energy", unit="count", ge=1, le=1 << 20)] = 10_000

    def program(self) -> Program:
        """The look-ups before their first reference."""
        number = np.arange(LOOKUPS, dtype=np.uint64)
        energy = counter.share(counter.draw(self.seed, ENERGY, number))
        chosen = counter.share(counter.draw(self.seed, MATERIAL, number))
        often = np.cumsum(OFTEN)
        material = np.searchsorted(often, chosen * often[-1], side="right").astype(np.int64)
        held, members = np.array(HELD, np.int64), np.zeros((len(HELD), max(HELD)), np.int32)
        for place, count in enumerate(HELD):
            numbers = np.arange(place * self.nuclides, (place + 1) * self.nuclides, dtype=np.uint64)
            drawn = counter.draw(self.seed, MEMBER, numbers)
            members[place, :count] = np.argsort(drawn, kind="stable")[:count]
        every = np.arange(self.nuclides * self.points, dtype=np.uint64)
        grid = counter.share(counter.draw(self.seed, GRID, every)).reshape(self.nuclides, self.points)
        grid.sort(axis=1)
        edges = np.arange(self.bins + 1) / self.bins
        index = np.empty((self.bins + 1, self.nuclides), np.int32)
        for nuclide in range(self.nuclides):
            below = np.searchsorted(grid[nuclide], edges, side="right") - 1
            index[:, nuclide] = np.clip(below, 0, self.points - 2)
        densities, table = np.zeros(members.shape), np.zeros((*grid.shape, POINT // 8))
        cursor = np.zeros(2, np.int64)

        def step(first: Ints) -> Step:
            return lambda *made: kernels.hash_lookup(held, members, index, grid, material, energy, first, cursor, *made)

        return Program([members, densities, index, table], 64, step)
