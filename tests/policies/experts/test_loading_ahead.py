"""Loading on demand and ahead by hand, and the bound: one token a step, two layers of four experts, a slot for each.

A load takes 10, the rest of a layer 3, an expert 2. Step 0 needs expert 0 of layer 0 and 1 of layer 1, step 1 needs 0
and 2.
"""

from __future__ import annotations

from typing import Any

from tests.oracles.expert_offload import costs_of, rows_of
from tests.sim.test_expert_offload import agree
from tiersim._base.registry import build
from tiersim.sim.expert_loop import LOG
from tiersim.sim.expert_offload import Offloaded, offload

NEEDED = [[[0], [1]], [[0], [2]]]


def run(policy: Any, predicted: dict[tuple[int, int], list[int]] | None = None, slots: int = 1) -> Offloaded:
    return agree(rows_of(NEEDED, 4, predicted=predicted), costs_of(2), build("experts", policy), slots=slots)


def loaded(made: Offloaded) -> list[int]:
    assert made.loads is not None
    return [int(x) for x in made.loads[:, LOG.index("x")]]


def test_on_demand() -> None:
    made = run("on-demand")
    # r = 3: load until 13, run; r = 18: load until 28, run; r = 33: here still, run; r = 38: load until 48, run
    assert made.row_end.tolist() == [15, 30, 35, 50]
    assert loaded(made) == [0, 5, 6]
    assert made.stall.tolist() == [10, 10, 0, 10]
    same = run({"use": "lru", "scope": "layer"})
    assert same.row_end.tolist() == made.row_end.tolist()


def test_another_replacement() -> None:
    # one slot for all: 0 leaves for 5 and must come again; with two, 5 leaves for 6
    policy: dict[str, Any] = {"use": "on-demand", "scope": "model"}
    assert loaded(run(policy)) == [0, 5, 0, 6]
    assert loaded(run(policy, slots=2)) == [0, 5, 6]
    # for 3 LRU lets 0 go, LFU 6, which is needed next: 3 leaves for it, and 0 is still there
    rows = rows_of([*NEEDED, [[3], [2]], [[0], [1]]], 4)
    assert loaded(agree(rows, costs_of(4), build("experts", policy), slots=2)) == [0, 5, 6, 3, 0, 5]
    policy["replacement"] = "lfu"
    assert loaded(agree(rows, costs_of(4), build("experts", policy), slots=2)) == [0, 5, 6, 3, 6, 5]


def test_pre_gated() -> None:
    made = run("pre-gated")
    # behind the miss of 0 comes the next layer's 5, from 13 to 23: r = 18, late, ends at 25; r = 28: 0 is here, and 5
    # leaves for 6 until 38: r = 33, late, ends at 40
    assert made.row_end.tolist() == [15, 25, 30, 40]
    assert (made.hits.tolist(), made.late.tolist(), made.misses.tolist()) == ([0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0])
    assert (made.counts["wished"], made.counts["used"]) == (2, 2)


def test_mixtral_offloading() -> None:
    made = run({"use": "mixtral-offloading", "count": 1}, {(0, 1): [3, 1], (1, 1): [2]})
    # 7 comes from 13 to 23, and is not needed: r = 18, 5 comes from 23 to 33 in its place; r = 38: 0 is here, 6 comes
    # from 38 to 48: r = 43, late
    assert made.row_end.tolist() == [15, 35, 40, 50]
    assert loaded(made) == [0, 7, 5, 6]
    assert (made.counts["wished"], made.counts["used"], made.counts["misses"]) == (2, 1, 2)
    # nothing predicted, or nothing to be loaded ahead: on demand
    for policy, predicted in (("mixtral-offloading", {}), ({"use": "mixtral-offloading", "count": 0}, {(0, 1): [1]})):
        assert run(policy, predicted).row_end.tolist() == [15, 30, 35, 50]


def test_mixtral_offloading_two_layers_ahead() -> None:
    rows = rows_of([[[0], [1], [2]]], 4, predicted={(0, 1): [1], (0, 2): [3, 2]})
    for lookahead, wished in ((1, [5, 11, 10]), (2, [11, 10]), (3, [])):
        policy = {"use": "mixtral-offloading", "lookahead": lookahead}
        made = agree(rows, costs_of(1, dense=90), build("experts", policy), slots=4)
        assert made.loads is not None
        assert made.loads[made.loads[:, LOG.index("wish")] == 1, LOG.index("x")].tolist() == wished


def test_the_bound() -> None:
    rows = rows_of(NEEDED, 4)
    best = offload(rows, costs_of(2), build("experts", "oracle"), slots=1)
    # one slot for all keeps 0, since 5 is not used again: loads are there at 10, 20 and 30
    assert best.row_end.tolist() == [10, 20, 25, 30]
    assert (best.misses.tolist(), best.stall.tolist()) == ([1, 1, 0, 1], [5, 5, 0, 0])
    # what is placed is there at first
    placed = offload(rows, costs_of(2), build("experts", "perfect-prefetch"), slots=1, placed=[0])
    assert placed.row_end.tolist() == [5, 10, 15, 20]
    for policy in ("on-demand", "pre-gated"):
        scope = {"use": policy, "scope": "model"}
        made = offload(rows, costs_of(2), build("experts", scope), slots=1, compiled=False)
        assert (made.row_end >= best.row_end).all()


def test_a_bound_of_layers_needs_as_many_loads_or_more() -> None:
    rows = rows_of([[[0], [0]], [[1], [0]], [[0], [0]], [[1], [0]]], 4)
    ends = [
        offload(rows, costs_of(4), build("experts", {"use": "perfect-prefetch", "scope": scope}), slots=slots).counts
        for scope, slots in (("layer", 1), ("model", 2))
    ]
    # the other layer's slot is of no use to a layer: 0, 1 and 0 again, while 1 is kept from its first use on, or 0
    assert [held["loads"] for held in ends] == [4, 4]
