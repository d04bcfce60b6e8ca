"""Routers where instances come and go: answers are places among those that are up, and books follow."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.oracles.routing import BLOCK, Request, cluster, prompt, router
from tests.policies.routing.test_preble import where
from tiersim._base.registry import index, load

ROUTERS = sorted(
    name for name, entry in index("routing").items() if name == entry.name and hasattr(load("routing", name), "route")
)
SECOND = 10**12


@pytest.mark.parametrize("name", ROUTERS)
def test_whoever_is_up_takes_it(name: str) -> None:
    """Instances go, come back and are new; those that were lost come again with their numbers."""
    rng = np.random.default_rng(9)
    made = router(name, 4)
    up, where, number = [0, 1, 2, 3], dict[int, int](), 0
    for now in ([0, 1, 2, 3], [0, 2, 3], [2], [], [1, 2], [0, 1, 2, 3, 4, 6], [4, 6], [0, 1, 2, 3]):
        again = [held for held, instance in where.items() if instance not in now]
        up = now
        if hasattr(made, "changed"):
            made.changed(up)
        if not up:
            continue
        for ask in [*again, *range(number, number + 60)]:
            way = np.random.default_rng(ask).integers(0, 3, 1 + ask % 6)
            blocks = [int("1" + "".join(map(str, way[: k + 1])), 4) for k in range(len(way))]
            columns = {
                key: rng.integers(0, 9, len(up)).tolist() for key in ("waiting", "running", "pending", "prompts")
            }
            cached = (BLOCK * rng.integers(0, len(blocks) + 1, len(up))).tolist()
            seen = cluster(len(up), **columns, cached=cached)
            place = made.route(prompt(*blocks, number=ask, time=number * SECOND, session=ask % 9 - 1), seen)
            assert place in range(len(up))
            where[ask] = up[place]
            gone = [held for held in where if rng.random() < 0.03]
            if hasattr(made, "ended"):
                made.ended(gone)
            for held in gone:
                del where[held]
        number += 60
    if hasattr(made, "ended"):
        made.ended(list(where))
        held: Any = made.leaves if name == "preble" else made.sent
        assert held == {}


@pytest.mark.parametrize("name", ["cache-affinity", "consistent-hash", "dualmap-no-rebalance", "session-hash"])
def test_a_smaller_cluster_is_as_one_that_began_smaller(name: str) -> None:
    made, small = router(name, 8), router(name, 5)
    if hasattr(made, "changed"):
        made.changed(range(5))
    for k in range(200):
        ask = prompt(k // 3, 1000 + k, session=k % 50)
        assert made.route(ask, cluster(5)) == small.route(ask, cluster(5))


def test_sessions_on_a_ring_stay_but_for_those_of_who_left() -> None:
    made = router("consistent-hash", 4)
    before = [made.route(prompt(1, session=k), cluster(4)) for k in range(300)]
    made.changed([0, 2, 3])
    after = [[0, 2, 3][made.route(prompt(1, session=k), cluster(3))] for k in range(300)]
    assert all(new == old for old, new in zip(before, after, strict=True) if old != 1)


def test_trees_of_who_left_are_gone() -> None:
    made = router("sglang-cache-aware", 3)
    made.route(prompt(1, 2), cluster(3))
    made.route(prompt(5), cluster(3))
    made.changed([1, 2])
    assert made.holders == {5: {1: None}}
    assert made.route(prompt(1, 2), cluster(2)) == 1  # nobody has it: 2 has the smallest tree
    made.changed([0, 1, 2])
    assert made.route(prompt(9), cluster(3)) == 0


def test_dynamo_forgets_what_was_lost_and_counts_once_what_comes_again() -> None:
    made = router("dynamo-kv", 2)
    first = made.route(prompt(1, 2, number=0), cluster(2))
    made.route(prompt(1, 2, number=0), cluster(2))  # again
    assert sum(made.used.values()) == 2 * BLOCK
    made.changed([5])
    assert (made.used, made.sent, made.holders) == ({5: 0}, {}, {})
    made.ended([0])
    assert made.route(prompt(1, 2, number=0), cluster(1)) == 0
    assert made.used == {5: 2 * BLOCK}
    assert first in (0, 1)


def test_preble_forgets_who_computed_it() -> None:
    made = router("preble", 3, tpot="0 s")
    assert [made.route(prompt(k, k + 1, number=k), cluster(3)) for k in (10, 20, 30)] == [0, 1, 2]
    made.changed([0, 2])
    assert where(made)[20].instances == set()
    assert list(made.costs) == [0, 2]
    assert made.route(prompt(30, 31, 32, number=33), cluster(2)) == 1
    made.route(prompt(20, 21, 22, number=23), cluster(2))
    assert where(made)[20].instances == {0}
    made.changed([0, 1, 2])
    assert made.route(prompt(40, number=40), cluster(3)) == 1


def test_preble_forgets_prompts_without_blocks_too() -> None:
    made = router("preble", 2, window="1 s")
    assert [made.route(Request(k, 0, 100, -1, 0, []), cluster(2)) for k in (0, 1)] == [0, 1]
    made.changed([1])
    assert list(made.costs) == [1]
    assert made.route(Request(2, 3 * SECOND, 100, -1, 0, []), cluster(1)) == 0


def test_the_stack_counts_by_instance() -> None:
    made = router("production-stack", 3, rule="session")
    assert [made.route(prompt(1), cluster(3)) for _ in range(4)] == [0, 1, 2, 0]
    made.changed([1, 2, 7])
    assert Counter(made.route(prompt(1), cluster(3)) for _ in range(4)) == {2: 2, 0: 1, 1: 1}
