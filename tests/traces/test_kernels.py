"""Generators of real kernels: each reference equals that of a plain version of the algorithm, however it is cut."""

from __future__ import annotations

import bisect
import heapq
import itertools
import tracemalloc
from collections import Counter, deque
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
from tiersim.traces.generators import kernels, tape
from tiersim.traces.generators.counter import below, draw, share, shuffled
from tiersim.traces.generators.kernels import Graph, Kernel, Program, Running
from tiersim.traces.graphs import kronecker
from tiersim.traces.schema import ACCESS, LOAD, STORE

NAMES = sorted(name for name in index("generator") if issubclass(load("generator", name), Kernel))
GRAPHS = [name for name in NAMES if issubclass(load("generator", name), Graph)]
SMALL: dict[str, dict[str, Any]] = {name: {"scale": 5, "degree": 4} for name in GRAPHS} | {
    "embedding-lookup": {"tables": 3, "rows": 50, "row": 100, "pooling": 4, "batch": 5},
    "gups": {"footprint": 4096},
    "hash-lookup": {"nuclides": 40, "points": 50, "bins": 7},
    "kmer-count": {"genome": 200, "read": 20, "kmer": 3},
    "xs-lookup": {"nuclides": 40, "points": 50},
}
Touch = tuple[int, int, int]  # which array, which element, load or store
Rows = list[list[int]]
END = -1  # the offset behind that of an element


def rows_of(made: Any) -> Rows:
    offsets, neighbours = made.rows
    return [neighbours[at:end].tolist() for at, end in itertools.pairwise(offsets.tolist())]


def places_of(rows: Rows) -> list[int]:
    """Where the neighbours of each vertex begin."""
    return [0, *itertools.accumulate(map(len, rows))]


def around(rows: Rows, u: int) -> Iterator[Touch]:
    yield from ((0, u, LOAD), (END, u, LOAD))


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
    order = [*range(made.first, len(rows))]
    for turn in itertools.count():
        found = 0
        for u in order if turn == 0 else range(len(rows)):
            row = rows[u]
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
        assert found == wanted or (turn == 0 and made.first)


def plain_colouring(made: Any) -> Iterator[Touch]:
    rows = rows_of(made)
    at = places_of(rows)
    while True:
        yield from ((2, u, STORE) for u in range(len(rows)))
        colour: dict[int, int] = {}
        for u, held in enumerate(rows):
            yield from around(rows, u)
            taken = []
            for e, v in enumerate(held, at[u]):
                yield from ((1, e, LOAD), (2, v, LOAD))
                if v in colour:
                    taken.append(colour[v])
                    yield (3, colour[v], STORE)
            colour[u] = next(free for free in itertools.count() if free not in taken)
            yield from ((3, tried, LOAD) for tried in range(colour[u] + 1))
            yield (2, u, STORE)


def plain_betweenness(made: Any) -> Iterator[Touch]:
    rows = rows_of(made)
    at = places_of(rows)
    for source in itertools.cycle(made.sources().tolist()):
        for u in range(len(rows)):
            yield from ((2, u, STORE), (3, u, STORE), (4, u, STORE))
        yield from ((2, source, STORE), (3, source, STORE), (6, 0, STORE))
        depth, queue = {source: 0}, [source]
        for place, u in enumerate(queue):
            yield from ((6, place, LOAD), (2, u, LOAD), (3, u, LOAD))
            yield from around(rows, u)
            for e, v in enumerate(rows[u], at[u]):
                yield from ((1, e, LOAD), (2, v, LOAD))
                if v not in depth:
                    depth[v] = depth[u] + 1
                    yield from ((2, v, STORE), (6, len(queue), STORE))
                    queue.append(v)
                if depth[v] > depth[u]:
                    yield from ((3, v, LOAD), (3, v, STORE))
        for place, u in reversed(list(enumerate(queue))):
            yield from ((6, place, LOAD), (2, u, LOAD), (3, u, LOAD), (4, u, LOAD))
            yield from around(rows, u)
            for e, v in enumerate(rows[u], at[u]):
                yield from ((1, e, LOAD), (2, v, LOAD))
                if depth[v] < depth[u]:
                    yield from ((3, v, LOAD), (4, v, LOAD), (4, v, STORE))
            if u != source:
                yield from ((5, u, LOAD), (5, u, STORE))


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


def plain_hashed(made: Any) -> Iterator[Touch]:
    grids, asked = neutrons(made)
    width = max(made.held)
    for energy, material, members in asked:
        slot = int(energy * made.bins)
        for j, nuclide in enumerate(members):
            grid = grids[nuclide]
            yield from ((0, material * width + j, LOAD), (1, material * width + j, LOAD))
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


def plain_unionised(made: Any) -> Iterator[Touch]:
    grids, asked = neutrons(made)
    width = max(made.held)
    union = sorted(energy for grid in grids for energy in grid)
    for energy, material, members in asked:
        low, high = 0, len(union)
        while high - low > 1:
            middle = (low + high) // 2
            yield (0, middle, LOAD)
            low, high = (low, middle) if union[middle] > energy else (middle, high)
        for j, nuclide in enumerate(members):
            # what the index of a real program says: the last point that is not above the energy found
            last = max(bisect.bisect_right(grids[nuclide], union[low]) - 1, 0)
            point = nuclide * made.points + min(last, made.points - 2)
            yield from ((1, material * width + j, LOAD), (2, material * width + j, LOAD))
            yield from ((3, low * made.nuclides + nuclide, LOAD), (4, point, LOAD), (4, point + 1, LOAD))


def neutrons(made: Any) -> tuple[list[list[float]], Iterator[tuple[float, int, list[int]]]]:
    """The grids of the nuclides; and of each look-up the energy, the material, and the nuclides of that."""
    count = made.nuclides * made.points
    drawn = share(draw(made.seed, 22, np.arange(count, dtype=np.uint64))).tolist()
    grids = [sorted(drawn[at : at + made.points]) for at in range(0, count, made.points)]
    members = []
    for place, held in enumerate((made.fuel, 5, 4, 4, 27, 21, 21, 21, 21, 21, 9, 9)):
        at = np.arange(place * made.nuclides, (place + 1) * made.nuclides, dtype=np.uint64)
        order = draw(made.seed, 21, at).tolist()
        members.append(sorted(range(made.nuclides), key=order.__getitem__)[:held])
    often = np.cumsum([0.140, 0.052, 0.275, 0.134, 0.154, 0.064, 0.066, 0.055, 0.008, 0.015, 0.025, 0.013]).tolist()
    number = np.arange(5000, dtype=np.uint64)
    energies = share(draw(made.seed, 19, number)).tolist()
    materials = [bisect.bisect_right(often, x * often[-1]) for x in share(draw(made.seed, 20, number)).tolist()]
    return grids, ((energy, material, members[material]) for energy, material in zip(energies, materials))


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
    "betweenness": plain_betweenness,
    "bfs": plain_bfs,
    "connected-components": plain_components,
    "embedding-lookup": plain_embeddings,
    "graph-colouring": plain_colouring,
    "gups": plain_gups,
    "hash-lookup": plain_hashed,
    "kmer-count": plain_kmers,
    "pagerank": plain_pagerank,
    "sssp": plain_sssp,
    "triangle-count": plain_triangles,
    "xs-lookup": plain_unionised,
}


def arrays(name: str, made: Any) -> list[tuple[int, int]]:
    """Elements and bytes of each array, as the page about the generator says."""
    if name == "gups":
        return [(made.footprint // 8, 8)]
    if name == "kmer-count":
        return [(made.genome, 1), (slots_of(made.genome), 8), (slots_of(made.genome), 4)]
    if name in ("hash-lookup", "xs-lookup"):
        count = made.nuclides * made.points
        materials, table = [(12 * max(made.held), 4), (12 * max(made.held), 8)], (count, 48)
        if name == "hash-lookup":
            return [*materials, ((made.bins + 1) * made.nuclides, 4), table]
        return [(count, 8), *materials, (count * made.nuclides, 4), table]
    vertices, edges = len(made.rows[0]) - 1, len(made.rows[1])
    more = {
        "betweenness": [(vertices, 4), *[(vertices, 8)] * 3, (vertices, 4)],
        "bfs": [(vertices, 4)] * 2,
        "pagerank": [(vertices, 4)] * 2,
        "connected-components": [(vertices, 4)],
        "graph-colouring": [(vertices, 4), (made.widest + 1, 4)],
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
    monkeypatch.setattr(tape, "BLOCK", 700)
    options = SMALL[name] | ({"scale": scale} if name in GRAPHS else {"seed": scale})
    count = 30_000
    made = configured("generator", name, options)
    found = columns(load_trace(f"generated/{name}", references=count, **options))
    if name == "embedding-lookup":
        assert found == list(itertools.islice(plain_embeddings(made), count))
        return
    assert found == as_laid_out(name, made, count)


def as_laid_out(name: str, made: Any, count: int) -> list[tuple[int, int, int]]:
    """The references of the plain version: address, size and kind."""
    held, together = arrays(name, made), fields(name, made)
    places: dict[int, tuple[int, int]] = {}  # of an array the address, and the bytes from one element to the next
    first = 1 << 32
    for array, (elements, width) in enumerate(held):
        if array not in places:
            size, offsets = next(((size, of) for size, of in together if array in of), (width, {array: 0}))
            places |= {one: (first + offset, size) for one, offset in offsets.items()}
            first += up(elements * size)
    wanted = []
    for array, element, kind in itertools.islice(PLAIN[name](made), count):
        which = 0 if array == END else min(array, len(held) - 1)  # beyond is the first word of an element of the last
        assert 0 <= element < held[which][0]
        if which in SCATTERED[name] and getattr(made, "scattered", False):
            (element,) = shuffled(np.array([element], np.uint64), held[1][0], made.seed).tolist()
        address = places[which][0] + element * places[which][1] + 8 * (array == END)
        wanted.append((address, 8 if array > which else held[which][1], kind))
    return wanted


def fields(name: str, made: Any) -> list[tuple[int, dict[int, int]]]:
    """Which arrays lie together: in how many bytes, and where in them each."""
    if name == "kmer-count":
        return [(made.slot, {1: 0, 2: 8})]
    if name not in GRAPHS:
        return []
    vertices = made.vertex and (made.vertex, VERTEX[name])
    edges = made.edge and (made.edge, {1: 0, 2: 4} if name == "sssp" else {1: 0})
    return [held for held in (vertices, edges) if held]


VERTEX = {
    "betweenness": {0: 0, 2: 16, 3: 24, 4: 32, 5: 40},
    "bfs": {0: 0, 2: 16},
    "pagerank": {0: 0, 2: 16, 3: 20},
    "connected-components": {0: 0, 2: 16},
    "graph-colouring": {0: 0, 2: 16},
    "sssp": {0: 0, 3: 16, 4: 20},
    "triangle-count": {0: 0},
}
SCATTERED = {name: [1] for name in NAMES} | {"sssp": [1, 2]}
LAID: dict[str, list[dict[str, Any]]] = {
    **{
        name: [{"vertex": 56}, {"edge": 24}, {"vertex": 5000, "edge": 9}, {"edge": 40, "scattered": True}]
        for name in GRAPHS
    },
    "kmer-count": [{"slot": 12}, {"slot": 100}],
    "hash-lookup": [{"fuel": 40}, {"fuel": 1}],
    "xs-lookup": [{"fuel": 40}, {"fuel": 1}],
}


@pytest.mark.parametrize(
    ("name", "laid"),
    [
        *((name, laid) for name, held in LAID.items() for laid in held),
        *(("triangle-count", {"first": first}) for first in (1, 31)),
    ],
)
def test_records_lie_as_they_are_said_to(name: str, laid: dict[str, Any]) -> None:
    options = SMALL[name] | laid | {"seed": 5}
    found = columns(load_trace(f"generated/{name}", references=20_000, **options))
    assert found == as_laid_out(name, configured("generator", name, options), 20_000)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("betweenness", {"vertex": 47}, "vertex: 47 bytes have no room for the 48 that are used of each vertex"),
        ("bfs", {"vertex": 19}, "vertex: 19 bytes have no room for the 20"),
        ("sssp", {"edge": 7}, "edge: 7 bytes have no room for the 8 that are used of each edge"),
        ("pagerank", {"edge": 3}, "edge: 3 bytes have no room for the 4"),
        ("bfs", {"scattered": True}, "scattered edges have a size"),
        ("triangle-count", {"scale": 2, "first": 4}, "the graph has no vertex 4, it has 4"),
        ("xs-lookup", {"fuel": 69}, "a fuel of 69 nuclides must be made of 68"),
    ],
)
def test_records_too_small(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_trace(f"generated/{name}", **options)


def run(name: str, ends: Callable[[Program], bool], options: dict[str, Any] | None = None) -> tuple[Any, Program]:
    """A kernel as it is when it has run, in small steps, until it ends."""
    made = configured("generator", name, options or SMALL[name] | {"seed": 3})
    program = made.program()
    room = (
        np.zeros(program.unit + 1, np.int64),
        np.zeros(program.unit + 1, np.uint16),
        np.zeros(program.unit + 1, np.uint8),
    )
    for _ in range(100_000):
        program.step(room, 1)
        if ends(program):
            return made, program
    raise AssertionError(f"{name} does not end")


@pytest.mark.parametrize("seed", range(4))
def test_bfs_finds_the_shortest_ways(seed: int) -> None:
    made, program = run("bfs", lambda p: p.cursor[0] == 1 and p.cursor[1] == p.cursor[2], SMALL["bfs"] | {"seed": seed})
    source = int(made.sources()[0])
    far = ways(rows_of(made), source)[0]
    parent = program.arrays[2].tolist()
    assert parent[source] == source
    for v, up in enumerate(parent):
        assert (up >= 0) == (v in far)
        assert v == source or up < 0 or (far[v] == far[up] + 1 and v in rows_of(made)[up])


def test_sssp_finds_what_dijkstra_does() -> None:
    made, program = run("sssp", lambda p: p.cursor[0] == 1 and p.cursor[3] == 0)
    rows = rows_of(made)
    weight = kernels.weights(made.seed, len(program.arrays[1])).tolist()
    at = places_of(rows)
    waiting, far = [(0, int(made.sources()[0]))], {}
    while waiting:
        length, u = heapq.heappop(waiting)
        if u not in far:
            far[u] = length
            for e, v in enumerate(rows[u], at[u]):
                heapq.heappush(waiting, (length + weight[e], v))
    assert len(far) > 5
    assert program.arrays[2].tolist() == [far.get(v, 2**31 - 1) for v in range(len(rows))]


def test_components_are_named_by_their_smallest_vertex() -> None:
    made, program = run(
        "connected-components", lambda p: p.cursor.tolist() == [0, 0, 0], {"scale": 6, "degree": 1, "seed": 1}
    )
    rows = rows_of(made)
    assert len(set(program.arrays[2].tolist())) > 1
    assert program.arrays[2].tolist() == [min(ways(rows, u)[0]) for u in range(len(rows))]


def test_pagerank_is_that_of_dense_matrices() -> None:
    rounds = 4

    def ends(program: Program) -> bool:
        nonlocal rounds
        rounds -= program.cursor.tolist() == [0, 0]
        return not rounds

    made, program = run("pagerank", ends)
    rows = rows_of(made)
    count = len(rows)
    move = np.zeros((count, count))
    for u, held in enumerate(rows):
        move[held, u] = 1 / max(len(held), 1)
    wanted = np.full(count, 1 / count)
    for _ in range(4):
        wanted = 0.15 / count + 0.85 * move @ wanted
    assert program.arrays[2] == pytest.approx(wanted, rel=1e-5)
    assert len(set(program.arrays[2].tolist())) > 5


def test_triangles_are_as_many_as_a_matrix_says() -> None:
    made, program = run("triangle-count", lambda p: p.cursor[1] == len(p.arrays[1]))
    rows = rows_of(made)
    matrix = np.zeros((len(rows), len(rows)), int)
    for u, held in enumerate(rows):
        matrix[u, held] = 1
    assert program.cursor[2] == np.trace(matrix @ matrix @ matrix) // 6 > 0


@pytest.mark.parametrize("rounds", [1, 2])  # again with the marks of before
def test_colours_are_the_first_that_are_free(rounds: int) -> None:
    left = rounds

    def ends(program: Program) -> bool:
        nonlocal left
        left -= program.cursor.tolist() == [0, 0]
        return not left

    made, program = run("graph-colouring", ends)
    colour = program.arrays[2].tolist()
    for u, held in enumerate(rows_of(made)):
        before = {colour[v] for v in held if v < u}
        assert colour[u] == min(set(range(len(held) + 1)) - before)
        assert all(colour[u] != colour[v] for v in held)
    assert max(colour) > 1


@pytest.mark.parametrize("seed", range(4))
def test_betweenness_is_that_of_its_definition(seed: int) -> None:
    """For each source and each end, the share of the shortest ways that lead over a vertex."""
    searches = 5
    options = {"scale": 4, "degree": 2, "seed": seed}
    made, program = run("betweenness", lambda p: p.cursor[3] == searches and p.cursor[0] == 0, options)
    rows = rows_of(made)
    every = [ways(rows, u) for u in range(len(rows))]
    wanted = [0.0] * len(rows)
    for source in made.sources()[:searches].tolist():
        far, number = every[source]
        for end, over in itertools.product(far, far):
            on_the_way = (
                over not in (source, end) and end in every[over][0] and far[over] + every[over][0][end] == far[end]
            )
            if on_the_way and end != source:
                wanted[over] += number[over] * every[over][1][end] / number[end]
    assert max(wanted) > 0
    assert program.arrays[5] == pytest.approx(wanted)


def test_kmers_are_counted() -> None:
    options = SMALL["kmer-count"] | {"seed": 3}
    made = configured("generator", "kmer-count", options)
    text = (draw(made.seed, 17, np.arange(made.genome, dtype=np.uint64)) & np.uint64(3)).tolist()
    held: dict[int, tuple[int, ...]] = {}  # the k-mer of each count
    counted: Counter[int] = Counter()
    wanted: Counter[tuple[int, ...]] = Counter()
    end = 0
    for address, size, kind in columns(load_trace("generated/kmer-count", references=5000, **options)):
        if size == 1:
            end = address - (1 << 32) + 1
        elif (size, kind) == (4, STORE):
            k_mer = tuple(text[end - made.kmer : end])
            assert held.setdefault(address, k_mer) == k_mer
            counted[address] += 1
            wanted[k_mer] += 1
    assert {held[address]: count for address, count in counted.items()} == wanted
    assert max(wanted.values()) > 5


def ways(rows: Rows, source: int) -> tuple[dict[int, int], dict[int, int]]:
    """Of all that can be reached: how far it is, and how many shortest ways lead there."""
    far, number = {source: 0}, Counter({source: 1})
    queue = [source]
    for u in queue:
        for v in rows[u]:
            if v not in far:
                far[v] = far[u] + 1
                queue.append(v)
            if far[v] == far[u] + 1:
                number[v] += number[u]
    return far, number


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
    held = [program.step(made, 1) for _ in range(5000)]
    assert 1 <= min(held) <= max(held) <= program.unit


@pytest.mark.parametrize(
    ("name", "options", "footprint", "most"),  # bytes; a part of the most is for drawing look-ups and reads
    [
        ("gups", {"footprint": "32 GiB"}, 32 << 30, 4 << 20),
        ("embedding-lookup", {"rows": 1 << 26, "row": 64}, 32 << 30, 4 << 20),
        ("kmer-count", {"genome": 1 << 20, "slot": 4096}, 8 << 30, 40 << 20),
        ("xs-lookup", {"points": 40_000}, 700 << 20, 70 << 20),
        ("bfs", {"scale": 14, "vertex": 4096, "edge": 1024}, 500 << 20, 8 << 20),
        ("sssp", {"scale": 14, "vertex": 4096, "edge": 1024}, 500 << 20, 8 << 20),
    ],
)
def test_memory_is_what_decides_and_not_what_is_touched(
    name: str, options: dict[str, Any], footprint: int, most: int
) -> None:
    list(load_trace(f"generated/{name}", references=1000, **SMALL[name]).chunks())  # compiled
    tracemalloc.start()
    try:
        trace = load_trace(f"generated/{name}", references=2_000_000, **options)
        ends = [(int(chunk["address"].min()), int(chunk["address"].max())) for chunk in trace.chunks(1 << 16)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(high for _, high in ends) - min(low for low, _ in ends) > 0.8 * footprint
    assert peak < most


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
    + [
        ("xs-lookup", {"nuclides": 41}),
        ("xs-lookup", {"points": 60}),
        ("hash-lookup", {"nuclides": 41}),
        ("hash-lookup", {"points": 60}),
        ("hash-lookup", {"bins": 8}),
    ]
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


def test_the_graph_has_hubs() -> None:
    offsets, _ = kronecker(12, 16, 0)
    held = np.diff(offsets)
    assert held.max() > 20 * held.mean()
    assert (held == 0).mean() > 0.1
    assert (kronecker(12, 16, 1)[0] != offsets).any()


def test_wrong_options() -> None:
    with pytest.raises(StudyError, match="a k-mer of 21 letters must fit a read of 20, and that a genome of 1,048,576"):
        load_trace("generated/kmer-count", read=20)
    with pytest.raises(StudyError, match="scale: must be at most 26"):
        load_trace("generated/bfs", scale=40)
