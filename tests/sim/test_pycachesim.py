"""The engine against pycachesim, a C simulator written by others: three levels with write-backs, line by line.

Two things differ and are put right here. pycachesim does not take a store for a use, so it is given a load of the line
before each store: the load fetches and refreshes, the store marks dirty. And its addresses are 31 bits wide, so pages
are numbered anew, for both sides alike. Its L2 and L3 must not allocate on a write by reading; they take a line written
back whole, as ours do with `write_allocate`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import tiersim
from tests.oracles.hierarchy import Reference
from tests.oracles.strategies import reuse
from tiersim.models.caches import simulate_lines

cachesim = pytest.importorskip("cachesim", reason="pycachesim is not installed (pip install pycachesim)")

LINE, PAGE = 64, 4096
LEVELS = {"l1": (16, 4), "l2": (64, 8), "l3": (256, 8)}  # sets and ways


def synthetic() -> list[Reference]:
    references = reuse(random.Random(7), 60_000, 8_000)
    return [(kind, line) for kind, line in references if kind != "fetch"]


def sqlite() -> list[Reference]:
    pages: dict[int, int] = {}

    def lines(address: int, size: int) -> Iterator[int]:
        for line in range(address // LINE, (address + size - 1) // LINE + 1):
            page, inside = divmod(line, PAGE // LINE)
            yield pages.setdefault(page, len(pages)) * (PAGE // LINE) + inside

    kinds = {0: ("load",), 1: ("store",), 2: ("load", "store")}  # a modify is both; fetches are left out
    out: list[Reference] = []
    for chunk in tiersim.load_trace("captured/sqlite-query").chunks(limit=400_000):
        columns = (chunk[name].tolist() for name in ("address", "size", "kind"))
        for address, size, kind in zip(*columns, strict=True):
            for verb in kinds.get(kind, ()):
                out += [(verb, line) for line in lines(address, size)]
    return out


def theirs(references: list[Reference], policy: str) -> Any:
    memory = cachesim.MainMemory()
    l3 = cachesim.Cache("l3", *LEVELS["l3"], LINE, policy, write_back=True, write_allocate=False)
    l2 = cachesim.Cache("l2", *LEVELS["l2"], LINE, policy, True, False, store_to=l3, load_from=l3)
    l1 = cachesim.Cache("l1", *LEVELS["l1"], LINE, policy, True, True, store_to=l2, load_from=l2)
    memory.load_to(l3)
    memory.store_from(l3)
    simulator = cachesim.CacheSimulator(l1, memory)
    for kind, line in references:
        simulator.load(line * LINE)
        if kind == "store":
            simulator.store(line * LINE)
    return {counts["name"]: counts for counts in simulator.stats()}


@pytest.mark.parametrize("policy", ["lru", "fifo"])
@pytest.mark.parametrize("stream", [synthetic, sqlite])
def test_misses_and_write_backs(stream: Any, policy: str) -> None:
    references = stream()
    assert max(line for _, line in references) * LINE < 2**31
    their = theirs(references, policy.upper())
    graph: dict[str, dict[str, Any]] = {
        name: {"sets": sets, "ways": ways, "policy": policy, "below": below}
        for (name, (sets, ways)), below in zip(LEVELS.items(), ["l2", "l3", "memory"], strict=True)
    }
    graph["l1"]["serves"] = "data"
    our = simulate_lines(graph, references, engine="compiled")
    for name in LEVELS:
        counters = our.counters[name]
        assert counters["read_misses"] + counters["write_misses"] == their[name]["MISS_count"] > 0
        assert counters["writebacks"] == their[name]["EVICT_count"] > 0
    assert our.memory["reads"] == their["l3"]["MISS_count"]
    assert our.memory["writes"] == their["l3"]["EVICT_count"]
