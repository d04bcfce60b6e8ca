"""Measured times of prompts and tokens: by hand, against a plain parse, and what is said of a wrong row."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces import stream_trace
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import PROFILE

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
READER = "splitwise-profile"
HEADER = (
    b"model,hardware,prompt_size,batch_size,token_size,peak_power,average_power,prompt_time,token_time,e2e_time,"
    b"tensor_parallel\n"
)
RUN = b"llama2-70b,a100-80gb,512,2,128,1.0,0.75,196.25,54.5,7168.5,4\n"
Row = dict[str, Any]


def table(chunks: list[dict[str, Any]]) -> list[Row]:
    """The records."""
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    values = {name: held.strings if isinstance(held, Ragged) else held.tolist() for name, held in columns.items()}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def read(raw: bytes) -> list[Row]:
    chunks = list(build("reader", READER).read(io.BytesIO(raw), "t.csv"))
    for chunk in chunks:
        PROFILE.check(chunk, "t")
    return table(chunks) if chunks else []


def test_by_hand() -> None:
    assert load("reader", READER).recognise(HEADER + RUN, "t")
    same: Row = {"tokens": 512, "output": 128, "batch": 2, "workers": 4, "power": 0.75}
    same |= {"model": "llama2-70b", "hardware": "a100-80gb"}
    assert read(HEADER + RUN + b"\n") == [
        same | {"operation": "prompt", "mean": 196_250_000.0},
        same | {"operation": "token", "mean": 54_500_000.0},
        same | {"operation": "end-to-end", "mean": 7_168_500_000.0},
    ]


def test_a_power_that_was_not_measured() -> None:
    powers = [row["power"] for row in read(HEADER + RUN + RUN.replace(b"0.75", b"0.0"))]
    assert powers[:3] == [0.75] * 3
    assert all(map(math.isnan, powers[3:]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"llama2-70b", b""),
        (b"a100-80gb", b" "),
        (b"a100-80gb", b"\xff"),
        (b"512", b"0"),
        (b"512", b"4294967296"),
        (b"512", b"5.5"),
        (b",2,", b",,"),
        (b"128", b"-128"),
        (b"0.75", b"nan"),
        (b"0.75", b""),
        (b"196.25", b"-196.25"),
        (b"54.5", b"1e999"),
        (b"54.5", b"1e308"),
        (b"54.5", b"5_4"),
        (b"7168.5", b"inf"),
        (b",4\n", b",four\n"),
        (b",4\n", b"\n"),
        (b",4\n", b",4,5\n"),
    ],
)
def test_a_wrong_row(old: bytes, new: bytes) -> None:
    good = HEADER + RUN
    with pytest.raises(TraceError) as caught:
        read(good + RUN.replace(old, new, 1) + RUN)
    assert caught.value.message.startswith(f"t.csv: line 3 (byte {len(good)}) is not a row of ")
    assert "expected model, hardware" in caught.value.remedy


def test_another_header_and_a_cut_file() -> None:
    with pytest.raises(TraceError, match=r"line 1 \(byte 0\) does not name the columns model"):
        read(HEADER.replace(b"e2e_time", b"e2e") + RUN)
    assert not load("reader", READER).recognise(HEADER.replace(b"e2e_time", b"e2e"), "t")
    with pytest.raises(TraceError, match=r"line 2 .* the file ends inside this line"):
        read(HEADER + RUN[:-3])


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_changed_bytes(seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(HEADER + RUN * 3)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice([bytes([draw.randrange(256)]), b"9", b"e", b".", b"-", b"\n", b",", b'"', b"nan", b""])
        raw[at : at + draw.randrange(3)] = new
    load("reader", READER).recognise(bytes(raw), "t")
    try:
        made: TraceError | int = len(read(bytes(raw)))
    except TraceError as error:
        made = error
    if isinstance(made, TraceError):
        assert re.match(r"t\.csv: line \d+ \(byte \d+\)", made.message)
        assert made.remedy
    else:
        assert made <= 9


def test_times_of_splitwise() -> None:
    name = "splitwise_perf_model.csv.gz"
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    held = list(csv.DictReader(gzip.decompress((MIRROR / name).read_bytes()).decode().splitlines()))
    found = table(list(stream_trace(name).chunks()))
    assert (len(held), len(found)) == (1260, 3 * 1260)
    assert [row["operation"] for row in found] == ["prompt", "token", "end-to-end"] * 1260
    for operation, column in (("prompt", "prompt_time"), ("token", "token_time"), ("end-to-end", "e2e_time")):
        times = [row["mean"] for row in found if row["operation"] == operation]
        assert times == [float(row[column]) * 1e6 for row in held]
    names = ("model", "hardware", "tokens", "batch", "output", "workers")
    columns = ("model", "hardware", "prompt_size", "batch_size", "token_size", "tensor_parallel")
    configurations = {tuple(str(row[key]) for key in names) for row in found}
    assert configurations == {tuple(row[key] for key in columns) for row in held}
    assert len(configurations) == 228
    assert len({(row["model"], row["hardware"], row["tokens"], row["batch"]) for row in found}) == 78
    assert Counter(row["model"] for row in found[::3]) == {"llama2-70b": 945, "bloom-176b": 315}
    assert {row["hardware"] for row in found} == {"a100-80gb", "h100-80gb", "h100-80gb-pcap"}
    powers = [0.0 if math.isnan(row["power"]) else row["power"] for row in found[::3]]
    assert powers == [float(row["average_power"]) for row in held]
    assert powers.count(0.0) == 1000
