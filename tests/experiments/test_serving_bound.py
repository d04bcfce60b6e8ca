"""The prefix hits of a server with endless memory are, one by one, those that the doctor tells of a trace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tiersim.experiments.doctor.request import RequestInfo
from tiersim.experiments.trace_doctor import trace_info
from tiersim.models.prompts import prompts_of
from tiersim.traces import Writer, load_trace
from tiersim.traces.prefix import hit_blocks
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import REQUEST

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
CONVERSATIONS: dict[str, Any] = {"use": "generated/conversations", "requests": 3000, "turns": 6, "rate": "20 /s"}


def needs(name: str) -> str:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return name


def served(trace: dict[str, Any], prefix_cache: dict[str, Any]) -> tiersim.experiments.results.Row:
    """All requests one after the other: each takes less than the 10 ms until the next one comes."""
    instance = {
        "time_model": {"use": "linear", "prefill": "1 ns/token"},
        "memory": {"capacity": "500M tokens"},
        "prefix_cache": prefix_cache,
        "scheduler": {"budget": 8_000_000},
    }
    study = {
        "study": "endless",
        "scenario": "serving",
        "trace": trace,
        "load": {"rate": "100 /s", "arrivals": "even"},
        "system": {"instance": instance},
    }
    (row,) = tiersim.run(study, keep=False).rows
    assert not row.error
    table = row.table("requests")
    ends = np.add(table["arrival"], table["e2e"])
    assert (np.array(table["arrival"][1:]) > ends[:-1]).all()
    return row


def check(trace: dict[str, Any], **prefix_cache: Any) -> dict[str, float]:
    """The figures of a server, which are those of the doctor to the last bit."""
    options = {name: held for name, held in trace.items() if name != "use"}
    doctor = trace_info(trace["use"], **options)
    assert isinstance(doctor, RequestInfo)
    told = doctor.blocks
    assert told is not None
    row = served(trace, prefix_cache)
    metrics = row.metrics
    assert metrics["prefix_hit_ratio.tokens"] == told.server_by_tokens == metrics["prefix_hit_ratio.bound"]
    assert metrics["prefix_hit_ratio.blocks"] == told.server_by_blocks
    if not doctor.kinds.get("failed"):
        assert metrics["prefix_hit_ratio.shared"] == told.prefix_by_tokens
    # what a cache without end would have besides is the last token of each prompt, and blocks that are not whole
    table = row.table("requests")
    assert table["hit"] == table["bound"]
    prompts = prompts_of(load_trace(trace["use"], **options).chunks())
    assert told.block_tokens == prompts.block
    found = hit_blocks(prompts.blocks, set())  # type: ignore[arg-type]
    assert table["hit"] == (np.minimum(found, (prompts.input - 1) // prompts.block) * prompts.block).tolist()
    return dict(metrics)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("cache", [{}, {"capacity": "400M tokens"}])
def test_conversations(seed: int, cache: dict[str, Any]) -> None:
    metrics = check({**CONVERSATIONS, "seed": seed}, **cache)
    assert 0.6 < metrics["prefix_hit_ratio.tokens"] <= metrics["prefix_hit_ratio.shared"]


def test_prompts_that_come_again_whole(tmp_path: Path) -> None:
    """Where prompts are whole blocks the last one of those that come again is never hit; and some have failed."""
    rng = np.random.default_rng(4)
    sizes, paths = (rng.integers(low, high, 400) for low, high in ((1, 9), (0, 6)))
    blocks = []
    for size, path in zip((256 * sizes).tolist(), paths.tolist(), strict=True):
        ids = [100 * path + place for place in range(size // 512)]
        blocks.append(ids + [10_000 * (path + 1) + size] * (size % 512 > 0))  # a partial one is no other's beginning
    with Writer(tmp_path / "again.parquet", schema=REQUEST) as out:
        counts = {"input": (256 * sizes).astype(np.uint32), "output": np.ones(400, np.uint32)}
        failed = (rng.random(400) < 0.3).astype(np.uint8)
        out.append({**counts, "arrival": np.arange(400), "blocks": Ragged.of(blocks), "status": failed})
    metrics = check({"use": str(tmp_path / "again.parquet")})
    assert metrics["requests"] == 400 - failed.sum()
    assert 0.5 < metrics["prefix_hit_ratio.tokens"] < metrics["prefix_hit_ratio.shared"] - 0.1


def test_mooncake() -> None:
    needs("mooncake_conversation.jsonl.gz")
    metrics = check({"use": "public/mooncake-conversation", "format": "mooncake-requests"})
    assert round(metrics["prefix_hit_ratio.shared"], 3) == 0.374


@pytest.mark.parametrize("name", ["miniswe", "taubench"])
def test_agents(name: str) -> None:
    needs(f"lmcache_{name}.jsonl.xz")
    check({"use": f"public/lmcache-{name}"})


def test_claude_sessions() -> None:
    needs("claude_code_sessions_a.jsonl.xz")
    metrics = check({"use": "public/claude-code-sessions-a"})
    assert metrics["prefix_hit_ratio.tokens"] > 0.9
