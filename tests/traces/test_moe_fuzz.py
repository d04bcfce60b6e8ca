"""Files of routed experts and of tree searches with changed bytes: one TraceError that says where, or a result."""

from __future__ import annotations

import io
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.chunks import length
from tiersim.traces.schema import SCHEMAS

ROUTE = {"type": "route", "token_idx": 0, "layer": 3, "topk_ids": [7, 1], "topk_weights": [0.5, 0.25]}
STEP = {"step": 0, "x": "q", "ys": [""], "new_ys": ["a", "b"], "values": [1, 2.5], "select_new_ys": ["b"]}
VISITS = [
    {"total_step": place, "actions": path, "count": {"impossible": 0}} for place, path in enumerate((["a"], ["a", "b"]))
]
GOOD: dict[str, bytes] = {
    "moe-vllm": b'{"type": "meta", "top_k": 2}\n' + b"".join(json.dumps(ROUTE).encode() + b"\n" for _ in range(3)),
    "moe-csv": b'Layer ID,Batch Number,Token,Activated Expert IDs\n1,0,a,"[3, 1]"\n1,0,b,[2]\n2,0,a,[3]\n2,0,b,[2]\n',
    "moe-predictions": b'{"prompt": 9, "layer": 1, "token": 0, "experts": [3, 1], "predicted": [3]}\n' * 3,
    "tot-bfs": json.dumps([{"idx": idx, "steps": [STEP]} for idx in (1, 2)]).encode(),
    "tot-dfs": json.dumps([VISITS] * 2).encode(),
    "lats-log": b"2024-03-21 20:13:37,657 - INFO - DFS at node depth 0...\n"
    b"2024-03-21 20:13:37,677 - INFO - PROMPT: why?\n\nThought 1: \n\n"
    b"2024-03-21 20:13:40,129 - INFO - NEW NODE: Node(depth=1, value=0.00, visits=0, thought=t, action=a, "
    b"observation=o)\n2024-03-21 20:13:42,354 - INFO - DFS at node depth 1...\n",
}


def outcome(name: str, raw: bytes) -> TraceError | int:
    """The error, or how many records there are."""
    schema = SCHEMAS[load("reader", name).schema]
    try:
        return sum(length(schema.check(chunk, "t")) for chunk in build("reader", name).read(io.BytesIO(raw), "t"))
    except TraceError as error:
        return error


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_taken(name: str) -> None:
    assert isinstance(outcome(name, GOOD[name]), int)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(GOOD)), st.integers(0, 2**32), st.integers(1, 8))
def test_changed_bytes(name: str, seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(GOOD[name])
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice([bytes([draw.randrange(256)]), b"9", b"e", b".", b"-", b"\n", b",", b"null", b"[", b"}", b""])
        raw[at : at + draw.randrange(3)] = new
    made = outcome(name, bytes(raw))
    if isinstance(made, TraceError):
        assert made.message.startswith("t: ")
        assert "byte" in made.message
        assert made.remedy
    else:
        assert made <= 8 + changes
