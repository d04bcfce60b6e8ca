"""Brute-force model of docs/explanation/translation.md, written from that page alone.

Caches are those of the hierarchy's model; its methods and these carry the names of the pages' operations and follow
them step by step. It knows nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from tests.oracles.hierarchy import Cache, CacheSpec, Memory, Shadow
from tests.oracles.way_policies import TlbAwareSrrip, make

__all__ = [
    "DATA",
    "PAGE",
    "PAGE_TABLE",
    "REGION",
    "TLB_BLOCK",
    "Config",
    "Line",
    "Outcome",
    "PwcSpec",
    "Reference",
    "TlbSpec",
    "Unit",
    "VictimaSpec",
    "always",
    "at_least_once",
    "never",
    "simulate",
]

DATA, PAGE_TABLE, TLB_BLOCK = "data", "page table", "TLB block"
PAGE, REGION = 1 << 12, 1 << 21  # sizes of units, bytes

Reference = tuple[int, int, str, int]
"""(address space, address, "load" | "store" | "fetch" | "shootdown", instructions since the one before)"""


class Unit(NamedTuple):
    """What one translation covers."""

    space: int
    size: int
    number: int

    def __mod__(self, sets: int) -> int:
        return self.number % sets


class Line(NamedTuple):
    """What a cache holds a copy of; tables belong to space 0 and only TLB blocks have a page size."""

    kind: str
    space: int
    size: int
    number: int

    def __mod__(self, sets: int) -> int:
        return self.number % sets


def at_least_once(freq: int, cost: int) -> bool:
    return freq >= 1 and cost >= 1


def always(freq: int, cost: int) -> bool:
    return True


def never(freq: int, cost: int) -> bool:
    return False


@dataclass(frozen=True)
class TlbSpec:
    """One TLB. Those that serve something are the first row; the others stand behind them in the order given."""

    sets: int
    ways: int
    latency: int = 1
    policy: str = "lru"
    sizes: tuple[int, ...] = (PAGE, REGION)
    serves: str | None = None
    """"data" | "instructions" | "all" """
    fill: str = "evictions"
    """"evictions" | "walk" """


@dataclass(frozen=True)
class PwcSpec:
    """The page-walk cache of one level."""

    sets: int
    ways: int
    latency: int = 4
    miss: int = 0


@dataclass(frozen=True)
class VictimaSpec:
    """`predictor` says of freq and cost whether a walk is costly; `window` is in instructions."""

    cache: str
    predictor: Callable[[int, int], bool] = at_least_once
    window: int = 1000
    high: int = 5


@dataclass(frozen=True)
class Config:
    """A machine; `latencies` are those of the caches and of "memory", `pwcs` go by level, `large` says of an address
    space and the number of a region whether one large page maps it, and `mechanism` None is radix.

    `aware` and `spared` are parameters of TLB-aware SRRIP, in all caches that have it.
    """

    tlbs: Mapping[str, TlbSpec]
    caches: Mapping[str, CacheSpec]
    latencies: Mapping[str, int]
    pwcs: Mapping[int, PwcSpec] = field(default_factory=dict)
    levels: int = 4
    large: Callable[[int, int], bool] = lambda space, region: False
    mechanism: VictimaSpec | None = None
    aware: bool = True
    spared: int = 1


@dataclass
class Outcome:
    """Everything that a run leaves behind. Times are in the unit of the latencies."""

    tlb_hits: dict[str, int]
    tlb_misses: dict[str, int]
    walks: int
    background_walks: int
    walk_time: int
    """of walks that something waits for"""
    longest_walk: int
    block_hits: int
    blocks_inserted: int
    times: list[int]
    """of each translation, in order"""
    walk_reads: dict[str, int]
    """by cache and "memory", of walks of both sorts"""
    walk_read_misses: dict[str, int]
    counters: dict[str, dict[str, int]]
    """by cache: those of the hierarchy without what walks read, and without kinds of misses"""
    memory: dict[str, int]
    """reads, without those of walks, and writes"""
    tlb_contents: dict[str, set[Unit]]
    contents: dict[str, set[tuple[Line, bool]]]
    blocks: set[Line]
    predictor: dict[Unit, tuple[int, int]]
    """(freq, cost)"""
    pressures: tuple[int, int]
    """translation and data pressure at the end, in units of 2^-16"""

    @property
    def time(self) -> int:
        return sum(self.times)

    @property
    def data_misses(self) -> dict[str, int]:
        return {name: count["read_misses"] + count["write_misses"] for name, count in self.counters.items()}


class Buffer:
    """Sets and ways of keys that know their remainder: a TLB holds units, a page-walk cache numbers of entries."""

    def __init__(self, spec: TlbSpec | PwcSpec, policy: str = "lru") -> None:
        self.spec = spec
        self.places: list[list[Any]] = [[None] * spec.ways for _ in range(spec.sets)]
        self.policies = [make(policy, spec.ways) for _ in range(spec.sets)]

    def has(self, key: Any) -> bool:
        return key in self.places[key % self.spec.sets]

    def tell_hit(self, key: Any) -> None:
        place = key % self.spec.sets
        self.policies[place].hit(self.places[place].index(key))

    def enter(self, key: Any) -> Any:
        """Put the key into the first empty way or that of the victim, which is returned."""
        places, policy = self.places[key % self.spec.sets], self.policies[key % self.spec.sets]
        assert key not in places
        way = places.index(None) if None in places else policy.victim(places, ())
        victim, places[way] = places[way], key
        policy.fill(way)
        return victim

    def remove(self, key: Any) -> None:
        places = self.places[key % self.spec.sets]
        if key in places:
            places[places.index(key)] = None

    def content(self) -> set[Any]:
        return {key for places in self.places for key in places if key is not None}


class Tlb(Buffer):
    """A buffer of units that counts its lookups."""

    def __init__(self, spec: TlbSpec) -> None:
        super().__init__(spec, spec.policy)
        self.latency, self.sizes, self.serves, self.fill = spec.latency, spec.sizes, spec.serves, spec.fill
        self.hits = self.misses = 0

    def look_up(self, unit: Unit) -> bool:
        if self.has(unit):
            self.hits += 1
            self.tell_hit(unit)
            return True
        self.misses += 1
        return False


class NoShadow(Shadow):
    """Kinds of misses are not this model's matter."""

    def __init__(self) -> None:
        super().__init__(0)

    def use(self, line: int) -> None:
        pass


class TranslatingCache(Cache):
    """A cache whose lines are of several kinds."""

    def __init__(self, spec: CacheSpec, config: Config, pressed: Callable[[], bool]) -> None:
        aware = spec.policy == "tlb-aware-srrip"
        super().__init__(spec, ())
        self.shadow = NoShadow()
        if aware:
            self.policies = [self.aware_policy(places, config, pressed) for places in self.places]

    @staticmethod
    def aware_policy(places: list[int | None], config: Config, pressed: Callable[[], bool]) -> TlbAwareSrrip:
        return TlbAwareSrrip(
            len(places), lambda way: is_block(places[way]), lambda: config.aware and pressed(), config.spared
        )

    def put(self, line: int, dirty: bool) -> None:
        """An exclusive cache takes no TLB blocks: they are lost when they are evicted."""
        if not is_block(line):
            super().put(line, dirty)

    def convert(self, leaf: int, block: int) -> None:
        """The place of the leaf line is given up, and the block comes in; it need not be the same place."""
        if self.has(leaf):
            assert not self.remove(leaf), "nobody writes to tables"
            if self.spec.inclusion == "inclusive":
                self.invalidate_above(leaf)
        self.insert(block, dirty=False)


def is_block(line: Any) -> bool:
    return line is not None and line.kind == TLB_BLOCK


def line_of(kind: str, space: int, size: int, number: int) -> int:
    """A line, as caches take it: they ask for no more of a number than its remainder, and whether two are equal."""
    return cast("int", Line(kind, space, size, number))


class Tables:
    """The radix tables of all address spaces: where each of their pages is placed."""

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.frames: dict[Hashable, int] = {}

    def leaf_level(self, unit: Unit) -> int:
        return 1 if unit.size == PAGE else 2

    def indices(self, unit: Unit) -> list[int]:
        """Of the unit's entries in the pages of the table, the root's first."""
        page = unit.number * unit.size // PAGE
        return [page >> 9 * (level - 1) & 511 for level in self.levels_of(unit)]

    def levels_of(self, unit: Unit) -> range:
        return range(self.levels, self.leaf_level(unit) - 1, -1)

    def touch(self, unit: Unit) -> None:
        """Place the pages of the table that the unit is the first to need."""
        indices = self.indices(unit)
        for depth in range(len(indices)):
            self.frames.setdefault((unit.space, *indices[:depth]), len(self.frames))

    def entries(self, unit: Unit) -> list[int]:
        """The numbers, address / 8, of the entries on the way to the unit's translation."""
        indices = self.indices(unit)
        return [self.frames[(unit.space, *indices[:depth])] * 512 + index for depth, index in enumerate(indices)]


class Run:
    """A machine in the midst of a run."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.victima = config.mechanism
        self.tables = Tables(config.levels)
        self.tlbs = {name: Tlb(spec) for name, spec in config.tlbs.items()}
        self.shared = [tlb for tlb in self.tlbs.values() if tlb.serves is None]
        self.pwcs = {level: Buffer(spec) for level, spec in config.pwcs.items()}
        self.memory = Memory()
        self.caches = self.build_caches()
        self.cache = self.caches[config.mechanism.cache] if config.mechanism else None
        self.predictor: dict[Unit, tuple[int, int]] = {}
        self.walks = self.background_walks = self.block_hits = self.blocks_inserted = 0
        self.walk_times: list[int] = []
        self.times: list[int] = []
        self.walk_reads = dict.fromkeys([*config.caches, "memory"], 0)
        self.walk_read_misses = dict.fromkeys(config.caches, 0)
        self.now = 0
        self.window = config.mechanism.window if config.mechanism else 1000
        self.window_end = self.window
        self.translation_pressure = self.data_pressure = 0
        self.missing_in_window = self.data_misses_before = 0

    def build_caches(self) -> dict[str, TranslatingCache]:
        caches = {
            name: TranslatingCache(spec, self.config, lambda: self.is_high(self.translation_pressure))
            for name, spec in self.config.caches.items()
        }
        for cache in caches.values():
            if cache.spec.below == "memory":
                cache.below = self.memory
            else:
                cache.below = caches[cache.spec.below]
                caches[cache.spec.below].above.append(cache)
        return caches

    def entry_cache(self, what: str) -> TranslatingCache | None:
        return next((cache for cache in self.caches.values() if cache.spec.serves in (what, "all")), None)

    # references

    def reference(self, space: int, address: int, kind: str, instructions: int) -> None:
        self.pass_windows(instructions)
        unit = self.unit_of(space, address)
        if kind == "shootdown":
            self.shoot_down(unit)
            return
        what = "instructions" if kind == "fetch" else "data"
        if row := self.first_row(what):
            self.translate(unit, [tlb for tlb in row + self.shared if unit.size in tlb.sizes])
        cache = self.entry_cache(what)
        line = line_of(DATA, space, 0, address // 64)
        if cache is not None and kind == "store":
            cache.store(line)
        elif cache is not None:
            cache.read(line)

    def unit_of(self, space: int, address: int) -> Unit:
        size = REGION if self.config.large(space, address // REGION) else PAGE
        return Unit(space, size, address // size)

    def first_row(self, what: str) -> list[Tlb]:
        return [tlb for tlb in self.tlbs.values() if tlb.serves in (what, "all")]

    def translate(self, unit: Unit, path: list[Tlb]) -> None:
        self.tables.touch(unit)
        first, *further = path
        time = first.latency
        if first.look_up(unit):
            self.times.append(time)
            return
        for tlb in further:
            time += tlb.latency
            if tlb.look_up(unit):
                break
        else:
            self.missing_in_window += 1
            time = self.missing(unit, first, further)
            for tlb in further:
                if tlb.fill == "walk":
                    self.enter(tlb, unit)
        self.enter(first, unit)
        self.times.append(time)

    def enter(self, tlb: Tlb, unit: Unit) -> None:
        victim = tlb.enter(unit)
        if victim is not None:
            self.put_behind(tlb, victim)

    def put_behind(self, tlb: Tlb, victim: Unit) -> None:
        """What a TLB evicts goes into the next one that holds pages of its size, if that takes it."""
        behind = self.shared[self.shared.index(tlb) + 1 :] if tlb in self.shared else self.shared
        behind = [other for other in behind if victim.size in other.sizes]
        if not behind:
            self.left(victim)
        elif behind[0].fill == "walk":
            pass
        elif behind[0].has(victim):
            behind[0].tell_hit(victim)
        else:
            self.enter(behind[0], victim)

    def shoot_down(self, unit: Unit) -> None:
        for tlb in self.tlbs.values():
            tlb.remove(unit)
        if self.cache is not None and self.cache.has(self.block(unit)):
            self.cache.remove(self.block(unit))

    # walks

    def walk(self, unit: Unit) -> tuple[int, bool]:
        """What it takes, and whether it touched memory."""
        time, touched = 0, False
        for level, entry in zip(self.tables.levels_of(unit), self.tables.entries(unit), strict=True):
            pwc = self.pwcs.get(level)
            if pwc is not None and pwc.has(entry):
                pwc.tell_hit(entry)
                time += self.config.pwcs[level].latency
                continue
            spent, from_memory = self.read_table(entry)
            time += spent
            touched |= from_memory
            if pwc is not None:
                time += self.config.pwcs[level].miss
                pwc.enter(entry)
        return time, touched

    def demand_walk(self, unit: Unit) -> tuple[int, bool]:
        self.walks += 1
        time, touched = self.walk(unit)
        self.walk_times.append(time)
        return time, touched

    def read_table(self, entry: int) -> tuple[int, bool]:
        """Read an entry's line as a load would be, and move what that counted to the counts of walks."""
        before = {name: dict(cache.count) for name, cache in self.caches.items()}
        memory_before = self.memory.count["reads"]
        cache = self.entry_cache("data")
        assert cache is not None
        cache.read(self.table_line(entry))
        time = 0
        for name, cache in self.caches.items():
            looked_up = cache.count["reads"] - before[name]["reads"]
            missed = cache.count["read_misses"] - before[name]["read_misses"]
            time += looked_up * self.config.latencies[name]
            self.walk_reads[name] += looked_up
            self.walk_read_misses[name] += missed
            cache.count["reads"] -= looked_up
            cache.count["read_misses"] -= missed
        from_memory = self.memory.count["reads"] - memory_before
        self.walk_reads["memory"] += from_memory
        self.memory.count["reads"] -= from_memory
        return time + from_memory * self.config.latencies["memory"], from_memory > 0

    def table_line(self, entry: int) -> int:
        return line_of(PAGE_TABLE, 0, 0, entry // 8)

    def block(self, unit: Unit) -> int:
        return line_of(TLB_BLOCK, unit.space, unit.size, unit.number // 8)

    # mechanisms

    def missing(self, unit: Unit, first: Tlb, further: Sequence[Tlb]) -> int:
        """What the translation takes in all."""
        behind = sum(tlb.latency for tlb in further)
        if self.victima is None:
            return first.latency + behind + self.demand_walk(unit)[0]
        assert self.cache is not None
        block = self.block(unit)
        if self.cache.has(block):
            self.block_hits += 1
            self.cache.tell_hit(block)
            return first.latency + max(behind, self.config.latencies[self.victima.cache])
        ask = self.costly(unit)
        time, touched = self.demand_walk(unit)
        self.count(unit, touched)
        if ask:
            self.convert(unit)
        return first.latency + behind + time

    def left(self, unit: Unit) -> None:
        """The last TLB has evicted the unit."""
        if self.cache is None or self.cache.has(self.block(unit)) or not self.costly(unit):
            return
        self.background_walks += 1
        _, touched = self.walk(unit)
        self.count(unit, touched)
        self.convert(unit)

    def count(self, unit: Unit, touched: bool) -> None:
        freq, cost = self.predictor.get(unit, (0, 0))
        self.predictor[unit] = min(freq + 1, 7), min(cost + touched, 15)

    def costly(self, unit: Unit) -> bool:
        assert self.victima is not None
        return self.is_high(self.data_pressure) or self.victima.predictor(*self.predictor.get(unit, (0, 0)))

    def convert(self, unit: Unit) -> None:
        assert self.cache is not None
        if not self.cache.has(self.block(unit)):
            self.blocks_inserted += 1
            self.cache.convert(self.table_line(self.tables.entries(unit)[-1]), self.block(unit))

    # pressure

    def pass_windows(self, instructions: int) -> None:
        """The windows that end before the reference's own instruction."""
        self.now += instructions
        while self.now > self.window_end:
            self.window_end += self.window
            self.translation_pressure = (self.translation_pressure + (self.missing_in_window << 16)) >> 1
            self.missing_in_window = 0
            misses = self.data_misses()
            self.data_pressure = (self.data_pressure + (misses - self.data_misses_before << 16)) >> 1
            self.data_misses_before = misses

    def data_misses(self) -> int:
        if self.cache is None:
            return 0
        return self.cache.count["read_misses"] + self.cache.count["write_misses"]

    def is_high(self, pressure: int) -> bool:
        return self.victima is not None and pressure > self.victima.high << 16

    def outcome(self) -> Outcome:
        contents = {name: cast("set[tuple[Line, bool]]", cache.content()) for name, cache in self.caches.items()}
        kinds_of_misses = ("cold", "capacity", "conflict")
        return Outcome(
            tlb_hits={name: tlb.hits for name, tlb in self.tlbs.items()},
            tlb_misses={name: tlb.misses for name, tlb in self.tlbs.items()},
            walks=self.walks,
            background_walks=self.background_walks,
            walk_time=sum(self.walk_times),
            longest_walk=max(self.walk_times, default=0),
            block_hits=self.block_hits,
            blocks_inserted=self.blocks_inserted,
            times=self.times,
            walk_reads=self.walk_reads,
            walk_read_misses=self.walk_read_misses,
            counters={
                name: {what: count for what, count in cache.count.items() if what not in kinds_of_misses}
                for name, cache in self.caches.items()
            },
            memory=self.memory.count,
            tlb_contents={name: tlb.content() for name, tlb in self.tlbs.items()},
            contents=contents,
            blocks={line for lines in contents.values() for line, _ in lines if line.kind == TLB_BLOCK},
            predictor=self.predictor,
            pressures=(self.translation_pressure, self.data_pressure),
        )


def simulate(config: Config, references: Sequence[Reference]) -> Outcome:
    """Run the references, one line each, through the machine."""
    run = Run(config)
    for reference in references:
        run.reference(*reference)
    return run.outcome()
