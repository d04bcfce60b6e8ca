"""The TLB in memory: lookups counted by hand, and what it holds told by a naive model."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.translating import (
    L1,
    MEMORY,
    NUMBER,
    PAGE,
    PWC,
    REGION,
    STLB,
    TIMING,
    Machine,
    Naive,
    addresses,
    all_of,
    loop_of,
    none_of,
    references,
    sets_of,
    some,
)
from tiersim.policies.way.lru import Lru
from tiersim.sim.mechanisms.pom_tlb import PomTlbLoop
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.pages import PagedEvents, tables_of
from tiersim.sim.translation import Translated, translate
from tiersim.sim.translation_loop import Loop

MISS = L1 + MEMORY


def run(loop: Loop, events: PagedEvents, large: Any = none_of, sets: Any = None, **given: Any) -> Translated:
    tables = tables_of(events.lines, large, 4)
    given = {"compiled": False, "contents": True} | given
    return translate(loop, sets_of(loop, **(sets or {})), events, tables, TIMING, **given)


def test_lookups_and_entries_by_hand() -> None:
    loop = loop_of(PomTlbLoop(4, Lru()))
    made = run(loop, references([0, PAGE, 2 * PAGE, 0]), sets={"pom-tlb": 4})
    own, cache = made.own, made.caches["l1"]
    # page 0: the sets of both sizes are set 0; four levels are read. Page 1: its set is new, that of region 0 is not;
    # its leaf line has been read. So has page 2's. Then page 0 has left both TLBs, and both its lookups hit the cache.
    assert own["pom_time"] == 3 * MISS + L1
    assert own["walk_time"] == 4 * MISS + 2 * (3 * PWC + L1)
    assert own["beyond"] == 4 * STLB + own["pom_time"] + own["walk_time"]
    assert (own["missing"], own["walks"], own["pom_stores"]) == (4, 3, 2)
    assert (cache["pom_reads"], cache["pom_misses"], cache["pom_writes"], cache["pom_write_misses"]) == (8, 3, 2, 0)
    assert made.memory["pom_reads"] == 3
    assert made.structures["pom-tlb"] == {
        "lookups": 4, "misses": 3, "puts": 2, "found": 0, "fills": 2, "evictions": 0, "removed": 0,
    }  # fmt: skip
    # lines 64 by page: three of the program, four of tables (and as many numbers of blocks), then sets 0 and 1, stored
    first = 11 << 6
    assert made.held is not None
    assert {line for line in made.held.caches["l1"] if line[0] >= first} == {
        (first, True), (first + 1, True), (first + 2, False),
    }  # fmt: skip
    assert made.held.structures["pom-tlb"] == {0, 1}


def test_a_hit_pays_the_lookup_of_its_size_and_a_miss_the_longer_one() -> None:
    # two small pages in region 1, whose 2 MiB set is 1 of 8; their own are 0 and 2. Region 3 is one page: at first its
    # 4 KiB set is 4 and its own 3, later its 4 KiB set is another
    large = lambda region: region == 3  # noqa: E731
    loop = loop_of(PomTlbLoop(4, Lru()))
    there = 3 * REGION
    trace = [there + 4 * PAGE, REGION, REGION + 2 * PAGE, there + 5 * PAGE]
    made = run(loop, references(trace), large, sets={"pom-tlb": 8})
    assert made.own["walks"] == 3
    # the large page is found through set 3, which is cached, though set 5 is not
    assert made.own["pom_time"] == 3 * MISS + L1
    assert made.caches["l1"]["pom_misses"] == 2 + 2 + 1 + 1
    # with one line cached a small page is found through its own set, which is not; that of 2 MiB is the same line again
    loop = loop_of(PomTlbLoop(4, Lru(), stores=False), ways=(1, 1, 1, 1))
    made = run(loop, references([0, 8 * PAGE, 9 * PAGE, 0]), sets={"pom-tlb": 8})
    assert made.own["walks"] == 3
    assert made.own["pom_time"] == 4 * MISS
    assert made.own["pom_stores"] == made.caches["l1"]["pom_writes"] == 0


def test_all_lines_of_a_set_are_read_at_once() -> None:
    first, whole = (
        run(loop_of(PomTlbLoop(16, Lru(), whole=whole)), references([0]), sets={"pom-tlb": 2})
        for whole in (False, True)
    )
    assert first.caches["l1"]["pom_reads"] == 2
    assert whole.caches["l1"]["pom_reads"] == 8
    assert whole.caches["l1"]["pom_misses"] == 4
    assert first.own["pom_time"] == whole.own["pom_time"] == MISS


def test_sets_begin_with_a_line_and_entries_are_stored_where_their_way_is() -> None:
    # six ways take two lines; each page that leaves is stored, the fifth and sixth in the second line of the one set
    made = run(loop_of(PomTlbLoop(6, Lru()), ways=(16, 1, 1, 1)), references([page * PAGE for page in range(9)]))
    assert made.own["pom_stores"] == 7
    assert made.structures["pom-tlb"]["evictions"] == 1
    first = (9 + 2 * 4) << 6
    assert made.held is not None
    assert {line for line, dirty in made.held.caches["l1"] if dirty} == {first, first + 1}


def test_a_shootdown_takes_the_translation_out() -> None:
    trace = [0, PAGE, 2 * PAGE, 0, 0]
    kept = run(loop_of(PomTlbLoop(4, Lru())), references(trace))
    shot = run(loop_of(PomTlbLoop(4, Lru())), references(trace, shot=[3]), shootdowns=True)
    assert (kept.own["walks"], shot.own["walks"]) == (3, 4)
    assert shot.structures["pom-tlb"]["removed"] == 1


# against a naive model


class PomMachine(Machine):
    """One with a TLB in memory."""

    def __init__(self, *machine: Any, sets: int, ways: int, whole: bool, stores: bool) -> None:
        super().__init__(*machine)
        self.pom = Naive(sets, ways)
        self.lines, self.whole, self.stores = -(-ways // 4), whole, stores

    def line(self, which: int, number: int) -> Any:
        at = which * self.lines + number
        return "frame", len(self.frames) + at // 64, at % 64

    def look_up(self, number: int) -> int:
        lines = range(self.lines if self.whole else 1)
        return max(self.read(self.line(number % self.pom.sets, line), "pom") for line in lines)

    def missing(self, page: int) -> None:
        number, unit = page & ((1 << NUMBER) - 1), self.unit(page)
        both = [self.look_up(number), self.look_up(number >> 9)]
        found = self.pom.look(unit)
        paid = both[unit[2]] if found else max(both)
        self.counts.pom_time += paid
        self.counts.beyond += paid
        if not found:
            self.walk(page)

    def gone(self, unit: Any) -> None:
        if self.pom.look(unit):
            return
        way, _ = self.pom.enter(unit)
        if self.stores:
            self.store(self.line(unit[1] % self.pom.sets, way // 4), "pom")
            self.counts.pom_stores += 1


@settings(max_examples=60)
@given(
    addresses(),
    st.sampled_from([0, 0.5, 1]),
    st.tuples(st.sampled_from([1, 2, 4, 16]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3, 4])),
    st.sampled_from([1, 2, 4, 6, 16]),
    st.booleans(),
    st.booleans(),
    st.randoms(),
)
def test_it_does_what_a_naive_model_does(
    trace: list[int],
    share: float,
    ways: tuple[int, int, int, int],
    sets: tuple[int, int],
    pom_ways: int,
    whole: bool,
    stores: bool,
    luck: Any,
) -> None:
    large = some(share, 1)
    events = references(
        trace, asid=[luck.randrange(2) for _ in trace], stores=[k for k in range(len(trace)) if luck.random() < 0.3]
    )
    counts = {"l1": 2, "stlb": sets[0], "pom-tlb": sets[1]}
    machine = PomMachine(events, large, ways, counts, sets=sets[1], ways=pom_ways, whole=whole, stores=stores)
    machine.run(events)
    mechanism = PomTlbLoop(pom_ways, Lru(), power_of_two=sets[1] != 3, whole=whole, stores=stores)
    loop = loop_of(mechanism, ways=ways, power_of_two=sets[0] != 3)
    made = run(loop, events, large, counts)
    machine.equals(made, tables_of(events.lines, large, 4))
    assert made.held is not None
    assert {machine.unit(machine.pages[unit]) for unit in made.held.structures["pom-tlb"]} == machine.pom.held()
    # TLBs see none of it, and there are never more walks than without
    radix = run(loop_of(RadixLoop(), ways=ways, power_of_two=sets[0] != 3), events, large, counts)
    assert [made.structures[name] for name in ("dtlb", "stlb")] == [radix.structures[name] for name in ("dtlb", "stlb")]
    assert made.own["walks"] <= radix.own["walks"] == made.own["missing"]


@settings(max_examples=30)
@given(addresses(), st.sampled_from([0, 0.5]))
def test_one_that_holds_everything_walks_once_for_each_page(trace: list[int], share: float) -> None:
    events = references(trace + trace)
    large = some(share, 2)
    made = run(loop_of(PomTlbLoop(16, Lru())), events, large, {"pom-tlb": 64}, cuts=[len(trace)])
    assert (made - made.cuts[0]).own["walks"] == 0
    assert made.own["walks"] == len(set(tables_of(events.lines, large, 4).rows[:, 0].tolist()))


def test_compiled_and_plain_are_equal() -> None:
    trace = [(k * k * 7919 % 61) * 5 * PAGE + k % 3 * REGION + k % 64 * 64 for k in range(600)]
    loop = loop_of(PomTlbLoop(6, Lru(), whole=True), ways=(4, 2, 3, 2))
    events, sets = references(trace, shot=[300]), {"stlb": 2, "pom-tlb": 4}
    made = [
        run(loop, events, some(0.5, 3), sets, shootdowns=True, compiled=compiled, cuts=[200])
        for compiled in (False, True)
    ]
    assert made[0].own["pom_stores"] > 0
    assert made[0].structures["pom-tlb"]["evictions"] > 0
    for part in ("caches", "memory", "structures", "own", "held"):
        assert getattr(made[0], part) == getattr(made[1], part), part
    assert made[0].walks.tolist() == made[1].walks.tolist()
    assert made[0].cuts[0].own == made[1].cuts[0].own


def test_large_pages_alone() -> None:
    made = run(loop_of(PomTlbLoop(4, Lru())), references([0, REGION, 2 * REGION, 0]), all_of, {"pom-tlb": 4})
    assert made.own["walks"] == 3
    # regions 0 to 2 have 4 KiB sets 0 (512 and 1024 are multiples of the sets), and their own 0 to 2
    assert made.caches["l1"]["pom_misses"] == 3
