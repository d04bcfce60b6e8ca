"""Public logs of tree searches, where a folder of them is at hand: their facts, and each file read another way."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim.traces import stream_trace
from tiersim.traces.ragged import Ragged, joined

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))


def needs(name: str) -> Path:
    path = MIRROR / name
    if not path.exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return path


def columns(name: str, reader: str) -> dict[str, Any]:
    trace = stream_trace(needs(name))
    assert (trace.schema, trace.provenance["reader"]) == ("tree", reader)
    chunks = list(trace.chunks())
    made = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: held.strings if isinstance(held, Ragged) else held.tolist() for name, held in made.items()}


def whole_texts(found: dict[str, Any]) -> list[str]:
    """Of each node its text after those of all before it but the root."""
    texts: list[str] = []
    start = 0
    for place, (parent, own) in enumerate(zip(found["parent"], found["text"], strict=True)):
        if parent < 0:
            start = place
        texts.append("" if parent < 0 else texts[start + parent] + own)
    return texts


@pytest.mark.parametrize(
    ("name", "nodes", "kept", "depth"),
    [("tot_game24_bfs.json.xz", 8_412, 2_000, 4), ("tot_text_bfs.json.xz", 1_000, 200, 2)],
)
def test_breadth_first(name: str, nodes: int, kept: int, depth: int) -> None:
    found = columns(name, "tot-bfs")
    texts = whole_texts(found)
    roots = [place for place, parent in enumerate(found["parent"]) if parent < 0]
    assert len(roots) == 100
    assert len(texts) == nodes + 100
    assert found["fate"].count(0) == kept + 100
    assert np.bincount(found["step"])[0] == 100
    assert max(found["step"]) == depth
    problems = json.loads(lzma.decompress((MIRROR / name).read_bytes()))
    assert [found["tree"][place] for place in roots] == [problem["idx"] for problem in problems]
    assert [found["text"][place] for place in roots] == [problem["steps"][0]["x"] for problem in problems]
    made = iter(
        zip(*(found[name] for name in ("tree", "node", "parent", "step", "reward", "fate")), texts, strict=True)
    )
    for problem, start in zip(problems, roots, strict=True):
        next(made)
        number = 0
        for step in problem["steps"]:
            rows = [next(made) for _ in step["new_ys"]]
            assert [row[6] for row in rows] == step["new_ys"]
            assert [row[4] for row in rows] == step["values"]
            assert sorted(row[6] for row in rows if row[5] == 0) == sorted(step["select_new_ys"])
            worst = min(row[4] for row in rows if row[5] == 0)
            assert all(row[4] <= worst for row in rows if row[5] == 1)
            for tree, node, parent, round_, _, _, text in rows:
                number += 1
                assert (tree, node, round_) == (problem["idx"], number, step["step"] + 1)
                assert texts[start + parent] in step["ys"]
                assert text.startswith(texts[start + parent])
                assert found["fate"][start + parent] == 0
                assert found["step"][start + parent] == step["step"]


def test_depth_first() -> None:
    name = "tot_crosswords_dfs_prune.json.xz"
    found = columns(name, "tot-dfs")
    puzzles = json.loads(lzma.decompress((MIRROR / name).read_bytes()))
    roots = [place for place, parent in enumerate(found["parent"]) if parent < 0]
    assert len(roots) == len(puzzles) == 20
    assert len(found["node"]) - len(roots) == sum(map(len, puzzles)) == 1_856
    assert [found["text"][root] for root in roots] == [""] * 20
    for tree, (start, puzzle) in enumerate(zip(roots, puzzles, strict=True)):
        assert set(found["tree"][start : start + len(puzzle) + 1]) == {tree}
        went_on = {tuple(visit["actions"][:-1]) for visit in puzzle}
        for number, visit in enumerate(puzzle, 1):
            path = []
            node = number
            while node:
                path.append(found["text"][start + node])
                node = found["parent"][start + node]
            assert path[::-1] == visit["actions"]
            assert found["fate"][start + number] == (visit["count"]["impossible"] > 0)
            assert not (found["fate"][start + number] and tuple(visit["actions"]) in went_on)
    assert max(len(visit["actions"]) for puzzle in puzzles for visit in puzzle) == 9


def test_lats() -> None:
    name = "lats_hotpot_dfs.log.gz"
    found = columns(name, "lats-log")
    log = gzip.decompress((MIRROR / name).read_bytes()).decode()
    messages = re.split(r"^\d{4}-\d\d-\d\d [\d:,]+ - INFO - ", log, flags=re.MULTILINE)[1:]
    assert len(messages) == 74
    visits = [int(text.split()[4].rstrip(".")) for text in messages if text.startswith("DFS at")]
    assert visits == [0, 1, 2, 3, 4, 5]
    new = [text for text in messages if text.startswith("NEW NODE")]
    assert len(found["node"]) == len(new) + 1 == 25
    depths = [0]
    for text, parent, own in zip(new, found["parent"][1:], found["text"][1:], strict=True):
        depths.append(depths[parent] + 1)
        assert text.startswith(f"NEW NODE: Node(depth={depths[-1]}, ")
        assert own.startswith(f"\nThought {depths[-1]}: ")
    texts = [found["text"][0] + text for text in whole_texts(found)]
    texts[0] = found["text"][0]
    prompts = [
        text.removeprefix("PROMPT: ").rpartition("Thought ")[0] for text in messages if text.startswith("PROMPT")
    ]
    assert prompts == [texts[node] for node in (0, 1, 6, 11, 16, 20)]
    assert found["step"] == [0] + [step for step, made in enumerate((5, 5, 5, 4, 5), 1) for _ in range(made)]
    assert found["time"][-1] == 30_770 * 10**6  # from 20:13:37,677 to 20:14:08,447
