"""Caches of experts on public prompts, where a folder of them is at hand: the plain rule, the order of policies."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles.expert_caches import run_hits
from tiersim._base.registry import build
from tiersim.models.expert_tokens import expert_tokens
from tiersim.sim.expert_stack import expert_hits
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.traces import stream_trace

FILE = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent") / "moe_deepseek_v2_lite.npz"


@pytest.fixture(scope="module")
def prompts() -> ExpertTokens:
    if not FILE.exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return expert_tokens(stream_trace(FILE, first_layer=1).chunks(), least=102, cut=256)


def test_the_prompts_are_those_of_the_claims(prompts: ExpertTokens) -> None:
    assert (prompts.sequences, prompts.tokens, prompts.objects, prompts.active) == (116, 20_434, 1_664, 156)


@pytest.mark.parametrize("by_layer", [False, True])
@pytest.mark.parametrize("name", ["lru", "lfu", "lfu-aged", "least-stale", "random", "sch", "belady"])
def test_one_layer_of_a_prompt_equals_the_plain_cache(prompts: ExpertTokens, name: str, by_layer: bool) -> None:
    """The first 16 tokens of two layers: the plain cache goes through past and future for each decision."""
    ends = prompts.starts[:17]
    picks = [[x for x in prompts.ids[a:b].tolist() if x < 128] for a, b in pairwise(ends)]
    starts = np.cumsum([0, *map(len, picks)])
    ids = np.array([x for token in picks for x in token], np.int32)
    tokens = ExpertTokens(ids, starts, np.array([0, 16]), np.zeros(1, np.int64), np.arange(1, 3), 64)
    found = expert_hits(build("expert-replacement", name), tokens, by_layer=by_layer)
    seed = int(np.random.SeedSequence(0).generate_state(1, np.uint32)[0])
    for size in (1, 6, 12, 18, 40):
        hits = run_hits(picks, size, name, experts=64, objects=128, by_layer=by_layer, seed=seed)
        assert found.hits(size).tolist() == [sum(hits)]


def test_nobody_hits_more_than_belady_at_any_size(prompts: ExpertTokens) -> None:
    best = expert_hits(build("expert-replacement", "belady"), prompts).of_all_sizes()
    for policy in ("lru", "lfu", {"use": "sch", "ahead": 4}, "sch", {"use": "sch", "ahead": 64}):
        hits = expert_hits(build("expert-replacement", policy), prompts).of_all_sizes()
        assert (hits <= best).all(), policy
        assert (np.diff(hits) >= 0).all()
        assert hits[-1] == len(prompts.ids)
        assert hits[311] < best[311]


def test_the_gain_of_more_room_is_sure_to_be_in_its_range(prompts: ExpertTokens) -> None:
    """M16, with a jackknife over prompts: the interval on the page lies within what the claim allows."""
    found = expert_hits(build("expert-replacement", "sch"), prompts)
    hits = np.array([found.hits(156 * rho) for rho in (1, 2, 3)], float)
    uses = np.diff(prompts.starts[prompts.ends])

    def gain(hits: Any, uses: Any) -> Any:
        one, two, three = hits / uses
        return (three - two) / (two - one)

    value = gain(hits.sum(1), uses.sum())
    without = gain(hits.sum(1, keepdims=True) - hits, uses.sum() - uses)
    many = len(uses)
    error = 1.98 * np.sqrt((many - 1) / many * ((without - without.mean()) ** 2).sum())  # Student's, 115 degrees
    assert (round(value, 3), round(error, 3)) == (0.674, 0.009)
    assert 0.55 < value - error < value + error < 0.80
