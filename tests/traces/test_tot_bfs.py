"""Breadth-first searches: by hand, equal texts, against a search that is made here, and what is said of a wrong one."""

from __future__ import annotations

import io
import json
import math
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

READER = "tot-bfs"


def step(
    number: Any, ys: Any = ("",), new: Any = ("a", "b"), values: Any = (1, 2), kept: Any = ("b",), x: Any = "question"
) -> dict[str, Any]:
    return {"step": number, "x": x, "ys": ys, "new_ys": new, "values": values, "select_new_ys": kept}


def problem(*steps: Any, idx: Any = 7) -> dict[str, Any]:
    return {"steps": list(steps), "idx": idx, "ys": [], "infos": [], "usage_so_far": {}}


def read(*problems: Any, **options: Any) -> dict[str, Any]:
    raw = json.dumps(problems, indent=1).encode()
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.json"))
    for chunk in chunks:
        TREE.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: held.strings if isinstance(held, Ragged) else held.tolist() for name, held in columns.items()}


def test_by_hand() -> None:
    first = step(0, [""], ["ab", "c", "défg"], [1, -2, 1.5], ["défg", "ab"])
    second = step(1, ["défg", "ab"], ["défgX", "défg", "abYZ"], [0, 3, 2], ["défg"])
    found = read(problem(first, second, idx=900), problem(step(0, x="?"), idx=3), characters_per_token=2)
    assert math.isnan(found["reward"][0])
    assert math.isnan(found["reward"][7])
    found["reward"] = [None if math.isnan(value) else value for value in found["reward"]]
    assert found == {
        "tree": [900] * 7 + [3] * 3,
        "node": [0, 1, 2, 3, 4, 5, 6, 0, 1, 2],
        "parent": [-1, 0, 0, 0, 3, 3, 1, -1, 0, 0],
        "step": [0, 1, 1, 1, 2, 2, 2, 0, 1, 1],
        "text": ["question", "ab", "c", "défg", "X", "", "YZ", "?", "a", "b"],
        "tokens": [4, 1, 1, 2, 1, 0, 1, 1, 1, 1],
        "reward": [None, 1, -2, 1.5, 0, 3, 2, None, 1, 2],
        "fate": [0, 0, 1, 0, 1, 0, 1, 0, 1, 0],
    }


def test_equal_texts_are_nodes_each_with_its_own_value() -> None:
    # the search kept one of three equal texts, which is that of the highest value, and "b"
    found = read(problem(step(0, [""], ["a", "a", "b", "a"], [0, 5, 1, 5], ["a", "b"])))
    assert found["reward"][1:] == [0, 5, 1, 5]
    assert found["fate"] == [0, 1, 0, 0, 1]
    # both were kept: the search goes on from the first
    found = read(problem(step(0, [""], ["a", "a"], [1, 2], ["a", "a"]), step(1, ["a", "a"], ["ab", "ac"], [0, 0], [])))
    assert found["fate"] == [0, 0, 0, 1, 1]
    assert found["parent"] == [-1, 0, 0, 1, 1]
    # drawn twice of one: it is kept once
    assert read(problem(step(0, [""], ["a", "b"], [1, 2], ["a", "a"])))["fate"] == [0, 0, 1]


def test_the_longest_text_before_is_the_parent() -> None:
    found = read(
        problem(step(0, [""], ["a", "ab"], [1, 1], ["a", "ab"]), step(1, ["a", "ab"], ["ac", "abc"], [0, 0], ["abc"]))
    )
    assert found["parent"] == [-1, 0, 0, 1, 2]
    assert found["text"] == ["question", "a", "ab", "c", "c"]


def test_half_a_pair_of_surrogates_is_a_question_mark() -> None:
    assert read(problem(step(0, x="a\ud800")))["text"][0] == "a?"


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 9))
def test_against_a_search(seed: int, depth: int, width: int, kept: int, records: int) -> None:
    """Texts that differ and have one length a step: each tells its own place in the tree."""
    draw = np.random.default_rng(seed)
    rows: list[tuple[int, int, str, float, int]] = [(-1, 0, "question", math.nan, 0)]
    beam = [("", 0)]
    steps = []
    for number in range(depth):
        made = [(text + f"<{len(rows) + at:03}>", parent) for at, (text, parent) in enumerate(beam * width)]
        made = [made[at] for at in draw.permutation(len(made))]
        values = draw.permutation(len(made)).tolist()  # no two alike
        best = sorted(range(len(made)), key=lambda at: -values[at])[:kept]
        ids = range(len(rows), len(rows) + len(made))
        rows += [
            (parent, number + 1, text[-5:], value, int(at not in best))
            for at, ((text, parent), value) in enumerate(zip(made, values, strict=True))
        ]
        texts = [text for text, _ in made]
        steps.append(step(number, [text for text, _ in beam], texts, values, [texts[at] for at in best]))
        beam = [(texts[at], ids[at]) for at in best]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "RECORDS", records)
        found = read(problem(*steps))
    names = ("parent", "step", "text", "reward", "fate")
    made_rows = list(zip(*(found[name] for name in names), strict=True))
    assert repr(made_rows) == repr([(*row[:3], float(row[3]), row[4]) for row in rows])  # by its text, for the NaN
    assert found["node"] == list(range(len(rows)))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (5, "it has no number idx"),
        ([], "it has no number idx"),
        (problem(step(0), idx=-1), "it has no number idx"),
        (problem(step(0), idx=2**64), "it has no number idx"),
        (problem(step(0), idx=True), "it has no number idx"),
        (problem(), "it has no list of steps"),
        ({"idx": 3}, "it has no list of steps"),
        (problem(5), "it has no list of steps"),
        (problem(step(0, x=5)), "its step 0 has no question x"),
        (problem(step(1)), "its step 0 is not numbered so"),
        (problem(step(0), step(1, ["b"], x="other")), "its step 1 is not numbered so, or has another question"),
        (problem(step(0, "")), "its step 0 has no texts ys"),
        (problem(step(0, new=["a", 5])), "its step 0 has no texts ys, new_ys"),
        (problem(step(0, kept=None)), "its step 0 has no texts ys, new_ys"),
        (problem(step(0, values=[1])), "its step 0 has not one number in values for each"),
        (problem(step(0, values=[1, None])), "its step 0 has not one number"),
        (problem(step(0, values=[1, True])), "its step 0 has not one number"),
        (problem(step(0, values=[1, math.nan])), "its step 0 has not one number"),
        (problem(step(0, values=[1, -math.inf])), "its step 0 has not one number"),
        (problem(step(0, values=[1, 10**400])), "its step 0 has not one number"),
        (problem(step(0, values=5)), "its step 0 has not one number"),
        (problem(step(0, ["a"])), "its step 0 goes on from ys that the step before has not kept"),
        (problem(step(0), step(1, ["a"])), "its step 1 goes on from ys"),
        (problem(step(0, kept=["c"])), "its step 0 keeps what is not among its new_ys"),
        (
            problem(step(0), step(1, ["b"], ["ba", "ca"], kept=[])),
            "text 1 among the new_ys of its step 1 begins as none",
        ),
        (problem(step(0), step(1, [], ["ba"], [1], [])), "text 0 among the new_ys of its step 1 begins as none"),
    ],
)
def test_a_wrong_problem(bad: Any, why: str) -> None:
    good = json.dumps(problem(step(0)))
    raw = f"[{good}, {json.dumps(bad)}]"
    with pytest.raises(TraceError) as caught:
        list(build("reader", READER).read(io.BytesIO(raw.encode()), "t.json"))
    start = f"t.json: element 2 (byte {len(good) + 3}) is not a problem that was searched, for {why}"
    assert caught.value.message.startswith(start)
    assert '"select_new_ys": [texts]' in caught.value.remedy


def test_a_problem_that_comes_twice() -> None:
    with pytest.raises(TraceError, match=r"element 2 \(byte \d+\) is not a problem of its own") as caught:
        read(problem(step(0)), problem(step(0)))
    assert '"idx": 7' in caught.value.remedy


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (json.dumps([problem(step(0))]).encode(), True),
        (b" [\n " + json.dumps(problem(step(0)), indent=4).encode()[:200], True),
        (json.dumps(problem(step(0))).encode(), False),
        (json.dumps([[problem(step(0))]]).encode(), False),
        (b'[{"steps": []}]', False),
        (b"[]", False),
        (b"", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert load("reader", READER).recognise(head, "t") is right
