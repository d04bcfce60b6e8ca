"""Files of requests to language models with changed bytes: one TraceError that says where, or a result."""

from __future__ import annotations

import io
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces.chunks import length
from tiersim.traces.schema import REQUEST


def text(*held: object) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in held)


MOONCAKE = {"timestamp": 27.5, "input_length": 1000, "output_length": 5, "hash_ids": [1, 2]}
CALL = {"t": 0.5, "type": "n", "model": "m", "in": 70, "out": 5, "hash_ids": [1, 2]}
AGENT = {"t": 2.0, "type": "subagent", "requests": [CALL, CALL]}
SESSION = {"id": "s", "block_size": 64, "hash_id_scope": "local", "requests": [CALL, AGENT]}
PROMPT = {"timestamp": 1760428436442742, "input": "a question" * 60, "output": "an answer", "session_id": "s"}
GOOD: dict[str, tuple[str, bytes]] = {
    "azure-llm": ("azure-llm", b"TIMESTAMP,ContextTokens,GeneratedTokens\n" + b"2023-11-16 18:15:46.6805900,9,4\n" * 3),
    "burstgpt": (
        "burstgpt",
        b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n" + b"5,GPT-4,4,8,12,API log\n" * 3,
    ),
    "vidur": ("vidur-lengths", b"num_prefill_tokens,num_decode_tokens,num_total_tokens\n" + b"7,8,15\n" * 4),
    "claude": ("claude-sessions", text(*[SESSION] * 2)),
    "lmcache": ("lmcache-prompts", text(*[PROMPT] * 2)),
    "mooncake": ("mooncake-requests", text(*[MOONCAKE] * 3)),
}


def outcome(name: str, raw: bytes) -> TraceError | int:
    """The error, or how many records there are."""
    try:
        return sum(length(REQUEST.check(chunk, "t")) for chunk in build("reader", name).read(io.BytesIO(raw), "t"))
    except TraceError as error:
        return error


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_taken(name: str) -> None:
    assert isinstance(outcome(*GOOD[name]), int)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(GOOD)), st.integers(0, 2**32), st.integers(1, 8))
def test_changed_bytes(name: str, seed: int, changes: int) -> None:
    reader, good = GOOD[name]
    draw = random.Random(seed)
    raw = bytearray(good)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice([bytes([draw.randrange(256)]), b"9", b"e", b".", b"-", b"\n", b",", b"null", b"[", b"}", b""])
        raw[at : at + draw.randrange(3)] = new
    made = outcome(reader, bytes(raw))
    if isinstance(made, TraceError):
        assert made.message.startswith("t: line ")
        assert "byte" in made.message
        assert made.remedy
    else:
        assert made <= 8 + changes
