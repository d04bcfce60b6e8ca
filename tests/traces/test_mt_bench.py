"""Questions of several turns: by hand, against a plain parse, and what is said of a wrong one."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces import stream_trace
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import QUERY

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
READER = "mt-bench"
QUESTION = {"question_id": 81, "category": "math", "turns": ["What is 2 + 2?", "Twice that?"], "reference": ["4", "8"]}
Row = dict[str, Any]


def line(**changed: Any) -> bytes:
    held = {key: value for key, value in (QUESTION | changed).items() if value != "left out"}
    return json.dumps(held).encode() + b"\n"


def table(chunks: list[dict[str, Any]]) -> list[Row]:
    """The records."""
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    values = {name: held.strings if isinstance(held, Ragged) else held.tolist() for name, held in columns.items()}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def read(raw: bytes) -> list[Row]:
    chunks = list(build("reader", READER).read(io.BytesIO(raw), "t.jsonl"))
    for chunk in chunks:
        QUERY.check(chunk, "t")
    return table(chunks) if chunks else []


def test_by_hand() -> None:
    raw = line() + line(question_id=2**64 - 1, category="ä", turns=["Why?"], reference="left out")
    assert load("reader", READER).recognise(raw, "t")
    assert read(raw) == [
        {"text": "What is 2 + 2?", "session": 81, "turn": 0, "category": "math", "answer": "4"},
        {"text": "Twice that?", "session": 81, "turn": 1, "category": "math", "answer": "8"},
        {"text": "Why?", "session": 2**64 - 1, "turn": 0, "category": "ä", "answer": ""},
    ]
    assert [row["answer"] for row in read(line(reference=["4"]))] == ["4", ""]


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[1]",
        line(question_id=81),  # again
        line(question_id="82"),
        line(question_id=-1),
        line(question_id=2**64),
        line(question_id=True),
        line(question_id=82, category=None),
        line(question_id=82, turns=[]),
        line(question_id=82, turns="Why?"),
        line(question_id=82, turns=["Why?", 5]),
        line(question_id=82, turns="left out"),
        line(question_id=82, reference=["a", "b", "c"]),
        line(question_id=82, reference=None),
        line(question_id=82, reference="4"),
    ],
)
def test_a_wrong_line(bad: bytes) -> None:
    good = line(question_id=80) + line()
    with pytest.raises(TraceError) as caught:
        read(good + bad.rstrip() + b"\n" + line(question_id=90))
    assert caught.value.message.startswith(f"t.jsonl: line 3 (byte {len(good)}) is not a question with turns: ")
    assert 'expected {"question_id"' in caught.value.remedy


def test_a_cut_file() -> None:
    with pytest.raises(TraceError, match=r"line 1 \(byte 0\) .* the file ends inside this line"):
        read(line()[:-5])


@pytest.mark.parametrize("head", [b"", b"{}", line(turns="left out"), line(question_id="a"), b"[" * 100_000])
def test_no_questions(head: bytes) -> None:
    assert not load("reader", READER).recognise(head, "t")


GOOD = line() + line(question_id=82, reference="left out")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_changed_bytes(seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(GOOD)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice(
            [bytes([draw.randrange(256)]), b"9", b'"', b"\\", b"\n", b",", b"[", b"]", b"{", b"null", b""]
        )
        raw[at : at + draw.randrange(3)] = new
    load("reader", READER).recognise(bytes(raw), "t")
    try:
        made: TraceError | int = len(read(bytes(raw)))
    except TraceError as error:
        made = error
    if isinstance(made, TraceError):
        assert re.match(r"t\.jsonl: line \d+ \(byte \d+\) is not a question", made.message)
        assert made.remedy
    else:
        assert made <= 4 + changes


def test_questions_of_mt_bench() -> None:
    name = "mt_bench_questions.jsonl.gz"
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    held = [json.loads(text) for text in gzip.decompress((MIRROR / name).read_bytes()).decode().splitlines()]
    found = table(list(stream_trace(name).chunks()))
    assert [(row["session"], row["turn"], row["text"], row["category"]) for row in found] == [
        (each["question_id"], turn, text, each["category"]) for each in held for turn, text in enumerate(each["turns"])
    ]
    assert len(found) == 160
    assert [row["answer"] for row in found] == [
        answer for each in held for answer in each.get("reference", [""] * len(each["turns"]))
    ]
    assert sum(bool(row["answer"]) for row in found) == 70
    assert set(Counter(row["category"] for row in found if not row["turn"]).values()) == {10}
    assert len({row["category"] for row in found}) == 8
    assert len({row["session"] for row in found}) == 80
