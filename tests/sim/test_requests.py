"""Numbering of keys, files for what is too large, samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import NEVER, Requests, number_requests, prepare_requests, requests_from
from tiersim.traces import load_trace

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
