"""Traces at rest: nothing is lost, equal records give equal bytes, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import DependencyError, TraceError
from tiersim.traces import store
from tiersim.traces.chunks import length, rechunk, window
from tiersim.traces.schema import ACCESS, FETCH, Chunk
from tiersim.traces.store import StoredTrace, Writer


def accesses(count: int, seed: int = 0, cores: bool = False) -> Chunk:
    rng = np.random.default_rng(seed)
    made: Chunk = {
        "address": rng.integers(0, 2**64, count, np.uint64, endpoint=False),
        "size": rng.integers(1, 65536, count, np.uint16, endpoint=False),
        "kind": rng.integers(0, 4, count, np.uint8),
        "gap": rng.integers(0, 2**32, count, np.uint32, endpoint=False),
    }
    if cores:
        made["core"] = rng.integers(0, 9, count, np.uint16)
    return made


def write(path: Path, chunk: Chunk, cuts: int = 10**9, **more: Any) -> StoredTrace:
    with Writer(path, **more) as out:
        for piece in rechunk([chunk], cuts):
            out.append(piece)
    return StoredTrace(path)


def whole(pieces: Any) -> dict[str, list[int]]:
    held = list(pieces)
    return {name: np.concatenate([piece[name] for piece in held]).tolist() for name in held[0]}


@settings(deadline=None, max_examples=25)
@given(
    count=st.integers(1, 700),
    seed=st.integers(0, 9),
    cores=st.booleans(),
    cut_in=st.integers(1, 300),
    cut_out=st.integers(1, 300),
    group=st.integers(20, 300),
    skip=st.integers(0, 800),
    limit=st.none() | st.integers(0, 800),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    seed: int,
    cores: bool,
    cut_in: int,
    cut_out: int,
    group: int,
    skip: int,
    limit: int | None,
) -> None:
    chunk = accesses(count, seed, cores)
    path = tmp_path_factory.mktemp("trace") / "t.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "ROW_GROUP", group)
        trace = write(path, chunk, cut_in)
        assert whole(trace.chunks(cut_out)) == {name: values.tolist() for name, values in chunk.items()}
        part = list(trace.chunks(cut_out, skip, limit))
    end = count if limit is None else min(count, skip + limit)
    assert [length(piece) for piece in part[:-1]] == [cut_out] * max(len(part) - 1, 0)
    assert sum(map(length, part)) == max(0, end - skip)
    if part:
        assert whole(part) == {name: values[skip:end].tolist() for name, values in chunk.items()}
    assert all(piece[column.name].dtype == column.dtype for piece in part for column in ACCESS.present(piece))


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    chunk = accesses(1000, 3)
    with Writer(tmp_path / "t.parquet", provenance={"from": "here"}) as out:
        out.append(chunk)
        out.tail_instructions = 7
    trace = StoredTrace(tmp_path / "t.parquet")
    assert trace.records == 1000
    assert trace.schema == "access"
    assert trace.instructions == int(chunk["gap"].sum(dtype=np.uint64)) + 7
    assert [*trace.kinds.values()] == np.bincount(chunk["kind"], minlength=4).tolist()
    assert trace.has_fetches
    assert trace.provenance == {"from": "here"}
    about = json.loads(pq.read_metadata(trace.path).metadata[b"tiersim"])
    assert about["units"] == {"address": "bytes", "size": "bytes", "kind": "1", "gap": "instructions"}
    quiet = dict(chunk, kind=np.minimum(chunk["kind"], FETCH - 1))
    assert not write(tmp_path / "u.parquet", quiet).has_fetches


def test_equal_records_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROW_GROUP", 64)
    chunk = accesses(333)
    first = write(tmp_path / "one.parquet", chunk, 1)
    again = write(tmp_path / "two.parquet", chunk, 100)
    other = write(tmp_path / "three.parquet", accesses(333, seed=1))
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_reading_does_not_hold_what_was_read(tmp_path: Path) -> None:
    trace = write(tmp_path / "t.parquet", accesses(5 << 18))
    seen = 0
    for piece in trace.chunks(1 << 16):
        assert length(piece) <= 1 << 16
        assert sum(values.nbytes for values in piece.values()) <= 15 << 16
        assert pa.total_allocated_bytes() < 64 << 20
        seen += length(piece)
    assert seen == trace.records


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with Writer(tmp_path / "t.parquet") as out:
            out.append(accesses((1 << 20) + 1))
            assert list(tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


def test_an_old_file_survives_a_failure(tmp_path: Path) -> None:
    old = write(tmp_path / "t.parquet", accesses(9)).path.read_bytes()
    with pytest.raises(TraceError), Writer(tmp_path / "t.parquet"):
        pass
    assert (tmp_path / "t.parquet").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_arrays_may_be_used_again_after_append(tmp_path: Path) -> None:
    chunk = accesses(5)
    wanted = chunk["address"].tolist()
    with Writer(tmp_path / "t.parquet") as out:
        out.append(chunk)
        chunk["address"][:] = 0
    assert whole(StoredTrace(tmp_path / "t.parquet").chunks())["address"] == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"address": np.zeros(3, np.int64)}, "address must be uint64, and is int64"),
        ({"size": np.zeros(3, np.uint16)}, "size must be at least 1, and is 0"),
        ({"kind": np.full(3, 4, np.uint8)}, "kind must be at most 3, and is 4"),
        ({"gap": np.zeros(2, np.uint32)}, "gap is not as long"),
        ({"colour": np.zeros(3, np.uint8)}, "no column 'colour'"),
        ({"gap": None}, "column 'gap' of the access schema is missing"),
    ],
)
def test_a_chunk_that_does_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    chunk = {name: values for name, values in (accesses(3) | change).items() if values is not None}
    with pytest.raises(TraceError, match=message), Writer(tmp_path / "t.parquet") as out:
        out.append(chunk)
    assert not list(tmp_path.iterdir())


def test_columns_must_not_change(tmp_path: Path) -> None:
    with Writer(tmp_path / "t.parquet") as out:
        out.append(accesses(3))
        with pytest.raises(TraceError, match="the columns change after record 3"):
            out.append(accesses(3, cores=True))


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="not one record"), Writer(tmp_path / "t.parquet") as out:
        out.append(accesses(0))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be written"), Writer(tmp_path / "no" / "t.parquet") as out:
        out.append(accesses(3))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_breaks_off(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "t.parquet", accesses(1000)).path
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(TraceError, match=r"t\.parquet is damaged: its end") as caught:
        StoredTrace(path)
    assert "copy or make the file again" in str(caught.value)


def test_a_flipped_bit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROW_GROUP", 1000)
    path = write(tmp_path / "t.parquet", accesses(3000)).path
    raw = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(1).column(0).data_page_offset + 500
    raw[place] ^= 4
    path.write_bytes(raw)
    trace = StoredTrace(path)
    assert length(next(trace.chunks(1000))) == 1000
    with pytest.raises(TraceError, match=r"is damaged: somewhere in records 1,000 to 1,999"):
        list(trace.chunks(1000))


def test_a_parquet_of_another_kind(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    with pytest.raises(TraceError, match="is Parquet, and not a trace"):
        StoredTrace(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "schema access version 99, which this tiersim does not know"),
        ({"schema": "weather"}, "holds schema weather"),
        ({"kinds": {"load": 5}}, "its columns are not those"),
    ],
)
def test_a_description_that_does_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "t.parquet", accesses(3)).path
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"tiersim"]) | change
    pq.write_table(table.replace_schema_metadata({"tiersim": json.dumps(about)}), path)
    with pytest.raises(TraceError, match=message):
        StoredTrace(path)


def test_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = accesses(100, cores=True)
    trace = write(tmp_path / "t.parquet", chunk)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert trace.to_pandas().equals(pandas.DataFrame(chunk))
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(DependencyError, match="pip install pandas"):
        trace.to_pandas()


def test_a_window_asks_for_nothing_beyond_itself() -> None:
    def pieces() -> Any:
        yield {"x": np.arange(10)}
        raise AssertionError("asked for more")

    assert [piece["x"].tolist() for piece in window(pieces(), 3, 7)] == [[3, 4, 5, 6, 7, 8, 9]]
    assert list(window(pieces(), 0, 0)) == []
