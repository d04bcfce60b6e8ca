"""Look-ups of cross sections by hashed energies, as codes that follow neutrons do them."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.cross_sections import CrossSections
from tiersim.traces.generators.exact import compiled
from tiersim.traces.generators.kernels import Ints, Made, Memory, Program, Reals, Vertices, load


@register("hash-lookup", family="generator", paper="Tramm et al., PHYSOR 2014, https://github.com/ANL-CESAR/XSBench")
class HashLookup(CrossSections):
    """Look-ups in hashed energy grids, as XSBench's: for each nuclide of a material, the two points around an energy.

    A look-up draws an energy and one of twelve materials; for each of its nuclides the bin of the energy bounds a
    binary search in the nuclide's sorted grid. In memory, in this order, each from a page of 4 KiB on: the nuclides of
    the materials (4 bytes each), their densities (8), for each bin and nuclide where to begin (4), for each nuclide
    and point an energy and five cross sections (48). Nothing is stored.
    """

    bins: Annotated[int, Param("bins of the energy", unit="count", ge=1, le=1 << 20)] = 10_000

    def program(self) -> Program:
        """The look-ups before their first reference."""
        arrays = self.members, self.densities, self.bounds(self.bins), self.table
        return Program(look_up, *arrays, given=[self.grid, *self.asked], cursor=(0, 0), unit=64)


@compiled
def look_up(
    members: Vertices,
    index: Vertices,
    grid: Reals,
    held: Ints,
    material: Ints,
    energy: Reals,
    memory: Memory,
    cursor: Ints,
    made: Made,
    most: int,
) -> int:
    """A nuclide of a material at a time: the bin bounds the search, which loads energies alone, then the two points."""
    member_at, density_at, index_at, point_at = memory
    lookup, j = cursor
    points, bins = grid.shape[1], len(index) - 1
    k = 0
    while k < most:
        at, sought = material[lookup], energy[lookup]
        nuclide = members[at, j]
        k = load(made, k, member_at, at * members.shape[1] + j)
        k = load(made, k, density_at, at * members.shape[1] + j)
        slot = min(int(sought * bins), bins - 1)
        low, high = index[slot, nuclide], index[slot + 1, nuclide] + 1
        k = load(made, k, index_at, slot * index.shape[1] + nuclide)
        k = load(made, k, index_at, (slot + 1) * index.shape[1] + nuclide)
        while high - low > 1:
            middle = (low + high) // 2
            k = load(made, k, (point_at[0], point_at[1], 8), nuclide * points + middle)
            if grid[nuclide, middle] > sought:
                high = middle
            else:
                low = middle
        k = load(made, k, point_at, nuclide * points + low)
        k = load(made, k, point_at, nuclide * points + low + 1)
        j += 1
        if j == held[at]:
            lookup, j = (lookup + 1) % len(material), 0
    cursor[0], cursor[1] = lookup, j
    return k
