"""Brute-force model of docs/explanation/hierarchy.md, written from that page alone.

Its methods carry the names of the page's operations and follow them step by step. It knows nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.way_policies import SetPolicy, make

__all__ = ["COUNTERS", "CacheSpec", "Outcome", "Reference", "read_graph", "simulate"]

Reference = tuple[str, int]
"""("load" | "store" | "fetch", line number)"""

COUNTERS = (
    "reads",
    "read_misses",
    "writes",
    "write_misses",
    "writebacks_in",
    "writeback_misses",
    "puts",
    "evictions",
    "writebacks",
    "invalidations",
    "fills",
    "taken",
    "cold",
    "capacity",
    "conflict",
)


@dataclass(frozen=True)
class CacheSpec:
    """One cache of the graph; `below` is the name of another one or "memory"."""

    sets: int
    ways: int
    policy: str = "lru"
    bits: int = 2
    below: str = "memory"
    serves: str | None = None
    write: str = "back"
    write_allocate: bool = True
    inclusion: str = "non-inclusive"


@dataclass
class Outcome:
    """Everything that a run leaves behind: counters and content by cache, and the traffic of the memory."""

    counters: dict[str, dict[str, int]]
    contents: dict[str, set[tuple[int, bool]]]
    memory: dict[str, int]
    served: dict[str, list[int]] = field(default_factory=dict)
    """The lines of all references at each cache (reads, writes and write-backs received), in order."""


class Memory:
    """The bottom: it counts."""

    exclusive = False

    def __init__(self) -> None:
        self.count = {"reads": 0, "writes": 0}

    def read(self, line: int) -> bool:
        self.count["reads"] += 1
        return False

    def store(self, line: int) -> None:
        self.count["writes"] += 1

    def write_back(self, line: int) -> None:
        self.count["writes"] += 1


class Shadow:
    """A fully associative LRU cache of the same number of lines, oldest line first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.lines: list[int] = []

    def use(self, line: int) -> None:
        self.drop(line)
        self.lines.append(line)
        self.lines = self.lines[-self.capacity :]

    def bring(self, line: int) -> None:
        """A write-back: as in the cache itself it is no use, so a line that is there does not grow younger."""
        if line not in self.lines:
            self.use(line)

    def drop(self, line: int) -> None:
        if line in self.lines:
            self.lines.remove(line)


class Cache:
    """One cache with the page's four operations, insert, and the kinds of misses."""

    def __init__(self, spec: CacheSpec, future: Sequence[int]) -> None:
        self.spec = spec
        self.below: Cache | Memory = Memory()
        self.above: list[Cache] = []
        self.exclusive = spec.inclusion == "exclusive"
        self.through = spec.write == "through" and not self.exclusive
        self.allocates = spec.write_allocate and not self.exclusive
        self.places: list[list[int | None]] = [[None] * spec.ways for _ in range(spec.sets)]
        self.policies: list[SetPolicy] = [make(spec.policy, spec.ways, spec.bits) for _ in range(spec.sets)]
        self.dirty: set[int] = set()
        self.count = dict.fromkeys(COUNTERS, 0)
        self.future = future
        self.served: list[int] = []
        self.seen: set[int] = set()
        self.shadow = Shadow(spec.sets * spec.ways)

    # the page's operations

    def read(self, line: int) -> bool:
        self.count["reads"] += 1
        self.served.append(line)
        if self.has(line):
            self.tell_hit(line)
            if self.exclusive:
                self.shadow.drop(line)
                self.count["taken"] += 1
                return self.remove(line)
            self.shadow.use(line)
            return False
        self.count["read_misses"] += 1
        self.classify(line)
        if self.exclusive:
            self.shadow.drop(line)
            return self.below.read(line)
        self.shadow.use(line)
        self.bring(line)
        return False

    def store(self, line: int) -> None:
        self.count["writes"] += 1
        self.served.append(line)
        if self.has(line):
            self.tell_hit(line)
            self.shadow_store(line)
            self.written(line)
            return
        self.count["write_misses"] += 1
        self.classify(line)
        self.shadow_store(line)
        if not self.allocates:
            self.below.store(line)
            return
        self.bring(line)
        self.written(line)

    def shadow_store(self, line: int) -> None:
        if self.allocates or line in self.shadow.lines:
            self.shadow.use(line)

    def write_back(self, line: int) -> None:
        self.count["writebacks_in"] += 1
        self.served.append(line)
        self.seen.add(line)
        if self.allocates:
            self.shadow.bring(line)
        if self.has(line):
            if self.through:
                self.below.write_back(line)
            else:
                self.dirty.add(line)
            return
        self.count["writeback_misses"] += 1
        if self.allocates:
            self.insert(line, dirty=not self.through)
        if self.through or not self.allocates:
            self.below.write_back(line)

    def put(self, line: int, dirty: bool) -> None:
        assert self.exclusive
        self.count["puts"] += 1
        self.seen.add(line)
        self.shadow.use(line)
        if self.has(line):
            self.tell_hit(line)
            if dirty:
                self.dirty.add(line)
        else:
            self.insert(line, dirty)

    def insert(self, line: int, dirty: bool) -> None:
        places, policy = self.places[line % self.spec.sets], self.policies[line % self.spec.sets]
        assert line not in places
        victim = None
        if None in places:
            way = places.index(None)
        else:
            way = policy.victim([there for there in places if there is not None], self.future[len(self.served) :])
            victim = places[way]
            self.count["evictions"] += 1
        victim_dirty = victim is not None and self.remove(victim)
        places[way] = line
        self.count["fills"] += 1
        if dirty:
            self.dirty.add(line)
        policy.fill(way)
        if victim is None:
            return
        if self.spec.inclusion == "inclusive":
            victim_dirty |= self.invalidate_above(victim)
        if self.below.exclusive:
            assert isinstance(self.below, Cache)
            self.below.put(victim, victim_dirty)
        elif victim_dirty:
            self.count["writebacks"] += 1
            self.below.write_back(victim)

    # their parts

    def has(self, line: int) -> bool:
        return line in self.places[line % self.spec.sets]

    def tell_hit(self, line: int) -> None:
        self.policies[line % self.spec.sets].hit(self.places[line % self.spec.sets].index(line))

    def remove(self, line: int) -> bool:
        """Take the line out; says whether it was dirty."""
        places = self.places[line % self.spec.sets]
        places[places.index(line)] = None
        was_dirty = line in self.dirty
        self.dirty.discard(line)
        return was_dirty

    def bring(self, line: int) -> None:
        """Read the line from below and insert it; dirtiness that comes along stays here or goes back down."""
        comes_dirty = self.below.read(line)
        if comes_dirty and self.through:
            self.below.write_back(line)
        self.insert(line, dirty=comes_dirty and not self.through)

    def written(self, line: int) -> None:
        assert self.has(line)
        if self.through:
            self.below.store(line)
        else:
            self.dirty.add(line)

    def invalidate_above(self, line: int) -> bool:
        """Drop the line in all caches above, however far; says whether one of them held it dirty."""
        any_dirty = False
        for cache in self.above:
            if cache.has(line):
                cache.count["invalidations"] += 1
                any_dirty |= cache.remove(line)
            any_dirty |= cache.invalidate_above(line)
        return any_dirty

    def classify(self, line: int) -> None:
        if line not in self.seen:
            self.count["cold"] += 1
        elif line in self.shadow.lines:
            self.count["conflict"] += 1
        else:
            self.count["capacity"] += 1
        self.seen.add(line)

    def content(self) -> set[tuple[int, bool]]:
        return {(line, line in self.dirty) for places in self.places for line in places if line is not None}


def simulate(graph: Mapping[str, CacheSpec], references: Sequence[Reference]) -> Outcome:
    """Run the references through the graph.

    Belady needs the references of its own cache, which the caches above it produce. The run is repeated, each time
    with the streams that the run before has seen, until they agree: one more level is right after each repetition.
    """
    futures: dict[str, list[int]] = {name: [] for name in graph}
    needed = [name for name, spec in graph.items() if spec.policy == "belady"]
    while True:
        outcome = _once(graph, references, futures)
        if all(outcome.served[name] == futures[name] for name in needed):
            return outcome
        futures = outcome.served


def _once(graph: Mapping[str, CacheSpec], references: Sequence[Reference], futures: dict[str, list[int]]) -> Outcome:
    memory = Memory()
    caches = {name: Cache(spec, futures[name]) for name, spec in graph.items()}
    for name, spec in graph.items():
        below = memory if spec.below == "memory" else caches[spec.below]
        caches[name].below = below
        if isinstance(below, Cache):
            below.above.append(caches[name])
    data = [caches[name] for name, spec in graph.items() if spec.serves in ("data", "all")]
    instructions = [caches[name] for name, spec in graph.items() if spec.serves in ("instructions", "all")]
    for kind, line in references:
        if kind == "fetch":
            if instructions:
                instructions[0].read(line)
        elif kind == "load":
            data[0].read(line)
        else:
            assert kind == "store", kind
            data[0].store(line)
    return Outcome(
        counters={name: cache.count for name, cache in caches.items()},
        contents={name: cache.content() for name, cache in caches.items()},
        memory=memory.count,
        served={name: cache.served for name, cache in caches.items()},
    )


def read_graph(graph: Mapping[str, Mapping[str, Any]]) -> dict[str, CacheSpec]:
    """The same graph from plain dictionaries, where a policy is a name or {"use": name, "bits": n}."""
    specs = {}
    for name, given in graph.items():
        rest = dict(given)
        policy = rest.pop("policy", "lru")
        chosen: Mapping[str, Any] = {"use": policy} if isinstance(policy, str) else dict(policy)
        specs[name] = CacheSpec(policy=chosen["use"], bits=chosen.get("bits", 2), **rest)
    return specs
