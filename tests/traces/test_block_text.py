"""Text of block numbers: the LIRS and the ARC traces, and the parser that they share."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces.readers import arc, text
from tiersim.traces.readers.arc import Arc
from tiersim.traces.readers.lirs import Lirs
from tiersim.traces.readers.text import is_number, table


def read(use: str, raw: bytes) -> list[int]:
    chunks = list(build("reader", use).read(io.BytesIO(raw), "t.txt"))
    assert all(list(chunk) == ["id"] and chunk["id"].dtype == np.uint64 for chunk in chunks)
    return [key for chunk in chunks for key in chunk["id"].tolist()]


numbers = (
    st.integers(0, 2**64 - 1) | st.integers(0, 999) | st.sampled_from([10**8 - 1, 10**8, 10**16, 10**19, 2**64 - 1])
)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=40), st.data())
def test_a_table(rows: list[list[int]], data: Any) -> None:
    blank = st.sampled_from([" ", "\t", "   "])
    end = st.sampled_from(["\n", "\r\n", " \n", "\n\n"])
    lines = [data.draw(blank).join(map(str, row)) + data.draw(end) for row in rows]
    found = table("".join(lines).rstrip("\n").encode(), 3)
    assert found is not None
    assert found.tolist() == rows


@settings(deadline=None, max_examples=300)
@given(st.text("0123456789 \t\n-x", max_size=60) | st.text("19 \n", max_size=80))
def test_a_table_or_none(written: str) -> None:
    lines = [line.split() for line in written.split("\n")]
    right = all(len(line) in (0, 2) and all(is_number(word.encode()) for word in line) for line in lines)
    found = table(written.encode(), 2)
    assert (found is not None) == right
    if found is not None:
        assert found.tolist() == [[int(word) for word in line] for line in lines if line]


@pytest.mark.parametrize(
    ("word", "right"),
    [
        (b"18446744073709551615", True),
        (b"18446744073709551616", False),
        (b"19999999999999999999", False),
        (b"28446744073709551616", False),
        (b"99999999999999999999", False),
        (b"09999999999999999999", True),
        (b"000000000000000000001", False),
        (b"", False),
        ("٣".encode(), False),
    ],
)
def test_the_largest_numbers(word: bytes, right: bool) -> None:
    assert is_number(word) == right
    found = table(word, 1)
    if right:
        assert found is not None
        assert found.tolist() == [[int(word)]]
    elif word:
        assert found is None


def test_lirs_by_hand() -> None:
    assert read("lirs", b"5\n0\r\n  17 \n*\n5\n\n*") == [5, 0, 17, 5]


def test_arc_by_hand() -> None:
    assert read("arc", b"10 3 0 0\n2 1 7 0\r\n18446744073709551615 1 1 1\n\n") == [10, 11, 12, 2, 2**64 - 1]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 30)), min_size=1, max_size=40),
    st.sampled_from([30, 1 << 20]),
    st.sampled_from([1, 7, 1 << 18]),
    st.booleans(),
)
def test_arc_against_a_loop(runs: list[tuple[int, int]], block: int, piece: int, newline: bool) -> None:
    raw = "\n".join(f"{start} {count} 0 {turn}" for turn, (start, count) in enumerate(runs)) + "\n" * newline
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        patch.setattr(arc, "PIECE", piece)
        assert read("arc", raw.encode()) == [page for start, count in runs for page in range(start, start + count)]


def test_one_long_run_does_not_fill_the_memory() -> None:
    chunks = build("reader", "arc").read(io.BytesIO(b"0 16777216 0 0\n" * 1000), "t")
    assert len(next(chunks)["id"]) == arc.PIECE


GOOD = {"lirs": b"12\n*\n7\n", "arc": b"1 2 0 0\n3 4 0 1\n8 1 0 1\n"}
BAD = {
    "lirs": [
        b"a",
        b"-1",
        b"1.5",
        b"1 2",
        b"* 3",
        b"**",
        b"1,2",
        b"0x1f",
        b"18446744073709551616",
        b"\x00\x01",
        b"\xff",
    ],
    "arc": [b"1 2 3", b"1 2 3 4 5", b"1 0 0 1", b"1 16777217 0 1", b"1 2 0 x", b"1,2,0,1", b"-1 2 0 1", b"*", b"\x00"],
}
EXPECTED = {"lirs": "one decimal number under", "arc": "first-block blocks ignored request-number"}


@pytest.mark.parametrize(("use", "bad"), [(use, bad) for use, lines in BAD.items() for bad in lines])
def test_a_wrong_line(use: str, bad: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (16, 1 << 20):
        monkeypatch.setattr(text, "BLOCK", block)
        with pytest.raises(TraceError) as caught:
            read(use, GOOD[use] + bad + b"\n" + GOOD[use])
        shown = repr(bad.decode("ascii", "backslashreplace"))
        assert caught.value.message.startswith(f"t.txt: line 4 (byte {len(GOOD[use])}) is not a")
        assert caught.value.message.endswith(shown)
        assert EXPECTED[use] in caught.value.remedy


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match=r"line 4 \(byte 24\) is not a run of blocks: '9 1 0'; the file ends inside"):
        read("arc", GOOD["arc"] + b"9 1 0")


@pytest.mark.parametrize("byte", [b"1", b" "])
def test_one_endless_line_does_not_fill_the_memory(byte: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", 100)
    stream = io.BytesIO(b"12\n" + byte * 100_000)
    with pytest.raises(TraceError, match=r"t: line 2 \(byte 3\) has more than 200 bytes: '"):
        list(build("reader", "lirs").read(stream, "t"))
    assert stream.tell() < 1000


@pytest.mark.parametrize(
    ("head", "lirs", "arcs"),
    [
        (b"1\n2\n3", True, False),
        (b"1\r\n*\r\n", True, False),
        (b"12", True, False),
        (b"*\n*\n", False, False),
        (b"", False, False),
        (b"\n\n", False, False),
        (b"1 2 0 0\n1 2 0 0\n1 2", False, True),
        (b"1 2 0 5\n1 2 0 4\n", False, False),
        (b"1 0 0 5\n1 2 0 6\n", False, False),
        (b"1 2\n1 2\n", False, False),
        (b"1 2 3 4 5 6 7 8\n", False, False),
        (b"1.5\n2\n", False, False),
        (b" L 00602260,4\n", False, False),
    ],
)
def test_recognition(head: bytes, lirs: bool, arcs: bool) -> None:
    assert Lirs.recognise(head, "t.txt") is lirs
    assert Arc.recognise(head, "t.lis") is arcs
