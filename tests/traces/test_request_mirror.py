"""Public traces of requests to language models: their facts are those of the catalogue beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim.traces import stream_trace
from tiersim.traces.keys import key_of
from tiersim.traces.prefix import prefix_hits
from tiersim.traces.ragged import joined

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


def columns(name: str, **options: Any) -> dict[str, Any]:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    trace = stream_trace(name, **options)
    chunks = list(trace.chunks())
    assert trace.schema == "request"
    made = {column: joined([chunk[column] for chunk in chunks]) for column in chunks[0]}
    assert {len(held) for held in made.values()} == {trace.records}
    return made


def test_mooncake() -> None:
    found = columns("mooncake_conversation.jsonl.gz", format="mooncake-requests")
    assert (len(found["input"]), len(found["blocks"].values)) == (12_031, 288_500)
    assert len(np.unique(found["blocks"].values)) == 182_790
    assert round(float(found["input"].mean()), 1) == 12_035.1
    assert round(float(found["output"].mean()), 1) == 342.6
    assert found["arrival"].max() // 10**9 == 3536
    assert (found["blocks"].counts == -(-found["input"].astype(np.int64) // 512)).all()
    hits = prefix_hits([found], 512)
    assert (round(hits.by_blocks, 4), round(hits.by_tokens, 3)) == (0.3664, 0.374)
    spread = columns("mooncake_conversation.jsonl.gz", format="mooncake-requests", clock="dequantised")
    assert (np.diff(spread["arrival"]) >= 0).all()
    assert len(np.unique(spread["arrival"])) > 3 * len(np.unique(found["arrival"]))


def test_azure() -> None:
    found = columns("azure_llm_2023_conv.csv.gz")
    assert len(found["input"]) == 19_366
    assert len(set(zip(found["input"].tolist(), found["output"].tolist(), strict=True))) == 14_027
    assert (round(float(found["input"].mean()), 1), int(found["input"].max())) == (1154.7, 14_050)
    assert (round(float(found["output"].mean()), 1), int(found["output"].max())) == (211.1, 1000)
    assert (np.diff(found["arrival"]) >= 0).all()
    assert round(float(found["arrival"].max()) / 10**9, 1) == 3501.7


def test_vidur() -> None:
    found = columns("vidur_arxiv_summarization.csv.gz")
    assert set(found) == {"input", "output"}
    assert len(found["input"]) == 28_257
    assert len(set(zip(found["input"].tolist(), found["output"].tolist(), strict=True))) == 27_788
    assert round(float(found["input"].mean()), 1) == 2588.1


def test_claude_sessions() -> None:
    name = "claude_code_sessions_a.jsonl.xz"
    found = columns(name)
    assert (len(found["input"]), len(np.unique(found["session"]))) == (7643, 150)
    assert (len(found["blocks"].values), len(np.unique(found["blocks"].values))) == (17_649_827, 795_993)
    assert (int(found["input"].sum(dtype=np.uint64)), int(found["output"].sum())) == (1_129_831_225, 3_206_215)
    assert {int((found["category"] == key_of(kind)).sum()) for kind in "ns"} == {5618, 2025}
    opus = (found["model"] == key_of("claude-opus-4-5-20251101")).sum()
    assert opus == 4815
    assert (found["blocks"].counts == found["input"] // 64).all()
    assert round(prefix_hits([found], 64).by_blocks, 4) == 0.9549
    ends = np.flatnonzero(np.diff(found["session"].astype(np.float64)))
    back = np.flatnonzero(np.diff(found["arrival"]) < 0)
    assert set(back) <= set(ends)


@pytest.mark.parametrize(
    ("name", "requests", "sessions", "seconds", "characters"),
    [("lmcache_miniswe", 402, 20, 552.1, 9_674_248), ("lmcache_taubench", 471, 24, 180.9, 312_134)],
)
def test_lmcache(name: str, requests: int, sessions: int, seconds: float, characters: int) -> None:
    found = columns(f"{name}.jsonl.xz", characters_per_token=1, chunk=1)
    assert (len(found["input"]), len(np.unique(found["session"]))) == (requests, sessions)
    assert int(found["input"].sum()) == len(found["blocks"].values) == characters
    assert round(int(found["arrival"].max()) / 10**9, 1) == seconds
    assert (np.diff(found["arrival"]) >= 0).all()


def test_servegen() -> None:
    found = columns("servegen_deepseek_r1_clients.csv.gz", lengths="servegen_deepseek_r1_lengths.jsonl.xz")
    assert (len(found["input"]), len(np.unique(found["session"]))) == (1_383_669, 73)
    assert (np.diff(found["arrival"]) >= 0).all()
    assert int(found["arrival"].max()) // 10**9 == 86_399
