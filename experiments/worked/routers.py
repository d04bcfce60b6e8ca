"""Worked examples of routers: the servers' engine, and what the router saw when each request came."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import numpy as np

from tiersim._base.registry import build
from tiersim.experiments.worked.steps import Step, Worked
from tiersim.models.cluster import Cluster, drives
from tiersim.models.llm.parallel import Parallel
from tiersim.models.routed import Driver
from tiersim.sim.prompts import Prompts
from tiersim.sim.serving import Engines, Server
from tiersim.traces.ragged import Ragged

__all__ = ["INSTANCES", "REQUESTS", "router", "served"]

INSTANCES, BLOCK, SECOND = 3, 512, 10**12
# of each request when it comes, in tenths of a second, its session, and its blocks: equal beginnings are shared
REQUESTS = (
    (0, 0, "AB"),
    (1, 1, "C"),
    (2, 2, "ABD"),
    (3, 0, "ABEF"),
    (4, 3, "AGHI"),
    (6, 1, "CJ"),
    (7, 4, "ABD"),
    (9, 5, "ABDK"),
    (10, 0, "ABEFL"),
    (11, 6, "MNOP"),
    (12, 2, "ABDQ"),
    (14, 3, "AGHIR"),
)
SETTING = (
    "Three instances compute 512 tokens of prompts in 0.1 s; an iteration takes 1 ms besides, and gives each answer "
    "one of its 16 tokens. A letter is a block of 512 tokens, and equal beginnings of prompts are cached where they "
    "were served. `to compute` are the tokens of prompts that instances 0, 1 and 2 had before them when the request "
    "came, `cached` those of its own prompt there."
)


def _prompts() -> Prompts:
    nodes: dict[str, int] = {}
    for _, _, blocks in REQUESTS:
        for end in range(1, len(blocks) + 1):
            nodes.setdefault(blocks[:end], len(nodes))
    lists = [[nodes[blocks[:end]] for end in range(1, len(blocks) + 1)] for _, _, blocks in REQUESTS]
    count = len(REQUESTS)
    return Prompts(
        arrival=np.array([time * SECOND // 10 for time, _, _ in REQUESTS], np.int64),
        input=np.array([len(blocks) * BLOCK for _, _, blocks in REQUESTS], np.int64),
        output=np.full(count, 16, np.int64),
        blocks=Ragged.of(lists),
        parent=np.array([nodes.get(way[:-1], -1) for way in nodes], np.int64),
        block=BLOCK,
        session=np.array([session for _, session, _ in REQUESTS], np.int64),
        category=np.full(count, -1, np.int64),
    )


class _Seen:
    """A router that keeps what it is shown. Engines' drivers copy the router that they are given: not this one."""

    def __init__(self, policy: Any) -> None:
        self.policy = deepcopy(policy)
        self.seen: dict[int, tuple[list[int], list[int]]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Seen:
        return self

    def __getattr__(self, name: str) -> Any:
        held = getattr(self.policy, name)
        return self._noting(held) if name in ("route", "arrive") else held

    def _noting(self, verb: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def told(request: Any, view: Any) -> Any:
            self.seen.setdefault(request.number, (list(view.pending), list(view.hits(request))))
            return verb(request, view)

        return told


def served(policy: Any) -> tuple[Any, dict[int, tuple[list[int], list[int]]]]:
    """What became of the requests, and of each the loads and the cached tokens that the router saw."""
    server = Server(pages=4096, page=16, budget=2048, prefix="memory")
    clock: Any = build(
        "time-model", {"use": "linear", "prefill": f"{SECOND // 10 // BLOCK} ps/token", "iteration": "1 ms"}
    )
    lru = build("object-replacement", "lru")
    rates = clock.compiled(None, None, Parallel())
    engines = Engines(_prompts(), server, INSTANCES, clock, rates, policy=lru, compiled=False)
    seen = _Seen(policy)
    driver = (Cluster if drives(policy) else Driver)(engines, seen, 0, lambda count: None)
    driver.as_recorded()
    return engines.served, seen.seen


def router(policy: Any) -> Worked:
    """A policy of the family ``routing``."""
    done, seen = served(policy)
    steps = []
    for number, (time, session, blocks) in enumerate(REQUESTS):
        pending, cached = seen[number]
        instance = int(done.instance[number])
        outcome = "refused" if instance < 0 else f"instance {instance}"
        held = int(done.routed[number]) - time * SECOND // 10
        outcome += f" after {_seconds(held)}" if held else ""
        asked = f"{_seconds(time * SECOND // 10)}, session {session}: {blocks}"
        first = _seconds(int(done.first[number]) - time * SECOND // 10)
        steps.append(Step(asked, outcome, "", (_listed(pending), _listed(cached), first)))
    waits = [int(first) - time * SECOND // 10 for first, (time, _, _) in zip(done.first, REQUESTS, strict=True)]
    tokens = sum(len(blocks) * BLOCK for _, _, blocks in REQUESTS)
    totals = {
        "cached": f"{int(done.hit.sum()):,} of {tokens:,} tokens",
        "mean time to the first token": _seconds(sum(waits) // len(waits)),
        "requests of each instance": _listed(np.bincount(done.instance, minlength=INSTANCES)),
    }
    columns = ("to compute", "cached", "first token after")
    return Worked("routing", type(policy).registered.name, SETTING, "request", columns, tuple(steps), totals)


def _listed(numbers: Iterable[int]) -> str:
    return " / ".join(f"{int(number):,}" for number in numbers)


def _seconds(time: int) -> str:
    return f"{time / SECOND:.3f} s"
