"""SGLang's router by hand."""

from __future__ import annotations

import numpy as np

from tests.oracles.routing import Request, cluster, prompt, router

NAME = "sglang-cache-aware"
SECOND = 10**12


def test_it_follows_the_tree_where_more_than_half_is_there() -> None:
    made = router(NAME, 3)
    assert made.route(prompt(1, 2, 3), cluster(3)) == 0  # all trees are empty
    assert made.route(prompt(4), cluster(3)) == 1  # 3 blocks, 0, 0
    assert made.route(prompt(1, 2, 9), cluster(3)) == 0  # two of three are there
    assert made.route(prompt(4, 5), cluster(3)) == 2  # one of two is no more than half: 4, 1, 0
    assert made.route(prompt(4, 5, 6), cluster(3)) == 2  # two of three
    assert made.route(prompt(7), cluster(3)) == 1  # 4, 1, 3
    assert made.route(prompt(4), cluster(3)) == 1  # 1 and 2 have it, 1 got it first


def test_the_threshold_is_a_share_of_tokens() -> None:
    """Of 700 tokens a block of 512 is 73 %."""
    for match, expected in (("73 %", 0), ("74 %", 1)):
        made = router(NAME, 2, match=match)
        assert made.route(prompt(1, 2), cluster(2)) == 0
        assert made.route(Request(prompt=700, blocks=[1, 5]), cluster(2)) == expected


def test_uneven_loads() -> None:
    """The difference must be above 32, and the greatest above 1.1 times the least; both are needed."""
    for running, expected in (([33, 0], 1), ([32, 0], 0), ([363, 330], 0), ([364, 330], 1), ([200, 190], 0)):
        made = router(NAME, 2)
        made.route(prompt(1), cluster(2))
        assert made.route(prompt(1), cluster(2, running=running)) == expected
    waits = router(NAME, 2)
    waits.route(prompt(1), cluster(2))
    assert waits.route(prompt(1), cluster(2, running=[20, 0], waiting=[13, 0])) == 1


def test_what_loads_decide_is_in_the_tree_too() -> None:
    made = router(NAME, 2)
    made.route(prompt(1), cluster(2, running=[99, 0]))
    assert made.route(prompt(1), cluster(2)) == 1


def test_the_tree_forgets() -> None:
    """Of 1 2 3 and 1 4, with room for three, the leaf that was used longest ago goes at 30 s: 3. So 2/3 is left."""
    for match, expected in (("60 %", 0), ("70 %", 1)):
        made = router(NAME, 2, tree=3, match=match)
        assert made.route(prompt(1, 2, 3), cluster(2)) == 0
        assert made.route(prompt(8, 9), cluster(2)) == 1
        assert made.route(prompt(1, 4, time=SECOND), cluster(2, running=[0, 99])) == 0
        assert list(made.trees[0]) == [3, 2, 4, 1]
        assert made.route(prompt(8, 9, time=29 * SECOND), cluster(2)) == 1
        assert list(made.trees[0]) == [3, 2, 4, 1]
        assert made.route(prompt(1, 2, 3, time=30 * SECOND), cluster(2)) == expected


def test_trees_and_holders_agree() -> None:
    rng = np.random.default_rng(5)
    made = router(NAME, 4, tree=20, every="1 s", difference=3)
    for number in range(2000):
        way = rng.integers(0, 3, rng.integers(1, 6))
        blocks = [int("1" + "".join(map(str, way[: k + 1])), 4) for k in range(len(way))]
        loads = rng.integers(0, 5, 4).tolist()
        made.route(prompt(*blocks, number=number, time=number * SECOND // 10), cluster(4, running=loads))
        held: dict[int, set[int]] = {}
        for instance, tree in made.trees.items():
            for block in tree:
                held.setdefault(block, set()).add(instance)
                assert block < 16 or block // 4 in tree  # what it stands on is there
        assert held == {block: set(holders) for block, holders in made.holders.items()}
    made._evict()
    assert max(map(len, made.trees.values())) <= 20
