"""TLBs whose entries cover groups of pages: counted by hand, and told by a naive model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.translating import (
    PAGE,
    REGION,
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
from tiersim.policies.way.lru import Lru
from tiersim.sim.mechanisms.pom_tlb import PomTlbLoop
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.pages import NUMBER, PagedEvents, coalesced, tables_of
from tiersim.sim.translation import Translated, translate
from tiersim.sim.translation_loop import Loop

COALESCING = loop_of(RadixLoop(), coalesces=True)


def run(
    loop: Loop,
    events: PagedEvents,
    reach: int = 8,
    contiguous: Which = all_of,
    large: Which = none_of,
    sets: Any = None,
    **given: Any,
) -> Translated:
    tables = coalesced(tables_of(events.lines, large, 4), events.lines, reach, contiguous)
    given = {"compiled": False, "contents": True} | given
    return translate(loop, sets_of(loop, **(sets or {})), events, tables, TIMING, **given)


def test_one_page_that_enters_brings_its_group() -> None:
    pages = [page * PAGE for page in range(16)]
    # of each group the first page is missing and enters the first TLB; the second pushes it into the last one
    assert run(COALESCING, references(pages)).own["missing"] == 4
    assert run(COALESCING, references(pages), reach=4).own["missing"] == 8
    assert run(COALESCING, references(pages), reach=2).own["missing"] == 16
    assert run(COALESCING, references(pages), contiguous=none_of).own["missing"] == 16
    assert run(loop_of(RadixLoop()), references(pages)).own["missing"] == 16


def test_large_pages_stand_alone() -> None:
    made = run(COALESCING, references([region * REGION for region in (0, 1, 2, 3)]), large=all_of)
    assert made.own["missing"] == 4


def test_groups_of_address_spaces_are_apart() -> None:
    trace = [0, 64 * PAGE, PAGE]  # page 0 is in the last TLB when page 1 comes
    same, other = (run(COALESCING, references(trace, asid=[7, 7, asid])) for asid in (7, 2))
    assert (same.own["missing"], other.own["missing"]) == (2, 3)


def test_scattered_pages_of_a_group_share_a_set() -> None:
    # pages 0 and 1 would be in sets 0 and 1, but groups count: with one way they push each other out
    trace = [0, PAGE, 64 * PAGE, 0, PAGE]
    scattered = run(COALESCING, references(trace), contiguous=none_of, sets={"stlb": 2})
    plain = run(loop_of(RadixLoop()), references(trace), sets={"stlb": 2})
    assert (scattered.own["missing"], plain.own["missing"]) == (5, 3)


def test_the_first_touched_page_of_a_shared_entry_goes_on() -> None:
    # pages 5 to 7 are of a group, of which 5 was touched first: whenever their entry leaves, it leaves as page 5. So
    # the TLB in memory knows 5 the second time, and never hears of 6 and 7
    trace = [5 * PAGE, 64 * PAGE, 6 * PAGE, 7 * PAGE, 64 * PAGE, 65 * PAGE]
    made = run(loop_of(PomTlbLoop(4, Lru()), coalesces=True), references(trace))
    assert (made.own["left"], made.structures["pom-tlb"]["found"]) == (3, 1)
    assert made.held is not None
    assert made.held.structures["pom-tlb"] == {0, 1}  # numbers of pages 5 and 64 by first touch


def test_a_shootdown_takes_the_whole_entry() -> None:
    trace = [0, PAGE, 2 * PAGE, 3 * PAGE]
    kept, shot = (
        run(COALESCING, references(trace, shot=at), shootdowns=True) for at in ([], [2])
    )  # page 2 has no entry of its own
    assert (kept.own["missing"], shot.own["missing"]) == (2, 3)
    assert shot.structures["stlb"]["removed"] == 1


class CoalescingMachine(Machine):
    """One whose second TLB coalesces."""

    def __init__(self, *machine: Any, reach: int, contiguous: Which) -> None:
        super().__init__(*machine)
        self.leads: dict[tuple[int, int], Any] = {}
        for page in self.pages:
            space, number, is_large = self.unit(page)
            if not is_large:
                self.leads.setdefault((space, number // reach), (space, number, is_large))

        def entry_of(unit: Any) -> tuple[Any, int]:
            space, number, is_large = unit
            group = number // reach
            if is_large:
                return unit, number
            shared = bool(contiguous(np.array([space << NUMBER | group]))[0])
            return self.leads[space, group] if shared else unit, group

        self.tlbs[1].of = entry_of


@settings(max_examples=100)
@given(
    addresses(),
    st.sampled_from([0, 0.4]),
    st.sampled_from([0, 0.5, 1]),
    st.sampled_from([2, 4, 8]),
    st.sampled_from([1, 2, 3]),
    st.tuples(st.just(4), st.integers(1, 2), st.integers(1, 3), st.integers(1, 2)),
    st.randoms(),
)
def test_it_does_what_a_naive_model_does(
    trace: list[int],
    share: float,
    contiguity: float,
    reach: int,
    sets: int,
    ways: tuple[int, int, int, int],
    luck: Any,
) -> None:
    large, contiguous = some(share, 1), some(contiguity, 2)
    events, counts = references(trace, asid=[luck.randrange(2) for _ in trace]), {"stlb": sets}
    machine = CoalescingMachine(events, large, ways, counts, reach=reach, contiguous=contiguous)
    machine.run(events)
    loop = loop_of(RadixLoop(), ways=ways, coalesces=True, power_of_two=sets != 3)
    machine.equals(run(loop, events, reach, contiguous, large, counts), tables_of(events.lines, large, 4))


@settings(max_examples=50)
@given(addresses(), st.sampled_from([2, 4, 8]))
def test_contiguous_groups_never_miss_more_where_there_are_no_conflicts(trace: list[int], reach: int) -> None:
    # with one set and the policy that uses order alone an entry that covers more is hit whenever the smaller one is
    events = references(trace)
    loop = loop_of(RadixLoop(), ways=(4, 1, 4, 2), coalesces=True)
    plain = run(loop_of(RadixLoop(), ways=(4, 1, 4, 2)), events)
    assert run(loop, events, reach).own["missing"] <= plain.own["missing"]
    assert run(loop, events, reach, none_of).own == plain.own


@pytest.mark.parametrize("reach", [2, 8])
def test_groups_by_number(reach: int) -> None:
    pages = np.array([3 << NUMBER | 17, 3 << NUMBER | 16, 17, 3 << NUMBER | 18])
    groups = coalesced(tables_of(pages, none_of, 4), pages, reach, all_of).groups
    assert groups is not None
    assert groups[:, 1].tolist() == [number // reach for number in (17, 16, 17, 18)]
    assert groups[:, 0].tolist() == [0, 0, 2, 3 if reach == 2 else 0]


def test_compiled_and_plain_are_equal() -> None:
    trace = [(k * k * 7919 % 61) * 5 * PAGE + k % 3 * REGION + k % 64 * 64 for k in range(600)]
    loop, events = loop_of(RadixLoop(), ways=(4, 2, 3, 2), coalesces=True), references(trace, shot=[300])
    made = [
        run(loop, events, 8, some(0.5, 1), some(0.3, 2), {"stlb": 2}, shootdowns=True, compiled=compiled)
        for compiled in (False, True)
    ]
    for part in ("caches", "memory", "structures", "own", "held"):
        assert getattr(made[0], part) == getattr(made[1], part), part
