"""Belady against every possible schedule of evictions, and against every other policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.hierarchy import Reference
from tiersim.models.caches import simulate_lines

OTHERS: list[str | dict[str, Any]] = ["lru", "fifo", "clock", "tree-plru", "srrip", {"use": "srrip", "bits": 3}]


def fewest_misses(lines: Sequence[int], ways: int) -> int:
    """The least number of misses over all choices of victims; each miss fills."""

    @cache
    def rest(position: int, held: frozenset[int]) -> int:
        if position == len(lines):
            return 0
        line = lines[position]
        if line in held:
            return rest(position + 1, held)
        if len(held) < ways:
            return 1 + rest(position + 1, held | {line})
        return 1 + min(rest(position + 1, held - {victim} | {line}) for victim in held)

    return rest(0, frozenset())


def single(policy: str | dict[str, Any], ways: int) -> dict[str, dict[str, Any]]:
    return {"l1": {"sets": 1, "ways": ways, "policy": policy, "below": "memory", "serves": "data"}}


@settings(deadline=None, max_examples=300)
@given(ways=st.integers(1, 3), lines=st.lists(st.integers(0, 4), max_size=10))
def test_no_schedule_misses_less(ways: int, lines: list[int]) -> None:
    result = simulate_lines(single("belady", ways), [("load", line) for line in lines], engine="plain")
    assert result.counters["l1"]["read_misses"] == fewest_misses(lines, ways)


@pytest.mark.parametrize("other", OTHERS, ids=str)
@settings(deadline=None, max_examples=60)
@given(
    ways=st.sampled_from([1, 2, 4]),
    references=st.lists(st.tuples(st.sampled_from(["load", "store"]), st.integers(0, 11)), max_size=80),
)
def test_no_policy_misses_less(other: str | dict[str, Any], ways: int, references: list[Reference]) -> None:
    best = simulate_lines(single("belady", ways), references, engine="plain").counters["l1"]
    rival = simulate_lines(single(other, ways), references, engine="plain").counters["l1"]
    assert best["read_misses"] + best["write_misses"] <= rival["read_misses"] + rival["write_misses"]


@pytest.mark.parametrize("other", OTHERS, ids=str)
@settings(deadline=None, max_examples=60)
@given(references=st.lists(st.tuples(st.sampled_from(["load", "store"]), st.integers(0, 11)), max_size=80))
def test_no_policy_misses_less_below_another_cache(other: str | dict[str, Any], references: list[Reference]) -> None:
    """Below an L1 the references are its misses and its write-backs, and Belady is best over both together."""

    def misses(policy: str | dict[str, Any]) -> int:
        graph: dict[str, dict[str, Any]] = {
            "l1": {"sets": 1, "ways": 2, "policy": "lru", "below": "l2", "serves": "data"},
            "l2": {"sets": 2, "ways": 2, "policy": policy, "below": "memory"},
        }
        count = simulate_lines(graph, references, engine="plain").counters["l2"]
        return int(count["read_misses"]) + int(count["writeback_misses"])

    assert misses("belady") <= misses(other)
