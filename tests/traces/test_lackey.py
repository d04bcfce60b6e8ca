"""Valgrind's text: by hand, against a plain parser, and what is said of a wrong line."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces.readers import lackey
from tiersim.traces.readers.contract import Records
from tiersim.traces.readers.lackey import Lackey
from tiersim.traces.schema import FETCH, LOAD, MODIFY, STORE

Row = tuple[int, int, int, int]


def read(text: bytes, fetches: bool = False) -> tuple[list[Row], int]:
    records = Records(build("reader", {"use": "lackey", "fetches": fetches}).read(io.BytesIO(text), "t.lackey"))
    rows: list[Row] = []
    for chunk in records:
        rows += zip(*(chunk[name].tolist() for name in ("address", "size", "kind", "gap")), strict=True)
    return rows, records.tail


def naive(text: bytes, fetches: bool) -> tuple[list[Row], int]:
    rows: list[Row] = []
    since = 0
    for line in text.decode("latin-1").removesuffix("\n").split("\n"):
        if re.match(r"==\d+==|--\d+--|\*\*\d+\*\*", line):
            continue
        address, size = line[3:].split(",")
        kind = {"I": FETCH, "L": LOAD, "S": STORE, "M": MODIFY}[line[:2].strip()]
        since += kind == FETCH
        if kind == FETCH and not fetches:
            continue
        rows.append((int(address, 16), int(size), kind, since))
        since = 0
    return rows, since


BY_HAND = b"""==12== Lackey, an example Valgrind tool
==12==
I  0401ab70,3
I  0401ab73,5
 S 1fff000768,8
I  0401b770,1
 L 0402ce68,16
 M 0402CE70,4
--12-- WARNING: something
I  0401b771,7
I  0401b778,7
==12== Exit code:       0
"""


def test_by_hand() -> None:
    assert read(BY_HAND) == (
        [(0x1FFF000768, 8, STORE, 2), (0x402CE68, 16, LOAD, 1), (0x402CE70, 4, MODIFY, 0)],
        2,
    )


def test_by_hand_with_fetches() -> None:
    rows, tail = read(BY_HAND, fetches=True)
    assert rows == [
        (0x401AB70, 3, FETCH, 1),
        (0x401AB73, 5, FETCH, 1),
        (0x1FFF000768, 8, STORE, 0),
        (0x401B770, 1, FETCH, 1),
        (0x402CE68, 16, LOAD, 0),
        (0x402CE70, 4, MODIFY, 0),
        (0x401B771, 7, FETCH, 1),
        (0x401B778, 7, FETCH, 1),
    ]
    assert tail == 0


lines = st.one_of(
    st.builds(
        lambda head, width, address, size: f"{head} {address:0{width}x},{size}",
        st.sampled_from(["I ", " L", " S", " M"]),
        st.integers(1, 16),
        st.integers(0, 2**64 - 1) | st.integers(0, 2**20),
        st.integers(1, 65535) | st.integers(1, 16),
    ),
    st.sampled_from(["==7== note, with a comma", "--7-- note", "**7** note", "==7== "]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(lines, min_size=1, max_size=60), st.booleans(), st.booleans(), st.sampled_from([40, 100, 1 << 20]))
def test_against_a_plain_parser(written: list[str], fetches: bool, newline: bool, block: int) -> None:
    text = ("\n".join(written) + ("\n" if newline else "")).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lackey, "BLOCK", block)
        assert read(text, fetches) == naive(text, fetches)


def well_formed(line: bytes) -> bool:
    access = lackey.LINE.fullmatch(line)
    return bool(lackey.NOTE.match(line) or (access and 1 <= int(line.split(b",")[1]) <= 65535))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(lines, min_size=1, max_size=30),
    st.integers(0, 29),
    st.integers(0, 30),
    st.characters(codec="latin-1"),
    st.sampled_from([40, 1 << 20]),
)
def test_a_changed_character_is_refused_or_read_as_it_stands(
    written: list[str], which: int, place: int, new: str, block: int
) -> None:
    which %= len(written)
    line = written[which]
    place %= len(line)
    changed = [*written[:which], line[:place] + new + line[place + 1 :], *written[which + 1 :]]
    text = ("\n".join(changed) + "\n").encode("latin-1")
    right = all(map(well_formed, text.removesuffix(b"\n").split(b"\n")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lackey, "BLOCK", block)
        if right:
            assert read(text) == naive(text, False)
        else:
            with pytest.raises(TraceError, match="is not an access"):
                read(text)


GOOD = b"==1== Lackey\n L 00602260,4\nI  0401ab70,3\n"


@pytest.mark.parametrize(
    "bad",
    [
        b"L 00602260,4",
        b"  L 00602260,4",
        b" L  00602260,4",
        b"I 00602260,4",
        b" X 00602260,4",
        b" L 0060226g,4",
        b" L 00602260",
        b" L 00602260,",
        b" L ,4",
        b" L 00602260,0",
        b" L 00602260,65536",
        b" L 00602260,99999",
        b" L 00602260,4a",
        b" L 00602260,4 ",
        b" L 00602260,4,4",
        b" L 1234567890abcdef0,4",
        b"",
        b"=1= note",
        b"\x00\x01\x02\x03",
    ],
)
def test_a_wrong_line(bad: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (16, 1 << 20):
        monkeypatch.setattr(lackey, "BLOCK", block)
        with pytest.raises(TraceError) as caught:
            read(GOOD + bad + b"\n" + GOOD)
        message = str(caught.value)
        assert message.startswith(f"t.lackey: line 4 (byte {len(GOOD)}) is not an access: ")
        assert "a hexadecimal address, a comma, a size in bytes" in message
        assert (repr(bad.decode()) if bad.isascii() and bad.isalnum() else "") in message


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match=r"line 4 \(byte 41\).*the file ends inside this line"):
        read(GOOD + b" L 006022")
    assert len(GOOD) == 41


def test_one_endless_line_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lackey, "BLOCK", 100)
    stream = io.BytesIO(b"a" * 100_000)
    with pytest.raises(TraceError, match=r"line 1 \(byte 0\)"):
        list(build("reader", "lackey").read(stream, "t"))
    assert stream.tell() < 1000


def test_a_pause_between_accesses_may_pass_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lackey, "BLOCK", 64)
    assert read(b"I  00000001,1\n" * 100 + b" L 00000001,1\n" + b"I  00000001,1\n" * 50) == ([(1, 1, LOAD, 100)], 50)


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (b" L 00602260,4\n L 00", True),
        (b"I  0401ab70,3\n", True),
        (b"==3== Lackey, an example Valgrind tool\n==3==\n L 1,1\n", True),
        (b"==3== Lackey, an example Valgrind tool\n==3", True),
        (b"==3== Memcheck, a memory error detector\n", False),
        (b"", False),
        (b"l 0x1f 3\n", False),
        (b"hello\n L 00602260,4\n", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert Lackey.recognise(head, "t") is right


def test_types_are_those_of_the_schema() -> None:
    for fetches in (False, True):
        chunk = next(iter(build("reader", {"use": "lackey", "fetches": fetches}).read(io.BytesIO(GOOD), "t")))
        assert {name: values.dtype for name, values in chunk.items()} == {
            "address": np.uint64,
            "size": np.uint16,
            "kind": np.uint8,
            "gap": np.uint32,
        }
