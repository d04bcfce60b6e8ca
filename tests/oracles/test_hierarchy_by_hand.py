"""The oracle itself against examples small enough to work out on paper from docs/explanation/hierarchy.md."""

from __future__ import annotations

from typing import Any

from tests.oracles.hierarchy import COUNTERS, Outcome, Reference, read_graph, simulate


def run(graph: dict[str, dict[str, Any]], *references: Reference) -> Outcome:
    return simulate(read_graph(graph), references)


def nonzero(outcome: Outcome, cache: str) -> dict[str, int]:
    assert set(outcome.counters[cache]) == set(COUNTERS)
    return {name: count for name, count in outcome.counters[cache].items() if count}


def one_set(ways: int, below: str = "memory", **rest: Any) -> dict[str, Any]:
    return {"sets": 1, "ways": ways, "below": below, **rest}


def test_dirty_line_travels_down() -> None:
    graph = {"l1": one_set(1, "l2", serves="data"), "l2": one_set(2)}
    out = run(graph, ("store", 1), ("load", 2), ("load", 3), ("load", 1))
    # store 1: l1 misses, l2 and memory read 1; l1 holds 1 dirty
    # load 2: both miss; l1 evicts 1, l2 has it: marked dirty, not used. Oldest in l2 is 1
    # load 3: l2 evicts dirty 1 to memory; l1 evicts clean 2 silently. l2: 2, 3
    # load 1: both miss, l2 evicts 2. In l1's shadow of one line only 3: capacity. In l2's shadow 2, 3: capacity
    assert nonzero(out, "l1") == {
        "reads": 3, "read_misses": 3, "writes": 1, "write_misses": 1, "evictions": 3, "writebacks": 1, "fills": 4,
        "cold": 3, "capacity": 1,
    }  # fmt: skip
    assert nonzero(out, "l2") == {
        "reads": 4, "read_misses": 4, "writebacks_in": 1, "evictions": 2, "writebacks": 1, "fills": 4, "cold": 3,
        "capacity": 1,
    }  # fmt: skip
    assert out.contents == {"l1": {(1, False)}, "l2": {(3, False), (1, False)}}
    assert out.memory == {"reads": 4, "writes": 1}


def test_victim_cache_swaps() -> None:
    graph = {
        "l1": {"sets": 2, "ways": 1, "below": "victims", "serves": "all"},
        "victims": one_set(1, inclusion="exclusive"),
    }
    out = run(graph, ("store", 0), ("load", 2), ("load", 0), ("load", 2), ("load", 4))
    # store 0: l1 set 0 holds 0 dirty. load 2: evicts 0 into victims, dirty
    # load 0: conflict in l1; victims gives 0 with its dirtiness (taken) and gets 2, clean, into the empty way
    # load 2: conflict in l1; victims gives 2 (taken) and gets 0, dirty
    # load 4: cold in both; l1 evicts 2, victims evicts 0 to memory, dirty, to take 2
    assert nonzero(out, "l1") == {
        "reads": 4, "read_misses": 4, "writes": 1, "write_misses": 1, "evictions": 4, "fills": 5, "cold": 3,
        "conflict": 2,
    }  # fmt: skip
    assert nonzero(out, "victims") == {
        "reads": 5, "read_misses": 3, "puts": 4, "evictions": 1, "writebacks": 1, "fills": 4, "taken": 2, "cold": 3,
    }  # fmt: skip
    assert out.contents == {"l1": {(4, False)}, "victims": {(2, False)}}
    assert out.memory == {"reads": 3, "writes": 1}


def test_back_invalidation_keeps_dirty_data() -> None:
    graph = {"l1": one_set(2, "l2", serves="data"), "l2": one_set(2, inclusion="inclusive")}
    out = run(graph, ("store", 1), ("load", 2), ("load", 1), ("load", 3), ("load", 1))
    # load 1 hits in l1, which l2 does not see: its oldest is still 1
    # load 3: l2 evicts 1; l1 drops its dirty copy, so 1 goes to memory; 3 fills the empty way of l1
    # load 1: l1's shadow holds 1 and 3, so the miss of l1 is a conflict; l2's holds 2, 3: capacity. l2 evicts 2, and
    #         l1 drops that, which leaves it an empty way again
    assert nonzero(out, "l1") == {
        "reads": 4, "read_misses": 3, "writes": 1, "write_misses": 1, "invalidations": 2, "fills": 4, "cold": 3,
        "conflict": 1,
    }  # fmt: skip
    assert nonzero(out, "l2") == {
        "reads": 4, "read_misses": 4, "evictions": 2, "writebacks": 1, "fills": 4, "cold": 3, "capacity": 1,
    }  # fmt: skip
    assert out.contents == {"l1": {(3, False), (1, False)}, "l2": {(3, False), (1, False)}}
    assert out.memory == {"reads": 4, "writes": 1}


def test_back_invalidation_reaches_all_levels() -> None:
    graph = {
        "l1i": one_set(2, "l2", serves="instructions"),
        "l1d": one_set(2, "l2", serves="data"),
        "l2": one_set(4, "l3"),
        "l3": one_set(1, inclusion="inclusive"),
    }
    out = run(graph, ("fetch", 1), ("store", 1), ("fetch", 2))
    # fetch 2: l3 evicts 1; l2, l1i and l1d all drop it; l1d's copy is dirty
    assert [out.counters[name]["invalidations"] for name in graph] == [1, 1, 1, 0]
    assert out.contents == {"l1i": {(2, False)}, "l1d": set(), "l2": {(2, False)}, "l3": {(2, False)}}
    assert out.memory == {"reads": 2, "writes": 1}


def test_write_through_without_allocation() -> None:
    graph = {"l1": one_set(1, "l2", serves="all", write="through", write_allocate=False), "l2": one_set(2)}
    out = run(graph, ("store", 1), ("load", 1), ("store", 1), ("fetch", 2))
    # the first store passes l1 by and allocates in l2, the second hits in both; l1 stays clean
    assert nonzero(out, "l1") == {
        "reads": 2, "read_misses": 2, "writes": 2, "write_misses": 1, "evictions": 1, "fills": 2, "cold": 2,
        "capacity": 1,
    }  # fmt: skip
    assert nonzero(out, "l2") == {
        "reads": 2, "read_misses": 1, "writes": 2, "write_misses": 1, "fills": 2, "cold": 2,
    }  # fmt: skip
    assert out.contents == {"l1": {(2, False)}, "l2": {(1, True), (2, False)}}
    assert out.memory == {"reads": 2, "writes": 0}


def test_write_through_cleans_what_it_takes() -> None:
    graph = {
        "l1d": one_set(1, "victims", serves="data"),
        "l1i": one_set(1, "victims", serves="instructions", write="through"),
        "victims": one_set(1, inclusion="exclusive"),
    }
    out = run(graph, ("store", 1), ("load", 2), ("fetch", 1))
    # load 2 puts dirty 1 into victims; fetch 1 takes it; l1i may not hold it dirty and writes it back through victims,
    # which has no write_allocate and hands it on to memory
    assert out.contents == {"l1d": {(2, False)}, "l1i": {(1, False)}, "victims": set()}
    assert out.counters["victims"]["writebacks_in"] == out.counters["victims"]["writeback_misses"] == 1
    assert out.memory == {"reads": 2, "writes": 1}


def test_write_through_cleans_before_it_makes_room() -> None:
    graph = {
        "l1": one_set(1, "l2", serves="data", write="through", write_allocate=False),
        "l2": {"sets": 2, "ways": 1, "below": "l3", "inclusion": "exclusive"},
        "l3": one_set(1),
    }
    out = run(graph, *[("load", 1), ("load", 4), ("load", 2)], *[("store", 1), ("store", 4)], ("load", 1))
    # the loads leave 2 in l1 and 1 and 4 in l2, where the stores make both dirty. The last load takes dirty 1 from l2:
    # 1 is written back first and fills l3; then l1 evicts 2 into l2, which evicts 4, and that takes the one way of l3
    assert out.contents == {"l1": {(1, False)}, "l2": {(2, False)}, "l3": {(4, True)}}
    assert out.memory == {"reads": 3, "writes": 1}


def test_write_back_brings_a_whole_line() -> None:
    references: list[Reference] = [("store", 1), ("load", 2), ("load", 3), ("load", 1)]
    # l2 has one way: load 2 makes it evict clean 1 before l1's dirty 1 arrives, which it then takes without a read,
    # evicting 2; load 3 evicts 1 to memory. Without allocation 1 goes to memory at once.
    graph = {"l1": one_set(1, "l2", serves="data"), "l2": one_set(1)}
    out = run(graph, *references)
    assert (out.counters["l2"]["writeback_misses"], out.counters["l2"]["fills"]) == (1, 5)
    assert (out.counters["l2"]["evictions"], out.counters["l2"]["writebacks"]) == (4, 1)
    assert out.memory == {"reads": 4, "writes": 1}
    graph["l2"]["write_allocate"] = False
    out = run(graph, *references)
    assert (out.counters["l2"]["writeback_misses"], out.counters["l2"]["fills"]) == (1, 4)
    assert (out.counters["l2"]["evictions"], out.counters["l2"]["writebacks"]) == (3, 0)
    assert out.memory == {"reads": 4, "writes": 1}


def test_fetches_that_no_cache_serves_change_nothing() -> None:
    out = run({"l1": one_set(1, serves="data")}, ("fetch", 1), ("fetch", 2))
    assert nonzero(out, "l1") == {}
    assert out.memory == {"reads": 0, "writes": 0}


def test_belady_below_belady_sees_its_own_future() -> None:
    graph = {"l1": one_set(1, "l2", serves="data", policy="belady"), "l2": one_set(2, policy="belady")}
    out = run(graph, *[("load", line) for line in (1, 1, 2, 3, 1, 2)])
    # l1 misses all but the second reference, so l2 sees 1 2 3 1 2. For 3 it evicts 2 (wanted after 1); 1 hits; for the
    # last 2 neither 1 nor 3 is wanted again, so the lower way goes, which holds 1
    assert out.served["l2"] == [1, 2, 3, 1, 2]
    assert out.counters["l2"]["read_misses"] == 4
    assert out.contents["l2"] == {(2, False), (3, False)}
