"""Brute-force model of docs/explanation/translation.md, written from that page alone.

Caches are those of the hierarchy's model; its methods and these carry the names of the page's operations and follow
them step by step. It knows nothing of the engine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, cast

from tests.oracles.hierarchy import Cache, CacheSpec, Memory, Shadow
from tests.oracles.way_policies import TlbAwareSrrip, make

__all__ = [
    "DATA",
    "NESTED_BLOCK",
    "PAGE",
    "PAGE_TABLE",
    "REGION",
    "TLB_BLOCK",
    "ArtifactSpec",
    "Config",
    "HashedSpec",
    "HashedTable",
    "Line",
    "NestedSpec",
    "Outcome",
    "PomTlbSpec",
    "PrefetcherSpec",
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

DATA, PAGE_TABLE, TLB_BLOCK, NESTED_BLOCK = "data", "page table", "TLB block", "nested TLB block"
PAGE, REGION = 1 << 12, 1 << 21  # sizes of units, bytes
PARTS = ("reads", "read_misses", "writes", "write_misses")  # counts that are kept apart by who asks

Reference = tuple[int, int, str, int]
"""(address space, address, "load" | "store" | "fetch" | "shootdown", instructions since the one before)"""

Which = Callable[[int, int], bool]
"""Whether a number in an address space is so."""


def low(number: int) -> int:
    """What of a number decides the set of a TLB."""
    return number % 2**31


class Unit(NamedTuple):
    """What one translation covers: a unit, a guest's page, or a host's."""

    space: int
    size: int
    number: int

    def __mod__(self, sets: int) -> int:
        return low(self.number) % sets

    @property
    def address(self) -> int:
        return self.number * self.size


class Entry(NamedTuple):
    """An entry of a TLB: the unit that stands for all that share it, and the number by which its set is found."""

    unit: Unit
    place: int

    def __mod__(self, sets: int) -> int:
        return self.place % sets


def whole(unit: Unit) -> Entry:
    """An entry of the TLB in memory, whose sets go by all of a unit's number."""
    return Entry(unit, unit.number)


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


def none(space: int, number: int) -> bool:
    return False


def each(space: int, number: int) -> bool:
    return True


@dataclass(frozen=True)
class TlbSpec:
    """One TLB. Those that serve something are the first row; the others stand behind them in the order given.

    With a `reach` above 1 it coalesces.
    """

    sets: int
    ways: int
    latency: int = 1
    policy: str = "lru"
    sizes: tuple[int, ...] = (PAGE, REGION)
    serves: str | None = None
    """"data" | "instructions" | "all" """
    fill: str = "evictions"
    """"evictions" | "walk" """
    reach: int = 1


@dataclass(frozen=True)
class PwcSpec:
    """The page-walk cache of one level."""

    sets: int
    ways: int
    latency: int = 4
    miss: int = 0


@dataclass(frozen=True)
class NestedSpec:
    """The nested TLB, with which address spaces are guests; `virtual` is `lookup: virtual`."""

    sets: int
    ways: int
    latency: int = 1
    policy: str = "lru"
    virtual: bool = False


@dataclass(frozen=True)
class PrefetcherSpec:
    """Streams in so many sets of four; `unit` is `steps: one`."""

    sets: int
    degree: int = 2
    unit: bool = False


@dataclass(frozen=True)
class VictimaSpec:
    """`predictor` says of freq and cost whether a walk is costly; `window` is in instructions."""

    cache: str
    predictor: Callable[[int, int], bool] = at_least_once
    window: int = 1000
    high: int = 5
    nested_blocks: bool = True


@dataclass(frozen=True)
class ArtifactSpec:
    """Victima as its released artifact has it; `cache` is the one whose policy is told of pressure above `high`."""

    cache: str
    on_miss: bool = True
    on_eviction: bool = True
    window: int = 1000
    high: int = 5


@dataclass(frozen=True)
class PomTlbSpec:
    """A TLB in memory; `whole` is `read: set`."""

    sets: int
    ways: int = 16
    whole: bool = False
    store: bool = True


@dataclass(frozen=True)
class HashedSpec:
    """Hashed page tables in place of radix tables."""

    load: Fraction = Fraction(1, 2)


@dataclass(frozen=True)
class Config:
    """A machine; `latencies` are those of the caches and of "memory", `pwcs` go by level; `mechanism` None is radix.

    `large` says of an address space and the number of a region whether one large page maps it, `host_large` the same
    of guest-physical memory, `contiguous` of the number of a group whether its frames are so. `prefetchers` go by
    cache. `aware` and `spared` are parameters of TLB-aware SRRIP, in all caches that have it. Without `asids` a switch
    between address spaces empties what holds translations.
    """

    tlbs: Mapping[str, TlbSpec]
    caches: Mapping[str, CacheSpec]
    latencies: Mapping[str, int]
    pwcs: Mapping[int, PwcSpec] = field(default_factory=dict)
    levels: int = 4
    large: Which = none
    mechanism: VictimaSpec | ArtifactSpec | PomTlbSpec | HashedSpec | None = None
    nested: NestedSpec | None = None
    host_large: Which = none
    contiguous: Which = each
    prefetchers: Mapping[str, PrefetcherSpec] = field(default_factory=dict)
    aware: bool = True
    spared: int = 1
    asids: bool = True


@dataclass
class Outcome:
    """Everything that a run leaves behind. Times are in the unit of the latencies."""

    tlb_hits: dict[str, int]
    tlb_misses: dict[str, int]
    pwc_misses: dict[int, int]
    counts: Counter[str]
    """of translation as a whole; walks without another word are those that something waits for"""
    walk_times: list[int]
    """of each of these, in order"""
    times: list[int]
    """of each translation, in order"""
    by: dict[str, dict[str, Counter[str]]]
    """reads, stores and their misses in each cache and "memory", by who asked for them other than the program"""
    counters: dict[str, dict[str, int]]
    """by cache: those of the hierarchy without what `by` tells, and without kinds of misses"""
    memory: dict[str, int]
    """the program's reads, and writes"""
    prefetched: dict[str, int]
    """lines that were brought in, by cache"""
    left_alone: dict[str, int]
    """lines that were asked for and there, by cache"""
    tlb_contents: dict[str, set[Unit]]
    pwc_contents: dict[int, set[int]]
    pom_tlb: set[Unit]
    nested_tlb: set[Unit]
    contents: dict[str, set[tuple[Line, bool]]]
    blocks: set[Line]
    predictor: dict[Unit, tuple[int, int]]
    """(freq, cost)"""
    host_predictor: dict[Unit, tuple[int, int]]
    pressures: tuple[int, int]
    """translation and data pressure at the end, in units of 2^-16"""

    @property
    def time(self) -> int:
        return sum(self.times)

    @property
    def walks(self) -> int:
        return self.counts["walks"]

    @property
    def background_walks(self) -> int:
        return self.counts["background_walks"]

    @property
    def block_hits(self) -> int:
        return self.counts["block_hits"]

    @property
    def blocks_inserted(self) -> int:
        return self.counts["inserted"]

    @property
    def walk_time(self) -> int:
        return sum(self.walk_times)

    @property
    def longest_walk(self) -> int:
        return max(self.walk_times, default=0)

    @property
    def walk_reads(self) -> dict[str, int]:
        """By cache and "memory", of walks of both sorts."""
        return {part: self.by["walk"][part]["reads"] + self.by["background"][part]["reads"] for part in self.by["walk"]}

    @property
    def walk_read_misses(self) -> dict[str, int]:
        both = self.by["walk"], self.by["background"]
        return {cache: sum(by[cache]["read_misses"] for by in both) for cache in self.counters}

    @property
    def data_misses(self) -> dict[str, int]:
        return {name: count["read_misses"] + count["write_misses"] for name, count in self.counters.items()}


class Buffer:
    """Sets and ways of keys that know their remainder, such as the entries of a TLB, and counts of lookups."""

    def __init__(self, sets: int, ways: int, policy: str = "lru") -> None:
        self.sets = sets
        self.places: list[list[Any]] = [[None] * ways for _ in range(sets)]
        self.policies = [make(policy, ways) for _ in range(sets)]
        self.hits = self.misses = 0

    def look_up(self, key: Any) -> bool:
        if self.has(key):
            self.hits += 1
            self.tell_hit(key)
            return True
        self.misses += 1
        return False

    def has(self, key: Any) -> bool:
        return key in self.places[key % self.sets]

    def way(self, key: Any) -> int:
        return self.places[key % self.sets].index(key)

    def tell_hit(self, key: Any) -> None:
        self.policies[key % self.sets].hit(self.way(key))

    def enter(self, key: Any) -> Any:
        """Put the key into the first empty way or that of the victim, which is returned."""
        places, policy = self.places[key % self.sets], self.policies[key % self.sets]
        assert key not in places
        way = places.index(None) if None in places else policy.victim(places, ())
        victim, places[way] = places[way], key
        policy.fill(way)
        return victim

    def remove(self, key: Any) -> None:
        if self.has(key):
            self.places[key % self.sets][self.way(key)] = None

    def clear(self) -> None:
        self.places = [[None] * len(places) for places in self.places]

    def content(self) -> set[Any]:
        return {key for places in self.places for key in places if key is not None}


class Tlb:
    """A TLB, which is asked for units and holds entries; `entry` says which one a unit has."""

    def __init__(self, spec: TlbSpec, entry: Callable[[Unit, int], Entry]) -> None:
        self.spec, self.entry = spec, entry
        self.latency, self.sizes, self.serves, self.fill = spec.latency, spec.sizes, spec.serves, spec.fill
        self.held = Buffer(spec.sets, spec.ways, spec.policy)

    def entry_of(self, unit: Unit) -> Entry:
        return self.entry(unit, self.spec.reach)

    def look_up(self, unit: Unit) -> bool:
        return self.held.look_up(self.entry_of(unit))

    def has(self, unit: Unit) -> bool:
        return self.held.has(self.entry_of(unit))

    def tell_hit(self, unit: Unit) -> None:
        self.held.tell_hit(self.entry_of(unit))

    def enter(self, unit: Unit) -> Unit | None:
        victim: Entry | None = self.held.enter(self.entry_of(unit))
        return victim.unit if victim is not None else None

    def remove(self, unit: Unit) -> None:
        self.held.remove(self.entry_of(unit))

    def content(self) -> set[Unit]:
        return {entry.unit for entry in self.held.content()}


class NoShadow(Shadow):
    """Kinds of misses are not this model's matter."""

    def __init__(self) -> None:
        super().__init__(0)

    def use(self, line: int) -> None:
        pass


class TranslatingCache(Cache):
    """A cache whose lines are of several kinds, and which tells `told` of the lines that it has read."""

    def __init__(
        self,
        spec: CacheSpec,
        config: Config,
        pressed: Callable[[], bool],
        told: Callable[[TranslatingCache, Any], None],
        blocks_go_down: bool = False,
    ) -> None:
        aware = spec.policy == "tlb-aware-srrip"
        super().__init__(spec, ())
        self.shadow = NoShadow()
        self.told = told
        self.blocks_go_down = blocks_go_down
        if aware:
            self.policies = [self.aware_policy(places, config, pressed) for places in self.places]

    @staticmethod
    def aware_policy(places: list[int | None], config: Config, pressed: Callable[[], bool]) -> TlbAwareSrrip:
        return TlbAwareSrrip(
            len(places), lambda way: is_block(places[way]), lambda: config.aware and pressed(), config.spared
        )

    def read(self, line: int) -> bool:
        comes_dirty = super().read(line)
        self.told(self, line)
        return comes_dirty

    def put(self, line: int, dirty: bool) -> None:
        """An exclusive cache takes no TLB blocks: they are lost when they are evicted, but in the artifact."""
        if self.blocks_go_down or not is_block(line):
            super().put(line, dirty)

    def drop(self, line: int) -> bool:
        """Take a line out that nobody writes to; says whether it was there."""
        if not self.has(line):
            return False
        self.count["invalidations"] += 1
        assert not self.remove(line)
        if self.spec.inclusion == "inclusive":
            self.invalidate_above(line)
        return True


def is_block(line: Any) -> bool:
    return line is not None and line.kind in (TLB_BLOCK, NESTED_BLOCK)


def line_of(kind: str, space: int, size: int, number: int) -> int:
    """A line, as caches take it: they ask for no more of a number than its remainder, and whether two are equal."""
    return cast("int", Line(kind, space, size, number))


class Prefetcher:
    """The streams of one cache: for each page the line that was used last and the step to it."""

    def __init__(self, spec: PrefetcherSpec) -> None:
        self.spec = spec
        self.sets: list[dict[int, tuple[int, int | None]]] = [{} for _ in range(spec.sets)]  # the oldest first
        self.brought = self.left_alone = 0

    def follow(self, page: int, line: int) -> list[int]:
        """The lines of the page that are asked for now."""
        streams = self.sets[page % self.spec.sets]
        if page not in streams:
            if len(streams) == 4:
                del streams[next(iter(streams))]
            streams[page] = line, None
            return []
        last, before = streams[page]
        step = line - last
        if step == 0:
            return []
        streams[page] = line, step
        if step != before or (self.spec.unit and step not in (1, -1)):
            return []
        return [line + step * count for count in range(1, self.spec.degree + 1) if 0 <= line + step * count < 64]


class Tables:
    """The radix tables of all address spaces: where each of their pages is placed."""

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.frames: dict[Hashable, int] = {}

    def indices(self, page: Unit) -> list[int]:
        """Of the entries on the way to the page in the pages of the table, the root's first."""
        number = page.address // PAGE
        return [number >> 9 * (level - 1) & 511 for level in self.levels_of(page)]

    def levels_of(self, page: Unit) -> range:
        leaf = 1 if page.size == PAGE else 2
        return range(self.levels, leaf - 1, -1)

    def touch(self, page: Unit) -> list[int]:
        """Place the pages of the table that the page is the first to need; gives their frames."""
        before, indices = len(self.frames), self.indices(page)
        for depth in range(len(indices)):
            self.frames.setdefault((page.space, *indices[:depth]), len(self.frames))
        return list(range(before, len(self.frames)))

    def entries(self, page: Unit) -> list[int]:
        """The numbers, address / 8, of the entries on the way to the page's translation."""
        indices = self.indices(page)
        return [self.frames[(page.space, *indices[:depth])] * 512 + index for depth, index in enumerate(indices)]


def mix(z: int) -> int:
    """The last steps of splitmix64."""
    bits = (1 << 64) - 1
    z ^= z >> 30
    z = z * 0xBF58476D1CE4E5B9 & bits
    z ^= z >> 27
    z = z * 0x94D049BB133111EB & bits
    return z ^ z >> 31


class HashedTable:
    """The buckets of one table; groups are (number of the address space, unit number / 8)."""

    def __init__(self, groups: Sequence[tuple[int, int]], load: Fraction) -> None:
        self.buckets: list[tuple[int, int] | None] = [None] * math.ceil(len(groups) / load)
        for group in groups:
            free = next(bucket for bucket in self.path(group) if self.buckets[bucket] is None)
            self.buckets[free] = group

    def path(self, group: tuple[int, int]) -> list[int]:
        """All buckets in the order in which the group is sought."""
        space, number = group
        whole = len(self.buckets)
        return [(mix(space * 2**45 + number) + step) % whole for step in range(whole)]

    def search(self, group: tuple[int, int]) -> Iterator[int]:
        """The buckets that are read, up to that of the group or an empty one."""
        for bucket in self.path(group):
            yield bucket
            if self.buckets[bucket] in (group, None):
                return


class Run:
    """A machine in the midst of a run; the pages of `references` are known before it begins.

    They must be told for all but radix and Victima without a nested TLB, which place tables as they come.
    """

    def __init__(self, config: Config, references: Sequence[Reference] = ()) -> None:
        self.config = config
        mechanism = config.mechanism
        self.victima = mechanism if isinstance(mechanism, VictimaSpec) else None
        self.artifact = mechanism if isinstance(mechanism, ArtifactSpec) else None
        self.pom = mechanism if isinstance(mechanism, PomTlbSpec) else None
        self.counts = Counter[str]()
        self.touched: dict[tuple[int, int], int] = {}
        self.first_touched: dict[Unit, int] = {}
        self.spaces: dict[int, int] = {}
        self.running: int | None = None
        self.groups: dict[tuple[int, int, int], Unit] = {}
        self.tables, self.host_tables = Tables(config.levels), Tables(config.levels)
        self.tlbs = {name: Tlb(spec, self.entry_of) for name, spec in config.tlbs.items()}
        self.shared = [tlb for tlb in self.tlbs.values() if tlb.serves is None]
        self.pwcs = {level: Buffer(spec.sets, spec.ways) for level, spec in config.pwcs.items()}
        nested = config.nested or NestedSpec(1, 1)
        self.nested_tlb = Buffer(nested.sets, nested.ways, nested.policy)
        self.pom_tlb = Buffer(self.pom.sets, self.pom.ways) if self.pom else Buffer(1, 1)
        self.memory = Memory()
        self.prefetchers = {name: Prefetcher(spec) for name, spec in config.prefetchers.items()}
        self.caches = self.build_caches()
        self.cache = self.caches[self.victima.cache] if self.victima else None
        self.holders = self.path_of_data() if self.artifact else [self.cache] if self.cache else []
        self.predictor: dict[Unit, tuple[int, int]] = {}
        self.host_predictor: dict[Unit, tuple[int, int]] = {}
        self.walk_times: list[int] = []
        self.times: list[int] = []
        self.who = "program"
        whos = ("walk", "background", "host", "background_host", "pom", "prefetch")
        self.by = {who: {part: Counter[str]() for part in [*config.caches, "memory"]} for who in whos}
        self.now = 0
        self.pressed = self.victima or self.artifact
        self.window = self.pressed.window if self.pressed else 1000
        self.window_end = self.window
        self.translation_pressure = self.data_pressure = 0
        self.missing_in_window = self.data_misses_before = 0
        for space, address, *_ in references:
            self.touch(space, address)
        self.hashed = self.build_hashed(mechanism) if isinstance(mechanism, HashedSpec) else {}

    def build_caches(self) -> dict[str, TranslatingCache]:
        caches = {
            name: TranslatingCache(
                spec,
                self.config,
                lambda: self.is_high(self.translation_pressure),
                self.has_read,
                self.artifact is not None,
            )
            for name, spec in self.config.caches.items()
        }
        for cache in caches.values():
            if cache.spec.below == "memory":
                cache.below = self.memory
            else:
                cache.below = caches[cache.spec.below]
                caches[cache.spec.below].above.append(cache)
        return caches

    def build_hashed(self, spec: HashedSpec) -> dict[int, HashedTable]:
        """The table of each page size that occurs, by size."""
        tables = {}
        for size in (PAGE, REGION):
            units = [self.unit_of(space, page * PAGE) for space, page in self.touched]
            groups = dict.fromkeys(self.bucket_group(unit) for unit in units if unit.size == size)
            if groups:
                tables[size] = HashedTable(list(groups), spec.load)
        return tables

    def bucket_group(self, unit: Unit) -> tuple[int, int]:
        return self.spaces[unit.space], unit.number // 8

    def entry_cache(self, what: str) -> TranslatingCache | None:
        return next((cache for cache in self.caches.values() if cache.spec.serves in (what, "all")), None)

    def path_of_data(self) -> list[TranslatingCache]:
        """The caches that a load looks up, from the first on."""
        path = [self.entry_cache("data")]
        while isinstance(path[-1], TranslatingCache):
            path.append(cast("TranslatingCache | None", path[-1].below))
        return [cache for cache in path if isinstance(cache, TranslatingCache)]

    # pages

    def touch(self, space: int, address: int) -> None:
        """What the first reference to a page brings about."""
        if (space, address // PAGE) in self.touched:
            return
        self.touched[space, address // PAGE] = len(self.touched)
        self.first_touched.setdefault(self.host_unit(space, address), address // PAGE)
        self.spaces.setdefault(space, len(self.spaces))
        new = self.tables.touch(self.page_of(space, address))
        if self.config.nested is not None:
            for frame in new:
                self.host_tables.touch(self.host_unit(space, self.table_address(frame)))
            self.host_tables.touch(self.host_unit(space, address))
        unit = self.unit_of(space, address)
        if unit.size == PAGE:
            for reach in (2, 4, 8):
                self.groups.setdefault((space, reach, unit.number // reach), unit)

    def page_of(self, space: int, address: int) -> Unit:
        """The page, where there is a host the guest's."""
        return sized(space, address, self.config.large)

    def host_unit(self, space: int, address: int) -> Unit:
        return sized(space, address, self.config.host_large)

    def unit_of(self, space: int, address: int) -> Unit:
        page = self.page_of(space, address)
        return (
            page if self.config.nested is None else min(page, self.host_unit(space, address), key=lambda one: one.size)
        )

    def table_address(self, frame: int) -> int:
        """Where the frame of a guest's table is in guest-physical memory."""
        return (2 ** (9 * self.config.levels - 1) + frame) * PAGE

    def entry_of(self, unit: Unit, reach: int) -> Entry:
        """The entry of the unit in a TLB of this reach."""
        if reach == 1 or unit.size != PAGE:
            return Entry(unit, low(unit.number))
        group = unit.number // reach
        shares = self.config.contiguous(unit.space, group)
        return Entry(self.groups[unit.space, reach, group] if shares else unit, low(group))

    # references

    def reference(self, space: int, address: int, kind: str, instructions: int) -> None:
        self.pass_windows(instructions)
        self.touch(space, address)
        unit = self.unit_of(space, address)
        if kind == "shootdown":
            self.shoot_down(unit)
            return
        self.switch_to(space)
        what = "instructions" if kind == "fetch" else "data"
        if row := self.first_row(what):
            self.translate(unit, address, [tlb for tlb in row + self.shared if unit.size in tlb.sizes])
        cache = self.entry_cache(what)
        line = line_of(DATA, space, 0, address // 64)
        if cache is not None and kind == "store":
            cache.store(line)
            self.has_read(cache, line)
        elif cache is not None:
            cache.read(line)

    def first_row(self, what: str) -> list[Tlb]:
        return [tlb for tlb in self.tlbs.values() if tlb.serves in (what, "all")]

    def translate(self, unit: Unit, address: int, path: list[Tlb]) -> None:
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
            self.counts["missing"] += 1
            self.missing_in_window += 1
            time = self.missing(unit, address, first, further)
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

    def switch_to(self, space: int) -> None:
        if not self.config.asids and self.running not in (None, space):
            self.flush()
        self.running = space

    def flush(self) -> None:
        """All TLBs, the TLB in memory and TLB blocks are emptied."""
        assert self.config.nested is None  # address spaces are guests then, which have more that would have to go
        for tlb in self.tlbs.values():
            tlb.held.clear()
        self.pom_tlb.clear()
        for cache in self.holders:
            for line, _ in cast("set[tuple[Line, bool]]", cache.content()):
                if line.kind == TLB_BLOCK:
                    cache.drop(line_of(*line))

    def shoot_down(self, unit: Unit) -> None:
        for tlb in self.tlbs.values():
            tlb.remove(unit)
        for cache in self.holders:
            cache.drop(self.block(unit))
        if self.pom is not None:
            self.pom_tlb.remove(whole(unit))

    # who reads what

    @contextmanager
    def asking(self, who: str) -> Iterator[None]:
        """What is counted meanwhile goes to the counts of `who`."""
        counted = {name: cache.count for name, cache in self.caches.items()} | {"memory": self.memory.count}
        before = {name: dict(count) for name, count in counted.items()}
        outer, self.who = self.who, who
        yield
        self.who = outer
        for name, count in counted.items():
            for part in PARTS if name != "memory" else ("reads",):
                more = count[part] - before[name][part]
                self.by[who][name][part] += more
                count[part] -= more

    def read(self, line: int, who: str) -> tuple[int, bool]:
        """Read a line as a load would be; gives what it took, and whether memory was read."""
        before = {name: self.by[who][name]["reads"] for name in self.by[who]}
        cache = self.entry_cache("data")
        assert cache is not None
        with self.asking(who):
            cache.read(line)
        looked_up = {name: self.by[who][name]["reads"] - before[name] for name in before}
        time = sum(count * self.config.latencies[name] for name, count in looked_up.items())
        return time, looked_up["memory"] > 0

    def has_read(self, cache: TranslatingCache, line: Any) -> None:
        """A reference of the program has been settled in a cache: its prefetcher is told."""
        name = next(name for name, held in self.caches.items() if held is cache)
        prefetcher = self.prefetchers.get(name)
        if prefetcher is None or self.who != "program":
            return
        page, place = divmod(line.number, 64)
        for ahead in prefetcher.follow(self.touched[line.space, page], place):
            wanted = line_of(DATA, line.space, 0, page * 64 + ahead)
            if cache.has(wanted):
                prefetcher.left_alone += 1
                continue
            prefetcher.brought += 1
            with self.asking("prefetch"):
                cache.bring(wanted)

    # walks

    def walk(self, unit: Unit, who: str) -> tuple[int, bool]:
        """What it takes, and whether it touched memory; `who` is "walk", or "background"."""
        if self.config.nested is not None and self.config.nested.virtual:
            return self.virtual_walk(unit, who)
        page = self.page_of(unit.space, unit.address)
        time, touched = 0, False
        for level, entry in zip(self.tables.levels_of(page), self.tables.entries(page), strict=True):
            pwc = self.pwcs.get(level)
            if pwc is not None and pwc.look_up(entry):
                time += self.config.pwcs[level].latency
                continue
            if pwc is not None:
                time += self.config.pwcs[level].miss
            located = self.locate(unit.space, self.table_address(entry // 512), who)
            read = self.read(self.table_line(entry), who)
            time += located[0] + read[0]
            touched |= located[1] or read[1]
            if pwc is not None:
                pwc.enter(entry)
        located = self.locate(unit.space, unit.address, who)
        return time + located[0], touched or located[1]

    def virtual_walk(self, unit: Unit, who: str) -> tuple[int, bool]:
        """First all reads of the guest's tables, then a lookup of the program's page for each of these."""
        page = self.page_of(unit.space, unit.address)
        time, touched, read = 0, False, []
        for level, entry in zip(self.tables.levels_of(page), self.tables.entries(page), strict=True):
            pwc = self.pwcs.get(level)
            if pwc is not None and pwc.look_up(entry):
                time += self.config.pwcs[level].latency
                continue
            if pwc is not None:
                time += self.config.pwcs[level].miss
            spent, from_memory = self.read(self.table_line(entry), who)
            time += spent
            touched |= from_memory
            if pwc is not None:
                pwc.enter(entry)
            read.append(self.host_unit(unit.space, self.table_address(entry // 512)))
        for table in read:
            spent, from_memory = self.virtual_locate(self.host_unit(unit.space, unit.address), unit, table, who)
            time += spent
            touched |= from_memory
        return time, touched

    def virtual_locate(self, page: Unit, unit: Unit, table: Unit, who: str) -> tuple[int, bool]:
        assert self.config.nested is not None
        time = self.config.nested.latency
        if self.nested_tlb.look_up(page):
            return time, False
        if self.artifact is not None:
            block = self.host_block(page)
            self.counts["nested_block_lookups"] += 1
            answer = self.found(block)
            if answer is not None:
                self.counts["nested_block_hits"] += 1
                self.counts["nested_block_time"] += answer
                return time + answer, False
            if self.artifact.on_miss:
                self.counts["nested_inserted"] += 1
                self.read(block, "pom")
        victim = self.nested_tlb.enter(page)
        if victim is not None:
            self.counts["nested_left"] += 1
            block = self.host_block(victim)
            if self.artifact is not None and self.artifact.on_eviction and not self.is_held(block):
                self.counts["nested_inserted"] += 1
                self.read(block, "pom")
        spent, touched = self.host_walk(table, who)
        return time + spent, touched

    def host_block(self, page: Unit) -> int:
        """That of the units in a host page, if they have its size, else one of its own."""
        same = self.unit_of(page.space, self.first_touched[page] * PAGE).size == page.size
        return self.block(page) if same else self.block(page, NESTED_BLOCK)

    def is_held(self, block: int) -> bool:
        return any(cache.has(block) for cache in self.holders)

    def found(self, block: int) -> int | None:
        """What a load of the block would take, if a cache has it; it is read from any but the first."""
        time = 0
        for cache in self.holders:
            time += self.latency(cache)
            if cache.has(block):
                if cache is not self.holders[0]:
                    self.read(block, "pom")
                return time
        return None

    def demand_walk(self, unit: Unit, address: int) -> tuple[int, bool]:
        time, touched = self.hashed_walk(unit, address) if self.hashed else self.walk(unit, "walk")
        self.counts["walks"] += 1
        self.counts["walks_touched"] += touched
        self.walk_times.append(time)
        return time, touched

    def background_walk(self, unit: Unit) -> bool:
        """Whether it touched memory."""
        time, touched = self.walk(unit, "background")
        self.counts["background_walks"] += 1
        self.counts["background_time"] += time
        return touched

    def table_line(self, entry: int) -> int:
        return line_of(PAGE_TABLE, 0, 0, entry // 8)

    def block(self, unit: Unit, kind: str = TLB_BLOCK) -> int:
        return line_of(kind, unit.space, unit.size, unit.number // 8)

    def hashed_walk(self, unit: Unit, address: int) -> tuple[int, bool]:
        """All tables are searched at once, that of 4 KiB pages first, until the unit's group is found."""
        time, touched = 0, False
        searches = {
            size: table.search(self.bucket_group(Unit(unit.space, size, address // size)))
            for size, table in self.hashed.items()
        }
        steps = len(list(self.hashed[unit.size].search(self.bucket_group(unit))))
        for _ in range(steps):
            for size, search in searches.items():
                bucket = next(search, None)
                if bucket is None:
                    continue
                spent, from_memory = self.read(self.bucket_line(size, bucket), "walk")
                touched |= from_memory
                time += spent if size == unit.size else 0
                self.counts["probes" if size == unit.size else "side_probes"] += 1
        return time, touched

    def bucket_line(self, size: int, bucket: int) -> int:
        small = self.hashed.get(PAGE)
        frames = math.ceil(len(small.buckets) / 64) if small and size == REGION else 0
        return line_of(PAGE_TABLE, 0, 0, frames * 64 + bucket)

    # guests

    def locate(self, space: int, address: int, who: str) -> tuple[int, bool]:
        """What it takes to locate a guest-physical page, and whether a walk for it touched memory."""
        if self.config.nested is None:
            return 0, False
        page = self.host_unit(space, address)
        time = self.config.nested.latency
        if self.nested_tlb.look_up(page):
            return time, False
        spent, touched = self.nested_missing(page, who)
        victim = self.nested_tlb.enter(page)
        if victim is not None:
            self.nested_left(victim)
        return time + spent, touched

    def has_nested_blocks(self) -> bool:
        return self.victima is not None and self.victima.nested_blocks

    def nested_missing(self, page: Unit, who: str) -> tuple[int, bool]:
        if not self.has_nested_blocks():
            return self.host_walk(page, who)
        block = self.block(page, NESTED_BLOCK)
        assert self.cache is not None
        self.counts["nested_block_lookups"] += 1
        if self.cache.has(block):
            self.counts["nested_block_hits"] += 1
            self.cache.tell_hit(block)
            return self.answer(), False
        ask = self.costly(self.host_predictor, page, "nested_refused")
        time, touched = self.host_walk(page, who)
        self.count(self.host_predictor, page, touched)
        if ask:
            self.nested_convert(page)
        return time, touched

    def nested_left(self, page: Unit) -> None:
        self.counts["nested_left"] += 1
        if not self.has_nested_blocks():
            return
        assert self.cache is not None
        if self.cache.has(self.block(page, NESTED_BLOCK)):
            return
        if self.costly(self.host_predictor, page, "nested_refused"):
            time, touched = self.host_walk(page, "background")
            self.counts["nested_saved"] += 1
            self.counts["nested_saved_time"] += time
            self.count(self.host_predictor, page, touched)
            self.nested_convert(page)

    def host_walk(self, page: Unit, who: str) -> tuple[int, bool]:
        time, touched = 0, False
        for entry in self.host_entries(page):
            spent, from_memory = self.read(self.table_line(entry), "host" if who == "walk" else "background_host")
            time += spent
            touched |= from_memory
        prefix = "" if who == "walk" else "background_"
        self.counts[f"{prefix}host_walks"] += 1
        self.counts[f"{prefix}host_time"] += time
        return time, touched

    def host_entries(self, page: Unit) -> list[int]:
        """As those of a table, in frames behind all of the guests'."""
        return [len(self.tables.frames) * 512 + entry for entry in self.host_tables.entries(page)]

    # mechanisms

    def missing(self, unit: Unit, address: int, first: Tlb, further: Sequence[Tlb]) -> int:
        """What the translation takes in all."""
        behind = sum(tlb.latency for tlb in further)
        if self.pom is not None:
            return first.latency + behind + self.missing_before_pom_tlb(self.pom, unit, address)
        if self.artifact is not None:
            return first.latency + self.missing_in_artifact(unit, address, behind)
        if self.cache is None:
            return first.latency + behind + self.demand_walk(unit, address)[0]
        block = self.block(unit)
        self.counts["block_lookups"] += 1
        if self.cache.has(block):
            self.counts["block_hits"] += 1
            self.cache.tell_hit(block)
            return first.latency + max(behind, self.answer())
        ask = self.costly(self.predictor, unit, "refused")
        time, touched = self.demand_walk(unit, address)
        self.count(self.predictor, unit, touched)
        if ask:
            self.convert(unit)
        return first.latency + behind + time

    def missing_in_artifact(self, unit: Unit, address: int, behind: int) -> int:
        assert self.artifact is not None
        self.counts["block_lookups"] += 1
        answer = self.found(self.block(unit))
        if answer is not None:
            self.counts["block_hits"] += 1
            return answer
        if self.artifact.on_miss:
            self.counts["inserted"] += 1
            self.read(self.block(unit), "pom")
        return behind + self.demand_walk(unit, address)[0]

    def answer(self) -> int:
        """What the cache with TLB blocks takes from the first lookup of a load on."""
        at, time = self.entry_cache("data"), 0
        while at is not self.cache:
            assert at is not None
            time += self.latency(at)
            assert isinstance(at.below, TranslatingCache)
            at = at.below
        assert at is not None
        return time + self.latency(at)

    def latency(self, cache: TranslatingCache) -> int:
        return next(self.config.latencies[name] for name, held in self.caches.items() if held is cache)

    def left(self, unit: Unit) -> None:
        """The last TLB has evicted the unit."""
        self.counts["left"] += 1
        if self.pom is not None:
            self.enter_pom_tlb(self.pom, unit)
        if self.artifact is not None and self.artifact.on_eviction and not self.is_held(self.block(unit)):
            self.counts["inserted"] += 1
            self.read(self.block(unit), "pom")
        if self.cache is None or self.cache.has(self.block(unit)):
            return
        if self.costly(self.predictor, unit, "refused"):
            touched = self.background_walk(unit)
            self.count(self.predictor, unit, touched)
            self.convert(unit)

    def count(self, counters: dict[Unit, tuple[int, int]], unit: Unit, touched: bool) -> None:
        freq, cost = counters.get(unit, (0, 0))
        counters[unit] = min(freq + 1, 7), min(cost + touched, 15)

    def costly(self, counters: dict[Unit, tuple[int, int]], unit: Unit, refused: str) -> bool:
        assert self.victima is not None
        yes = self.is_high(self.data_pressure) or self.victima.predictor(*counters.get(unit, (0, 0)))
        self.counts[refused] += not yes
        return yes

    def convert(self, unit: Unit) -> None:
        page = self.page_of(unit.space, unit.address)
        leaf = self.tables.entries(page)[-1] if unit == page else self.host_entries(unit)[-1]
        self.convert_line(leaf, self.block(unit), "")

    def nested_convert(self, page: Unit) -> None:
        self.convert_line(self.host_entries(page)[-1], self.block(page, NESTED_BLOCK), "nested_")

    def convert_line(self, entry: int, block: int, counted: str) -> None:
        """The place of the leaf line is given up, and the block comes in; it need not be the same place."""
        assert self.cache is not None
        if self.cache.has(block):
            return
        self.counts[f"{counted}converted"] += self.cache.drop(self.table_line(entry))
        self.counts[f"{counted}inserted"] += 1
        self.cache.insert(block, dirty=False)

    # the TLB in memory

    def missing_before_pom_tlb(self, pom: PomTlbSpec, unit: Unit, address: int) -> int:
        paid = {size: self.look_up_set(pom, address // size) for size in (PAGE, REGION)}
        if self.pom_tlb.look_up(whole(unit)):
            self.counts["pom_time"] += paid[unit.size]
            return paid[unit.size]
        longer = max(paid.values())
        self.counts["pom_time"] += longer
        return longer + self.demand_walk(unit, address)[0]

    def look_up_set(self, pom: PomTlbSpec, number: int) -> int:
        lines = range(-(-pom.ways // 4) if pom.whole else 1)
        return max(self.read(self.pom_line(pom, number, 4 * line), "pom")[0] for line in lines)

    def pom_line(self, pom: PomTlbSpec, number: int, way: int) -> int:
        frames = len(self.tables.frames) + len(self.host_tables.frames)
        lines = -(-pom.ways * 16 // 64)
        return line_of(PAGE_TABLE, 0, 0, frames * 64 + number % pom.sets * lines + way * 16 // 64)

    def enter_pom_tlb(self, pom: PomTlbSpec, unit: Unit) -> None:
        if self.pom_tlb.has(whole(unit)):
            self.pom_tlb.tell_hit(whole(unit))
            return
        self.pom_tlb.enter(whole(unit))
        if pom.store:
            self.counts["pom_stores"] += 1
            cache = self.entry_cache("data")
            assert cache is not None
            with self.asking("pom"):
                cache.store(self.pom_line(pom, unit.number, self.pom_tlb.way(whole(unit))))

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
        return self.pressed is not None and pressure > self.pressed.high << 16

    def outcome(self) -> Outcome:
        contents = {name: cast("set[tuple[Line, bool]]", cache.content()) for name, cache in self.caches.items()}
        kinds_of_misses = ("cold", "capacity", "conflict")
        return Outcome(
            tlb_hits={name: tlb.held.hits for name, tlb in self.tlbs.items()},
            tlb_misses={name: tlb.held.misses for name, tlb in self.tlbs.items()},
            pwc_misses={level: pwc.misses for level, pwc in self.pwcs.items()},
            counts=self.counts,
            walk_times=self.walk_times,
            times=self.times,
            by=self.by,
            counters={
                name: {what: count for what, count in cache.count.items() if what not in kinds_of_misses}
                for name, cache in self.caches.items()
            },
            memory=self.memory.count,
            prefetched={name: held.brought for name, held in self.prefetchers.items()},
            left_alone={name: held.left_alone for name, held in self.prefetchers.items()},
            tlb_contents={name: tlb.content() for name, tlb in self.tlbs.items()},
            pwc_contents={level: pwc.content() for level, pwc in self.pwcs.items()},
            pom_tlb={entry.unit for entry in self.pom_tlb.content()},
            nested_tlb=self.nested_tlb.content(),
            contents=contents,
            blocks={line for lines in contents.values() for line, _ in lines if is_block(line)},
            predictor=self.predictor,
            host_predictor=self.host_predictor,
            pressures=(self.translation_pressure, self.data_pressure),
        )


def sized(space: int, address: int, large: Which) -> Unit:
    """The page of an address where `large` says which regions are one."""
    size = REGION if large(space, address // REGION) else PAGE
    return Unit(space, size, address // size)


def simulate(config: Config, references: Sequence[Reference]) -> Outcome:
    """Run the references, one line each, through the machine."""
    run = Run(config, references)
    for reference in references:
        run.reference(*reference)
    return run.outcome()
