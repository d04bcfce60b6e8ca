"""What the generators of real kernels share: their arrays in memory, how they note what they touch, and the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, TypeAlias
from weakref import proxy

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.traces import graphs
from tiersim.traces.generators import counter, exact, tape
from tiersim.traces.generators.counter import Words
from tiersim.traces.generators.exact import compiled, image, inlined
from tiersim.traces.generators.tape import Machine, Tape
from tiersim.traces.schema import LOAD, STORE, Chunk

__all__ = ["BASE", "DRAWN", "PAGE", "Graph", "Kernel", "Program", "Room", "Running", "load", "row", "store"]

BASE: Final = 1 << 32
PAGE: Final = 4096
SOURCES: Final = 64  # searches from as many vertices, and then from the first again
SOURCE: Final = 1  # the random streams: where searches begin, and how long edges are
WEIGHT: Final = 2
LONGEST: Final = 255  # an edge's weight, from 1 on
PIECE: Final = 1 << 16  # drawn at a time
LARGEST: Final = 1 << 20  # bytes of a record
DRAWN: Final = "kronecker"  # the graph that is no file

Ints: TypeAlias = NDArray[np.int64]
Vertices: TypeAlias = NDArray[np.int32]
Bytes: TypeAlias = NDArray[np.uint8]
Reals: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Made: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint8]]  # address, size and kind
Place: TypeAlias = tuple[int, int, int]  # of an array the address, the bytes from one element to the next, and of one
Memory: TypeAlias = tuple[Place, ...]


@dataclass(frozen=True)
class Record:
    """Arrays whose elements of one number lie together: in how many bytes, and where in them each array's.

    With the keys of `counter.shuffle_keys` they lie in that order.
    """

    size: int
    offsets: dict[int, int]
    keys: Words | None = None


@dataclass(frozen=True)
class Room:
    """An array that takes room in memory, and whose content the loop does not need."""

    itemsize: int
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return self.itemsize * self.size


class Program(Machine):
    """A kernel at work: its arrays, one after the other from 4 GiB on, each from the beginning of a page of 4 KiB.

    Arrays of a record lie together, where the first of them would. The loop gets the arrays that have content, what
    else is ``given``, the places of all arrays in memory, and its own state, ``cursor``. It is never done: a kernel
    that ends begins again.
    """

    def __init__(
        self,
        loop: Callable[..., int],
        *arrays: NDArray[Any] | Room,
        given: Sequence[Any] = (),
        cursor: Sequence[int],
        unit: int,
        records: Sequence[Record] = (),
    ) -> None:
        self.arrays = [array for array in arrays if not isinstance(array, Room)]
        self.cursor = np.array(cursor, np.int64)
        together = {number: record for record in records for number in record.offsets}
        self._shuffled: list[tuple[int, int, int, Words]] = []
        memory: dict[int, Place] = {}
        first = BASE
        for number, array in enumerate(arrays):
            if number in memory:
                continue
            record = together.get(number, Record(array.itemsize, {number: 0}))
            for other, offset in record.offsets.items():
                memory[other] = first + offset, record.size, arrays[other].itemsize
            if record.keys is not None:
                self._shuffled.append((first, record.size, array.size, record.keys))
            first += -(-max(record.size * array.size, 1) // PAGE) * PAGE
        places = tuple(memory[number] for number in range(len(arrays)))
        super().__init__(loop, *self.arrays, *given, places, self.cursor, unit=unit)

    def step(self, columns: tuple[NDArray[Any], ...], most: int) -> int:
        """Run on; how many references there are."""
        made = super().step(columns, most)
        for shuffled in self._shuffled:
            _shuffle(columns[0][:made], *shuffled)
        return made


@compiled
def _shuffle(address: Ints, first: int, size: int, count: int, keys: Words) -> None:
    """Move what lies in records of this size from the place of each to that of its image."""
    for k in range(len(address)):
        place = address[k] - first
        if 0 <= place < size * count:
            number = place // size
            address[k] += (np.int64(image(np.uint64(number), count, keys)) - number) * size


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

    uses: ClassVar[tuple[str, ...]] = (exact.__name__, tape.__name__)

    @abstractmethod
    def program(self) -> Program:
        """The kernel before its first reference."""

    @cached_property
    def _tape(self) -> Tape:
        this = proxy(self)  # else the two would keep each other, and a graph, until a collector comes
        return Tape(lambda: this.program(), np.int64, np.uint16, np.uint8)

    def touched(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""
        address, size, kind = self._tape.read(start, count)
        return address, size, kind


@config
class Graph(Running):
    """A kernel on an undirected graph, kept as compressed rows: offsets of 8 bytes, neighbours of 4.

    With ``vertex`` a vertex is a record, as libraries of property graphs keep it: where its edges begin and end (8
    bytes each), then its properties in their order; the rest is never touched. With ``edge`` an edge is one: the
    neighbour, then its weight where there are weights. Records lie where the offsets and the neighbours would; with
    ``scattered`` edges lie there at random, as lists do that grew while edges were loaded in no order.
    """

    uses: ClassVar[tuple[str, ...]] = (graphs.__name__,)
    properties: ClassVar[tuple[int, ...]] = ()
    """Bytes of each property of a vertex."""
    weighted: ClassVar[bool] = False

    scale: Annotated[int, Param("the graph has 2**scale vertices", ge=1, le=26)] = 16
    degree: Annotated[int, Param("edges drawn for each vertex; loops and repeats are left out", ge=1, le=256)] = 16
    graph: Annotated[str, Param("kronecker: one that is drawn; or a file of edges, as from SNAP or in CSV")] = DRAWN
    vertex: Annotated[
        int | None,
        Param("bytes of a vertex with all its properties; without it each is an array", unit="bytes", le=LARGEST),
    ] = None
    edge: Annotated[
        int | None, Param("bytes of an edge; without it neighbours and weights are arrays", unit="bytes", le=LARGEST)
    ] = None

    scattered: Annotated[bool, Param("whether edges lie at random, not vertex by vertex")] = False

    def __post_init__(self) -> None:
        if self.scattered and self.edge is None:
            raise StudyError("scattered edges have a size", None, "say it: edge: 64 B")
        for what, least in (("vertex", self._fields()[1]), ("edge", 8 if self.weighted else 4)):
            size = getattr(self, what)
            if size is not None and size < least:
                raise StudyError(f"{what}: {size} bytes have no room for the {least} that are used of each {what}")
        if self.graph != DRAWN and (self.scale, self.degree) != (Graph.scale, Graph.degree):
            raise StudyError("scale and degree are those of a graph that is drawn, and mean nothing beside a file")

    @cached_property
    def _edges(self) -> graphs.EdgeList | None:
        return None if self.graph == DRAWN else graphs.edges_of(self.graph)

    @cached_property
    def rows(self) -> graphs.Rows:
        """Where each vertex's neighbours begin, and the neighbours."""
        return graphs.kronecker(self.scale, self.degree, self.seed) if self._edges is None else self._edges.rows

    @property
    def inputs(self) -> dict[str, Any]:
        """What the graph of a file is like."""
        return {} if self._edges is None else {"graph": self._edges.about}

    @property
    def widest(self) -> int:
        """The most neighbours that a vertex has."""
        return int(np.diff(self.rows[0]).max())

    def _fields(self) -> tuple[list[int], int]:
        """Where in a vertex each property stands, and where the last one ends."""
        offsets, end = [], 2 * 8
        for size in self.properties:
            offsets.append(-(-end // size) * size)
            end = offsets[-1] + size
        return offsets, end

    def layout(self, *properties: int) -> list[Record]:
        """How arrays lie together: the offsets are the first, neighbours and weights follow, these are properties."""
        made = []
        if self.vertex is not None:
            made.append(Record(self.vertex, {0: 0, **dict(zip(properties, self._fields()[0], strict=True))}))
        if self.edge is not None:
            keys = counter.shuffle_keys(len(self.rows[1]), self.seed) if self.scattered else None
            made.append(Record(self.edge, {1: 0, **({2: 4} if self.weighted else {})}, keys))
        return made

    def sources(self) -> Ints:
        """Where the searches begin: vertices that have a neighbour."""
        able = np.flatnonzero(np.diff(self.rows[0]))
        drawn = counter.draw(self.seed, SOURCE, np.arange(SOURCES, dtype=np.uint64))
        return able[counter.below(drawn, len(able)).astype(np.int64)].astype(np.int64)


def weights(seed: int, edges: int) -> Bytes:
    """The length of each edge by its place among the neighbours: 1 to 255, each as likely."""
    made = np.empty(edges, np.uint8)
    for at in range(0, edges, PIECE):
        drawn = counter.draw(seed, WEIGHT, np.arange(at, min(at + PIECE, edges), dtype=np.uint64))
        made[at : at + PIECE] = counter.below(drawn, LONGEST) + np.uint64(1)
    return made


# The loop of a kernel stands in the file of its generator. It notes what it touches with the functions below, each of
# which returns how many references there are then, and leaves off between two vertices (or edges, or letters).


@inlined
def load(made: Made, k: int, place: Place, index: int) -> int:
    """Note that an element is loaded."""
    made[0][k] = place[0] + index * place[1]
    made[1][k] = place[2]
    made[2][k] = LOAD
    return k + 1


@inlined
def store(made: Made, k: int, place: Place, index: int) -> int:
    """Note that an element is stored."""
    made[0][k] = place[0] + index * place[1]
    made[1][k] = place[2]
    made[2][k] = STORE
    return k + 1


@inlined
def row(made: Made, k: int, place: Place, index: int) -> int:
    """Note that it is looked up where the neighbours of a vertex begin and end, one word behind the other."""
    k = load(made, k, place, index)
    made[0][k] = made[0][k - 1] + place[2]
    made[1][k] = place[2]
    made[2][k] = LOAD
    return k + 1
