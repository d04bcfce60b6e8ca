"""Guests: their tables and the host's, walks of both counted by hand, and what nested TLBs and blocks never change."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.policies.translation.predictors import Always, AtLeastOnce
from tiersim.policies.way.lru import Lru
from tiersim.policies.way.tlb_aware_srrip import TlbAwareSrrip
from tiersim.sim.cache_loop import Level
from tiersim.sim.mechanisms.pom_tlb import PomTlbLoop
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.mechanisms.victima import VictimaLoop
from tiersim.sim.pages import NUMBER, PagedEvents, Tables, nested_tables_of, paged_from, tables_of
from tiersim.sim.translation import Timing, Translated, translate
from tiersim.sim.translation_loop import SHOOTDOWN, Loop, Mechanism, Nested, Tlb, TranslationWriter

PAGE, REGION, GIB = 1 << 12, 1 << 21, 1 << 30
L1, L2, MEMORY, TLB, PWC, NTLB, MISS, ANSWER = 4, 12, 100, 7, 3, 2, 1, 16  # latencies
TIMING = Timing(
    {"l1": L1, "l2": L2, "memory": MEMORY, "dtlb": 1, "stlb": TLB, "ntlb": NTLB}
    | dict.fromkeys(("pwc1", "pwc2", "pwc3", "pwc4"), PWC),
    MISS,
    ANSWER,
)


class Never:
    """No page is costly."""

    @staticmethod
    def costly(freq: int, cost: int) -> bool:
        return False


def some(share: float, salt: int) -> Any:
    """Which regions are one page: the same at every call."""

    def large(regions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([random.Random(f"{salt} {region}").random() < share for region in regions.tolist()], bool)

    return large


NO_PAGE, EACH = some(0, 0), some(1, 0)


def references(address: Any, **columns: Any) -> PagedEvents:
    count = len(address)
    held = {
        "address": np.asarray(address, np.uint64),
        "kind": np.asarray(columns.pop("kind", np.zeros(count)), np.uint8),
        "size": np.ones(count, np.uint16),
        "gap": np.asarray(columns.pop("gap", np.ones(count)), np.uint32),
    }
    return paged_from(held | {name: np.asarray(column, np.uint16) for name, column in columns.items()})


def loop_of(
    mechanism: Mechanism | None = None,
    *,
    nested: bool = True,
    blocks: bool = False,
    ways: tuple[int, int, int, int, int] = (1, 2, 2, 2, 2),
    policy: Any = None,
    levels: int = 4,
) -> Loop:
    """Two caches, two TLBs, page-walk caches and a nested TLB of these ways each."""
    l1, l2, tlb, pwc, ntlb = ways
    return Loop(
        (
            Level("l1", l1, Lru(), 1, frozenset({"data"}), classify=False),
            Level("l2", l2, policy or Lru(), None, classify=False),
        ),
        (Tlb("dtlb", tlb, Lru(), serves=frozenset({"data"})), Tlb("stlb", tlb, Lru())),
        tuple(Tlb(f"pwc{k + 1}", pwc, Lru()) for k in range(levels - 1)),
        mechanism or RadixLoop(),
        1,
        Nested(Tlb("ntlb", ntlb, Lru()), blocks) if nested else None,
    )


def run(
    loop: Loop,
    events: PagedEvents,
    sets: dict[str, int] | None = None,
    *,
    large: Any = NO_PAGE,
    host_large: Any = NO_PAGE,
    timing: Timing = TIMING,
    **given: Any,
) -> tuple[Translated, Tables]:
    levels = len(loop.walk_caches) + 1
    tables = (
        nested_tables_of(events.lines, large, host_large, levels)
        if loop.nested
        else tables_of(events.lines, large, levels)
    )
    names = ["l1", "l2", *(part.name for part in loop.lookups)]
    given = {"compiled": False, "contents": True} | given
    return translate(loop, dict.fromkeys(names, 1) | (sets or {}), events, tables, timing, **given), tables


def reads(made: Translated, cache: str) -> dict[str, int]:
    held = made.memory if cache == "memory" else made.caches[cache]
    return {who: held[f"{who}_reads"] for who in ("walk", "host", "background", "background_host")}


# tables


@given(st.sampled_from([4, 5]), st.integers(0, 2**32), st.sampled_from([0, 0.5, 1]), st.sampled_from([0, 0.5, 1]))
def test_tables_are_those_of_a_walk_in_two_dimensions(levels: int, seed: int, share: float, host_share: float) -> None:
    rng = np.random.default_rng(seed)
    number = rng.choice(rng.integers(0, 1 << 9 * levels - 10, 6), 60) * 512 + rng.integers(0, 512, 60)
    pages = np.array(list(dict.fromkeys((rng.integers(0, 3, 60) << NUMBER | number).tolist())))
    large, host_large = some(share, 1), some(host_share, 2)

    def path(frames: dict[Any, int], space: int, number: int, whole: bool) -> list[int]:
        """The frames of the tables from the root on, made where they are new."""
        covers = [(space, level, number >> 9 * level) for level in range(levels, int(whole), -1)]
        return [frames.setdefault(cover, len(frames)) for cover in covers]

    def whole(which: Any, space: int, number: int) -> bool:
        return bool(which(np.array([space << NUMBER | number >> 9]))[0])

    guests: dict[Any, int] = {}
    touched: list[tuple[int, int, int]] = []  # guest-physical pages: row behind those of the pages, space, number
    walks = []
    for page, key in enumerate(pages.tolist()):
        space, at = key >> NUMBER, key & ((1 << NUMBER) - 1)
        known = len(guests)
        is_large = whole(large, space, at)
        walks.append((space, at, is_large, path(guests, space, at, is_large)))
        new = range(known, len(guests))
        touched += [(len(pages) + frame, space, (1 << 9 * levels - 1) + frame) for frame in new]
        touched.append((page, space, at))
    made = nested_tables_of(pages, large, host_large, levels)
    count, first = len(pages), len(pages) + len(guests)
    rows = made.rows.tolist()

    hosts: dict[Any, int] = {}
    host_units: dict[Any, int] = {}
    for row, space, at in touched:
        is_large = whole(host_large, space, at)
        frames = path(hosts, space, at, is_large)
        unit = host_units.setdefault((space, at >> 9) if is_large else (space, at, 0), count + row)
        number = at >> 9 if is_large else at
        leaf = first + frames[-1] << 6 | (number & 511) >> 3
        assert rows[count + row] == [unit, number & 0x7FFFFFFF, leaf, is_large]
        assert made.numbers[leaf >> 6] == len(guests) + frames[-1]
        assert made.parents[len(guests) + frames[0]] == -1
        for level, (above, below) in enumerate(zip(frames[-2::-1], frames[::-1], strict=False), 1 + is_large):
            assert made.parents[len(guests) + below] == len(guests) + above << 9 | at >> 9 * level & 511
        block = leaf + (len(guests) + 2 * (made.tables - len(guests)) << 6)
        assert made.numbers[block >> 6] << 6 | block & 63 == number >> 3

    units: dict[Any, int] = {}
    for page, (space, at, is_large, frames) in enumerate(walks):
        number = at >> 9 if is_large else at
        unit = units.setdefault((space, at >> 9) if is_large else (space, at, 0), page)
        leaf = count + frames[-1] << 6 | (number & 511) >> 3
        assert rows[count + first + page] == [unit, number & 0x7FFFFFFF, leaf, is_large]
        both = is_large and rows[count + page][3]
        if is_large and not both:  # the smaller page is the host's, and its leaf line counts
            leaf = rows[count + page][2]
        number = at >> 9 if both else at
        assert rows[page] == [unit if both else page, number & 0x7FFFFFFF, leaf, both]
        block = leaf + (made.tables << 6)
        assert made.numbers[block >> 6] << 6 | block & 63 == number >> 3
    assert (made.pages, made.guests, made.tables) == (count, len(guests), len(guests) + len(hosts))
    assert len(made.numbers) == count + 2 * len(guests) + 3 * len(hosts)


def test_pages_where_guests_have_their_tables_are_one_message() -> None:
    with pytest.raises(StudyError, match="where guests have their tables, from 0x800000000000 on"):
        nested_tables_of(np.array([5, 1 << 35]), NO_PAGE, NO_PAGE, 4)
    # of two pages with a path of tables each, but for the root: seven tables, and the page stands behind them
    assert nested_tables_of(np.array([5, (1 << 35) + 7]), NO_PAGE, NO_PAGE, 4).guests == 7


def test_too_many_pages_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiersim.sim.pages.TAKEN", 5)
    assert nested_tables_of(np.arange(2), NO_PAGE, NO_PAGE, 4).tables == 4 + 7  # the host's part at the root
    with pytest.raises(StudyError, match="3 pages with 11 pages of tables"):
        nested_tables_of(np.arange(3), NO_PAGE, NO_PAGE, 4)  # 3 + 2 x 4 + 3 x 7


# walks by hand


@pytest.mark.parametrize(("levels", "guest", "host"), [(4, 4, 20), (5, 5, 30)])
def test_a_walk_with_nothing_cached_reads_both_tables(levels: int, guest: int, host: int) -> None:
    made, _ = run(loop_of(ways=(1, 1, 1, 1, 1), levels=levels), references([0]))
    each = {"walk": guest, "host": host, "background": 0, "background_host": 0}
    for part in ("l1", "l2", "memory"):
        assert reads(made, part) == each  # 24 of four levels; the last host walk, for the data, is 4 of them
    assert made.own["host_walks"] == levels + 1
    assert made.own["host_time"] == host * (L1 + L2 + MEMORY)
    looked = (levels + 1) * NTLB + (levels - 1) * MISS
    assert made.own["walk_time"] == (guest + host) * (L1 + L2 + MEMORY) + looked
    assert made.own["beyond"] == TLB + made.own["walk_time"]


def test_what_is_cached_saves_what_stands_behind_it() -> None:
    # pages 0 and 8: one path of tables, two leaf lines
    made, _ = run(loop_of(ways=(8, 64, 1, 4, 16)), references([0, 8 * PAGE]), cuts=[1])
    second = made - made.cuts[0]
    # the PWCs have all upper entries, the nested TLB the last guest table; only the page itself is new to it
    assert [second.structures[name]["misses"] for name in ("pwc1", "pwc2", "pwc3", "ntlb")] == [0, 0, 0, 1]
    assert second.structures["ntlb"]["lookups"] == 2
    assert reads(second, "l1") == {"walk": 1, "host": 4, "background": 0, "background_host": 0}
    # the guest's leaf line is new, and of the host's only the leaf line: page 8 is no neighbour of page 0
    assert reads(second, "memory") == {"walk": 1, "host": 1, "background": 0, "background_host": 0}
    assert second.own["host_time"] == 4 * L1 + L2 + MEMORY  # the upper ones were read last before the data
    assert second.own["walk_time"] == 3 * PWC + 2 * NTLB + L1 + L2 + MEMORY + second.own["host_time"]


def test_a_hit_in_a_walk_cache_locates_nothing() -> None:
    made, _ = run(loop_of(ways=(8, 64, 1, 4, 1)), references([0, 8 * PAGE]), cuts=[1])
    second = made - made.cuts[0]
    # a nested TLB of one entry misses the last guest table and the page
    assert [second.structures["ntlb"][what] for what in ("lookups", "misses")] == [2, 2]
    assert second.own["nested_left"] == 2


def test_host_pages_of_2_mib_have_shorter_walks_and_one_entry() -> None:
    addresses = [0, PAGE, 3 * PAGE]
    made, tables = run(loop_of(ways=(1, 1, 1, 1, 8)), references(addresses), host_large=EACH, cuts=[1])
    # a region with the four tables, a region with the pages
    assert made.structures["ntlb"]["misses"] == made.own["host_walks"] == 2
    assert reads(made, "l1")["host"] == 2 * 3
    assert made.held is not None
    assert len(made.held.structures["ntlb"]) == 2
    assert len(made.held.structures["stlb"] | made.held.structures["dtlb"]) == 2  # of one entry: units have 4 KiB
    assert not tables.rows[:3, 3].any()


def test_a_unit_is_the_smaller_of_both_pages() -> None:
    addresses = [0, PAGE, 0, PAGE]
    loop = loop_of(ways=(2, 8, 4, 2, 8))
    both, _ = run(loop, references(addresses), large=EACH, host_large=EACH)
    assert both.own["missing"] == 1
    assert both.own["walks"] == 1
    assert reads(both, "l1") == {"walk": 3, "host": 2 * 3, "background": 0, "background_host": 0}
    small, _ = run(loop, references(addresses), large=EACH)
    assert small.own["missing"] == 2
    # two levels by PWC, the leaf is in the PWC of level 2; then only the page is located
    assert reads(small, "l1") == {"walk": 3, "host": 4 * 4 + 4, "background": 0, "background_host": 0}


def test_address_spaces_are_guests_of_their_own() -> None:
    made, tables = run(loop_of(ways=(4, 64, 2, 2, 16)), references([0, 0], asid=[1, 2]))
    assert made.own["walks"] == 2
    assert made.own["host_walks"] == 10
    assert (tables.guests, tables.tables) == (8, 8 + 2 * 7)  # the halves of a host's root part at the root


# nested TLB blocks by hand


def test_a_nested_block_takes_the_place_of_a_host_walk() -> None:
    loop = loop_of(VictimaLoop(1, Always, on_eviction=False), blocks=True, ways=(8, 64, 1, 4, 1))
    made, tables = run(loop, references([0, PAGE]), cuts=[1])
    first = made.cuts[0]
    # the translations of the four guest tables are one block, made for the first and found for three; the page is apart
    assert [first.own[f"nested_block_{what}"] for what in ("lookups", "hits")] == [5, 3]
    assert [first.own[f"nested_{what}"] for what in ("inserted", "converted", "refused")] == [2, 2, 0]
    assert first.own["host_walks"] == 2
    assert reads(first, "l1") == {"walk": 4, "host": 8, "background": 0, "background_host": 0}
    assert first.own["walk_time"] == 3 * MISS + 5 * NTLB + 3 * ANSWER + 12 * (L1 + L2 + MEMORY)
    second = made - first
    assert (second.own["block_hits"], second.own["walks"]) == (1, 0)  # the TLB block of page 0 is that of page 1
    assert second.structures["ntlb"]["lookups"] == 0
    first_block, first_nested = (held << 6 for held in (tables.pages + tables.tables, tables.pages + 2 * tables.tables))
    assert made.held is not None
    blocks = {line for line, _ in made.held.caches["l2"] if line >= first_block}
    assert sorted(line >= first_nested for line in blocks) == [False, True, True]
    # a host unit's block is placed by its number / 8
    placed = sorted(int(tables.numbers[line >> 6]) << 6 | line & 63 for line in blocks)
    assert placed == [0, 0, (1 << 35) // 8]


def test_what_left_the_nested_tlb_is_walked_for_in_the_background() -> None:
    loop = loop_of(VictimaLoop(1, Always, on_miss=False), blocks=True, ways=(8, 64, 8, 4, 1))
    made, _ = run(loop, references([0]))
    # the root's translation leaves for that of the next table, which costs a walk and makes a block for all four
    assert made.own["nested_left"] == 4
    assert (made.own["nested_saved"], made.own["nested_inserted"]) == (1, 1)
    # two host walks before, then the block is found for two tables; the page is walked for
    assert (made.own["host_walks"], made.own["background_host_walks"]) == (3, 1)
    assert reads(made, "l1") == {"walk": 4, "host": 12, "background": 0, "background_host": 4}
    # 8 lines of host tables are different, and the walk in the background read four that were there
    assert made.own["nested_saved_time"] == 4 * L1
    read = 4 * (L1 + L2 + MEMORY) + 8 * (L1 + L2 + MEMORY) + 4 * L1
    assert made.own["walk_time"] == 3 * MISS + 5 * NTLB + 2 * ANSWER + read
    assert made.own["walks_touched"] == 1


def test_host_units_are_costly_by_their_own_counters() -> None:
    # pages 1 GiB apart share the root and the table below it
    addresses = [place * GIB for place in (1, 2, 3, 4)]
    loop = loop_of(VictimaLoop(1, AtLeastOnce, on_eviction=False), blocks=True, ways=(1, 1, 1, 1, 1))
    made, _ = run(loop, references(addresses), cuts=[1, 2, 3])
    asked = [(books.own["nested_refused"], books.own["nested_inserted"]) for books in (*made.cuts, made)]
    # the root's entry is in its PWC from the second walk on; the shared table has been walked for, and is costly
    assert asked == [(5, 0), (8, 1), (11, 2), (14, 3)]
    assert made.own["refused"] == 4  # each page is new


# what the caches, the TLBs and the program see


@dataclass(frozen=True)
class Keep(Lru):
    """Evicts the first way that holds no line of the kind `kept`."""

    kept: int = 0
    hit_is_idempotent: ClassVar[bool] = True

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> Any:
        return np.full((sets, ways), -1, np.int64)

    @staticmethod
    def hit(s: Any, at: int) -> None:
        return

    @staticmethod
    def fill(s: Any, at: int, way: int, kind: int) -> None:
        s[at + way] = kind

    @staticmethod
    def victim(s: Any, at: int, ways: int, kept: int) -> int:
        for way in range(ways):
            if s[at + way] != kept:
                return way
        return 0


@pytest.mark.parametrize(
    ("kept", "resident", "inserted"), [(2, "resident", "inserted"), (3, "nested_resident", "nested_inserted")]
)
def test_policies_are_told_kinds_of_lines(kept: int, resident: str, inserted: str) -> None:
    events = references([place * 8 * PAGE for place in range(8)])

    def held(kind: int) -> int:
        loop = loop_of(VictimaLoop(1, Always), blocks=True, ways=(1, 20, 1, 1, 1), policy=Keep(kind))
        made, _ = run(loop, events)
        assert made.own[inserted] > 5
        return made.own[inserted] - made.own[resident]

    assert held(kept) == 0
    assert held(0) > 0


MECHANISMS: dict[str, Mechanism] = {
    "radix": RadixLoop(),
    "victima": VictimaLoop(1, AtLeastOnce),
    "on miss": VictimaLoop(1, AtLeastOnce, on_eviction=False),
    "on eviction": VictimaLoop(1, Always, on_miss=False),
    "pom": PomTlbLoop(2, Lru()),
}


@st.composite
def traffic(draw: st.DrawFn, kinds: tuple[int, ...] = (0, 1)) -> PagedEvents:
    """References to some pages near and far, in one or two address spaces; shootdowns if they are among `kinds`."""
    count = draw(st.integers(1, 120))
    luck = np.random.default_rng(draw(st.integers(0, 2**32)))
    places = (
        luck.choice([0, 3 * REGION, 5 * GIB, 700 * GIB], count)
        + luck.integers(0, draw(st.integers(1, 40)), count) * PAGE
    )
    events = references(
        places + luck.integers(0, 64, count) * 64,
        kind=luck.choice([0, 1], count),
        gap=luck.integers(1, 200, count),
        asid=luck.integers(0, draw(st.integers(1, 2)), count),
    )
    if SHOOTDOWN in kinds:
        events.held = np.where(luck.random(count) < 0.1, events.held | SHOOTDOWN, events.held).astype(np.int32)
    return events


shares = st.sampled_from([some(0, 0), some(0.5, 1), some(1, 0)])
ways = st.tuples(*(st.integers(1, 4) for _ in range(5)))
WAYS = (2, 16, 2, 2, 2)


@pytest.mark.parametrize("name", ["radix", "victima", "pom"])  # each is compiled, which takes long
@settings(max_examples=40)
@given(traffic((0, 1, SHOOTDOWN)), shares, shares)
def test_compiled_and_plain_loops_agree(name: str, events: PagedEvents, large: Any, host_large: Any) -> None:
    mechanism = MECHANISMS[name]
    loop = loop_of(mechanism, blocks=mechanism.cache is not None, ways=WAYS, policy=TlbAwareSrrip())
    sets = {"l1": 2, "l2": 4, "stlb": 4, "ntlb": 2, "pom-tlb": 8}
    made = [
        run(loop, events, sets, large=large, host_large=host_large, shootdowns=True, compiled=compiled)[0]
        for compiled in (False, True)
    ]
    assert same(*made)


def same(one: Translated, other: Translated) -> bool:
    arrays = [np.array_equal(getattr(one, name), getattr(other, name)) for name in ("walks", "reuse")]
    parts = ("caches", "memory", "structures", "own", "held")
    return all(arrays) and all(getattr(one, name) == getattr(other, name) for name in parts)


@pytest.mark.parametrize("levels", [4, 5])
@settings(max_examples=60)
@given(traffic(), ways, shares)
def test_guests_walk_as_without_a_host(levels: int, events: PagedEvents, given: Any, large: Any) -> None:
    """With pages of one size in the host, what TLBs and guest walks do is what they do natively."""
    native, _ = run(loop_of(nested=False, ways=given, levels=levels), events, large=large)
    made, _ = run(loop_of(ways=given, levels=levels), events, large=large, host_large=EACH)
    for name, counted in native.structures.items():
        assert made.structures[name] == counted
    for name in ("missing", "walks", "left"):
        assert made.own[name] == native.own[name]
    assert made.caches["l1"]["walk_reads"] == native.caches["l1"]["walk_reads"]
    assert made.own["walk_time"] >= native.own["walk_time"]
    both = made.caches["l1"]["walk_reads"] + made.caches["l1"]["host_reads"]
    assert both <= made.own["walks"] * (levels + (levels + 1) * levels)


@settings(max_examples=60)
@given(traffic((0, 1, SHOOTDOWN)), ways, shares, shares)
def test_tlbs_do_not_see_what_is_done_for_what_they_miss(
    events: PagedEvents, given: Any, large: Any, host_large: Any
) -> None:
    made = [
        run(loop, events, large=large, host_large=host_large, shootdowns=True)[0]
        for loop in (
            loop_of(ways=given),
            *(loop_of(VictimaLoop(1, Always), blocks=blocks, ways=given) for blocks in (False, True)),
        )
    ]
    for name in ("dtlb", "stlb"):
        assert made[0].structures[name] == made[1].structures[name] == made[2].structures[name]
    assert made[1].own["walks"] <= made[0].own["walks"]
    assert made[2].own["walks"] <= made[0].own["walks"]


@settings(max_examples=60)
@given(traffic(), ways, shares, shares)
def test_without_blocks_in_it_the_cache_is_that_of_radix(
    events: PagedEvents, given: Any, large: Any, host_large: Any
) -> None:
    timing = Timing(TIMING.latencies, MISS, ANSWER, (1 << 30, 1 << 30))
    loops = loop_of(ways=given), loop_of(VictimaLoop(1, Never), blocks=True, ways=given)
    radix, made = (run(loop, events, large=large, host_large=host_large, timing=timing)[0] for loop in loops)
    assert radix.caches == made.caches
    assert radix.structures == made.structures
    assert radix.held == made.held
    own = {name: count for name, count in made.own.items() if "block" not in name and "refused" not in name}
    assert own == {name: radix.own[name] for name in own}
    assert made.own["nested_block_lookups"] == made.structures["ntlb"]["misses"]


@settings(max_examples=60)
@given(traffic(), shares, shares)
def test_a_nested_tlb_that_forgets_nothing_walks_once_for_a_host_page(
    events: PagedEvents, large: Any, host_large: Any
) -> None:
    made, tables = run(loop_of(ways=(1, 2, 1, 1, 400)), events, large=large, host_large=host_large)
    assert made.held is not None
    assert made.own["host_walks"] == len(made.held.structures["ntlb"])
    hosts = tables.rows[tables.pages : 2 * tables.pages + tables.guests, 0]  # of all pages and guest tables
    assert made.held.structures["ntlb"] == set(hosts.tolist())


def test_a_shootdown_is_the_guests() -> None:
    events = references([0, 0, 0])
    events.held = np.array([0, SHOOTDOWN, 0], np.int32)
    loop = loop_of(VictimaLoop(1, Always), blocks=True, ways=(8, 64, 2, 2, 16))
    made, _ = run(loop, events, shootdowns=True, cuts=[2])
    shot, again = made.cuts[0], made - made.cuts[0]
    assert shot.own["shootdowns"] == shot.structures["dtlb"]["removed"] == 1
    assert (shot.own["resident"], shot.own["nested_resident"]) == (0, 2)
    assert again.own["walks"] == 1
    assert again.own["host_walks"] == 0
    assert again.structures["ntlb"]["misses"] == 0


def test_loops_without_a_nested_tlb_know_nothing_of_guests() -> None:
    for mechanism in MECHANISMS.values():
        loop = loop_of(mechanism, nested=False)
        text = TranslationWriter(loop).text()
        assert not re.search("host|guest|nested|locate", text)
        assert loop.kinds == 3
        assert not set(Nested.words) & set(loop.words)
