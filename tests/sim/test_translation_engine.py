"""The engine of translation against the brute-force model: every count, everything held, and times, on any machine."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.oracles.hierarchy import CacheSpec
from tests.oracles.strategies import pages, path_of_data, translated, variants
from tests.oracles.translation import (
    DATA,
    NESTED_BLOCK,
    PAGE,
    PAGE_TABLE,
    REGION,
    TLB_BLOCK,
    ArtifactSpec,
    Config,
    HashedSpec,
    Line,
    NestedSpec,
    PomTlbSpec,
    PwcSpec,
    Reference,
    Run,
    TlbSpec,
    Unit,
    VictimaSpec,
    always,
    at_least_once,
)
from tiersim._base.registry import build
from tiersim.policies.translation.predictors import Always, AtLeastOnce
from tiersim.policies.way.lru import Lru
from tiersim.sim.cache_loop import Level
from tiersim.sim.hashed_tables import hashed_tables_of
from tiersim.sim.mechanisms.hashed import HashedLoop
from tiersim.sim.mechanisms.pom_tlb import PomTlbLoop
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.mechanisms.victima import VictimaLoop
from tiersim.sim.mechanisms.victima_artifact import VictimaArtifactLoop
from tiersim.sim.pages import NUMBER, PagedEvents, Tables, coalesced, nested_tables_of, paged_from, tables_of
from tiersim.sim.prefetchers import Prefetcher
from tiersim.sim.translation import Timing, Translated, translate
from tiersim.sim.translation_loop import BIN, BINS, SHOOTDOWN, Loop, Mechanism, Nested, Tlb

UNIT = 997  # picoseconds in a unit of the model's time
LOW = (1 << NUMBER) - 1
KINDS = {"load": 0, "store": 1, "fetch": 3, "shootdown": 0}
WHO = ("walk", "background", "host", "background_host", "pom", "prefetch")
PREDICTORS = {at_least_once: AtLeastOnce, always: Always}
POM_TLB, NESTED = "pom-tlb", "nested"


class Machine:
    """A machine of the model in the terms of the engine, and one run of references on it."""

    def __init__(self, config: Config, references: Sequence[Reference]) -> None:
        self.config = config
        self.fetches = any(spec.serves in ("instructions", "all") for spec in config.caches.values())
        self.references = references if self.fetches else without_fetches(references)
        self.spaces = list(dict.fromkeys(space for space, *_ in self.references))
        self.events = self.make_events()
        self.loop, self.sets = self.make_loop()
        self.tables = self.make_tables(self.events.lines)

    # what the engine is given

    def make_events(self) -> PagedEvents:
        told = self.references
        columns = {
            "address": np.array([address for _, address, *_ in told], np.uint64),
            "kind": np.array([KINDS[kind] for *_, kind, _ in told], np.uint8),
            "size": np.ones(len(told), np.uint16),
            "gap": np.array([gap for *_, gap in told], np.uint32),
            "asid": np.array([7 - space for space, *_ in told], np.uint16),
        }
        if told and not columns["gap"].any():  # the model has no traces that do not count instructions
            columns["gap"][0] = 1
        events = paged_from(columns, self.fetches)
        assert events.held is not None
        assert len(events.held) == len(told)
        events.held[[kind == "shootdown" for *_, kind, _ in told]] |= SHOOTDOWN
        return events

    def make_loop(self) -> tuple[Loop, dict[str, int]]:
        config, sets = self.config, {}
        order = list(config.caches)
        levels = []
        for name, spec in config.caches.items():
            sets[name] = spec.sets
            below = None if spec.below == "memory" else order.index(spec.below)
            levels.append(
                Level(
                    name,
                    spec.ways,
                    self.policy(spec),
                    below,
                    frozenset({"data", "instructions"} if spec.serves == "all" else {spec.serves or ""} - {""}),
                    write_back=spec.write == "back",
                    write_allocate=spec.write_allocate,
                    inclusion=spec.inclusion,
                    power_of_two=power(spec.sets),
                    classify=False,
                )
            )
        tlbs = []
        for name, tlb in config.tlbs.items():
            sets[name] = tlb.sets
            serves = frozenset({"data", "instructions"} if tlb.serves == "all" else {tlb.serves or ""} - {""})
            sizes = frozenset(int(size == REGION) for size in tlb.sizes)
            policy, direct = build("way-replacement", tlb.policy), tlb.fill == "walk"
            tlbs.append(Tlb(name, tlb.ways, policy, sizes, serves, power(tlb.sets), direct, tlb.reach > 1))
        walk_caches = []
        if not isinstance(config.mechanism, HashedSpec):
            for level in range(config.levels, 1, -1):
                pwc = config.pwcs[level]
                sets[f"pwc{level}"] = pwc.sets
                walk_caches.append(Tlb(f"pwc{level}", pwc.ways, Lru(), power_of_two=power(pwc.sets)))
        nested = None
        if config.nested is not None:
            sets[NESTED] = config.nested.sets
            policy = build("way-replacement", config.nested.policy)
            held = Tlb(NESTED, config.nested.ways, policy, power_of_two=power(config.nested.sets))
            blocks = isinstance(config.mechanism, VictimaSpec) and config.mechanism.nested_blocks
            nested = Nested(held, blocks or isinstance(config.mechanism, ArtifactSpec), config.nested.virtual)
        prefetchers = []
        for name, own in config.prefetchers.items():
            sets[f"{name}.prefetcher"] = own.sets
            prefetchers.append(Prefetcher(order.index(name), own.degree, own.unit))
        if isinstance(config.mechanism, PomTlbSpec):
            sets[POM_TLB] = config.mechanism.sets
        reuse = next((k for k, level in enumerate(levels) if not level.serves), None)
        loop = Loop(
            tuple(levels), tuple(tlbs), tuple(walk_caches), self.mechanism(order), reuse, nested, tuple(prefetchers)
        )
        return loop, sets

    def policy(self, spec: CacheSpec) -> Any:
        if spec.policy == "tlb-aware-srrip":
            return build(
                "way-replacement", {"use": spec.policy, "aware": self.config.aware, "attempts": self.config.spared}
            )
        return build("way-replacement", {"use": "srrip", "bits": spec.bits} if spec.policy == "srrip" else spec.policy)

    def mechanism(self, caches: list[str]) -> Mechanism:
        own = self.config.mechanism
        if isinstance(own, VictimaSpec):
            return VictimaLoop(caches.index(own.cache), PREDICTORS[own.predictor])
        if isinstance(own, ArtifactSpec):
            path = [caches.index(name) for name in path_of_data(dict(self.config.caches))]
            return VictimaArtifactLoop(tuple(path), caches.index(own.cache), own.on_miss, own.on_eviction)
        if isinstance(own, PomTlbSpec):
            return PomTlbLoop(own.ways, Lru(), power(own.sets), own.whole, own.store)
        return HashedLoop() if isinstance(own, HashedSpec) else RadixLoop()

    def which(self, told: Any) -> Any:
        """A function of the model over numbers with their address space."""

        def chosen(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.array([told(self.spaces[held >> NUMBER], held & LOW) for held in numbers.tolist()], bool)

        return chosen

    def make_tables(self, pages: NDArray[np.int64]) -> Tables:
        config, large = self.config, self.which(self.config.large)
        if isinstance(config.mechanism, HashedSpec):
            made = hashed_tables_of(pages, large, int(config.mechanism.load * 10**9))
        elif config.nested is not None:
            made = nested_tables_of(pages, large, self.which(config.host_large), config.levels)
        else:
            made = tables_of(pages, large, config.levels)
        reach = max(tlb.reach for tlb in config.tlbs.values())
        return coalesced(made, pages, reach, self.which(config.contiguous)) if reach > 1 else made

    def timing(self) -> Timing:
        config = self.config
        latencies = dict(config.latencies) | {name: tlb.latency for name, tlb in config.tlbs.items()}
        latencies |= {f"pwc{level}": pwc.latency for level, pwc in config.pwcs.items()}
        latencies[NESTED] = config.nested.latency if config.nested else 0
        answer = 0
        if isinstance(config.mechanism, VictimaSpec):
            at = next(name for name, spec in config.caches.items() if spec.serves in ("data", "all"))
            answer = config.latencies[at]
            while at != config.mechanism.cache:
                at = config.caches[at].below
                answer += config.latencies[at]
        miss = config.pwcs[2].miss
        return Timing({name: UNIT * time for name, time in latencies.items()}, UNIT * miss, UNIT * answer)

    def run(self, cuts: Sequence[int] = (), *, compiled: bool = False) -> Translated:
        shot = any(kind == "shootdown" for *_, kind, _ in self.references)
        return translate(
            self.loop, self.sets, self.events, self.tables, self.timing(),
            cuts=cuts, compiled=compiled, shootdowns=shot, contents=True,
        )  # fmt: skip

    # what the engine holds, in the model's terms

    def unit(self, row: int) -> Unit:
        """The unit of a page's row."""
        return self.page(row, int(self.events.lines[row]))

    def page(self, row: int, number: int) -> Unit:
        """The page of a row, of whose 4 KiB pages one has this number, with its space."""
        large = bool(self.tables.rows[row, 3])
        return Unit(self.spaces[number >> NUMBER], REGION if large else PAGE, (number & LOW) >> 9 * large)

    def host_page(self, row: int) -> Unit:
        """The page of a host unit, which is known by its row."""
        at = row - self.tables.pages
        if at < self.tables.pages:
            return self.page(row, int(self.events.lines[at]))
        table = at - self.tables.pages
        space = int(self.events.lines[self.below(table)]) >> NUMBER << NUMBER
        return self.page(row, space | (1 << 9 * self.config.levels - 1) + table)

    def below(self, table: int) -> int:
        """A page whose translation is in this guests' table, or below it."""
        leaves = self.tables.rows[2 * self.tables.pages + self.tables.guests :, 2] >> 6
        for page, leaf in enumerate((leaves - self.tables.pages).tolist()):
            while leaf >= 0:
                if leaf == table:
                    return page
                leaf = int(self.tables.parents[leaf])
                leaf = leaf >> 9 if leaf >= 0 else -1
        raise AssertionError(f"table {table} has no pages")

    def blocks(self) -> dict[int, Line]:
        """What each line that may be a TLB block is."""
        tables, known = self.tables, {}
        for row in range(tables.pages):
            unit = self.unit(row)
            known[int(tables.rows[row, 2]) + (tables.tables << 6)] = Line(
                TLB_BLOCK, unit.space, unit.size, unit.number // 8
            )
        if self.config.nested is not None:
            offset = 2 * tables.tables - tables.guests << 6
            for row in range(tables.pages, 2 * tables.pages + tables.guests):
                page = self.host_page(row)
                known[int(tables.rows[row, 2]) + offset] = Line(NESTED_BLOCK, page.space, page.size, page.number // 8)
        return known

    def lines(self, held: set[tuple[int, bool]]) -> set[tuple[Line, bool]]:
        blocks = self.blocks() if isinstance(self.config.mechanism, VictimaSpec | ArtifactSpec) else {}
        return {(self.line(line, blocks), dirty) for line, dirty in held}

    def line(self, line: int, blocks: dict[int, Line]) -> Line:
        page, place = line >> 6, line & 63
        if line in blocks:
            return blocks[line]
        if page < self.tables.pages:
            held = int(self.events.lines[page])
            return Line(DATA, self.spaces[held >> NUMBER], 0, (held & LOW) << 6 | place)
        if page >= self.tables.pages + self.tables.tables:  # of the TLB in memory, behind the numbers of all others
            return Line(PAGE_TABLE, 0, 0, page - len(self.tables.numbers) + self.tables.tables << 6 | place)
        return Line(PAGE_TABLE, 0, 0, page - self.tables.pages << 6 | place)


def power(number: int) -> bool:
    return number & (number - 1) == 0


def without_fetches(references: Sequence[Reference]) -> list[Reference]:
    """Where no cache serves instructions fetches only count as such."""
    kept, more = [], 0
    for space, address, kind, gap in references:
        more += gap
        if kind != "fetch":
            kept.append((space, address, kind, more))
            more = 0
    return kept


def equals(machine: Machine, made: Translated, run: Run, cuts: Sequence[int] = (), times: Sequence[int] = ()) -> None:
    """Asserts that what the engine made is what the model did."""
    config, out = machine.config, run.outcome()
    for name in config.tlbs:
        assert made.structures[name]["misses"] == out.tlb_misses[name], name
        if config.tlbs[name].serves is None:
            assert made.structures[name]["lookups"] == out.tlb_misses[name] + out.tlb_hits[name], name
        assert {machine.unit(unit) for unit in held(made, name)} == out.tlb_contents[name], name
    if not isinstance(config.mechanism, HashedSpec):
        for level in config.pwcs:
            assert held(made, f"pwc{level}") == out.pwc_contents[level], level
            assert made.structures[f"pwc{level}"]["misses"] == out.pwc_misses[level], level
    if config.nested is not None:
        assert {machine.host_page(row) for row in held(made, NESTED)} == out.nested_tlb
        assert made.structures[NESTED]["misses"] == run.nested_tlb.misses
    if isinstance(config.mechanism, PomTlbSpec):
        assert {machine.unit(unit) for unit in held(made, POM_TLB)} == out.pom_tlb
    assert made.held is not None
    for name in config.caches:
        assert machine.lines(made.held.caches[name]) == out.contents[name], name
        assert cache_counters(made, name) == out.counters[name], name
    for who in WHO:
        for name in [*config.caches, "memory"]:
            counted = made.memory if name == "memory" else made.caches[name]
            ours = out.by[who][name]
            if f"{who}_reads" not in counted:
                assert not +ours, (who, name)
                continue
            assert counted[f"{who}_reads"] == ours["reads"], (who, name)
            if name != "memory":
                assert counted[f"{who}_misses"] == ours["read_misses"], (who, name)
            if who == "pom" and name != "memory":
                assert counted["pom_writes"] == ours["writes"], name
                assert counted["pom_write_misses"] == ours["write_misses"], name
    assert made.memory["reads"] - sum(by["memory"]["reads"] for by in out.by.values()) == out.memory["reads"]
    assert made.memory["writes"] == out.memory["writes"]
    for name in config.prefetchers:
        assert made.structures[f"{name}.prefetcher"]["puts"] == out.prefetched[name], name
        assert made.structures[f"{name}.prefetcher"]["found"] == out.left_alone[name], name
    own = {name: count for name, count in made.own.items() if name not in ("resident", "nested_resident", "shootdowns")}
    counts = {name: UNIT * count if name.endswith("_time") else count for name, count in out.counts.items()}
    counts |= {"walk_time": UNIT * out.walk_time, "walk_longest": UNIT * out.longest_walk, "beyond": UNIT * beyond(run)}
    assert own == {name: counts.get(name, 0) for name in own}
    assert {name for name, count in counts.items() if count} <= set(own)
    counted_in = [config.mechanism.cache] if isinstance(config.mechanism, ArtifactSpec) else list(config.caches)
    kinds = [line.kind for name in counted_in for line, _ in out.contents[name]]
    assert made.own["resident"] == kinds.count(TLB_BLOCK)
    assert made.own.get("nested_resident", 0) == kinds.count(NESTED_BLOCK)
    assert made.own["shootdowns"] == sum(kind == "shootdown" for *_, kind, _ in machine.references)
    bins = np.bincount([min(UNIT * time // BIN, BINS - 1) for time in out.walk_times], minlength=BINS)
    assert made.walks.tolist() == bins.tolist()
    assert [books.own["beyond"] for books in made.cuts] == [UNIT * times[cut - 1] for cut in cuts]


def held(made: Translated, name: str) -> set[int]:
    assert made.held is not None
    return made.held.structures[name]


def beyond(run: Run) -> int:
    """What translations took beyond the first TLB."""
    return sum(run.times) - sum(
        tlb.latency * (tlb.held.hits + tlb.held.misses) for tlb in run.tlbs.values() if tlb.serves
    )


def cache_counters(made: Translated, name: str) -> dict[str, int]:
    """Those of a cache that are not of walks and the like."""
    counted = made.caches[name]
    found = {what: counted[what] for what in COUNTERS}
    for who in WHO:
        found["reads"] -= counted.get(f"{who}_reads", 0)
        found["read_misses"] -= counted.get(f"{who}_misses", 0)
    found["writes"] -= counted["pom_writes"]
    found["write_misses"] -= counted["pom_write_misses"]
    return found


COUNTERS = (
    "reads", "read_misses", "writes", "write_misses", "writebacks_in", "writeback_misses",
    "puts", "evictions", "writebacks", "invalidations", "fills", "taken",
)  # fmt: skip


def compare(
    config: Config, references: Sequence[Reference], cuts: Sequence[int] = (), *, compiled: bool = False
) -> Translated:
    machine = Machine(config, references)
    whole = len(machine.references)
    cuts = sorted({cut for cut in cuts if 0 < cut < whole})
    run, times = Run(config, machine.references), []
    for reference in machine.references:
        run.reference(*reference)
        times.append(beyond(run))
    made = machine.run(cuts, compiled=compiled)
    equals(machine, made, run, cuts, times)
    return made


@settings(deadline=None, max_examples=300)
@given(config=variants(), references=translated(200), cuts=st.lists(st.integers(1, 200), max_size=3))
def test_any_machine(config: Config, references: list[Reference], cuts: list[int]) -> None:
    assume(references)
    compare(config, references, cuts)


CACHES = {
    "l1i": CacheSpec(2, 2, policy="tree-plru", below="l2", serves="instructions"),
    "l1d": CacheSpec(4, 2, below="l2", serves="data"),
    "l2": CacheSpec(4, 8, policy="tlb-aware-srrip", below="l3", inclusion="inclusive"),
    "l3": CacheSpec(8, 4, policy="srrip", inclusion="exclusive"),
}
SPLIT = Config(
    {
        "small": TlbSpec(1, 2, 1, sizes=(PAGE,), serves="data"),
        "large": TlbSpec(1, 2, 2, "fifo", sizes=(REGION,), serves="data"),
        "itlb": TlbSpec(2, 1, 3, "clock", serves="instructions"),
        "stlb": TlbSpec(3, 4, 12, "srrip"),
    },
    CACHES,
    {"l1i": 3, "l1d": 4, "l2": 12, "l3": 30, "memory": 101},
    {level: PwcSpec(1, 2, 4, 1) for level in (2, 3, 4, 5)},
    levels=5,
    large=lambda space, number: number % 3 == 1,
)
FIXED = {
    "victima": replace(SPLIT, mechanism=VictimaSpec("l2")),
    "hashed tables": replace(SPLIT, mechanism=HashedSpec(Fraction(9, 10))),
    "artifact of Victima": replace(
        SPLIT,
        mechanism=ArtifactSpec("l2"),
        nested=NestedSpec(1, 2, 1, virtual=True),
        host_large=lambda space, number: number % 2 == 0,
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_compiled(name: str) -> None:
    """Each is compiled once; that other loops do the same compiled is tested beside their mechanisms."""
    rng, total = random.Random(name), Counter[str]()
    for _ in range(12):
        references = pages(rng, rng.randrange(100, 600), rng.choice([12, 60, 200]), rng.choice([1, 2]))
        made = compare(FIXED[name], references, [rng.randrange(600) for _ in range(2)], compiled=True)
        total.update(made.own)
    assert all(total[what] for what in HAPPENS[name]), total


HAPPENS = {
    "victima": ("block_hits", "converted", "background_walks", "refused", "shootdowns"),
    "hashed tables": ("probes", "side_probes", "walks_touched"),
    "artifact of Victima": (
        "block_hits",
        "inserted",
        "nested_block_hits",
        "nested_inserted",
        "nested_left",
        "host_walks",
    ),
}
