"""Columns with a list of numbers a record: cut, joined, stored and read back they stay what they were."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim.traces import store
from tiersim.traces.chunks import length, rechunk, window
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import SCHEMAS, Chunk, Column, Schema
from tiersim.traces.store import StoredTrace, Writer

LISTS = Schema(
    "lists",
    1,
    "For these tests.",
    (
        Column("blocks", "uint64", "1", "a list", ragged=True),
        Column("name", "uint32", "1", "a number"),
        Column("weights", "float32", "1", "another list", optional=True, ragged=True, positive=True),
    ),
    "",
    ("record",),
)
Lists = list[list[int]]
ROWS = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=4), min_size=1, max_size=60)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMAS, "lists", LISTS)


def chunk_of(rows: Lists) -> Chunk:
    return {"blocks": Ragged.of(rows), "name": np.arange(len(rows), dtype=np.uint32)}


def lists(column: Ragged) -> Lists:
    assert not column.broken
    return [values.tolist() for values in column]


def write(path: Path, chunk: Chunk, cuts: int = 10**9) -> StoredTrace:
    with Writer(path, schema=LISTS) as out:
        for piece in rechunk([chunk], cuts):
            out.append(piece)
    return StoredTrace(path)


@given(ROWS, st.integers(-70, 70), st.integers(-70, 70), st.integers(1, 9))
def test_it_is_a_list_of_lists(rows: Lists, start: int, stop: int, step: int) -> None:
    column = Ragged.of(rows)
    assert (len(column), lists(column)) == (len(rows), rows)
    assert column.counts.tolist() == [len(row) for row in rows]
    assert lists(column[start:stop]) == rows[start:stop]
    assert lists(column[start:stop].copy()) == rows[start:stop]
    assert [column[place].tolist() for place in range(-len(rows), len(rows))] == rows * 2
    pieces = [column[at : at + step] for at in range(0, len(rows), step)]
    assert lists(joined(pieces)) == rows
    with pytest.raises(IndexError):
        column[len(rows)]
    with pytest.raises(ValueError, match="steps of 1"):
        column[::2]


def test_a_slice_shares_the_values() -> None:
    column = Ragged.of([[1, 2], [], [3]])
    assert np.shares_memory(column[1:].values, column.values)
    assert not np.shares_memory(column.copy().values, column.values)
    assert column.nbytes == 3 * 8 + 4 * 8
    assert repr(column) == "<Ragged: 3 lists of 3 uint64 in all>"


@settings(deadline=None, max_examples=40)
@given(
    rows=ROWS,
    cut_in=st.integers(1, 70),
    cut_out=st.integers(1, 70),
    group=st.integers(1, 3000),
    skip=st.integers(0, 70),
    limit=st.none() | st.integers(0, 70),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    rows: Lists,
    cut_in: int,
    cut_out: int,
    group: int,
    skip: int,
    limit: int | None,
) -> None:
    chunk = chunk_of(rows)
    folder = tmp_path_factory.mktemp("trace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "ROW_GROUP", group)
        trace = write(folder / "t.parquet", chunk, cut_in)
        pieces = list(trace.chunks(cut_out, skip, limit))
        assert write(folder / "u.parquet", chunk).fingerprint == trace.fingerprint
    end = len(rows) if limit is None else min(len(rows), skip + limit)
    assert all(LISTS.check(piece, "t").keys() == chunk.keys() for piece in pieces)
    assert [length(piece) for piece in pieces[:-1]] == [cut_out] * max(len(pieces) - 1, 0)
    assert [row for piece in pieces for row in lists(piece["blocks"])] == rows[skip:end]
    assert [name for piece in pieces for name in piece["name"].tolist()] == list(range(skip, max(skip, end)))
    assert trace.kinds == {"record": len(rows)}


@pytest.mark.parametrize("rows", [[[]], [[], [], []], [[], [7], []]])
def test_empty_lists(tmp_path: Path, rows: Lists) -> None:
    (chunk,) = write(tmp_path / "t.parquet", chunk_of(rows)).chunks()
    assert lists(chunk["blocks"]) == rows
    assert chunk["blocks"].values.dtype == np.uint64


def test_records_with_lists_are_held_in_smaller_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROW_GROUP", 640)
    trace = write(tmp_path / "t.parquet", chunk_of([[1]] * 25))
    about = pq.read_metadata(trace.path)
    assert [about.row_group(place).num_rows for place in range(about.num_row_groups)] == [10, 10, 5]


def test_a_window() -> None:
    pieces = list(window([chunk_of([[1], [2, 3]]), chunk_of([[], [4]])], 1, 2))
    assert [lists(piece["blocks"]) for piece in pieces] == [[[2, 3]], [[]]]


def test_an_optional_list(tmp_path: Path) -> None:
    chunk = chunk_of([[1], []]) | {"weights": Ragged.of([[2], [3]], "float32")}
    (found,) = write(tmp_path / "t.parquet", chunk).chunks()
    assert found["weights"].values.dtype == np.float32
    assert lists(found["weights"]) == [[2], [3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": np.zeros(3, np.uint64)}, "blocks must be a Ragged of uint64"),
        ({"name": Ragged.of([[1]] * 3, "uint32")}, "name must be an array of uint32"),
        ({"blocks": Ragged.of([[1]] * 3, "int64")}, "blocks must be uint64, and is int64"),
        ({"blocks": Ragged.of([[1]] * 2)}, "name is not as long"),
        ({"blocks": Ragged(np.zeros(3, np.uint64), np.array([0, 2, 1, 3]))}, "offsets that do not run from 0"),
        ({"blocks": Ragged(np.zeros(3, np.uint64), np.array([1, 1, 2, 3]))}, "offsets that do not run from 0"),
        ({"blocks": Ragged(np.zeros(3, np.uint64), np.array([0, 1, 1, 2]))}, "offsets that do not run from 0"),
        ({"blocks": Ragged(np.zeros(3, np.uint64), np.zeros(0, np.int64))}, "needs a row of values and int64"),
        ({"weights": Ragged.of([[0]] * 3, "float32")}, "weights must be a finite number above 0, and is 0.0"),
    ],
)
def test_a_chunk_that_does_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message), Writer(tmp_path / "t.parquet", schema=LISTS) as out:
        out.append(chunk_of([[1], [2], [3]]) | change)


def test_arrays_may_be_used_again_after_append(tmp_path: Path) -> None:
    chunk = chunk_of([[1], [2]])
    with Writer(tmp_path / "t.parquet", schema=LISTS) as out:
        out.append(chunk)
        chunk["blocks"].values[:] = 0
        chunk["blocks"].offsets[:] = 0
    assert lists(next(StoredTrace(tmp_path / "t.parquet").chunks())["blocks"]) == [[1], [2]]


def test_a_flipped_bit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROW_GROUP", 64 * 100)
    values = np.random.default_rng(0).integers(0, 2**64, 600, np.uint64, endpoint=False)
    path = write(tmp_path / "t.parquet", chunk_of(values.reshape(-1, 3).tolist())).path
    raw = bytearray(path.read_bytes())
    raw[pq.read_metadata(path).row_group(1).column(0).data_page_offset + 500] ^= 4
    path.write_bytes(raw)
    trace = StoredTrace(path)
    assert length(next(trace.chunks(100))) == 100
    with pytest.raises(TraceError, match=r"is damaged: somewhere in records 100 to 199"):
        list(trace.chunks(100))


@pytest.mark.parametrize("kind", [pa.uint64(), pa.list_(pa.uint64()), pa.list_(pa.int64())])
def test_a_column_of_another_type(tmp_path: Path, kind: Any) -> None:
    path = write(tmp_path / "t.parquet", chunk_of([[1], [2]])).path
    about = pq.read_metadata(path).metadata
    blocks = pa.array([1, 2] if kind == pa.uint64() else [[1], [2]], kind)
    made = pa.table({"blocks": blocks, "name": pa.array([0, 1], pa.uint32())})
    pq.write_table(made.replace_schema_metadata(about), path)
    with pytest.raises(TraceError, match="its columns are not those"):
        StoredTrace(path)


def test_pandas(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    table = write(tmp_path / "t.parquet", chunk_of([[1, 2], [], [3]])).to_pandas()
    assert [list(row) for row in table["blocks"]] == [[1, 2], [], [3]]
    assert table["name"].tolist() == [0, 1, 2]


TEXTS = Schema(
    "texts",
    1,
    "For these tests.",
    (
        Column("text", "uint8", "UTF-8", "a text", ragged=True, text=True),
        Column("worth", "float64", "1", "a number", -math.inf, optional=True, unknown=True),
        Column("share", "float64", "1", "a number", optional=True, most=1),
    ),
    "",
    ("text",),
)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=60), st.integers(1, 70)
)
@settings(max_examples=40)
def test_texts_come_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str], cuts: int) -> None:
    made = Ragged.texts(texts)
    assert (made.strings, made.broken, made.garbled) == (texts, "", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCHEMAS, "texts", TEXTS)
        path = tmp_path_factory.mktemp("texts") / "texts.parquet"
        with Writer(path, schema=TEXTS) as out:
            for piece in rechunk([{"text": made}], cuts):
                out.append(piece)
        trace = StoredTrace(path)
        found = joined([chunk["text"] for chunk in trace.chunks(cuts)])
        assert found.strings == texts
        assert trace.to_pandas()["text"].tolist() == texts
        assert [text for chunk in trace.chunks(skip=1) for text in chunk["text"].strings] == texts[1:]


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert Ragged.texts(["a\ud800b"]).strings == ["a?b"]


@pytest.mark.parametrize(
    ("values", "counts", "said"),
    [
        ([0x61, 0xFF], [1, 1], "is not UTF-8 in record 2: invalid start byte"),
        ([0x61, 0xC3, 0xA4], [0, 2, 1], "is not UTF-8 in record 3: a character is cut in two"),
        ([0x61, 0xC3, 0xA4], [0, 1, 2], ""),
    ],
)
def test_bytes_that_are_no_text(values: list[int], counts: list[int], said: str) -> None:
    held = Ragged.counted(np.array(values, np.uint8), np.array(counts, np.int64))
    assert held.garbled == said
    if said:
        with pytest.raises(TraceError, match=f"text {said}"):
            TEXTS.check({"text": held}, "it")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("worth", [math.nan, -1e300], ""),
        ("worth", [math.nan], ""),
        ("worth", [math.inf], "worth must be a finite number, or NaN where it is not known, and is infinite"),
        ("share", [math.nan], "share must be a finite number, and is nan"),
        ("share", [1.5], "share must be at most 1, and is 1.5"),
        ("share", [-0.5], "share must be at least 0, and is -0.5"),
    ],
)
def test_numbers_with_a_fraction(name: str, values: list[float], said: str) -> None:
    chunk = {"text": Ragged.texts(["a"] * len(values)), name: np.array(values)}
    if said:
        with pytest.raises(TraceError, match=said):
            TEXTS.check(chunk, "it")
    else:
        TEXTS.check(chunk, "it")
