"""The fingerprint and the traps of trees: by hand, against paths, and on public traces."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.experiments.doctor.tree import Sharing, TreeInfo
from tiersim.experiments.trace_doctor import check_trace, trace_info
from tiersim.traces import Writer
from tiersim.traces.schema import TREE


def info(path: Path) -> TreeInfo:
    found = trace_info(path)
    assert isinstance(found, TreeInfo)
    return found


#   tree 5: 0 (10 tokens) has 1 (3) and 2 (4); 1 has 3 (5) and 4 (1).   tree 6: 0 (2) alone
COLUMNS: dict[str, Any] = {
    "tree": [5, 5, 6, 5, 5, 5],
    "node": [0, 1, 0, 2, 3, 4],
    "parent": [-1, 0, -1, 0, 1, 1],
    "step": [0, 1, 0, 1, 2, 2],
    "tokens": [10, 3, 2, 4, 5, 1],
}


def test_by_hand(stored: Any) -> None:
    reward = [1.0, 3.0, float("nan"), 2.0, 0.0, 4.0]
    found = info(stored("tree", **COLUMNS, fate=[0, 0, 0, 1, 1, 0], reward=reward))
    assert (found.trees, found.leaves, found.steps) == (2, 4, 3)
    assert (found.nodes.least, found.nodes.most) == (1, 5)
    assert (found.depth.most, found.depth.mean) == (2, 6 / 6)
    assert found.branching is not None
    assert (found.branching.mean, found.branching.most) == (2, 2)
    assert (found.kept, found.kinds) == (2 / 4, {"kept": 4, "pruned": 2})
    assert found.reward is not None
    assert (found.reward.mean, found.reward.least) == (2, 0)
    # paths: 10 3 5, 10 3 1, 10 4 and 2
    assert found.sharing == Sharing("tokens", 25, 18 + 14 + 14 + 2, 1 - 25 / 48)


def test_without_tokens(stored: Any) -> None:
    columns = {name: held for name, held in COLUMNS.items() if name != "tokens"}
    found = info(stored("tree", **columns, text=["aaaa", "b", "\N{EURO SIGN}", "cc", "", "d"]))
    assert found.sharing == Sharing("bytes of text", 11, 5 + 6 + 6 + 3, 1 - 11 / 20)
    assert (found.kept, found.tokens) == (None, None)
    bare = info(stored("tree", "u.parquet", **columns))
    assert bare.sharing == Sharing("nodes", 6, 3 + 3 + 2 + 1, 1 - 6 / 9)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40))
def test_against_paths(made: list[tuple[int, int, int]]) -> None:
    """Each node hangs under one of those of its tree that were made before, or is a root."""
    held: dict[int, list[tuple[int, int]]] = {}  # by tree: parent and tokens of each node
    rows = []
    for tree, pick, tokens in made:
        nodes = held.setdefault(tree, [])
        parent = pick % (len(nodes) + 1) - 1
        rows.append((tree, len(nodes), parent, tokens))
        nodes.append((parent, tokens))
    apart = deepest = 0
    for nodes in held.values():
        inner = {parent for parent, _ in nodes}
        for at in range(len(nodes)):
            path, up = [], at
            while up >= 0:
                path.append(nodes[up][1])
                up = nodes[up][0]
            deepest = max(deepest, len(path) - 1)
            apart += sum(path) * (at not in inner)
    with TemporaryDirectory() as folder:
        path_ = Path(folder) / "t.parquet"
        with Writer(path_, schema=TREE) as out:
            out.append(
                {
                    "tree": np.array([row[0] for row in rows], np.uint64),
                    "node": np.array([row[1] for row in rows], np.uint32),
                    "parent": np.array([row[2] for row in rows], np.int64),
                    "step": np.array([row[1] for row in rows], np.uint32),
                    "tokens": np.array([row[3] for row in rows], np.uint32),
                }
            )
        found = info(path_)
        said = check_trace(path_).warnings
    assert (found.sharing.once, found.sharing.apart) == (sum(row[3] for row in rows), apart)
    assert found.depth.most == deepest
    assert not [text for text in said if "parent that" in text or "already" in text or "before their" in text]


def test_traps(stored: Any, one: Any) -> None:
    path = stored(
        "tree",
        tree=[1, 1, 1, 1, 1, 2, 3, 3],
        node=[0, 1, 1, 3, 2, 0, 0, 1],
        parent=[-1, 0, 0, 2, 0, 9, -1, -1],
        step=[0, 1, 1, 1, 0, 0, 0, 0],
        tokens=[1, 1, 1, 0, 1, 1, 1, 1],
        reward=[1, 1, float("nan"), 1, 1, 1, 1, 1],
    )
    said = check_trace(path).warnings
    assert one(said, "already").startswith("1 of 8 nodes are in their tree already, first record 3:")
    assert one(said, "not in their tree").startswith(
        "1 of 8 nodes have a parent that is not in their tree, first record 6:"
    )
    assert one(said, "before their parent").startswith("1 of 8 nodes come before their parent, first record 4:")
    assert one(said, "no root").startswith("1 of 3 trees have no root")
    assert one(said, "several roots").startswith("1 of 3 trees have several roots")
    assert "1 times within trees, first at record 5" in one(said, "fall back")
    assert one(said, "0 tokens").startswith("1 of 8 nodes have 0 tokens of their own, first record 4:")
    assert one(said, "no reward").startswith("1 of 8 nodes have no reward, first record 3:")
    assert len(said) == 8
    assert check_trace(stored("tree", "u.parquet", **COLUMNS)).warnings == []
    assert info(path).trees == 3  # a tree that is broken has a fingerprint


# public traces

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


@pytest.mark.parametrize(
    ("name", "trees", "nodes", "kept", "depth"),
    [
        ("tot_game24_bfs.json.xz", 100, 8_412, 2_000, 4),
        ("tot_text_bfs.json.xz", 100, 1_000, 200, 2),
        ("tot_crosswords_dfs_prune.json.xz", 20, 1_856, None, 9),
    ],
)
def test_public_trees(name: str, trees: int, nodes: int, kept: int | None, depth: int) -> None:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    found = info(MIRROR / name)
    assert (found.trees, found.records, found.depth.most) == (trees, nodes + trees, depth)  # each has a root besides
    assert kept is None or found.kept == kept / nodes
    assert 0 < found.sharing.saved < 1
    assert check_trace(MIRROR / name).warnings == []
