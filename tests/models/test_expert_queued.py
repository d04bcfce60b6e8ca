"""Experts that do not fit, on links that are shared: as alone where nothing else moves, and by hand where it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.expert_offload import costs_of, rows_of
from tests.sim.test_expert_offload import Fancy, Own, needs, prices, random_rows
from tiersim._base.registry import build
from tiersim.models.expert_queued import offload_queued
from tiersim.policies.experts.contract import CPU, DEFER, HIGH, LOW
from tiersim.sim.expert_offload import Offloaded, offload
from tiersim.sim.expert_rows import Costs

TIMES = ("step_begin", "step_end", "planned", "row_end", "hits", "late", "misses", "stall", "wait")


def slower(costs: Costs) -> Costs:
    """With hidden states that take the latency and more."""
    return replace(costs, ship=costs.ship + costs.latency)


def same(one: Offloaded, other: Offloaded) -> None:
    for name in TIMES:
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert one.counts == other.counts
    if one.loads is not None and other.loads is not None:
        assert one.loads.tolist() == other.loads.tolist()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_where_only_loads_move_both_timings_are_equal(data: Any) -> None:
    rows = data.draw(needs())
    costs = slower(data.draw(prices(rows)))
    system: Any = Own()
    if data.draw(st.integers(0, 5)):
        system = Fancy(
            scope=data.draw(st.sampled_from(["layer", "model"])),
            number=data.draw(st.integers(0, 99)),
            wants=data.draw(st.sampled_from([(HIGH,), (HIGH, LOW), (HIGH, HIGH, LOW)])),
            wishing=data.draw(st.integers(0, 5)) if rows.layers * rows.experts > 5 else 0,
        )
    options: dict[str, Any] = {
        "slots": data.draw(st.integers(1, 4)),
        "gpus": data.draw(st.integers(1, min(3, rows.experts))),
        "overlap": data.draw(st.sampled_from([True, True, False])),
        "log": True,
        "compiled": False,
    }
    same(offload_queued(rows, costs, system, **options), offload(rows, costs, system, **options))


def test_processor_and_streams_alone_on_their_links_are_equal_too() -> None:
    """Nothing meets where results are slower made than moved, and keys and values are there before they are needed."""
    rows = random_rows(12, 3, 8, 3, tokens=2)
    small = costs_of(
        rows.steps, 6, latency=2, ship=2 + np.arange(7), before=28, dense=30, exchange=1, cpu=40 + 9 * np.arange(7)
    )
    for wants in ((CPU,), (DEFER,), (CPU, DEFER, DEFER)):
        for gpus in (1, 2):
            for overlap in (True, False):
                system = Fancy(wants=wants)
                options: dict[str, Any] = {"slots": 2, "gpus": gpus, "overlap": overlap, "compiled": False}
                made = offload_queued(rows, small, system, **options)
                same(made, offload(rows, small, system, **options))
                assert made.counts["processed"] == made.counts["needed"]
    for stream in (np.full(rows.steps, 25), np.arange(rows.steps) % 3 * 12):
        costs = replace(small, stream=stream)
        options = {"slots": 8, "placed": range(24), "gpus": 2, "compiled": False}
        made = offload_queued(rows, costs, Fancy(), **options)
        same(made, offload(rows, costs, Fancy(), **options))
        assert made.counts["stream_time"] == 2 * 3 * stream.sum()


@pytest.mark.parametrize("compiled", [False, True])
def test_keys_and_values_share_the_link_with_loads(compiled: bool) -> None:
    rows = rows_of([[[0], [1]], [[0], [1]]], 4)
    costs = costs_of(2, stream=np.array([8, 8]))
    made = offload_queued(rows, costs, build("experts", "on-demand"), slots=2, log=True, compiled=compiled)
    # both rows' are read from 0 on and are there at 16; r = 19, load until 29, run until 31; the second row's r = 34:
    # of the 8 of the next step 5 are left when its load begins, both share until 44, the load is there at 49
    # that row begins at 51, and so does the reading for the last one, which is there at 59
    assert made.planned.tolist() == [19, 34, 54, 62]
    assert made.row_end.tolist() == [31, 51, 56, 64]
    assert made.loads is not None
    assert made.loads[:, :3].tolist() == [[19, 29, 0], [34, 49, 5]]
    # with links of their own: 8 + 3 = 11, 21, 23; 26, 36, 38; 41, 43; 46, which is after 46 = 38 + 8, and 49
    alone = offload(rows, costs, build("experts", "on-demand"), slots=2, compiled=compiled)
    assert alone.planned.tolist() == [11, 26, 41, 49]
    assert alone.row_end.tolist() == [23, 38, 43, 51]


@pytest.mark.parametrize("compiled", [False, True])
def test_results_share_the_link_with_loads(compiled: bool) -> None:
    rows = rows_of([[[0, 1]]], 4)
    costs = costs_of(1, cpu=[0, 2], ship=[0, 4])
    # the load runs from 3 on; tokens are there at 7, the result begins at 9: both have 4 to go, and take 8
    made = offload_queued(rows, costs, Fancy(wants=(HIGH, CPU, HIGH), number=2), slots=2, compiled=compiled)
    assert (made.counts["misses"], made.counts["processed"]) == (1, 1)
    assert (made.row_end.tolist(), made.stall.tolist(), made.wait.tolist()) == ([19], [14], [0])
    alone = offload(rows, costs, Fancy(wants=(HIGH, CPU, HIGH), number=2), slots=2, compiled=compiled)
    assert (alone.row_end.tolist(), alone.stall.tolist(), alone.wait.tolist()) == ([15], [10], [0])


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_books_balance_whatever_moves(data: Any) -> None:
    """Counts that times do not decide are those of both timings, and compiled or not there is one answer."""
    rows = data.draw(needs())
    costs = replace(
        slower(data.draw(prices(rows))),
        stream=np.array(data.draw(st.lists(st.integers(0, 9), min_size=rows.steps, max_size=rows.steps))),
    )
    system = Fancy(wants=data.draw(st.sampled_from([(HIGH, CPU), (HIGH, DEFER, LOW), (HIGH, CPU, DEFER), (DEFER,)])))
    options: dict[str, Any] = {
        "slots": data.draw(st.integers(1, 4)),
        "gpus": data.draw(st.integers(1, min(2, rows.experts))),
        "overlap": data.draw(st.booleans()),
        "compiled": False,
    }
    queued, alone = offload_queued(rows, costs, system, **options), offload(rows, costs, system, **options)
    assert queued.counts["needed"] == alone.counts["needed"]
    if system.wants == (DEFER,):
        assert {name: queued.counts[name] for name in ("processed", "sent", "reads")} == {
            name: alone.counts[name] for name in ("processed", "sent", "reads")
        }
