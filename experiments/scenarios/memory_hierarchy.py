"""A captured memory trace through caches and memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TiersimError
from tiersim._base.params import Param, dump
from tiersim._base.registry import register
from tiersim.experiments.queued_metrics import BESIDE, CORE_METRICS, core_metrics
from tiersim.experiments.scenario import Addends, Measured, Metric, OfTrace, Progress, by_record, of_totals
from tiersim.experiments.time_parts import ACCESS, ADDITIVE, BASE, WAITING, time_parts
from tiersim.experiments.trace_use import TraceParam, TraceUse
from tiersim.models.caches import System, Times, additive, additive_parts, levels_of, picoseconds, shared_of
from tiersim.sim.events import Counts, Events, begin_events, prefix, prepare
from tiersim.sim.queued import SECOND
from tiersim.sim.replay import Result, futures, replay, warm

WINDOWS = 100
KINDS = ("cold_misses", "capacity_misses", "conflict_misses")

CACHE_METRICS = {
    "reads": ("references", "loads, fetches and requests from above", ""),
    "writes": ("references", "stores of the program, or written through from above", ""),
    "read_misses": ("references", "reads that the cache could not serve", "less"),
    "write_misses": ("references", "writes that found no line", "less"),
    "misses": ("references", "read misses and write misses", "less"),
    "miss_ratio": ("ratio", "misses / (reads + writes); write-backs from above are not demand", "less"),
    "mpki": ("1/1000 instructions", "misses for each thousand instructions", "less"),
    "cold_misses": ("references", "misses on lines never seen here before", ""),
    "capacity_misses": ("references", "misses that a fully associative LRU cache of this size has too", ""),
    "conflict_misses": ("references", "misses that a fully associative LRU cache of this size would not have", ""),
    "evictions": ("lines", "lines that made room", ""),
    "writebacks": ("lines", "dirty lines sent below", "less"),
    "writebacks_in": ("lines", "dirty lines received from above", ""),
    "writeback_misses": ("lines", "dirty lines received that were not here", ""),
    "invalidations": ("lines", "lines dropped because an inclusive cache below evicted them", "less"),
    "puts": ("lines", "lines received from above by an exclusive cache", ""),
    "access_time": ACCESS,
    "cycles_per_instruction": WAITING,
}
METRICS = {
    "average_access_time": ("ns", "mean over loads and stores of the latencies that they paid", "less"),
    "cycles_per_instruction": ("cycles", "base cycles plus exposed waiting, for each instruction", "less"),
    "instructions": ("instructions", "executed in the measured part of the trace", ""),
    "accesses": ("accesses", "loads and stores in the measured part of the trace", ""),
    "memory.reads": ("lines", "read from memory", "less"),
    "memory.writes": ("lines", "written to memory", "less"),
    "core.cycles_per_instruction": BASE,
    "memory.access_time": ACCESS,
    "memory.cycles_per_instruction": WAITING,
}
QUEUED_METRICS = {"time": ("ns", "that the first core took", "less"), **CORE_METRICS}


if TYPE_CHECKING:  # SimPy and the loop of cores are for queued time only, and take a tenth of a start
    from tiersim.models.cores import Stream
    from tiersim.sim.cores import Books, CoreResult
    from tiersim.sim.queued.timeline import Timeline


@dataclass
class Simulated:
    """Counters of one simulation: the measured part, and by window."""

    counters: dict[str, dict[str, int]]
    memory: dict[str, int]
    counts: Counts
    ends: list[int]
    misses: dict[str, list[int]]
    references: dict[str, list[int]]


@dataclass
class Booked:
    """Books of one simulation in queued time: the measured part, and the ends and misses of windows."""

    books: Books
    counts: Counts
    ends: list[int]
    misses: dict[str, list[int]]
    references: dict[str, list[int]]


@register("memory-hierarchy", family="scenario")
class MemoryHierarchy(OfTrace):
    """How a program's memory accesses fare in a hierarchy of caches: misses, write-backs, access time."""

    trace: Annotated[TraceUse, TraceParam("the accesses to replay", reads_all=True)]
    system: Annotated[System, Param("the machine: a preset's name, or caches, memory and core")]
    timing: Annotated[
        Literal["additive", "queued"],
        Param("`additive` adds fixed latencies; `queued` lets misses overlap and contend for memory"),
    ] = "additive"
    copies: Annotated[
        int, Param("cores that run the trace at once, with `timing: queued`; metrics are the first one's", ge=1, le=64)
    ] = 1
    beside: Annotated[
        dict[str, Annotated[TraceUse, TraceParam("what a neighbour runs", reads_all=True)]],
        Param("programs on cores of their own, with `timing: queued`: a name for each, and its trace"),
    ] = field(default_factory=dict)
    miss_kinds: Annotated[bool, Param("tell cold, capacity and conflict misses apart (about a third more time)")] = True

    records: ClassVar[str] = "access"
    steps: ClassVar[str] = "accesses"

    def check(self) -> None:
        self.trace.demand(self.records)
        try:
            levels_of(self.system)
            shared_of(self.system)
            if self.timing == "queued" or self.system.memory.dram is not None:
                from tiersim.models.cores import check_queued

                check_queued(self.system)
        except StudyError as error:
            error.path = ("system", *error.path)
            raise
        if self.timing == "additive" and (self.copies > 1 or self.beside):
            alone = StudyError("with additive time cores do not meet", None, "write `timing: queued`")
            alone.path = ("copies",) if self.copies > 1 else ("beside",)
            raise alone
        for name, use in self.beside.items():
            try:
                use.demand(self.records)
                use.length()
            except TiersimError as error:
                error.path = ("beside", name, *error.path[1:])
                raise
            if use.warm_up is not None:
                early = StudyError("what is measured begins with the `warm_up` of the trace, and nowhere else")
                early.path = ("beside", name, "warm_up")
                raise early

    def refuses(self) -> str:
        levels, _ = levels_of(self.system)
        for level in levels:
            if getattr(level.policy, "needs_future", False):
                name = level.policy.registered.name
                if level.exclusive or any(other.inclusion == "inclusive" for other in levels):
                    return (
                        f"{name} in {level.name} needs references that no eviction changes; "
                        "use it where no cache is inclusive and its own is not exclusive"
                    )
                if self.copies > 1 or self.beside:
                    return f"{name} in {level.name} needs the references to come, and with several cores time decides"
        return ""

    def is_random(self) -> bool:
        return any(getattr(cache.policy, "random", False) for cache in self.system.caches.values())

    def trace_fingerprint(self) -> str:
        return " ".join(use.open().fingerprint for use in (self.trace, *self.beside.values()))

    def _fetches(self, use: TraceUse | None = None) -> bool:
        levels, _ = levels_of(self.system)
        trace = (use or self.trace).open()
        return trace.has_fetches and any("instructions" in level.serves for level in levels)

    def structure(self) -> Mapping[str, Any]:
        system = dump(self.system)
        if self.timing == "queued":
            own = {"copies": self.copies, "beside": dump(self.beside)}
            return {"trace": dump(self.trace), "system": system, "miss_kinds": self.miss_kinds, **own}
        system.pop("core", None)
        system.pop("memory", None)
        for cache in system["caches"].values():
            cache.pop("latency", None)
        return {"trace": dump(self.trace), "system": system, "miss_kinds": self.miss_kinds}

    def modules(self) -> list[str]:
        own = [type(self).__module__, *(["tiersim.models.cores"] if self.timing == "queued" else [])]
        return own + [type(cache.policy).__module__ for cache in self.system.caches.values()]

    def _events(self, progress: Callable[[int, int], None] | None = None, use: TraceUse | None = None) -> Events:
        own = use or self.trace
        return prepare(own.open(), self.system.line, self._fetches(own), own.skip, own.limit, progress)

    def preparation(self) -> str:
        uses = (self.trace, *self.beside.values())
        parts = [f"{self._fetches(use)} {use.skip} {use.limit}" for use in uses]
        return f"{self.trace_fingerprint()} {self.system.line} {' '.join(parts)}"

    def prepare(self, progress: Progress) -> None:
        self._events(of_totals(progress))
        self.trace.warm_up_records()
        for use in self.beside.values():
            self._events(use=use)

    def streams(self) -> bool:
        if self.timing == "queued":
            return False  # time is kept of references that are all numbered
        told = getattr(self.trace.open(), "outline", {}).get("references", {})
        return not self.trace.skip and self.trace.limit is None and str(self.system.line) in told

    def loop(self) -> str:
        levels, _ = levels_of(self.system, classify=self.miss_kinds)
        serves = [sorted(level.serves) for level in levels]
        return f"{self.timing} {sorted(shared_of(self.system))} {levels} {serves}"

    def warm(self, note: Callable[[str], None]) -> None:
        levels, _ = levels_of(self.system, classify=self.miss_kinds)
        if not any(getattr(level.policy, "needs_future", False) for level in levels):  # else several, made on the way
            note("compiling")
            if self.timing == "queued":
                from tiersim.models.cores import warm_cores

                warm_cores(self.system, classify=self.miss_kinds)
            else:
                warm(levels)
            note("")

    def simulate(self, seed: int, progress: Progress) -> Simulated | Booked:
        if self.timing == "queued":
            return self._simulate_queued(seed, progress)
        begun = begin_events(self.trace.open(), self.system.line, self._fetches()) if self.streams() else None
        events = begun or self._events()
        levels, sets = levels_of(self.system, classify=self.miss_kinds)
        warm_up = self.trace.warm_up_records()
        start = prefix(self.trace.open(), warm_up, self.system.line.bit_length() - 1, self._fetches(), self.trace.skip)
        whole = events.counts.events
        cuts = sorted({start.events, *(whole * step // WINDOWS for step in range(1, WINDOWS))})
        step = by_record(self.size(), events.counts.events, progress)
        result = replay(levels, sets, events, seed=seed, cuts=cuts, progress=step)
        counters = dict(zip(self.system.caches, result.counters(start.events), strict=True))
        return Simulated(
            counters,
            result.memory(start.events),
            events.counts - start,
            [cut.end for cut in result.cuts],
            *_by_window(result, list(self.system.caches)),
        )

    def keeps_time(self) -> bool:
        return self.timing == "queued"

    def draw(self, timeline: Timeline, seed: int, progress: Progress) -> None:
        from tiersim.models.cores import write_timeline

        result = self._run_cores(self._events(), seed, progress, journal=timeline.budget)
        write_timeline(result, self.system, timeline)

    def _run_cores(
        self, events: Events, seed: int, progress: Progress, cuts: Sequence[int] = (), journal: int = 0
    ) -> CoreResult:
        levels, sets = levels_of(self.system, classify=self.miss_kinds)
        from tiersim.models.cores import simulate_cores

        others = [self._stream(self._events(use=use), use) for use in self.beside.values()]
        return simulate_cores(
            self.system,
            [self._stream(events, self.trace)] * self.copies + others,
            classify=self.miss_kinds,
            seed=seed,
            cuts=cuts,
            futures=futures(levels, sets, events, seed),
            journal=journal,
            progress=by_record(self.size(), events.counts.events, progress),
        )

    def _stream(self, events: Events, use: TraceUse) -> Stream:
        from tiersim.models.cores import Stream

        counted = events.counts.instructions > 0
        return Stream(events, use.open(), self.system.line, self._fetches(use), use.skip, use.limit, counted)

    def _simulate_queued(self, seed: int, progress: Progress) -> Booked:
        trace, fetches = self.trace.open(), self._fetches()
        events = self._events()
        start = prefix(trace, self.trace.warm_up_records(), self.system.line.bit_length() - 1, fetches, self.trace.skip)
        whole = events.counts.events
        ends = sorted({start.events, *(whole * step // WINDOWS for step in range(1, WINDOWS))} - {0})
        result = self._run_cores(events, seed, progress, ends)
        books = [*result.cuts, result]
        names = list(self.system.caches)
        misses: dict[str, list[int]] = {name: [] for name in names}
        references: dict[str, list[int]] = {name: [] for name in names}
        before: Books | None = None
        for held in books:
            for k, name in enumerate(names):
                own = (held if before is None else held - before).of(k)
                misses[name].append(own["read_misses"] + own["write_misses"])
                references[name].append(own["reads"] + own["writes"])
            before = held
        measured = result.books - result.cuts[ends.index(start.events)] if start.events else result.books
        return Booked(measured, events.counts - start, [*ends, whole], misses, references)

    def measure(self, simulated: Simulated | Booked) -> Measured:
        if isinstance(simulated, Booked):
            return self._measure_queued(simulated)
        counts, memory = simulated.counts, simulated.memory
        notes = []
        times = additive(self.system, simulated.counters, memory)
        metrics: dict[str, int | float] = {}
        if counts.accesses:
            metrics["average_access_time"] = times.data / counts.accesses / 1000
        if counts.instructions:
            metrics["cycles_per_instruction"] = self.system.core.base_cpi + self._waiting(times, counts)
            metrics["instructions"] = counts.instructions
            metrics["core.cycles_per_instruction"] = self.system.core.base_cpi
        else:
            notes.append("the trace does not count instructions: no cycles_per_instruction, no mpki")
        for part, spent in additive_parts(self.system, simulated.counters, memory).items():
            place = "memory" if part is None else f"caches.{part}"
            if counts.accesses:
                metrics[f"{place}.access_time"] = spent.data / counts.accesses / 1000
            if counts.instructions:
                metrics[f"{place}.cycles_per_instruction"] = self._waiting(spent, counts)
        metrics["accesses"] = counts.accesses
        for name, own in simulated.counters.items():
            metrics |= {f"caches.{name}.{key}": held for key, held in _cache_metrics(own, counts).items()}
            if not self.miss_kinds:
                for kind in KINDS:
                    del metrics[f"caches.{name}.{kind}"]
        metrics["memory.reads"] = memory["reads"]
        metrics["memory.writes"] = memory["writes"]
        return Measured(metrics, _windows(simulated), notes)

    def _waiting(self, times: Times, counts: Counts) -> float:
        """Cycles for each instruction that the core waits."""
        core = self.system.core
        return times.beyond * core.exposed / 10**9 * core.frequency / 10**12 / counts.instructions

    def _measure_queued(self, simulated: Booked) -> Measured:
        counts, books = simulated.counts, simulated.books
        core, memory = books.core(), books.memory
        notes = []
        metrics: dict[str, int | float] = {"time": core["time"] / 1000}
        if counts.accesses:
            first = next(level.name for level in levels_of(self.system)[0] if "data" in level.serves)
            own = picoseconds(self.system.caches[first].latency, self.system.core) * core["references"]
            metrics["average_access_time"] = (core["delay"] + own) / counts.accesses / 1000
        if counts.instructions:
            cycles = core["time"] * self.system.core.frequency / SECOND
            metrics["cycles_per_instruction"] = cycles / counts.instructions
            metrics["instructions"] = counts.instructions
        else:
            notes.append("the trace does not count instructions: each access counts as one, and there is no mpki")
        metrics |= core_metrics(self.system, core, memory, books.chips)
        metrics["accesses"] = counts.accesses
        for number, name in enumerate(self.beside, self.copies):
            other = books.core(number)
            if other["instructions"]:
                cycles = other["time"] * self.system.core.frequency / SECOND
                metrics[f"beside.{name}.cycles_per_instruction"] = cycles / other["instructions"]
        for k, name in enumerate(self.system.caches):
            held = _cache_metrics(books.of(k), counts)
            metrics |= {
                f"caches.{name}.{key}": value for key, value in held.items() if self.miss_kinds or key not in KINDS
            }
        metrics["memory.reads"] = memory["reads"]
        metrics["memory.writes"] = memory["writes"]
        return Measured(metrics, _windows(simulated), notes)

    def memory(self) -> int:
        levels, sets = levels_of(self.system, classify=self.miss_kinds)
        state = sum(count * level.ways * 16 for level, count in zip(levels, sets, strict=True))
        # a chunk of events, and for every distinct line its address and its place in each shadow cache; nobody knows
        # the number of lines beforehand, so one for each eight accesses is assumed
        lines = self.size() // 8
        future = 24 * self.size() if any(getattr(level.policy, "needs_future", False) for level in levels) else 0
        return 150_000_000 + state + lines * (8 + 8 * len(levels) * self.miss_kinds) + future

    def shown(self) -> list[str]:
        lowest = list(self.system.caches)[-1]
        own = "memory.latency" if self.timing == "queued" else "average_access_time"
        return [f"caches.{lowest}.miss_ratio", own, "cycles_per_instruction"]

    @staticmethod
    def parts(metric: str, names: Collection[str]) -> Addends:
        cache, _, last = metric.rpartition(".")
        if last != "misses" or not cache.startswith("caches."):
            return time_parts(metric, names)
        kinds = KINDS if f"{cache}.{KINDS[0]}" in names else ("read_misses", "write_misses")
        return Addends(tuple(f"{cache}.{kind}" for kind in kinds))

    @staticmethod
    def metrics() -> list[Metric]:
        own = [Metric(name, *said) for name, said in (METRICS | QUEUED_METRICS).items()]
        own.append(Metric("beside.NAME.cycles_per_instruction", *BESIDE))
        return own + [Metric(f"caches.NAME.{name}", *said) for name, said in CACHE_METRICS.items()]

    def describe(self, name: str) -> Metric | None:
        if said := (METRICS | QUEUED_METRICS).get(name):
            return Metric(name, *said)
        parts = name.split(".")
        if (
            len(parts) == 3
            and parts[0] == "beside"
            and parts[1] in self.beside
            and parts[2] == "cycles_per_instruction"
        ):
            return Metric(name, *BESIDE)
        if len(parts) == 3 and parts[0] == "caches" and parts[1] in self.system.caches and parts[2] in CACHE_METRICS:
            return Metric(name, *CACHE_METRICS[parts[2]])
        return None

    def metric_names(self) -> list[str]:
        """Every metric that this config can give, whether or not the trace allows it."""
        own = [*METRICS, *(QUEUED_METRICS if self.timing == "queued" else ())]
        own += [f"beside.{name}.cycles_per_instruction" for name in self.beside]
        own += [f"caches.{cache}.{key}" for cache in self.system.caches for key in CACHE_METRICS]
        return [name for name in own if self.timing == "additive" or not name.endswith(ADDITIVE) or "beside." in name]


def _windows(simulated: Simulated | Booked) -> dict[str, NDArray[np.float64]]:
    """The miss ratio of each cache in each window and its weight, and where the window ends as a share of the whole."""
    ends = np.array(simulated.ends)
    measured = ends > ends.max() - simulated.counts.events
    windows = {"end": ends / ends.max()}
    for name, missed in simulated.misses.items():
        asked = np.array(simulated.references[name], float)
        ratio = np.where(asked > 0, np.array(missed) / np.maximum(asked, 1), np.nan)
        windows |= {f"caches.{name}.miss_ratio": ratio, f"caches.{name}.miss_ratio.weight": asked * measured}
    return windows


def _cache_metrics(own: dict[str, int], counts: Counts) -> dict[str, int | float]:
    misses, references = own["read_misses"] + own["write_misses"], own["reads"] + own["writes"]
    out: dict[str, int | float] = {
        "reads": own["reads"],
        "writes": own["writes"],
        "read_misses": own["read_misses"],
        "write_misses": own["write_misses"],
        "misses": misses,
    }
    if references:
        out["miss_ratio"] = misses / references
    if counts.instructions:
        out["mpki"] = 1000 * misses / counts.instructions
    for kind in ("cold", "capacity", "conflict"):
        out[f"{kind}_misses"] = own[kind]
    for key in ("evictions", "writebacks", "writebacks_in", "writeback_misses", "invalidations", "puts"):
        out[key] = own[key]
    return out


def _by_window(result: Result, names: list[str]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    misses: dict[str, list[int]] = {name: [] for name in names}
    references: dict[str, list[int]] = {name: [] for name in names}
    for cut in result.cuts:
        one = replace(result, cuts=[cut]).counters()
        for name, own in zip(names, one, strict=True):
            misses[name].append(own["read_misses"] + own["write_misses"])
            references[name].append(own["reads"] + own["writes"])
    return misses, references
