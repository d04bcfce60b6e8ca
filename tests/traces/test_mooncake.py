"""Mooncake's JSON lines: by hand, against a plain parser, and what is said of a wrong line."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.traces.readers import mooncake
from tiersim.traces.readers.mooncake import Mooncake
from tiersim.traces.schema import OBJECT


def line(timestamp: Any, ids: Any, **more: Any) -> bytes:
    held = {"timestamp": timestamp, "input_length": 1000, "output_length": 5, "hash_ids": ids, **more}
    return json.dumps(held).encode() + b"\n"


def read(raw: bytes, **options: Any) -> dict[str, list[int]]:
    chunks = list(build("reader", {"use": "mooncake", **options}).read(io.BytesIO(raw), "t.jsonl"))
    for chunk in chunks:
        OBJECT.check(chunk, "t")
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


def test_by_hand() -> None:
    raw = line(27000, [0, 1, 2]) + line(27000, []) + b"\n" + line(30500, [0, 2**64 - 1])
    assert read(raw) == {"id": [0, 1, 2, 0, 2**64 - 1], "time": [0, 0, 0, 3_500_000_000, 3_500_000_000]}
    assert read(raw, block_bytes="64 KiB")["size"] == [65536] * 5


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**7) | st.integers(0, 10**7).map(lambda number: number / 1000),
            st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=5),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([200, 1 << 20]),
    st.booleans(),
)
def test_against_a_plain_parser(rows: list[tuple[float, list[int]]], block: int, newline: bool) -> None:
    rows = [(1.7e12, [7]), *((1.7e12 + stamp, ids) for stamp, ids in rows)]
    raw = b"".join(line(stamp, ids, more={"a": [1, None]}) for stamp, ids in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mooncake, "BLOCK", block)
        found = read(raw if newline else raw[:-1])
    assert found["id"] == [key for _, ids in rows for key in ids]
    assert found["time"] == [round((stamp - 1.7e12) * 10**6) for stamp, ids in rows for _ in ids]


def test_what_only_the_slow_way_takes_is_taken() -> None:
    raw = line(0, [1]) + b'{"hash_ids": [2], "timestamp": 1, "x": NaN}\n' + line(3, [4])
    assert read(raw)["id"] == [1, 2, 4]


BAD: list[bytes] = [
    b"{",
    b"[1]",
    b"12",
    b'{"timestamp": 1}',
    b'{"hash_ids": [1]}',
    line("1", [1]).rstrip(),
    line(None, [1]).rstrip(),
    line(True, [1]).rstrip(),
    line(float("nan"), [1]).rstrip(),
    line(1e300, [1]).rstrip(),
    line(-1, [1]).rstrip(),
    line(1, None).rstrip(),
    line(1, [None]).rstrip(),
    line(1, [-1]).rstrip(),
    line(1, [2**64]).rstrip(),
    line(1, [1.5]).rstrip(),
    line(1, ["a"]).rstrip(),
    line(1, 5).rstrip(),
    b"\xff\xfe",
]


@pytest.mark.parametrize("block", [150, 1 << 20])
@pytest.mark.parametrize("bad", BAD)
def test_a_wrong_line(bad: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mooncake, "BLOCK", block)
    good = line(0, [1, 2]) * 3
    with pytest.raises(TraceError) as caught:
        read(good + bad + b"\n" + good)
    assert caught.value.message.startswith(f"t.jsonl: line 4 (byte {len(good)}) is not a request to a model: ")
    assert '"hash_ids": [numbers]' in caught.value.remedy


def test_a_file_that_ends_inside_a_line() -> None:
    good = line(0, [1, 2])
    with pytest.raises(TraceError, match=rf"line 2 \(byte {len(good)}\) .*; the file ends inside this line"):
        read(good + good[:30])


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (line(0, [1]) * 3, True),
        (line(0, [1])[:-2], True),
        (b'{"timestamp": 1, "input": "text", "output": "text"}\n', False),
        (b'{"id": 1, "requests": [{"t": 0, "hash_ids": [1]}]}\n', False),
        (b"timestamp,input_length,output_length,hash_ids\n", False),
        (b"", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert Mooncake.recognise(head, "t.jsonl") is right
