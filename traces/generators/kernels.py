"""What the generators of real kernels share: their arrays in memory, how they note what they touch, and the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim.traces import graphs
from tiersim.traces.generators import counter, exact, tape
from tiersim.traces.generators.exact import inlined
from tiersim.traces.generators.tape import Machine, Tape
from tiersim.traces.schema import LOAD, STORE, Chunk

__all__ = ["BASE", "PAGE", "Graph", "Kernel", "Program", "Room", "Running", "load", "row", "store"]

BASE: Final = 1 << 32
PAGE: Final = 4096
SOURCES: Final = 64  # searches from as many vertices, and then from the first again
SOURCE: Final = 1  # the random streams: where searches begin, and how long edges are
WEIGHT: Final = 2
LONGEST: Final = 255  # an edge's weight, from 1 on

Ints: TypeAlias = NDArray[np.int64]
Vertices: TypeAlias = NDArray[np.int32]
Bytes: TypeAlias = NDArray[np.uint8]
Reals: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Made: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint8]]  # address, size and kind
Place: TypeAlias = tuple[int, int]  # the address of an array, and the bytes of an element
Memory: TypeAlias = tuple[Place, ...]


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

    The loop gets the arrays that have content, what else is ``given``, the places of all arrays in memory, and its own
    state, ``cursor``. It is never done: a kernel that ends begins again.
    """

    def __init__(
        self,
        loop: Callable[..., int],
        *arrays: NDArray[Any] | Room,
        given: Sequence[Any] = (),
        cursor: Sequence[int],
        unit: int,
    ) -> None:
        self.arrays = [array for array in arrays if not isinstance(array, Room)]
        self.cursor = np.array(cursor, np.int64)
        memory: list[Place] = []
        first = BASE
        for array in arrays:
            memory.append((first, array.itemsize))
            first += -(-max(array.nbytes, 1) // PAGE) * PAGE
        super().__init__(loop, *self.arrays, *given, tuple(memory), self.cursor, unit=unit)


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
        return Tape(self.program, np.int64, np.uint16, np.uint8)

    def touched(self, start: int, count: int) -> Made:
        """The references from ``start`` on."""
        address, size, kind = self._tape.read(start, count)
        return address, size, kind


@config
class Graph(Running):
    """A kernel on an undirected graph, kept as compressed rows: offsets of 8 bytes, neighbours of 4."""

    uses: ClassVar[tuple[str, ...]] = (graphs.__name__,)

    scale: Annotated[int, Param("the graph has 2**scale vertices", ge=1, le=26)] = 16
    degree: Annotated[int, Param("edges drawn for each vertex; loops and repeats are left out", ge=1, le=256)] = 16
    graph: Annotated[
        str | None, Param("a file of edges instead, as from SNAP or in CSV; without it a Kronecker graph is drawn")
    ] = None

    def __post_init__(self) -> None:
        if self.graph is not None and (self.scale, self.degree) != (Graph.scale, Graph.degree):
            raise StudyError("scale and degree are those of a graph that is drawn, and mean nothing beside graph")

    @cached_property
    def _edges(self) -> graphs.EdgeList | None:
        return None if self.graph is None else graphs.edges_of(self.graph)

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

    def sources(self) -> Ints:
        """Where the searches begin: vertices that have a neighbour."""
        able = np.flatnonzero(np.diff(self.rows[0]))
        drawn = counter.draw(self.seed, SOURCE, np.arange(SOURCES, dtype=np.uint64))
        return able[counter.below(drawn, len(able)).astype(np.int64)].astype(np.int64)


def weights(seed: int, edges: int) -> Vertices:
    """The length of each edge by its place among the neighbours: 1 to 255, each as likely."""
    drawn = counter.draw(seed, WEIGHT, np.arange(edges, dtype=np.uint64))
    return (counter.below(drawn, LONGEST) + np.uint64(1)).astype(np.int32)


# The loop of a kernel stands in the file of its generator. It notes what it touches with the functions below, each of
# which returns how many references there are then, and leaves off between two vertices (or edges, or letters).


@inlined
def load(made: Made, k: int, place: Place, index: int) -> int:
    """Note that an element is loaded."""
    made[0][k] = place[0] + index * place[1]
    made[1][k] = place[1]
    made[2][k] = LOAD
    return k + 1


@inlined
def store(made: Made, k: int, place: Place, index: int) -> int:
    """Note that an element is stored."""
    made[0][k] = place[0] + index * place[1]
    made[1][k] = place[1]
    made[2][k] = STORE
    return k + 1


@inlined
def row(made: Made, k: int, place: Place, index: int) -> int:
    """Note that it is looked up where the neighbours of a vertex begin and end."""
    return load(made, load(made, k, place, index), place, index + 1)
