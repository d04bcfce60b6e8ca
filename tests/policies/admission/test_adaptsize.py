"""AdaptSize: its model against the equations of the paper, and against what an LRU cache does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tiersim._base.registry import build
from tiersim.policies.admission import adaptsize
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import requests_from


def hit_ratio(sizes: list[int], rates: list[float], capacity: int, scale: float) -> tuple[float, float]:
    """The equations of the paper, object by object: the hit ratio and the time that solves for the capacity."""

    def inside(time: float) -> list[float]:
        lets_in = [math.exp(-size / scale) for size in sizes]
        grown = [math.expm1(min(rate * time, 600)) for rate in rates]
        return [p * more / (1 + p * more) for p, more in zip(lets_in, grown, strict=True)]

    low, high = 0.0, 1e9
    for _ in range(200):
        time = (low + high) / 2
        if sum(size * share for size, share in zip(sizes, inside(time), strict=True)) < capacity:
            low = time
        else:
            high = time
    return sum(rate * share for rate, share in zip(rates, inside(high), strict=True)), high


def cells_of(sizes: list[int], rates: list[float]) -> tuple[list[float], int]:
    cells = [0.0] * (adaptsize.CELL * adaptsize.CLASSES**2)
    return cells, adaptsize.gather(cells, rates, sizes, len(sizes))


@pytest.mark.parametrize("scale", [4.0, 64.0, 1e5])
def test_the_model_is_that_of_the_paper(scale: float) -> None:
    # sizes and rates that are octaves apart are not taken together
    sizes = [1 << k for k in range(10)]
    rates = [0.5 / 2 ** (k * 3 % 10) for k in range(10)]
    cells, n = cells_of(sizes, rates)
    assert n == 10
    tuned = [0.0, 0.0, -1.0]
    adaptsize.attempt(cells, tuned, n, 300, 1 << 60, scale)
    expected, time = hit_ratio(sizes, rates, 300, scale)
    assert tuned == [scale, pytest.approx(time, rel=1e-5), pytest.approx(expected, rel=1e-5)]


def test_the_best_scale_is_found() -> None:
    rng = np.random.default_rng(1)
    sizes = (rng.pareto(1.2, 500) * 50 + 1).astype(int).tolist()
    shares = 1 / np.arange(1, 501)
    rates = rng.permutation(shares / shares.sum()).tolist()
    capacity = sum(sizes) // 10
    cells, n = cells_of(sizes, rates)
    assert n < 400
    tuned = [0.0, 0.0, 0.0]
    adaptsize.tune(cells, tuned, n, capacity, 1 << 60)
    best = max(hit_ratio(sizes, rates, capacity, 2 ** (k / 4))[0] for k in range(80))
    assert hit_ratio(sizes, rates, capacity, tuned[0])[0] > best - 0.005
    # a time that the interval does not reach is not believed
    adaptsize.tune(cells, tuned, n, capacity, 3000)
    assert tuned[1] <= 3000


def stream() -> tuple[Any, Any]:
    """Independent requests for objects some of which are large and asked for as often as others."""
    rng = np.random.default_rng(3)
    shares = 1 / np.arange(1, 2001)
    ids = rng.choice(2000, 60_000, p=shares / shares.sum())
    sizes = np.where(rng.random(2000) < 0.1, 1000, 10)
    return ids, sizes


def ratio(admission: Any, capacity: int = 10_000) -> float:
    ids, sizes = stream()
    gate = build("admission", admission) if admission else None
    lru = build("object-replacement", "lru")
    requests = requests_from(ids, size=sizes[ids])
    done = replay_objects(lru, capacity, requests, admission=gate, warm_up=30_000)
    return done.totals.hits / done.totals.requests


def test_the_model_foresees_what_lru_does() -> None:
    ids, sizes = stream()
    rates = (np.bincount(ids, minlength=2000) / len(ids)).tolist()
    for scale in (500, 2000, 100_000):
        found = ratio({"use": "probabilistic", "probability": "100%", "scale": f"{scale}B"})
        assert found == pytest.approx(hit_ratio(sizes.tolist(), rates, 10_000, scale)[0], abs=0.02)


def test_it_hits_more_than_without() -> None:
    tuned = ratio({"use": "adaptsize", "interval": 8000})
    assert tuned > ratio(None) + 0.1
    assert tuned > ratio({"use": "probabilistic", "probability": "100%", "scale": "10000B"})
    assert tuned != ratio({"use": "adaptsize", "interval": 500})
    assert tuned != ratio({"use": "adaptsize", "interval": 8000, "smoothing": "90%"})
