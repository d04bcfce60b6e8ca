"""Tables of requests to language models: azure-llm, burstgpt and vidur-lengths by hand, and what is wrong in them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.keys import key_of
from tiersim.traces.ragged import joined
from tiersim.traces.readers.requests import nanoseconds
from tiersim.traces.schema import REQUEST

AZURE = b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
FIRST = b"2023-11-16 18:15:46.6805900,374,44\r\n"
BURST = b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
BURST2 = b"Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
CALL = b"5,ChatGPT,472,18,490,Conversation log\n"
VIDUR = b"num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n"
LENGTHS = b"3772,54,3826,69.85185185185185\n"
GOOD = {"azure-llm": AZURE + FIRST * 3, "burstgpt": BURST + CALL * 3, "vidur-lengths": VIDUR + LENGTHS * 3}


def read(name: str, raw: bytes) -> dict[str, Any]:
    chunks = list(build("reader", name).read(io.BytesIO(raw), "t.csv"))
    for chunk in chunks:
        REQUEST.check(chunk, "t")
    return {column: joined([chunk[column] for chunk in chunks]).tolist() for column in chunks[0]}


def test_azure_of_2023() -> None:
    raw = AZURE + FIRST + b"2023-11-16 18:15:50.9951690,396,109\r\n2023-11-17 00:00:00.0000001,0,4294967295"
    assert read("azure-llm", raw) == {
        "input": [374, 396, 0],
        "output": [44, 109, 2**32 - 1],
        "arrival": [0, 4_314_579_000, 20_653_319_410_100],
    }


def test_azure_of_2024() -> None:
    raw = AZURE + b"2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,2399,6\n"
    assert read("azure-llm", raw)["arrival"] == [0, 990_070_000]


def test_burstgpt() -> None:
    raw = BURST + CALL + b"45,GPT-4,1087,0,1087,API log\n45.5,ChatGPT,9,1,10,Conversation log\n"
    assert read("burstgpt", raw) == {
        "input": [472, 1087, 9],
        "output": [18, 0, 1],
        "arrival": [0, 40 * 10**9, 40_500_000_000],
        "category": [key_of("Conversation log"), key_of("API log"), key_of("Conversation log")],
        "model": [key_of("ChatGPT"), key_of("GPT-4"), key_of("ChatGPT")],
        "status": [0, 1, 0],
    }


def test_burstgpt_with_sessions() -> None:
    raw = BURST2 + b"1,7,0.5,GPT-4,1,2,3,API log\n2,,0.5,GPT-4,1,2,3,API log\n3,7,0.5,GPT-4,1,2,3,API log\n"
    sessions = read("burstgpt", raw)["session"]
    assert sessions == [key_of("7"), key_of("line 3"), key_of("7")]


def test_vidur_has_no_arrivals() -> None:
    assert read("vidur-lengths", VIDUR + LENGTHS + b"\n2015,156,2171,12.9\n") == {
        "input": [3772, 2015],
        "output": [54, 156],
    }
    timed = b"arrived_at," + VIDUR
    assert not load("reader", "vidur-lengths").recognise(timed, "t")
    with pytest.raises(TraceError, match=r"line 2 .* without a time"):
        read("vidur-lengths", timed + b"0.5,3,4,7,1\n")


BAD = [
    ("azure-llm", b"2023-11-16 18:15:45.6805900,374,44"),
    ("azure-llm", b"2023-13-16 18:15:47,374,44"),
    ("azure-llm", b"0001-01-01 00:00:00,374,44"),
    ("azure-llm", b"9999-01-01 00:00:00,374,44"),
    ("azure-llm", b"2023-11-16 18:15:47.12345678901,374,44"),
    ("azure-llm", b"2023-11-16 18:15:47,374"),
    ("azure-llm", b"2023-11-16 18:15:47,374,44,1"),
    ("azure-llm", b"2023-11-16 18:15:47,-1,44"),
    ("azure-llm", b"2023-11-16 18:15:47,1,4294967296"),
    ("azure-llm", b"2023-11-16 18:15:47,1," + b"9" * 9000),
    ("burstgpt", b"4.9,ChatGPT,472,18,490,Conversation log"),
    ("burstgpt", b"nan,ChatGPT,472,18,490,Conversation log"),
    ("burstgpt", b"1e999999999,ChatGPT,472,18,490,Conversation log"),
    ("burstgpt", b"6_0,ChatGPT,472,18,490,Conversation log"),
    ("burstgpt", b"6,ChatGPT,472,18,,Conversation log"),
    ("burstgpt", b"6,ChatGPT,472,1.5,490,Conversation log"),
    ("vidur-lengths", b"3772,54,3827,1"),
    ("vidur-lengths", b"3772,,3772,1"),
    ("vidur-lengths", b"\xff,54,3827,1"),
]


@pytest.mark.parametrize(("name", "bad"), BAD)
def test_a_wrong_line(name: str, bad: bytes) -> None:
    good = GOOD[name]
    with pytest.raises(TraceError) as caught:
        read(name, good + bad + b"\n" + good)
    assert caught.value.message.startswith(f"t.csv: line 5 (byte {len(good)}) is not a ")
    assert "expected" in caught.value.remedy


@pytest.mark.parametrize("name", GOOD)
def test_another_header(name: str) -> None:
    with pytest.raises(TraceError, match=r"t.csv: line 1 \(byte 0\) does not name the columns") as caught:
        read(name, b"a,b,c\n1,2,3\n")
    assert "expected" in caught.value.remedy
    assert not load("reader", name).recognise(b"a,b,c\n", "t")


@given(st.integers(0, 2**62 - 1))
def test_times_are_exact(time: int) -> None:
    assert nanoseconds(b"%d.%09d" % divmod(time, 10**9), 9) == time
    assert nanoseconds(time, 0) == time
    assert nanoseconds(b"%d" % (time + 2**62), 0) is None


@pytest.mark.parametrize("held", [None, True, "1", [1], float("inf"), -1, b"", b"-1", b"1 2", b"\xd9\xa1"])
def test_what_is_no_time(held: Any) -> None:
    assert nanoseconds(held, 9) is None
