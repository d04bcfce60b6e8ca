"""Translation in queued time, worked out on paper: one cache, two TLBs, four levels of tables, and a memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models.test_dram import memory as dram_memory
from tests.sim import translating
from tests.sim.test_cores import chips
from tests.sim.translating import L1, MEMORY, PAGE, REGION, STLB, TIMING, loop_of, none_of, references, sets_of
from tiersim._base.errors import AuditError, StudyError
from tiersim.models.dram import serve
from tiersim.sim import core_translation as engine
from tiersim.sim import core_translation_loop
from tiersim.sim.core_translation import TranslatedCores, run_translation
from tiersim.sim.cores import Cores
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.pages import NUMBER, PagedEvents, tables_of
from tiersim.sim.queued import chains
from tiersim.sim.translation import Held, Timing

WALK = 4 * (L1 + MEMORY)  # with nothing held
LOOP = loop_of(RadixLoop(), ways=(64, 1, 1, 8))


class Stream:
    """References of one instruction each."""

    def __init__(self, events: PagedEvents) -> None:
        assert events.held is not None
        self.held, self.lines = events.held, events.lines

    def pieces(self, size: int) -> Iterator[tuple[NDArray[Any], ...]]:
        for begin in range(0, len(self.held), size):
            piece = self.held[begin : begin + size]
            yield piece, np.ones(len(piece), np.int64), np.zeros(len(piece), np.int64)


def run(events: PagedEvents, timing: Timing = TIMING, *, walkers: int = 4, **given: Any) -> TranslatedCores:
    said: dict[str, Any] = {"pace": 1 << 20, "outstanding": 8, "window": 1000, "latency": MEMORY} | given
    tables = tables_of(events.lines, none_of, 4)
    return run_translation(
        LOOP, sets_of(LOOP), frozenset(), [Stream(events)], [0], tables, timing, Cores(latencies=(), **said), walkers,
        compiled=False,
    )  # fmt: skip


def spaces(count: int, stores: Sequence[int] = ()) -> PagedEvents:
    """One reference in each of so many address spaces: they share no table."""
    return references([REGION] * count, asid=range(count), stores=stores)


def test_one_walk() -> None:
    """Issued at 1, it takes the second TLB, four reads one after the other, and the data."""
    core = run(spaces(1)).core()
    assert core["time"] == 1 + STLB + WALK + MEMORY
    assert core["translation_delay"] == STLB + WALK
    assert (core["walks"], core["walk_delay"], core["walk_longest"]) == (1, WALK, WALK)
    assert (core["memory_reads"], core["memory_delay"]) == (5, 5 * MEMORY)
    assert core["delay"] == STLB + WALK + MEMORY


def test_walks_overlap_as_far_as_there_are_walkers() -> None:
    core = run(spaces(4), walkers=4).core()
    assert core["time"] == 4 + STLB + WALK + MEMORY
    assert core["walker_stall"] == 0
    core = run(spaces(4), walkers=1).core()
    assert core["time"] == 1 + STLB + 4 * WALK + MEMORY
    asked = [issue + STLB for issue in (1, 2, 3, 4)]
    begun = [asked[0] + k * WALK for k in range(4)]
    assert core["walker_stall"] == sum(begun) - sum(asked)
    assert core["walk_delay"] == core["walker_stall"] + 4 * WALK
    core = run(spaces(4), walkers=2).core()
    assert core["time"] == 2 + STLB + 2 * WALK + MEMORY


def test_a_place_is_held_from_the_issue_to_the_data() -> None:
    core = run(spaces(4), outstanding=1).core()
    assert core["time"] == 1 + 4 * (STLB + WALK + MEMORY)
    assert core["outstanding_stall"] == 3 * (STLB + WALK + MEMORY - 1)
    assert core["translation_stall"] == 3 * (STLB + WALK - 1)
    core = run(spaces(4), outstanding=2).core()
    assert core["time"] == 2 + 2 * (STLB + WALK + MEMORY)


def test_a_window_ends_at_a_load_without_data_or_a_store_without_translation() -> None:
    core = run(spaces(4), window=0).core()
    assert core["time"] == 4 * (1 + STLB + WALK + MEMORY)
    assert core["window_stall"] == 3 * (STLB + WALK + MEMORY)
    assert core["translation_stall"] == 3 * (STLB + WALK - 1)  # met one after the issue before
    core = run(spaces(4, stores=range(4)), window=0).core()
    assert core["time"] == 4 * (1 + STLB + WALK) + MEMORY
    assert core["window_stall"] == 3 * (STLB + WALK)
    assert core["translation_stall"] == 3 * (STLB + WALK - 1)


def test_what_was_asked_for_is_there_for_the_next() -> None:
    """Contents change at the issue: a second reference to the page does not wait for the walk of the first."""
    core = run(references([REGION, REGION + 64, REGION])).core()
    assert core["time"] == 1 + STLB + WALK + MEMORY
    assert core["delay"] == STLB + WALK + 2 * MEMORY
    assert core["walks"] == 1


class Noting(translating.Machine):
    """Notes the lines that are read from memory, as the engine numbers them."""

    def __init__(self, events: PagedEvents) -> None:
        super().__init__(events, none_of, (64, 1, 1, 8), {})
        self.asked: list[int] = []

    def read(self, line: Any, who: str) -> int:
        if (spent := super().read(line, who)) > L1:
            if line[0] == "frame":
                page = len(self.pages) + line[1]
            else:
                page = self.pages.index(line[3] << NUMBER | line[1])
            self.asked.append(page << 6 | line[2])
        return spent


@pytest.mark.parametrize("walkers", [1, 3])
def test_one_at_a_time_through_dram_is_a_chase_of_pointers(walkers: int) -> None:
    """Lookups take no time, and one reference waits for the other: the DRAM sees one read after the other."""
    rng = np.random.default_rng(0)
    events = references((rng.integers(0, 3000, 400) * 64 + rng.integers(0, 40, 400) * 37 * PAGE).tolist())
    noting = Noting(events)
    noting.run(events)
    made_of = dram_memory(rows=1024)
    right = serve(made_of, np.array(noting.asked), window=1)
    made = run(
        events, Timing(dict.fromkeys(TIMING.latencies, 0)), walkers=walkers, outstanding=1, window=1000, latency=0,
        memory=chips(rows=1024), pace=0,
    )  # fmt: skip
    assert made.core()["time"] == int(right.done.max()) * 1000  # cycles of a nanosecond
    assert made.chips == right.counts
    assert made.core()["walks"] == noting.counts.walks > 50


def test_walks_that_overlap_are_faster_through_dram_too() -> None:
    rng = np.random.default_rng(1)
    events = references((rng.integers(0, 512, 300) * REGION).tolist())
    times = [run(events, walkers=walkers, latency=0, memory=chips(rows=1024)).core()["time"] for walkers in (1, 2, 4)]
    assert times[0] > times[1] > times[2]


@pytest.mark.parametrize("limit", ["STEPS", "MOST"])
def test_more_steps_than_there_is_room_for_are_one_message(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk takes a walker, reads four lines and leaves it; then come the translation, the data and the end."""
    for room in (8, 9):
        monkeypatch.setattr(chains, limit, room)
        monkeypatch.setitem(core_translation_loop.NAMES, "MOST", str(chains.MOST))
        if room == 9:
            assert run(spaces(1)).core()["walks"] == 1
            continue
        with pytest.raises(StudyError, match="wait for memory, or one reference makes more than"):
            run(spaces(1))


def test_the_audit_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains.Desk, "waiting", lambda desk: 3)
    with pytest.raises(AuditError, match="3 steps wait at the end, and 0 should"):
        run(spaces(1))
    monkeypatch.undo()
    monkeypatch.setattr(engine, "_audit", lambda *_: None)
    made = run(spaces(1))
    made.told[0, chains.FIELDS.index("walks")] = 2
    desk, timing = chains.new_desk(1, 1), TIMING
    cores = Cores(1, 1, 1, 1, ())
    tables = tables_of(spaces(1).lines, none_of, 4)
    with pytest.raises(AuditError, match="2 demand walks ended at the end, and 1 should"):
        engine._check(LOOP, made, [_nothing()], tables, timing, desk, cores, followed=False)


def _nothing() -> Held:
    return Held({}, {})
