"""Speed of caches of experts, all sizes in one pass, against a plain loop at one size: part of `make bench`.

Both sides replay the public prompts of DeepSeek-V2-Lite (26 layers of 64 experts, six a token) on CPU time, one thread;
the plain loop, which is the rule as the paper tells it, only some of them. The median of the rounds counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tiersim._base.errors import TraceError
from tiersim._base.registry import build
from tiersim.models.expert_tokens import expert_tokens
from tiersim.sim.expert_segments import count_segments
from tiersim.sim.expert_stack import expert_hits
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.traces import load_trace

ROUNDS = 3
TRACE = "public/moe-deepseek-v2-lite"
AHEAD = 16
SIZE = 312  # of the plain loop's cache: twice the experts that a token uses
SOME = 4  # sequences that the plain loop replays
WANTED = 5.0  # seconds


def benches() -> Iterator[dict[str, Any]]:
    """All of them, each as what was measured and what came out."""
    try:
        tokens = expert_tokens(load_trace(TRACE).chunks())
    except TraceError as error:
        yield {"what": "caches of experts", "result": f"skipped: {error.message}; {error.remedy}"}
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
    for row in benches():
        print(f"{row['what']}\n    {row['result']}", flush=True)
