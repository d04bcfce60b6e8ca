"""Look-ups of cross sections in one grid of all energies, as codes that follow neutrons do them."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.cross_sections import CrossSections
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Ints, Made, Memory, Program, Reals, Room, Vertices, load

BIN = 4  # points of a nuclide's grid, about, among which one is searched


@register("xs-lookup", family="generator", paper="Tramm et al., PHYSOR 2014, https://github.com/ANL-CESAR/XSBench")
class XsLookup(CrossSections):
    """Look-ups in a unionised energy grid, as XSBench's: one binary search, then two points of each nuclide.

    A look-up draws an energy and one of twelve materials, and searches the sorted energies of all nuclides' points; by
    what it finds, an index says for each nuclide which of its points is the last one not above. In memory, in this
    order, each from a page of 4 KiB on: the energies (8 bytes each), the nuclides of the materials (4), their densities
    (8), for each energy and nuclide its point (4, so that it is by far the largest), for each nuclide and point an
    energy and five cross sections (48). Nothing is stored.
    """

    def program(self) -> Program:
        """The look-ups before their first reference."""
        index = Room(4, self.nuclides**2 * self.points)
        arrays = np.sort(self.grid, axis=None), self.members, self.densities, index, self.table
        given = self.bounds(-(-self.points // BIN)), self.grid, *self.asked
        return Program(look_up, *arrays, given=given, cursor=(0, -1, 0), unit=64)


@compiled
def look_up(
    energies: Reals,
    members: Vertices,
    bounds: Vertices,
    grid: Reals,
    held: Ints,
    material: Ints,
    energy: Reals,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """The search of a look-up, then a nuclide at a time.

    The index may need gigabytes; what it would hold is found instead, without a reference, in the nuclide's grid.
    """
    energy_at, member_at, density_at, index_at, point_at = memory
    lookup, j, row = cursor
    nuclides, points = grid.shape
    bins = len(bounds) - 1
    k = 0
    while k < most:
        at, sought = material[lookup], energy[lookup]
        if j < 0:
            row, high = 0, len(energies)
            while high - row > 1:
                middle = (row + high) // 2
                k = load(made, k, energy_at, middle)
                if energies[middle] > sought:
                    high = middle
                else:
                    row = middle
            j = 0
            continue
        nuclide = members[at, j]
        slot = min(int(sought * bins), bins - 1)
        low = bounds[slot, nuclide]
        for middle in range(low + 1, bounds[slot + 1, nuclide] + 1):
            low += grid[nuclide, middle] <= sought
        k = load(made, k, member_at, at * members.shape[1] + j)
        k = load(made, k, density_at, at * members.shape[1] + j)
        k = load(made, k, index_at, row * nuclides + nuclide)
        k = load(made, k, point_at, nuclide * points + low)
        k = load(made, k, point_at, nuclide * points + low + 1)
        j += 1
        if j == held[at]:
            lookup, j = (lookup + 1) % len(material), -1
    cursor[0], cursor[1], cursor[2] = lookup, j, row
    return k
