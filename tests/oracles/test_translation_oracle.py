"""The oracle of address translation against examples worked out on paper, closed forms, and what must always hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from tests.oracles.hierarchy import Cache, CacheSpec, Memory
from tests.oracles.strategies import machines, translated
from tests.oracles.translation import (
    DATA,
    PAGE,
    PAGE_TABLE,
    REGION,
    TLB_BLOCK,
    Config,
    Line,
    Outcome,
    PwcSpec,
    Reference,
    Run,
    TlbSpec,
    Unit,
    VictimaSpec,
    always,
    is_block,
    never,
    simulate,
)

# The latencies, TLBs and page-walk caches of the published configuration over smaller caches
TLBS = {"dtlb": TlbSpec(16, 4, 1, serves="all"), "stlb": TlbSpec(128, 12, 12)}
PWCS = {4: PwcSpec(4, 4), 3: PwcSpec(4, 4), 2: PwcSpec(8, 4)}
CACHES = {
    "l1": CacheSpec(8, 8, below="l2", serves="data"),
    "l2": CacheSpec(16, 4, policy="srrip", below="l3"),
    "l3": CacheSpec(32, 4, policy="srrip"),
}
LATENCIES = {"l1": 4, "l2": 16, "l3": 20, "memory": 117}
RADIX = Config(TLBS, CACHES, LATENCIES, PWCS)
VICTIMA = replace(RADIX, mechanism=VictimaSpec("l2", always))

# One TLB entry and one behind it, to make the rest of a machine work
TINY = {"dtlb": TlbSpec(1, 1, 1, serves="all"), "stlb": TlbSpec(1, 1, 12)}


def page(number: int, space: int = 0, kind: str = "load", instructions: int = 0, line: int = 0) -> Reference:
    return space, number * PAGE + line * 64, kind, instructions


def fetches(*numbers: int) -> list[Reference]:
    """References that are translated and then read nothing: no cache of these machines serves instructions."""
    return [page(number, kind="fetch") for number in numbers]


def region(number: int) -> Unit:
    return Unit(0, REGION, number)


def unit(number: int) -> Unit:
    return Unit(0, PAGE, number)


def block(number: int, size: int = PAGE) -> Line:
    return Line(TLB_BLOCK, 0, size, number)


def tables(outcome: Outcome, cache: str) -> set[int]:
    """The lines of tables that a cache holds."""
    return {line.number for line, _ in outcome.contents[cache] if line.kind == PAGE_TABLE}


# TLBs


def test_few_pages_cost_the_first_tlb() -> None:
    out = simulate(RADIX, [page(number) for _ in range(3) for number in range(64)])
    assert out.times[64:] == [1] * 128
    assert out.tlb_hits == {"dtlb": 128, "stlb": 0}
    assert out.tlb_misses == {"dtlb": 64, "stlb": 64}


def test_a_sweep_beyond_the_first_tlb_costs_the_second() -> None:
    pages = 1536  # twelve in each set of the second TLB, 96 in each of the first
    out = simulate(RADIX, [page(number) for _ in range(2) for number in range(pages)])
    assert out.times[pages:] == [13] * pages
    assert out.walks == out.tlb_misses["stlb"] == pages
    beyond = simulate(RADIX, [page(number) for _ in range(2) for number in range(2 * pages)])
    assert beyond.walks == 4 * pages  # least recently used throws out what a loop wants next


def test_random_pages_hit_as_often_as_they_are_held() -> None:
    small = replace(RADIX, tlbs={"dtlb": TlbSpec(4, 4, serves="data"), "stlb": TlbSpec(16, 6)})
    run, rng = Run(small), random.Random(1)
    before = Counter[str]()
    for number in range(32_000):
        if number == 12_000:
            before.update(run.outcome().tlb_hits)
        run.reference(*page(rng.randrange(1120)))
    hits = Counter(run.outcome().tlb_hits)
    hits.subtract(before)
    assert hits["dtlb"] / 20_000 == pytest.approx(16 / 1120, abs=0.003)
    assert hits.total() / 20_000 == pytest.approx((16 + 96) / 1120, abs=0.008)


def test_what_a_tlb_evicts_goes_into_the_next() -> None:
    tlbs = {"dtlb": TlbSpec(1, 1, 1, serves="all"), "stlb": TlbSpec(1, 2, 12)}
    victima = replace(VICTIMA, tlbs=tlbs, mechanism=VictimaSpec("l2"))
    a, b, c = 0, 8, 16  # in leaf lines of their own
    out = simulate(victima, fetches(a, b, c, a, b, c))
    # stlb, the last used at the end: - | a | a b | c gets in, b has left: a c | a is told of: c a | c hits, then b
    # gets in and a has left. What has left was walked to memory once, so is walked and converted; b is then found
    assert out.tlb_hits == {"dtlb": 0, "stlb": 2}
    assert out.tlb_misses == {"dtlb": 6, "stlb": 4}
    assert out.tlb_contents == {"dtlb": {unit(c)}, "stlb": {unit(b), unit(c)}}
    assert (out.walks, out.background_walks, out.block_hits, out.blocks_inserted) == (3, 2, 1, 2)
    assert out.blocks == {block(0), block(1)}
    assert out.times[3:] == [13, 1 + 20, 13]
    # the background walks found their lines in caches: freq grew, cost did not
    assert out.predictor == {unit(a): (2, 1), unit(b): (2, 1), unit(c): (1, 1)}


def test_what_comes_again_grows_younger() -> None:
    tlbs = {"dtlb": TlbSpec(1, 1, 1, serves="all"), "stlb": TlbSpec(1, 2, 12)}
    out = simulate(replace(RADIX, tlbs=tlbs), fetches(0, 1, 2, 1, 0, 3))
    # stlb, the last used at the end: - | 0 | 0 1 | 1 hits, 2 gets in: 1 2 | 1 comes again: 2 1 | 0 gets in: 1 0
    assert out.tlb_contents["stlb"] == {unit(1), unit(0)}


def test_filled_by_walks() -> None:
    tlbs = {"dtlb": TlbSpec(1, 1, 1, serves="all"), "stlb": TlbSpec(1, 2, 12, fill="walk")}
    victima = replace(VICTIMA, tlbs=tlbs, mechanism=VictimaSpec("l2"))
    a, b, c = 0, 8, 16
    out = simulate(victima, fetches(a, b, c, b, a))
    # stlb: a | a b | b c, a has left | c b | b a, c has left. What dtlb evicts changes nothing
    assert out.tlb_hits == {"dtlb": 0, "stlb": 1}
    assert out.tlb_contents == {"dtlb": {unit(a)}, "stlb": {unit(a), unit(b)}}
    # a was found in its block, and entered stlb all the same
    assert (out.walks, out.background_walks, out.block_hits) == (3, 2, 1)
    assert out.blocks == {block(0), block(2)}


def test_a_row_of_three() -> None:
    tlbs = {"d": TlbSpec(1, 1, 1, serves="all"), "s": TlbSpec(1, 1, 5), "t": TlbSpec(1, 1, 9)}
    out = simulate(replace(RADIX, tlbs=tlbs), fetches(0, 1, 2, 0, 2))
    # d s t: 0 | 1 0 | 2 1 0 | 0 is found in t, which keeps it, enters d, pushes 2 into s and 1 into t, which loses 0
    # | 2 is found in s, which keeps it, enters d and pushes 0 into s, that pushes 2 into t, which loses 1
    assert out.tlb_hits == {"d": 0, "s": 1, "t": 1}
    assert out.tlb_contents == {"d": {unit(2)}, "s": {unit(0)}, "t": {unit(2)}}
    assert out.times[3:] == [15, 6]


def test_sizes_and_kinds_have_tlbs_of_their_own() -> None:
    tlbs = {
        "small": TlbSpec(2, 1, 1, sizes=(PAGE,), serves="data"),
        "large": TlbSpec(2, 1, 2, sizes=(REGION,), serves="data"),
        "code": TlbSpec(1, 1, 3, serves="instructions"),
        "stlb": TlbSpec(1, 4, 12, sizes=(PAGE,)),
    }
    machine = replace(RADIX, tlbs=tlbs, pwcs={}, large=lambda space, number: number == 1)
    out = simulate(machine, [page(0), page(512), page(1023), page(512, kind="fetch"), page(0, kind="fetch"), page(0)])
    # 512 and 1023 are in one large page. Its walks end at level 2, in a line that the first walk brought: all walks but
    # that hit in l1. What leaves `code` then has left for good: stlb does not hold its size, and costs it nothing
    assert out.tlb_misses == {"small": 1, "large": 1, "code": 2, "stlb": 2}
    assert out.tlb_hits == {"small": 1, "large": 1, "code": 0, "stlb": 0}
    assert out.tlb_contents == {"small": {unit(0)}, "large": {region(1)}, "code": {unit(0)}, "stlb": set()}
    assert out.walk_reads["l1"] == 4 + 3 + 3 + 4
    assert out.times == [13 + 4 * 157, 2 + 3 * 4, 2, 3 + 3 * 4, 15 + 4 * 4, 1]


def test_the_set_of_a_unit_is_its_number() -> None:
    machine = replace(RADIX, tlbs={"dtlb": TlbSpec(2, 1, serves="data")}, large=lambda space, number: number >= 2)
    out = simulate(machine, [page(0), page(1), page(2), page(1024), page(2048)])
    # 4 KiB pages 0, 1, 2 go to sets 0, 1, 0 and regions 2 and 4, at pages 1024 and 2048, to set 0
    assert out.tlb_contents["dtlb"] == {unit(1), region(4)}


def test_what_no_tlb_serves_is_not_translated() -> None:
    machine = replace(RADIX, tlbs={"dtlb": TlbSpec(1, 1, serves="data"), "stlb": TlbSpec(1, 1)})
    out = simulate(machine, fetches(0, 1))
    assert out.times == []
    assert out.walks == 0


# tables and walks


def indexed(*indices: int) -> int:
    """The number of the 4 KiB page at these indices, of level 4 first."""
    number = 0
    for index in indices:
        number = number * 512 + index
    return number


def test_tables_are_placed_as_pages_are_touched() -> None:
    first, second = indexed(8, 17, 26, 35), indexed(8, 17, 27, 0)
    machine = replace(RADIX, pwcs={}, large=lambda space, number: number == second // 512)
    out = simulate(machine, [*fetches(first, second), page(first, space=1, kind="fetch")])
    # space 0 has frames 0 to 3; the large page needs no further one, and its entry, 27, is in the line of 26;
    # space 1 has frames 4 to 7. A line of 8 entries: 8 -> 1, 17 -> 2, 26 -> 3, 35 -> 4
    expected = {64 * frame + index // 8 for frame, index in enumerate([8, 17, 26, 35, 8, 17, 26, 35])}
    assert tables(out, "l3") == expected == {1, 66, 131, 196, 257, 322, 387, 452}


@pytest.mark.parametrize(("levels", "is_large", "reads"), [(4, False, 4), (5, False, 5), (4, True, 3), (3, True, 2)])
def test_a_walk_without_page_walk_caches_reads_once_a_level(levels: int, is_large: bool, reads: int) -> None:
    nothing_fits = {"l1": CacheSpec(1, 1, serves="data")}
    latencies = {"l1": 4, "memory": 100}
    machine = replace(
        RADIX, tlbs=TINY, caches=nothing_fits, latencies=latencies, pwcs={}, levels=levels, large=lambda *_: is_large
    )
    out = simulate(machine, [page(512 * number) for number in (0, 1, 2, 0, 1, 2)])
    assert out.walk_reads == {"l1": 6 * reads, "memory": 6 * reads}
    assert out.walk_read_misses == {"l1": 6 * reads}
    assert out.walk_time == 6 * reads * 104
    assert out.longest_walk == reads * 104
    assert out.times == [13 + reads * 104] * 6
    assert out.counters["l1"]["reads"] == out.memory["reads"] == 6


def test_what_a_walk_takes() -> None:
    out = simulate(RADIX, fetches(0, 1, 8, 512))
    # all of four levels from memory; page-walk caches and a leaf line in l1; a new leaf line; a new leaf table, and an
    # entry of level 2 that is new to its page-walk cache but in a line of l1
    assert out.times == [13 + 4 * 157, 13 + 3 * 4 + 4, 13 + 3 * 4 + 157, 13 + 2 * 4 + 4 + 157]
    assert (out.walk_time, out.longest_walk) == (sum(out.times) - 4 * 13, 628)
    assert out.walk_reads == {"l1": 8, "l2": 6, "l3": 6, "memory": 6}
    dear = {level: replace(spec, latency=3, miss=1) for level, spec in PWCS.items()}
    out = simulate(replace(RADIX, pwcs=dear), fetches(0, 1))
    assert out.times == [13 + 4 * 157 + 3 * 1, 13 + 3 * 3 + 4]


def test_a_leaf_line_in_the_second_cache() -> None:
    narrow = replace(RADIX, caches=CACHES | {"l1": CacheSpec(1, 1, below="l2", serves="data")})
    assert simulate(narrow, [page(0), page(1)]).times[1] == 13 + 3 * 4 + 4 + 16


def test_page_walk_caches_forget_what_was_used_longest_ago() -> None:
    machine = replace(RADIX, tlbs={"tlb": TINY["dtlb"]}, pwcs={2: PwcSpec(2, 2, 1)})
    out = simulate(machine, fetches(*(512 * number for number in (0, 2, 0, 4, 0, 2, 1))))
    # Regions 0, 2, 4 share a set of two: 0 | 0 2 | 2 0 | 0 4 | 4 0 | 2 is missed; region 1 has the other set.
    # Levels 4 and 3 have none: their lines are read in each walk
    assert out.walk_reads["l1"] == 7 * 3 + 5
    assert out.walks == 7


# Victima


def test_a_block_holds_eight_neighbours() -> None:
    pages = fetches(*range(64))
    out = simulate(VICTIMA, pages)
    assert (out.walks, out.block_hits) == (8, 56)
    assert out.times[1] == 1 + 4 + 16  # the second TLB's 12 run beside the 20 of both caches
    assert out.blocks == {block(number) for number in range(8)}
    assert simulate(RADIX, pages).walks == 64
    assert simulate(replace(VICTIMA, mechanism=VictimaSpec("l2")), pages).walks == 64  # nothing was walked before
    slow = replace(VICTIMA, tlbs=TLBS | {"stlb": TlbSpec(128, 12, 39)})
    assert simulate(slow, pages).times[1] == 1 + 39


def test_blocks_of_sizes_and_spaces_differ() -> None:
    machine = replace(VICTIMA, large=lambda space, number: number == 1)
    out = simulate(machine, [*fetches(8, 512), page(8, space=1, kind="fetch")])
    assert out.walks == 3
    assert out.blocks == {block(1), block(0, REGION), Line(TLB_BLOCK, 1, PAGE, 1)}


def test_the_leaf_line_is_given_up() -> None:
    out = simulate(VICTIMA, fetches(0))
    # frames 0 to 3, an entry of each; line 192 is the leaf
    assert tables(out, "l1") == tables(out, "l3") == {0, 64, 128, 192}
    assert tables(out, "l2") == {0, 64, 128}
    inclusive = CACHES | {"l2": replace(CACHES["l2"], inclusion="inclusive")}
    out = simulate(replace(VICTIMA, caches=inclusive), fetches(0))
    assert tables(out, "l1") == tables(out, "l2") == {0, 64, 128}


def test_enough_blocks_end_all_walks() -> None:
    # 64 lines of l2 hold 512 translations; fetches bring no data there. Lines of upper tables are not read again
    machine = replace(VICTIMA, tlbs=TINY, caches=CACHES | {"l2": CacheSpec(16, 4, below="l3")})
    out = simulate(machine, fetches(*range(512)) * 3)
    assert out.walks == 64
    assert out.block_hits == 3 * 512 - 64
    assert out.blocks == {block(number) for number in range(64)}
    assert out.background_walks == 0  # what leaves the TLBs is in a block


def test_twice_as_many_pages_as_blocks_can_hold_are_found_half_the_time() -> None:
    machine = replace(VICTIMA, tlbs=TINY, caches=CACHES | {"l2": CacheSpec(16, 4, below="l3")})
    rng = random.Random(2)
    out = simulate(machine, fetches(*(rng.randrange(1024) for _ in range(20_000))))
    assert out.block_hits / out.tlb_misses["stlb"] == pytest.approx(0.5, abs=0.02)


def test_a_shootdown_takes_the_block() -> None:
    machine = replace(VICTIMA, mechanism=VictimaSpec("l2"))
    a, away = page(3), page(3, kind="shootdown")
    assert simulate(machine, [a, away]).tlb_contents["dtlb"] == set()
    out = simulate(machine, [a, away, a])
    assert (out.walks, out.blocks) == (2, {block(0)})  # walked before, to memory: costly
    assert simulate(machine, [a, away, a, page(4)]).block_hits == 1
    out = simulate(machine, [a, away, a, away, page(4)])
    assert (out.walks, out.block_hits, out.blocks) == (3, 0, set())
    assert out.predictor == {unit(3): (2, 1), unit(4): (1, 0)}
    assert out.times[1:] == [13 + 3 * 4 + 4] * 2  # page-walk caches were not shot down


def test_the_predictor_wants_a_walk_to_memory() -> None:
    machine = replace(VICTIMA, mechanism=VictimaSpec("l2"))
    again = [page(1, kind="shootdown"), page(1)]
    out = simulate(machine, [page(0), page(1), *again * 3])
    # the leaf line came with page 0, so page 1 never went to memory
    assert (out.walks, out.blocks, out.predictor[unit(1)]) == (5, set(), (4, 0))
    out = simulate(machine, [page(1), *again])
    assert (out.walks, out.blocks, out.predictor[unit(1)]) == (2, {block(0)}, (2, 1))


def test_any_level_may_touch_memory() -> None:
    # In l1, line 193, the leaf of page 8, has a set of its own. Its line of level 2 shares one with line 192, the leaf
    # of page 0, and is read from memory again
    two_sets = {"l1": CacheSpec(2, 1, serves="data")}
    pwcs = {4: PWCS[4], 3: PWCS[3]}
    machine = replace(RADIX, caches=two_sets, pwcs=pwcs, mechanism=VictimaSpec("l1", never))
    out = simulate(machine, [*fetches(8, 0), page(8, kind="shootdown"), *fetches(8)])
    assert out.walk_read_misses == {"l1": 4 + 1 + 1}
    assert out.predictor == {unit(8): (2, 2), unit(0): (1, 1)}


def test_counters_saturate() -> None:
    nothing_fits = {"l1": CacheSpec(1, 1, serves="data")}
    machine = replace(
        RADIX, tlbs=TINY, caches=nothing_fits, latencies={"l1": 4, "memory": 100}, mechanism=VictimaSpec("l1", never)
    )
    again = [page(1, kind="shootdown"), page(1)]
    assert simulate(machine, again * 5).predictor == {unit(1): (5, 5)}
    assert simulate(machine, again * 20).predictor == {unit(1): (7, 15)}


# pressure


@pytest.mark.parametrize(
    ("misses", "later", "blocks"),
    [
        ((10,), 1, 0),  # a mean of 5 is not above 5; what walks read is not counted
        ((11,), 1, 1),
        ((11,), 0, 0),  # the window has not ended
        ((10, 10), 1, 1),  # 5, 7.5
        ((12, 4), 1, 0),  # 6, 5
        ((12, 5), 1, 1),  # 6, 5.5
        ((12,), 1000, 1),  # the last instruction of the second window
        ((12,), 1001, 0),  # 6, 3
        ((47,), 3000, 1),  # 23.5, 11.75, 5.875
        ((47,), 3001, 0),
    ],
)
def test_misses_of_data_make_any_walk_costly(misses: tuple[int, ...], later: int, blocks: int) -> None:
    lines = iter(range(64))
    references = []
    for count in misses:  # all at the last instruction of a window
        for place in range(count):
            references.append(page(0, line=next(lines), instructions=1000 if place == 0 else 0))
    machine = replace(VICTIMA, mechanism=VictimaSpec("l2", never))
    out = simulate(machine, [*references, page(8, kind="fetch", instructions=later)])
    assert out.blocks_inserted == len(out.blocks) == blocks
    stores = [(space, address, "store", gap) for space, address, _, gap in references]
    for cache in ("l1", "l2"):  # a store that misses in l1 is a read of l2
        machine = replace(machine, mechanism=VictimaSpec(cache, never))
        assert simulate(machine, [*stores, page(8, kind="fetch", instructions=later)]).blocks_inserted == blocks


def test_means_are_rounded_down() -> None:
    ends = [page(0, line=line, instructions=1000) for line in range(1, 20)]
    out = simulate(VICTIMA, [page(0, instructions=1), *ends])
    # one miss of translation in the first window, one of data in each
    assert out.pressures == (0, 65536 * (2**16 - 1) // 2**16)
    assert simulate(VICTIMA, [page(0, instructions=1), *ends[:3]]).pressures[0] == 65536 >> 3


STREAM = [page(0, line=line) for line in range(63)]


@pytest.mark.parametrize(
    ("missing", "loads", "held"), [(12, 6, True), (12, 7, True), (12, 63, True), (10, 6, True), (10, 7, False)]
)
def test_a_block_outlives_a_stream_under_pressure(missing: int, loads: int, held: bool) -> None:
    caches = {
        "l1": CacheSpec(1, 1, below="l2", serves="data"),
        "l2": CacheSpec(1, 4, policy="tlb-aware-srrip"),
    }
    machine = replace(VICTIMA, tlbs=TINY, caches=caches)
    cycle = (fetches(0, 1, 2) * 4)[:missing]  # of three pages, two entries hold none long enough
    end = [page(3, kind="fetch", instructions=1001)]
    # l2 holds lines of levels 4, 3 and 2, predicted 2, and the block in way 3, which was hit down to 0; pointer at 0.
    # Loads into ways 0, 1 and 2 age the block once: 2 2 2 1. Three more: 2 2 2 2, pointer at 3. The seventh ages all,
    # and way 3 is first
    out = simulate(machine, [*cycle, *end, *STREAM[:loads]])
    assert out.pressures[0] == missing << 15
    assert (block(0) in out.blocks) == held
    assert tables(out, "l2") == set()
    for deaf in (replace(machine, aware=False), replace(machine, spared=0)):
        assert (block(0) in simulate(deaf, [*cycle, *end, *STREAM[:loads]]).blocks) == (loads == 6)


# what always holds


def same(outcome: Outcome) -> dict[str, Any]:
    """All of an outcome but what the predictor and lookups of blocks counted, and what pressure came to."""
    found = vars(outcome).copy()
    found["counts"] = Counter(
        {name: count for name, count in outcome.counts.items() if name not in ("block_lookups", "refused")}
    )
    del found["predictor"], found["pressures"]
    return found


@settings(deadline=None, max_examples=300)
@given(machine=machines(), references=translated())
def test_tlbs_hold_the_same_whatever_the_mechanism(machine: Config, references: list[Reference]) -> None:
    radix = simulate(replace(machine, mechanism=None), references)
    out = simulate(machine, references)
    assert out.tlb_contents == radix.tlb_contents
    assert (out.tlb_hits, out.tlb_misses) == (radix.tlb_hits, radix.tlb_misses)
    assert out.walks + out.block_hits == radix.walks
    assert len(out.times) == len(radix.times)


@settings(deadline=None, max_examples=200)
@given(machine=machines(), references=translated())
def test_victima_that_inserts_nothing_is_radix(machine: Config, references: list[Reference]) -> None:
    assert machine.mechanism is not None
    never_pressed = VictimaSpec(machine.mechanism.cache, never, high=1 << 40)
    off = simulate(replace(machine, mechanism=never_pressed), references)
    assert same(off) == same(simulate(replace(machine, mechanism=None), references))


@settings(deadline=None, max_examples=300)
@given(machine=machines(), references=translated())
def test_blocks_live_in_one_cache_once_and_clean(machine: Config, references: list[Reference]) -> None:
    assert machine.mechanism is not None
    run = Run(machine)
    for reference in references:
        run.reference(*reference)
    for name, cache in run.caches.items():
        held: list[Any] = [line for places in cache.places for line in places if is_block(line)]
        assert len(held) == len(set(held))
        assert not held or name == machine.mechanism.cache
        assert all(line not in cache.dirty for line in held)
        assert max(Counter(line % cache.spec.sets for line in held).values(), default=0) <= cache.spec.ways
    assert len(run.outcome().blocks) <= run.counts["inserted"]


def refusing_blocks(method: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: Any, line: Any, *rest: Any, **more: Any) -> Any:
        assert not is_block(line)
        return method(self, line, *rest, **more)

    return guarded


def test_blocks_are_never_written_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Cache, Memory):
        for name in ("read", "store", "write_back"):
            monkeypatch.setattr(cls, name, refusing_blocks(getattr(cls, name)))
    monkeypatch.setattr(Cache, "put", refusing_blocks(Cache.put))  # a cache of many kinds loses blocks before this
    inserted = 0

    @settings(deadline=None, max_examples=150, database=None)
    @given(machine=machines(), references=translated())
    def check(machine: Config, references: list[Reference]) -> None:
        nonlocal inserted
        inserted += simulate(machine, references).blocks_inserted

    check()
    assert inserted > 0


@settings(deadline=None, max_examples=200)
@given(machine=machines(), references=translated())
def test_each_group_of_neighbours_is_walked_for_at_least_once(machine: Config, references: list[Reference]) -> None:
    out = simulate(machine, references)
    run = Run(machine)
    translated_kinds = {"load", "store"} | ({"fetch"} if run.first_row("instructions") else set())
    groups = {
        (unit.space, unit.size, unit.number // 8)
        for space, address, kind, _ in references
        if kind in translated_kinds
        for unit in [run.unit_of(space, address)]
    }
    assert out.walks >= len(groups)
    assert all(not dirty for lines in out.contents.values() for line, dirty in lines if line.kind != DATA)
