"""Look-ups of cross sections in one grid of all energies, as codes that follow neutrons do them."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.traces.generators.cross_sections import CrossSections
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Ints, Made, Memory, Program, Reals, Room, Vertices, load


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
        held, material, energy = self.asked
        count = self.nuclides * self.points
        rows = np.searchsorted(np.sort(self.grid, axis=None), energy, side="right") - 1
        arrays = Room(8, count), self.members, self.densities, Room(4, self.nuclides * count), self.table
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(held[material])])
        given = count, self.nuclides, self.points, held, material, rows, self._found(material, energy, starts), starts
        return Program(look_up, *arrays, given=given, cursor=(0, -1), unit=64)

    def _found(self, material: Ints, energy: Reals, starts: Ints) -> Vertices:
        """The point of each nuclide of each look-up; those of a look-up stand where it starts."""
        made, members = np.zeros(starts[-1], np.int32), self.members
        for at, count in enumerate(self.held):
            asked = np.flatnonzero(material == at)
            for j, nuclide in enumerate(members[at, :count]):
                below = np.searchsorted(self.grid[nuclide], energy[asked], side="right") - 1
                made[starts[asked] + j] = np.clip(below, 0, self.points - 2)
        return made


@compiled
def look_up(
    members: Vertices,
    count: int,
    nuclides: int,
    points: int,
    held: Ints,
    material: Ints,
    rows: Ints,
    found: Vertices,
    starts: Ints,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """The search of a look-up, then a nuclide at a time.

    Energies and index may need gigabytes, and are not kept. What a look-up finds in them is known beforehand, and with
    it where its search comes by.
    """
    energy_at, member_at, density_at, index_at, point_at = memory
    lookup, j = cursor
    k = 0
    while k < most:
        at, row = material[lookup], rows[lookup]
        if j < 0:
            low, high = 0, count
            while high - low > 1:
                middle = (low + high) // 2
                k = load(made, k, energy_at, middle)
                if middle > row:
                    high = middle
                else:
                    low = middle
            j = 0
            continue
        nuclide, point = members[at, j], found[starts[lookup] + j]
        k = load(made, k, member_at, at * members.shape[1] + j)
        k = load(made, k, density_at, at * members.shape[1] + j)
        k = load(made, k, index_at, max(row, 0) * nuclides + nuclide)
        k = load(made, k, point_at, nuclide * points + point)
        k = load(made, k, point_at, nuclide * points + point + 1)
        j += 1
        if j == held[at]:
            lookup, j = (lookup + 1) % len(material), -1
    cursor[0], cursor[1] = lookup, j
    return k
