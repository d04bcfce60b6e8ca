"""Depth-first searches: by hand, against a search that is made here, and what is said of a wrong one."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.readers import requests
from tiersim.traces.schema import TREE

READER = "tot-dfs"


def visit(number: Any, actions: Any, impossible: Any = 0) -> dict[str, Any]:
    info = {"r_letter": 0.2, "r_word": 0.1}
    count = {"sure": 1, "maybe": 0, "impossible": impossible}
    return {"total_step": number, "env_step": 1, "actions": actions, "info": info, "count": count}


def read(*puzzles: Any, **options: Any) -> dict[str, Any]:
    raw = json.dumps(puzzles).encode()
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.json"))
    for chunk in chunks:
        TREE.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: held.strings if isinstance(held, Ragged) else held.tolist() for name, held in columns.items()}


PUZZLE = [
    visit(0, ["h1. tasks"]),
    visit(1, ["h1. tasks", "v2. é"], 2),
    visit(2, ["h1. tasks", "h2. motor"]),
    visit(3, ["h1. tasks", "h2. motor", "v1. tmgam"]),
    visit(4, ["h2. motor"], 1),
]


def test_by_hand() -> None:
    assert read(PUZZLE, [visit(0, ["v1. a"])], characters_per_token=3) == {
        "tree": [0] * 6 + [1] * 2,
        "node": [0, 1, 2, 3, 4, 5, 0, 1],
        "parent": [-1, 0, 1, 1, 3, 0, -1, 0],
        "step": [0, 1, 2, 3, 4, 5, 0, 1],
        "text": ["", "h1. tasks", "v2. é", "h2. motor", "v1. tmgam", "h2. motor", "", "v1. a"],
        "tokens": [0, 3, 2, 3, 3, 3, 0, 2],
        "fate": [0, 0, 1, 0, 0, 1, 0, 0],
    }


def test_a_search_that_does_not_prune() -> None:
    # it goes on from a node that was held impossible
    on = [*PUZZLE, visit(5, ["h2. motor", "h1. tasks"])]
    assert read(on, PUZZLE)["fate"] == [0] * 7 + [0, 0, 1, 0, 0, 1]


def test_a_puzzle_without_a_node_has_a_root() -> None:
    assert read([], PUZZLE)["tree"] == [0] + [1] * 6


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 9))
def test_against_a_search(seed: int, count: int, records: int) -> None:
    draw = np.random.default_rng(seed)
    parents = [-1]
    paths: list[list[str]] = [[]]
    stack = [0]
    while len(paths) <= count:  # now on from the last node, now from one of those before it on its path
        stack = stack[: draw.integers(1, len(stack) + 1)]
        paths.append([*paths[stack[-1]], f"{len(paths)}"])
        parents.append(stack[-1])
        stack.append(len(paths) - 1)
    leaves = set(range(1, len(paths))) - set(parents)
    pruned = [int(place in leaves and draw.random() < 0.5) for place in range(len(paths))]
    puzzle = [visit(place, path, pruned[place + 1]) for place, path in enumerate(paths[1:])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "RECORDS", records)
        found = read(puzzle)
    assert found["parent"] == parents
    assert found["fate"] == pruned
    assert found["text"] == ["", *(path[-1] for path in paths[1:])]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (5, "it is no list of nodes"),
        ({}, "it is no list of nodes"),
        ([5], "its node 0 is none, or not numbered so"),
        ([visit(1, ["a"])], "its node 0 is none"),
        ([visit(0, [])], "its node 0 is none"),
        ([visit(0, "a")], "its node 0 is none"),
        ([visit(0, ["a", 5])], "its node 0 is none"),
        ([visit(0, ["a"], None)], "its node 0 is none"),
        ([visit(0, ["a"], 0.5)], "its node 0 is none"),
        ([visit(0, ["a"]) | {"count": 5}], "its node 0 is none"),
        ([visit(0, ["a"]), visit(2, ["b"])], "its node 1 is none, or not numbered so"),
        ([visit(0, ["a"]), visit(1, ["a"])], "its node 1 was visited before"),
        ([visit(0, ["a"]), visit(1, ["b", "c"])], "the parent of its node 1 was not visited before"),
    ],
)
def test_a_wrong_puzzle(bad: Any, why: str) -> None:
    good = json.dumps(PUZZLE)
    raw = f"[{good}, {json.dumps(bad)}]"
    with pytest.raises(TraceError) as caught:
        list(build("reader", READER).read(io.BytesIO(raw.encode()), "t.json"))
    start = f"t.json: element 2 (byte {len(good) + 3}) is not a puzzle that was searched, for {why}"
    assert caught.value.message.startswith(start)
    assert "after its parent" in caught.value.remedy


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (json.dumps([PUZZLE]).encode(), True),
        (json.dumps([[], PUZZLE], indent=1).encode(), True),
        (json.dumps(PUZZLE).encode(), False),
        (b"[[]]", False),
        (b"", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert load("reader", READER).recognise(head, "t") is right
