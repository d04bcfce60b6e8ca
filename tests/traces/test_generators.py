"""Accesses made by rule: the same however they are cut, different by seed, and of the shape they claim."""

from __future__ import annotations

import itertools
import math
from weakref import ref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.registry import index, load
from tiersim.traces import Trace, load_trace
from tiersim.traces.generators import counter, exact, zipf
from tiersim.traces.generators.base import BASE, Generator
from tiersim.traces.generators.counter import shuffled
from tiersim.traces.schema import ACCESS, STORE

NAMES = sorted(name for name in index("generator") if issubclass(load("generator", name), Generator))


def column(trace: Trace, name: str = "address", **part: int) -> NDArray[np.int64]:
    return np.concatenate([chunk[name] for chunk in trace.chunks(**part)]).astype(np.int64)


def test_there_are_four() -> None:
    assert NAMES == ["pointer-chase", "stride", "uniform", "zipf"]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(cut=st.integers(1, 5000), skip=st.integers(0, 4999), limit=st.none() | st.integers(1, 5000))
def test_cuts_change_nothing(name: str, cut: int, skip: int, limit: int | None) -> None:
    trace = load_trace(f"generated/{name}", records=5000, footprint=100_000, write_share=0.3, seed=5)
    whole = {key: values.tolist() for key, values in next(trace.chunks()).items()}
    end = 5000 if limit is None else min(5000, skip + limit)
    pieces = list(trace.chunks(cut, skip, limit))
    for key, values in whole.items():
        assert np.concatenate([piece[key] for piece in pieces]).tolist() == values[skip:end]
    assert {len(piece["kind"]) for piece in pieces[:-1]} <= {cut}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_generated(name: str) -> None:
    trace = load_trace(f"generated/{name}", records=30_000, footprint="1 MiB", write_share="25 %", gap=3)
    chunk = ACCESS.check(next(trace.chunks()), name)
    assert (trace.records, trace.instructions, trace.has_fetches, trace.path) == (30_000, 90_000, False, None)
    assert int(chunk["gap"].sum()) == trace.instructions
    place = chunk["address"].astype(np.int64) - BASE
    assert 0 <= place.min() <= place.max() < 1 << 20
    assert (chunk["kind"] == STORE).mean() == pytest.approx(0.25, abs=0.01)
    assert trace.provenance["generator"]["footprint"] == "1 MiB"


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str) -> None:
    first, again, other = (
        load_trace(f"generated/{name}", records=1000, write_share=0.5, seed=seed) for seed in (0, 0, 1)
    )
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert (column(first) == column(again)).all()
    assert (column(first, "kind") != column(other, "kind")).any()
    if name != "stride":
        assert (column(first) != column(other)).any()


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in NAMES for change in ({"footprint": 1 << 16}, {"write_share": 0.5}, {"gap": 9})]
    + [(name, {"grain": 128}) for name in NAMES if name != "stride"]
    + [("zipf", {"skew": 1.3}), ("stride", {"stride": 72})],
)
def test_every_knob_changes_something(name: str, change: dict[str, float]) -> None:
    base = load_trace(f"generated/{name}", records=3000)
    turned = load_trace(f"generated/{name}", records=3000, **change)
    assert base.fingerprint != turned.fingerprint
    assert any((column(base, key) != column(turned, key)).any() for key in ("address", "kind", "gap"))


def test_records_far_from_the_start_need_nothing_before_them() -> None:
    for name in NAMES:
        trace = load_trace(f"generated/{name}", records=1 << 50, footprint=1 << 38, seed=2)
        assert len(next(trace.chunks(100, skip=(1 << 50) - 100))["kind"]) == 100


def test_stride_by_hand() -> None:
    trace = load_trace("generated/stride", records=5, footprint=256, stride=96)
    assert (column(trace) - BASE).tolist() == [0, 96, 192, 32, 128]
    far = load_trace("generated/stride", records=1 << 40, footprint=1000, stride=(1 << 40) - 1)
    start = (1 << 40) - 3
    assert (column(far, skip=start) - BASE).tolist() == [i * ((1 << 40) - 1) % 1000 for i in range(start, start + 3)]


def test_a_chase_visits_every_node_once_a_round() -> None:
    trace = load_trace("generated/pointer-chase", records=300, footprint=64 * 100)
    rounds = (column(trace) - BASE).reshape(3, 100)
    assert sorted(rounds[0].tolist()) == [64 * i for i in range(100)]
    assert (rounds == rounds[0]).all()
    assert len(set(np.diff(rounds[0]).tolist())) > 50


def test_uniform_is_uniform() -> None:
    trace = load_trace("generated/uniform", records=160_000, footprint=16 * 64)
    counts = np.bincount((column(trace) - BASE) // 64, minlength=16)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 45  # chi squared of 15 degrees: one in ten thousand is above


@pytest.mark.parametrize("skew", [0.0, 0.5, 0.99, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("grains", [1, 2, 50])
def test_zipf_follows_its_law(skew: float, grains: int) -> None:
    records = 100_000
    trace = load_trace("generated/zipf", records=records, footprint=64 * grains, skew=skew, seed=3)
    counts = np.sort(np.bincount((column(trace) - BASE) // 64, minlength=grains))[::-1]
    law = np.arange(1, grains + 1) ** -skew
    wanted = records * law / law.sum()
    spread = 6 * np.sqrt(wanted) + 1
    if skew:  # sorting the counts of equally likely grains would bias them
        assert (np.abs(counts - wanted) < spread)[wanted > 20].all()
    else:
        assert np.abs(counts - wanted).max() < spread.max()


def test_zipf_over_a_footprint_that_no_table_would_hold() -> None:
    trace = load_trace("generated/zipf", records=20_000, footprint=1 << 38, skew=1.0)
    ranks = column(trace)
    assert len(np.unique(ranks)) > 10_000
    top = np.unique(ranks, return_counts=True)[1].max() / 20_000
    assert top == pytest.approx(1 / (math.log(1 << 32) + 0.5772), rel=0.15)


@settings(deadline=None, max_examples=60)
@given(size=st.integers(1, 3000), seed=st.integers(0, 2**40))
def test_a_shuffle_is_a_bijection(size: int, seed: int) -> None:
    made = shuffled(np.arange(size, dtype=np.uint64), size, seed)
    assert sorted(made.tolist()) == list(range(size))


def test_shuffles_differ() -> None:
    made = [tuple(shuffled(np.arange(100, dtype=np.uint64), 100, seed).tolist()) for seed in range(20)]
    assert all(a != b for a, b in itertools.combinations(made, 2))


@settings(deadline=None)
@given(st.integers(0, 2**40), st.integers(-20, 100), st.integers(0, 2**64 - 2), st.integers(1, 2**32))
def test_words_in_loops_are_those_of_arrays(seed: int, stream: int, place: int, size: int) -> None:
    (drawn,) = counter.draw(seed, stream, np.array([place], np.uint64))
    word = exact.word(exact.root(seed), stream, np.uint64(place))
    assert word == drawn
    assert exact.part(np.uint64(word), size) == counter.below(np.array([drawn]), size)[0]
    assert exact.real(np.uint64(word)) == counter.share(np.array([drawn]))[0]
    image = shuffled(np.array([place % size], np.uint64), size, seed)[0]
    assert exact.image(np.uint64(place % size), size, counter.shuffle_keys(size, seed)) == image


@settings(deadline=None)
@given(st.floats(-700, 700), st.floats(1e-300, 1e300), st.floats(-0.999, 1e12))
def test_functions_are_right(x: float, positive: float, beyond: float) -> None:
    close = {"rel_tol": 2e-15, "abs_tol": 0.0}
    assert math.isclose(exact.exp(x), math.exp(x), **close)
    assert math.isclose(exact.expm1(x), math.expm1(x), **close)
    assert math.isclose(exact.log(positive), math.log(positive), **close)
    assert math.isclose(exact.log1p(beyond), math.log1p(beyond), **close)


@settings(deadline=None)
@given(st.floats(-700, 700), st.floats(1e-300, 1e300))
def test_compiled_functions_round_as_the_interpreter_does(x: float, positive: float) -> None:
    """Which multiplies and adds in two steps: so no machine may do it in one, and all get the same bits."""
    assert exact.exp(x) == exact.exp.py_func(x)  # type: ignore[attr-defined]
    assert exact.log(positive) == exact.log.py_func(positive)  # type: ignore[attr-defined]


@pytest.mark.parametrize("skew", [0.0, 0.9, 1.0, 2.5])
def test_several_draws_at_once_are_those_of_one_by_one(skew: float) -> None:
    places = np.arange(2000, dtype=np.uint64)
    drawn = zipf.ranks(places, 1000, skew, seed=3)
    # a loop of one round is never made of several at once
    assert drawn.tolist() == [int(zipf.ranks(places[at : at + 1], 1000, skew, seed=3)[0]) for at in range(2000)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recrods": 5}, "did you mean 'records'"),
        ({"footprint": "5 cycles"}, "footprint: '5 cycles' is a number of cycles"),
        ({"records": 0}, "records: must be at least 1"),
        ({"footprint": 32}, "a footprint of 32 B holds 0 grains of 64 B"),
        ({"skew": -1}, "skew: must be at least 0"),
    ],
)
def test_wrong_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_trace("generated/zipf", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bfs", "gups", "markov-objects", "stack-distance-objects"])
def test_only_the_trace_read_last_keeps_what_it_works_on(name: str) -> None:
    count = {"requests": 400} if name.endswith("objects") else {"references": 400}
    one, other = (load_trace(f"generated/{name}", **count, seed=seed) for seed in (1, 2))
    first = one.chunks(100)
    before = [next(first)]
    worked = ref(one.generator)
    list(other.chunks())
    assert worked() is not None  # who reads goes on
    before += first
    del first
    assert worked() is None  # and no collector is needed
    again = list(one.chunks(100))
    for column in again[0]:
        assert all((a[column] == b[column]).all() for a, b in zip(before, again, strict=True))
