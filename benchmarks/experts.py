"""Speed of caches of experts, and of systems that offload experts, against plain loops: part of `make bench`.

All replay the public prompts of DeepSeek-V2-Lite (26 layers of 64 experts, six a token) on CPU time, one thread; the
plain loops, the rule of a cache as its paper has it and the oracle of offloading, only some of them. The median of the
rounds counts.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.models.expert_queued import offload_queued
from tiersim.models.expert_tokens import expert_tokens
from tiersim.models.expert_trace import routed_of
from tiersim.sim.expert_offload import offload
from tiersim.sim.expert_rows import Costs, Rows
from tiersim.sim.expert_segments import count_segments
from tiersim.sim.expert_stack import expert_hits
from tiersim.sim.expert_steps import Routed, rows_of, schedule_of
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.traces import load_trace

ROUNDS = 3
TRACE = "public/moe-deepseek-v2-lite"
AHEAD = 16
SIZE = 312  # of the plain loop's cache: twice the experts that a token uses
SOME = 4  # sequences that the plain loop replays
WANTED = 5.0  # seconds
OFFLOADED, QUEUED, FEW = 36_000, 2_000, 60  # tokens for the engine, on shared links, and for the oracle
SLOTS = 24  # of each layer
TIMES = {"before": 100_000_000, "dense": 200_000_000, "after": 50_000_000, "exchange": 0}


def benches() -> Iterator[dict[str, Any]]:
    """All of them, each as what was measured and what came out."""
    try:
        tokens = expert_tokens(load_trace(TRACE).chunks())
    except TraceError as error:
        yield {"what": "caches of experts", "result": f"skipped: {error.message}; {error.remedy}"}
        yield from offloads(_drawn())
        return
    policy = build("expert-replacement", {"use": "sch", "ahead": AHEAD})
    some = _first(tokens, SOME)
    plain, hits = _timed(partial(_plain, some))
    each = plain / some.tokens
    ours = expert_hits(policy, some).hits(SIZE)
    assert hits == int(ours.sum()), f"the plain loop hits {hits:,} times, the pass {int(ours.sum()):,}"
    for by_layer, what in ((False, "one cache for all layers"), (True, "a cache for each layer")):
        expert_hits(policy, some, by_layer=by_layer)  # compiles
        spent = _median(partial(expert_hits, policy, tokens, by_layer=by_layer))
        sizes = tokens.experts if by_layer else tokens.objects
        ratio = each * tokens.tokens / spent
        more = "" if by_layer else f", {ratio:,.0f} times as fast as one size in plain Python"
        yield {
            "what": f"SCH({AHEAD}), {what}: {sizes:,} sizes in one pass over {tokens.tokens:,} tokens",
            "result": f"{spent:.2f} CPU seconds (wanted: {WANTED:g}){more}",
            "seconds": spent,
            "wanted": WANTED,
            **({} if by_layer else {"ratio": ratio}),
        }
    count_segments(some, 16)
    for length in (16, 64):
        spent = _median(partial(_srp, tokens, length))
        yield {
            "what": f"SRP of segments of {length} tokens with its interval: {tokens.tokens:,} tokens",
            "result": f"{spent:.2f} CPU seconds",
            "seconds": spent,
        }

    yield from offloads(routed_of(load_trace(TRACE).chunks(), TRACE))


def offloads(routed: Routed) -> Iterator[dict[str, Any]]:
    """Systems that offload experts: needed experts a CPU second, with links alone and shared."""
    from tests.oracles import expert_offload as oracle

    rows, few = (_rows(routed.cut(tokens)) for tokens in (OFFLOADED, FEW))
    for name in ("on-demand", "mixtral-offloading", "fiddler"):
        system = build("experts", name)
        slots = SLOTS if system.scope == "layer" else SLOTS * rows.layers
        plain, said = _timed(partial(oracle.offload, few, _costs(few), system, system.replacement, slots, system.scope))
        for run, wanted, tokens in ((offload, 1e6, OFFLOADED), (offload_queued, 1e5, QUEUED)):
            call = partial(run, system=system, slots=slots)
            made = call(few, _costs(few))  # compiles
            if run is offload:
                assert made.row_end.tolist() == said.ended, f"{name}: engine and oracle end rows at other times"
            some = rows if tokens == OFFLOADED else _rows(routed.cut(tokens))
            spent = _median(partial(call, some, _costs(some)))
            speed, slow = len(some.expert) / spent, len(few.expert) / plain
            yield {
                "what": f"{name}, links {'alone' if run is offload else 'shared'}: {len(some.expert):,} needed experts",
                "result": f"{speed:,.0f} a CPU second (wanted: {wanted:,.0f}), {speed / slow:,.0f} times the oracle",
                "rate": speed,
                "wanted": wanted,
                "ratio": speed / slow,
            }


def _drawn() -> Routed:
    """As many tokens of as many experts, drawn at random, in sequences of 80."""
    draws = np.random.default_rng(1)
    experts = np.argsort(draws.random((OFFLOADED, 26, 64)) ** np.arange(1, 65), axis=2)[:, :, -6:].astype(np.int32)
    return Routed(np.arange(0, OFFLOADED + 1, 80), experts, np.arange(26))


def _rows(routed: Routed) -> Rows:
    """Each token a step, whose experts a predictor knows."""
    made = rows_of(routed, schedule_of(routed, 1, 0), 64)
    return replace(made, predicted_start=made.start, predicted=made.expert)


def _costs(rows: Rows) -> Costs:
    """Some 25 GB/s to a GPU: the arithmetic does not depend on them."""
    times = {name: np.full(rows.steps, took) for name, took in TIMES.items()}
    one = np.arange(2)
    by_tokens = {"run": 20_000_000 * one, "cpu": 400_000_000 * one, "ship": 11_000_000 * one}
    sizes = {"load": 700_000_000, "load_low": 200_000_000, "latency": 1_000_000}
    return Costs(**times, **by_tokens, **sizes, size=17_301_504, size_low=4_325_376, hidden=4096)


def _srp(tokens: ExpertTokens, length: int) -> float:
    return count_segments(tokens, length).srp().value


def _median(function: Callable[[], Any]) -> float:
    return statistics.median(_timed(function)[0] for _ in range(ROUNDS))


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    made = function()
    return time.process_time() - begun, made


def _first(tokens: ExpertTokens, sequences: int) -> ExpertTokens:
    ends = tokens.ends[: sequences + 1]
    starts = tokens.starts[: ends[-1] + 1]
    return ExpertTokens(tokens.ids[: starts[-1]], starts, ends, tokens.first[:sequences], tokens.layers, tokens.experts)


def _plain(tokens: ExpertTokens) -> int:
    """Hits of SCH in one cache of one size, as the paper's rule goes."""
    hits = 0
    for sequence in range(tokens.sequences):
        span = range(int(tokens.ends[sequence]), int(tokens.ends[sequence + 1]))
        picks = [tokens.ids[tokens.starts[at] : tokens.starts[at + 1]].tolist() for at in span]
        window = np.zeros(tokens.objects, np.int64).tolist()
        last = [-1] * tokens.objects
        cache: set[int] = set()
        for token in picks[:AHEAD]:
            for x in token:
                window[x] += 1
        now = 0
        for at, token in enumerate(picks):
            before, free = set(cache), SIZE - len(cache)
            for x in token:
                if x in before:
                    hits += 1
                elif free > 0:
                    free -= 1
                    hits += 1
            for x in token:
                window[x] -= 1
                if x not in cache:
                    if len(cache) == SIZE:
                        cache.remove(min(cache, key=lambda y: (window[y], last[y])))
                    cache.add(x)
                last[x] = now
                now += 1
            for x in picks[at + AHEAD] if at + AHEAD < len(picks) else ():
                window[x] += 1
    return hits


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # for the oracle of the tests
    for row in benches():
        print(f"{row['what']}\n    {row['result']}", flush=True)
