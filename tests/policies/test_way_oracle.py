"""Every way policy against its naive twin on sets of any width: engines pack narrow sets and wide ones differently."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.hierarchy import Reference, read_graph, simulate
from tiersim.models.caches import simulate_lines

WIDTHS = [*range(1, 10), 12, 15, 16, 17, 20, 21, 22, 24, 31, 32, 33, 48, 63, 64, 65, 128]
POWERS = [1, 2, 4, 8, 16, 32, 64, 128]
POLICIES = ["lru", "fifo", "clock", "tree-plru", "srrip", "tlb-aware-srrip", "belady"]


def near(rng: random.Random, length: int, lines: int) -> list[Reference]:
    """References to lines that were used lately, less often the older they are, and to others anywhere."""
    order = list(range(lines))
    out: list[Reference] = []
    for _ in range(length):
        place = min(int(rng.expovariate(3 / lines)), lines - 1) if rng.random() < 0.7 else rng.randrange(lines)
        order.insert(0, order.pop(place))
        out.append((rng.choice(["load", "store"]), order[0]))
    return out


def assert_equal(policy: dict[str, Any], sets: int, ways: int, seed: int, engine: Literal["plain", "compiled"]) -> None:
    graph = {"l1": {"sets": sets, "ways": ways, "policy": policy, "below": "memory", "serves": "data"}}
    references = near(random.Random(seed), 6 * sets * ways + 20, int(1.7 * sets * ways) + 2)
    expected = simulate(read_graph(graph), references)
    result = simulate_lines(graph, references, engine=engine)
    for name in ("read_misses", "write_misses", "writebacks", "conflict"):
        assert int(result.counters["l1"][name]) == expected.counters["l1"][name], name
    assert result.contents["l1"] == expected.contents["l1"]


@pytest.mark.parametrize("policy", POLICIES)
@settings(deadline=None, max_examples=60)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_any_width(policy: str, data: st.DataObject, seed: int) -> None:
    widths = POWERS if policy == "tree-plru" else WIDTHS
    if policy == "tlb-aware-srrip":
        widths = range(1, 17)
    ways = data.draw(st.sampled_from(widths), "ways")
    sets = data.draw(st.integers(1, 3), "sets")
    chosen: dict[str, Any] = {"use": policy}
    if policy == "srrip":
        chosen["bits"] = data.draw(st.sampled_from([1, 2, 3, 4, 5, 8]), "bits")
    assert_equal(chosen, sets, ways, seed, "plain")


@pytest.mark.parametrize("ways", [16, 64])
@pytest.mark.parametrize("policy", POLICIES)
def test_wide_sets_compiled(policy: str, ways: int) -> None:
    """Machine words overflow where Python's integers do not. Each width is a compilation, so there are few."""
    ways = min(ways, 16) if policy == "tlb-aware-srrip" else ways
    for seed in range(8):
        assert_equal({"use": policy}, 2, ways, seed, "compiled")
