"""Lists of edges: by hand, against a plain parse, with changed bytes, and what is said of a wrong line."""

from __future__ import annotations

import csv
import io
import math
import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces import stream_trace
from tiersim.traces.compression import ByteFile
from tiersim.traces.ragged import joined
from tiersim.traces.readers import text
from tiersim.traces.schema import EDGE

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
READER = "edge-list"
MATRIX = b"%%MatrixMarket matrix coordinate real general\n% of a test\n\n3 3 2\n1 2 0.5\n3 3 -1e3\n"
SNAP = b"# Directed graph\n# Nodes: 4 Edges: 3\n# FromNodeId\tToNodeId\n1\t3\n3\t1\n1\t7\n"


def read(raw: bytes) -> dict[str, Any]:
    chunks = list(build("reader", READER).read(io.BytesIO(raw), "t.txt"))
    for chunk in chunks:
        EDGE.check(chunk, "t")
    return {name: joined([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]} if chunks else {}


def outcome(raw: bytes) -> TraceError | int:
    """The error, or how many edges there are."""
    try:
        return len(read(raw).get("source", []))
    except TraceError as error:
        return error


def knows(raw: bytes) -> bool:
    known: bool = load("reader", READER).recognise(raw, "t")
    return known


@pytest.mark.parametrize(
    ("raw", "edges"),
    [
        (b"id_1,id_2\n0,18427\n1,21708\n", [(0, 18427), (1, 21708)]),
        (b'\xef\xbb\xbf"Source", "Target"\r\n5 , 6\r\n\r\n7,8', [(5, 6), (7, 8)]),
        (b"src\tdst\n18446744073709551615\t0\n", [(2**64 - 1, 0)]),
        (SNAP, [(1, 3), (3, 1), (1, 7)]),
        (b"% sym unweighted\n% 3 3 3\n1 2\n 2  3 \n# in between\n3\t1\n", [(1, 2), (2, 3), (3, 1)]),
        (b"%%MatrixMarket matrix coordinate pattern symmetric\n%\n4 4 2\n2 1\n4 4\n", [(2, 1), (4, 4)]),
    ],
)
def test_by_hand(raw: bytes, edges: list[tuple[int, int]]) -> None:
    found = read(raw)
    assert list(zip(found.pop("source"), found.pop("target"), strict=True)) == edges
    assert not found
    assert knows(raw)


@pytest.mark.parametrize(
    ("raw", "weights"),
    [
        (b"from,to,weight\n1,2,0.25\n2,1,-3\n", [0.25, -3]),
        (b"u v w\n1 2 1e-3\n2 1 +5.\n", [0.001, 5]),
        (MATRIX, [0.5, -1000]),
    ],
)
def test_weights(raw: bytes, weights: list[float]) -> None:
    assert read(raw)["weight"] == weights
    assert knows(raw)


def test_without_a_header_it_must_be_named() -> None:
    assert read(b"1 2\n3 4\n") == {"source": [1, 3], "target": [2, 4]}
    assert not knows(b"1 2\n3 4\n")
    assert "edge-list" in load("reader", READER).suggest(b"1 2\n3 4\n")
    assert not load("reader", READER).suggest(b"1 2\n3 4 5 6\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"id,id_2\n1,2\n",
        b"id_1,id_2\n1,x\n",
        b"source,target,time\n1,2,3\n",
        b"# edges\n1 2 3 4\n",
        b"# measured\n1 2\n",
        b"# Nodes: 1\n",
    ],
)
def test_no_graph(raw: bytes) -> None:
    assert not knows(raw)


BAD = [  # a beginning, a wrong line after it, what the message says of it
    (b"id_1,id_2\n0,1\n", b"2", "is not an edge in the form of line 1"),
    (b"id_1,id_2\n0,1\n", b"2 3", "is not an edge in the form of line 1"),
    (b"id_1,id_2\n0,1\n", b"2,3,4", "is not an edge in the form of line 1"),
    (b"id_1,id_2\n0,1\n", b"2,-3", "is not an edge in the form of line 1"),
    (b"id_1,id_2\n0,1\n", b",2 3", "is not an edge in the form of line 1"),
    (b"id_1,id_2\n0,1\n", b"1,18446744073709551616", "is not an edge in the form of line 1"),
    (b"# Nodes: 2\n\n1\t2\n", b"1\t2\t3", "is not an edge in the form of line 3"),
    (b"# Nodes: 2\n\n1\t2\n", b"1,2", "is not an edge in the form of line 3"),
    (b"# Nodes: 2\n1\t2\n", b"1\t2 # why", "is not an edge in the form of line 2"),
    (b"u,v,w\n0,1,2\n", b"0,1,nan", "is not an edge in the form of line 1"),
    (b"u,v,w\n0,1,2\n", b"0,1,1e999", "is not an edge in the form of line 1"),
    (b"u,v,w\n0,1,2\n", b"0,1,1_0", "is not an edge in the form of line 1"),
    (b"u,v,w\n0,1,2\n", b"0,1,\xff", "is not an edge in the form of line 1"),
    (MATRIX, b"0 1 1", "is not an edge in the form of line 4"),
    (MATRIX, b"1 4 1", "is not an edge in the form of line 4"),
    (MATRIX, b"1 2", "is not an edge in the form of line 4"),
    (b"", b"a,b", "is not an edge, nor does it name"),
    (b"# c\n", b"source,target,time", "is not an edge, nor does it name"),
    (b"", b"%%MatrixMarket matrix array real general", "is not the head of a matrix"),
    (b"", b"%%MatrixMarket matrix coordinate complex general", "is not the head of a matrix"),
    (b"", b"%%MatrixMarket", "is not the head of a matrix"),
    (MATRIX[:46], b"3 4 5", "is not the size of a matrix"),
    (MATRIX[:46], b"0 0 0", "is not the size of a matrix"),
]


@pytest.mark.parametrize("end", [b"", b"\n1,2\n"])
@pytest.mark.parametrize(("before", "bad", "said"), BAD)
def test_a_wrong_line(before: bytes, bad: bytes, said: str, end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1 << 20, 32):
        monkeypatch.setattr(text, "BLOCK", size)
        with pytest.raises(TraceError) as caught:
            read(before + bad + end)
        place = f"t.txt: line {1 + before.count(10)} (byte {len(before)}) "
        assert caught.value.message.startswith(place + said)
        assert ("; the file ends inside this line" in caught.value.message) == (not end)
        assert "expected" in caught.value.remedy


@pytest.mark.parametrize(
    ("raw", "last", "line", "edges"), [(SNAP[:-4], 2, 2, 3), (MATRIX[:-9], 1, 4, 2), (MATRIX + b"1 1 1\n", 3, 4, 2)]
)
def test_a_file_without_all_its_edges(raw: bytes, last: int, line: int, edges: int) -> None:
    with pytest.raises(TraceError) as caught:
        read(raw)
    assert caught.value.message == (
        f"t.txt: record {last} is the last (byte {len(raw)}), and line {line} says that there are {edges} edges"
    )
    assert "fetch the file again" in caught.value.remedy


def test_more_edges_than_a_comment_says() -> None:
    assert len(read(SNAP + b"7\t1\n")["source"]) == 4  # some count an edge of an undirected graph once


words = st.integers(0, 2**64).map(str) | st.text("0123456789+-.,e \tx#\r", max_size=6)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(words, min_size=2, max_size=3), min_size=1, max_size=6), st.sampled_from(", \t"), st.data())
def test_against_a_plain_parse(rows: list[list[str]], between: str, data: Any) -> None:
    """After a first row, a file is taken as a plain parse of its lines takes it, or is wrong where that fails."""
    columns = data.draw(st.sampled_from([2, 3]))
    written = [between.join(["1"] * columns), *(between.join(row) for row in rows)]
    wanted: list[list[float]] = []
    right = True
    for line in "\n".join(written).split("\n"):
        fields = line.split(",") if between == "," else re.split("[ \t\r]+", line.strip(" \t\r"))
        fields = [field.strip(" \t\r") for field in fields]
        if not line.strip() or line.lstrip(" \t").startswith("#"):
            continue
        try:
            found = [*map(int, fields[:2]), *map(float, fields[2:])]
        except ValueError:
            found = []
        plain = all(re.fullmatch("[0-9]{1,20}", field) for field in fields[:2])
        if not plain or len(found) != columns or max(found[:2]) >= 2**64 or not all(map(math.isfinite, found)):
            right = False
            break
        wanted.append(found)
    raw = "\n".join(written).encode()
    if not right:
        with pytest.raises(TraceError, match="is not an edge in the form of line 1"):
            read(raw)
    else:
        assert [list(row) for row in zip(*read(raw).values(), strict=True)] == wanted


GOOD = [b"source,target,weight\n" + b"10,20,0.5\n" * 4, SNAP, MATRIX, b"# Nodes: 9\n" + b"123 456\n" * 5]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(GOOD), st.integers(0, 2**32), st.integers(1, 6))
def test_changed_bytes(good: bytes, seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(good)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice([bytes([draw.randrange(256)]), b"9", b"e", b".", b"-", b"\n", b",", b"#", b"%", b"\t", b""])
        raw[at : at + draw.randrange(3)] = new
    knows(bytes(raw))
    made = outcome(bytes(raw))
    if isinstance(made, TraceError):
        assert re.match(r"t\.txt: (line|record) [\d,]+ .*\(byte [\d,]+\)", made.message)
        assert made.remedy
    else:
        assert made <= 6 + changes


def plain(name: str) -> list[str]:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    with ByteFile(MIRROR / name) as file:
        return file.read(1 << 24).decode().splitlines()


def graph(name: str) -> tuple[list[int], list[int]]:
    chunks = list(stream_trace(name).chunks())
    assert all(chunk.keys() == {"source", "target"} for chunk in chunks)
    return joined([chunk["source"] for chunk in chunks]).tolist(), joined(
        [chunk["target"] for chunk in chunks]
    ).tolist()


def test_pages_of_facebook() -> None:
    name = "musae_facebook_edges.csv.xz"
    wanted = [(int(row["id_1"]), int(row["id_2"])) for row in csv.DictReader(plain(name))]
    source, target = graph(name)
    assert list(zip(source, target, strict=True)) == wanted
    assert (len(source), len({*source, *target}), max(*source, *target)) == (171_002, 22_470, 22_469)
    assert sum(map(int.__eq__, source, target)) == 179


def test_autonomous_systems() -> None:
    name = "snap_as20graph.txt.gz"
    wanted = [tuple(map(int, line.split())) for line in plain(name) if not line.startswith("#")]
    source, target = graph(name)
    edges = list(zip(source, target, strict=True))
    assert edges == wanted
    assert (len(edges), len({*source, *target})) == (26_467, 6_474)
    turned = set(edges)
    assert all((b, a) in turned for a, b in edges)  # each edge is there twice


def test_many_edges_need_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(200_000).reshape(-1, 2)
    raw = b"u,v\n" + b"".join(b"%d,%d\n" % (a, b) for a, b in rows.tolist())
    monkeypatch.setattr(text, "BLOCK", 1 << 12)
    sizes = [len(chunk["source"]) for chunk in build("reader", READER).read(io.BytesIO(raw), "t")]
    assert sum(sizes) == len(rows)
    assert max(sizes) < 1 << 11
