"""Hypothesis strategies: any graph of caches that docs/explanation/hierarchy.md allows, and references to run on it."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from tests.oracles.hierarchy import Reference

__all__ = ["Graph", "graphs", "reuse", "streams"]

Graph = dict[str, dict[str, Any]]

KINDS = ("load", "load", "store", "fetch")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """1 to 4 caches: a chain, or two branches that meet at some level, each cache with its own size and manners."""
    depth = draw(st.sampled_from([1, 2, 2, 3, 3, 4]))
    chain = [f"l{level}" for level in range(1, depth + 1)]
    names = dict(zip(chain, [*chain[1:], "memory"], strict=True))
    serves = {"l1": draw(st.sampled_from(["all", "data"]))}
    if depth < 4 and draw(st.booleans()):
        serves = {"l1": "data", "l1i": "instructions"}
        names["l1i"] = draw(st.sampled_from([name for name in [*chain, "memory"] if name != "l1"]))
        if depth == 2 and names["l1i"] == "l2" and draw(st.booleans()):
            names |= {"l1i": "middle", "middle": "l2"}
    order = draw(st.permutations(list(names)))
    future_known = draw(
        st.sampled_from([False, False, True])
    )  # Belady cannot stand where an inclusive cache could change the future
    graph: Graph = {}
    for name in order:
        cache: dict[str, Any] = {"below": names[name]}
        kinds = ["non-inclusive"]
        if name in serves:
            cache["serves"] = serves[name]
        else:
            kinds += ["exclusive"] if future_known else ["exclusive", "exclusive", "inclusive"]
        cache["inclusion"] = draw(st.sampled_from(kinds))
        exclusive = cache["inclusion"] == "exclusive"
        if not exclusive:
            cache["write"] = draw(st.sampled_from(["back", "through"]))
            cache["write_allocate"] = draw(st.sampled_from([True, True, False]))
        policies: list[Any] = ["lru", "lru", "fifo", "clock", "tree-plru", "srrip", {"use": "srrip", "bits": 1}]
        if future_known and not exclusive:
            policies += ["belady", "belady"]
        cache["policy"] = draw(st.sampled_from(policies))
        cache["sets"] = draw(st.sampled_from([1, 1, 2, 2, 3, 4, 5, 8]))
        cache["ways"] = draw(st.sampled_from([1, 2, 4] if cache["policy"] == "tree-plru" else [1, 2, 2, 3, 4]))
        graph[name] = cache
    return graph


def reuse(rng: random.Random, length: int, lines: int) -> list[Reference]:
    """References that come back soon, with runs of neighbours and now and then something far away."""
    recent = [rng.randrange(lines)]
    out: list[Reference] = []
    for _ in range(length):
        dice = rng.random()
        if dice < 0.5:
            line = recent[-min(len(recent), 1 + int(rng.expovariate(0.4)))]
        elif dice < 0.8:
            line = (recent[-1] + 1) % lines
        else:
            line = rng.randrange(lines)
        recent.append(line)
        out.append((rng.choice(KINDS), line))
    return out


def streams(longest: int = 500) -> st.SearchStrategy[list[Reference]]:
    """Mostly long ones with locality, over few or many lines, and short ones that shrink well."""
    short = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 15)), max_size=40)
    seeds = st.integers(0, 2**32).map(random.Random)
    long = st.builds(reuse, seeds, st.integers(0, longest), st.sampled_from([6, 10, 16, 24, 48]))
    return st.one_of(short, long, long, long)
