"""AdaptSize: admission by size whose scale is tuned with a model of the cache."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.chances import chance, draws, exponential
from tiersim.policies.object.contract import Reals, State, Words

PAPER = "the paper"
FIRST = 1000  # the first tuning; the next ones after twice as many until `interval` is reached
OFTEN = 1 << 40  # requests in the unit that rates are sorted by
CLASSES = 256  # of sizes, and as many of rates: four an octave
NUMBER, BYTES, RATE, ADMITTED, CELL = range(5)  # words of a cell; CELL is how many they are
STEPS = 24  # of the search for the time
SCALE_OF, TIME_OF, BEST_OF = range(3)


@register(
    "adaptsize",
    family="admission",
    aliases=("adapt-size",),
    paper="Berger, Sitaraman, Harchol-Balter, NSDI 2017, usenix.org/conference/nsdi17",
)
class AdaptSize:
    """Lets a missed object in with probability e^(-size / c), where c is tuned to hit as often as a model can foresee.

    The model: an LRU cache keeps an object for a time T after each request. A request for an object of rate r finds it
    with probability p (1 - q) / (p (1 - q) + q), where p is the probability to be let in and q = e^(-rT); T is the one
    for which the sizes of what is found add up to the capacity. After each `interval` of requests the hit ratio is
    worked out for every power of two as c, then for quarter octaves around the best; of equal ones the largest wins.
    Rates are those of the last interval, smoothed over the ones before it.

    The model knows a cache in its steady state only, which takes about T to reach, and longest for the smallest c. One
    whose T is longer than the interval that was measured is not considered, as nothing bears it out. Without this,
    which is not in the paper, a short trace ends with next to nothing let in.

    The paper leaves open how it begins: here c is the capacity, and the first tunings come after 1000 requests and then
    twice as many each time. Objects that have nearly the same size and rate, within a quarter octave, are taken
    together with their means, so that a tuning takes as long as there are different kinds and not objects.
    """

    interval: Annotated[int, Param("requests between two tunings", ge=1, source=PAPER)] = 250_000
    smoothing: Annotated[
        int, Param("weight of the last interval", unit="ratio", ge=1, le=10**9, source="the authors' simulator")
    ] = 3 * 10**8

    random: ClassVar[bool] = True

    def state(self, objects: int, capacity: int, seed: int) -> State:
        return {
            "draws": draws(seed),
            "asked": np.zeros(objects, np.int32),
            "bytes_of": np.zeros(objects, np.int64),
            "rate": np.zeros(objects, np.float64),
            "cells": np.zeros(CELL * CLASSES * CLASSES, np.float64),
            "tuned": np.array([float(capacity), 0.0, 0.0]),  # c, its T, its hit ratio
            "until": np.array([min(FIRST, self.interval), 0, 0], np.int64),  # interval, requests in it, tunings
        }

    @staticmethod
    def seen(
        asked: Words,
        bytes_of: Words,
        rate: Reals,
        cells: Reals,
        tuned: Reals,
        until: Words,
        objects: int,
        capacity: int,
        x: int,
        size: int,
        interval: int,
        smoothing: int,
    ) -> None:
        asked[x] += 1
        bytes_of[x] = size
        until[1] += 1
        if until[1] < until[0]:
            return
        weight = smoothing / 1e9 if until[2] > 0 else 1.0
        for v in range(objects):
            if asked[v] > 0 or rate[v] > 0.0:
                rate[v] = weight * asked[v] / until[1] + (1.0 - weight) * rate[v]
                asked[v] = 0
        tune(cells, tuned, gather(cells, rate, bytes_of, objects), capacity, until[1])
        until[0] = min(2 * until[0], interval)
        until[1] = 0
        until[2] += 1

    @staticmethod
    def admit(draws: Words, tuned: Reals, size: int) -> bool:
        return chance(draws) < exponential(-size / tuned[SCALE_OF])


def gather(cells: Reals, rate: Reals, bytes_of: Words, objects: int) -> int:
    """Make the cells: how many objects of each kind, their mean size and rate. Returns how many kinds there are."""
    for at in range(CELL * CLASSES * CLASSES):
        cells[at] = 0.0
    for v in range(objects):
        often = int(rate[v] * OFTEN)
        if often == 0:
            rate[v] = 0.0
        else:
            at = CELL * (kind(max(bytes_of[v], 1)) * CLASSES + kind(often))
            cells[at + NUMBER] += 1.0
            cells[at + BYTES] += bytes_of[v]
            cells[at + RATE] += rate[v]
    n = 0
    for k in range(CLASSES * CLASSES):
        at = CELL * k
        if cells[at + NUMBER] > 0.0:
            to = CELL * n
            number = cells[at + NUMBER]
            cells[to + BYTES] = cells[at + BYTES] / number
            cells[to + RATE] = cells[at + RATE] / number
            cells[to + NUMBER] = number
            n += 1
    return n


def kind(number: int) -> int:
    """The quarter octave of a number of at least 1."""
    octave = 0
    while number >> octave > 7:
        octave += 1
    return 4 * octave + (number >> octave)


def tune(cells: Reals, tuned: Reals, n: int, capacity: int, horizon: int) -> None:
    """Find the scale for which the model hits most."""
    tuned[BEST_OF] = -1.0
    scale = 1.0
    while scale < capacity:
        scale *= 2.0
    while scale >= 1.0:
        attempt(cells, tuned, n, capacity, horizon, scale)
        scale /= 2.0
    middle = tuned[SCALE_OF]
    for factor in range(3, -4, -1):
        quarter = 1.0
        for _ in range(max(factor, -factor)):
            quarter *= 1.189207115002721  # the fourth root of two
        scale = middle * quarter if factor > 0 else middle / quarter
        if scale >= 1.0:
            attempt(cells, tuned, n, capacity, horizon, scale)


def attempt(cells: Reals, tuned: Reals, n: int, capacity: int, horizon: int, scale: float) -> None:
    """Work out the hit ratio with a scale, and keep it if it is the best so far."""
    for k in range(n):
        cells[CELL * k + ADMITTED] = exponential(-cells[CELL * k + BYTES] / scale)
    high = 1.0
    while high < 1e15 and held(cells, n, high, BYTES) < capacity:
        high *= 4.0
    low = high / 4.0
    for _ in range(STEPS):
        time = (low + high) / 2.0
        if held(cells, n, time, BYTES) < capacity:
            low = time
        else:
            high = time
    hits = held(cells, n, high, RATE)
    if hits > tuned[BEST_OF] and (high <= horizon or tuned[BEST_OF] < 0.0):
        tuned[BEST_OF] = hits
        tuned[SCALE_OF] = scale
        tuned[TIME_OF] = high


def held(cells: Reals, n: int, time: float, what: int) -> float:
    """The sum over all objects of their size, or of their rate, times the probability to be in the cache."""
    total = 0.0
    for k in range(n):
        at = CELL * k
        admitted = cells[at + ADMITTED]
        if admitted > 0.0:
            gone = exponential(-cells[at + RATE] * time)
            inside = admitted * (1.0 - gone)
            total += cells[at + NUMBER] * cells[at + what] * inside / (inside + gone)
    return total
