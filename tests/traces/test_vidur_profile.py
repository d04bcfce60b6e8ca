"""Vidur's measured times: by hand, against a plain parse, and what is said of a wrong row."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import random
import re
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
READER = "vidur-profile"
ORDER = ("min", "max", "mean", "median", "std")
Row = dict[str, Any]


def header(*operations: str) -> str:
    return ",".join(f"time_stats.{operation}.{name}" for operation in operations for name in ORDER)


NETWORK = f",{header('send_recv')},rank,num_workers,size,collective,devices_per_node,max_devices_per_node\n".encode()
SENT = b"0,0.25,1.0,0.5,0.375,0.125,3,2,2048,send_recv,1,8\n"
PARTS = f"{header('emb', 'add')},n_head,use_gated_mlp,num_tokens,num_tensor_parallel_workers\n".encode()
PART = b"0.5,0.5,0.5,0.5,0.0,1,2,1.5,1.5,,32,True,4096,4\n"
ATTENTION = (
    f"{header('attn_decode', 'attn_prefill')},n_embd,block_size,num_tensor_parallel_workers,max_model_len,batch_size,"
    "prefill_chunk_size,kv_cache_size,is_prefill\n"
).encode()
DECODED = b"0.5,0.5,0.5,0.5,0.0,,,,,,8192,16,2,4096,3,0,32,False\n"
FILLED = b",,,,,0.25,0.25,0.25,0.25,0.0,8192,16,2,4096,1,64,128,True\n"


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


def test_a_network() -> None:
    assert load("reader", READER).recognise(NETWORK + SENT, "t")
    assert read(NETWORK + SENT) == [
        {
            "operation": "send_recv",
            "mean": 500_000.0,
            "median": 375_000.0,
            "minimum": 250_000.0,
            "maximum": 1_000_000.0,
            "deviation": 125_000.0,
            "size": 2048,
            "workers": 2,
            "per_node": 1,
            "rank": 3,
        }
    ]


def test_parts_of_a_model() -> None:
    assert load("reader", READER).recognise(PARTS + PART, "t")
    first, second = read(PARTS + PART)
    assert (first["operation"], first["mean"], first["deviation"]) == ("emb", 500_000.0, 0.0)
    assert (second["operation"], second["minimum"], second["maximum"]) == ("add", 1e6, 2e6)
    assert math.isnan(second["deviation"])
    assert {row["tokens"] for row in (first, second)} == {4096}
    assert {row["workers"] for row in (first, second)} == {4}


def test_attention() -> None:
    assert load("reader", READER).recognise(ATTENTION + DECODED, "t")
    wanted = ("operation", "mean", "tokens", "context", "batch", "workers")
    assert [tuple(row[name] for name in wanted) for row in read(ATTENTION + DECODED + FILLED)] == [
        ("attn_decode", 500_000.0, 3, 32, 3, 2),  # one token for each request
        ("attn_prefill", 250_000.0, 64, 128, 1, 2),
    ]


@pytest.mark.parametrize(
    ("head", "row", "old", "new"),
    [
        (NETWORK, SENT, b"0.25", b"0.4"),  # more than the median
        (NETWORK, SENT, b"1.0,", b"0.45,"),  # less than the mean
        (NETWORK, SENT, b"0.5", b"0.2"),  # less than the minimum
        (NETWORK, SENT, b"0.25", b"-0.25"),
        (NETWORK, SENT, b"0.25", b"nan"),
        (NETWORK, SENT, b"0.25", b""),
        (NETWORK, SENT, b"0.5", b""),
        (NETWORK, SENT, b"0.125", b"1e999"),
        (NETWORK, SENT, b"0.25,1.0,0.5,0.375,0.125", b",,,,"),
        (NETWORK, SENT, b"2048", b"2048.5"),
        (NETWORK, SENT, b"2048", b"18446744073709551616"),
        (NETWORK, SENT, b",2,", b",4294967296,"),
        (NETWORK, SENT, b"send_recv", b"all_reduce"),
        (NETWORK, SENT, b",8\n", b"\n"),
        (NETWORK, SENT, b",8\n", b",8,9\n"),
        (PARTS, PART, b"4096", b""),
        (PARTS, PART, b"1,2,1.5,1.5,", b"1,,1.5,1.5,"),
        (ATTENTION, FILLED, b"True", b"yes"),
        (ATTENTION, FILLED, b"128", b"some"),
        (ATTENTION, FILLED, b"64,128", b"18446744073709551615,128,"),
        (ATTENTION, DECODED, b",3,", b",4294967296,"),
    ],
)
def test_a_wrong_row(head: bytes, row: bytes, old: bytes, new: bytes) -> None:
    assert old in row
    with pytest.raises(TraceError) as caught:
        read(head + row + row.replace(old, new, 1) + row)
    assert caught.value.message.startswith(f"t.csv: line 3 (byte {len(head + row)}) is not a row of ")
    assert "expected for one operation at least" in caught.value.remedy


def test_tokens_that_do_not_fit() -> None:
    large = FILLED.replace(b",1,64,", b",2,18446744073709551615,")
    with pytest.raises(TraceError, match=r"line 2 .* is not a row of times"):
        read(ATTENTION + large)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a,b\n",
        NETWORK.replace(b"time_stats.send_recv.median,", b""),
        NETWORK.replace(b"num_workers", b"rank"),
        b"time_stats.send_recv\n",
    ],
)
def test_another_header(head: bytes) -> None:
    assert not load("reader", READER).recognise(head, "t")
    if head:
        with pytest.raises(TraceError, match=r"line 1 \(byte 0\) does not name times of operations") as caught:
            read(head)
        assert "expected time_stats.NAME.min" in caught.value.remedy


def test_a_cut_file() -> None:
    with pytest.raises(TraceError, match=r"line 2 .* the file ends inside this line"):
        read(NETWORK + SENT[:-4])


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([NETWORK + SENT * 3, PARTS + PART * 2, ATTENTION + DECODED + FILLED]),
    st.integers(0, 2**32),
    st.integers(1, 6),
)
def test_changed_bytes(good: bytes, seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(good)
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
        assert made <= 4


def plain(name: str) -> list[dict[str, str]]:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return list(csv.DictReader(gzip.decompress((MIRROR / name).read_bytes()).decode().splitlines()))


@pytest.mark.parametrize(
    ("name", "operation", "rows", "sizes", "by_workers", "configurations"),
    [
        ("vidur_a100_pairwise_nvlink_send_recv", "send_recv", 1_988, 993, 993, 1_986),
        ("vidur_a100_dgx_send_recv", "send_recv", 1_988, 993, 993, 1_986),
        ("vidur_a100_dgx_all_reduce", "all_reduce", 6_958, 993, 3_972, 6_951),
        ("vidur_a40_pairwise_nvlink_send_recv", "send_recv", 1_988, 993, 993, 1_986),
    ],
)
def test_networks(name: str, operation: str, rows: int, sizes: int, by_workers: int, configurations: int) -> None:
    held = plain(f"{name}.csv.gz")
    found = table(list(stream_trace(f"{name}.csv.gz").chunks()))
    assert len(held) == len(found) == rows
    assert {row["operation"] for row in found} == {operation}
    for role, statistic in (("minimum", "min"), ("maximum", "max"), ("mean", "mean"), ("deviation", "std")):
        assert [row[role] for row in found] == [float(row[f"time_stats.{operation}.{statistic}"]) * 1e6 for row in held]
    for role, column in (("size", "size"), ("workers", "num_workers"), ("per_node", "devices_per_node")):
        assert [row[role] for row in found] == [int(row[column]) for row in held]
    assert len({row["size"] for row in found}) == sizes
    assert len({(row["size"], row["workers"]) for row in found}) == by_workers
    assert len({(row["size"], row["workers"], row["per_node"]) for row in found}) == configurations


def test_parts_of_llama() -> None:
    held = plain("vidur_a100_llama2_7b_mlp.csv.gz")
    found = table(list(stream_trace("vidur_a100_llama2_7b_mlp.csv.gz").chunks()))
    operations = [name.split(".")[1] for name in held[0] if name.endswith(".mean")]
    assert (len(held), len(operations)) == (1044, 10)
    assert [row["operation"] for row in found] == operations * 1044
    assert [row["mean"] for row in found] == [
        float(row[f"time_stats.{operation}.mean"]) * 1e6 for row in held for operation in operations
    ]
    assert [row["tokens"] for row in found[::10]] == [int(row["num_tokens"]) for row in held]
    assert len({row["tokens"] for row in found}) == 259
    assert {row["workers"] for row in found} == {1, 2, 4, 8}
