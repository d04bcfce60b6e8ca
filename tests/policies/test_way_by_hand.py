"""Each way policy on one set, worked out on paper: what hits, and what is left."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import pytest

from tests.oracles.hierarchy import read_graph, simulate
from tiersim.models.caches import simulate_lines

Engine = Literal["oracle", "plain", "compiled"]


@dataclass(frozen=True)
class Example:
    """A set of `ways` ways, the lines asked for, `+` for a hit and `.` for a miss of each, and the lines left."""

    policy: str | dict[str, Any]
    ways: int
    lines: tuple[int, ...]
    hits: str
    left: frozenset[int]


EXAMPLES = {
    # Oldest first after the four fills: 1 2 3 4. Hit 1: 2 3 4 1. 5 evicts 2: 3 4 1 5. 2 evicts 3: 4 1 5 2.
    # 4 hits: 1 5 2 4. 3 evicts 1: 5 2 4 3.
    "lru": Example("lru", 4, (1, 2, 3, 4, 1, 5, 2, 4, 3), "....+..+.", frozenset({5, 2, 4, 3})),
    # In order of arrival: 1 2 3 4. The hit on 1 changes nothing. 5 evicts 1: 2 3 4 5. 1 evicts 2: 3 4 5 1.
    # 2 evicts 3: 4 5 1 2. 4 hits and stays oldest. 3 evicts 4: 5 1 2 3.
    "fifo": Example("fifo", 4, (1, 2, 3, 4, 1, 5, 1, 2, 4, 3), "....+...+.", frozenset({5, 1, 2, 3})),
    # Ways 0-3 hold 1 2 3 4, no bit set, hand at 0. Hits set the bits of 1 and 3.
    # 5: hand clears 1, evicts 2 from way 1, stands at 2. Ways 1 5 3 4, bit of 3.
    # 6: hand clears 3, evicts 4 from way 3, stands at 0. Ways 1 5 3 6, no bits.
    # 7: evicts 1 from way 0 at once, stands at 1. Ways 7 5 3 6. 3 hits. 5 hits: bits of 5 and 3.
    # 8: clears 5 and 3, evicts 6 from way 3, stands at 0. Ways 7 5 3 8.
    "clock": Example("clock", 4, (1, 2, 3, 4, 1, 3, 5, 6, 7, 3, 5, 8), "....++...++.", frozenset({7, 5, 3, 8})),
    # (root, left, right), each 0 or 1 for the older half. Fill way 0: 1 1 0; way 1: 1 0 0; way 2: 0 0 1; way 3: 0 0 0.
    # Hit 1 in way 0: 1 1 0. 5: right, way 2, evicts 3: 0 1 1. 6: left, way 1, evicts 2: 1 0 1.
    # 7: right, way 3, evicts 4: 0 0 0. Ways 1 6 5 7. 3: left, way 0, evicts 1: 1 1 0. 6 hits in way 1: 1 0 0.
    # 8: right, way 2, evicts 5. (True LRU would have evicted 2 for the 5.)
    "tree-plru": Example("tree-plru", 4, (1, 2, 3, 4, 1, 5, 6, 7, 3, 6, 8), "....+....+.", frozenset({3, 6, 8, 7})),
    # One node. 1 fills way 0: older is way 1. 2 fills way 1: older is way 0. 1 hits: way 1. 3 evicts 2. 2 evicts 1.
    "tree-plru of 2": Example("tree-plru", 2, (1, 2, 1, 3, 2), "..+..", frozenset({3, 2})),
    # RRPV by way. Filled: 2 2 2 2. Hits on 1 and 3: 0 2 0 2. 5: aged to 1 3 1 3, evicts 2 from way 1: 1 2 1 3.
    # 6: evicts 4 from way 3: 1 2 1 2. 7: aged to 2 3 2 3, evicts 5 from way 1: 2 2 2 3. 8: evicts 6: 2 2 2 2.
    # 1 and 3 have outlived the scan and hit: 0 2 0 2.
    "srrip": Example("srrip", 4, (1, 2, 3, 4, 1, 3, 5, 6, 7, 8, 1, 3), "....++....++", frozenset({1, 7, 3, 8})),
    # RRPV is 0 or 1 and a fill sets 0. Filled: 0 0 0 0. 5: aged to 1 1 1 1, evicts 1 from way 0: 0 1 1 1.
    # 3 hits: 0 1 0 1. 6: evicts 2: 0 0 0 1. 7: evicts 4: 0 0 0 0. 8: aged, evicts 5 from way 0: 0 1 1 1.
    # 9: evicts 6 from way 1. Ways 8 9 3 7.
    "srrip of 1 bit": Example(
        {"use": "srrip", "bits": 1}, 4, (1, 2, 3, 4, 5, 3, 6, 7, 8, 9), ".....+....", frozenset({8, 9, 3, 7})
    ),
    # RRPV 0 to 7, a fill sets 6. 1 2 fill: 6 6. 1 hits: 0 6. 3: aged once, 1 7, evicts 2: 1 6. 4: 2 7, evicts 3: 2 6.
    # 5: 3 7. 6: 4 7. 7: 5 7. 8: 6 7, each from way 1: 6 6. 9: 7 7, evicts 1 at last: 6 7.
    "srrip of 3 bits": Example(
        {"use": "srrip", "bits": 3}, 2, (1, 2, 1, 3, 4, 5, 6, 7, 8, 9), "..+.......", frozenset({9, 8})
    ),
    # RRPV by way, pointer at 0. Filled: 2 2 2 2. Hits on 1, 1 and 3: 0 2 1 2. 5: aged to 1 3 2 3, evicts 2 from way 1,
    # pointer at 2: 1 2 2 3. 6: evicts 4 from way 3, pointer at 0: 1 2 2 2. 7: aged to 2 3 3 3, evicts 5 from way 1,
    # pointer at 2: 2 2 3 3. 8: evicts 3 from way 2: 2 2 2 3. 9: evicts 6: 2 2 2 2. 2: aged, evicts 1 from way 0.
    # Ways 2 7 8 9.
    "tlb-aware-srrip": Example(
        "tlb-aware-srrip", 4, (1, 2, 3, 4, 1, 1, 3, 5, 6, 7, 8, 9, 2), "....+++......", frozenset({2, 7, 8, 9})
    ),
}

BELADY_LINES = (1, 2, 3, 1, 2, 3, 1)
# Two ways. 3 (third): 1 comes again before 2, so 2 goes. 1 hits. 2: 3 comes again before 1, so 1 goes, from way 0.
# 3 hits. 1: neither 2 nor 3 comes again: the lower way goes, which holds 2. LRU hits nothing here.
BELADY_READ_MISSES, BELADY_LEFT = 5, {1, 3}


def run(engine: Engine, policy: str | dict[str, Any], ways: int, lines: tuple[int, ...]) -> tuple[int, set[int]]:
    """Read misses and the lines left in one set after reading `lines`."""
    graph = {"l1": {"sets": 1, "ways": ways, "policy": policy, "below": "memory", "serves": "data"}}
    references = [("load", line) for line in lines]
    result: Any
    if engine == "oracle":
        result = simulate(read_graph(graph), references)
    else:
        result = simulate_lines(graph, references, engine=engine)
    assert all(not dirty for _, dirty in result.contents["l1"])
    return result.counters["l1"]["read_misses"], {line for line, _ in result.contents["l1"]}


@pytest.mark.parametrize("engine", ["oracle", "plain", "compiled"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_step_by_step(name: str, engine: Engine) -> None:
    example = EXAMPLES[name]
    misses = [run(engine, example.policy, example.ways, example.lines[:n])[0] for n in range(len(example.lines) + 1)]
    steps = "".join("." if after > before else "+" for before, after in pairwise(misses))
    assert steps == example.hits
    assert run(engine, example.policy, example.ways, example.lines)[1] == example.left


@pytest.mark.parametrize("engine", ["oracle", "plain", "compiled"])
def test_belady(engine: Engine) -> None:
    assert run(engine, "belady", 2, BELADY_LINES) == (BELADY_READ_MISSES, BELADY_LEFT)
    assert run(engine, "lru", 2, BELADY_LINES)[0] == len(BELADY_LINES)
