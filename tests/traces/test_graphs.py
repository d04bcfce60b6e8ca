"""Graphs from lists of edges: as sets say, whatever is listed, and through the kernels that walk them."""

from __future__ import annotations

import gzip
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.registry import index, load
from tiersim.traces import load_trace
from tiersim.traces.foreign import configured
from tiersim.traces.generators.kernels import Graph
from tiersim.traces.graphs import EdgeList, Rows, edges_of

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
GRAPHS = sorted(name for name in index("generator") if issubclass(load("generator", name), Graph))
SMALL = "# Nodes: 5 Edges: 7\n# FromNodeId\tToNodeId\n7\t3\n3\t7\n7\t7\n900\t3\n3\t12\n12\t900\n5\t5\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))


def pairs(rows: Rows) -> list[tuple[int, int]]:
    offsets, neighbours = rows
    ranges = itertools.pairwise(offsets.tolist())
    return [(u, v) for u, (at, end) in enumerate(ranges) for v in neighbours[at:end].tolist()]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 6) | st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=30))
def test_rows_are_the_edges_as_sets(listed: list[tuple[int, int]]) -> None:
    source, target = (np.array(ends, np.uint64) for ends in zip(*listed))
    made = EdgeList(source, target)
    nodes = sorted({node for edge in listed for node in edge})
    edges = {frozenset(edge) for edge in listed if edge[0] != edge[1]}
    number = {node: vertex for vertex, node in enumerate(nodes)}
    wanted = {(number[u], number[v]) for edge in edges for u, v in itertools.permutations(edge)}
    assert made.nodes.tolist() == nodes
    assert pairs(made.rows) == sorted(wanted)
    loops = sum(u == v for u, v in listed)
    about = {"vertices": len(nodes), "edges": len(edges), "loops": loops, "repeats": len(listed) - loops - len(edges)}
    assert {key: held for key, held in made.about.items() if key != "sha256"} == about


def test_by_hand(tmp_path: Path) -> None:
    """3, 5, 7, 12 and 900 become 0 to 4; 7-3 is listed twice; 7 and 5 have loops, so that 5 has no neighbour."""
    (tmp_path / "small.txt").write_text(SMALL)
    made = edges_of(str(tmp_path / "small.txt"))
    assert pairs(made.rows) == [(0, 2), (0, 3), (0, 4), (2, 0), (3, 0), (3, 4), (4, 0), (4, 3)]
    assert [made.about[key] for key in ("vertices", "edges", "loops", "repeats")] == [5, 4, 2, 1]


@pytest.mark.parametrize("name", GRAPHS)
def test_every_kernel_walks_a_file(tmp_path: Path, name: str) -> None:
    """Packed or not and with blanks or commas it is the same graph; one edge more makes another trace."""
    files = {"a.txt": SMALL, "b.csv": "source,target\n3,7\n3,900\n12,3\n900,12\n5,5\n", "c.txt": f"{SMALL}5\t3\n"}
    for file, text in files.items():
        (tmp_path / file).write_text(text.replace("Edges: 7", "Edges: 8") if file == "c.txt" else text)
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(SMALL.encode()))
    made = {
        file: load_trace(f"generated/{name}", references=500, graph=str(tmp_path / file))
        for file in (*files, "d.txt.gz")
    }
    told = {file: trace.provenance["inputs"]["graph"] for file, trace in made.items()}
    assert told["a.txt"] == told["d.txt.gz"]
    assert told["a.txt"]["sha256"] == told["b.csv"]["sha256"] != told["c.txt"]["sha256"]
    address = {file: next(trace.chunks())["address"].tolist() for file, trace in made.items()}
    assert address["a.txt"] == address["b.csv"] == address["d.txt.gz"] != address["c.txt"]


def test_another_content_under_the_same_name_is_another_trace(tmp_path: Path) -> None:
    file = tmp_path / "graph.csv"
    file.write_text("source,target\n1,2\n")
    assert load_trace("generated/bfs", graph="kronecker").fingerprint == load_trace("generated/bfs").fingerprint
    before = load_trace("generated/bfs", graph=str(file)).fingerprint
    assert load_trace("generated/bfs", graph=str(file)).fingerprint == before
    file.write_text("source,target\n1,2\n2,3\n")
    assert load_trace("generated/bfs", graph=str(file)).fingerprint != before


# file, lines, nodes, edges once each, loops, triangles. Lines and nodes are those of the folder's catalogue. SNAP's
# page on as20000102 says 13,895 edges, loops among them, and 6,584 triangles; the other's were also counted with sets.
FACTS = [
    ("musae_facebook_edges.csv.xz", 171_002, 22_470, 170_823, 179, 794_953),
    ("snap_as20graph.txt.gz", 26_467, 6_474, 12_572, 1_323, 6_584),
]


@pytest.mark.parametrize(
    ("name", "lines", "nodes", "edges", "loops", "triangles"), FACTS, ids=[facts[0] for facts in FACTS]
)
def test_public_graphs(name: str, lines: int, nodes: int, edges: int, loops: int, triangles: int) -> None:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this graph")
    made = edges_of(name)
    assert (len(made.source), len(made.nodes)) == (lines, nodes)
    assert made.about["vertices"] == nodes
    assert (made.about["edges"], made.about["loops"]) == (edges, loops)
    assert len(set(pairs(made.rows))) == 2 * edges
    program = configured("generator", "triangle-count", {"graph": name}).program()
    room = tuple(np.empty(program.unit + (1 << 16), dtype) for dtype in (np.int64, np.uint16, np.uint8))
    while program.cursor[1] != 2 * edges:
        program.step(room, 1)
    assert program.cursor[2] == triangles


def test_what_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "loops.csv").write_text("source,target\n1,1\n2,2\n")
    with pytest.raises(TraceError, match="lists no edge between two nodes, only loops"):
        load_trace("generated/bfs", graph=str(tmp_path / "loops.csv"))
    with pytest.raises(TraceError, match="there is no trace"):
        load_trace("generated/bfs", graph=str(tmp_path / "absent.csv"))
    with pytest.raises(TraceError, match="is a trace of object records, and a graph is made of edges"):
        load_trace("generated/bfs", graph="generated/zipf-objects")
    with pytest.raises(StudyError, match="scale and degree are those of a graph that is drawn"):
        load_trace("generated/bfs", graph="any.csv", scale=5)
