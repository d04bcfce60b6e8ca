"""Groups of objects, and a Markov chain that goes from one to the other."""

from __future__ import annotations

import itertools
import math
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import exact, tape
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled, real, word
from tiersim.traces.generators.objects import PopularObjects
from tiersim.traces.generators.tape import Machine, Tape

MOVE: Final = 7  # the random stream that says where the chain goes
MOST: Final = 4096  # groups
ROUNDING: Final = 1e-9


@register("markov-objects", family="generator")
class MarkovObjects(PopularObjects):
    """Requests for objects of groups, popular in each by Zipf's law; a Markov chain moves from group to group.

    ``transitions`` has a row for each group: with which probability each group is that of the next request. The chain
    begins in the first; in the long run a group gets the share of the requests that the chain's stationary distribution
    says. With one object a group it is a chain of objects.
    """

    uses: ClassVar[tuple[str, ...]] = (tape.__name__,)

    objects: Annotated[int, Param("objects of each group", unit="count", ge=1, le=1 << 32)] = 50_000
    transitions: Annotated[
        list[list[float]], Param("for each group, the probability of each group to follow; each row adds up to 1")
    ] = field(default_factory=lambda: [[0.9999, 0.0001], [0.0004, 0.9996]])

    def __post_init__(self) -> None:
        super().__post_init__()
        groups = len(self.transitions)
        if not 1 <= groups <= MOST:
            raise StudyError(f"transitions: must have a row for each of 1 to {MOST:,} groups, and has {groups:,}")
        for number, row in enumerate(self.transitions, 1):
            if len(row) != groups:
                raise StudyError(f"transitions: row {number} has {len(row)} probabilities, and there are {groups} rows")
            if not all(0 <= chance <= 1 for chance in row) or abs(math.fsum(row) - 1) > ROUNDING:
                raise StudyError(f"transitions: row {number} must be of probabilities that add up to 1, and is {row}")

    @cached_property
    def _tape(self) -> Tape:
        limits = np.array([list(itertools.accumulate(row)) for row in self.transitions])
        for row, limit in zip(self.transitions, limits):  # what rounding leaves out belongs to the last that can follow
            limit[max(place for place, chance in enumerate(row) if chance) :] = 1.0
        seed = self.seed
        return Tape(lambda: Machine(_move, limits, exact.root(seed), np.zeros(2, np.int64)), np.int64)

    def keys(self, index: Words) -> Words:
        """The key of each request, from the number of its record; these come in order."""
        (group,) = self._tape.read(int(index[0]), len(index))
        return self.popular(index) + group.astype(np.uint64) * np.uint64(self.objects)


@compiled
def _move(limits: NDArray[np.float64], root: np.uint64, cursor: NDArray[np.int64], made: Any, most: int) -> int:
    """The groups of the next requests."""
    at, group = cursor
    (groups,) = made
    for k in range(most):
        if at > 0:
            drawn = real(word(root, MOVE, np.uint64(at)))
            low, high = 0, limits.shape[1] - 1  # the first whose limit is above
            while low < high:
                middle = (low + high) // 2
                if limits[group, middle] > drawn:
                    high = middle
                else:
                    low = middle + 1
            group = low
        groups[k] = group
        at += 1
    cursor[0], cursor[1] = at, group
    return most
