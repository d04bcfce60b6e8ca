"""Prefetchers of strides within pages, against a plain model and by hand."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim.policies.way.lru import Lru
from tiersim.sim.cache_loop import Level
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.pages import PagedEvents, paged_from, tables_of
from tiersim.sim.prefetchers import Prefetcher
from tiersim.sim.translation import Timing, Translated, translate
from tiersim.sim.translation_loop import Loop, Tlb

SETS = {"l1": 4, "l2": 8, "tlb": 1, "pml4": 1, "pdpt": 1, "pd": 1}


def run(events: PagedEvents, *prefetchers: Prefetcher, streams: int = 4, compiled: bool = False) -> Translated:
    levels = (
        Level("l1", 2, Lru(), 1, frozenset({"data"}), classify=False),
        Level("l2", 4, Lru(), None, classify=False),
    )
    walkers = tuple(Tlb(name, 2, Lru()) for name in ("pml4", "pdpt", "pd"))
    tlb = Tlb("tlb", 64, Lru(), serves=frozenset({"data"}))
    loop = Loop(levels, (tlb,), walkers, RadixLoop(), prefetchers=prefetchers)
    sets = SETS | {f"{levels[own.cache].name}.prefetcher": streams for own in prefetchers}
    tables = tables_of(events.lines, lambda region: np.zeros(len(region), bool), 4)
    timing = Timing(dict.fromkeys([*SETS, "memory"], 1))
    return translate(loop, sets, events, tables, timing, compiled=compiled, contents=True)


def loads(lines: list[int], kinds: list[int] | None = None) -> PagedEvents:
    address = np.array(lines, np.uint64) * np.uint64(64)
    kind = np.array(kinds or np.zeros(len(lines)), np.uint8)
    ones = np.ones(len(lines))
    return paged_from({"address": address, "kind": kind, "size": ones.astype(np.uint16), "gap": ones.astype(np.uint32)})


def test_a_step_that_comes_again_brings_the_next_lines() -> None:
    made = run(loads([0, 3, 6]), Prefetcher(0, degree=2))
    held = {line for line, _ in made.held.caches["l1"]} if made.held else set()
    assert {9, 12} <= held
    own = made.structures["l1.prefetcher"]
    assert (own["lookups"], own["misses"], own["puts"], own["found"]) == (3, 1, 2, 0)
    assert made.caches["l2"]["prefetch_reads"] == made.memory["prefetch_reads"] == 2


def test_nothing_comes_from_beyond_the_page_or_of_other_steps() -> None:
    assert run(loads([58, 60, 62]), Prefetcher(0, degree=2)).memory["prefetch_reads"] == 0
    assert run(loads([5, 3, 1]), Prefetcher(0, degree=2)).memory["prefetch_reads"] == 0
    assert run(loads([0, 3, 6]), Prefetcher(0, degree=2, unit=True)).memory["prefetch_reads"] == 0
    assert run(loads([7, 6, 5]), Prefetcher(0, degree=2, unit=True)).memory["prefetch_reads"] == 2
    assert run(loads([0, 0, 0]), Prefetcher(0, degree=2)).memory["prefetch_reads"] == 0


def test_a_line_that_is_there_is_not_brought_again() -> None:
    made = run(loads([9, 0, 3, 6]), Prefetcher(0, degree=1), streams=1)
    assert (made.structures["l1.prefetcher"]["puts"], made.structures["l1.prefetcher"]["found"]) == (0, 1)
    made = run(loads([0, 1, 2, 3]), Prefetcher(0, degree=2))
    assert (made.structures["l1.prefetcher"]["puts"], made.structures["l1.prefetcher"]["found"]) == (3, 1)


def test_one_of_a_lower_cache_sees_what_misses_above() -> None:
    made = run(loads([0, 1, 1, 2, 2]), Prefetcher(1, degree=1))
    assert made.structures["l2.prefetcher"]["lookups"] == 3
    assert made.memory["prefetch_reads"] == 1


class Plain:
    """The rule in words of its own: the references that train, and the lines that are asked for after each."""

    def __init__(self, sets: int, degree: int, unit: bool) -> None:
        self.tables: list[dict[int, list[int]]] = [{} for _ in range(sets)]
        self.degree, self.unit = degree, unit

    def train(self, page: int, offset: int) -> list[int]:
        table = self.tables[page % len(self.tables)]
        if page not in table:
            if len(table) == 4:
                del table[next(iter(table))]  # the oldest
            table[page] = [offset, 0]
            return []
        last, step = table[page]
        now = offset - last
        if now == 0:
            return []
        table[page] = [offset, now]
        if now != step or (self.unit and abs(now) != 1):
            return []
        asked = [offset + now * ahead for ahead in range(1, self.degree + 1)]
        return [line for line in asked if 0 <= line < 64]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 63), st.integers(-3, 3), st.integers(1, 6)), max_size=12),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(0, 1),
)
@settings(max_examples=60)
def test_it_asks_for_what_the_plain_rule_asks_for(
    runs: list[tuple[int, int, int, int]], degree: int, unit: bool, sets: int, kind: int
) -> None:
    lines = [
        page * 64 + offset
        for page, start, step, count in runs
        for offset in range(start, start + step * count, step or 1)
        if 0 <= offset < 64
    ]
    if not lines:
        return
    events = loads(lines, [kind] * len(lines))
    plain, asked, last = Plain(sets, degree, unit), 0, -1
    numbers = {int(page): number for number, page in enumerate(events.lines)}
    came = False
    for line in lines:
        if line == last and not came:
            continue  # a second hit on a line changes nothing
        made = plain.train(numbers[line // 64], line % 64)
        asked += len(made)
        last, came = line, bool(made)
    own: Any = run(events, Prefetcher(0, degree, unit), streams=sets).structures["l1.prefetcher"]
    assert own["puts"] + own["found"] == asked


def test_compiled_and_plain_are_one() -> None:
    rng = np.random.default_rng(3)
    starts, steps = rng.integers(0, 64 * 40, 300), rng.integers(-2, 3, 300)
    lines = np.clip(starts[:, None] + steps[:, None] * np.arange(6), 0, 64 * 40).ravel().tolist()
    events = loads(lines, rng.integers(0, 2, len(lines)).tolist())
    given_ = (Prefetcher(0, 2), Prefetcher(1, 3, unit=True))
    one, other = (run(events, *given_, streams=2, compiled=compiled) for compiled in (False, True))
    assert one.memory["prefetch_reads"] > 50
    for name in ("caches", "memory", "structures", "own", "held"):
        assert getattr(one, name) == getattr(other, name)
