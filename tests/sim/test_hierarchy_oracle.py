"""The engine against the brute-force model, in every counter and every line left, on graphs drawn at random."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest
from hypothesis import given, settings

from tests.oracles.hierarchy import COUNTERS, Reference, read_graph, simulate
from tests.oracles.strategies import Graph, graphs, reuse, streams
from tiersim.models.caches import simulate_lines


def assert_equal(graph: Graph, references: list[Reference], engine: Literal["plain", "compiled"]) -> None:
    expected = simulate(read_graph(graph), references)
    result: Any = simulate_lines(graph, references, engine=engine)
    for name in graph:
        counters = {counter: int(result.counters[name][counter]) for counter in COUNTERS}
        assert counters == expected.counters[name], name
        assert set(result.contents[name]) == expected.contents[name], name
    assert {way: int(result.memory[way]) for way in ("reads", "writes")} == expected.memory


@settings(deadline=None, max_examples=400)
@given(graph=graphs(), references=streams())
def test_random_graphs(graph: Graph, references: list[Reference]) -> None:
    assert_equal(graph, references, "plain")


SPLIT = {
    "l1i": {"sets": 4, "ways": 2, "policy": "tree-plru", "below": "l2", "serves": "instructions"},
    "l1d": {"sets": 4, "ways": 2, "policy": "lru", "below": "l2", "serves": "data"},
}
FIXED: dict[str, Graph] = {
    "one cache": {
        "l1": {"sets": 3, "ways": 4, "policy": {"use": "srrip", "bits": 3}, "below": "memory", "serves": "all"},
    },
    "split over inclusive": SPLIT | {"l2": {"sets": 5, "ways": 4, "below": "memory", "inclusion": "inclusive"}},
    "victim cache": {
        "l1": {"sets": 8, "ways": 1, "below": "victims", "serves": "data"},
        "victims": {"sets": 1, "ways": 4, "policy": "fifo", "below": "l2", "inclusion": "exclusive"},
        "l2": {"sets": 4, "ways": 4, "policy": "clock", "below": "memory"},
    },
    "write-through over exclusive": {
        "l1": {"sets": 1, "ways": 2, "below": "l2", "serves": "all", "write": "through", "write_allocate": False},
        "l2": {"sets": 2, "ways": 2, "policy": "srrip", "below": "l3", "inclusion": "exclusive"},
        "l3": {"sets": 3, "ways": 1, "policy": "lru", "below": "memory", "write_allocate": False},
    },
    "write-through under write-back": {
        "l1": {"sets": 1, "ways": 2, "policy": "fifo", "below": "l2", "serves": "data"},
        "l2": {"sets": 2, "ways": 1, "below": "l3", "write": "through"},
        "l3": {"sets": 3, "ways": 1, "policy": "fifo", "below": "l4", "inclusion": "exclusive"},
        "l4": {"sets": 2, "ways": 2, "policy": "tree-plru", "below": "memory"},
    },
    "inclusive over exclusive": SPLIT
    | {
        "l2": {"sets": 2, "ways": 4, "policy": "clock", "below": "l3", "inclusion": "inclusive"},
        "l3": {"sets": 4, "ways": 4, "policy": "tree-plru", "below": "memory", "inclusion": "exclusive"},
    },
    "belady at two levels": {
        "l1": {"sets": 2, "ways": 2, "policy": "belady", "below": "l2", "serves": "data"},
        "l2": {"sets": 4, "ways": 3, "policy": "belady", "below": "memory", "write": "through"},
    },
}


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("name", FIXED)
def test_fixed_graphs(name: str, engine: Literal["plain", "compiled"]) -> None:
    """Each of these is compiled once; together they reach every rule of the page."""
    rng = random.Random(name)
    for _ in range(60):
        assert_equal(FIXED[name], reuse(rng, rng.randrange(800), rng.choice([8, 16, 32, 64])), engine)
