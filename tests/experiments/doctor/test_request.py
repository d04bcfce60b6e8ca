"""The fingerprint and the traps of requests to language models: by hand, against brute force, and on public traces."""

from __future__ import annotations

import json
import os
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.experiments.doctor.contract import Spread
from tiersim.experiments.doctor.request import RequestInfo, _measured, several_chains
from tiersim.experiments.trace_doctor import check_trace, trace_info
from tiersim.traces.prefix import block_size, hit_blocks
from tiersim.traces.ragged import Ragged

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
SECOND = 10**9


def info(path: Path, **options: Any) -> RequestInfo:
    found = trace_info(path, **options)
    assert isinstance(found, RequestInfo)
    return found


def test_by_hand(stored: Any) -> None:
    # blocks of 4 tokens; 1 2 hit in the second prompt, 1 in the third and nothing in the fourth: 3 of 8 blocks,
    # and of 10 + 12 + 5 + 2 tokens 8 + 4
    path = stored(
        "request",
        input=[10, 12, 5, 2],
        output=[3, 0, 5, 8],
        arrival=[0, SECOND, 2 * SECOND, 4 * SECOND],
        blocks=[[1, 2, 3], [1, 2, 4], [1, 5], [9]],
        session=[7, 8, 7, 7],
        category=[1, 1, 2, 1],
        status=[0, 1, 0, 0],
    )
    found = info(path)
    assert (found.records, found.kinds) == (4, {"served": 3, "failed": 1})
    assert (found.input.mean, found.input.least, found.input.most) == (29 / 4, 2, 12)
    assert (found.input_tokens, found.output_tokens, found.models, found.categories) == (29, 16, None, 2)
    assert found.span_ns == 4 * SECOND
    assert found.arrivals is not None
    assert found.arrivals.rate == 1
    # gaps of 1, 1 and 2 s: mean 4/3, deviation sqrt(2)/3
    assert found.arrivals.gap_variation == pytest.approx(2**0.5 / 4)
    assert found.sessions is not None
    assert (found.sessions.sessions, found.sessions.turns.mean, found.sessions.turns.most) == (2, 2, 3)
    assert found.sessions.between_ns is not None
    assert (found.sessions.between_ns.least, found.sessions.between_ns.most) == (2 * SECOND, 2 * SECOND)
    held = found.blocks
    assert held is not None
    assert (held.block_tokens, held.rounding, held.misfits) == (4, "up", 0)
    assert (held.prefix_by_blocks, held.prefix_by_tokens) == (3 / 9, 12 / 29)
    # the second failed; the third hits one whole block
    assert (held.server_by_blocks, held.server_by_tokens) == (1 / 6, 4 / 17)
    assert (held.requests, held.objects, held.unit) == (9, 6, "blocks")
    assert held.reuse["share"] == 3 / 9
    # 1 is found again after 1 2 3, 2 after 2 3 1, 1 after 1 2 4
    assert set(held.reuse["quantiles"].values()) == {3}


def test_without_times_and_blocks(stored: Any) -> None:
    found = info(stored("request", input=[3, 1], output=[1, 1]))
    assert (found.span_ns, found.arrivals, found.sessions, found.blocks) == (None, None, None, None)
    assert len(found.panels) == 1
    empty = info(stored("request", "e.parquet", input=[3, 1], output=[1, 1], blocks=[[], []], arrival=[5, 5]))
    assert (empty.blocks, empty.span_ns) == (None, 0)
    assert empty.arrivals is not None
    assert empty.arrivals.rate is None


@given(st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=25), st.integers(1, 30))
def test_prefixes_against_a_set_of_whole_ones(prompts: list[list[int]], cut: int) -> None:
    paths: dict[tuple[int, ...], int] = {}
    blocks = [[paths.setdefault(tuple(text[: end + 1]), len(paths)) for end in range(len(text))] for text in prompts]
    kept: set[tuple[int, ...]] = {()}
    longest = []
    for text in prompts:
        longest.append(max(end for end in range(len(text) + 1) if tuple(text[:end]) in kept))
        kept |= {tuple(text[:end]) for end in range(1, len(text) + 1)}
    seen: set[int] = set()
    pieces = [hit_blocks(Ragged.of(blocks[at : at + cut]), seen).tolist() for at in range(0, len(blocks), cut)]
    assert list(chain(*pieces)) == longest
    assert len(seen) == len(paths)
    # every block stands for its whole path, so that none has two that come before it
    ids = np.array([block for held in blocks for block in held], np.int32)
    assert several_chains(ids, np.array([len(held) for held in blocks]), len(paths)) == 0


@given(st.integers(1, 700), st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.sampled_from(["up", "down"]))
def test_block_sizes_are_found(size: int, lengths: list[int], way: str) -> None:
    counts = [-(-length // size) if way == "up" else length // size for length in lengths]
    found = block_size(np.array(lengths), np.array(counts))
    if not any(counts):
        assert found is None
        return
    assert found is not None
    assert len(found.misfits) == 0  # though several sizes may fit, and prompts of whole blocks do not tell the rounding
    up, down = ({-(-length // found.tokens) for length in lengths}, {length // found.tokens for length in lengths})
    assert set(counts) == (up if found.rounding == "up" else down)


def test_sizes_that_records_do_not_fit(stored: Any, one: Any) -> None:
    # 100 prompts in blocks of 16, of which the third has one too few and the fifth two too many
    lengths = list(range(400, 500))
    counts = [-(-length // 16) for length in lengths]
    counts[2], counts[4] = counts[2] - 1, counts[4] + 2
    blocks = [[1000 * at + place for place in range(count)] for at, count in enumerate(counts)]
    said = check_trace(stored("request", input=lengths, output=[1] * 100, blocks=blocks)).warnings
    assert one(said, "another number of blocks").startswith(
        "2 of 100 prompts have another number of blocks than their length over 16 tokens, rounded up: "
        "record 3 (402 tokens, 25 blocks), record 5 (404 tokens, 28 blocks); leave them out"
    )
    assert one(said, "not one block is in two prompts")
    found = info(stored("request", "u.parquet", input=lengths, output=[1] * 100, blocks=blocks)).blocks
    assert found is not None
    assert (found.block_tokens, found.rounding, found.misfits) == (16, "up", 2)


def test_sizes_that_mean_nothing(stored: Any, one: Any) -> None:
    blocks = [[7], [7, 8], [7, 8, 9], [7, 8, 9, 10]]
    path = stored("request", input=[900, 70, 5, 2], output=[1] * 4, blocks=blocks)
    assert "lengths of half of the prompts" in one(check_trace(path).warnings, "no size")
    found = info(path).blocks
    assert found is not None
    assert (found.block_tokens, found.prefix_by_tokens, found.prefix_by_blocks) == (None, None, 6 / 10)
    assert (found.server_by_blocks, found.server_by_tokens) == (None, None)


def test_measured_times(stored: Any) -> None:
    path = stored(
        "request",
        input=[8, 8, 0, 8],
        output=[3, 1, 1, 0],
        status=[0, 0, 1, 0],
        end=[90, 40, 700, 50],
        pieces=[[20, 50, 60], [30], [600, 650], []],
    )
    found = info(path).measured
    assert found is not None
    assert found.first is not None
    assert found.between is not None
    assert (found.end.mean, found.end.most) == (60, 90)
    assert (found.first.mean, found.first.least, found.first.most) == (25, 20, 30)
    assert (found.between.mean, found.between.least, found.between.most) == (20, 10, 30)
    assert [name for name, _ in found.rows()] == ["time to the first piece", "time between pieces", "time to the end"]
    whole = info(stored("request", "whole.parquet", input=[8], output=[1], end=[5])).measured
    assert whole is not None
    assert (whole.first, whole.between, whole.end.least) == (None, None, 5)
    assert info(stored("request", "failed.parquet", input=[8], output=[1], end=[5], status=[1])).measured is None


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 99), max_size=4)), min_size=1, max_size=6))
def test_measured_times_against_brute_force(drawn: list[tuple[bool, list[int]]]) -> None:
    times = [sorted(pieces) for _, pieces in drawn]
    status = np.array([failed for failed, _ in drawn], np.uint8)
    held = {"input": status.astype(np.uint32), "status": status, "end": np.ones(len(drawn), np.int64)}
    found = _measured({**held, "pieces": Ragged.of(times, "int64")})
    served = [pieces for pieces, failed in zip(times, status, strict=True) if not failed]
    if found is None:
        assert not served
        return
    first = [pieces[0] for pieces in served if pieces]
    between = [later - sooner for pieces in served for sooner, later in pairwise(pieces)]
    assert found.first == Spread.if_any(np.array(first, np.int64))
    assert found.between == Spread.if_any(np.array(between, np.int64))


def test_blocks_that_stand_for_themselves(stored: Any, one: Any) -> None:
    # 2 comes after 1 and after 3, and 1 first and after 2
    path = stored("request", input=[8, 8, 8], output=[1] * 3, blocks=[[1, 2], [3, 2], [2, 1]])
    assert one(check_trace(path).warnings, "come after different blocks").startswith("2 of 3 blocks")
    path = stored("request", "u.parquet", input=[8, 8], output=[1] * 2, blocks=[[1, 2], [1, 3]])
    assert check_trace(path).warnings == []


def test_several_files(stored: Any, one: Any) -> None:
    path = stored("request", input=[8] * 4, output=[1] * 4, arrival=[0, 9, 0, 9], blocks=[[0, 1], [0, 2]] * 2)
    assert "numbers of blocks are small" in one(check_trace(path).warnings, "several files")


def test_lengths_of_nothing(stored: Any, one: Any) -> None:
    path = stored("request", input=[8, 0, 8, 8, 0], output=[1, 1, 0, 0, 1], status=[0, 0, 1, 0, 1])
    said = check_trace(path).warnings
    assert one(said, "a prompt of 0 tokens").startswith("1 of 5 requests have a prompt of 0 tokens, first record 2:")
    assert one(said, "an answer of 0 tokens").startswith("1 of 5 requests have an answer of 0 tokens, first record 4:")


def test_sessions_that_fall_back(stored: Any, one: Any) -> None:
    path = stored("request", input=[8] * 4, output=[1] * 4, arrival=[5, 1, 3, 2], session=[1, 2, 1, 2])
    assert "1 times, first at record 3" in one(check_trace(path).warnings, "within sessions")
    path = stored("request", "u.parquet", input=[8] * 3, output=[1] * 3, session=[1, 2, 3])
    assert one(check_trace(path).warnings, "a session of its own")


def line(time: int, tokens: int = 512) -> str:
    return json.dumps({"timestamp": time, "input_length": tokens, "output_length": 1, "hash_ids": [1]}) + "\n"


def test_a_coarse_clock_names_what_spreads_it(tmp_path: Path, one: Any) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(line(3000 * (at // 4)) for at in range(16)))
    said = check_trace(path, format="mooncake-requests").warnings
    assert one(said, "coarse").endswith("has no times of its own: --option clock=dequantised spreads it evenly")
    assert check_trace(path, format="mooncake-requests", clock="dequantised").warnings == []


def test_a_clock_that_falls_back_names_what_puts_sessions_in_turn(one: Any) -> None:
    path = needs("claude_code_sessions_a.jsonl.xz")
    said = one(check_trace(path, format="claude-sessions").warnings, "time goes back")
    assert said.startswith("time goes back 149 times, first at record 42, ")
    assert said.endswith("or read them with --option sessions=in-turn")


# public traces


def needs(name: str) -> Path:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return MIRROR / name


def test_mooncake() -> None:
    found = info(needs("mooncake_conversation.jsonl.gz"), format="mooncake-requests")
    assert found.records == 12_031
    assert (round(found.input.mean, 1), round(found.output.mean, 1)) == (12_035.1, 342.6)
    held = found.blocks
    assert held is not None
    assert (held.requests, held.objects) == (288_500, 182_790)
    assert (held.block_tokens, held.rounding, held.misfits) == (512, "up", 0)
    assert held.prefix_by_tokens is not None
    assert (round(held.prefix_by_blocks, 4), round(held.prefix_by_tokens, 3)) == (0.3664, 0.374)
    # every block stands for all before it, so that one asked for again is always found with its prefix
    assert held.reuse["share"] == held.prefix_by_blocks
    said = check_trace(needs("mooncake_conversation.jsonl.gz"), format="mooncake-requests")
    (coarse,) = said.warnings
    assert "1,180 different times in 12,031 records" in coarse


def test_claude_sessions() -> None:
    found = info(needs("claude_code_sessions_a.jsonl.xz"), format="claude-sessions")
    assert (found.records, found.input_tokens, found.output_tokens) == (7643, 1_129_831_225, 3_206_215)
    assert (found.models, found.categories) == (3, 2)
    assert found.sessions is not None
    assert found.sessions.sessions == 150
    held = found.blocks
    assert held is not None
    assert (held.requests, held.objects, round(held.prefix_by_blocks, 4)) == (17_649_827, 795_993, 0.9549)
    assert (held.block_tokens, held.rounding, held.misfits) == (64, "down", 0)


@pytest.mark.parametrize(
    ("name", "requests", "sessions", "seconds"), [("miniswe", 402, 20, 552.1), ("taubench", 471, 24, 180.9)]
)
def test_lmcache(name: str, requests: int, sessions: int, seconds: float) -> None:
    found = info(needs(f"lmcache_{name}.jsonl.xz"), format="lmcache-prompts")
    assert found.span_ns is not None
    assert (found.records, round(found.span_ns / SECOND, 1)) == (requests, seconds)
    assert found.sessions is not None
    assert found.sessions.sessions == sessions
    assert found.blocks is not None
    assert (found.blocks.block_tokens, found.blocks.rounding) == (64, "down")  # 256 characters, 4 a token


def test_azure_and_vidur() -> None:
    found = info(needs("azure_llm_2023_conv.csv.gz"), format="azure-llm")
    assert (found.records, found.input.most, found.output.most) == (19_366, 14_050, 1000)
    assert (round(found.input.mean, 1), round(found.output.mean, 1)) == (1154.7, 211.1)
    assert found.arrivals is not None
    assert found.arrivals.rate == pytest.approx(19_366 / 3501.7, rel=1e-4)
    assert check_trace(needs("azure_llm_2023_conv.csv.gz"), format="azure-llm").warnings == []
    found = info(needs("vidur_arxiv_summarization.csv.gz"), format="vidur-lengths")
    assert (found.records, round(found.input.mean, 1), found.arrivals) == (28_257, 2588.1, None)
