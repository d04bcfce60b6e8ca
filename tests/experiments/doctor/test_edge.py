"""The fingerprint and the traps of graphs: by hand, against counters, and on public graphs."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.experiments.doctor.edge import EdgeInfo
from tiersim.experiments.trace_doctor import check_trace, trace_info
from tiersim.traces import Writer
from tiersim.traces.schema import EDGE


def info(path: Path, **options: Any) -> EdgeInfo:
    found = trace_info(path, **options)
    assert isinstance(found, EdgeInfo)
    return found


def test_by_hand(stored: Any, one: Any) -> None:
    # 0-1 both ways, 1 to itself, 1 to 7 twice
    path = stored("edge", source=[0, 1, 1, 1, 1], target=[1, 0, 1, 7, 7], weight=[1, 2, 0, 4, -5])
    found = info(path)
    assert (found.nodes, found.edges, found.most_node, found.self_loops, found.duplicates) == (3, 5, 7, 1, 1)
    assert found.both_ways == 2 / 4
    assert (found.out_degree.most, found.in_degree.most, found.degree.most) == (4, 2, 6)
    assert (found.degree.least, found.degree.mean, found.top_share) == (2, 10 / 3, 6 / 10)
    assert found.weight is not None
    assert found.weight.least == -5
    (curve,) = found.panels[0].curves
    assert (curve.x.tolist(), curve.y.tolist()) == ([2, 6], [3, 1])  # 0 and 7 have 2 ends, 1 has 6
    said = check_trace(path).warnings
    assert one(said, "to itself").startswith("1 of 5 edges lead from a node to itself, first record 3:")
    assert one(said, "there already").startswith("1 of 5 edges are there already, first record 5:")
    assert one(said, "weight of 0").startswith("2 of 5 edges have a weight of 0 or less, first record 3:")
    assert len(said) == 3


def test_traps(stored: Any, one: Any) -> None:
    path = stored("edge", source=[0, 1, 1, 100], target=[1, 0, 100, 1], weight=[1] * 4)
    said = check_trace(path).warnings
    assert one(said, "both ways")
    assert one(said, "reach out").startswith("numbers of nodes reach out to 100, and there are 3 nodes:")
    assert one(said, "the column weight says nothing")
    assert len(said) == 3


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60))
def test_against_counters(edges: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as folder:
        with Writer(Path(folder) / "t.parquet", schema=EDGE) as out:
            out.append(
                {
                    name: np.array([edge[at] for edge in edges], np.uint64)
                    for at, name in enumerate(("source", "target"))
                }
            )
        found = info(Path(folder) / "t.parquet")
    ends = Counter(node for edge in edges for node in edge)
    between = [edge for edge in edges if edge[0] != edge[1]]
    assert (found.nodes, found.most_node) == (len(ends), max(ends))
    assert (found.degree.least, found.degree.most) == (min(ends.values()), max(ends.values()))
    assert found.duplicates == len(edges) - len(set(edges))
    assert found.self_loops == len(edges) - len(between)
    there = sum((target, source) in set(edges) for source, target in between)
    assert found.both_ways == (there / len(between) if between else 0)


# public traces

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


def needs(name: str) -> Path:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return MIRROR / name


def test_public_graphs() -> None:
    found = info(needs("musae_facebook_edges.csv.xz"))
    assert (found.edges, found.nodes, found.most_node, found.self_loops) == (171_002, 22_470, 22_469, 179)
    found = info(needs("snap_as20graph.txt.gz"))
    assert (found.edges, found.nodes, found.both_ways, found.duplicates) == (26_467, 6_474, 1, 0)
    assert any("both ways" in text for text in check_trace(needs("snap_as20graph.txt.gz")).warnings)
