"""Prompts as text: their blocks by hand and against their own definition, and what is said of a wrong line."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.keys import key_of
from tiersim.traces.ragged import joined
from tiersim.traces.readers import lmcache_prompts
from tiersim.traces.schema import REQUEST

READER = "lmcache-prompts"


def line(timestamp: Any, prompt: Any, answer: Any = "", session: Any = "s") -> bytes:
    held = {"timestamp": timestamp, "input": prompt, "output": answer, "session_id": session}
    return json.dumps(held).encode() + b"\n"


def read(raw: bytes, **options: Any) -> dict[str, Any]:
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.jsonl"))
    for chunk in chunks:
        REQUEST.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


def test_by_hand() -> None:
    # sessions one after another in the file, at the same time on the clock
    raw = line(5_000_007, "abcdefgh", "abcde") + line(5_000_009, "abcdefghijk") + line(5_000_000, "abcdxx", "x", "t")
    found = read(raw, chunk=4)
    assert found["arrival"] == [0, 7000, 9000]
    assert found["input"] == [2, 2, 3]
    assert found["output"] == [1, 2, 0]
    assert found["session"] == [key_of("t"), key_of("s"), key_of("s")]
    first, second, third = found["blocks"]
    assert (len(first), len(second), len(third)) == (1, 2, 2)  # what is left at the end is no block
    assert first == second[:1]
    assert second == third
    assert read(raw, chunk=4, characters_per_token=3)["input"] == [2, 3, 4]


@given(st.lists(st.text("ab\ud800é", max_size=12), min_size=1, max_size=8), st.integers(1, 5))
def test_equal_blocks_have_equal_text_before_them(prompts: list[str], chunk: int) -> None:
    found = read(b"".join(line(place, prompt) for place, prompt in enumerate(prompts)), chunk=chunk)["blocks"]
    wanted = [[prompt[:end] for end in range(chunk, len(prompt) + 1, chunk)] for prompt in prompts]
    texts: dict[int, str] = {}
    for ids, starts in zip(found, wanted, strict=True):
        assert [texts.setdefault(name, start) for name, start in zip(ids, starts, strict=True)] == starts
    assert len(texts) == len({start for starts in wanted for start in starts})
    for name, start in texts.items():
        digest = hashlib.blake2b(start.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        assert name == int.from_bytes(digest, "little")


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[1]",
        b"[" * 100_000,
        line("1", "a").rstrip(),
        line(-1, "a").rstrip(),
        line(1e300, "a").rstrip(),
        line(True, "a").rstrip(),
        line(1, None).rstrip(),
        line(1, ["a"]).rstrip(),
        line(1, "a", 5).rstrip(),
        line(1, "a", "b", 7).rstrip(),
    ],
)
def test_a_wrong_line(bad: bytes) -> None:
    good = line(0, "abc") * 3
    with pytest.raises(TraceError) as caught:
        read(good + bad + b"\n" + good)
    assert caught.value.message.startswith(f"t.jsonl: line 4 (byte {len(good)}) is not a prompt: ")
    assert '"session_id": text' in caught.value.remedy


@pytest.mark.parametrize(("limit", "value"), [("MOST", 3), ("MOST_BLOCKS", 6)])
def test_more_than_can_be_sorted(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmcache_prompts, limit, value)
    assert len(read(line(0, "ab") * 3, chunk=1)["input"]) == 3
    with pytest.raises(TraceError, match=r"line 4 \(byte \d+\): more than"):
        read(line(0, "ab") * 4, chunk=1)


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (line(0, "a"), True),
        (line(0, "a" * 999)[:500], True),
        (b'{"timestamp": 1, "input": "a", "output": "b"}\n', False),
        (b'{"timestamp": 1, "input_length": 3, "output_length": 4, "hash_ids": [1]}\n', False),
        (b"", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert load("reader", READER).recognise(head, "t") is right
