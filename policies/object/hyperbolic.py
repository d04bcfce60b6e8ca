"""Hyperbolic caching."""

from __future__ import annotations

from typing import Annotated, ClassVar

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.chances import below, draws
from tiersim.policies.object.contract import State, Words
from tiersim.policies.object.seats import rise, seats, sit

WIDTH = 3  # of a row
ENTERED, USES = 1, 2


@register(
    "hyperbolic",
    family="object-replacement",
    paper="Blankstein, Sen, Freedman, USENIX ATC 2017, usenix.org/conference/atc17",
)
class Hyperbolic:
    """Evicts, of some objects drawn at random, the one with the least uses per time since its entry.

    The entry counts as one use and time is counted in requests. The draw is with replacement; of equal ones the first
    drawn leaves. With `sizes_count` uses are also divided by the size, as in the paper's version for sizes that differ;
    its classes of objects with a cost are left out. Without, misses agree with libCacheSim 0.3.5 as far as chance
    allows.
    """

    samples: Annotated[int, Param("objects drawn", ge=1, le=1024, source="the paper: 64")] = 64
    sizes_count: Annotated[bool, Param("divide by the size", source="libCacheSim 0.3.5 does not")] = False

    random: ClassVar[bool] = True

    @staticmethod
    def state(objects: int, most: int, seed: int) -> State:
        return seats(most, objects, WIDTH) | {"draws": draws(seed)}

    @staticmethod
    def lookup(seat: Words, x: int) -> bool:
        return seat[x] >= 0

    @staticmethod
    def touch(rows: Words, seat: Words, x: int) -> None:
        rows[seat[x] * WIDTH + USES] += 1

    @staticmethod
    def insert(rows: Words, seat: Words, seated: Words, x: int, now: int) -> None:
        row = sit(rows, seat, seated, WIDTH, x)
        rows[row + ENTERED] = now
        rows[row + USES] = 1

    @staticmethod
    def victim(
        rows: Words, seated: Words, draws: Words, sizes: Words, now: int, samples: int, sizes_count: bool
    ) -> int:
        victim = -1
        least = 0.0
        for _ in range(samples):
            row = below(draws, seated[0]) * WIDTH
            age = max(now - rows[row + ENTERED], 1)
            worth = rows[row + USES] / age
            if sizes_count:
                worth /= max(sizes[rows[row]], 1)
            if victim < 0 or worth < least:
                victim = rows[row]
                least = worth
        return victim

    @staticmethod
    def remove(rows: Words, seat: Words, seated: Words, x: int) -> None:
        rise(rows, seat, seated, WIDTH, x)
