"""Object requests made by rule: the same however they are cut, different by seed, and of the shape they claim."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tiersim
from tiersim._base.errors import StudyError
from tiersim._base.registry import index, load
from tiersim.experiments.replays import value_of
from tiersim.sim.requests import number_requests
from tiersim.sim.stack_distance import lru_curve
from tiersim.traces import Trace, load_trace
from tiersim.traces.foreign import configured
from tiersim.traces.generators.counter import shuffled, unshuffle_keys
from tiersim.traces.generators.exact import normal, preimage
from tiersim.traces.generators.objects import LOOPED, SCANNED, PopularObjects
from tiersim.traces.schema import OBJECT, SET

NAMES = sorted(name for name in index("generator") if getattr(load("generator", name), "schema", "") == "object")
EVERYTHING: dict[str, Any] = {"size": 100, "largest": 10_000, "tenants": 3, "set_share": 0.3, "objects": 500}
POPULAR = [name for name in NAMES if issubclass(load("generator", name), PopularObjects)]
RUNNING = ["markov-objects", "stack-distance-objects"]  # each request depends on those before
QUICK: dict[str, dict[str, Any]] = {  # so that little is enough to see all that they do
    "loop-objects": {"phase": 300, "loop": 70},
    "markov-objects": {"transitions": [[0.9, 0.1], [0.2, 0.8]]},
    "phases-objects": {"phase": 300, "scan": 40},
    "stack-distance-objects": {"new_share": 0.01},
    "zipf-objects": {},
}


def column(trace: Trace, name: str = "id", **part: int) -> NDArray[np.int64]:
    return np.concatenate([chunk[name] for chunk in trace.chunks(**part)]).astype(np.int64)


def test_there_are_five() -> None:
    assert NAMES == ["loop-objects", "markov-objects", "phases-objects", "stack-distance-objects", "zipf-objects"]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(cut=st.integers(1, 5000), skip=st.integers(0, 4999), limit=st.none() | st.integers(1, 5000))
def test_cuts_change_nothing(name: str, cut: int, skip: int, limit: int | None) -> None:
    trace = load_trace(f"generated/{name}", requests=5000, seed=5, **EVERYTHING, **QUICK[name])
    whole = {key: values.tolist() for key, values in next(trace.chunks()).items()}
    end = 5000 if limit is None else min(5000, skip + limit)
    pieces = list(trace.chunks(cut, skip, limit))
    for key, values in whole.items():
        assert np.concatenate([piece[key] for piece in pieces]).tolist() == values[skip:end]
    with_another = zip(trace.chunks(1000), trace.chunks(700))
    assert [key for one, _ in with_another for key in one["id"].tolist()] == whole["id"]


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
            {"sizes": "lognormal", "shape": 2.0},
            {"sizes": "lognormal", "shape": 1.0, "median": 4},
            {"sizes": "pareto", "shape": 2.0},
            *([{"correlation": 0.5}] if name in POPULAR else []),
        )
    ]
    + [("loop-objects", {"phase": 77}), ("loop-objects", {"loop": 7}), ("loop-objects", {"hot_share": 0.5})]
    + [("phases-objects", {"phase": 77}), ("phases-objects", {"scan": 0}), ("phases-objects", {"sets": 2})]
    + [("markov-objects", {"transitions": [[0.5, 0.5], [1, 0]]}), ("stack-distance-objects", {"new_share": 0.5})],
)
def test_every_knob_changes_something(name: str, change: dict[str, Any]) -> None:
    start: dict[str, Any] = {"requests": 3000, "size": 3, "largest": 50, "set_share": 0.1, "tenants": 5} | QUICK[name]
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


def quantiles(**options: Any) -> NDArray[np.float64]:
    """The sizes that 1 %, 2 % ... 99 % of many different objects are not above."""
    sized = {"requests": 200_000, "objects": 1 << 32, "skew": 0, **options}
    return np.quantile(column(load_trace("generated/zipf-objects", **sized), "size"), np.arange(1, 100) / 100)


def test_lognormal_sizes() -> None:
    law = NormalDist(math.log(20_000), 1.8)
    wanted = [min(max(math.exp(law.inv_cdf(share / 100)), 500), 10**6) for share in range(1, 100)]
    found = quantiles(sizes="lognormal", shape=1.8, median=20_000, size=500, largest=10**6)
    assert found == pytest.approx(wanted, rel=0.05)
    assert (found[0], found[-1]) == (500, 10**6)
    middle = quantiles(sizes="lognormal", shape=0.3, size=100, largest=10_000)
    assert middle[49] == pytest.approx(1000, rel=0.01)


def test_pareto_sizes() -> None:
    """The share of the objects that are larger than x is (1 / x)**1.2 - (1 / most)**1.2, over what it is at 1."""
    most = 10**9
    found = quantiles(sizes="pareto", shape=1.2, size=1000, largest=1000 * most)
    left = [1 - share / 100 * (1 - most**-1.2) for share in range(1, 100)]
    assert found == pytest.approx([1000 * share ** (-1 / 1.2) for share in left], rel=0.05)


@given(st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False))
@settings(deadline=None)
def test_the_normal_law(share: float) -> None:
    if 2**-53 <= share <= 1 - 2**-53:
        wanted = NormalDist().inv_cdf(share)
        assert normal(share) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(size=st.integers(1, 2**32), seed=st.integers(0, 2**40), place=st.integers(0, 2**32))
def test_a_shuffle_is_undone(size: int, seed: int, place: int) -> None:
    (made,) = shuffled(np.array([place % size], np.uint64), size, seed)
    assert preimage(made, size, unshuffle_keys(size, seed)) == place % size


@pytest.mark.parametrize("name", POPULAR)
@pytest.mark.parametrize("correlation", [-1, -0.4, 0, 0.7, 1])
def test_sizes_correlate_with_popularity(name: str, correlation: float) -> None:
    """Spearman's correlation over the popular objects, whose law stays; what is scanned has no rank."""
    options = QUICK[name] | {
        "objects": 20_000,
        "size": 10,
        "largest": 10**6,
        "sizes": "pareto",
        "shape": 0.5,
        "seed": 4,
    }
    made, alone = (configured("generator", name, options | more) for more in ({"correlation": correlation}, {}))
    favourites = shuffled(np.arange(20_000, dtype=np.uint64), 20_000, 4)  # from the most popular on
    sizes, independent = made._sizes(favourites), alone._sizes(favourites)
    found = np.corrcoef(np.argsort(np.argsort(sizes)), -np.arange(20_000))[0, 1]
    assert found == pytest.approx(correlation, abs=0.03)
    shares = np.arange(1, 91) / 100
    assert np.quantile(sizes, shares) == pytest.approx(np.quantile(independent, shares), rel=0.15)
    scanned = np.arange(SCANNED, SCANNED + 1000, dtype=np.uint64)
    assert (made._sizes(scanned) == alone._sizes(scanned)).all()


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


def test_phases_by_hand() -> None:
    options: dict[str, Any] = {"requests": 40, "objects": 10, "sets": 2, "phase": 8, "scan": 2}
    keys = column(load_trace("generated/phases-objects", **options)).reshape(4, 10)
    for turn, row in enumerate(keys):
        assert set((row[:8] // 10).tolist()) == {turn % 2}
        assert (row[8:] - SCANNED).tolist() == [2 * turn, 2 * turn + 1]
    popular = column(load_trace("generated/zipf-objects", requests=40, objects=10)).reshape(4, 10)
    assert (keys[:, :8] % 10 == popular[:, :8]).all()


CHAIN = [[0.5, 0.25, 0.25, 0], [0.1, 0.9, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("objects", [1, 30])
def test_a_chain_moves_as_its_matrix_says(objects: int) -> None:
    trace = load_trace("generated/markov-objects", requests=200_000, transitions=CHAIN, objects=objects, seed=2)
    group = column(trace) // objects
    assert group[0] == 0
    moves = np.zeros((4, 4))
    np.add.at(moves, (group[:-1], group[1:]), 1)
    assert (moves[np.array(CHAIN) == 0] == 0).all()
    matrix = np.array(CHAIN)
    rows = moves.sum(axis=1, keepdims=True)
    assert (np.abs(moves - rows * matrix) <= 5 * np.sqrt(rows * matrix * (1 - matrix))).all()
    # pi P = pi, worked out on paper: what leaves 0 comes back; 1 takes a quarter of 0 and lets go of a tenth
    stationary = np.array([1, 2.5, 0.25, 0.25]) / 4
    assert stationary @ matrix == pytest.approx(stationary)
    assert np.bincount(group, minlength=4) / 200_000 == pytest.approx(stationary, abs=0.01)


def test_groups_are_popular_as_objects_are() -> None:
    """In a group the k-th object is asked for as by Zipf's law."""
    found = column(load_trace("generated/markov-objects", requests=200_000, objects=50, transitions=[[0, 1], [1, 0]]))
    assert (found[::2] < 50).all()
    assert (found[1::2] >= 50).all()
    counts = np.sort(np.bincount(found % 50, minlength=50))[::-1]
    law = np.arange(1, 51) ** -0.9
    wanted = 200_000 * law / law.sum()
    assert np.abs(counts - wanted).max() < (6 * np.sqrt(wanted)).max()


def plain_stack(distances: list[int], depth: int) -> list[int]:
    """The keys, with the stack as a list."""
    stack: list[int] = []
    born, keys = 0, []
    for distance in distances:
        if distance == 0 or distance > len(stack):
            key, born = born, born + 1
            del stack[depth - 1 :]
        else:
            key = stack.pop(distance - 1)
        stack.insert(0, key)
        keys.append(key)
    return keys


@settings(deadline=None, max_examples=40)
@given(
    depth=st.sampled_from([1, 2, 63, 64, 65, 700, 1024, 1025, 3000]),
    skew=st.sampled_from([0, 0.7, 1, 2]),
    new_share=st.sampled_from([0, 0.01, 0.5, 1]),
    seed=st.integers(0, 2**40),
)
def test_distances_are_those_drawn(depth: int, skew: float, new_share: float, seed: int) -> None:
    options = {"objects": depth, "skew": skew, "new_share": new_share, "requests": 9000, "seed": seed}
    made = configured("generator", "stack-distance-objects", options)
    places = np.arange(9000, dtype=np.uint64)
    assert made.keys(places).tolist() == plain_stack(made.distances(places).tolist(), depth)


CURVE = [[10, 0.9], [1000, 0.5], [1001, 0.5], [20_000, 0.05]]


def test_a_curve_comes_back() -> None:
    """LRU caches of these sizes miss as asked for, once the stack is full; a line between two sizes is a line."""
    trace = load_trace("generated/stack-distance-objects", requests=1_500_000, curve=CURVE, seed=1)
    requests = number_requests(trace.chunks())
    sizes = [1, 5, 10, 505, 1000, 1001, 10_500, 20_000, 10**6]
    between = [1 - 0.1 / 10, 0.95, 0.9, 0.7, 0.5, 0.5, 0.5 - 0.45 / 2, 0.05, 0.05]
    curve = lru_curve(requests, np.array(sizes), warm_up=500_000)
    assert curve.misses / curve.requests == pytest.approx(between, abs=0.003)
    cold = np.count_nonzero(np.diff(np.maximum.accumulate(column(trace, skip=500_000))))
    assert cold / 1_000_000 == pytest.approx(0.05, abs=0.002)  # keys are numbers in order of appearance


@pytest.mark.parametrize("skew", [0, 1.5])
def test_a_power_law_comes_back(skew: float) -> None:
    trace = load_trace("generated/stack-distance-objects", requests=400_000, objects=300, skew=skew)
    curve = lru_curve(number_requests(trace.chunks()), np.arange(1, 301), warm_up=20_000)
    law = np.cumsum(np.arange(1, 301.0) ** -skew)
    assert curve.misses / curve.requests == pytest.approx(1 - law / law[-1], abs=0.005)


def test_the_curve_of_a_trace_makes_another_like_it() -> None:
    """The distances of any trace, measured and asked for, come back: here of scans and favourites."""
    model = number_requests(load_trace("generated/loop-objects", requests=300_000, objects=5000, phase=10_000).chunks())
    sizes = np.array([50, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000])
    measured = lru_curve(model, sizes)
    curve = [[int(size), int(misses) / measured.requests] for size, misses in zip(sizes, measured.misses)]
    made = number_requests(load_trace("generated/stack-distance-objects", requests=300_000, curve=curve).chunks())
    again = lru_curve(made, sizes, warm_up=100_000)
    assert again.misses / again.requests == pytest.approx(np.array(curve)[:, 1], abs=0.005)


def test_requests_far_from_the_start_need_nothing_before_them() -> None:
    for name in set(NAMES) - set(RUNNING):
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
        ({"sizes": "lognormal", "shape": 1}, "objects of equal size have no law"),
        ({"sizes": "parteo", "largest": 9, "shape": 1}, "did you mean 'pareto'"),
        ({"sizes": "pareto", "largest": 9}, "lognormal and pareto sizes need a shape, and log-uniform sizes have none"),
        ({"shape": 2, "largest": 9}, "log-uniform sizes have none"),
        ({"sizes": "pareto", "largest": 9, "shape": 1, "median": 3}, "a median is that of lognormal sizes"),
        ({"sizes": "lognormal", "largest": 9, "shape": 1, "median": 30}, "between the smallest and the largest"),
        ({"correlation": 0.5}, "sizes that are equal correlate with nothing"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_trace("generated/zipf-objects", **options)


@pytest.mark.parametrize(
    ("transitions", "message"),
    [
        ([], "must have a row for each of 1 to 4,096 groups, and has 0"),
        ([[0.5, 0.5], [1]], "row 2 has 1 probabilities, and there are 2 rows"),
        ([[0.5, 0.4], [1, 0]], "row 1 must be of probabilities that add up to 1"),
        ([[1.5, -0.5], [1, 0]], "row 1 must be of probabilities"),
        ([[math.nan, 1], [1, 0]], "row 1 must be of probabilities"),
        ("none", "must be a list of a list of numbers"),
    ],
)
def test_wrong_chains(transitions: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_trace("generated/markov-objects", transitions=transitions)


def test_lists_from_studies_and_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = "study: chain\nscenario: object-cache\ncache: {capacity: 10}\ntrace:\n"
    own = "  use: generated/markov-objects\n  requests: 10k\n  objects: 5\n  transitions: [[0, 1], [1, 0]]\n"
    (tmp_path / "chain.yaml").write_text(study + own)
    (row,) = tiersim.run("chain.yaml", keep=False).rows
    assert row.metrics["misses"] == 10  # ten objects, and all have room
    told = value_of("[[0, 1], [1, 0]]")
    trace = load_trace("generated/markov-objects", requests=10_000, objects=5, transitions=told)
    assert trace.fingerprint == load_trace("generated/markov-objects", **made_of(trace)).fingerprint
    assert len(np.unique(column(trace))) == 10


def made_of(trace: Trace) -> dict[str, Any]:
    """The options that a trace says it was made with."""
    return {key: held for key, held in trace.provenance["generator"].items() if key != "use"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curve": []}, "must be a list of pairs"),
        ({"curve": [[5]]}, "must be a list of pairs"),
        ({"curve": [[5, 0.5], [5, 0.4]]}, "after 5 objects with a miss ratio of 0.5 must come a larger whole size"),
        ({"curve": [[5, 0.5], [6, 0.6]]}, "one that is not higher, and there comes 6 with 0.6"),
        ({"curve": [[5.5, 0.5]]}, "larger whole size"),
        ({"curve": [[5, math.nan]]}, "not higher, and there comes 5 with nan"),
        ({"curve": [[5, 0.5]], "objects": 7}, "a curve says all about distances"),
    ],
)
def test_wrong_curves(options: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_trace("generated/stack-distance-objects", **options)
