"""Pairs of questions: by hand, their groups against a plain search, and what is said of a wrong pair."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces import stream_trace
from tiersim.traces.ragged import joined
from tiersim.traces.readers import question_pairs
from tiersim.traces.schema import QUERY

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
READER = "question-pairs"
Pairs = list[tuple[str, str]]


def as_lines(pairs: Pairs) -> bytes:
    return b"".join(json.dumps({"origin": a, "similar": b}).encode() + b"\n" for a, b in pairs)


def as_array(pairs: Pairs) -> bytes:
    return json.dumps([{"similar": b, "origin": a} for a, b in pairs], indent=4).encode()


def read(raw: bytes, **options: Any) -> tuple[list[str], list[int]]:
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.json"))
    for chunk in chunks:
        QUERY.check(chunk, "t")
        assert list(chunk) == ["text", "group"]
    if not chunks:
        return [], []
    return joined([chunk["text"] for chunk in chunks]).strings, joined([chunk["group"] for chunk in chunks]).tolist()


@pytest.mark.parametrize("written", [as_lines, as_array])
def test_by_hand(written: Any) -> None:
    # the fourth pair joins the groups of the first and of the second
    raw = written([("a", "ä"), ("c", "d"), ("e", "e"), ("d", "ä")])
    assert load("reader", READER).recognise(raw, "t")
    assert read(raw) == (["a", "ä", "c", "d", "e", "e", "d", "ä"], [0, 0, 0, 0, 1, 1, 0, 0])
    assert read(raw, order="origins-first") == (["a", "c", "e", "d", "ä", "d", "e", "ä"], [0, 0, 1, 0, 0, 0, 1, 0])


def reached(pairs: Pairs, text: str) -> set[str]:
    """Every question to which a chain of pairs leads from one."""
    found, new = {text}, {text}
    while new:
        new = {b for pair in pairs for a, b in (pair, pair[::-1]) if a in new} - found
        found |= new
    return found


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(*[st.sampled_from("abcdefghijklmnop")] * 2), min_size=1, max_size=20), st.booleans())
def test_groups_are_chains_of_pairs(pairs: Pairs, array: bool) -> None:
    texts, groups = read((as_array if array else as_lines)(pairs))
    assert texts == [text for pair in pairs for text in pair]
    assert list(dict.fromkeys(groups)) == list(range(len(set(groups))))
    for text, group in zip(texts, groups, strict=True):
        assert {other for other, number in zip(texts, groups, strict=True) if number == group} == reached(pairs, text)


BAD: list[Any] = [
    {"origin": "a"},
    {"origin": "a", "similar": 5},
    {"origin": "a", "similar": " "},
    {"origin": "", "similar": "b"},
    {"origin": "a", "similar": "b", "label": 0},
    ["a", "b"],
    None,
]


@pytest.mark.parametrize("bad", BAD)
def test_a_wrong_pair(bad: Any) -> None:
    good = {"origin": "a", "similar": "b"}
    before = json.dumps(good).encode() + b"\n"
    for raw, place in (
        (before * 2 + json.dumps(bad).encode() + b"\n" + before, f"line 3 (byte {2 * len(before)})"),
        (json.dumps([good, good, bad, good]).encode(), f"element 3 (byte {1 + 2 * (len(before) + 1)})"),
    ):
        with pytest.raises(TraceError) as caught:
            read(raw)
        assert caught.value.message.startswith(f"t.json: {place} is not a pair of questions: ")
        assert 'expected {"origin": text, "similar": text}' in caught.value.remedy


def test_files_that_end_too_early() -> None:
    pairs = [("a", "b"), ("c", "d")]
    with pytest.raises(TraceError, match=r"line 2 \(byte 32\) .* the file ends inside this line"):
        read(as_lines(pairs)[:-5])
    with pytest.raises(TraceError, match=r"element 2 \(byte \d+\) breaks off: the file ends inside"):
        read(as_array(pairs)[:-5])


@pytest.mark.parametrize(("limit", "value"), [("MOST", 2), ("MOST_TEXT", 3)])
def test_more_than_can_be_grouped(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_pairs, limit, value)
    assert len(read(as_lines([("a", "b"), ("c", "d")]))[0]) == 4
    with pytest.raises(TraceError, match=r"byte 64: more than"):
        read(as_lines([("a", "b"), ("c", "d"), ("e", "f")]))


@pytest.mark.parametrize(
    "head",
    [b"", b"[", b"[]", b"{}", b'{"origin": "a"}', b'{"origin": "a", "similar": "b", "answer": "c"}', b"[" * 100_000],
)
def test_no_pairs(head: bytes) -> None:
    assert not load("reader", READER).recognise(head, "t")


GOOD = [as_lines([("a", "b"), ("c", "d"), ("a", "c")]), as_array([("a", "b"), ("c", "d")])]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(GOOD), st.integers(0, 2**32), st.integers(1, 6))
def test_changed_bytes(good: bytes, seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(good)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice(
            [bytes([draw.randrange(256)]), b"9", b'"', b"\\", b"\n", b",", b"[", b"]", b"{", b"null", b""]
        )
        raw[at : at + draw.randrange(3)] = new
    load("reader", READER).recognise(bytes(raw), "t")
    try:
        made: TraceError | int = len(read(bytes(raw))[0])
    except TraceError as error:
        made = error
    if isinstance(made, TraceError):
        assert re.match(r"t\.json: .*byte [\d,]+", made.message)
        assert made.remedy
    else:
        assert made <= 6


@pytest.mark.parametrize(
    ("name", "pairs", "questions", "origins", "groups", "largest"),
    [
        ("gptcache_qqp_similar.jsonl.gz", 30_141, 44_769, 24_120, 18_105, 95),
        ("gptcache_mock_pairs.json.gz", 999, 1_952, 964, 962, 5),
    ],
)
def test_pairs_of_gptcache(name: str, pairs: int, questions: int, origins: int, groups: int, largest: int) -> None:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    text = gzip.decompress((MIRROR / name).read_bytes()).decode()
    held = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    chunks = list(stream_trace(name).chunks())
    texts = joined([chunk["text"] for chunk in chunks]).strings
    numbers = joined([chunk["group"] for chunk in chunks]).tolist()
    assert texts == [pair[key] for pair in held for key in ("origin", "similar")]
    assert (len(texts), len(set(texts)), len(set(texts[::2]))) == (2 * pairs, questions, origins)
    assert numbers[::2] == numbers[1::2]
    members: dict[int, set[str]] = {}
    for question, group in zip(texts, numbers, strict=True):
        members.setdefault(group, set()).add(question)
    assert len(members) == groups
    assert sum(map(len, members.values())) == questions  # no question is in two groups
    assert max(map(len, members.values())) == largest
