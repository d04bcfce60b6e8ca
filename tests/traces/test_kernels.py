"""Generators of real kernels: each reference equals that of a plain version of the algorithm, however it is cut."""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import StudyError
from tiersim._base.registry import index, load
from tiersim.traces import Trace, load_trace
from tiersim.traces.foreign import configured
from tiersim.traces.generators import kernels
from tiersim.traces.generators.counter import below, draw, share
from tiersim.traces.generators.kernels import Graph, Kernel, Running, kronecker
from tiersim.traces.schema import ACCESS, LOAD, STORE

NAMES = sorted(name for name in index("generator") if issubclass(load("generator", name), Kernel))
GRAPHS = [name for name in NAMES if issubclass(load("generator", name), Graph)]
SMALL: dict[str, dict[str, Any]] = {name: {"scale": 5, "degree": 4} for name in GRAPHS} | {
    "embedding-lookup": {"tables": 3, "rows": 50, "row": 100, "pooling": 4, "batch": 5},
    "gups": {"footprint": 4096},
    "hash-lookup": {"nuclides": 40, "points": 50, "bins": 7},
    "kmer-count": {"genome": 200, "read": 20, "kmer": 3},
}
Touch = tuple[int, int, int]  # which array, which element, load or store
Rows = list[list[int]]


def rows_of(made: Any) -> Rows:
    offsets, neighbours = made.rows
    return [neighbours[at:end].tolist() for at, end in itertools.pairwise(offsets.tolist())]


def places_of(rows: Rows) -> list[int]:
    """Where the neighbours of each vertex begin."""
    return [0, *itertools.accumulate(map(len, rows))]


def around(rows: Rows, u: int) -> Iterator[Touch]:
    yield from ((0, u, LOAD), (0, u + 1, LOAD))


def plain_bfs(made: Any) -> Iterator[Touch]:
    rows = rows_of(made)
    at = places_of(rows)
    for source in itertools.cycle(made.sources().tolist()):
        parent: dict[int, int] = {}
        yield from ((2, v, STORE) for v in range(len(rows)))
        parent[source] = source
        queue = [source]
        yield from ((2, source, STORE), (3, 0, STORE))
        for place, u in enumerate(queue):
            yield (3, place, LOAD)
            yield from around(rows, u)
            for e, v in enumerate(rows[u], at[u]):
                yield from ((1, e, LOAD), (2, v, LOAD))
                if v not in parent:
                    parent[v] = u
                    yield from ((2, v, STORE), (3, len(queue), STORE))
                    queue.append(v)


def plain_pagerank(made: Any) -> Iterator[Touch]:
    rows = rows_of(made)
    at = places_of(rows)
    while True:
        for u in range(len(rows)):
            yield (2, u, LOAD)
            yield from around(rows, u)
            yield (3, u, STORE)
        for u, held in enumerate(rows):
            yield from around(rows, u)
            for e, v in enumerate(held, at[u]):
                yield from ((1, e, LOAD), (3, v, LOAD))
            yield from ((2, u, LOAD), (2, u, STORE))


def plain_components(made: Any) -> Iterator[Touch]:
    rows = rows_of(made)
    at = places_of(rows)
    while True:
        label = list(range(len(rows)))
        yield from ((2, u, STORE) for u in label)
        before: list[int] = []
        while label != before:
            before = label.copy()
            for u, held in enumerate(rows):
                yield (2, u, LOAD)
                yield from around(rows, u)
                for e, v in enumerate(held, at[u]):
                    yield from ((1, e, LOAD), (2, v, LOAD))
                smallest = min([label[u], *(label[v] for v in held)])
                if smallest != label[u]:
                    label[u] = smallest
                    yield (2, u, STORE)
        for u, held in enumerate(rows):  # it is right
            assert all(label[u] == label[v] for v in held)


def plain_sssp(made: Any) -> Iterator[Touch]:
    rows = rows_of(made)
    at = places_of(rows)
    count = len(rows)
    weight = kernels.weights(made.seed, at[-1]).tolist()
    assert min(weight) >= 1
    assert max(weight) <= 255
    for source in itertools.cycle(made.sources().tolist()):
        far = {source: 0}
        yield from ((3, v, STORE) for v in range(count))
        yield from ((3, source, STORE), (4, source, STORE), (5, 0, STORE))
        queue = deque([source])
        taken, given_out = 0, 1
        while queue:
            u = queue.popleft()
            yield from ((5, taken % count, LOAD), (4, u, STORE), (3, u, LOAD))
            yield from around(rows, u)
            taken += 1
            for e, v in enumerate(rows[u], at[u]):
                yield from ((1, e, LOAD), (2, e, LOAD), (3, v, LOAD))
                if v not in far or far[u] + weight[e] < far[v]:
                    far[v] = far[u] + weight[e]
                    yield from ((3, v, STORE), (4, v, LOAD))
                    if v not in queue:
                        yield from ((4, v, STORE), (5, given_out % count, STORE))
                        queue.append(v)
                        given_out += 1
        for u in far:  # no edge is a short cut
            assert all(far[v] <= far[u] + weight[e] for e, v in enumerate(rows[u], at[u]))


def plain_triangles(made: Any) -> Iterator[Touch]:
    rows = rows_of(made)
    at = places_of(rows)
    held = [set(row) for row in rows]
    wanted = sum(u > v > w for u, row in enumerate(rows) for v in row for w in held[u] & held[v])
    while True:
        found = 0
        for u, row in enumerate(rows):
            yield from around(rows, u)
            for e, v in enumerate(row, at[u]):
                yield (1, e, LOAD)
                if v > u:
                    break
                yield from around(rows, v)
                along = 0
                for f, w in enumerate(rows[v], at[v]):
                    yield (1, f, LOAD)
                    if w > v:
                        break
                    yield (1, at[u] + along, LOAD)
                    while row[along] < w:
                        along += 1
                        yield (1, at[u] + along, LOAD)
                    found += row[along] == w
        assert found == wanted


def plain_gups(made: Any) -> Iterator[Touch]:
    for update in itertools.count():
        (word,) = below(draw(made.seed, 1, np.array([update], np.uint64)), made.footprint // 8).tolist()
        yield from ((0, word, LOAD), (0, word, STORE))


def plain_kmers(made: Any) -> Iterator[Touch]:
    text = (draw(made.seed, 17, np.arange(made.genome, dtype=np.uint64)) & np.uint64(3)).tolist()
    starts = below(draw(made.seed, 18, np.arange(5000, dtype=np.uint64)), made.genome - made.read + 1).tolist()
    slots = slots_of(made.genome)
    table: dict[int, int] = {}  # k-mer by slot
    for start in starts:
        for i in range(made.read):
            yield (0, start + i, LOAD)
            if i + 1 < made.kmer:
                continue
            code = 0
            for letter in text[start + i + 1 - made.kmer : start + i + 1]:
                code = 4 * code + letter
            slot = (code * 0x9E3779B97F4A7C15 % 2**64 >> 20) % slots
            while True:
                yield (1, slot, LOAD)
                if table.get(slot) == code:
                    break
                if slot not in table:
                    table[slot] = code
                    yield (1, slot, STORE)
                    break
                slot = (slot + 1) % slots
            yield from ((2, slot, LOAD), (2, slot, STORE))
    raise AssertionError("more reads were asked for")


def plain_lookups(made: Any) -> Iterator[Touch]:
    count = made.nuclides * made.points
    drawn = share(draw(made.seed, 22, np.arange(count, dtype=np.uint64))).tolist()
    grids = [sorted(drawn[at : at + made.points]) for at in range(0, count, made.points)]
    members = []
    for place, held in enumerate((34, 5, 4, 4, 27, 21, 21, 21, 21, 21, 9, 9)):
        at = np.arange(place * made.nuclides, (place + 1) * made.nuclides, dtype=np.uint64)
        order = draw(made.seed, 21, at).tolist()
        members.append(sorted(range(made.nuclides), key=order.__getitem__)[:held])
    often = np.cumsum([0.140, 0.052, 0.275, 0.134, 0.154, 0.064, 0.066, 0.055, 0.008, 0.015, 0.025, 0.013]).tolist()
    number = np.arange(5000, dtype=np.uint64)
    for energy, chosen in zip(share(draw(made.seed, 19, number)).tolist(), share(draw(made.seed, 20, number)).tolist()):
        material = bisect.bisect_right(often, chosen * often[-1])
        slot = int(energy * made.bins)
        for j, nuclide in enumerate(members[material]):
            grid = grids[nuclide]
            yield from ((0, material * 34 + j, LOAD), (1, material * 34 + j, LOAD))
            bound = []
            for edge in (slot, slot + 1):
                yield (2, edge * made.nuclides + nuclide, LOAD)
                bound.append(min(max(bisect.bisect_right(grid, edge / made.bins) - 1, 0), made.points - 2))
            low, high = bound[0], bound[1] + 1
            while high - low > 1:
                middle = (low + high) // 2
                yield (4, nuclide * made.points + middle, LOAD)
                low, high = (low, middle) if grid[middle] > energy else (middle, high)
            assert grid[low] <= energy < grid[low + 1] or low in (0, made.points - 2)
            yield from ((3, nuclide * made.points + low, LOAD), (3, nuclide * made.points + low + 1, LOAD))


def plain_embeddings(made: Any) -> Iterator[tuple[int, int, int]]:
    """Address, size and kind: rows may begin anywhere."""
    law = configured(
        "generator", "zipf", {"footprint": made.rows * 8, "grain": 8, "skew": made.skew, "seed": made.seed}
    )
    tables = (1 << 32) + up(made.batch * made.tables * made.pooling * 8)
    sums = tables + made.tables * up(made.rows * made.row)
    pieces = [(at, min(64, made.row - at)) for at in range(0, made.row, 64)]
    lookup = 0
    while True:
        for bag in range(made.batch * made.tables):
            table = tables + bag % made.tables * up(made.rows * made.row)
            for j in range(made.pooling):
                row = int(law.places(np.array([lookup], np.uint64))[0]) // 8
                yield ((1 << 32) + (bag * made.pooling + j) * 8, 8, LOAD)
                yield from ((table + row * made.row + at, size, LOAD) for at, size in pieces)
                lookup += 1
            yield from ((sums + bag * made.row + at, size, STORE) for at, size in pieces)


def up(count: int) -> int:
    return (count + 4095) // 4096 * 4096


def slots_of(genome: int) -> int:
    slots = 1
    while slots < 2 * genome:
        slots *= 2
    return slots


PLAIN: dict[str, Callable[[Any], Iterator[Touch]]] = {
    "bfs": plain_bfs,
    "connected-components": plain_components,
    "embedding-lookup": plain_embeddings,
    "gups": plain_gups,
    "hash-lookup": plain_lookups,
    "kmer-count": plain_kmers,
    "pagerank": plain_pagerank,
    "sssp": plain_sssp,
    "triangle-count": plain_triangles,
}


def arrays(name: str, made: Any) -> list[tuple[int, int]]:
    """Elements and bytes of each array, as the page about the generator says."""
    if name == "gups":
        return [(made.footprint // 8, 8)]
    if name == "kmer-count":
        return [(made.genome, 1), (slots_of(made.genome), 8), (slots_of(made.genome), 4)]
    if name == "hash-lookup":
        return [(12 * 34, 4), (12 * 34, 8), ((made.bins + 1) * made.nuclides, 4), (made.nuclides * made.points, 48)]
    vertices, edges = 1 << made.scale, len(made.rows[1])
    more = {
        "bfs": [(vertices, 4)] * 2,
        "pagerank": [(vertices, 4)] * 2,
        "connected-components": [(vertices, 4)],
        "sssp": [(edges, 4), (vertices, 4), (vertices, 1), (vertices, 4)],
        "triangle-count": [],
    }
    return [(vertices + 1, 8), (edges, 4), *more[name]]


def test_there_is_a_plain_version_of_each() -> None:
    assert sorted(PLAIN) == NAMES


def columns(trace: Trace, **part: int) -> list[tuple[int, int, int]]:
    chunks = [ACCESS.check(chunk, "t") for chunk in trace.chunks(**part)]
    return [
        row
        for chunk in chunks
        for row in zip(*(chunk[name].tolist() for name in ("address", "size", "kind")), strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1, 2, 5, 7])
def test_against_a_plain_version(name: str, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "BLOCK", 700)
    options = SMALL[name] | ({"scale": scale} if name in GRAPHS else {"seed": scale})
    count = 30_000
    made = configured("generator", name, options)
    found = columns(load_trace(f"generated/{name}", references=count, **options))
    if name == "embedding-lookup":
        assert found == list(itertools.islice(plain_embeddings(made), count))
        return
    held = arrays(name, made)
    first = [1 << 32]
    for elements, width in held:
        first.append(first[-1] + up(elements * width))
    wanted = []
    for array, element, kind in itertools.islice(PLAIN[name](made), count):
        which = min(array, len(held) - 1)  # one more than there are is the first word of an element of the last
        assert 0 <= element < held[which][0]
        size = 8 if array > which else held[which][1]
        wanted.append((first[which] + element * held[which][1], size, kind))
    assert found == wanted


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=8)
@given(cut=st.integers(1, 5000), skip=st.integers(0, 4999), limit=st.none() | st.integers(1, 5000))
def test_cuts_change_nothing(name: str, cut: int, skip: int, limit: int | None) -> None:
    whole = columns(load_trace(f"generated/{name}", references=5000, **SMALL[name]))
    trace = load_trace(f"generated/{name}", references=5000, **SMALL[name])
    end = 5000 if limit is None else min(5000, skip + limit)
    for _ in range(2):  # the second time it has to go back
        pieces = list(trace.chunks(cut, skip, limit))
        assert [at for piece in pieces for at in piece["address"].tolist()] == [row[0] for row in whole[skip:end]]
    with_another = zip(trace.chunks(1000), trace.chunks(700))
    assert [at for one, _ in with_another for at in one["address"].tolist()] == [row[0] for row in whole]


@pytest.mark.parametrize("name", [name for name in NAMES if issubclass(load("generator", name), Running)])
def test_no_step_makes_more_than_there_is_room_for(name: str) -> None:
    program = configured("generator", name, SMALL[name]).program()
    room = program.unit + 100_000  # what is written is not checked, so that more must do no harm here
    made = np.zeros(room, np.int64), np.zeros(room, np.uint16), np.zeros(room, np.uint8)
    held = [program.step(*made, 1) for _ in range(5000)]
    assert 1 <= min(held) <= max(held) <= program.unit


@pytest.mark.parametrize("name", NAMES)
def test_what_is_generated(name: str) -> None:
    trace = load_trace(f"generated/{name}", references=3000, gap=7, **SMALL[name])
    assert (trace.records, trace.instructions, trace.has_fetches, trace.path) == (3000, 21_000, False, None)
    (chunk,) = trace.chunks()
    assert set(chunk["gap"].tolist()) == {7}
    again = load_trace(f"generated/{name}", references=3000, gap=7, **SMALL[name])
    other = load_trace(f"generated/{name}", references=3000, gap=7, seed=1, **SMALL[name])
    assert trace.fingerprint == again.fingerprint != other.fingerprint
    assert columns(trace) == columns(again) != columns(other)


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in GRAPHS for change in ({"scale": 6}, {"degree": 5})]
    + [("embedding-lookup", {key: 7}) for key in ("tables", "rows", "row", "pooling", "batch")]
    + [("embedding-lookup", {"skew": 0})]
    + [("hash-lookup", {"nuclides": 41}), ("hash-lookup", {"points": 60}), ("hash-lookup", {"bins": 8})]
    + [("gups", {"footprint": 8192}), *(("kmer-count", {key: 30}) for key in ("read", "kmer", "genome"))],
)
def test_every_knob_changes_something(name: str, change: dict[str, int]) -> None:
    options = SMALL[name] | ({"read": 40} if "kmer" in change else {})
    if "genome" in change:
        change = {"genome": 300}
    base = load_trace(f"generated/{name}", references=3000, **options)
    assert columns(base) != columns(load_trace(f"generated/{name}", references=3000, **options | change))


@settings(deadline=None, max_examples=25)
@given(scale=st.integers(1, 9), degree=st.integers(1, 20), seed=st.integers(0, 2**40))
def test_the_graph(scale: int, degree: int, seed: int) -> None:
    offsets, neighbours = kronecker(scale, degree, seed)
    assert len(offsets) == (1 << scale) + 1
    assert (offsets[0], offsets[-1]) == (0, len(neighbours))
    assert 2 <= len(neighbours) <= 2 * (degree << scale)
    pairs = [
        (u, v) for u, (at, end) in enumerate(itertools.pairwise(offsets.tolist())) for v in neighbours[at:end].tolist()
    ]
    assert pairs == sorted(set(pairs))
    assert {(v, u) for u, v in pairs} == set(pairs)
    assert all(u != v for u, v in pairs)
    assert max(v for _, v in pairs) < 1 << scale


def test_a_graph_of_loops_alone_gets_an_edge() -> None:
    made = [kronecker(1, 1, seed) for seed in range(50)]
    assert all(offsets.tolist() == [0, 1, 2] and neighbours.tolist() == [1, 0] for offsets, neighbours in made)


def test_the_graph_has_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets, neighbours = kronecker(12, 16, 0)
    held = np.diff(offsets)
    assert held.max() > 20 * held.mean()
    assert (held == 0).mean() > 0.1
    assert (kronecker(12, 16, 1)[0] != offsets).any()
    monkeypatch.setattr(kernels, "PIECE", 1000)  # however it is drawn
    again = kronecker(12, 16, 0)
    assert (again[0] == offsets).all()
    assert (again[1] == neighbours).all()


def test_wrong_options() -> None:
    with pytest.raises(StudyError, match="a k-mer of 21 letters must fit a read of 20, and that a genome of 1,048,576"):
        load_trace("generated/kmer-count", read=20)
    with pytest.raises(StudyError, match="scale: must be at most 26"):
        load_trace("generated/bfs", scale=40)
