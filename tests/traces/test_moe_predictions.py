"""Experts beside their predictions: by hand, against the lines themselves, and what is said of a wrong line."""

from __future__ import annotations

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
from tiersim.traces.readers import requests
from tiersim.traces.schema import ROUTING

READER = "moe-predictions"


def line(prompt: Any = 9, layer: Any = 1, token: Any = 0, experts: Any = (8, 3), predicted: Any = (8,)) -> bytes:
    held = {"prompt": prompt, "layer": layer, "token": token, "experts": experts, "predicted": predicted}
    return json.dumps(held).encode() + b"\n"


def read(raw: bytes) -> dict[str, Any]:
    chunks = list(build("reader", READER).read(io.BytesIO(raw), "t.jsonl"))
    for chunk in chunks:
        ROUTING.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


def test_by_hand() -> None:
    raw = line() + line(9, 1, 1, [0], []) + b"\n" + line("café", 26, 4, [65535, 7], [7, 65535, 1])
    assert read(raw) == {
        "layer": [1, 1, 26],
        "token": [0, 1, 4],
        "experts": [[8, 3], [0], [65535, 7]],
        "predicted": [[8], [], [7, 65535, 1]],
        "sequence": [9, 9, key_of("café")],
    }


IDS = st.lists(st.integers(0, 65535), max_size=6, unique=True)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 65535), st.integers(0, 2**32 - 1), IDS.filter(bool), IDS),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 5),
)
def test_against_the_lines_themselves(rows: list[tuple[int, int, int, list[int], list[int]]], records: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "RECORDS", records)
        found = read(b"".join(line(*row) for row in rows))
    names = ("sequence", "layer", "token", "experts", "predicted")
    assert list(zip(*(found[name] for name in names), strict=True)) == rows


@pytest.mark.parametrize(
    "bad",
    [
        b"{\n",
        b"[1]\n",
        b"[" * 100_000 + b"\n",
        line(-1),
        line(1.5),
        line(True),
        line(2**64),
        line(None),
        line(layer=65536),
        line(layer="1"),
        line(token=2**32),
        line(token=-1),
        line(experts=[]),
        line(experts=[1, 1]),
        line(experts=[65536]),
        line(experts=3),
        line(predicted=[1, 1]),
        line(predicted=[1.0]),
        line(predicted=None),
    ],
)
def test_a_wrong_line(bad: bytes) -> None:
    good = line() * 3
    with pytest.raises(TraceError) as caught:
        read(good + bad + line())
    assert caught.value.message.startswith(
        f"t.jsonl: line 4 (byte {len(good)}) is not a routed token with a prediction: "
    )
    assert '"predicted": [numbers, each once]' in caught.value.remedy


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match="the file ends inside this line"):
        read((line() * 2)[:-9])


@pytest.mark.parametrize(
    ("head", "right"),
    [(line(), True), (line("a"), True), (line(experts=[]), False), (b'{"prompt": 1}\n', False), (b"", False)],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert load("reader", READER).recognise(head, "t") is right
