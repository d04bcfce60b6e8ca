"""Routing logs of vLLM: by hand, warm-up among the passes, several layers, and what is said of a wrong line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.ragged import joined
from tiersim.traces.readers import requests
from tiersim.traces.schema import ROUTING

READER = "moe-vllm"
META = json.dumps({"type": "meta", "model_id": "m", "layers_logged": [3], "top_k": 2}).encode() + b"\n"


def route(token: Any, ids: Any = (7, 1), weights: Any = (0.5, 0.25), layer: Any = 3, **more: Any) -> bytes:
    held = {"type": "route", "req_id": "r1", "token_idx": token, "layer": layer, "topk_ids": ids}
    return json.dumps(held | {"topk_weights": weights} | more).encode() + b"\n"


def read(raw: bytes, **options: Any) -> dict[str, Any]:
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.jsonl"))
    for chunk in chunks:
        ROUTING.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


def test_by_hand() -> None:
    # a prompt of two tokens, then one token that was made
    raw = META + route(0, [7, 1], [0.5, 0.25]) + route(1, [0, 65535], [1, 0]) + b"\n" + route(0, [1], [0.125])
    assert read(raw) == {
        "layer": [3, 3, 3],
        "token": [0, 1, 0],
        "experts": [[7, 1], [0, 65535], [1]],
        "weights": [[0.5, 0.25], [1, 0], [0.125]],
        "step": [0, 0, 1],
        "phase": [0, 0, 0],
    }


def test_layers_of_a_pass_come_one_after_the_other() -> None:
    raw = b"".join(
        route(token, [token + layer], [1], layer) for tokens in (2, 1, 1) for layer in (0, 5) for token in range(tokens)
    )
    found = read(META + raw)
    assert found["layer"] == [0, 0, 5, 5, 0, 5, 0, 5]
    assert found["token"] == [0, 1, 0, 1, 0, 0, 0, 0]
    assert found["step"] == [0, 0, 0, 0, 1, 1, 2, 2]
    assert found["experts"] == [[0], [1], [5], [6], [0], [5], [0], [5]]


def test_a_second_log_in_the_same_file_begins_a_pass() -> None:
    assert read(META + route(0, layer=0) + META + route(0, layer=1))["step"] == [0, 1]


def test_warm_up_as_vllm_makes_it() -> None:
    # profiling with 8192 dummy tokens, then 256, then a prompt of 300 and two tokens that are made
    dummies = b"".join(route(token, [43, 5]) for size in (8192, 256) for token in range(size))
    prompt = b"".join(route(token, [43, 5], [0.5, 0.25 if token else 0.125]) for token in range(300))
    found = read(META + dummies + prompt + route(0) + route(0))
    assert found["phase"] == [1] * (8192 + 256) + [0] * 302
    assert found["step"] == [0] * 8192 + [1] * 256 + [2] * 300 + [3, 4]
    assert found["token"] == [*range(8192), *range(256), *range(300), 0, 0]


def test_rows_from_which_a_pass_is_warm_up() -> None:
    raw = b"".join(route(token) for size in (255, 256, 1) for token in range(size))
    assert read(raw)["phase"] == [0] * 255 + [1] * 256 + [0]
    assert read(raw, warm_up=257)["phase"] == [0] * 512
    assert read(raw, warm_up=2)["phase"] == [1] * 511 + [0]


def test_every_layer_of_warm_up_is_alike() -> None:
    def layers(last: list[int]) -> bytes:
        first = b"".join(route(token, [1], [1], 0) for token in range(4))
        return first + b"".join(route(token, [each], [1], 1) for token, each in enumerate(last))

    raw = layers([2, 2, 2, 2]) + layers([2, 2, 9, 2]) + layers([2, 2])
    found = read(raw, warm_up=3)
    assert found["phase"] == [1] * 8 + [0] * 8 + [0] * 6
    assert found["experts"] == [[1]] * 4 + [[2]] * 4 + [[1]] * 4 + [[2], [2], [9], [2]] + [[1]] * 4 + [[2], [2]]


@given(
    st.lists(st.lists(st.sampled_from("aab"), min_size=1, max_size=6), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(2, 5),
    st.integers(1, 9),
)
def test_against_the_passes_themselves(passes: list[list[str]], layers: int, warm_up: int, records: int) -> None:
    rows = [
        (step, layer, token, ord(letter) + layer, int(len(tokens) >= warm_up and len(set(tokens)) == 1))
        for step, tokens in enumerate(passes)
        for layer in range(layers)
        for token, letter in enumerate(tokens)
    ]
    raw = META + b"".join(route(token, [expert], [1], layer) for _, layer, token, expert, _ in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "RECORDS", records)
        found = read(raw, warm_up=warm_up)
    names = ("step", "layer", "token", "experts", "phase")
    assert [
        (step, layer, token, ids[0], phase)
        for step, layer, token, ids, phase in zip(*(found[name] for name in names), strict=True)
    ] == rows


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[1]\n",
        b"[" * 100_000 + b"\n",
        route(2, type="routes"),
        route(-1),
        route("2"),
        route(2.0),
        route(True),
        route(2, layer=-1),
        route(2, layer=65536),
        route(2, []),
        route(2, [1]),
        route(2, [1, 1]),
        route(2, [1, 65536]),
        route(2, [1, None]),
        route(2, None),
        route(2, weights=[0.5]),
        route(2, weights=[0.5, -0.1]),
        route(2, weights=[0.5, float("nan")]),
        route(2, weights=[0.5, 1e39]),
        route(2, weights=[0.5, True]),
        route(2, weights=[0.5, 10**400]),
        route(2, weights=None),
    ],
)
def test_a_wrong_line(bad: bytes) -> None:
    good = META + route(0) + route(1)
    with pytest.raises(TraceError) as caught:
        read(good + bad)
    assert caught.value.message.startswith(f"t.jsonl: line 4 (byte {len(good)}) is not the route of a token: ")
    assert '"topk_ids": [experts, each once]' in caught.value.remedy


@pytest.mark.parametrize(
    ("raw", "line", "what"),
    [
        (route(0) + route(2), 2, "token_idx 1 of layer 3"),
        (route(0) + route(1) + route(1), 3, "token_idx 2 of layer 3"),
        (route(0) + route(1, layer=4), 2, "token_idx 1 of layer 3"),
        (route(1), 1, "token_idx 0 of a layer"),
        (META + route(0) + META + route(1), 4, "token_idx 0 of a layer"),
    ],
)
def test_tokens_that_do_not_follow(raw: bytes, line: int, what: str) -> None:
    with pytest.raises(TraceError, match=rf"t\.jsonl: line {line} \(byte \d+\) is not {what}: ") as caught:
        read(raw)
    assert "from 0 on" in caught.value.remedy


def test_a_file_that_ends_inside_a_line() -> None:
    with pytest.raises(TraceError, match="the file ends inside this line"):
        read((META + route(0) + route(1))[:-9])


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (META, True),
        (route(0), True),
        (b'{"type": "meta", "version": 1}\n', False),
        (b'{"type": "route", "token_idx": 0}\n', False),
        (b"[1]\n", False),
        (b"", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert load("reader", READER).recognise(head, "t") is right
