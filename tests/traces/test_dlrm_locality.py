"""Statistics of rows of embedding tables: by hand, against a plain parse, and what is said of a wrong line."""

from __future__ import annotations

import ast
import gzip
import io
import os
import random
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces import stream_trace
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import POPULARITY

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
READER = "dlrm-locality"
BLOCK = b"""table.pt
Locality stats after processing 1 batches of size 8
Avg # of indices: 1000
Avg # of unique cols: 400
Avg col size: 2.5
Histogram of col sizes:
(0, 1]: 0.667
(1, 4]: 0.250
(4+: 0.084
[0, 1, 4]
['0.000', '0.667', '0.917', '1.000']
Ratio of index distribution at different column sizes:
(0, 1]: 0.266
(1, 4]: 0.300
(4+: 0.434
[0, 1, 4]
['0.000', '0.266', '0.566', '1.000']
"""
Row = dict[str, Any]


def table(chunks: list[dict[str, Any]]) -> list[Row]:
    """The records."""
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    values = {name: held.strings if isinstance(held, Ragged) else held.tolist() for name, held in columns.items()}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def read(raw: bytes) -> list[Row]:
    chunks = list(build("reader", READER).read(io.BytesIO(raw), "t.txt"))
    for chunk in chunks:
        POPULARITY.check(chunk, "t")
    return table(chunks) if chunks else []


def test_by_hand() -> None:
    raw = BLOCK + b"\n" + BLOCK.replace(b"table", b"other")
    assert load("reader", READER).recognise(raw, "t")
    found = read(raw)
    assert [row["table"] for row in found] == ["table.pt"] * 3 + ["other.pt"] * 3
    same: Row = {"table": "table.pt", "all_rows": 400, "all_accesses": 1000}
    assert found[:3] == [
        same | {"above": 0, "most": 1, "rows": 0.667, "accesses": 0.266},
        same | {"above": 1, "most": 4, "rows": 0.25, "accesses": 0.3},
        same | {"above": 4, "most": 2**64 - 1, "rows": 0.084, "accesses": 0.434},
    ]


BAD = [  # what is changed, to what, and the line of which it is said
    (b"table.pt", b"t\xffable.pt", 1),
    (b"1 batches", b"one batch", 2),
    (b"indices: 1000", b"indices: -1", 3),
    (b"unique cols: 400", b"unique cols: 400 rows", 4),
    (b"unique cols: 400", b"unique cols: 0", 5),
    (b"unique cols: 400", b"unique cols: 4000", 5),
    (b"col size: 2.5", b"col size: 2.6", 5),
    (b"col size: 2.5", b"col size: nan", 5),
    (b"Histogram of", b"Histograms of", 6),
    (b"(0, 1]: 0.667", b"(0, 1]: 0.67", 7),
    (b"(0, 1]: 0.667", b"(1, 2]: 0.667", 7),
    (b"(1, 4]: 0.250", b"(2, 4]: 0.250", 8),
    (b"(1, 4]: 0.250", b"(1, 1]: 0.250", 8),
    (b"(4+: 0.084", b"(5+: 0.084", 9),
    (b"(4+: 0.084", b"(4+: 0.086", 9),  # 1.003 is not 1
    (b"[0, 1, 4]\n", b"[0, 1, 5]\n", 10),
    (b"[0, 1, 4]\n", b"0, 1, 4\n", 10),
    (b"'0.917'", b"'0.914'", 11),
    (b"'0.917', ", b"", 11),
    (b"'0.917'", b"'NaN'", 11),
    (b"'0.917'", b"{}", 11),
    (b"'0.566'", b"'0.570'", 17),
]


@pytest.mark.parametrize(("old", "new", "line"), BAD)
def test_a_wrong_line(old: bytes, new: bytes, line: int) -> None:
    assert BLOCK.count(old) in (1, 2)
    bad = BLOCK.replace(old, new, 1)
    offset = len(BLOCK) + 1 + sum(len(text) + 1 for text in bad.split(b"\n")[: line - 1])
    with pytest.raises(TraceError) as caught:
        read(BLOCK + b"\n" + bad)
    assert caught.value.message.startswith(f"t.txt: line {18 + line} (byte {offset}) is not ")
    assert "in block 2 ('t" in caught.value.message
    assert "expected" in caught.value.remedy


def test_histograms_of_different_classes() -> None:
    bad = BLOCK.replace(b"(0, 1]: 0.266\n(1, 4]: 0.300\n(4+", b"(0, 1]: 0.266\n(1, 5]: 0.300\n(5+")
    bad = bad[:-60] + bad[-60:].replace(b"[0, 1, 4]", b"[0, 1, 5]")
    with pytest.raises(TraceError, match=r"line 17 .* a histogram of the same classes .* block 1"):
        read(bad)


@pytest.mark.parametrize("kept", range(1, 17))
def test_a_file_that_breaks_off(kept: int) -> None:
    lines = BLOCK.splitlines(keepends=True)[:kept]
    with pytest.raises(TraceError) as caught:
        read(BLOCK + b"\n" + b"".join(lines))
    offset = len(BLOCK) + 1 + sum(map(len, lines[:-1]))
    said = f"t.txt: block 2 ('table.pt') breaks off after line {18 + kept} (byte {offset}): "
    assert caught.value.message.startswith(said)
    assert "is missing" in caught.value.message
    assert "fetch the file again" in caught.value.remedy


@pytest.mark.parametrize("head", [b"", b"\n", b"table.pt", b"a\nb\nc\n", BLOCK[10:]])
def test_no_statistics(head: bytes) -> None:
    assert not load("reader", READER).recognise(head, "t")


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_changed_bytes(seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(BLOCK * 2)
    for _ in range(changes):
        at = draw.randrange(len(raw))
        new = draw.choice([bytes([draw.randrange(256)]), b"9", b"0", b".", b"\n", b",", b"[", b"]", b"'", b"(", b""])
        raw[at : at + draw.randrange(3)] = new
    load("reader", READER).recognise(bytes(raw), "t")
    try:
        made: TraceError | int = len(read(bytes(raw)))
    except TraceError as error:
        made = error
    if isinstance(made, TraceError):
        assert re.match(r"t\.txt: .*line \d+ \(byte \d+\)", made.message)
        assert made.remedy
    else:
        assert made == 6


def test_statistics_of_dlrm_datasets() -> None:
    name = "dlrm_datasets_2021_locality_stats.txt.gz"
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    blocks = gzip.decompress((MIRROR / name).read_bytes()).decode().strip().split("\n\n")
    found = table(list(stream_trace(name).chunks()))
    assert (len(blocks), len(found)) == (17, 17 * 17)
    tables = [list(rows) for _, rows in groupby(found, key=lambda row: row["table"])]
    for text, rows in zip(blocks, tables, strict=True):
        lines = text.split("\n")
        assert {row["table"] for row in rows} == {lines[0]}
        assert {row["all_accesses"] for row in rows} == {int(lines[2].split()[-1])}
        assert {row["all_rows"] for row in rows} == {int(lines[3].split()[-1])}
        assert [row["rows"] for row in rows] == [float(line.split()[-1]) for line in lines[6:23]]
        assert [row["accesses"] for row in rows] == [float(line.split()[-1]) for line in lines[26:43]]
        assert [row["above"] for row in rows] == ast.literal_eval(lines[23]) == ast.literal_eval(lines[43])
        assert [row["most"] for row in rows[:-1]] == [row["above"] for row in rows[1:]]
        assert rows[-1]["most"] == 2**64 - 1
