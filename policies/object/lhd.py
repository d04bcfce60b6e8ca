"""LHD, least hit density."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.chances import below, draws
from tiersim.policies.object.contract import Reals, State, Words
from tiersim.policies.object.seats import rise, seats, sit

AUTHORS = "the authors' simulator"
WIDTH = 5  # of a row
LAST, AGE, AGE_BEFORE, EXPLORES = 1, 2, 3, 4
CLASSES = 16
FIRST_COARSENING = 10
KEEPS = 0.9  # of old statistics at each reconfiguration, and of the density of victims at each eviction
EXPLORING = 50  # reconfigurations during which there are explorers, and few samples
FEW = 8
EXPLORERS = 32  # one object out of so many becomes an explorer
TOLERANCE = 100  # ages that an object of the mean lifetime goes through, at least
CLOCK, LEFT, DONE, COARSE, BUDGET, NEWCOMER, AGES = range(7)  # in `n`
DENSITY_OF_VICTIMS, OBJECTS_SUM, OBJECTS_WEIGHT = range(3)  # in `means`


@register(
    "lhd",
    family="object-replacement",
    paper="Beckmann, Chen, Cidon, NSDI 2018, usenix.org/conference/nsdi18",
)
class Lhd:
    """Evicts, of some objects drawn at random, the one that is expected to hit least for the space and time it takes.

    This is its hit density: how probable a hit is, over the time that it will stay until it hits or leaves, over its
    size. It is worked out by age, for each class of objects, from the ages at which objects of the class hit and were
    evicted; statistics are renewed every `interval` requests, and old ones count 0.9 as much each time. The class of an
    object is how long its last two hits took, in octaves. Ages are counted in steps of a power of two requests, chosen
    at the fifth and the 25th renewal by the number of objects held.

    As in the authors' simulator: before the first renewal density is (class + 1) / (age + 1); the last `newcomers`
    objects that entered with less than what victims have are looked at too; one object of 32 is an explorer, which is
    kept, for at most a hundredth of the capacity, and until the 50th renewal, up to which 8 objects are drawn. Their
    classes of applications are left out, as traces do not name them. On 20 M Zipf requests misses are within 1 % of
    libCacheSim 0.3.5; on a few hundred thousand, before the first renewal, that one does otherwise than published.
    """

    samples: Annotated[int, Param("objects drawn", ge=1, le=1024, source=AUTHORS)] = 32
    newcomers: Annotated[int, Param("objects that entered lately", ge=1, le=1024, source=AUTHORS)] = 8
    ages: Annotated[int, Param("steps of age", ge=64, le=10**6, source=AUTHORS)] = 20_000
    interval: Annotated[int, Param("requests between two renewals", ge=1, source=AUTHORS)] = 1 << 20

    random: ClassVar[bool] = True

    def state(self, objects: int, capacity: int, most: int, seed: int) -> State:
        n = np.zeros(7, np.int64)
        n[LEFT], n[COARSE], n[BUDGET], n[AGES] = self.interval, FIRST_COARSENING, capacity // 100, self.ages
        first = np.arange(1, CLASSES + 1)[:, None] / np.arange(1, self.ages + 1)
        own: State = {
            "hits": np.zeros(CLASSES * self.ages, np.float64),
            "evictions": np.zeros(CLASSES * self.ages, np.float64),
            "density": first.reshape(-1),
            "means": np.zeros(3, np.float64),
            "lately": np.full(self.newcomers, -1, np.int64),
            "n": n,
            "draws": draws(seed),
        }
        return seats(most, objects, WIDTH) | own

    @staticmethod
    def lookup(seat: Words, x: int) -> bool:
        return seat[x] >= 0

    @staticmethod
    def touch(
        rows: Words,
        seat: Words,
        seated: Words,
        hits: Reals,
        evictions: Reals,
        density: Reals,
        means: Reals,
        n: Words,
        draws: Words,
        sizes: Words,
        x: int,
        interval: int,
    ) -> None:
        row = seat[x] * WIDTH
        age = age_of(rows, n, row)
        hits[class_of(rows, n, row) * n[AGES] + age] += 1.0
        if rows[row + EXPLORES]:
            n[BUDGET] += sizes[x]
        rows[row + AGE_BEFORE] = rows[row + AGE]
        rows[row + AGE] = age
        settle(rows, n, draws, row, sizes[x])
        tick(hits, evictions, density, means, n, seated[0], interval)

    @staticmethod
    def insert(
        rows: Words,
        seat: Words,
        seated: Words,
        hits: Reals,
        evictions: Reals,
        density: Reals,
        means: Reals,
        lately: Words,
        n: Words,
        draws: Words,
        x: int,
        size: int,
        interval: int,
        newcomers: int,
    ) -> None:
        row = sit(rows, seat, seated, WIDTH, x)
        rows[row + AGE] = 0
        rows[row + AGE_BEFORE] = n[AGES]
        lucky = settle(rows, n, draws, row, size)
        if not lucky and worth(rows, density, n, row, size) < means[DENSITY_OF_VICTIMS]:
            lately[n[NEWCOMER]] = x
            n[NEWCOMER] = (n[NEWCOMER] + 1) % newcomers
        tick(hits, evictions, density, means, n, seated[0], interval)

    @staticmethod
    def victim(
        rows: Words,
        seat: Words,
        seated: Words,
        density: Reals,
        means: Reals,
        lately: Words,
        n: Words,
        draws: Words,
        sizes: Words,
        samples: int,
        newcomers: int,
    ) -> int:
        victim = -1
        least = 0.0
        for _ in range(samples if n[DONE] > EXPLORING else min(samples, FEW)):
            row = below(draws, seated[0]) * WIDTH
            value = worth(rows, density, n, row, sizes[rows[row]])
            if victim < 0 or value < least:
                victim = rows[row]
                least = value
        for k in range(newcomers):
            x = lately[k]
            if x >= 0 and seat[x] >= 0:
                value = worth(rows, density, n, seat[x] * WIDTH, sizes[x])
                if value < least:
                    victim = x
                    least = value
        means[DENSITY_OF_VICTIMS] = KEEPS * means[DENSITY_OF_VICTIMS] + (1.0 - KEEPS) * least
        return victim

    @staticmethod
    def evict(rows: Words, seat: Words, seated: Words, evictions: Reals, n: Words, sizes: Words, x: int) -> None:
        row = seat[x] * WIDTH
        evictions[class_of(rows, n, row) * n[AGES] + age_of(rows, n, row)] += 1.0
        Lhd.remove(rows, seat, seated, n, sizes, x)

    @staticmethod
    def remove(rows: Words, seat: Words, seated: Words, n: Words, sizes: Words, x: int) -> None:
        if rows[seat[x] * WIDTH + EXPLORES]:
            n[BUDGET] += sizes[x]
        rise(rows, seat, seated, WIDTH, x)


def age_of(rows: Words, n: Words, row: int) -> int:
    """The age of an object since its last request, in steps."""
    return min((n[CLOCK] - rows[row + LAST]) >> n[COARSE], n[AGES] - 1)


def class_of(rows: Words, n: Words, row: int) -> int:
    """The class: the largest for what hit at once, one less for each octave; the smallest for what never hit."""
    age = rows[row + AGE] + rows[row + AGE_BEFORE]
    if age == 0:
        return CLASSES - 1
    octave = 0
    while age < n[AGES] and octave < CLASSES - 1:
        age <<= 1
        octave += 1
    return octave


def worth(rows: Words, density: Reals, n: Words, row: int, size: int) -> float:
    """The hit density of an object; none is less than that of an object too old to be told apart."""
    age = age_of(rows, n, row)
    if age == n[AGES] - 1:
        return -1.0
    value = density[class_of(rows, n, row) * n[AGES] + age] / max(size, 1)
    return value + 1.0 if rows[row + EXPLORES] else value


def settle(rows: Words, n: Words, draws: Words, row: int, size: int) -> bool:
    """Stamp a row with the time and let chance decide whether it explores. Returns what chance said."""
    rows[row + LAST] = n[CLOCK]
    lucky = below(draws, EXPLORERS) == 0
    rows[row + EXPLORES] = 0
    if lucky and n[BUDGET] > 0 and n[DONE] < EXPLORING:
        rows[row + EXPLORES] = 1
        n[BUDGET] -= size
    return lucky


def tick(hits: Reals, evictions: Reals, density: Reals, means: Reals, n: Words, objects: int, interval: int) -> None:
    """Let time pass, and renew the densities when it is time."""
    n[CLOCK] += 1
    n[LEFT] -= 1
    if n[LEFT] > 0:
        return
    n[LEFT] = interval
    ages = n[AGES]
    for at in range(CLASSES * ages):
        hits[at] *= KEEPS
        evictions[at] *= KEEPS
    means[OBJECTS_SUM] = KEEPS * means[OBJECTS_SUM] + objects
    means[OBJECTS_WEIGHT] = KEEPS * means[OBJECTS_WEIGHT] + 1.0
    if n[DONE] == 5 or n[DONE] == 25:
        wanted = means[OBJECTS_SUM] / means[OBJECTS_WEIGHT] * TOLERANCE / ages
        coarse = 1
        while (1 << coarse) < wanted:
            coarse += 1
        means[OBJECTS_SUM] *= 8.0  # that what follows weighs less
        means[OBJECTS_WEIGHT] *= 8.0
        rescale(hits, ages, coarse - n[COARSE])
        rescale(evictions, ages, coarse - n[COARSE])
        n[COARSE] = coarse
    for k in range(CLASSES):
        at = k * ages + ages - 1
        hit = hits[at]
        events = hits[at] + evictions[at]
        time = events
        for _ in range(ages - 1):
            at -= 1
            hit += hits[at]
            events += hits[at] + evictions[at]
            time += events
            density[at] = hit / time if events > 1e-5 else 0.0
    n[DONE] += 1


def rescale(counts: Reals, ages: int, octaves: int) -> None:
    """Move counts to steps of age that are larger by so many octaves, or smaller; the oldest age stays a rest."""
    for k in range(CLASSES):
        first = k * ages
        rest = first + ages - 1
        if octaves > 0:
            for a in range(ages - 1):
                moved = counts[first + a]
                counts[first + a] = 0.0
                counts[first + (a >> octaves)] += moved
        elif octaves < 0:
            finer = -octaves
            for a in range(ages >> finer, ages - 1):
                counts[rest] += counts[first + a]
            for a in range(ages - 2, -1, -1):
                counts[first + a] = counts[first + (a >> finer)] / (1 << finer)
