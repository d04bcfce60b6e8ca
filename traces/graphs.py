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
from tiersim.traces.load import load_trace, located
from tiersim.traces.schema import EDGE

__all__ = ["EdgeList", "Rows", "edges_of", "kronecker"]

PIECE: Final = 1 << 16  # edges drawn at a time: what is computed on the way stays in the processor's cache
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
    edge stands in both directions. If none is left there is one, from the first vertex to the second.
    """
    count = 1 << scale
    kept: list[Words] = []
    a, b, c = QUADRANTS
    for at in range(0, degree << scale, PIECE):
        index = np.arange(at, min(at + PIECE, degree << scale), dtype=np.uint64)
        row, column = np.zeros(len(index), np.uint64), np.zeros(len(index), np.uint64)
        for bit in range(scale):
            share = counter.share(counter.draw(seed, FIRST + bit, index))
            down = share >= a + b
            right = ((share >= a) & ~down) | (share >= a + b + c)
            row |= down.astype(np.uint64) << np.uint64(bit)
            column |= right.astype(np.uint64) << np.uint64(bit)
        row, column = counter.shuffled(row, count, seed), counter.shuffled(column, count, seed)
        other = row != column
        kept += _both_ways(row[other], column[other])
    pairs = _once(kept)
    return _rows(pairs if len(pairs) else np.array([1, 1 << 32], np.uint64), count)


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
