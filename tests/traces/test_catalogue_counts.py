"""Every file of a folder of public traces holds what the catalogue of the folder says: bytes, records, statistics.

The numbers that are wanted stand in ``catalog.json`` there, and none of them here: each file is read, and what comes of
it is counted as the catalogue says it counted. What is not in the records of a trace is counted in the text itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim.traces import stream_trace
from tiersim.traces.compression import ByteFile
from tiersim.traces.fetch import public
from tiersim.traces.keys import key_of
from tiersim.traces.prefix import prefix_hits
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.readers import servegen
from tiersim.traces.schema import FETCH, LOAD, MODIFY, SET, STORE

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
LISTED = json.loads((MIRROR / "catalog.json").read_text(encoding="utf-8")) if MIRROR.is_dir() else []
SECOND = 10**9
NOT_IN_RECORDS = {
    "step_fields",  # names of fields in the JSON
    "usage_last",  # what the search cost at its API
    "columns",  # how many numbers a line has: as many loads alone as lines of two
    "rows_where_len_hash_ids_not_ceil_input_over_512",  # as `blocks_that_do_not_fit`
}


@dataclass
class Found:
    """A file as it was read: its entry of the catalogue, and the columns of all its records."""

    entry: dict[str, Any]
    path: Path
    columns: dict[str, Any]
    records: int
    instructions: int
    kinds: dict[str, int]

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def unique(self, *names: str) -> int:
        """How many different values, or rows of them."""
        if len(names) == 1:
            return len(np.unique(self[names[0]]))
        return len(set(zip(*(self.strings(name) for name in names), strict=True)))

    def strings(self, name: str) -> list[Any]:
        held = self[name]
        return held.strings if isinstance(held, Ragged) else held.tolist()

    @property
    def text(self) -> str:
        with ByteFile(self.path) as file:
            return file.read(1 << 28).decode()


def read(entry: dict[str, Any], **options: Any) -> Found:
    path = MIRROR / entry["file"]
    trace = stream_trace(path, **options)
    chunks = list(trace.chunks())
    columns: dict[str, Any] = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    records = sum(trace.kinds.values())
    assert {len(held) for held in columns.values()} == {trace.records} == {records}
    return Found(entry, path, columns, records, trace.instructions, trace.kinds)


def at_rest(found: Found) -> str:
    """What the catalogue says of the span where records have no time."""
    assert not {"time", "arrival"} & set(found.columns)
    return str(found.entry["span"])


def mooncake(found: Found) -> dict[str, Any]:
    assert (found["blocks"].counts == -(-found["input"].astype(np.int64) // 512)).all()
    return {
        "records": found.records,
        "unique": len(np.unique(found["blocks"].values)),
        "span": f"{found['arrival'].max() / SECOND:.1f} s",
        "block_refs": len(found["blocks"].values),
        "infinite_cache_prefix_hit_rate": round(prefix_hits([found.columns], 512).by_blocks, 4),
        "mean_input": round(float(found["input"].mean()), 1),
        "mean_output": round(float(found["output"].mean()), 1),
        "timestamps_sorted": bool((np.diff(found["arrival"]) >= 0).all()),
    }


def claude(found: Found) -> dict[str, Any]:
    lasts = []  # when the last entry of each session begins; requests of a subagent follow the beginning of theirs
    places = np.flatnonzero(np.diff(found["session"])) + 1
    for line, times in zip(found.text.splitlines(), np.split(found["arrival"], places), strict=True):
        entries = json.loads(line)["requests"]
        lasts.append(max(entry["t"] for entry in entries))
        agents = any(entry["type"] == "subagent" for entry in entries)
        assert times.max() > lasts[-1] * SECOND - 1 if agents else times.max() == round(lasts[-1] * SECOND)
    models = [name for name in found.entry["stats"]["models"] if (found["model"] == key_of(name)).any()]
    subagents = found.text.count('"type":"subagent"')
    return {
        "records": found.unique("session"),
        "unique": len(np.unique(found["blocks"].values)),
        "span": f"sessions up to {max(lasts):.0f} s (median {statistics.median_high(lasts):.0f} s)",
        "requests": found.records,
        "subagents": subagents,
        "block_refs": len(found["blocks"].values),
        "infinite_cache_prefix_hit_rate_within_session": round(prefix_hits([found.columns], 64).by_blocks, 4),
        "input_tokens": int(found["input"].sum(dtype=np.uint64)),
        "output_tokens": int(found["output"].sum(dtype=np.uint64)),
        "models": {name: int((found["model"] == key_of(name)).sum()) for name in models},
        "entry_types": {kind: int((found["category"] == key_of(kind)).sum()) for kind in "ns"}
        | {"subagent": subagents},
    }


def lmcache(found: Found) -> dict[str, Any]:
    return {
        "records": found.records,
        "unique": found.unique("session"),
        "span": f"{found['arrival'].max() / SECOND:.1f} s",
        "input_chars": int(found["input"].sum()),
    }


def lengths(found: Found) -> dict[str, Any]:
    made: dict[str, Any] = {"records": found.records, "unique": found.unique("input", "output")}
    sizes = {name: found[name].astype(np.int64) for name in ("input", "output")}
    if "arrival" not in found.columns:
        return made | {"span": at_rest(found), "mean_prefill": round(float(sizes["input"].mean()), 1)}
    for name, held in sizes.items():
        made |= {f"mean_{name}": round(float(held.mean()), 1), f"max_{name}": int(held.max())}
    made["sorted"] = bool((np.diff(found["arrival"]) >= 0).all())
    return made | {"span": f"{found['arrival'].max() / SECOND:.1f} s"}


def disk(found: Found) -> dict[str, Any]:
    assert set(found.kinds) - {"get", "set"} == {kind for kind, many in found.kinds.items() if not many}
    sets = int((found["op"] == SET).sum())
    return {
        "records": found.records,
        "unique": found.unique("id"),
        "span": f"{found['time'].max() / SECOND:.0f} s",
        "ops": {"2a": sets, "28": found.records - sets},  # SCSI's codes of write and read
        "bytes_requested": int(found["size"].sum()),
    }


def keys(found: Found) -> dict[str, Any]:
    return {"records": found.records, "unique": found.unique("id"), "span": at_rest(found)}


def runs(found: Found) -> dict[str, Any]:
    """Of ARC's lines, each a run of pages."""
    return keys(found) | {"records": len(found.text.split("\n")) - 1, "page_refs": found.records}


def rows(found: Found) -> dict[str, Any]:
    """Of embedding tables."""
    counts = np.sort(np.unique(found["id"], return_counts=True)[1])[::-1]
    made: dict[str, Any] = {"max_index": int(found["id"].max())}
    made["top1pct_share"] = round(float(counts[: len(counts) // 100].sum() / found.records), 4)
    return keys(found) | {name: value for name, value in made.items() if name in found.entry.get("stats", {})}


def accesses(found: Found, line: int, unit: str, names: dict[str, int], pages: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {
        "records": found.records,
        "unique": len(np.unique(found["address"] // line)),
        "span": f"{found.instructions} {unit}" if unit else at_rest(found),
        "ops": {name: int((found["kind"] == kind).sum()) for name, kind in names.items()},
    }
    assert sum(made["ops"].values()) == found.records
    return made | ({"pages_4k": len(np.unique(found["address"] // 4096))} if pages else {})


def dramsys(found: Found) -> dict[str, Any]:
    # a line that is no request, or a cycle that falls, is refused
    return accesses(found, 32, "cycles", {"read": LOAD, "write": STORE}) | {"other_lines": 0, "cycles_monotonic": True}


def ramulator(found: Found) -> dict[str, Any]:
    """A line is a load, and perhaps what it writes back."""
    made = accesses(found, 64, "instructions", {"load": LOAD, "store": STORE}, pages=True)
    ops = made.pop("ops")
    return made | {"records": ops["load"], "writebacks": ops["store"]}


def vllm(found: Found) -> dict[str, Any]:
    chosen = np.bincount(found["experts"].values)
    passes = np.bincount(found["step"])
    return {
        "records": found.records,
        "unique": int(np.count_nonzero(chosen)),
        "span": f"{len(passes)} forward passes",
        "forward_pass_sizes_head": passes[:8].tolist(),
        "top3_share": round(float(np.sort(chosen)[-3:].sum() / chosen.sum()), 4),
    }


def pairs(found: Found) -> dict[str, Any]:
    questions = found.strings("text")
    counted = questions[::2] if "origins" in found.entry["notes"] else questions
    return {"records": len(questions) // 2, "unique": len(set(counted)), "span": at_rest(found)}


def benchmark(found: Found) -> dict[str, Any]:
    first = [group for group, turn in zip(found.strings("category"), found["turn"], strict=True) if turn == 0]
    counted = Counter(first)
    assert str(dict(counted)) in found.entry["notes"]
    return {"records": len(first), "unique": len(counted), "span": at_rest(found)}


def breadth_first(found: Found) -> dict[str, Any]:
    made = found["parent"] >= 0
    steps = {(tree, step) for tree, step in zip(found["tree"][made], found["step"][made], strict=True)}
    return {
        "records": found.unique("tree"),
        "unique": int(made.sum()),
        "span": f"{len(steps)} steps",
        "kept_nodes": int((found["fate"][made] == 0).sum()),
    }


def depth_first(found: Found) -> dict[str, Any]:
    depth: dict[tuple[int, int], int] = {}
    paths: dict[tuple[int, int], tuple[Any, ...]] = {}
    for tree, node, parent, text in zip(*map(found.strings, ("tree", "node", "parent", "text")), strict=True):
        above = (tree, parent)
        depth[tree, node] = depth[above] + 1 if parent >= 0 else 0
        paths[tree, node] = (*paths[above], text) if parent >= 0 else (tree,)
    visited = [path for path in paths.values() if len(path) > 1]
    return {
        "records": len(visited),
        "unique": len(set(visited)),
        "span": f"{found.unique('tree')} puzzles",
        "max_depth": max(depth.values()),
    }


def lats(found: Found) -> dict[str, Any]:
    """Messages are no records: nodes are, the question and one for each message of a new node."""
    stamps = re.findall(r"^(\d{4}-\d\d-\d\d [\d:,]+) - INFO - (NEW NODE)?", found.text, flags=re.MULTILINE)
    assert found.records == 1 + sum(bool(new) for _, new in stamps)
    first, last = (datetime.fromisoformat(stamps[place][0].replace(",", ".")) for place in (0, -1))
    assert 0 < found["time"].max() / SECOND < (last - first).total_seconds()
    return {"records": len(stamps), "unique": found.unique("step"), "span": f"{stamps[0][0]} .. {stamps[-1][0]}"}


def locality(found: Found) -> dict[str, Any]:
    tables = list(dict.fromkeys(found.strings("table")))
    assert found.records == 17 * len(tables)
    lines = 12 + 2 * 17  # of a table: its name, heads and ends of histograms, two of 17 classes, a blank one
    return {"records": lines * len(tables) - 1, "unique": len(tables), "span": at_rest(found)}


def edges(found: Found) -> dict[str, Any]:
    nodes = np.unique(np.concatenate([found["source"], found["target"]]))
    made = {"max_node": int(nodes.max()), "self_loops": int((found["source"] == found["target"]).sum())}
    wanted = {name: value for name, value in made.items() if name in found.entry.get("stats", {})}
    return {"records": found.records, "unique": len(nodes), "span": at_rest(found)} | wanted


def measured(found: Found, operations: int, by: tuple[str, ...]) -> dict[str, Any]:
    """Rows of measured times, each of so many operations."""
    assert len(set(found.strings("operation"))) == operations
    made = {"records": found.records / operations, "unique": found.unique(*by)}
    return made | {"span": at_rest(found)}


def archive(found: Found) -> dict[str, Any]:
    assert (found.unique("layer"), found.unique("sequence")) == (26, 373)
    return {"records": found.records / found.unique("layer")}


def predictions(found: Found) -> dict[str, Any]:
    return {"records": found.records}


GAP = partial(accesses, line=64, unit="instructions", names={"s": STORE, "l": LOAD}, pages=True)
LACKEY = partial(accesses, line=64, unit="", names={"S": STORE, "L": LOAD, "M": MODIFY})
DRAMSIM = partial(accesses, line=64, unit="cycles", names={"IFETCH": FETCH, "WRITE": STORE, "READ": LOAD})
BIG = {"format": "key-binary", "order": "big"}
HOW: dict[str, tuple[dict[str, Any], Callable[[Found], dict[str, Any]]]] = {
    r"mooncake_conversation": ({"format": "mooncake-requests"}, mooncake),
    r"claude_code_sessions": ({}, claude),
    r"lmcache_": ({"characters_per_token": 1}, lmcache),
    r"azure_llm|vidur_arxiv": ({}, lengths),
    r"cloudphysics_io": ({}, disk),
    r"cache2k_orm_busy": ({**BIG, "bits": 32}, keys),
    r"corda_vaultservice": ({**BIG, "bits": 64}, keys),
    r"cloudphysics_w106|cache2k_web07|lirs_": ({}, keys),
    r"arc_": ({}, runs),
    r"dlrm_(table|pinned)": ({}, rows),
    r"spec_": ({}, ramulator),
    r"spec2000_": ({}, GAP),
    r"mediabench_": ({"cycles": True}, dramsys),
    r"dramsim2_": ({"cycles": True}, DRAMSIM),
    r"csapp_long": ({}, LACKEY),
    r"moe_qwen15_": ({}, vllm),
    r"gptcache_": ({}, pairs),
    r"mt_bench": ({}, benchmark),
    r"tot_.*_bfs": ({}, breadth_first),
    r"tot_.*_dfs": ({}, depth_first),
    r"lats_": ({}, lats),
    r"dlrm_datasets": ({}, locality),
    r"musae_|snap_": ({}, edges),
    r"vidur_.*_(send_recv|all_reduce)": ({}, partial(measured, operations=1, by=("size", "workers"))),
    r"vidur_.*_mlp": ({}, partial(measured, operations=10, by=("tokens",))),
    r"splitwise_": (
        {},
        partial(measured, operations=3, by=("model", "hardware", "tokens", "batch")),
    ),
    r"moe_deepseek_v2_lite\.npz": ({"first_layer": 1}, archive),
    r"moe_deepseek_v2_lite_predictions": ({}, predictions),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))


def entry_of(name: str) -> dict[str, Any]:
    for entry in LISTED:
        if entry["file"] == name:
            return dict(entry)
    pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")


def facts(entry: dict[str, Any]) -> dict[str, Any]:
    """What the catalogue counted."""
    held = {name: entry[name] for name in ("records", "unique", "span") if name in entry} | entry.get("stats", {})
    return {name: value for name, value in held.items() if name not in NOT_IN_RECORDS}


FILES = [entry["file"] for entry in LISTED]
READ = [name for name in FILES if not name.startswith("servegen_")] or ["none"]


@pytest.mark.parametrize("name", READ)
def test_records_and_statistics(name: str) -> None:
    entry = entry_of(name)
    (options, count), *more = [how for pattern, how in HOW.items() if re.match(pattern, name)]
    assert not more
    assert count(read(entry, **options)) == facts(entry)


@pytest.mark.parametrize("name", FILES or ["none"])
def test_bytes(name: str) -> None:
    """Packed and not; and that tiersim's own catalogue pins the same content."""
    entry = entry_of(name)
    packed = (MIRROR / name).read_bytes()
    assert (len(packed), hashlib.sha256(packed).hexdigest()) == (entry["bytes"], entry["sha256"])
    size, content = 0, hashlib.sha256()
    with ByteFile(MIRROR / name) as file:
        for piece in iter(partial(file.read, 1 << 20), b""):
            size += len(piece)
            content.update(piece)
    if "raw_bytes" in entry:
        assert (size, content.hexdigest()) == (entry["raw_bytes"], entry["raw_sha256"])
    (pinned,) = [held for held in public().values() if held.packed == name]
    assert (pinned.bytes, pinned.sha256) == (size, content.hexdigest())


@pytest.mark.parametrize("name", ["servegen_deepseek_r1", "servegen_m_small"])
def test_statistics_of_clients(name: str) -> None:
    """Requests are drawn from these files: as many as the catalogue expects, from its clients and windows."""
    clients, dialogues = entry_of(f"{name}_clients.csv.gz"), entry_of(f"{name}_lengths.jsonl.xz")
    with ByteFile(MIRROR / clients["file"]) as file:
        windows = servegen._windows(file, clients["file"])
    busy = [held for each in windows.values() for held in each]
    wanted = facts(clients)
    assert len(busy) == wanted["records"]
    assert len({held.client for held in busy}) == wanted["unique"]
    assert f"{max(windows) - min(windows) + servegen.WINDOW} s" == wanted["span"]
    assert sum(held.rate > 0 for held in busy) == wanted["active_windows"]

    known = servegen._lengths(MIRROR / dialogues["file"])
    assert (len(known), len({time for held in known.values() for time in held})) == (
        dialogues["records"],
        int(dialogues["span"].split()[0]),
    )

    expected = servegen.WINDOW * math.fsum(held.rate for held in busy)
    assert round(expected) == wanted["expected_requests"]

    scale = min(1.0, 1e5 / expected)
    options = {"lengths": dialogues["file"], "rate_scale": scale, "without_lengths": "skip"}
    drawn = read(clients, **options)
    served = {held.client for held in busy if held.rate} & set(known)
    likely = scale * servegen.WINDOW * math.fsum(held.rate for held in busy if held.client in served)
    # a fraction of a request in a window is drawn, with a variance of a quarter at most
    assert abs(drawn.records - likely) <= 3 * math.sqrt(len(busy))
    assert set(drawn.strings("session")) <= served
