"""Numbering of keys, files for what is too large, samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import (
    NEVER,
    Requests,
    begin_requests,
    number_requests,
    prepare_requests,
    requests_from,
)
from tiersim.traces import load_trace
from tiersim.traces.schema import OBJECT
from tiersim.traces.store import StoredTrace, Writer

U64 = st.integers(0, 2**64 - 1)


@settings(deadline=None, max_examples=200)
@given(keys=st.lists(st.one_of(U64, st.integers(0, 9)), min_size=1, max_size=300), cut=st.integers(1, 300))
def test_objects_are_numbered_by_first_appearance(keys: list[int], cut: int) -> None:
    parts = [{"id": np.array(keys[at : at + cut], np.uint64)} for at in range(0, len(keys), cut)]
    made = number_requests(parts)
    first = list(dict.fromkeys(keys))
    assert made.keys.tolist() == first
    assert [first[number] for number in made.ids] == keys
    assert made.asked == len(made) == len(keys)


def test_many_keys_make_the_dictionary_grow() -> None:
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**63, 400_000, np.uint64)
    made = requests_from(np.concatenate([keys, keys[::-1]]))
    assert (made.keys[made.ids] == np.concatenate([keys, keys[::-1]])).all()
    assert made.objects == len(np.unique(keys))


def test_what_is_too_large_for_memory_rests_in_files() -> None:
    rng = np.random.default_rng(2)
    parts = [{"id": rng.integers(0, 500, 4000).astype(np.uint64), "size": rng.integers(0, 99, 4000)} for _ in range(5)]
    small, large = number_requests(parts), number_requests(parts, in_memory=70_000)
    assert isinstance(small.ids, np.ndarray)
    assert not isinstance(large.ids, np.ndarray)
    assert (small.ids == large.ids[:]).all()
    assert large.size is not None
    assert (np.asarray(small.size) == large.size[:]).all()
    assert large.size[3:7].tolist() == np.asarray(small.size)[3:7].tolist()
    assert small.footprint == large.footprint
    lru = build("object-replacement", "lru")
    assert replay_objects(lru, 5000, small) == replay_objects(lru, 5000, large)
    folder = large.folder.path
    assert folder.exists()
    del large
    assert not folder.exists()


def test_the_footprint_takes_each_object_at_its_first_size() -> None:
    assert requests_from([5, 6, 5, 7], size=[10, 3, 99, 1]).footprint == 14
    assert requests_from([5, 6, 5, 7]).footprint == 3


def test_next_uses() -> None:
    assert requests_from([5, 6, 5, 5]).next_use.tolist() == [2, NEVER, 3, NEVER]


def test_a_sample_keeps_all_requests_of_some_objects() -> None:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 20_000, 200_000).astype(np.uint64)
    made = number_requests([{"id": keys[:90_000]}, {"id": keys[90_000:]}], share=0.1, seed=4)
    assert made.asked == 200_000
    assert 0.08 < made.objects / 20_000 < 0.12
    kept = np.isin(keys, made.keys)
    assert (made.keys[made.ids] == keys[kept]).all()
    other = number_requests([{"id": keys}], share=0.1, seed=5)
    assert set(other.keys.tolist()) != set(made.keys.tolist())
    assert set(number_requests([{"id": keys}], share=0.5, seed=4).keys.tolist()) > set(made.keys.tolist())


def test_requests_that_are_chosen_are_numbered_anew() -> None:
    made = requests_from([9, 8, 9, 7, 8], size=[1, 2, 3, 4, 5])
    part = made.where(np.array([False, True, True, False, True]))
    assert part.keys.tolist() == [8, 9]
    assert part.ids.tolist() == [0, 1, 0]
    assert part.size is not None
    assert part.size.tolist() == [2, 3, 5]


@pytest.mark.parametrize("chunks", [[], [{"id": np.zeros(0, np.uint64)}]])
def test_nothing_to_replay(chunks: list[dict[str, np.ndarray]]) -> None:
    with pytest.raises(TraceError, match="not one request"):
        number_requests(chunks)


def test_a_sample_without_objects_says_so() -> None:
    with pytest.raises(TraceError, match="sample more"):
        number_requests([{"id": np.array([1], np.uint64)}], share=1e-9)


def test_prepared_once_read_in_pieces() -> None:
    trace = load_trace("generated/zipf-objects", requests=20_000, objects=500, seed=3)
    counted: list[int] = []
    first = prepare_requests(trace, 100, 9000, counted.append)
    assert sum(counted) == 9000
    again = prepare_requests(trace, 100, 9000, counted.append)
    assert sum(counted) == 9000
    plain: Requests = number_requests(trace.chunks(skip=100, limit=9000))
    for made in (first, again):
        assert (made.ids[:] == plain.ids).all()
        assert (made.keys == plain.keys).all()


def stored(path: Path, chunk: dict[str, Any]) -> StoredTrace:
    with Writer(path, schema=OBJECT) as out:
        out.append(chunk)
    return StoredTrace(path)


def requests(count: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "id": rng.integers(0, count // 10, count).astype(np.uint64),
        "size": rng.integers(3, 99, count),
        "time": np.arange(count),
        "op": np.zeros(count, np.uint8),
        "tenant": rng.integers(0, 3, count).astype(np.uint32),
    }


@pytest.mark.parametrize("in_memory", [1 << 30, 1000])
@pytest.mark.parametrize("times", [True, False])
def test_a_stored_trace_is_numbered_while_it_is_replayed(tmp_path: Path, in_memory: int, times: bool) -> None:
    trace = stored(tmp_path / "t.parquet", requests(200_000, 7))
    whole = number_requests(trace.chunks(), times=times)
    begun = begin_requests(trace, times=times, in_memory=in_memory)
    assert begun is not None
    assert (len(begun), begun.objects, begun.least) == (len(whole), whole.objects, whole.least)
    assert begun.footprint == whole.footprint
    assert begun.without_sizes().footprint == whole.objects
    for name in ("size", "time", "op", "ttl", "tenant", "cost"):
        assert (getattr(begun, name) is None) == (getattr(whole, name) is None), name
    assert begun.ids.arrival.done == 0  # nothing was read yet
    assert (begun.ids[10:20] == whole.ids[10:20]).all()
    assert 20 <= begun.ids.arrival.done < len(whole)
    lru = build("object-replacement", "lru")
    assert replay_objects(lru, 5000, begun) == replay_objects(lru, 5000, whole)
    assert (begun.next_use == whole.next_use).all()
    assert (begun.keys[:] == whole.keys).all()
    assert (begun.column("size")[5:] == whole.column("size")[5:]).all()


def test_what_cannot_be_told_before_is_numbered_before(tmp_path: Path) -> None:
    assert begin_requests(load_trace("generated/zipf-objects", requests=2000)) is None
    trace = stored(tmp_path / "t.parquet", requests(1000, 7))
    trace.outline = {}
    assert begin_requests(trace) is None


def test_times_to_live_without_times_are_told_at_once(tmp_path: Path) -> None:
    trace = stored(tmp_path / "t.parquet", {"id": np.ones(9, np.uint64), "ttl": np.ones(9, np.int64)})
    with pytest.raises(TraceError, match="times to live and no times"):
        begin_requests(trace)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"objects": 99}, "99 objects"),
        ({"objects": 101}, "101 objects"),
        ({"footprint": 5}, "5 bytes in all different objects"),
        ({"ranges": {"size": [4, 98]}}, "a size of 4 to 98"),
        ({"ranges": {"size": [3, 97]}}, "a size of 3 to 97"),
    ],
)
def test_a_description_that_is_wrong_is_found(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    trace = stored(tmp_path / "t.parquet", requests(1000, 7) | {"id": np.arange(1000, dtype=np.uint64) % 100})
    trace.outline = trace.outline | {"ranges": {"size": [3, 98]}} | change
    begun = begin_requests(trace)
    assert begun is not None
    for _ in range(2):  # and again, for the next replay of the same requests
        with pytest.raises(TraceError, match=what):
            replay_objects(build("object-replacement", "lru"), 5000, begun)


@pytest.mark.parametrize("records", [999, 1001])
def test_another_number_of_requests_is_found(tmp_path: Path, records: int) -> None:
    trace = stored(tmp_path / "t.parquet", requests(1000, 7))
    trace.records = records
    begun = begin_requests(trace)
    assert begun is not None
    with pytest.raises(TraceError, match=f"tells of {records:,} requests"):
        begun.next_use  # noqa: B018
