"""A memory trace whose addresses are translated before they reach the caches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TiersimError
from tiersim._base.params import Param, dump
from tiersim._base.registry import register
from tiersim.experiments.queued_metrics import BESIDE, CORE_METRICS, core_metrics
from tiersim.experiments.scenario import Addends, Measured, Metric, OfTrace, Progress, by_record, of_totals
from tiersim.experiments.time_parts import ADDITIVE, BASE, WAITING, time_parts
from tiersim.experiments.trace_use import TraceParam, TraceUse
from tiersim.models.caches import levels_of, picoseconds, shared_of
from tiersim.models.translation import PagedSystem, Paging, Wired, wire
from tiersim.policies.translation.radix import Radix
from tiersim.sim.cache_loop import Level
from tiersim.sim.events import Counts, prefix
from tiersim.sim.pages import LINE, PagedEvents, Tables, prepare_pages
from tiersim.sim.queued import SECOND
from tiersim.sim.shootdowns import ShotEvents, drawn, flushed, switches
from tiersim.sim.translation import Books, translate
from tiersim.traces.turns import Process, Turns

WINDOWS = 100
WALKS = ("walk", "background", "host", "background_host")  # who reads for walks
OTHERS = ("pom", "prefetch")  # and who is not the program either
BLOCK = 8  # translations of a TLB block
REUSED = (0, 1, 6, 11, 21)  # hits of a line before it left, from which on a row of `reuse` counts: those of the paper
TLB_BLOCK = 2  # the first kind of lines that are TLB blocks
SMALL = 4096  # bytes of a page

METRICS = {
    "cycles_per_instruction": ("cycles", "base cycles plus exposed waiting for data and translations", "less"),
    "cycles": ("cycles", "of the measured part of the trace", "less"),
    "instructions": ("instructions", "executed in the measured part of the trace", ""),
    "accesses": ("accesses", "loads and stores in the measured part of the trace", ""),
    "translation.share": (
        "ratio",
        "of the cycles that translations took; in queued time those in which the core waited for one",
        "less",
    ),
    "translation.missing": ("references", "that no TLB could translate", "less"),
    "translation.miss_ratio": ("ratio", "of the references: no TLB could translate them", "less"),
    "translation.walk_ratio": ("ratio", "of the references: they waited for a walk", "less"),
    "translation.mpki": ("1/1000 instructions", "references that no TLB could translate", "less"),
    "translation.latency": ("cycles", "mean time of a translation that the first TLB did not have", "less"),
    "walks": ("walks", "of the page table that a reference waited for", "less"),
    "walks_per_kiloinstruction": ("1/1000 instructions", "walks that a reference waited for", "less"),
    "walk_latency": ("cycles", "mean of the walks that a reference waited for", "less"),
    "walk_latency.longest": ("cycles", "since the trace began", "less"),
    "walks_that_read_memory": ("walks", "among those that a reference waited for", "less"),
    "background_walks": ("walks", "that nobody waited for", "less"),
    "blocks.hits": ("references", "that a TLB block in the cache translated", "more"),
    "blocks.hit_ratio": ("ratio", "of the references that no TLB could translate", "more"),
    "blocks.inserted": ("blocks", "TLB blocks that entered the cache", ""),
    "blocks.zero_reuse": ("ratio", "of the TLB blocks evicted from the cache that had never been hit", "less"),
    "blocks.refused": ("blocks", "not made, because the predictor did not expect a costly walk", ""),
    "pom.hits": ("references", "that the POM-TLB translated", "more"),
    "pom.hit_ratio": ("ratio", "of the references that no TLB could translate", "more"),
    "pom.latency": ("cycles", "mean of the lookups in the POM-TLB", "less"),
    "probes": ("reads", "of a walk in hashed page tables: mean", "less"),
    "translation_reach": ("bytes", "8 x 4 KiB for each TLB block in the cache: mean over the run", "more"),
    "blocks.nested_hit_ratio": ("ratio", "of the lookups of nested TLB blocks", "more"),
    "host_walks": ("walks", "of host tables that a reference waited for", "less"),
    "host_walks_per_kiloinstruction": (
        "1/1000 instructions",
        "walks of host tables that a reference waited for",
        "less",
    ),
    "host_walk_latency": ("cycles", "mean of those", "less"),
    "memory.reads": ("lines", "read from memory", "less"),
    "memory.writes": ("lines", "written to memory", "less"),
    "memory.walk_reads": ("lines", "read from memory by walks", "less"),
    "core.cycles_per_instruction": BASE,
    "memory.cycles_per_instruction": WAITING,
    "translation.cycles_per_instruction": ("cycles", "of those for each instruction: that translations took", "less"),
    "pages.touched": ("pages", "of 4 KiB", ""),
    "pages.tables": ("pages", "of page tables", ""),
    "switches": ("switches", "from one address space to another", ""),
    "shootdowns": ("pages", "whose translation was taken away, other than by a switch", ""),
}
QUEUED_METRICS = {
    **CORE_METRICS,
    "walker.waiting": ("cycles", "mean that a walk waited for a page walker", "less"),
}
UNLOADED = ("pom.latency", "host_walk_latency")  # what queued time does not tell
CACHE_METRICS = {
    "data_reads": ("references", "of the program", ""),
    "data_misses": ("references", "of the program that the cache could not serve", "less"),
    "data_miss_ratio": ("ratio", "misses of the program by its references", "less"),
    "mpki": ("1/1000 instructions", "misses of the program", "less"),
    "walk_reads": ("references", "of walks, those in the background too", ""),
    "walk_misses": ("references", "of walks that the cache could not serve", "less"),
    "writebacks": ("lines", "dirty lines sent below", "less"),
    "zero_reuse": ("ratio", "of the lines evicted here that had never been hit", "less"),
    "cycles_per_instruction": WAITING,
}
TLB_METRICS = {
    "lookups": ("references", "that asked here", ""),
    "misses": ("references", "that did not find their translation", "less"),
    "miss_ratio": ("ratio", "misses by lookups", "less"),
    "mpki": ("1/1000 instructions", "misses", "less"),
    "removed": ("translations", "taken away by shootdowns, and by switches without `asids`", "less"),
}


if TYPE_CHECKING:  # the loop of cores is for queued time only
    from tiersim.models.core_translation import PagedStream
    from tiersim.sim.core_translation import CoreBooks, TranslatedCores
    from tiersim.sim.queued.timeline import Timeline


@dataclass
class Simulated:
    """The books of one simulation: of the measured part, and by window; `resident` are TLB blocks at their ends.

    `cores` are those of all cores, with their times, in queued time.
    """

    books: Books
    counts: Counts
    ends: list[int]
    missing: list[int]
    walks: list[int]
    resident: list[int]
    pages: int
    tables: int
    shootdowns: int | None = None
    switches: int | None = None
    cores: CoreBooks | None = None


@register("translation", family="scenario")
class Translation(OfTrace):
    """How a program's addresses are translated: misses of TLBs, walks through the caches, and what stands between."""

    trace: Annotated[TraceUse, TraceParam("the accesses to replay", reads_all=True)]
    system: Annotated[PagedSystem, Param("the machine: a preset's name, or caches, memory, core, tlbs and walker")]
    policy: Annotated[Any, Param("what happens to a translation that no TLB has", family="translation")] = field(
        default_factory=Radix
    )
    large_pages: Annotated[
        int,
        Param(
            "share of the regions of 2 MiB that are one page, drawn by the seed of the run",
            unit="ratio",
            ge=0,
            le=10**9,
        ),
    ] = 0
    host_large_pages: Annotated[
        int,
        Param("the same of what is physical to guests, with `system.nested`", unit="ratio", ge=0, le=10**9),
    ] = 0
    contiguity: Annotated[
        int,
        Param("share of groups of pages in contiguous frames, for a TLB with a `reach`", unit="ratio", ge=0, le=10**9),
    ] = 10**9
    shootdowns: Annotated[
        int,
        Param(
            "pages in a million instructions whose translation the operating system takes away, drawn by the seed of "
            "the run among those touched before",
            unit="count",
            ge=0,
            le=10**6,
        ),
    ] = 0
    processes: Annotated[
        dict[str, Annotated[TraceUse, TraceParam("what a process runs", reads_all=True)]],
        Param("that take turns with the trace, in address spaces of their own: a name for each, and its trace"),
    ] = field(default_factory=dict)
    quantum: Annotated[int, Param("instructions of a turn, with `processes`", unit="count", ge=1)] = 10**6
    asids: Annotated[
        bool, Param("whether TLBs tell address spaces apart; else a switch from one to another empties them")
    ] = True

    timing: Annotated[
        Literal["additive", "queued"],
        Param("`additive` adds fixed latencies; `queued` lets misses and walks overlap, and contend"),
    ] = "additive"
    copies: Annotated[
        int, Param("cores that run the trace at once, with `timing: queued`; metrics are the first one's", ge=1, le=64)
    ] = 1
    beside: Annotated[
        dict[str, Annotated[TraceUse, TraceParam("what a neighbour runs", reads_all=True)]],
        Param("programs on cores of their own, with `timing: queued`: a name for each, and its trace"),
    ] = field(default_factory=dict)

    records: ClassVar[str] = "access"
    steps: ClassVar[str] = "accesses"

    def check(self) -> None:
        self.trace.demand(self.records)
        _ = self.wired  # which says what does not fit
        self._check_cores()
        for key, uses in (("processes", self.processes), ("beside", self.beside)):
            for name, use in uses.items():
                try:
                    use.demand(self.records)
                    use.length()
                except TiersimError as error:
                    error.path = (key, name, *error.path[1:])
                    raise
                if use.warm_up is not None:
                    raise _wrong((key, name, "warm_up"), "what is measured begins with the `warm_up` of the trace")
        if not self.asids and not self._replayed.trace.has_spaces:
            raise _wrong(("asids",), "there is one address space, and no switch: name `processes`, or another trace")
        if not self.asids and self.system.nested is not None:
            raise _wrong(("asids",), "with `nested` address spaces are guests, which are always told apart")

    def _check_cores(self) -> None:
        if self.timing == "additive":
            for key in ("copies", "beside"):
                if getattr(self, key) not in (1, {}):
                    raise _wrong((key,), "with additive time cores do not meet: write `timing: queued`")
        if self.timing == "queued" or self.system.memory.dram is not None:
            from tiersim.models.cores import check_queued

            try:
                check_queued(self.system)
            except StudyError as error:
                error.path = ("system", *error.path)
                raise

    @cached_property
    def _replayed(self) -> Process:
        """The part of the trace that is replayed, and others in turn with it."""
        own, *others = (Process(use.open(), use.skip, use.limit) for use in (self.trace, *self.processes.values()))
        return Process(Turns([own, *others], self.quantum)) if others else own

    @cached_property
    def _neighbours(self) -> list[Process]:
        return [Process(use.open(), use.skip, use.limit) for use in self.beside.values()]

    def __getstate__(self) -> dict[str, Any]:
        """Other processes open traces themselves."""
        return {key: held for key, held in vars(self).items() if key not in ("_replayed", "_neighbours")}

    def trace_fingerprint(self) -> str:
        return " ".join(own.trace.fingerprint for own in (self._replayed, *self._neighbours))

    def provenance(self) -> Mapping[str, Any]:
        trace = self._replayed.trace
        return {"trace": trace.name, "records": trace.records, "sha256": trace.fingerprint, **trace.provenance}

    def size(self) -> int:
        return sum(use.length() for use in (self.trace, *self.processes.values()))

    def _warm_up(self) -> int:
        return self.trace.warm_up_of(self.size())

    @cached_property
    def wired(self) -> Wired:
        """The system in the terms of the engine."""
        return wire(self.system, self.policy)

    def refuses(self) -> str:
        return ""

    def is_random(self) -> bool:
        parts = self.wired.loop.structures
        shares = [self.large_pages]
        shares += [self.host_large_pages] if self.system.nested else []
        shares += [self.contiguity] if any(tlb.reach > 1 for tlb in self.system.tlbs.values()) else []
        random = self.shootdowns > 0 or any(0 < share < 10**9 for share in shares)
        return random or any(getattr(part.policy, "random", False) for part in parts)

    def structure(self) -> Mapping[str, Any]:
        system = dump(self.system)
        cores = {key: dump(getattr(self, key)) for key in ("timing", "copies", "beside")}
        if self.timing == "additive":
            cores = {}
            # what becomes of counters afterwards, and what only queued time asks for
            for key in ("base_cpi", "exposed", "stall_factor", "outstanding", "window", "walkers"):
                system["core"].pop(key, None)
        return {
            "trace": dump(self.trace),
            "system": system,
            "policy": dump(self.policy),
            "paging": vars(self._paging()),
            "processes": dump(self.processes),
            **{key: getattr(self, key) for key in ("quantum", "asids", "shootdowns")},
            **cores,
        }

    def modules(self) -> list[str]:
        parts = [part.policy for part in self.wired.loop.structures]
        own = [type(self).__module__, *(["tiersim.models.core_translation"] if self.timing == "queued" else [])]
        return [*own, *dict.fromkeys(type(part).__module__ for part in (self.policy, *parts))]

    def _fetches(self, run: Process | None = None) -> bool:
        levels, _ = levels_of(self.system, classify=False)
        fetches = (run or self._replayed).trace.has_fetches
        return fetches and any("instructions" in level.serves for level in levels)

    def _events(self, progress: Callable[[int, int], None] | None = None, run: Process | None = None) -> PagedEvents:
        own = run or self._replayed
        return prepare_pages(own.trace, self._fetches(own), own.skip, own.limit, progress)

    def preparation(self) -> str:
        runs = (self._replayed, *self._neighbours)
        return " ".join(f"pages {own.trace.fingerprint} {self._fetches(own)} {own.skip} {own.limit}" for own in runs)

    def prepare(self, progress: Progress) -> None:
        self._events(of_totals(progress))
        for run in self._neighbours:
            self._events(run=run)

    def streams(self) -> bool:
        return False

    def loop(self) -> str:
        made = self.wired.loop
        serves = [*(level.serves for level in made.levels), *(tlb.serves for tlb in made.tlbs)]
        queued = f"queued {sorted(shared_of(self.system))}" if self.timing == "queued" else ""
        return f"{made} {[sorted(held) for held in serves]} {self._interrupted()} {queued}"

    def warm(self, note: Callable[[str], None]) -> None:
        wired = replace(self.wired, sets=dict.fromkeys(self.wired.sets, 1))
        note("compiling")
        counts = Counts(fetches=int(self._fetches()))  # another loop has them
        nothing = PagedEvents(counts, np.zeros(0, np.int64), None, np.zeros(0, np.int32), marks=np.zeros(0, np.int64))
        tables = self._tables(nothing, 0)
        if self.timing == "queued":
            from tiersim.models.core_translation import simulate_translation

            stream = self._stream(nothing, self._replayed)
            simulate_translation(self.system, wired, [stream], tables, shootdowns=self._interrupted())
        else:
            translate(wired.loop, wired.sets, nothing, tables, wired.timing, shootdowns=self._interrupted())
        note("")

    def _interrupted(self) -> bool:
        """Whether shootdowns stand between the references."""
        return self.shootdowns > 0 or not self.asids

    def _paging(self) -> Paging:
        return Paging(self.large_pages, self.host_large_pages, self.contiguity)

    def _tables(self, events: PagedEvents, seed: int) -> Tables:
        return self.wired.tables(events.lines, self._paging(), seed)

    def simulate(self, seed: int, progress: Progress) -> Simulated:
        if self.timing == "queued":
            return self._simulate_queued(seed, progress)
        wired, references = self.wired, self._events()
        tables = self._tables(references, seed)
        start = prefix(self._replayed.trace, self._warm_up(), LINE, self._fetches(), self._replayed.skip)
        whole = references.counts.events
        cuts = sorted({start.events, *(whole * step // WINDOWS for step in range(1, WINDOWS))} - {0})
        at, shot = switches(references), self._shot(references, seed)
        events = self._between(references, at, shot, tables.groups)
        result = translate(
            wired.loop,
            wired.sets,
            events,
            tables,
            wired.timing,
            seed=seed,
            cuts=events.place(np.array(cuts)).tolist() if isinstance(events, ShotEvents) else cuts,
            shootdowns=self._interrupted(),
            progress=by_record(self.size(), events.counts.events, progress),
        )
        ends = [*cuts, whole]
        measured = result - result.cuts[ends.index(start.events)] if start.events else result
        own = [held.own for held in (*result.cuts, result)]
        missing, walks = (np.diff([0, *(held[name] for held in own)]).tolist() for name in ("missing", "walks"))
        resident = [held["resident"] for held in own]
        return Simulated(
            measured,
            references.counts - start,
            ends,
            missing,
            walks,
            resident,
            tables.pages,
            tables.tables,
            shootdowns=int((shot[0] >= start.events).sum()) if shot else None,
            switches=int((at >= start.events).sum()) if self._replayed.trace.has_spaces else None,
        )

    def keeps_time(self) -> bool:
        return self.timing == "queued"

    def draw(self, timeline: Timeline, seed: int, progress: Progress) -> None:
        from tiersim.models.core_translation import write_walks

        result, _ = self._run_cores(seed, progress, journal=timeline.budget)
        write_walks(result, self.system, timeline)

    def _run_cores(
        self, seed: int, progress: Progress, cuts: Sequence[int] = (), journal: int = 0
    ) -> tuple[TranslatedCores, Tables]:
        from tiersim.models.core_translation import pages_of, simulate_translation

        runs = [*[self._replayed] * self.copies, *self._neighbours]
        made = {id(run): self._events(run=run) for run in runs}
        streams = [self._stream(made[id(run)], run) for run in runs]
        tables = self.wired.tables(pages_of(streams), self._paging(), seed)
        first = 0
        for stream in streams:
            own, groups = stream.events, tables.groups
            if groups is not None:
                groups = groups[first : first + len(own.lines)] - np.array([first, 0], np.int32)
            stream.events = self._between(own, switches(own), self._shot(own, seed), groups)
            first += len(own.lines)
        events = streams[0].events
        result = simulate_translation(
            self.system,
            self.wired,
            streams,
            tables,
            seed=seed,
            cuts=events.place(np.array(cuts)).tolist() if isinstance(events, ShotEvents) else cuts,
            shootdowns=self._interrupted(),
            journal=journal,
            progress=by_record(self.size(), events.counts.events, progress),
        )
        return result, tables

    def _simulate_queued(self, seed: int, progress: Progress) -> Simulated:
        references = self._events()
        start = prefix(self._replayed.trace, self._warm_up(), LINE, self._fetches(), self._replayed.skip)
        whole = references.counts.events
        cuts = sorted({start.events, *(whole * step // WINDOWS for step in range(1, WINDOWS))} - {0})
        result, tables = self._run_cores(seed, progress, cuts)
        ends = [*cuts, whole]
        measured = result.books - result.cuts[ends.index(start.events)] if start.events else result.books
        told = [[own.own for own in held.own] for held in (*result.cuts, result)]
        missing, walks = (np.diff([0, *(held[0][name] for held in told)]).tolist() for name in ("missing", "walks"))
        at, shot = switches(references), self._shot(references, seed)
        return Simulated(
            measured.own[0],
            references.counts - start,
            ends,
            missing,
            walks,
            [sum(own["resident"] for own in (held if self._shares_blocks() else held[:1])) for held in told],
            len(references.lines),
            tables.tables,
            shootdowns=int((shot[0] >= start.events).sum()) if shot else None,
            switches=int((at >= start.events).sum()) if self._replayed.trace.has_spaces else None,
            cores=measured,
        )

    def _stream(self, events: PagedEvents, run: Process) -> PagedStream:
        from tiersim.models.core_translation import PagedStream

        counted = events.counts.instructions > 0
        return PagedStream(events, run.trace, 1 << LINE, self._fetches(run), run.skip, run.limit, counted)

    def _shares_blocks(self) -> bool:
        """Whether the TLB blocks of all cores are in one cache."""
        cache = self.wired.loop.mechanism.cache
        return cache is not None and list(self.system.caches)[cache] in shared_of(self.system)

    def _shot(self, references: PagedEvents, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        return drawn(references, self.shootdowns, seed) if self.shootdowns else None

    def _between(
        self,
        references: PagedEvents,
        at: NDArray[np.int64],
        shot: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
        groups: NDArray[np.int32] | None,
    ) -> PagedEvents:
        """The references, with shootdowns between them; without `asids` of all that a switch at `at` leaves behind."""
        found = [shot] if shot else []
        if not self.asids:
            stands = None if groups is None else groups.reshape(-1, 2)[:, 0]
            found.append(flushed(references, at, stands))
        return ShotEvents.of(references, *found) if found else references

    def measure(self, simulated: Simulated) -> Measured:
        counts, books = simulated.counts, simulated.books
        core, own = self.system.core, books.own
        cycle = SECOND / core.frequency
        notes = []
        instructions = counts.instructions
        if not instructions:
            instructions = counts.events
            notes.append("the trace does not count instructions: each reference counts as one")
        waits = {
            f"caches.{name}": books.caches[name]["program_reads"] * picoseconds(cache.latency, core)
            for name, cache in self.system.caches.items()
        }
        waits["memory"] = books.memory["program_reads"] * picoseconds(self.system.memory.latency, core)
        waited = sum(waits.values())
        translated = own["beyond"] * core.stall_factor / 10**9 / cycle
        cycles = instructions * core.base_cpi + waited * core.exposed / 10**9 / cycle + translated
        kilo = instructions / 1000
        metrics: dict[str, int | float] = {
            "cycles_per_instruction": cycles / instructions,
            "cycles": cycles,
            "instructions": instructions,
            "accesses": counts.accesses,
            "translation.share": translated / cycles if cycles else 0.0,
            "translation.missing": own["missing"],
            "translation.miss_ratio": own["missing"] / counts.events,
            "translation.walk_ratio": own["walks"] / counts.events,
            "translation.mpki": own["missing"] / kilo,
            "walks": own["walks"],
            "walks_per_kiloinstruction": own["walks"] / kilo,
            "walk_latency.longest": own["walk_longest"] / cycle,
            "walks_that_read_memory": own["walks_touched"],
            "background_walks": own["background_walks"],
            "pages.touched": simulated.pages,
            "pages.tables": simulated.tables,
        }
        if simulated.cores is None:
            metrics["core.cycles_per_instruction"] = core.base_cpi
            for name, wait in waits.items():
                metrics[f"{name}.cycles_per_instruction"] = wait * core.exposed / 10**9 / cycle / instructions
            metrics["translation.cycles_per_instruction"] = translated / instructions
        if simulated.switches is not None:
            metrics["switches"] = simulated.switches
        if simulated.shootdowns is not None:
            metrics["shootdowns"] = simulated.shootdowns
        if own["walks"]:
            metrics["walk_latency"] = own["walk_time"] / own["walks"] / cycle
        if own["block_lookups"]:
            metrics["blocks.hits"] = own["block_hits"]
            metrics["blocks.hit_ratio"] = own["block_hits"] / own["block_lookups"]
        for part in self.wired.loop.mechanism.parts:
            looked = books.structures[part.name]
            if asked := looked["lookups"]:
                metrics["pom.hits"] = asked - looked["misses"]
                metrics["pom.hit_ratio"] = (asked - looked["misses"]) / asked
                metrics["pom.latency"] = own["pom_time"] / asked / cycle
        if "probes" in own and own["walks"]:
            metrics["probes"] = own["probes"] / own["walks"]
        if self._blocks():
            metrics["blocks.inserted"] = own["inserted"]
            metrics["blocks.refused"] = own["refused"]
            metrics["translation_reach"] = float(np.average(self._reach(simulated), weights=self._spans(simulated)))
        if self.system.nested is not None:
            metrics["host_walks"] = own["host_walks"]
            metrics["host_walks_per_kiloinstruction"] = own["host_walks"] / kilo
            if own["host_walks"]:
                metrics["host_walk_latency"] = own["host_time"] / own["host_walks"] / cycle
            if asked := own["nested_block_lookups"]:
                metrics["blocks.nested_hit_ratio"] = own["nested_block_hits"] / asked
        levels, _ = levels_of(self.system, classify=False)
        first_misses = 0
        for name, tlb in self.system.tlbs.items():
            held = books.structures[f"tlbs.{name}"]
            if tlb.serves is not None:
                first_misses += held["misses"]
            metrics[f"tlbs.{name}.misses"] = held["misses"]
            metrics[f"tlbs.{name}.mpki"] = held["misses"] / kilo
            if self._interrupted():
                metrics[f"tlbs.{name}.removed"] = held["removed"]
            # the engine does not look a page up again that was just the last one
            asked = held["lookups"] if tlb.serves is None else self._references(tlb.serves, books, levels)
            if tlb.pages == "all" or tlb.serves is None:
                metrics[f"tlbs.{name}.lookups"] = asked
                if asked:
                    metrics[f"tlbs.{name}.miss_ratio"] = held["misses"] / asked
        if first_misses:
            metrics["translation.latency"] = own["beyond"] / first_misses / cycle
        for name, level in zip(self.system.caches, levels, strict=True):
            metrics |= {f"caches.{name}.{key}": value for key, value in _cache(books, name, level, kilo).items()}
        reuse = self._reuse(books)
        metrics |= {name: int(held[0]) / int(held.sum()) for name, held in reuse.items()}
        metrics["memory.reads"] = books.memory["reads"]
        metrics["memory.writes"] = books.memory["writes"]
        metrics["memory.walk_reads"] = _of(books.memory, "reads", WALKS)
        if simulated.cores is not None:
            metrics = self._queued(simulated.cores, metrics, instructions, first_misses)
        table = {"least": np.array(REUSED), **{name: np.add.reduceat(held, REUSED) for name, held in reuse.items()}}
        return Measured(metrics, self._windows(simulated), notes, reuse=table if reuse else {})

    def _queued(
        self, books: CoreBooks, metrics: dict[str, int | float], instructions: int, first_misses: int
    ) -> dict[str, int | float]:
        """The metrics with the times of queued time in place of sums of fixed latencies."""
        own = books.core()
        cycle = SECOND / self.system.core.frequency
        made = {name: held for name, held in metrics.items() if name not in (*UNLOADED, "walk_latency")}
        made |= core_metrics(self.system, own, books.own[0].memory, books.chips)
        made["cycles"] = own["time"] / cycle
        made["cycles_per_instruction"] = made["cycles"] / instructions
        made["walk_latency.longest"] = own["walk_longest"] / cycle
        if own["walks"]:
            made["walk_latency"] = own["walk_delay"] / own["walks"] / cycle
            made["walker.waiting"] = own["walker_stall"] / own["walks"] / cycle
        if first_misses:
            made["translation.latency"] = own["translation_delay"] / first_misses / cycle
        if own["time"]:
            made["translation.share"] = own["translation_stall"] / own["time"]
        for number, name in enumerate(self.beside, self.copies):
            other = books.core(number)
            if other["instructions"]:
                made[f"beside.{name}.cycles_per_instruction"] = other["time"] / cycle / other["instructions"]
        return made

    def _blocks(self) -> bool:
        return self.wired.loop.mechanism.cache is not None

    def _reuse(self, books: Books) -> dict[str, NDArray[np.int64]]:
        """Lines that were evicted after so many hits, by the name of the metric that is the share of those without."""
        if self.wired.loop.reuse is None:
            return {}
        name = list(self.system.caches)[self.wired.loop.reuse]
        kinds = {f"caches.{name}.zero_reuse": books.reuse, "blocks.zero_reuse": books.reuse[TLB_BLOCK:]}
        return {name: held.sum(axis=0) for name, held in kinds.items() if held.any()}

    def _reach(self, simulated: Simulated) -> Any:
        return np.array(simulated.resident, float) * BLOCK * SMALL

    def _references(self, serves: str, books: Books, levels: Sequence[Level]) -> int:
        """References that a first TLB translates, as the first caches count them."""
        total = 0
        for name, level in zip(self.system.caches, levels, strict=True):
            if level.serves:
                own = books.caches[name]
                data = int(_cache(books, name, level, 1)["data_reads"]) - own["fetches"]
                total += {"data": data, "instructions": own["fetches"], "all": data + own["fetches"]}[serves]
        return total

    def _spans(self, simulated: Simulated) -> Any:
        """References of each window, none of those that are not measured."""
        ends = np.array(simulated.ends, float)
        return np.where(ends > ends[-1] - simulated.counts.events, np.diff(ends, prepend=0), 0)

    def _windows(self, simulated: Simulated) -> dict[str, Any]:
        ends = np.array(simulated.ends, float)
        spans, measured = np.diff(ends, prepend=0), self._spans(simulated)
        windows = {
            "end": ends / ends[-1],
            "translation.miss_ratio": np.array(simulated.missing) / spans,
            "translation.miss_ratio.weight": measured,
            "translation.walk_ratio": np.array(simulated.walks) / spans,
            "translation.walk_ratio.weight": measured,
        }
        if self._blocks():
            windows["translation_reach"] = self._reach(simulated)
        return windows

    def memory(self) -> int:
        wired = self.wired
        state = sum(wired.sets.get(part.name, 0) * part.ways * 16 for part in wired.loop.structures)
        # nobody knows the number of pages beforehand: one for each eight accesses is assumed
        pages = self.copies * self.size() + sum(use.length() for use in self.beside.values())
        return 150_000_000 + (self.copies + len(self.beside)) * state + 40 * (pages // 8)

    def shown(self) -> list[str]:
        return ["cycles_per_instruction", "translation.share", "walks_per_kiloinstruction", "walk_latency"]

    @staticmethod
    def parts(metric: str, names: Collection[str]) -> Addends:
        return time_parts(metric, names)

    @staticmethod
    def metrics() -> list[Metric]:
        own = [Metric(name, *said) for name, said in (METRICS | QUEUED_METRICS).items()]
        own.append(Metric("beside.NAME.cycles_per_instruction", *BESIDE))
        own += [Metric(f"tlbs.NAME.{name}", *said) for name, said in TLB_METRICS.items()]
        return own + [Metric(f"caches.NAME.{name}", *said) for name, said in CACHE_METRICS.items()]

    def describe(self, name: str) -> Metric | None:
        if said := (METRICS | QUEUED_METRICS).get(name):
            return Metric(name, *said)
        first, _, rest = name.partition(".")
        part, _, last = rest.rpartition(".")
        if first == "beside" and part in self.beside and last == "cycles_per_instruction":
            return Metric(name, *BESIDE)
        if first == "tlbs" and part in self.system.tlbs and last in TLB_METRICS:
            return Metric(name, *TLB_METRICS[last])
        if first == "caches" and part in self.system.caches and last in CACHE_METRICS:
            return Metric(name, *CACHE_METRICS[last])
        return None

    def metric_names(self) -> list[str]:
        """Every metric that this config can give, whether or not the trace allows it."""
        tlbs = [f"tlbs.{name}.{key}" for name in self.system.tlbs for key in TLB_METRICS]
        own = [*METRICS, *(QUEUED_METRICS if self.timing == "queued" else ())]
        own += [f"beside.{name}.cycles_per_instruction" for name in self.beside]
        own += [*tlbs, *(f"caches.{name}.{key}" for name in self.system.caches for key in CACHE_METRICS)]
        return [name for name in own if self.timing == "additive" or not name.endswith(ADDITIVE) or "beside." in name]


def _wrong(path: tuple[str, ...], message: str) -> StudyError:
    error = StudyError(message)
    error.path = path
    return error


def _of(own: dict[str, int], what: str, sources: Sequence[str]) -> int:
    """What these have read, or missed, together."""
    return sum(own.get(f"{who}_{what}", 0) for who in sources)


def _cache(books: Books, name: str, level: Any, kilo: float) -> dict[str, int | float]:
    """The metrics of one cache. An entry settles the program's references itself; those of others are told apart."""
    own = books.caches[name]
    walks, missed = _of(own, "reads", WALKS), _of(own, "misses", WALKS)
    reads, misses = own["program_reads"], own["program_misses"]
    if level.serves:
        reads = own["reads"] + own["writes"] - walks - _of(own, "reads", OTHERS) - own["pom_writes"]
        misses = own["read_misses"] + own["write_misses"]
        misses -= missed + _of(own, "misses", OTHERS) + own["pom_write_misses"]
    out: dict[str, int | float] = {"data_reads": reads, "data_misses": misses, "mpki": misses / kilo}
    if reads:
        out["data_miss_ratio"] = misses / reads
    return {**out, "walk_reads": walks, "walk_misses": missed, "writebacks": own["writebacks"]}
