"""What the generators of real kernels share: the graph, the arrays in memory, and the loops, compiled."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param, config
from tiersim.traces.generators import counter
from tiersim.traces.schema import LOAD, STORE, Chunk

__all__ = ["BASE", "PAGE", "Graph", "Kernel", "Program", "Running", "kronecker"]

BASE: Final = 1 << 32
PAGE: Final = 4096
BLOCK: Final = 1 << 16
PIECE: Final = 1 << 16  # edges drawn at a time: what is computed on the way stays in the processor's cache
SOURCES: Final = 64  # searches from as many vertices, and then from the first again
SOURCE: Final = 1  # the random streams: where searches begin, which way edges go and how long they are
WEIGHT: Final = 2
EDGE: Final = 16
QUADRANTS: Final = (0.57, 0.19, 0.19)  # of the Graph 500 benchmark, and the rest
LONGEST: Final = 255  # an edge's weight, from 1 on
SPREAD: Final = -7046029254386353131  # 2^64 / golden ratio as a signed word: Knuth's multiplicative hash
POINT: Final = 48  # bytes of a point of a nuclide's grid: its energy and five cross sections
PROBES: Final = 1 << 12  # of one k-mer at most; in a table that is half empty it is found long before

Ints: TypeAlias = NDArray[np.int64]
Vertices: TypeAlias = NDArray[np.int32]
Places: TypeAlias = NDArray[np.int64]
Sizes: TypeAlias = NDArray[np.uint16]
Kinds: TypeAlias = NDArray[np.uint8]
Reals: TypeAlias = NDArray[np.float64]
Step: TypeAlias = Callable[[Places, Sizes, Kinds, int], int]
Made: TypeAlias = tuple[Places, Sizes, Kinds]  # address, size and kind of references
F = TypeVar("F", bound=Callable[..., Any])


OPTIONS: Any = {"_nrt": False, "cache": True, "nogil": True, "error_model": "numpy"}


def compiled(function: F) -> F:
    """A loop that is compiled once, kept on disk, and runs beside other Python threads."""
    return cast(F, numba.njit(**OPTIONS)(function))


class Program:
    """A kernel at work: its arrays, one after the other from 4 GiB on, each from the beginning of a page of 4 KiB.

    ``step`` writes references into address, size and kind until it has made as many as it is asked for, and at most
    ``unit`` more; it returns how many. It is never done: a kernel that ends begins again.
    """

    def __init__(self, arrays: list[NDArray[Any]], unit: int, step: Callable[[Ints], Step]) -> None:
        first = [BASE]
        for array in arrays:
            first.append(first[-1] + -(-max(array.nbytes, 1) // PAGE) * PAGE)
        self.unit = unit
        self.step = step(np.array(first[:-1], np.int64))


class Tape:
    """The references of a kernel from any place on: it runs on to a later one, and from its start to one before."""

    def __init__(self, begin: Callable[[], Program]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._program: Program | None = None
        self._made: Made
        self._at = self._held = 0

    def read(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""
        found = np.empty(count, np.int64), np.empty(count, np.uint16), np.empty(count, np.uint8)
        with self._lock:
            if self._program is None or start < self._at:
                self._program = self._begin()
                room = BLOCK + self._program.unit
                self._made = np.empty(room, np.int64), np.empty(room, np.uint16), np.empty(room, np.uint8)
                self._at = self._held = 0
            done = 0
            while done < count:
                if start + done >= self._at + self._held:
                    self._at += self._held
                    self._held = self._program.step(*self._made, BLOCK)
                    continue
                begin = start + done - self._at
                take = min(self._held - begin, count - done)
                into, of = slice(done, done + take), slice(begin, begin + take)
                for number in range(3):
                    found[number][into] = self._made[number][of]
                done += take
        return found


@config
class Kernel(ABC):
    """The loads and stores of a program that computes something, with the same number of instructions before each."""

    references: Annotated[int, Param("loads and stores in all", unit="count", ge=1)] = 1_000_000
    gap: Annotated[int, Param("instructions of each, its own included", unit="count", ge=1, le=10**9)] = 4
    seed: Annotated[int, Param("which of the possible inputs", ge=0)] = 0

    @property
    def records(self) -> int:
        """How many references there are."""
        return self.references

    @abstractmethod
    def touched(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""

    def block(self, start: int, count: int) -> Chunk:
        """The records from ``start`` on."""
        address, size, kind = self.touched(start, count)
        return {
            "address": address.view(np.uint64),
            "size": size,
            "kind": kind,
            "gap": np.full(count, self.gap, np.uint32),
        }


@config
class Running(Kernel):
    """A kernel that must run to where its references are asked for."""

    @abstractmethod
    def program(self) -> Program:
        """The kernel before its first reference."""

    @cached_property
    def _tape(self) -> Tape:
        return Tape(self.program)

    def touched(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""
        return self._tape.read(start, count)


@config
class Graph(Running):
    """A kernel on a Kronecker graph, kept as compressed rows: offsets of 8 bytes, neighbours of 4."""

    scale: Annotated[int, Param("the graph has 2**scale vertices", ge=1, le=26)] = 16
    degree: Annotated[int, Param("edges drawn for each vertex; loops and repeats are left out", ge=1, le=256)] = 16

    @cached_property
    def rows(self) -> tuple[Ints, Vertices]:
        """Where each vertex's neighbours begin, and the neighbours."""
        return kronecker(self.scale, self.degree, self.seed)

    @property
    def widest(self) -> int:
        """The most neighbours that a vertex has."""
        return int(np.diff(self.rows[0]).max())

    def sources(self) -> Ints:
        """Where the searches begin: vertices that have a neighbour."""
        able = np.flatnonzero(np.diff(self.rows[0]))
        drawn = counter.draw(self.seed, SOURCE, np.arange(SOURCES, dtype=np.uint64))
        return able[counter.below(drawn, len(able)).astype(np.int64)].astype(np.int64)


def kronecker(scale: int, degree: int, seed: int) -> tuple[Ints, Vertices]:
    """An undirected graph as the Graph 500 benchmark draws it: offsets by vertex, and sorted neighbours.

    Each of ``degree * 2**scale`` edges falls into one quadrant of the matrix, of that into one again, and so on, with
    probabilities of 57, 19, 19 and 5 %; then vertices are renamed at random, loops and repeats are left out, and each
    edge stands in both directions. If none is left there is one, from the first vertex to the second.
    """
    count = 1 << scale
    kept: list[NDArray[np.uint64]] = []
    a, b, c = QUADRANTS
    for at in range(0, degree << scale, PIECE):
        index = np.arange(at, min(at + PIECE, degree << scale), dtype=np.uint64)
        row, column = np.zeros(len(index), np.uint64), np.zeros(len(index), np.uint64)
        for bit in range(scale):
            share = counter.share(counter.draw(seed, EDGE + bit, index))
            down = share >= a + b
            right = ((share >= a) & ~down) | (share >= a + b + c)
            row |= down.astype(np.uint64) << np.uint64(bit)
            column |= right.astype(np.uint64) << np.uint64(bit)
        row, column = counter.shuffled(row, count, seed), counter.shuffled(column, count, seed)
        other = row != column
        row, column = row[other], column[other]
        kept += [row << np.uint64(32) | column, column << np.uint64(32) | row]
    pairs = np.sort(np.concatenate(kept))  # np.unique hashes, and takes ten times as long for such numbers
    pairs = pairs[np.diff(pairs, prepend=~pairs[:1]) != 0]
    if not len(pairs):
        pairs = np.array([1, 1 << 32], np.uint64)
    offsets = np.searchsorted(pairs, np.arange(count + 1, dtype=np.uint64) << np.uint64(32)).astype(np.int64)
    return offsets, (pairs & np.uint64(0xFFFFFFFF)).astype(np.int32)


def weights(seed: int, edges: int) -> NDArray[np.int32]:
    """The length of each edge by its place among the neighbours: 1 to 255, each as likely."""
    drawn = counter.draw(seed, WEIGHT, np.arange(edges, dtype=np.uint64))
    return (counter.below(drawn, LONGEST) + np.uint64(1)).astype(np.int32)


@compiled
def put(address: Places, size: Sizes, kind: Kinds, k: int, first: int, index: int, width: int, what: int) -> int:
    """Note that an element was touched, and return how many references there are."""
    address[k] = first + index * width
    size[k] = width
    kind[k] = what
    return k + 1


# Each loop below keeps its place in `cursor` and leaves off between two vertices (or edges, or letters). `first` holds
# the addresses at which the arrays begin, in the order in which the loop takes them.


@compiled
def bfs(
    offsets: Ints,
    neighbours: Vertices,
    parent: Vertices,
    queue: Vertices,
    sources: Ints,
    first: Ints,
    cursor: Ints,
    address: Places,
    size: Sizes,
    kind: Kinds,
    most: int,
) -> int:
    """Breadth-first search, top down, from one source after the other."""
    phase, i, tail, turn = cursor
    k = 0
    while k < most:
        if phase == 0:
            parent[i] = -1
            k = put(address, size, kind, k, first[2], i, 4, STORE)
            i += 1
            if i == len(parent):
                source = sources[turn % len(sources)]
                turn += 1
                parent[source] = source
                k = put(address, size, kind, k, first[2], source, 4, STORE)
                queue[0] = source
                k = put(address, size, kind, k, first[3], 0, 4, STORE)
                phase, i, tail = 1, 0, 1
        elif i == tail:
            phase, i = 0, 0
        else:
            u = queue[i]
            k = put(address, size, kind, k, first[3], i, 4, LOAD)
            k = put(address, size, kind, k, first[0], u, 8, LOAD)
            k = put(address, size, kind, k, first[0], u + 1, 8, LOAD)
            i += 1
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = put(address, size, kind, k, first[1], e, 4, LOAD)
                k = put(address, size, kind, k, first[2], v, 4, LOAD)
                if parent[v] < 0:
                    parent[v] = u
                    k = put(address, size, kind, k, first[2], v, 4, STORE)
                    queue[tail] = v
                    k = put(address, size, kind, k, first[3], tail, 4, STORE)
                    tail += 1
    cursor[0], cursor[1], cursor[2], cursor[3] = phase, i, tail, turn
    return k


@compiled
def pagerank(
    offsets: Ints,
    neighbours: Vertices,
    first: Ints,
    cursor: Ints,
    address: Places,
    size: Sizes,
    kind: Kinds,
    most: int,
) -> int:
    """PageRank by pulling; where it touches memory does not depend on the ranks, so that none are computed."""
    phase, u = cursor
    k = 0
    while k < most:
        if phase == 0:
            k = put(address, size, kind, k, first[2], u, 4, LOAD)
            k = put(address, size, kind, k, first[0], u, 8, LOAD)
            k = put(address, size, kind, k, first[0], u + 1, 8, LOAD)
            k = put(address, size, kind, k, first[3], u, 4, STORE)
        else:
            k = put(address, size, kind, k, first[0], u, 8, LOAD)
            k = put(address, size, kind, k, first[0], u + 1, 8, LOAD)
            for e in range(offsets[u], offsets[u + 1]):
                k = put(address, size, kind, k, first[1], e, 4, LOAD)
                k = put(address, size, kind, k, first[3], neighbours[e], 4, LOAD)
            k = put(address, size, kind, k, first[2], u, 4, LOAD)
            k = put(address, size, kind, k, first[2], u, 4, STORE)
        u += 1
        if u == len(offsets) - 1:
            phase, u = 1 - phase, 0
    cursor[0], cursor[1] = phase, u
    return k


@compiled
def connected_components(
    offsets: Ints,
    neighbours: Vertices,
    component: Vertices,
    first: Ints,
    cursor: Ints,
    address: Places,
    size: Sizes,
    kind: Kinds,
    most: int,
) -> int:
    """Connected components: every vertex takes the smallest name around it, until none changes."""
    phase, u, changed = cursor
    k = 0
    while k < most:
        if phase == 0:
            component[u] = u
            k = put(address, size, kind, k, first[2], u, 4, STORE)
        else:
            least = component[u]
            before = least
            k = put(address, size, kind, k, first[2], u, 4, LOAD)
            k = put(address, size, kind, k, first[0], u, 8, LOAD)
            k = put(address, size, kind, k, first[0], u + 1, 8, LOAD)
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = put(address, size, kind, k, first[1], e, 4, LOAD)
                k = put(address, size, kind, k, first[2], v, 4, LOAD)
                least = min(least, component[v])
            if least < before:
                component[u] = least
                k = put(address, size, kind, k, first[2], u, 4, STORE)
                changed = 1
        u += 1
        if u == len(component):
            phase = 1 if phase == 0 or changed else 0
            u, changed = 0, 0
    cursor[0], cursor[1], cursor[2] = phase, u, changed
    return k


@compiled
def sssp(
    offsets: Ints,
    neighbours: Vertices,
    weight: Vertices,
    distance: Vertices,
    waiting: Kinds,
    queue: Vertices,
    sources: Ints,
    first: Ints,
    cursor: Ints,
    address: Places,
    size: Sizes,
    kind: Kinds,
    most: int,
) -> int:
    """Shortest paths by Bellman and Ford with a queue, a ring, of the vertices whose distance fell."""
    phase, i, head, held, turn = cursor
    n = len(distance)
    k = 0
    while k < most:
        if phase == 0:
            distance[i] = 2**31 - 1
            k = put(address, size, kind, k, first[3], i, 4, STORE)
            i += 1
            if i == n:
                source = sources[turn % len(sources)]
                turn += 1
                distance[source] = 0
                k = put(address, size, kind, k, first[3], source, 4, STORE)
                waiting[source] = 1
                k = put(address, size, kind, k, first[4], source, 1, STORE)
                queue[0] = source
                k = put(address, size, kind, k, first[5], 0, 4, STORE)
                phase, head, held = 1, 0, 1
        elif held == 0:
            phase, i = 0, 0
        else:
            u = queue[head]
            k = put(address, size, kind, k, first[5], head, 4, LOAD)
            waiting[u] = 0
            k = put(address, size, kind, k, first[4], u, 1, STORE)
            far = distance[u]
            k = put(address, size, kind, k, first[3], u, 4, LOAD)
            k = put(address, size, kind, k, first[0], u, 8, LOAD)
            k = put(address, size, kind, k, first[0], u + 1, 8, LOAD)
            head = (head + 1) % n
            held -= 1
            for e in range(offsets[u], offsets[u + 1]):
                v = neighbours[e]
                k = put(address, size, kind, k, first[1], e, 4, LOAD)
                k = put(address, size, kind, k, first[2], e, 4, LOAD)
                k = put(address, size, kind, k, first[3], v, 4, LOAD)
                if far + weight[e] < distance[v]:
                    distance[v] = far + weight[e]
                    k = put(address, size, kind, k, first[3], v, 4, STORE)
                    k = put(address, size, kind, k, first[4], v, 1, LOAD)
                    if waiting[v] == 0:
                        waiting[v] = 1
                        k = put(address, size, kind, k, first[4], v, 1, STORE)
                        place = (head + held) % n
                        queue[place] = v
                        k = put(address, size, kind, k, first[5], place, 4, STORE)
                        held += 1
    cursor[0], cursor[1], cursor[2], cursor[3], cursor[4] = phase, i, head, held, turn
    return k


@compiled
def triangle_count(
    offsets: Ints,
    neighbours: Vertices,
    first: Ints,
    cursor: Ints,
    address: Places,
    size: Sizes,
    kind: Kinds,
    most: int,
) -> int:
    """Triangles u > v > w, by going along the neighbours of u and v at once; ``cursor[2]`` counts them."""
    u, e, total = cursor
    n = len(offsets) - 1
    k = 0
    while k < most:
        if e < 0:
            k = put(address, size, kind, k, first[0], u, 8, LOAD)
            k = put(address, size, kind, k, first[0], u + 1, 8, LOAD)
            e = offsets[u]
        v = n
        if e < offsets[u + 1]:
            v = neighbours[e]
            k = put(address, size, kind, k, first[1], e, 4, LOAD)
        if v > u:
            u, e = (u + 1) % n, -1
            continue
        k = put(address, size, kind, k, first[0], v, 8, LOAD)
        k = put(address, size, kind, k, first[0], v + 1, 8, LOAD)
        along = offsets[u]
        for f in range(offsets[v], offsets[v + 1]):
            w = neighbours[f]
            k = put(address, size, kind, k, first[1], f, 4, LOAD)
            if w > v:
                break
            k = put(address, size, kind, k, first[1], along, 4, LOAD)
            while neighbours[along] < w:  # ends at v at the latest
                along += 1
                k = put(address, size, kind, k, first[1], along, 4, LOAD)
            total += neighbours[along] == w
        e += 1
    cursor[0], cursor[1], cursor[2] = u, e, total
    return k


@compiled
def kmer_count(
    text: Kinds,
    keys: Ints,
    counts: Vertices,
    starts: Ints,
    length: int,
    k_mer: int,
    first: Ints,
    cursor: Ints,
    address: Places,
    size: Sizes,
    kind: Kinds,
    most: int,
) -> int:
    """Counting the k-mers of reads in a hash table with linear probing."""
    read, i, code = cursor
    mask = len(keys) - 1
    k = 0
    while k < most:
        place = starts[read] + i
        code = ((code << 2) | text[place]) & ((1 << (2 * k_mer)) - 1)
        k = put(address, size, kind, k, first[0], place, 1, LOAD)
        if i >= k_mer - 1:
            slot = ((code * SPREAD) >> 20) & mask
            for _ in range(PROBES):
                k = put(address, size, kind, k, first[1], slot, 8, LOAD)
                if keys[slot] == code:
                    break
                if keys[slot] < 0:
                    keys[slot] = code
                    k = put(address, size, kind, k, first[1], slot, 8, STORE)
                    break
                slot = (slot + 1) & mask
            counts[slot] += 1
            k = put(address, size, kind, k, first[2], slot, 4, LOAD)
            k = put(address, size, kind, k, first[2], slot, 4, STORE)
        i += 1
        if i == length:
            read, i, code = (read + 1) % len(starts), 0, 0
    cursor[0], cursor[1], cursor[2] = read, i, code
    return k


@compiled
def hash_lookup(
    held: Ints,
    members: Vertices,
    index: Vertices,
    energies: Reals,
    material: Ints,
    energy: Reals,
    first: Ints,
    cursor: Ints,
    address: Places,
    size: Sizes,
    kind: Kinds,
    most: int,
) -> int:
    """Cross sections of a material at an energy: for each of its nuclides, the two points of its grid around it."""
    lookup, j = cursor
    points = energies.shape[1]
    bins = len(index) - 1
    k = 0
    while k < most:
        at, sought = material[lookup], energy[lookup]
        nuclide = members[at, j]
        k = put(address, size, kind, k, first[0], at * members.shape[1] + j, 4, LOAD)
        k = put(address, size, kind, k, first[1], at * members.shape[1] + j, 8, LOAD)
        slot = min(int(sought * bins), bins - 1)
        low, high = index[slot, nuclide], index[slot + 1, nuclide] + 1
        k = put(address, size, kind, k, first[2], slot * index.shape[1] + nuclide, 4, LOAD)
        k = put(address, size, kind, k, first[2], (slot + 1) * index.shape[1] + nuclide, 4, LOAD)
        while high - low > 1:
            middle = (low + high) // 2
            k = put(address, size, kind, k, first[3] + (nuclide * points + middle) * POINT, 0, 8, LOAD)
            if energies[nuclide, middle] > sought:
                high = middle
            else:
                low = middle
        k = put(address, size, kind, k, first[3], nuclide * points + low, POINT, LOAD)
        k = put(address, size, kind, k, first[3], nuclide * points + low + 1, POINT, LOAD)
        j += 1
        if j == held[at]:
            lookup, j = (lookup + 1) % len(material), 0
    cursor[0], cursor[1] = lookup, j
    return k
