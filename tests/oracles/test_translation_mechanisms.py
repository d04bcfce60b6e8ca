"""The oracle's guests, prefetchers, POM-TLB, hashed tables and coalescing TLBs against examples worked out on paper."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings

from tests.oracles.hierarchy import CacheSpec
from tests.oracles.strategies import translated, variants
from tests.oracles.test_translation_oracle import CACHES, PWCS, RADIX, TINY, block, fetches, page, region, tables, unit
from tests.oracles.translation import (
    NESTED_BLOCK,
    PAGE,
    REGION,
    TLB_BLOCK,
    ArtifactSpec,
    Config,
    HashedSpec,
    HashedTable,
    Line,
    NestedSpec,
    PomTlbSpec,
    PrefetcherSpec,
    Reference,
    TlbSpec,
    Unit,
    VictimaSpec,
    always,
    each,
    mix,
    none,
    simulate,
)

# A read that no cache of RADIX answers takes 157, one that l1 answers 4, and both TLBs together 13
WIDE = {name: replace(spec, sets=1, ways=64) for name, spec in CACHES.items()}
GUESTS = replace(RADIX, tlbs=TINY, caches=WIDE, nested=NestedSpec(1, 1))
FIRST_TABLE = 2**35  # the page of frame 0 in guest-physical memory


# guests


@pytest.mark.parametrize(("levels", "guest", "host"), [(4, 4, 20), (5, 5, 30)])
def test_a_walk_with_nothing_cached_reads_both_tables(levels: int, guest: int, host: int) -> None:
    nothing_fits = {"l1": CacheSpec(1, 1, serves="data")}
    machine = replace(GUESTS, caches=nothing_fits, latencies={"l1": 4, "memory": 100}, pwcs={}, levels=levels)
    out = simulate(machine, fetches(0))
    assert out.by["walk"]["memory"]["reads"] == guest
    assert out.by["host"]["memory"]["reads"] == host
    assert out.times == [13 + (guest + host) * 104 + (levels + 1) * 1]
    assert out.counts["host_walks"] == levels + 1
    assert out.counts["host_time"] == host * 104


def test_tables_of_hosts_lie_behind_those_of_guests() -> None:
    out = simulate(GUESTS, fetches(0))
    # Of the guest frames 0 to 3, the first line of each. Those are pages 2^35 to 2^35 + 3: in the host's root, frame 4,
    # entry 256 and so line 32, then frames 5 to 7. Page 0 is in line 0 of the root, and in frames 8 to 10
    assert tables(out, "l3") == {64 * frame for frame in range(11)} | {64 * 4 + 32}
    assert out.nested_tlb == {unit(0)}


def test_a_hit_in_a_page_walk_cache_locates_nothing() -> None:
    machine = replace(GUESTS, nested=NestedSpec(1, 16))
    out = simulate(machine, fetches(0, 8))
    # The second walk reads the guest's leaf line, whose table is known, and then locates page 8: of the host's tables
    # all but the leaf line are in l1
    assert out.times[1] == 13 + 3 * 4 + (1 + 157) + (1 + 3 * 4 + 157)
    assert out.nested_tlb == {unit(0), unit(8), *(unit(FIRST_TABLE + frame) for frame in range(4))}
    assert out.counts["host_walks"] == 6


@pytest.mark.parametrize(
    ("large", "host_large", "kept", "reads"),
    [
        (none, none, unit(512), (4, 20)),
        (each, none, unit(512), (3, 16)),
        (none, each, unit(512), (4, 6)),  # the tables are in one region
        (each, each, region(1), (3, 6)),
    ],
)
def test_a_unit_is_the_smaller_page(large: object, host_large: object, kept: Unit, reads: tuple[int, int]) -> None:
    machine = replace(GUESTS, large=large, host_large=host_large)
    out = simulate(machine, fetches(512))
    assert out.tlb_contents["dtlb"] == {kept}
    assert (out.by["walk"]["l1"]["reads"], out.by["host"]["l1"]["reads"]) == reads
    assert out.nested_tlb == {region(1) if host_large is each else unit(512)}
    # the leaf line of the smaller page is given up for the block; the guest's is line 192, or 128 of a large page
    blocks = simulate(replace(machine, mechanism=VictimaSpec("l2", always)), fetches(512))
    assert Line(TLB_BLOCK, 0, kept.size, kept.number // 8) in blocks.blocks
    guest_leaf = {each: 2, none: 3}[large] * 64  # type: ignore[index]
    assert (guest_leaf in tables(blocks, "l2")) == (large is each and host_large is none)


def test_nested_blocks_hold_eight_neighbours() -> None:
    out = simulate(replace(GUESTS, mechanism=VictimaSpec("l2", always)), fetches(0))
    # The guest's four tables are neighbours: the first is walked for and makes a block, three are found there. Page 0
    # is walked for; the host's root has a line for each
    assert out.times == [13 + (1 + 4 * 157) + 3 * (1 + 4 + 16) + (1 + 4 * 157) + 4 * 157]
    expected = {"host_walks": 2, "nested_block_lookups": 5, "nested_block_hits": 3, "nested_left": 4}
    expected |= {"nested_inserted": 2, "nested_converted": 2, "nested_saved": 0}
    assert {name: out.counts[name] for name in expected} == expected
    assert out.blocks == {
        Line(NESTED_BLOCK, 0, PAGE, FIRST_TABLE // 8),
        Line(NESTED_BLOCK, 0, PAGE, 0),
        Line(TLB_BLOCK, 0, PAGE, 0),
    }
    # of the host, frames 7 and 10 had the leaf lines, of the guest frame 3
    assert tables(out, "l1") - tables(out, "l2") == {64 * frame for frame in (3, 7, 10)}


def test_what_leaves_the_nested_tlb_is_walked_for_in_the_background() -> None:
    out = simulate(replace(GUESTS, mechanism=VictimaSpec("l2")), fetches(0))
    # Frame 0 is walked for, to memory; frame 1 pushes it out after a walk in l1, so it is costly: a walk of four lines
    # in l1, and a block, where frames 2 and 3 are found. Page 0 is walked for
    assert out.times == [13 + 5 * 1 + 4 * 157 + 4 * 4 + 2 * 20 + 4 * 157 + 4 * 157]
    assert out.counts["nested_saved_time"] == out.counts["background_host_time"] == 4 * 4
    expected = {"host_walks": 3, "background_host_walks": 1, "nested_saved": 1, "nested_refused": 3}
    assert {name: out.counts[name] for name in expected} == expected
    # the one in the background is the second of frame 0 and found its lines
    tables_walked = {unit(FIRST_TABLE): (2, 1), unit(FIRST_TABLE + 1): (1, 0)}
    assert out.host_predictor == tables_walked | {unit(0): (1, 1)}
    assert out.counts["walks_touched"] == 1


def test_a_shootdown_is_the_guests() -> None:
    machine = replace(GUESTS, mechanism=VictimaSpec("l2", always), nested=NestedSpec(1, 8))
    out = simulate(machine, [page(0), page(0, kind="shootdown")])
    assert out.tlb_contents["dtlb"] == set()
    assert {line.kind for line in out.blocks} == {NESTED_BLOCK}
    assert unit(0) in out.nested_tlb


# prefetchers


def lines(*numbers: int, kind: str = "load") -> list[Reference]:
    return [page(number // 64, line=number % 64, kind=kind) for number in numbers]


def brought(prefetcher: PrefetcherSpec, references: list[Reference], cache: str = "l1") -> set[int]:
    """The lines that only a prefetcher brought into its cache."""
    out = simulate(replace(RADIX, prefetchers={cache: prefetcher}), references)
    asked = {address // 64 for _, address, *_ in references}
    found = {line.number for line, _ in out.contents[cache] if line.kind == "data"} - asked
    assert out.prefetched[cache] == len(found)
    return found


TWO = PrefetcherSpec(1, 2)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((0, 3), set()),
        ((0, 3, 6), {9, 12}),
        ((0, 3, 3, 6), {9, 12}),  # the line again is nothing
        ((0, 3, 5, 8), set()),
        ((40, 37, 34), {31, 28}),
        ((57, 59, 61), {63}),  # as far as they lie in the page
        ((5, 3, 1), set()),
        ((0, 2, 64, 66, 4, 68), {6, 8, 70, 72}),  # each page has a stream
        ((0, 2, 64, 128, 192, 4), {6, 8}),
        ((0, 2, 64, 128, 192, 256, 4), set()),  # four streams: the fifth page takes the place of the oldest
    ],
)
def test_steps_that_come_again(asked: tuple[int, ...], expected: set[int]) -> None:
    assert brought(TWO, lines(*asked)) == expected
    assert brought(TWO, lines(*asked, kind="store")) == expected


def test_steps_of_one_line() -> None:
    assert brought(replace(TWO, unit=True), lines(0, 3, 6)) == set()
    assert brought(replace(TWO, unit=True), lines(7, 6, 5)) == {4, 3}


def test_lines_that_are_there_are_left_alone() -> None:
    out = simulate(replace(RADIX, prefetchers={"l1": TWO}), lines(0, 1, 2, 3))
    # 3 and 4 after 2; after 3, which is there, 4 is left alone
    assert (out.prefetched, out.left_alone) == ({"l1": 3}, {"l1": 1})
    assert out.by["prefetch"]["memory"]["reads"] == 3
    assert out.counters["l1"]["reads"] == out.counters["l1"]["fills"] - out.by["walk"]["l1"]["read_misses"] - 3 + 1


def test_a_store_that_goes_by_is_told() -> None:
    caches = CACHES | {"l1": replace(CACHES["l1"], write_allocate=False)}
    out = simulate(replace(RADIX, caches=caches, prefetchers={"l1": TWO}), lines(0, 3, 6, kind="store"))
    assert {line.number for line, _ in out.contents["l1"] if line.kind == "data"} == {9, 12}


def test_a_second_cache_is_told_of_what_misses_in_the_first() -> None:
    assert brought(TWO, lines(0, 1, 0, 1, 2), "l2") == {3, 4}
    # what the first cache's prefetcher asks for is not told of: 2 and 3 after 1, and so 4 is the third that misses
    machine = replace(RADIX, prefetchers={"l1": TWO, "l2": TWO})
    assert simulate(machine, lines(0, 1, 2)).prefetched == {"l1": 2, "l2": 2}
    alone = replace(machine, prefetchers={"l2": TWO})
    assert simulate(alone, lines(0, 1, 2)).prefetched == {"l2": 2}


# the TLB in memory


def test_lookups_and_entries_of_the_tlb_in_memory() -> None:
    machine = replace(RADIX, tlbs=TINY, mechanism=PomTlbSpec(4, 4))
    out = simulate(machine, fetches(0, 1, 2, 0))
    # Page 0: set 0 for both sizes, so one is new; then the walk. Pages 1 and 2: their sets are new, that of region 0 is
    # not; of the walk nothing is. Then page 0, which has left the TLBs, is in set 0
    assert out.times == [13 + 157 + 4 * 157, 13 + 157 + 3 * 4 + 4, 13 + 157 + 3 * 4 + 4, 13 + 4]
    assert (out.walks, out.counts["pom_time"], out.counts["pom_stores"]) == (3, 3 * 157 + 4, 2)
    assert out.pom_tlb == {unit(0), unit(1)}
    # set s is line 256 + s, behind four frames of tables
    assert {line.number for line, dirty in out.contents["l1"] if dirty} == {256, 257}
    assert out.by["pom"]["l1"] == {"reads": 8, "read_misses": 3, "writes": 2, "write_misses": 0}
    assert out.counters["l1"]["reads"] == out.counters["l1"]["writes"] == 0
    assert simulate(replace(machine, mechanism=PomTlbSpec(4, 4, store=False)), fetches(0, 1, 2, 0)).times == out.times


def test_the_lookup_of_the_page_size_is_paid() -> None:
    machine = replace(
        RADIX, tlbs=TINY, mechanism=PomTlbSpec(8, 4, store=False), large=lambda space, number: number == 3
    )
    # Of region 3 a page with 4 KiB set 4, then one with 5: the entry is in set 3, which is cached by then
    out = simulate(machine, fetches(3 * 512 + 4, 512, 514, 3 * 512 + 5))
    assert (out.times[3], out.walks) == (13 + 4, 3)
    assert out.by["pom"]["l1"]["read_misses"] == 2 + 2 + 1 + 1


def test_all_lines_of_a_set() -> None:
    first, whole = (
        simulate(replace(RADIX, tlbs=TINY, mechanism=PomTlbSpec(2, 16, whole=whole)), fetches(0))
        for whole in (False, True)
    )
    assert first.times == whole.times
    assert +first.by["pom"]["l1"] == {"reads": 2, "read_misses": 1}
    assert +whole.by["pom"]["l1"] == {"reads": 8, "read_misses": 4}


def test_the_entry_used_longest_ago_is_lost() -> None:
    # one set of six ways in two lines; page 0 leaves again while it is the oldest, and is only used
    machine = replace(RADIX, tlbs=TINY, mechanism=PomTlbSpec(1, 6))
    out = simulate(machine, fetches(*range(8), 0, 8, 9))
    assert out.counts["pom_stores"] == 8
    assert out.counts["left"] == 9
    assert out.pom_tlb == {unit(number) for number in (0, 3, 4, 5, 6, 7)}
    assert {line.number for line, dirty in out.contents["l1"] if dirty} == {256, 257}
    shot = simulate(machine, [*fetches(0, 1, 2), page(0, kind="shootdown")])
    assert shot.pom_tlb == set()


# hashed page tables


def test_mix_is_that_of_splitmix64() -> None:
    assert mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF  # its first number from seed 0


def test_buckets_fill_up_in_order() -> None:
    last = [number for number in range(100) if mix(number) % 3 == 2]
    a, b, c = ((0, number) for number in last[:3])  # the third bucket is the place of all three
    table = HashedTable([a, b, c], Fraction(1))
    assert table.buckets == [b, c, a]
    assert list(table.search(c)) == [2, 0, 1]
    assert list(table.search((0, last[3]))) == [2, 0, 1]  # all full: nothing is there
    assert len(HashedTable([a, b, c], Fraction(9, 10)).buckets) == 4
    roomy = HashedTable([a], Fraction(1, 3))
    assert roomy.buckets == [None, None, a]
    assert list(roomy.search(b)) == [2, 0]


def test_a_walk_of_a_hashed_table() -> None:
    out = simulate(replace(RADIX, tlbs=TINY, mechanism=HashedSpec()), fetches(0, 7, 3))
    assert mix(0) % 2 == 0
    assert tables(out, "l1") == {0}
    assert out.times == [13 + 157, 13 + 4, 13 + 4]
    assert (out.counts["probes"], out.counts["side_probes"], out.counts["walks_touched"]) == (3, 0, 1)
    assert out.pwc_misses == dict.fromkeys(PWCS, 0)


def test_nobody_waits_for_the_other_table() -> None:
    machine = replace(RADIX, tlbs=TINY, mechanism=HashedSpec(), large=lambda space, number: number == 8)
    out = simulate(machine, fetches(0, 8 * 512))
    assert (mix(0) % 2, mix(1) % 2, mix(8 * 512 // 8) % 2) == (0, 1, 0)
    # One group and two buckets each, the large page's in frame 1. Page 0 is found in bucket 0; its region would be in
    # bucket 0 there, which is empty. Region 8 is found in bucket 1; its page would be in bucket 0 here, the other's,
    # and is sought no further when the walk ends
    assert tables(out, "l1") == {0, 64, 65}
    assert out.times == [13 + 157, 13 + 157]
    assert (out.counts["probes"], out.counts["side_probes"]) == (2, 2)


# coalescing TLBs


def coalescing(reach: int = 8, sets: int = 1, **more: object) -> Config:
    tlbs = {"dtlb": TINY["dtlb"], "stlb": TlbSpec(sets, 1, 12, reach=reach)}
    return replace(RADIX, tlbs=tlbs, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("reach", "missing"), [(1, 16), (2, 16), (4, 8), (8, 4)])
def test_one_page_brings_its_group(reach: int, missing: int) -> None:
    # of each group the first page is missing and stays in dtlb; the second pushes it into stlb, and the rest is found
    assert simulate(coalescing(reach), fetches(*range(16))).walks == missing
    assert simulate(coalescing(reach, contiguous=none), fetches(*range(16))).walks == 16
    assert simulate(coalescing(reach, large=each), fetches(*(512 * number for number in range(16)))).walks == 16


def test_a_shared_entry_goes_by_the_page_touched_first() -> None:
    out = simulate(coalescing(), fetches(5, 64, 6, 7, 65))
    # stlb: - | 5 | 64 for 5 | 6 enters, as 5 | 7 enters: its policy is told of a hit
    assert out.tlb_contents == {"dtlb": {unit(65)}, "stlb": {unit(5)}}
    assert out.counts["left"] == 2
    shot = simulate(coalescing(), [*fetches(5, 64), page(7, kind="shootdown")])
    assert shot.tlb_contents == {"dtlb": {unit(64)}, "stlb": set()}


def test_groups_share_a_set_whether_contiguous_or_not() -> None:
    out = simulate(coalescing(sets=2, contiguous=none), fetches(0, 1, 64, 0, 1))
    assert out.walks == 5  # pages 0 and 1 push each other out of set 0
    assert simulate(coalescing(1, sets=2), fetches(0, 1, 64, 0, 1)).walks == 3


# what always holds


@settings(deadline=None, max_examples=150)
@given(machine=variants(), references=translated(150))
def test_what_stands_behind_tlbs_does_not_change_them(machine: Config, references: list[Reference]) -> None:
    out = simulate(machine, references)
    radix = simulate(replace(machine, mechanism=None, prefetchers={}), references)
    assert out.tlb_contents == radix.tlb_contents
    assert (out.tlb_hits, out.tlb_misses) == (radix.tlb_hits, radix.tlb_misses)
    assert out.counts["missing"] == radix.counts["missing"] == radix.walks
    for name, held in out.contents.items():
        assert all(not dirty for line, dirty in held if line.kind in (TLB_BLOCK, NESTED_BLOCK))
        assert len(held) == sum(
            sign * out.counters[name][what]
            for what, sign in (("fills", 1), ("evictions", -1), ("invalidations", -1), ("taken", -1))
        )


# the artifact of Victima

ARTIFACT = replace(RADIX, tlbs=TINY, caches=WIDE, mechanism=ArtifactSpec("l2"))
VIRTUAL = replace(GUESTS, nested=NestedSpec(1, 1, virtual=True))
SMALL_L1 = {**WIDE, "l1": CacheSpec(1, 1, below="l2", serves="data")}


def test_a_block_of_the_artifact_is_found_in_the_first_cache() -> None:
    out = simulate(ARTIFACT, fetches(0, 8, 16, 0, 1))
    walk = 13 + 4 * 157
    assert out.times == [walk, *[13 + 3 * 4 + 157] * 2, 1 + 4, 1 + 4]
    assert out.counts["block_hits"] == 2
    assert out.counts["inserted"] == out.by["pom"]["memory"]["reads"] == 3


def test_one_that_has_left_the_first_cache_comes_back() -> None:
    machine = replace(ARTIFACT, caches=SMALL_L1)
    out = simulate(machine, fetches(0, 1))
    assert out.times[1] == 1 + 4 + 16
    assert {line for line, _ in out.contents["l1"]} == {block(0)}
    assert simulate(machine, fetches(0, 1, 2)).times[2] == 1 + 4


def test_the_artifact_walks_for_nobody_and_takes_no_leaf_line() -> None:
    out = simulate(replace(ARTIFACT, mechanism=ArtifactSpec("l2", on_miss=False)), fetches(0, 8, 16))
    assert out.counts["left"] == out.counts["inserted"] == 1
    assert out.background_walks == 0
    assert out.predictor == {}
    assert block(0) in {line for line, _ in out.contents["l3"]}
    assert tables(out, "l2") == tables(simulate(replace(ARTIFACT, mechanism=None), fetches(0, 8, 16)), "l2")


@pytest.mark.parametrize(
    ("on_miss", "on_eviction", "inserted"), [(False, False, 0), (True, False, 3), (False, True, 1)]
)
def test_when_the_artifact_makes_blocks(on_miss: bool, on_eviction: bool, inserted: int) -> None:
    machine = replace(ARTIFACT, mechanism=ArtifactSpec("l2", on_miss, on_eviction))
    assert simulate(machine, fetches(0, 8, 16)).counts["inserted"] == inserted


def test_a_shootdown_takes_a_block_of_the_artifact_out_of_all_caches() -> None:
    out = simulate(ARTIFACT, [*fetches(0), page(0, kind="shootdown"), *fetches(1)])
    assert out.counts["block_hits"] == 0
    assert all(count["invalidations"] == 1 for count in out.counters.values())


def test_a_nested_tlb_of_the_programs_pages_misses_once_in_a_walk() -> None:
    out = simulate(VIRTUAL, fetches(0))
    assert out.counts["host_walks"] == 1
    assert out.times == [13 + 4 * 157 + 4 * 1 + 4 * 157]
    assert out.nested_tlb == {unit(0)}


def test_the_artifact_walks_no_host_tables_where_pages_have_one_size() -> None:
    out = simulate(replace(VIRTUAL, mechanism=ArtifactSpec("l2")), fetches(0, 8))
    assert out.times[0] == 13 + 4 * 157 + 4 * (1 + 4)
    assert out.counts["host_walks"] == 0
    assert out.counts["nested_block_hits"] == 4 + 1  # the second walk finds its upper levels in page-walk caches
    assert out.nested_tlb == set()


def test_a_host_page_of_another_size_has_a_block_of_its_own() -> None:
    out = simulate(replace(VIRTUAL, mechanism=ArtifactSpec("l2"), host_large=each), fetches(0))
    assert out.counts["host_walks"] == 1
    assert Line(NESTED_BLOCK, 0, REGION, 0) in {line for line, _ in out.contents["l2"]}
