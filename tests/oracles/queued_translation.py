"""Brute-force model of "Queued time" in docs/explanation/translation.md: one core, and a memory of a fixed latency.

What a reference does is told by the model of translation. Here it is noted down as what it takes in turn, and all
references so far are played again from the beginning for each further one: the plainest way to know when that can be
issued. Only walks meet: where no page walker is free they wait.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.translation import Buffer, Config, PomTlbSpec, Reference, Run, Tlb, Unit

__all__ = ["Outcome", "run_core"]


@dataclass
class Walk:
    """What is done while a page walker is held; the numbers tell the order in which walks were noted down."""

    background: bool
    begun: int
    ended: int = 0
    done: list[Any] = field(default_factory=list)


@dataclass
class Aside:
    """What nobody waits for."""

    done: list[Any] = field(default_factory=list)


TRANSLATED = "translated"


@dataclass
class Written:
    """What a reference takes, in turn: times, walks, asides, and where its translation is over."""

    done: list[Any]
    missed: bool
    kind: str
    instructions: int

    def takes_time(self) -> bool:
        return any(isinstance(item, Walk) or (isinstance(item, int) and item > 0) for item in self.done)


class ToldBuffer(Buffer):
    """A page-walk cache that tells what was looked up."""

    def __init__(self, held: Buffer, told: Callable[[bool], None]) -> None:
        self.__dict__.update(vars(held))
        self.told = told

    def look_up(self, key: Any) -> bool:
        found = super().look_up(key)
        self.told(found)
        return found


class Writing(Run):
    """Runs references, and writes down what each must wait for."""

    def __init__(self, config: Config, references: Sequence[Reference]) -> None:
        super().__init__(config, references)
        self.page: list[Any] = []
        self.serial = 0
        self.saving = False
        self.sets: list[int] = []
        self.written: list[Written] = []
        for level, pwc in self.pwcs.items():
            self.pwcs[level] = ToldBuffer(pwc, self.walk_cache(config.pwcs[level].latency, config.pwcs[level].miss))

    def walk_cache(self, latency: int, miss: int) -> Callable[[bool], None]:
        return lambda found: self.page.append(latency if found else miss)

    def reference(self, space: int, address: int, kind: str, instructions: int) -> None:
        self.page = []
        before, missed = self.program_reads(), self.first_misses()
        super().reference(space, address, kind, instructions)
        for name, reads in self.program_reads().items():
            self.page.append((reads - before[name]) * self.time_of(name))
        self.written.append(Written(self.page, self.first_misses() > missed, kind, instructions))

    def time_of(self, name: str) -> int:
        """First caches belong to the pace of the core."""
        first = name != "memory" and self.config.caches[name].serves is not None
        return 0 if first else self.config.latencies[name]

    def program_reads(self) -> dict[str, int]:
        counted = {name: cache.count["reads"] for name, cache in self.caches.items()}
        return counted | {"memory": self.memory.count["reads"]}

    def first_misses(self) -> int:
        tlbs = sum(tlb.held.misses for tlb in self.tlbs.values() if tlb.serves is not None)
        caches = [cache for cache in self.caches.values() if cache.spec.serves is not None]
        return tlbs + sum(cache.count["read_misses"] + cache.count["write_misses"] for cache in caches)

    @contextmanager
    def writing(self, page: list[Any]) -> Iterator[None]:
        outer, self.page = self.page, page
        yield
        self.page = outer

    @contextmanager
    def walking(self, *, background: bool) -> Iterator[None]:
        self.serial += 1
        walk = Walk(background, self.serial)
        with self.writing(walk.done):
            yield
        self.serial += 1
        walk.ended = self.serial
        self.page.append(walk)

    def translate(self, unit: Unit, address: int, path: list[Tlb]) -> None:
        before, at = self.counts["missing"], len(self.page)
        super().translate(unit, address, path)
        if self.counts["missing"] == before:
            self.page.insert(at, self.times[-1] - path[0].latency)
        self.page.append(TRANSLATED)

    def missing(self, unit: Unit, address: int, first: Tlb, further: Sequence[Tlb]) -> int:
        hits, at = self.counts["block_hits"], len(self.page)
        time = super().missing(unit, address, first, further)
        found = self.counts["block_hits"] > hits
        self.page.insert(at, time - first.latency if found else sum(tlb.latency for tlb in further))
        return time

    def missing_before_pom_tlb(self, pom: PomTlbSpec, unit: Unit, address: int) -> int:
        self.sets, at, walks = [], len(self.page), self.counts["walks"]
        time = super().missing_before_pom_tlb(pom, unit, address)
        self.page.insert(at, max(self.sets) if self.counts["walks"] > walks else time)
        return time

    def look_up_set(self, pom: PomTlbSpec, number: int) -> int:
        self.sets.append(super().look_up_set(pom, number))
        return self.sets[-1]

    def demand_walk(self, unit: Unit, address: int) -> tuple[int, bool]:
        with self.walking(background=False):
            time, touched = super().demand_walk(unit, address)
            if self.hashed:
                self.page[:] = [time]
        return time, touched

    def background_walk(self, unit: Unit) -> bool:
        with self.walking(background=True):
            return super().background_walk(unit)

    def left(self, unit: Unit) -> None:
        aside = Aside()
        with self.writing(aside.done):
            super().left(unit)
        self.page.append(aside)

    def locate(self, space: int, address: int, who: str) -> tuple[int, bool]:
        if self.config.nested is not None:
            self.page.append(self.config.nested.latency)
        return super().locate(space, address, who)

    def nested_missing(self, page: Unit, who: str) -> tuple[int, bool]:
        hits = self.counts["nested_block_hits"]
        time, touched = super().nested_missing(page, who)
        if self.counts["nested_block_hits"] > hits:
            self.page.append(time)
        return time, touched

    def virtual_locate(self, page: Unit, unit: Unit, table: Unit, who: str) -> tuple[int, bool]:
        assert self.config.nested is not None
        self.page.append(self.config.nested.latency)
        answered = self.counts["nested_block_time"]
        made = super().virtual_locate(page, unit, table, who)
        self.page.append(self.counts["nested_block_time"] - answered)
        return made

    def nested_left(self, page: Unit) -> None:
        aside, self.saving = Aside(), True
        with self.writing(aside.done):
            super().nested_left(page)
        self.saving = False
        self.page.append(aside)

    def host_walk(self, page: Unit, who: str) -> tuple[int, bool]:
        if not self.saving:
            return super().host_walk(page, who)
        with self.walking(background=True):
            return super().host_walk(page, who)

    def read(self, line: int, who: str) -> tuple[int, bool]:
        """Those of a mechanism are paid with its lookups, or nobody waits for them."""
        time, touched = super().read(line, who)
        if who != "pom":
            self.page.append(time)
        return time, touched


Waiting = Generator[tuple[str, int, Walk], int, int]


class Play:
    """All references from their issue to their end."""

    def __init__(self, written: Sequence[Written], issues: Sequence[int], walkers: int) -> None:
        self.limit, self.held = walkers, 0
        self.heap: list[tuple[int, int, str, Walk, Waiting]] = []
        self.queues: dict[bool, deque[tuple[int, Waiting]]] = {False: deque(), True: deque()}
        self.ends, self.translated = dict[int, int](), dict(enumerate(issues))
        self.counts = Counter[str]()
        self.longest = 0
        for number, (one, issue) in enumerate(zip(written, issues, strict=True)):
            self.go(self.whole(one, issue, number), None)
        while self.heap:
            time, _, what, walk, waiting = heapq.heappop(self.heap)
            if what == "take":
                self.take(time, walk, waiting)
            else:
                self.leave(time)
                self.go(waiting, time)

    def go(self, waiting: Waiting, time: int | None) -> None:
        try:
            what, when, walk = waiting.send(time)  # type: ignore[arg-type]
        except StopIteration:
            return
        order = walk.begun if what == "take" else walk.ended
        heapq.heappush(self.heap, (when, order, what, walk, waiting))

    def take(self, time: int, walk: Walk, waiting: Waiting) -> None:
        if self.held < self.limit:
            self.held += 1
            self.go(waiting, time)
        else:
            self.queues[walk.background].append((time, waiting))

    def leave(self, time: int) -> None:
        for background, queue in self.queues.items():
            if queue:
                since, waiting = queue.popleft()
                self.counts["walker_stall"] += 0 if background else time - since
                self.go(waiting, time)
                return
        self.held -= 1

    def whole(self, one: Written, issue: int, number: int) -> Waiting:
        self.ends[number] = yield from self.follow(one.done, issue, number)
        return self.ends[number]

    def follow(self, done: Sequence[Any], clock: int, number: int) -> Waiting:
        for item in done:
            if item == TRANSLATED:
                self.translated[number] = clock
            elif isinstance(item, Aside):
                self.go(self.follow(item.done, clock, number), None)
            elif isinstance(item, Walk):
                asked = clock
                clock = yield "take", clock, item
                clock = yield from self.follow(item.done, clock, number)
                clock = yield "leave", clock, item
                who = "background_" if item.background else ""
                self.counts[f"{who}walks"] += 1
                self.counts[f"{who}delay" if who else "walk_delay"] += clock - asked
                self.longest = max(self.longest, 0 if item.background else clock - asked)
            else:
                clock += item
        return clock


@dataclass
class Outcome:
    """When each reference was issued and had its data, and what the core took."""

    issues: list[int]
    ends: dict[int, int]
    time: int
    told: dict[str, int]


def run_core(
    config: Config, references: Sequence[Reference], *, pace: int, outstanding: int, window: int, walkers: int
) -> Outcome:
    """A core that takes `pace` for an instruction."""
    writing = Writing(config, references)
    issues: list[int] = []
    holders: list[int] = []  # of places
    met: list[int] = []  # the instruction of each
    now = instructions = window_stall = outstanding_stall = 0
    for reference in references:
        played = Play(writing.written, issues, walkers)
        writing.reference(*reference)
        one = writing.written[-1]
        instructions += one.instructions
        now += pace * one.instructions
        begun = now
        for number in holders:
            bound = played.ends[number]
            if writing.written[number].kind == "store":
                bound = played.translated[number]
            behind = instructions - window - met[number]
            if behind >= 0 and bound > issues[number]:
                now = max(now, bound + pace * behind)
        window_stall += now - begun
        flying = sorted(played.ends[number] for number in holders if played.ends[number] > now)
        if one.missed and len(flying) == outstanding:
            outstanding_stall += flying[0] - now
            now = flying.pop(0)
        if one.takes_time() and len(flying) < outstanding:
            holders.append(len(issues))
        issues.append(now)
        met.append(instructions)
    played = Play(writing.written, issues, walkers)
    told = {"window_stall": window_stall, "outstanding_stall": outstanding_stall, "delay": 0, "fetch_delay": 0}
    told |= {"translation_delay": 0, "walk_longest": played.longest}
    told |= {name: played.counts[name] for name in ("walks", "walk_delay", "walker_stall", "background_walks")}
    told["background_delay"] = played.counts["background_delay"]
    for number, (one, issue) in enumerate(zip(writing.written, issues, strict=True)):
        told["fetch_delay" if one.kind == "fetch" else "delay"] += played.ends[number] - issue
        told["translation_delay"] += played.translated[number] - issue
    return Outcome(issues, played.ends, max([now, *(played.ends[number] for number in holders)]), told)
