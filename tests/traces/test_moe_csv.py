"""Tables of routed experts: both forms by hand, and what is said of a wrong line or a layer that lacks tokens."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.ragged import joined
from tiersim.traces.schema import ROUTING

READER = "moe-csv"
HEAD = b"Layer ID,Batch Number,Token,Activated Expert IDs\r\n"
PREDICTED = b"Layer ID,Token,Activated Expert IDs,Predicted Expert IDs\r\n"


def read(raw: bytes) -> dict[str, Any]:
    chunks = list(build("reader", READER).read(io.BytesIO(raw), "t.csv"))
    for chunk in chunks:
        ROUTING.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


def test_by_hand() -> None:
    # two layers of three tokens, one of which is a comma and one a quotation mark
    rows = '1,0,<s>,"[8, 0]"\r\n1,0,",",[63]\r\n1,0,"""","[5, 2]"\n2,0,<s>,"[1, 3]"\r\n2,0,",",[4]\r\n2,0,"""",[7]'
    assert read(HEAD + rows.encode()) == {
        "layer": [1, 1, 1, 2, 2, 2],
        "token": [0, 1, 2, 0, 1, 2],
        "experts": [[8, 0], [63], [5, 2], [1, 3], [4], [7]],
        "sequence": [0, 0, 0, 0, 0, 0],
    }


def test_predictions_by_hand() -> None:
    rows = b'1,0,"[8, 0]","[8, 1]"\n1,1,[63],[]\n4,0,"[1, 3]",[1]\n4,1,[4],[4]\n'
    assert read(PREDICTED + rows) == {
        "layer": [1, 1, 4, 4],
        "token": [0, 1, 0, 1],
        "experts": [[8, 0], [63], [1, 3], [4]],
        "predicted": [[8, 1], [], [1], [4]],
        "sequence": [0, 0, 0, 0],
    }


@given(
    st.lists(st.lists(st.text('a",é ', min_size=1, max_size=3), min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(0, 65535), min_size=1, max_size=4, unique=True),
    st.integers(1, 4),
)
def test_against_the_prompts_themselves(prompts: list[list[str]], ids: list[int], layers: int) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    rows = [
        (layer, batch, place, text, [(each + layer + place) % 65536 for each in ids])
        for layer in range(layers)
        for batch, tokens in enumerate(prompts)
        for place, text in enumerate(tokens)
    ]
    for layer, batch, _, text, experts in rows:
        writer.writerow([layer, batch, text, experts])
    found = read(HEAD + file.getvalue().encode())
    assert list(zip(*(found[name] for name in ("layer", "sequence", "token", "experts")), strict=True)) == [
        (layer, batch, place, experts) for layer, batch, place, _, experts in rows
    ]


GOOD = b'1,0,a,"[8, 0]"\n1,0,b,"[8, 1]"\n2,0,a,"[8, 0]"\n'


@pytest.mark.parametrize(
    "bad",
    [
        b'2,0,b,"[8, 0]",1',
        b"2,0,b",
        b'2,0,b,"[8, 0',
        b"2,0,b,8",
        b"2,0,b,[]",
        b'2,0,b,"[8, 8]"',
        b'2,0,b,"[8, 65536]"',
        b'2,0,b,"[8, -1]"',
        b'2,0,b,"[8, 1.0]"',
        b"2,0,b," + b"[" * 50_000,
        b'2,0,"b"c,[8]',
        b"2,0,\xff,[8]",
        b"-2,0,b,[8]",
        b"65536,0,b,[8]",
        b"2,x,b,[8]",
        b"2,,b,[8]",
        b"2,65536,b,[8]",
    ],
)
def test_a_wrong_line(bad: bytes) -> None:
    good = HEAD + GOOD
    with pytest.raises(TraceError) as caught:
        read(good + bad + b"\n")
    assert caught.value.message.startswith(f"t.csv: line 5 (byte {len(good)}) is not a routed token: ")
    assert "[experts, each once]" in caught.value.remedy


@pytest.mark.parametrize("bad", [b"1,2,[8],[1]", b"1,b,[8],[1]", b"1,1,[8],x", b'1,1,[8],"[1, 1]"', b"1,1,[8],[70000]"])
def test_a_wrong_line_of_predictions(bad: bytes) -> None:
    good = PREDICTED + b"1,0,[8],[1]\n"
    with pytest.raises(TraceError, match=rf"t\.csv: line 3 \(byte {len(good)}\) is not (a routed )?token") as caught:
        read(good + bad + b"\n")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD, r"line 4 \(byte 80\) ends a layer of 1 tokens in 1 prompts, and the first layer has 2 in 1: '2,0,a"),
        (GOOD + b"3,0,a,[8]\n", r"line 4 \(byte 80\) ends a layer of 1 tokens"),
        (GOOD + b"2,1,b,[8]\n", r"line 5 \(byte 95\) ends a layer of 2 tokens in 2 prompts, and the first .* 2 in 1"),
        (GOOD + b"2,0,b,[8]\n2,0,c,[8]\n", r"line 6 \(byte 105\) ends a layer of 3 tokens"),
        (GOOD + b"2,0,b,[8]\n1,0,c,[8]\n", r"line 6 \(byte 105\) is not of layer 2 or one after it"),
        (b"1,1,a,[8]\n1,0,a,[8]\n", r"line 3 \(byte 60\) is not of batch number 1 or one after it"),
    ],
)
def test_layers_that_do_not_fit_together(rows: bytes, message: str) -> None:
    with pytest.raises(TraceError, match=r"t\.csv: " + message) as caught:
        read(HEAD + rows)
    assert caught.value.remedy


def test_another_header() -> None:
    with pytest.raises(TraceError, match=r"t\.csv: line 2 \(byte 1\) does not name the columns Layer ID,Batch"):
        read(b"\n1,0,a,[8]\n")


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (HEAD, True),
        (b"\xef\xbb\xbf" + PREDICTED, True),
        (b"Layer ID,Token,Activated Expert IDs\n", False),
        (b"\xff,\n", False),
        (b"", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert load("reader", READER).recognise(head, "t") is right
