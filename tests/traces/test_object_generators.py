"""Object requests made by rule: the same however they are cut, different by seed, and of the shape they claim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.registry import index, load
from tiersim.traces import Trace, load_trace
from tiersim.traces.generators.loop_objects import LOOPED, SCANNED
from tiersim.traces.schema import OBJECT, SET

NAMES = sorted(name for name in index("generator") if getattr(load("generator", name), "schema", "") == "object")
EVERYTHING: dict[str, Any] = {"size": 100, "largest": 10_000, "tenants": 3, "set_share": 0.3, "objects": 500}


def column(trace: Trace, name: str = "id", **part: int) -> NDArray[np.int64]:
    return np.concatenate([chunk[name] for chunk in trace.chunks(**part)]).astype(np.int64)


def test_there_are_two() -> None:
    assert NAMES == ["loop-objects", "zipf-objects"]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(cut=st.integers(1, 5000), skip=st.integers(0, 4999), limit=st.none() | st.integers(1, 5000))
def test_cuts_change_nothing(name: str, cut: int, skip: int, limit: int | None) -> None:
    more: dict[str, Any] = {"phase": 300, "loop": 70} if name == "loop-objects" else {}
    trace = load_trace(f"generated/{name}", requests=5000, seed=5, **EVERYTHING, **more)
    whole = {key: values.tolist() for key, values in next(trace.chunks()).items()}
    end = 5000 if limit is None else min(5000, skip + limit)
    pieces = list(trace.chunks(cut, skip, limit))
    for key, values in whole.items():
        assert np.concatenate([piece[key] for piece in pieces]).tolist() == values[skip:end]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_generated(name: str) -> None:
    trace = load_trace(f"generated/{name}", requests=30_000, **EVERYTHING)
    chunk = OBJECT.check(next(trace.chunks()), name)
    assert (trace.schema, trace.records, trace.instructions, trace.path) == ("object", 30_000, 0, None)
    assert not trace.has_fetches
    assert list(chunk) == ["id", "size", "op", "tenant"]
    assert (chunk["op"] == SET).mean() == pytest.approx(0.3, abs=0.01)
    assert 100 <= chunk["size"].min() < 110 < 9_000 < chunk["size"].max() <= 10_000
    assert sorted(set(chunk["tenant"].tolist())) == [0, 1, 2]
    for key in ("size", "tenant"):  # what belongs to the object is the same in every request for it
        pairs = np.unique(np.stack([chunk["id"], chunk[key].astype(np.uint64)]), axis=1)
        assert pairs.shape[1] == len(np.unique(chunk["id"]))


@pytest.mark.parametrize("name", NAMES)
def test_only_keys_unless_asked_for(name: str) -> None:
    assert list(next(load_trace(f"generated/{name}", requests=10).chunks())) == ["id"]


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str) -> None:
    first, again, other = (load_trace(f"generated/{name}", requests=1000, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert (column(first) == column(again)).all()
    assert (column(first) != column(other)).any()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (name, change)
        for name in NAMES
        for change in (
            {"objects": 50},
            {"skew": 0.2},
            {"size": 4},
            {"largest": 9},
            {"tenants": 2},
            {"set_share": 0.5},
        )
    ]
    + [("loop-objects", {"phase": 77}), ("loop-objects", {"loop": 7}), ("loop-objects", {"hot_share": 0.5})],
)
def test_every_knob_changes_something(name: str, change: dict[str, Any]) -> None:
    start: dict[str, Any] = {"requests": 3000, "size": 3, "largest": 5, "set_share": 0.1, "tenants": 5}
    start |= {"phase": 100} if name == "loop-objects" else {}
    base = load_trace(f"generated/{name}", **start)
    turned = load_trace(f"generated/{name}", **start | change)
    assert base.fingerprint != turned.fingerprint
    assert any((column(base, key) != column(turned, key)).any() for key in ("id", "size", "op", "tenant"))


@pytest.mark.parametrize("skew", [0.0, 0.8, 1.2])
def test_zipf_follows_its_law(skew: float) -> None:
    trace = load_trace("generated/zipf-objects", requests=100_000, objects=50, skew=skew, seed=3)
    counts = np.sort(np.bincount(column(trace), minlength=50))[::-1]
    law = np.arange(1, 51) ** -skew
    wanted = 100_000 * law / law.sum()
    assert len(counts) == 50
    assert np.abs(counts - wanted).max() < (6 * np.sqrt(wanted) + 1).max()


def test_sizes_are_log_uniform() -> None:
    trace = load_trace(
        "generated/zipf-objects", requests=50_000, objects=1 << 32, skew=0, size=1, largest=(1 << 20) - 1
    )
    octaves = np.bincount(np.log2(column(trace, "size")).astype(int), minlength=20)
    assert len(octaves) == 20
    assert np.abs(octaves - 2500).max() < 6 * 50
    exact = load_trace("generated/zipf-objects", requests=5000, objects=1000, size=1, largest=3)
    assert set(column(exact, "size").tolist()) == {1, 2, 3}


def test_loop_by_hand() -> None:
    trace = load_trace("generated/loop-objects", requests=48, objects=10, phase=8, loop=4, hot_share=0.25)
    keys = column(trace)
    # of each eight, the 4th and the 8th are hot: 4 * 0.25 reaches 1
    cold = [place for place in range(8) if place not in (3, 7)]
    scans = [keys[8:16][cold] - SCANNED, keys[32:40][cold] - SCANNED]
    assert [scan.tolist() for scan in scans] == [[0, 1, 2, 3, 4, 5], [8, 9, 10, 11, 12, 13]]
    for start in (16, 40):
        assert (keys[start : start + 8][cold] - LOOPED).tolist() == [0, 1, 2, 3, 0, 1]
    popular = [*range(8), *range(24, 32), 11, 15, 19, 23, 35, 39, 43, 47]
    assert keys[popular].max() < 10


def test_shares_of_nothing_and_of_all() -> None:
    cold = column(load_trace("generated/loop-objects", requests=300, phase=100, loop=7, hot_share=0, objects=5))
    assert len(np.unique(cold[100:200])) == 100
    assert (cold[200:] - LOOPED).tolist() == [i % 7 for i in range(100)]
    assert column(load_trace("generated/loop-objects", requests=300, phase=100, hot_share=1, objects=5)).max() < 5


def test_requests_far_from_the_start_need_nothing_before_them() -> None:
    for name in NAMES:
        trace = load_trace(f"generated/{name}", requests=1 << 50, objects=1 << 32, size=5, largest=1 << 40)
        chunk = next(trace.chunks(100, skip=(1 << 50) - 100))
        assert len(chunk["id"]) == 100
        OBJECT.check(chunk, name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recuests": 5}, "did you mean 'requests'"),
        ({"requests": 0}, "requests: must be at least 1"),
        ({"size": 100, "largest": 99}, "the largest object has 99 B, less than the smallest with 100 B"),
        ({"tenants": 0}, "tenants: must be at least 1"),
        ({"footprint": 5}, "unknown key 'footprint'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_trace("generated/zipf-objects", **options)
