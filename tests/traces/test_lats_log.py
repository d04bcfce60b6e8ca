"""Logs of LATS: by hand, against a search that is made here, and what is said of a wrong message."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.readers import lats_log, requests
from tiersim.traces.schema import TREE

READER = "lats-log"
QUESTION = "Solve it.\n\nQuestion: why?"


def logged(message: str, time: str = "20:13:37,532") -> str:
    return f"2024-03-21 {time} - INFO - {message}\n"


def visit(depth: int) -> str:
    return logged(f"DFS at node depth {depth}...")


def prompt(path: str, depth: int) -> str:
    return logged(f"PROMPT: {QUESTION}{path}Thought {depth + 1}: \n", "20:13:38,000")


def grown(depth: int, thought: str, action: str = "a[x]", seen: str = "o", time: str = "20:13:39,001") -> str:
    node = f"Node(depth={depth}, value=0.00, visits=0, thought={thought}, action={action}, observation={seen})"
    return logged(f"NEW NODE: {node}", time)


def own(depth: int, thought: str) -> str:
    return f"\nThought {depth}: {thought}\nAction {depth}: a[x]\nObservation {depth}: o"


def read(text: str | bytes, **options: Any) -> dict[str, Any]:
    raw = text if isinstance(text, bytes) else text.encode()
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.log"))
    for chunk in chunks:
        TREE.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: held.strings if isinstance(held, Ragged) else held.tolist() for name, held in columns.items()}


BEGUN = logged("Logging has been configured.") + visit(0) + prompt("", 0)
LOG = (
    BEGUN
    + logged('SAMPLED ACTION: ["Thought 1: ..."]')
    + grown(1, "t1")
    + logged("Feedback: {'steps': 1, 'answer': None}")
    + grown(1, "t, 2", "", "two\nlines", "20:13:40,000")
    + visit(1)
    + prompt(own(1, "t1"), 1)
    + grown(2, "deep", time="20:14:38,000")
    + visit(2)  # it ends here: the depth is too great
    + logged("Depth limit reached")
    + visit(1)  # and goes back to the second child
    + prompt("\nThought 1: t, 2\nObservation 1: two\nlines", 1)
    + grown(2, "", time="21:13:38,000")
)


def test_by_hand() -> None:
    assert read(LOG + visit(0) + prompt("", 0), characters_per_token=10) == {
        "tree": [0, 0, 0, 0, 0, 1],
        "node": [0, 1, 2, 3, 4, 0],
        "parent": [-1, 0, 0, 1, 2, -1],
        "step": [0, 1, 1, 2, 4, 0],
        "time": [0, 1_001_000_000, 2_000_000_000, 60_000_000_000, 3_600_000_000_000, 0],
        "text": [
            QUESTION,
            "\nThought 1: t1\nAction 1: a[x]\nObservation 1: o",
            "\nThought 1: t, 2\nObservation 1: two\nlines",
            "\nThought 2: deep\nAction 2: a[x]\nObservation 2: o",
            "\nAction 2: a[x]\nObservation 2: o",
            QUESTION,
        ],
        "tokens": [3, 5, 5, 5, 4, 3],
    }


def test_line_ends_of_another_system() -> None:
    assert read(LOG.replace("\n", "\r\n")) == read(LOG)


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 9))
def test_against_a_search(seed: int, visits: int, records: int) -> None:
    draw = np.random.default_rng(seed)
    paths = [""]
    parents, depths, steps = [-1], [0], [0]
    stack = [0]
    text = ""
    for step in range(1, visits + 1):
        if not stack:
            break
        at = stack.pop()
        depth = depths[at] + 1
        text += visit(depths[at]) + prompt(paths[at], depths[at])
        children = range(len(paths), len(paths) + int(draw.integers(0, 4)))
        for child in children:
            text += grown(depth, f"t{child}") + logged("Feedback: {}")
            paths.append(paths[at] + own(depth, f"t{child}"))
            parents.append(at)
            depths.append(depth)
            steps.append(step)
        stack += reversed(children)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "RECORDS", records)
        found = read(text)
    assert found["parent"] == parents
    assert found["step"] == steps
    assert found["node"] == list(range(len(paths)))
    whole: list[str] = []
    for parent, part in zip(found["parent"], found["text"], strict=True):
        whole.append(part if parent < 0 else whole[parent] + part)
    assert whole == [QUESTION + path for path in paths]


NEXT = "a visit of the node that is next in depth-first order"
ASKED = "the prompt of the node that is next in depth-first order"
GROWN = "a new node of depth {} after the prompt of a visit"


@pytest.mark.parametrize(
    ("good", "bad", "what"),
    [
        ("", "text\n", "the beginning of a message"),
        ("", "\n", "the beginning of a message"),
        ("", logged("x", "25:13:37,532"), "a message in UTF-8 with a date and a time"),
        (BEGUN, visit(1), NEXT),
        (BEGUN + grown(1, "a"), visit(2), NEXT),
        (BEGUN + grown(1, "a") + visit(1), visit(1), NEXT),
        (BEGUN + grown(1, "a") + grown(1, "b") + visit(1), prompt(own(1, "b"), 1), ASKED),
        (BEGUN, prompt("", 0), "the prompt of a visit, which ends with 'Thought 1:'"),
        (visit(0), prompt("", 1), "the prompt of a visit, which ends with 'Thought 1:'"),
        ("", prompt("", 0), "the prompt of a visit, which ends with 'Thought 1:'"),
        (BEGUN, grown(2, "a"), GROWN.format(1)),
        (visit(0), grown(1, "a"), GROWN.format(1)),
        ("", grown(1, "a"), GROWN.format(1)),
        (BEGUN, logged("NEW NODE: Node(depth=1)"), GROWN.format(1)),
        (BEGUN, grown(1, "a", time="20:13:37,000"), "later than the first node"),
    ],
)
def test_a_wrong_message(good: str, bad: str, what: str) -> None:
    line = good.count("\n") + 1
    with pytest.raises(TraceError) as caught:
        read(good + bad)
    assert caught.value.message.startswith(f"t.log: line {line} (byte {len(good.encode())}) is not {what}: ")
    assert "cut" in caught.value.remedy


def test_text_that_is_no_utf8() -> None:
    with pytest.raises(TraceError, match=r"line 2 .* is not a message in UTF-8 with a date"):
        read(visit(0).encode() + logged("é").encode("latin-1"))


def test_a_file_that_ends_inside_a_message() -> None:
    for end in (15, 3):
        with pytest.raises(TraceError, match="the file ends inside this line"):
            read((BEGUN + grown(1, "a"))[:-end])
    with pytest.raises(TraceError, match="which ends with 'Thought 1:'"):
        read(BEGUN[:-9])


def test_an_endless_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lats_log, "LONGEST", 500)
    with pytest.raises(TraceError, match=r"line 1 \(byte 0\) is not the beginning of a message of at most 500 bytes"):
        read(visit(0) + "x\n" * 500)


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (LOG, True),
        (visit(0), True),
        (logged("Iteration 1..."), False),
        ("2024-03-21 20:13:37 INFO DFS at node depth 0...\n", False),
        ("\n" + LOG, False),
        ("", False),
    ],
)
def test_recognition(head: str, right: bool) -> None:
    assert load("reader", READER).recognise(head.encode(), "t") is right
