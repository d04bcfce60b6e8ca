"""Undirected graphs as compressed rows: drawn by rule, or read from a list of edges."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.traces.generators import counter
from tiersim.traces.generators.exact import compiled, drawn, image, real
from tiersim.traces.load import load_trace, located
from tiersim.traces.schema import EDGE

__all__ = ["EdgeList", "Rows", "edges_of", "kronecker"]

FIRST: Final = 16  # the random stream that says which way edges go at the first bit; one for each
QUADRANTS: Final = (0.57, 0.19, 0.19)  # of the Graph 500 benchmark, and the rest
LOW: Final = np.uint64(0xFFFFFFFF)
MOST: Final = (1 << 31) - 1  # vertices: a neighbour is a signed word of 4 bytes

Words: TypeAlias = NDArray[np.uint64]
Rows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32]]  # where a vertex's neighbours begin; the neighbours


def kronecker(scale: int, degree: int, seed: int) -> Rows:
    """An undirected graph as the Graph 500 benchmark draws it: offsets by vertex, and sorted neighbours.

    Each of ``degree * 2**scale`` edges falls into one quadrant of the matrix, of that into one again, and so on, with
    probabilities of 57, 19, 19 and 5 %; then vertices are renamed at random, loops and repeats are left out, and each
    edge stands in both directions. If none is left there is one, from the first vertex to the second. Needs 16 bytes
    for each edge drawn.
    """
    count = 1 << scale
    ends = np.empty((degree << scale, 2), np.int32)
    a, b, c = QUADRANTS
    bits = np.array([counter.key(seed, FIRST + bit) for bit in range(scale)])
    _draw(bits, a, a + b, a + b + c, counter.shuffle_keys(count, seed), ends)
    starts = np.zeros(count + 1, np.int64)
    _count(ends, starts)
    if starts[-1] == 0:
        ends[0], starts[1:] = (0, 1), (1, *[2] * (count - 1))
    once = np.empty(starts[-1], np.int32)
    _deal(ends, starts[:-1].copy(), once)
    del ends  # of a large graph no two of these need be there at once
    sorted_ = np.empty(len(once), np.int32)
    offsets = np.zeros(count + 1, np.int64)
    _turn(starts, once, starts[:-1].copy(), sorted_, offsets)
    return offsets, sorted_[: offsets[-1]]


@compiled
def _draw(bits: Words, left: float, up: float, most: float, keys: Words, ends: NDArray[np.int32]) -> None:
    """The ends of each edge, renamed: a bit of both after the other, by the quadrant."""
    count = 1 << len(bits)
    for at in range(len(ends)):
        row, column = np.uint64(0), np.uint64(0)
        for bit in range(len(bits)):
            share = real(drawn(bits[bit], np.uint64(at)))
            down = share >= up
            right = (left <= share < up) | (share >= most)
            row |= np.uint64(down) << np.uint64(bit)
            column |= np.uint64(right) << np.uint64(bit)
        ends[at, 0] = np.int32(image(row, count, keys))
        ends[at, 1] = np.int32(image(column, count, keys))


@compiled
def _count(ends: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
    """Where the neighbours of each vertex begin, repeats and both directions counted, loops not."""
    for at in range(len(ends)):
        if ends[at, 0] != ends[at, 1]:
            starts[ends[at, 0] + 1] += 1
            starts[ends[at, 1] + 1] += 1
    for u in range(1, len(starts)):
        starts[u] += starts[u - 1]


@compiled
def _deal(ends: NDArray[np.int32], free: NDArray[np.int64], neighbours: NDArray[np.int32]) -> None:
    """The neighbours of each vertex in the order of the edges; ``free`` is where the next goes."""
    for at in range(len(ends)):
        u, v = ends[at, 0], ends[at, 1]
        if u != v:
            neighbours[free[u]] = v
            neighbours[free[v]] = u
            free[u] += 1
            free[v] += 1


@compiled
def _turn(
    starts: NDArray[np.int64],
    neighbours: NDArray[np.int32],
    free: NDArray[np.int64],
    made: NDArray[np.int32],
    offsets: NDArray[np.int64],
) -> None:
    """The same edges seen from their other ends: vertices come in order, so that each finds its neighbours sorted.

    What repeats is left out, and the rows close up.
    """
    for u in range(len(starts) - 1):
        for e in range(starts[u], starts[u + 1]):
            v = neighbours[e]
            if free[v] == starts[v] or made[free[v] - 1] != u:
                made[free[v]] = u
                free[v] += 1
    at = 0
    for u in range(len(starts) - 1):
        for e in range(starts[u], free[u]):
            made[at] = made[e]
            at += 1
        offsets[u + 1] = at


@dataclass(frozen=True)
class EdgeList:
    """A list of edges, as a table has it: of each the ends, any numbers."""

    source: Words
    target: Words

    @cached_property
    def nodes(self) -> Words:
        """The numbers that occur, each once, sorted: the vertex is the place among them."""
        return np.unique(np.concatenate([self.source, self.target]))

    @cached_property
    def rows(self) -> Rows:
        """The graph: each edge in both directions, once, loops left out."""
        other = self.source != self.target
        row, column = (
            np.searchsorted(self.nodes, ends[other]).astype(np.uint64) for ends in (self.source, self.target)
        )
        return _rows(_once(_both_ways(row, column)), len(self.nodes))

    @cached_property
    def about(self) -> dict[str, Any]:
        """Vertices and edges of the graph, what was left out of the list, and the sha256 of the rows."""
        loops, edges = int((self.source == self.target).sum()), len(self.rows[1]) // 2
        return {
            "vertices": len(self.nodes),
            "edges": edges,
            "loops": loops,
            "repeats": len(self.source) - loops - edges,
            "sha256": hashlib.sha256(b"".join(part.tobytes() for part in self.rows)).hexdigest(),
        }


def edges_of(name: str) -> EdgeList:
    """The edges of a file, of a public trace that was fetched, or of our own Parquet with edges.

    Raises TraceError when there is none of that name, it is damaged, lists no edges, or only loops.
    """
    found = located(name, {})
    trace = load_trace(name, format="edge-list") if isinstance(found, Path) else found
    if trace.schema != EDGE.name:
        raise TraceError(
            f"{name} is a trace of {trace.schema} records, and a graph is made of edges", None, "name a list of edges"
        )
    pieces = list(trace.chunks())
    made = EdgeList(*(np.concatenate([piece[end] for piece in pieces]) for end in ("source", "target")))
    if len(made.nodes) > MOST:
        raise TraceError(f"{name} has {len(made.nodes):,} nodes", None, f"a graph has up to {MOST:,} vertices")
    if not len(made.rows[1]):
        raise TraceError(f"{name} lists no edge between two nodes, only loops", None, "name a list with other edges")
    return made


def _both_ways(row: Words, column: Words) -> list[Words]:
    return [row << np.uint64(32) | column, column << np.uint64(32) | row]


def _once(pieces: list[Words]) -> Words:
    """Each pair once, sorted."""
    pairs = np.sort(np.concatenate(pieces))  # np.unique hashes, and takes ten times as long for such numbers
    first: NDArray[np.bool_] = np.diff(pairs, prepend=~pairs[:1]) != 0
    return pairs[first]


def _rows(pairs: Words, count: int) -> Rows:
    offsets = np.searchsorted(pairs, np.arange(count + 1, dtype=np.uint64) << np.uint64(32)).astype(np.int64)
    return offsets, (pairs & LOW).astype(np.int32)
