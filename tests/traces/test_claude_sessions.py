"""Sessions of a coding agent: by hand, subagents among them, and what is said of a wrong one."""

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
from tiersim.traces.keys import key_of
from tiersim.traces.ragged import joined
from tiersim.traces.readers import requests
from tiersim.traces.schema import REQUEST

READER = "claude-sessions"


def call(t: Any, ids: Any = (), **more: Any) -> dict[str, Any]:
    return {"t": t, "type": "n", "model": "m", "in": 70, "out": 5, "hash_ids": ids, **more}


def agent(t: Any, *calls: Any) -> dict[str, Any]:
    return {"t": t, "type": "subagent", "agent_id": "agent_001", "requests": calls}


def session(name: Any, *calls: Any, **more: Any) -> bytes:
    held = {"id": name, "block_size": 64, "hash_id_scope": "local", "requests": calls, **more}
    return json.dumps(held).encode() + b"\n"


def read(raw: bytes, **options: Any) -> dict[str, Any]:
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.jsonl"))
    for chunk in chunks:
        REQUEST.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


RAW = session("a", call(0.0, [1, 2]), agent(1.5, call(0.0, [3]), call(4.25, [3])), call(2, [1], type="s", out=6))
RAW += session("b", call(0.5, [1]), call(0.75))


def test_by_hand() -> None:
    found = read(RAW)
    assert found["arrival"] == [0, 1_500_000_000, 2_000_000_000, 5_750_000_000, 500_000_000, 750_000_000]
    assert found["output"] == [5, 5, 6, 5, 5, 5]
    assert found["session"] == [key_of("a")] * 4 + [key_of("b")] * 2
    assert found["category"] == [key_of(name) for name in "nnsnnn"]
    assert set(found["model"]) == {key_of("m")}
    one, agents, two, again, other, none = found["blocks"]
    assert two == one[:1]
    assert agents == again
    assert none == []
    assert len({*one, *agents, *other}) == 4  # a number in another session is another block


def test_one_session_after_the_other() -> None:
    found = read(RAW, sessions="in-turn")
    assert found["arrival"] == [0, 1_500_000_000, 2_000_000_000, 5_750_000_000, 5_750_000_000, 6_000_000_000]
    assert found["blocks"] == read(RAW)["blocks"]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.text(max_size=3), st.text(max_size=3))
def test_blocks_stay_apart(ids: list[int], first: str, second: str) -> None:
    found = read(session(first, call(0, ids)) + session(second, call(0, ids)))["blocks"]
    assert len(set(found[0])) == len(set(ids))
    assert (found[0] == found[1]) == (first == second or not ids)


BAD = [
    b"{",
    b"[1]",
    b"[" * 100_000,
    session(5, call(0)).rstrip(),
    session("a", call(0), hash_id_scope="global").rstrip(),
    session("a", call(0), block_size="64").rstrip(),
    session("a", call(0), requests=None).rstrip(),
    session("a", call(-1)).rstrip(),
    session("a", call("0")).rstrip(),
    session("a", call(float("nan"))).rstrip(),
    session("a", call(1e30)).rstrip(),
    session("a", call(0, [-1])).rstrip(),
    session("a", call(0, [2**64])).rstrip(),
    session("a", call(0, None)).rstrip(),
    session("a", call(0, **{"in": 2**32})).rstrip(),
    session("a", call(0, out=None)).rstrip(),
    session("a", call(0, model=None)).rstrip(),
    session("a", call(0, type=1)).rstrip(),
    session("a", 7).rstrip(),
    session("a", agent(None, call(0))).rstrip(),
    session("a", agent(0, agent(0, call(0)))).rstrip(),  # no published session nests deeper
    session("a", {"t": 0, "type": "subagent"}).rstrip(),
    session("a", agent(4e9, call(4e9))).rstrip(),
]


@pytest.mark.parametrize("bad", BAD)
def test_a_wrong_line(bad: bytes) -> None:
    with pytest.raises(TraceError) as caught:
        read(RAW + bad + b"\n" + RAW)
    assert caught.value.message.startswith(f"t.jsonl: line 3 (byte {len(RAW)}) is not a session")
    assert '"hash_ids": [numbers]' in caught.value.remedy


def test_which_request_is_wrong() -> None:
    with pytest.raises(TraceError, match=r"line 1 .* for its request 2 is none"):
        read(session("a", call(0), call(None)))


def test_sessions_that_outlast_the_clock() -> None:
    raw = session("a", call(0), call(4e9)) + session("b", call(0), call(4e9))
    assert len(read(raw)["arrival"]) == 4
    with pytest.raises(TraceError, match=r"line 2 .* still fits the clock"):
        read(raw, sessions="in-turn")


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LONGEST", 1000)
    with pytest.raises(TraceError, match=r"line 1 \(byte 0\) has more than 2,000 bytes"):
        read(session("a", *[call(0, list(range(50)))] * 30))


def test_recognition_of_a_first_line_that_is_longer_than_what_is_seen() -> None:
    line = session("a", call(0, np.arange(9999).tolist()))
    assert load("reader", READER).recognise(line[:1000], "t")
    assert not load("reader", READER).recognise(b'{"timestamp": 1, "hash_ids": [1]}', "t")
