"""Preble by hand, and its running sums against a recount."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.oracles.routing import BLOCK, Request, cluster, prompt, router

SECOND = 10**12
MICRO = 10**6


def preble(n: int = 2, **parameters: Any) -> Any:
    """A microsecond for a token of a prompt, and nothing for an answer."""
    return router("preble", n, **{"prefill": "1 us/token", "tpot": "0 s", **parameters})


def where(made: Any) -> dict[int, Any]:
    """The node of each block."""
    return {block: node for node in made._nodes() for block in node.blocks}


def costs(made: Any) -> list[int]:
    return list(made.costs.values())


def test_more_than_half_decides() -> None:
    made = preble()
    two = cluster(2)
    assert made.route(prompt(1, 2, 3), two) == 0
    assert costs(made) == [1536 * MICRO, 0]
    assert made.route(prompt(4, number=1), two) == 1  # nothing is there: to the cheapest
    assert made.route(prompt(1, 2, 3, 5, number=2), two) == 0  # three quarters are, at 0
    # it counts for 1 2 3, as 5 is shorter than what is before it: two prompts, of whose 3584 tokens 2048 were new
    assert costs(made) == [2048 * 2 * 1536 * MICRO // 3584, 512 * MICRO]
    # half is not more than half; 1 2 3 is split, and keeps its prompts as 2 3; 6 counts for 1, which both have now
    assert made.route(prompt(1, 6, number=3), two) == 1
    assert costs(made) == [2048 * 2 * 1024 * MICRO // 3584 + 128 * MICRO, (512 + 128) * MICRO]


def test_a_prompt_that_was_there_goes_where_it_was() -> None:
    made = preble()
    assert made.route(prompt(1, 2), cluster(2)) == 0
    assert [made.route(prompt(1, 2, number=k), cluster(2)) for k in range(1, 5)] == [0] * 4
    assert made.route(prompt(1, number=5), cluster(2)) == 0  # the beginning of one


def test_of_several_the_cheapest() -> None:
    made = preble(3)
    three = cluster(3)
    assert [made.route(prompt(k, number=k), three) for k in range(3)] == [0, 1, 2]
    node = where(made)[0]
    node.instances = {0, 2}
    made._renew(node, node.recent)
    assert costs(made) == [256 * MICRO, 512 * MICRO, 768 * MICRO]
    assert made.route(prompt(0, number=3), three) == 0


def test_answers_cost_while_they_are_made() -> None:
    made = preble(tpot="1 s", answer=2)
    made.route(prompt(1, 2, 3), cluster(2))
    assert costs(made) == [1536 * MICRO + 2 * SECOND, 0]
    made.route(prompt(1, 2, 3, number=1), cluster(2))
    assert costs(made) == [1536 * MICRO + 4 * SECOND, 0]  # half of 2 times 1536
    made.ended([0])
    assert costs(made) == [1536 * MICRO + 2 * SECOND, 0]
    made.ended([1])
    assert costs(made) == [1536 * MICRO, 0]


def test_the_window() -> None:
    """After three minutes nothing counts, and nobody is known to have it."""
    made = preble()
    assert made.route(prompt(1, 2), cluster(2)) == 0
    assert made.route(prompt(1, 2, 3, number=1, time=180 * SECOND), cluster(2)) == 0
    assert costs(made)[0] > 0
    assert made.route(prompt(9, number=2, time=360 * SECOND + 1), cluster(2)) == 0
    assert costs(made) == [512 * MICRO, 0]
    assert made.route(prompt(1, 2, 4, number=3, time=360 * SECOND + 1), cluster(2)) == 1


def crowded(**parameters: Any) -> Any:
    """A long prompt at 0; 1 2 and 3 4 twice each at 1."""
    made = preble(**parameters)
    asked = [prompt(*range(10, 20)), *(prompt(k, k + 1) for k in (1, 3, 1, 3))]
    for number, ask in enumerate(asked):
        ask.number = number
        assert made.route(ask, cluster(2)) == min(number, 1)
    return made


def test_nodes_go_over() -> None:
    """Those with more than one prompt cost 1 twice 1024, and 0 nothing: one of them goes over, then both are even."""
    made = crowded(calm=0)
    assert [where(made)[block].instances for block in (1, 3)] == [{0}, {1}]
    assert list(made.firm.values()) == [1024 * MICRO] * 2
    assert made.route(prompt(1, 2, number=9), cluster(2)) == 0
    assert [where(crowded())[block].instances for block in (1, 3)] == [{1}, {1}]
    assert where(crowded(calm=2))[1].instances == {0}
    assert where(crowded(calm=3))[1].instances == {1}


def test_what_stands_behind_goes_over_too() -> None:
    """1 2 and 3 4 cost 1 as much; 1 2 was charged before, and 5, which carries no costs, goes along with it."""
    made = preble(calm=0)
    asked = [prompt(*range(10, 20)), prompt(1, 2), prompt(3, 4), prompt(1, 2, 5), prompt(3, 4, 6)]
    for number, ask in enumerate(asked):
        ask.number = number
        assert made.route(ask, cluster(2)) == min(number, 1)
    assert list(made.firm.values()) == [1536 * 2 * 1024 * MICRO // 2560] * 2
    assert [where(made)[block].instances for block in (1, 3)] == [{0}, {1}]
    assert made.route(prompt(1, 2, 5, number=9), cluster(2)) == 0
    assert made.route(prompt(3, 4, 6, number=10), cluster(2)) == 1


def test_a_node_that_is_alone_is_shared_if_its_prompts_wait_longer() -> None:
    for pending, expected in ((2048, {0, 1}), (2047, {1})):
        made = preble(calm=0, window="100 s")
        made.route(prompt(*range(10, 20)), cluster(2))
        made.route(prompt(1, 2, number=1), cluster(2))  # 1024 tokens until its first one
        made.route(prompt(1, 2, number=2, time=60 * SECOND), cluster(2, pending=[0, pending]))
        assert where(made)[1].instances == expected


def test_traces_without_blocks() -> None:
    made = preble()
    for block, blocks in ((0, []), (0, [1, 2]), (BLOCK, [])):
        made.start(2, 0)
        asked = [Request(number=k, prompt=100, block=block, blocks=blocks) for k in range(4)]
        assert [made.route(ask, cluster(2)) for ask in asked] == [0, 1, 0, 1]


def recount(made: Any) -> list[int]:
    """Costs from the definition, node by node."""
    total = dict.fromkeys(made.costs, 0)
    nodes = {id(node): node for node in made._nodes()}
    for node in nodes.values():
        recent = node.recent
        if recent is None or not node.instances:
            continue
        new = (recent.prompts - recent.hits) * recent.count * node.tokens * made.prefill
        for instance in node.instances:
            active = sum(where == instance and node in leaf.path() for leaf, where in made.leaves.values())
            total[instance] += new // (recent.prompts * len(node.instances)) + active * made.answer * made.tpot
    return list(total.values())


@pytest.mark.parametrize("seed", range(3))
def test_sums_and_tree_against_a_recount(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = preble(3, calm=5, window="10 s", tpot="20 us")
    asked: dict[int, Request] = {}
    there: set[int] = set()
    for number in range(400):
        way = rng.integers(0, 2, rng.integers(1, 9))
        blocks = [int("1" + "".join(map(str, way[: k + 1])), 3) for k in range(len(way))]
        ask = prompt(*blocks, number=number, time=number * SECOND // 10)
        matched = len([block for block in blocks if block in where(made)])
        assert made._known(blocks)[1] == matched
        pending = rng.integers(0, 3000, 3).tolist()
        made.route(ask, cluster(3, pending=pending))
        asked[number] = ask
        there.add(number)
        gone = [k for k in sorted(there) if rng.random() < 0.1]
        made.ended(gone)
        there -= set(gone)
        assert costs(made) == recount(made)
        firm = [0, 0, 0]
        for instance, owned in made.owned.items():
            assert all(recent.often and recent.count > 1 for recent in owned)
            firm[instance] = sum(recent.charged[instance] for recent in owned)
        assert list(made.firm.values()) == firm
    for ask in asked.values():  # each prompt is a way down the tree
        node, way = where(made)[ask.blocks[-1]], []
        assert node.before + node.tokens == ask.prompt or node.blocks[-1] != ask.blocks[-1]
        for held in reversed(node.path()):
            assert held.before == BLOCK * len(way)
            assert held.first == len(way)
            way += held.blocks
        assert way[: len(ask.blocks)] == ask.blocks
    counted = {id(recent): recent.count for _, recent, _, _ in made.entries}
    assert sum(counted.values()) == len(made.entries)
