"""Graphs as lists of edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import Curve, Info, Panel, Spread, percent, spotted, whole
from tiersim.experiments.doctor.tally import SMALL, Tally
from tiersim.traces.schema import Chunk

__all__ = ["EdgeInfo", "fingerprint", "traps"]


@dataclass(kw_only=True)
class EdgeInfo(Info):
    """The fingerprint of a graph.

    ``duplicates`` are edges that were there before, from the same node to the same; ``both_ways`` is the share of the
    edges between two nodes whose reverse is there too. A degree is the number of ends of edges at a node, so that a
    self loop counts twice.
    """

    nodes: int
    edges: int
    most_node: int
    self_loops: int
    duplicates: int
    both_ways: float
    out_degree: Spread
    in_degree: Spread
    degree: Spread
    top_share: float
    weight: Spread | None

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        return [
            ("nodes", f"{self.nodes:,}; the greatest number is {self.most_node:,}"),
            ("edges", f"{self.edges:,}, {self.self_loops:,} self loops and {self.duplicates:,} duplicates among them"),
            ("edges that go both ways", percent(self.both_ways)),
            ("degree", self.degree.told()),
            ("edges out of a node", self.out_degree.told()),
            ("edges into a node", self.in_degree.told()),
            ("ends of edges at the 1 % of highest degree", percent(self.top_share)),
            *([] if self.weight is None else [("weight", self.weight.told())]),
        ]


class _Graph:
    """The edges with nodes numbered from 0 in order of their numbers."""

    def __init__(self, held: Chunk) -> None:
        names, ends = np.unique(np.concatenate([held["source"], held["target"]]), return_inverse=True)
        self.nodes, self.most = len(names), int(names[-1])
        self.source, self.target = ends[: len(ends) // 2].astype(np.int64), ends[len(ends) // 2 :].astype(np.int64)
        self.loop = self.source == self.target
        self.edge = self.source * self.nodes + self.target
        self.distinct, self.first = np.unique(self.edge, return_index=True)

    @property
    def duplicates(self) -> int:
        return len(self.edge) - len(self.distinct)

    @property
    def both_ways(self) -> float:
        """The share of edges between two nodes whose reverse is there."""
        between = ~self.loop
        back = (self.target * self.nodes + self.source)[between]
        place = np.minimum(np.searchsorted(self.distinct, back), len(self.distinct) - 1)
        return float((self.distinct[place] == back).mean()) if between.any() else 0.0


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> EdgeInfo:
    """Nodes, edges, and the distribution of degrees."""
    held = whole(chunks)
    graph = _Graph(held)
    outward, inward = (np.bincount(ends, minlength=graph.nodes) for ends in (graph.source, graph.target))
    degree = outward + inward
    ordered = np.sort(degree)[::-1]
    return EdgeInfo(
        **tally.about(),
        nodes=graph.nodes,
        edges=len(graph.edge),
        most_node=graph.most,
        self_loops=int(graph.loop.sum()),
        duplicates=graph.duplicates,
        both_ways=graph.both_ways,
        out_degree=Spread.of(outward),
        in_degree=Spread.of(inward),
        degree=Spread.of(degree),
        top_share=float(ordered[: -(-graph.nodes // 100)].sum() / ordered.sum()),
        weight=Spread.of(held["weight"]) if "weight" in held else None,
        panels=[
            Panel("degree", "nodes of it or a higher one", (_tail(degree),), x_log=True, y_log=True),
        ],
    )


def _tail(degree: NDArray[np.int64]) -> Curve:
    values, counts = np.unique(degree, return_counts=True)
    return Curve(values, np.cumsum(counts[::-1])[::-1], points=True)


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Self loops, duplicates, graphs written twice, numbers of nodes that reach out, odd weights."""
    held = whole(chunks)
    graph = _Graph(held)
    yield from spotted(
        graph.loop,
        "edges lead from a node to itself",
        "counts of triangles and degrees differ with them; leave them out where the algorithm does not want them",
    )
    again = np.ones(len(graph.edge), bool)
    again[graph.first] = False
    yield from spotted(
        again, "edges are there already", "leave them out unless the graph has several edges between two nodes"
    )
    if graph.both_ways == 1:
        yield (
            "every edge is there both ways: the graph is undirected and each of its edges is counted twice; what adds "
            "the reverse of each edge must not add it again"
        )
    if graph.most >= SMALL * graph.nodes:
        yield (
            f"numbers of nodes reach out to {graph.most:,}, and there are {graph.nodes:,} nodes: a table by number "
            "would be mostly empty; number the nodes anew"
        )
    if "weight" in held:
        yield from spotted(
            held["weight"] <= 0,
            "edges have a weight of 0 or less",
            "shortest paths by Dijkstra's algorithm need weights above 0",
        )
