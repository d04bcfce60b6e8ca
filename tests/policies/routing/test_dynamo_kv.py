"""Dynamo's router by hand, and its books against a recount."""

from __future__ import annotations

from collections import Counter
from math import exp
from typing import Any

import numpy as np
import pytest

from tests.oracles.routing import BLOCK, Request, cluster, prompt, router

NAME = "dynamo-kv"


def costs(made: Any, ask: Request, seen: object) -> list[float]:
    return list(made._costs(ask, made._new(ask.blocks), seen))


def test_costs_by_hand() -> None:
    """Three blocks: what is to be computed, and what will be in use."""
    made = router(NAME, 3)
    seen = cluster(3, pending=[100, 0, 0], cached=[1024, 0, 512])
    assert costs(made, prompt(1, 2, 3), seen) == [100 + 512 + 1536, 1536 + 1536, 1024 + 1536]
    assert made.route(prompt(1, 2, 3), seen) == 0
    # now 0 uses 1 2 3; of 1 2 9 it needs one block more
    assert costs(made, prompt(1, 2, 9), cluster(3)) == [1536 + 4 * 512, 1536 + 1536, 1536 + 1536]
    assert costs(made, prompt(1, 2), cluster(3)) == [1024 + 1536, 2048, 2048]
    assert costs(made, prompt(5), cluster(3)) == [512 + 2048, 1024, 1024]
    made.ended([0])
    assert costs(made, prompt(5), cluster(3)) == [1024] * 3


def test_credit_scale_and_requests() -> None:
    seen = cluster(2, pending=[1024, 0], running=[3, 0], waiting=[1, 2], cached=[512, 0])
    ask = prompt(1, 2)
    assert costs(router(NAME, 2), ask, seen) == [1536 + 1024, 1024 + 1024]
    assert costs(router(NAME, 2, credit="50 %"), ask, seen) == [1792 + 1024, 2048]
    assert costs(router(NAME, 2, scale=3), ask, seen) == [3 * 1536 + 1024, 3 * 1024 + 1024]
    assert costs(router(NAME, 2, each=10), ask, seen) == [1536 + 1024 + 40, 2048 + 20]
    # 0 has as much more to compute as the prompt is long: with a decay of 1 its credit falls to a half
    assert costs(router(NAME, 2, decay=1), ask, seen) == [1792 + 1024, 2048]


def test_without_blocks_prompts_count_apart() -> None:
    made = router(NAME, 2)
    ask = Request(prompt=700, block=0)
    first = made.route(ask, cluster(2))
    assert sorted(costs(made, ask, cluster(2))) == [700, 1400]
    made.ended([0])
    assert costs(made, ask, cluster(2)) == [700, 700]
    assert first in (0, 1)


def test_of_equals_any() -> None:
    made = router(NAME, 3)
    drawn = Counter(made._chosen([2.0, 1.0, 1.0]) for _ in range(1000))
    assert set(drawn) == {1, 2}
    assert 400 < drawn[1] < 600


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_temperature(temperature: float) -> None:
    made = router(NAME, 3, temperature=temperature)
    weights = np.array([exp(-cost / temperature) for cost in (0, 0.25, 1)])
    drawn = Counter(made._chosen([100.0, 200.0, 500.0]) for _ in range(20_000))
    for instance, share in enumerate(weights / weights.sum()):
        assert drawn[instance] / 20_000 == pytest.approx(share, abs=0.015)


def test_books_are_those_of_a_recount() -> None:
    rng = np.random.default_rng(6)
    made = router(NAME, 4)
    there: dict[int, tuple[int, list[int]]] = {}
    for number in range(1500):
        way = rng.integers(0, 3, rng.integers(1, 6))
        blocks = [int("1" + "".join(map(str, way[: k + 1])), 4) for k in range(len(way))]
        ask = prompt(*blocks, number=number)
        used = [{block for where, held in there.values() if where == k for block in held} for k in range(4)]
        expected = [ask.prompt + BLOCK * len(held | set(blocks)) for held in used]
        assert costs(made, ask, cluster()) == expected
        there[number] = made.route(ask, cluster()), blocks
        gone = [k for k in there if rng.random() < 0.1]
        made.ended(gone)
        for k in gone:
            del there[k]
    made.ended(list(there))
    assert (made.holders, made.sent) == ({}, {})
    assert made.shared == {instance: {} for instance in range(4)}
    assert made.used == dict.fromkeys(range(4), 0)
