"""Traces of objects at rest: what every schema has, and what only this one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim.traces import store
from tiersim.traces.chunks import rechunk
from tiersim.traces.schema import ACCESS, DELETE, GET, OBJECT, OPS, PIN, SCHEMAS, SET, UNPIN, Chunk
from tiersim.traces.store import StoredTrace, Writer

OPTIONAL = [column.name for column in OBJECT.columns if column.optional]


def requests(count: int, columns: list[str], seed: int = 0) -> Chunk:
    rng = np.random.default_rng(seed)
    made: Chunk = {
        "id": rng.integers(0, 2**64, count, np.uint64, endpoint=False),
        "time": np.sort(rng.integers(0, 2**63, count, np.int64, endpoint=False)),
        "size": rng.integers(0, 2**63, count, np.int64, endpoint=False),
        "op": rng.integers(0, 5, count, np.uint8),
        "ttl": rng.integers(0, 2**63, count, np.int64, endpoint=False),
        "tenant": rng.integers(0, 2**32, count, np.uint32, endpoint=False),
        "cost": rng.random(count) + 1e-9,
    }
    return {name: values for name, values in made.items() if name in ("id", *columns)}


def test_the_names_of_operations() -> None:
    assert [OPS[op] for op in (GET, SET, DELETE, PIN, UNPIN)] == ["get", "set", "delete", "pin", "unpin"]
    assert {"access", "object", "request"} <= set(SCHEMAS)
    assert OPTIONAL == ["time", "size", "op", "ttl", "tenant", "cost"]


@settings(deadline=None, max_examples=25)
@given(
    count=st.integers(1, 400),
    columns=st.lists(st.sampled_from(OPTIONAL), unique=True),
    cut_in=st.integers(1, 300),
    group=st.integers(20, 300),
    skip=st.integers(0, 450),
    limit=st.none() | st.integers(0, 450),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    columns: list[str],
    cut_in: int,
    group: int,
    skip: int,
    limit: int | None,
) -> None:
    chunk = requests(count, columns)
    path = tmp_path_factory.mktemp("trace") / "t.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "ROW_GROUP", group)
        with Writer(path, schema=OBJECT) as out:
            for piece in rechunk([chunk], cut_in):
                out.append(piece)
        trace = StoredTrace(path)
        pieces = list(trace.chunks(77, skip, limit))
    assert (trace.schema, trace.records, trace.instructions, trace.has_fetches) == ("object", count, 0, False)
    counts = np.bincount(chunk["op"], minlength=5).tolist() if "op" in columns else [count, 0, 0, 0, 0]
    assert trace.kinds == dict(zip(OPS, counts, strict=True))
    end = count if limit is None else min(count, skip + limit)
    for name, values in chunk.items():
        found = np.concatenate([piece[name] for piece in pieces]).tolist() if pieces else []
        assert found == values[skip:end].tolist()
    assert all(OBJECT.check(piece, "t").keys() == chunk.keys() for piece in pieces)


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    with Writer(tmp_path / "t.parquet", schema=OBJECT) as out:
        out.append(requests(10, ["size", "cost"]))
    about = json.loads(pq.read_metadata(tmp_path / "t.parquet").metadata[b"tiersim"])
    assert about["units"] == {"id": "1", "size": "bytes", "cost": "1"}
    assert (about["schema"], about["version"]) == ("object", 1)
    assert about["kinds"] == {"get": 10, "set": 0, "delete": 0, "pin": 0, "unpin": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "the column 'id' of the object schema is missing"),
        ({"id": np.zeros(3, np.int64)}, "id must be uint64, and is int64"),
        ({"time": np.array([0, -1, 0])}, "time must be at least 0, and is -1"),
        ({"size": np.array([5, -7, 0])}, "size must be at least 0, and is -7"),
        ({"size": np.zeros(3, np.uint64)}, "size must be int64, and is uint64"),
        ({"op": np.full(3, 5, np.uint8)}, "op must be at most 4, and is 5"),
        ({"ttl": np.array([0, 0, -1])}, "ttl must be at least 0, and is -1"),
        ({"cost": np.array([1, 0.0, 1])}, r"cost must be a finite number above 0, and is 0\.0"),
        ({"cost": np.array([1, np.nan, 0])}, "cost must be a finite number above 0, and is nan"),
        ({"cost": np.array([1, 1, np.inf])}, "cost must be a finite number above 0, and is inf"),
        ({"tenant": np.zeros(2, np.uint32)}, "tenant is not as long"),
        ({"address": np.zeros(3, np.uint64)}, "no column 'address'"),
    ],
)
def test_a_chunk_that_does_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    chunk = {name: values for name, values in (requests(3, []) | change).items() if values is not None}
    with pytest.raises(TraceError, match=message), Writer(tmp_path / "t.parquet", schema=OBJECT) as out:
        out.append(chunk)
    assert not list(tmp_path.iterdir())


def test_small_costs_and_no_records_are_right() -> None:
    assert OBJECT.check({"id": np.zeros(1, np.uint64), "cost": np.array([5e-324])}, "t")
    assert OBJECT.check(requests(0, OPTIONAL), "t")


def test_a_tally_needs_no_column_of_kinds() -> None:
    assert OBJECT.tally({"id": np.zeros(4, np.uint64)}).tolist() == [4, 0, 0, 0, 0]
    assert OBJECT.tally({}).tolist() == [0] * 5
    assert ACCESS.tally({"kind": np.array([3, 1, 3], np.uint8)}).tolist() == [0, 1, 0, 2]
