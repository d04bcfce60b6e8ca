"""Journals of captures: by hand, blocks against a plain reckoning, killed ones, and what is said of a wrong line."""

from __future__ import annotations

import base64
import io
import json
import os
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces.prefix import prefix_hits
from tiersim.traces.ragged import joined
from tiersim.traces.readers import serving_journal
from tiersim.traces.schema import REQUEST
from tiersim.traces.serving_journal import HEAD, STEP, marks

START = json.dumps(HEAD).encode() + b"\n"


def line(**held: Any) -> bytes:
    return json.dumps(held).encode() + b"\n"


def comes(n: Any, at: Any = 0, prompt: bytes = b"", session: Any = None, **more: Any) -> bytes:
    held = base64.b64encode(marks(prompt, b"salt")).decode()
    facts = {"kind": "chat", "model": "m", "session": session, "bytes": len(prompt), "marks": held}
    return line(**{"n": n, "at": at, **facts, **more})


def ends(n: Any, size: Any = 0, made: Any = 5, **more: Any) -> bytes:
    return line(**{"n": n, "input": size, "output": made, "status": "served", "end": 90, "pieces": [], **more})


def chunks(raw: bytes, **options: Any) -> list[dict[str, Any]]:
    made = list(build("reader", {"use": "serving-journal", **options}).read(io.BytesIO(raw), "t.journal"))
    for chunk in made:
        REQUEST.check(chunk, "t")
    return made


def read(raw: bytes, **options: Any) -> dict[str, Any]:
    made = chunks(raw, **options)
    columns = {name: joined([chunk[name] for chunk in made]) for name in made[0]} if made else {}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


def test_by_hand() -> None:
    raw = comes(1, 500) + comes(2, 400, session=7, kind="completion") + comes(3, 900)
    raw += ends(2, 10, 3, pieces=[50, 60]) + ends(1, 4, 0, status="failed", end=8)
    found = read(START + raw)
    assert found["input"] == [10, 4, 0]
    assert found["output"] == [3, 0, 0]
    assert found["arrival"] == [0, 100, 500]
    assert found["status"] == [0, 1, 1]
    assert found["end"] == [90, 8, 0]
    assert found["pieces"] == [[50, 60], [], []]
    assert found["session"][0] == 7
    assert len(set(found["session"])) == 3
    assert len(set(found["category"])) == 2
    assert len(set(found["model"])) == 1
    assert "blocks" not in found


def test_columns_that_would_say_nothing_are_left_out() -> None:
    assert set(read(START + comes(1, model="") + ends(1, 10))) == {"input", "output", "arrival", "end"}
    assert read(START) == {}


def test_tokens_given_as_such_make_exact_blocks() -> None:
    """Four bytes a token: two prompts share the blocks that lie in their common tokens, but for the steps of marks."""
    shared, tail = bytes(4 * 96), b"\1" * 4 * 40
    prompts = [shared + tail, shared + b"\2" * 4 * 33, shared]
    raw = b"".join(comes(n, n, prompt) + ends(n, len(prompt) // 4) for n, prompt in enumerate(prompts))
    found = read(START + raw, block_tokens=16)
    assert [len(blocks) for blocks in found["blocks"]] == [8, 8, 6]
    first, second, third = found["blocks"]
    assert first[:6] == second[:6] == third
    assert not set(first[6:]) & set(second[6:])
    hits = prefix_hits(chunks(START + raw, block_tokens=16), 16)
    assert (hits.block_hits, hits.token_hits) == (12, 192)


def plain(prompts: list[bytes], sizes: list[int], tokens: int) -> list[list[tuple[bytes, int]]]:
    """The blocks of prompts: each the bytes up to the mark at or behind its end, and its place."""
    told = [(len(prompt), size) for prompt, size in zip(prompts, sizes, strict=True) if size]
    rate = sum(length for length, _ in told) / sum(size for _, size in told) if told else 4.0
    made = []
    for prompt, size in zip(prompts, sizes, strict=True):
        ends_at = [ceil(place * (tokens * rate / STEP)) * STEP for place in range(1, size // tokens + 1)]
        made.append([(prompt[:end], place) for place, end in enumerate(ends_at) if prompt])
    return made


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 300)), min_size=1, max_size=8),
    st.integers(1, 70),
)
def test_blocks_against_a_plain_reckoning(drawn: list[tuple[int, int, int]], tokens: int) -> None:
    """Equal numbers where a block has the same bytes before its end at the same place, and nowhere else."""
    stem = [os.urandom(200) * 2 for _ in range(4)]
    prompts = [stem[0][: length // 2] + stem[which][:length] for which, length, _ in drawn]
    sizes = [size for *_, size in drawn]
    both = enumerate(zip(prompts, sizes, strict=True))
    raw = b"".join(comes(n, n, prompt) + ends(n, size) for n, (prompt, size) in both)
    found = read(START + raw, block_tokens=tokens).get("blocks", [[] for _ in drawn])
    wanted = plain(prompts, sizes, tokens)
    assert [len(blocks) for blocks in found] == [len(blocks) for blocks in wanted]
    pairs = {(new, old) for one, other in zip(found, wanted, strict=True) for new, old in zip(one, other, strict=True)}
    assert len(pairs) == len({new for new, _ in pairs}) == len({old for _, old in pairs})


def test_a_killed_capture_at_every_byte() -> None:
    """What was written whole is read; a request without its end has failed."""
    raw = START + b"".join(comes(n, n, b"x" * 70) + ends(n, 20) for n in (1, 2))
    lines = raw.splitlines(keepends=True)
    for end in range(len(raw)):
        whole = raw[:end].count(b"\n") + (raw[:end].splitlines()[-1:] == [lines[raw[:end].count(b"\n")][:-1]])
        if end < len(START) - 1:
            assert read(raw[:end]) == {}
            continue
        found = read(raw[:end])
        status = [int(2 * n + 3 > whole) for n in range(2) if 2 * n + 2 <= whole]
        assert found.get("input", []) == [20 * (not failed) for failed in status]
        assert found.get("status", [0] * len(status)) == status


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b'{"n": 1}\n', "not a request that comes"),
        (b"[]\n", "not a line of a journal"),
        (b'{"n": "1"}\n', "not a line of a journal"),
        (comes(1) + ends(1) + ends(1), "not a line of a journal"),
        (comes(1) + ends(1) + comes(1), "not a line of a journal"),
        (ends(1), "not a request that comes"),
        (comes(1) + comes(1), "not a request that ended"),
        (comes(True), "not a line of a journal"),
        (comes([]), "not a line of a journal"),
        (comes(1, at=-1), "not a request that comes"),
        (comes(1, at=1 << 63), "not a request that comes"),
        (comes(1, marks="AAAA"), "not a request that comes"),
        (comes(1, marks="?" * 8), "not a request that comes"),
        (comes(1, marks=None), "not a request that comes"),
        (comes(1, prompt=b"x", bytes=65), "not a request that comes"),
        (comes(1, session=-1), "not a request that comes"),
        (comes(1, session="s"), "not a request that comes"),
        (comes(1, model=None), "not a request that comes"),
        (comes(1) + ends(1, size=-1), "not a request that ended"),
        (comes(1) + ends(1, size=(1 << 24) + 1), "not a request that ended"),
        (comes(1) + ends(1, made=1 << 32), "not a request that ended"),
        (comes(1) + ends(1, status="ok"), "not a request that ended"),
        (comes(1) + ends(1, status=[]), "not a request that ended"),
        (comes(1) + ends(1, end=1.5), "not a request that ended"),
        (comes(1) + ends(1, pieces=[1, "2"]), "not a request that ended"),
        (comes(1) + ends(1, pieces=5), "not a request that ended"),
    ],
)
def test_wrong_lines(bad: bytes, said: str) -> None:
    with pytest.raises(TraceError, match=f"t.journal: line [2-5] \\(byte [0-9]+\\) is {said}") as caught:
        read(START + comes(0, 5) + bad)
    assert "cut the file before this line" in caught.value.remedy


@pytest.mark.parametrize("head", [{"version": 2}, {"step": 0}, {"step": "64"}, {"tiersim": "other"}])
def test_wrong_first_lines(head: dict[str, Any]) -> None:
    with pytest.raises(TraceError, match=r"line 1 .* is not the first one of a journal of this version"):
        read(json.dumps({**HEAD, **head}).encode() + b"\n" + comes(1))


@pytest.mark.parametrize("most", ["MOST", "MOST_NUMBERS"])
def test_more_than_memory_should_hold(most: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_journal, most, 3)
    raw = START + b"".join(comes(n, n, b"x") + ends(n, 1, pieces=[]) for n in range(3))
    assert len(read(raw)["input"]) == 3
    with pytest.raises(TraceError, match=r"line 8 .*must be held"):
        read(raw + comes(3, 3, b"x"))
