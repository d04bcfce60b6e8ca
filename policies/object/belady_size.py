"""Belady's rule with sizes."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.chances import below, draws
from tiersim.policies.object.contract import NEVER, State, Words
from tiersim.policies.object.seats import rise, seats, sit

WIDTH = 2  # of a row
USE = 1
OUT, DEAD = -1, -2  # in `seat`


@register(
    "belady-size",
    family="object-replacement",
    aliases=("belady-sized",),
    paper="Berger, Beckmann, Harchol-Balter, POMACS 2(2), 2018, doi:10.1145/3224427 (on bounds with sizes)",
)
class BeladySize:
    """Evicts, of some objects drawn at random, the one that holds the most bytes for the longest time until it is used.

    That is the largest product of size and requests until the next use; of equal ones the first drawn leaves. What is
    not used again leaves first, whatever was drawn. It is a rule of thumb and no bound: with sizes that differ the best
    is not known to be computable in reasonable time. With ``samples: 0`` all objects are looked at, slowly.

    libCacheSim draws in the same way (its sources of 2024), but does not let in what is not used again and drops an
    object at its last use. Here what is missed enters, so that it has the room for one such object less.
    """

    samples: Annotated[int, Param("objects drawn; 0: all", ge=0, le=4096, source="libCacheSim 0.3.5")] = 128

    needs_future: ClassVar[bool] = True
    random: ClassVar[bool] = True

    @staticmethod
    def state(objects: int, most: int, seed: int) -> State:
        return seats(most, objects, WIDTH) | {
            "draws": draws(seed),
            "dead": np.zeros(objects + 1, np.int32),  # a stack above its height: who is not used again
        }

    @staticmethod
    def lookup(seat: Words, x: int) -> bool:
        return seat[x] != OUT

    @staticmethod
    def touch(rows: Words, seat: Words, seated: Words, dead: Words, x: int, next_use: int) -> None:
        if next_use != NEVER:
            rows[seat[x] * WIDTH + USE] = next_use
        else:
            rise(rows, seat, seated, WIDTH, x)
            bury(seat, dead, x)

    @staticmethod
    def insert(rows: Words, seat: Words, seated: Words, dead: Words, x: int, next_use: int) -> None:
        if next_use != NEVER:
            rows[sit(rows, seat, seated, WIDTH, x) + USE] = next_use
        else:
            bury(seat, dead, x)

    @staticmethod
    def victim(rows: Words, seated: Words, draws: Words, dead: Words, sizes: Words, now: int, samples: int) -> int:
        if dead[0] > 0:
            return dead[dead[0]]
        victim = -1
        most = 0
        for k in range(samples if samples > 0 else seated[0]):
            row = (below(draws, seated[0]) if samples > 0 else k) * WIDTH
            worth = (rows[row + USE] - now) * max(sizes[rows[row]], 1)
            if victim < 0 or worth > most:
                victim = rows[row]
                most = worth
        return victim

    @staticmethod
    def remove(rows: Words, seat: Words, seated: Words, dead: Words, x: int) -> None:
        if seat[x] == DEAD:
            dead[0] -= 1
            seat[x] = OUT
        else:
            rise(rows, seat, seated, WIDTH, x)


def bury(seat: Words, dead: Words, x: int) -> None:
    """Put x on the stack; it leaves it as a victim only, as it is not asked for again."""
    dead[0] += 1
    dead[dead[0]] = x
    seat[x] = DEAD
