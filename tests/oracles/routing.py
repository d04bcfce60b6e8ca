"""Routers without an engine: requests, what is seen of instances, and a replay that takes no time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tiersim._base.registry import build

BLOCK = 512


@dataclass
class Request:
    number: int = 0
    time: int = 0
    prompt: int = 1000
    session: int = -1
    block: int = BLOCK
    blocks: list[int] = field(default_factory=list)


def prompt(*blocks: int, number: int = 0, time: int = 0, session: int = -1) -> Request:
    """One of whole blocks."""
    return Request(number, time, BLOCK * len(blocks), session, BLOCK, list(blocks))


@dataclass
class Cluster:
    waiting: list[int]
    running: list[int]
    prompts: list[int]
    pending: list[int]
    pages: list[int]
    cached: list[int]
    time: int = 0

    @property
    def instances(self) -> range:
        return range(len(self.waiting))

    def hits(self, request: Any) -> list[int]:
        return self.cached


def cluster(n: int = 4, time: int = 0, **columns: list[int]) -> Cluster:
    names = ("waiting", "running", "prompts", "pending", "pages", "cached")
    return Cluster(**{name: columns.get(name, [0] * n) for name in names}, time=time)


def router(name: str, instances: int = 4, seed: int = 0, **parameters: object) -> Any:
    made = build("routing", {"use": name, **parameters})
    if hasattr(made, "start"):
        made.start(instances, seed)
    return made


class Cache:
    """Blocks of prompts, of which those that were used longest ago leave."""

    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self.blocks: OrderedDict[int, None] = OrderedDict()

    def hit(self, request: Request) -> int:
        """Tokens of the beginning that is cached; nothing is touched."""
        count = 0
        for block in request.blocks:
            if block not in self.blocks:
                break
            count += 1
        return min(count * request.block, request.prompt)

    def add(self, request: Request) -> None:
        """All blocks are used, the first one first."""
        for block in request.blocks:
            self.blocks[block] = None
            self.blocks.move_to_end(block)
            if self.capacity is not None and len(self.blocks) > self.capacity:
                self.blocks.popitem(last=False)


@dataclass
class Timeless:
    """What a replay without time came to: each request's hit, and the uncached tokens that each instance got."""

    prompts: list[int]
    hits: list[int]
    loads: list[int]
    chosen: list[int]

    def ratio(self, skip: int = 0) -> float:
        """Cached tokens among those of prompts, but for the first requests."""
        return sum(self.hits[skip:]) / sum(self.prompts[skip:])

    @property
    def variation(self) -> float:
        """Standard deviation of the loads by their mean."""
        return float(np.std(self.loads) / np.mean(self.loads))


class Now:
    """The view of a replay without time: an instance's load is all that it has computed so far."""

    def __init__(self, caches: Sequence[Cache], loads: list[int]) -> None:
        self.caches = caches
        self.prompts = self.pending = loads
        self.waiting = self.running = self.pages = [0] * len(loads)
        self.instances = range(len(loads))

    def hits(self, request: Request) -> list[int]:
        return [cache.hit(request) for cache in self.caches]


def replay(
    requests: Iterable[Request], route: Callable[[Any, Any], int], instances: int, capacity: int | None = None
) -> Timeless:
    """Each request is routed and cached at once, one after the other."""
    caches = [Cache(capacity) for _ in range(instances)]
    made = Timeless([], [], [0] * instances, [])
    view = Now(caches, made.loads)
    for request in requests:
        chosen = route(request, view)
        hit = caches[chosen].hit(request)
        caches[chosen].add(request)
        made.loads[chosen] += request.prompt - hit
        made.prompts.append(request.prompt)
        made.hits.append(hit)
        made.chosen.append(chosen)
    return made
