"""Hashed page tables against a naive dictionary of buckets, and walks of them counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.translating import (
    L1,
    MEMORY,
    PAGE,
    REGION,
    STLB,
    TIMING,
    Machine,
    Which,
    addresses,
    all_of,
    loop_of,
    none_of,
    references,
    sets_of,
    some,
)
from tiersim._base.errors import StudyError
from tiersim.sim.hashed_tables import hashed_tables_of
from tiersim.sim.mechanisms.hashed import HashedLoop
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.pages import NUMBER, PagedEvents, tables_of
from tiersim.sim.translation import Translated, translate
from tiersim.sim.translation_loop import Loop

MISS = L1 + MEMORY
WORD = (1 << 64) - 1


def mix(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
    return z ^ z >> 31


class Table:
    """Buckets by linear probing."""

    def __init__(self, groups: list[int], load: int) -> None:
        self.buckets: list[int | None] = [None] * -(-len(groups) * 10**9 // load)
        for group in groups:
            self.buckets[next(at for at in self.path(group) if self.buckets[at] is None)] = group

    def path(self, group: int) -> list[int]:
        count = len(self.buckets)
        return [(mix(group) + step) % count for step in range(count)]

    def search(self, group: int) -> list[int]:
        """The buckets that are read."""
        read = []
        for at in self.path(group):
            read.append(at)
            if self.buckets[at] in (group, None):
                break
        return read


class Tables:
    """Both tables over pages, as the specification fills them."""

    def __init__(self, pages: list[int], large: Which, load: int) -> None:
        self.large = large
        groups: tuple[list[int], list[int]] = ([], [])
        for page in pages:
            size = int(self.is_large(page))
            if (group := self.group(page, size)) not in groups[size]:
                groups[size].append(group)
        self.tables = [Table(held, load) for held in groups]

    def is_large(self, page: int) -> bool:
        space, number = page >> NUMBER, page & ((1 << NUMBER) - 1)
        return bool(self.large(np.array([space << NUMBER | number >> 9]))[0])

    @staticmethod
    def group(page: int, size: int) -> int:
        return page >> NUMBER << 45 | (page & ((1 << NUMBER) - 1)) >> 9 * size >> 3

    def searches(self, page: int) -> list[list[int]]:
        return [table.search(self.group(page, size)) for size, table in enumerate(self.tables)]


def run(
    loop: Loop, events: PagedEvents, large: Any = none_of, load: int = 5 * 10**8, sets: Any = None, **given: Any
) -> Translated:
    hashed = not loop.walk_caches
    tables = hashed_tables_of(events.lines, large, load) if hashed else tables_of(events.lines, large, 4)
    given = {"compiled": False, "contents": True} | given
    return translate(loop, sets_of(loop, **(sets or {})), events, tables, TIMING, **given)


HASHED = loop_of(HashedLoop(), walk_caches=False)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(0, 511)), min_size=1, max_size=80),
    st.sampled_from([0, 0.4, 1]),
    st.sampled_from([10**8, 5 * 10**8, 9 * 10**8, 10**9]),
)
def test_tables_are_those_of_naive_buckets(touched: list[tuple[int, int, int]], share: float, load: int) -> None:
    pages = list(dict.fromkeys(space << NUMBER | region * 3 << 9 | page for space, region, page in touched))
    large = some(share, 1)
    made, naive = hashed_tables_of(np.array(pages), large, load), Tables(pages, large, load)
    assert [made.places["small_buckets"], made.places["large_buckets"]] == [len(t.buckets) for t in naive.tables]
    assert made.places["small_line"] == len(pages) << 6
    frames = [-(-len(table.buckets) // 64) for table in naive.tables]
    assert made.places["large_line"] == (len(pages) + frames[0]) << 6
    assert made.tables == sum(frames)
    assert made.numbers[len(pages) :].tolist() == list(range(sum(frames)))
    units: dict[tuple[int, int], int] = {}
    for row, page in enumerate(pages):
        searches, size = naive.searches(page), int(naive.is_large(page))
        at = made.parents[row].tolist()
        for found, place, reads in zip(searches, at[::2], at[1::2], strict=True):
            assert reads == len(found)
            assert not found or place == found[0]
        number = (page & ((1 << NUMBER) - 1)) >> 9 * size
        first = units.setdefault((page >> 9, size), row) if size else row
        line = made.places[f"{('small', 'large')[size]}_line"] + searches[size][-1]
        assert made.rows[row].tolist() == [first, number & 0x7FFFFFFF, line, size]


@pytest.mark.parametrize("load", [25, 50, 75])
def test_searches_take_what_linear_probing_takes(load: int) -> None:
    # Knuth: (1 + 1 / (1 - load)) / 2 buckets on average until one that is there
    pages = np.arange(1 << 15) * 8
    reads = hashed_tables_of(pages, none_of, load * 10**7).parents[:, 1]
    assert np.mean(reads) == pytest.approx((1 + 1 / (1 - load / 100)) / 2, rel=0.03)


def test_a_walk_by_hand() -> None:
    # one group of eight pages in one of two buckets, then a page of another group in four buckets
    made = run(HASHED, references([0, 7 * PAGE, 3 * PAGE]))
    assert made.own["walk_time"] == MISS + 2 * L1
    assert made.own["beyond"] == 3 * STLB + made.own["walk_time"]
    assert (made.own["walks"], made.own["walks_touched"], made.own["probes"], made.own["side_probes"]) == (3, 1, 3, 0)
    assert made.memory["walk_reads"] == 1


def test_walks_along_a_full_table() -> None:
    # 16 groups in 16 buckets: the last to come has to look far
    events = references([group * 8 * PAGE for group in range(16)])
    naive = Tables(events.lines.tolist(), none_of, 10**9)
    reads = [len(naive.searches(page)[0]) for page in events.lines.tolist()]
    made = run(loop_of(HashedLoop(), ways=(1, 1, 1, 1), walk_caches=False), events, load=10**9)
    assert made.own["probes"] == sum(reads)
    assert made.own["walk_longest"] == max(reads) * MISS > MISS
    assert made.own["walk_time"] == sum(reads) * MISS


def test_nobody_waits_for_the_other_table() -> None:
    # a small page beside a large one of another region; the search for a large page ends in its empty bucket, or with
    # that for the small one
    large = some(0.5, 4)
    events = references([region * REGION for region in range(12)])
    naive = Tables(events.lines.tolist(), large, 8 * 10**8)
    made = run(loop_of(HashedLoop(), ways=(1, 1, 1, 1), walk_caches=False), events, large, 8 * 10**8)
    own = side = 0
    for page in events.lines.tolist():
        size = naive.is_large(page)
        both = [len(found) for found in naive.searches(page)]
        own += both[size]
        side += min(both[not size], both[size])
    assert (made.own["probes"], made.own["side_probes"]) == (own, side)
    assert side > 0
    assert made.caches["l1"]["walk_reads"] == own + side
    assert made.own["walk_time"] == own * MISS


@settings(max_examples=40)
@given(addresses(), st.sampled_from([0, 0.5, 1]), st.sampled_from([3 * 10**8, 10**9]))
def test_what_it_shares_with_radix(trace: list[int], share: float, load: int) -> None:
    large = some(share, 5)
    events = references(trace)
    made = run(HASHED, events, large, load)
    radix = run(loop_of(RadixLoop()), events, large)
    assert made.structures == {name: radix.structures[name] for name in ("dtlb", "stlb")}
    assert made.own["walks"] == radix.own["walks"] == made.own["missing"]
    assert made.own["probes"] + made.own["side_probes"] == made.caches["l1"]["walk_reads"]
    assert made.own["probes"] >= made.own["walks"]
    assert made.own["beyond"] == STLB * made.structures["dtlb"]["misses"] + made.own["walk_time"]


class HashedMachine(Machine):
    """One whose page tables are hashed."""

    def __init__(self, events: PagedEvents, large: Which, ways: Any, sets: dict[str, int], load: int) -> None:
        super().__init__(events, large, ways, sets)
        self.naive = Tables(self.pages, large, load)
        self.first = [0, -(-len(self.naive.tables[0].buckets) // 64)]

    def probe(self, size: int, bucket: int) -> int:
        return self.read(("frame", self.first[size] + bucket // 64, bucket % 64), "walk")

    def walk(self, page: int) -> None:
        paid, before = 0, self.counts.misses.get("walk", 0)
        searches, own = self.naive.searches(page), int(self.is_large(page))
        for step in range(len(searches[own])):
            for size, found in enumerate(searches):
                if step < len(found):
                    time = self.probe(size, found[step])
                    paid += time * (size == own)
        self.walked(paid, before)


@settings(max_examples=60)
@given(
    addresses(),
    st.sampled_from([0, 0.5, 1]),
    st.sampled_from([3 * 10**8, 9 * 10**8, 10**9]),
    st.tuples(st.sampled_from([1, 2, 4, 16]), st.integers(1, 3), st.integers(1, 3), st.just(1)),
    st.randoms(),
)
def test_it_does_what_a_naive_model_does(
    trace: list[int], share: float, load: int, ways: tuple[int, int, int, int], luck: Any
) -> None:
    large = some(share, 1)
    events = references(
        trace, asid=[luck.randrange(2) for _ in trace], stores=[k for k in range(len(trace)) if luck.random() < 0.3]
    )
    machine = HashedMachine(events, large, ways, {"l1": 2}, load)
    machine.run(events)
    loop = loop_of(HashedLoop(), ways=ways, walk_caches=False)
    made = run(loop, events, large, load, sets={"l1": 2})
    machine.equals(made, hashed_tables_of(events.lines, large, load))


def test_compiled_and_plain_are_equal() -> None:
    trace = [(k * k * 7919 % 61) * 5 * PAGE + k % 3 * REGION + k % 64 * 64 for k in range(600)]
    events, loop = references(trace), loop_of(HashedLoop(), ways=(4, 2, 3, 1), walk_caches=False)
    made = [run(loop, events, some(0.5, 3), 9 * 10**8, compiled=compiled, cuts=[200]) for compiled in (False, True)]
    assert made[0].own["side_probes"] > 0
    for part in ("caches", "memory", "structures", "own", "held"):
        assert getattr(made[0], part) == getattr(made[1], part), part
    assert made[0].walks.tolist() == made[1].walks.tolist()
    assert made[0].cuts[0].own == made[1].cuts[0].own


def test_address_spaces_share_a_table_by_first_appearance() -> None:
    events = references([0, 0, 0], asid=[9, 4, 9])
    assert [page >> NUMBER for page in events.lines.tolist()] == [0, 1]
    made = hashed_tables_of(events.lines, all_of, 10**9)
    assert made.places["large_buckets"] == 2
    assert made.rows[0, 2] != made.rows[1, 2]


def test_too_many_pages_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiersim.sim.hashed_tables.TAKEN", 8)
    with pytest.raises(StudyError, match="more than can be numbered"):
        hashed_tables_of(np.arange(260), none_of, 10**9)
