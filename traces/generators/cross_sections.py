"""What the look-ups of cross sections share: materials, nuclides, their energy grids, and what is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final

import numpy as np

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.traces.generators import counter
from tiersim.traces.generators.kernels import Ints, Reals, Room, Running, Vertices

__all__ = ["CrossSections"]

ENERGY: Final = 19  # the random streams: the energies and materials asked for, the members, the grids
MATERIAL: Final = 20
MEMBER: Final = 21
GRID: Final = 22
LOOKUPS: Final = 1 << 18  # as many look-ups, and then the first again
# of XSBench's models: how many nuclides each of the materials beside the fuel has, and how often each is asked for
HELD: Final = (5, 4, 4, 27, 21, 21, 21, 21, 21, 9, 9)
OFTEN: Final = (0.140, 0.052, 0.275, 0.134, 0.154, 0.064, 0.066, 0.055, 0.008, 0.015, 0.025, 0.013)


@config
class CrossSections(Running):
    """Look-ups that draw an energy and one of twelve materials, and find the two points around it of each nuclide."""

    nuclides: Annotated[int, Param("nuclides", unit="count", ge=max(HELD), le=4096)] = 68
    fuel: Annotated[
        int, Param("nuclides of the fuel; 321 of 355 in XSBench's large model", unit="count", ge=1, le=4096)
    ] = 34
    points: Annotated[int, Param("points of the grid of each nuclide", unit="count", ge=2, le=1 << 20)] = 11_303

    def __post_init__(self) -> None:
        if self.fuel > self.nuclides:
            raise StudyError(f"a fuel of {self.fuel:,} nuclides must be made of {self.nuclides:,}")

    @property
    def held(self) -> tuple[int, ...]:
        """How many nuclides each material has, the fuel first."""
        return self.fuel, *HELD

    @cached_property
    def grid(self) -> Reals:
        """The energies of each nuclide's points, sorted."""
        made = np.empty((self.nuclides, self.points))
        for nuclide, row in enumerate(made):  # one by one, for what is drawn takes more room than what is kept
            number = np.arange(nuclide * self.points, (nuclide + 1) * self.points, dtype=np.uint64)
            row[:] = np.sort(counter.share(counter.draw(self.seed, GRID, number)))
        return made

    @property
    def members(self) -> Vertices:
        """The nuclides of each material, in a row as long as the longest."""
        made = np.zeros((len(self.held), max(self.held)), np.int32)
        for place, count in enumerate(self.held):
            numbers = np.arange(place * self.nuclides, (place + 1) * self.nuclides, dtype=np.uint64)
            made[place, :count] = np.argsort(counter.draw(self.seed, MEMBER, numbers), kind="stable")[:count]
        return made

    def bounds(self, bins: int) -> Vertices:
        """For each edge between equal bins of the energy, and each nuclide, its last point not above."""
        edges = np.arange(bins + 1) / bins
        made = np.empty((bins + 1, self.nuclides), np.int32)
        for nuclide in range(self.nuclides):
            below = np.searchsorted(self.grid[nuclide], edges, side="right") - 1
            made[:, nuclide] = np.clip(below, 0, self.points - 2)
        return made

    @property
    def densities(self) -> Room:
        """Room for how much of each nuclide a material has."""
        return Room(8, len(self.held) * max(self.held))

    @property
    def table(self) -> Room:
        """Room for each point of each nuclide: its energy and five cross sections."""
        return Room(48, self.nuclides * self.points)

    @property
    def asked(self) -> tuple[Ints, Ints, Reals]:
        """How many nuclides each material has; the material and the energy of each look-up."""
        number = np.arange(LOOKUPS, dtype=np.uint64)
        chosen = counter.share(counter.draw(self.seed, MATERIAL, number))
        often = np.cumsum(OFTEN)
        material = np.searchsorted(often, chosen * often[-1], side="right").astype(np.int64)
        return np.array(self.held, np.int64), material, counter.share(counter.draw(self.seed, ENERGY, number))
