"""What an operating system takes away: shootdowns between references, and TLBs that a switch of address spaces empties.

The engine is given shootdowns alone; the brute-force model empties what a switch empties.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.oracles.strategies import pages as pages_of
from tests.oracles.strategies import translated, variants
from tests.oracles.translation import PAGE, Config, Reference, Run
from tests.sim.test_translation_engine import FIXED, Machine, beyond, equals
from tests.sim.translating import references as loads
from tiersim.sim.pages import NUMBER, PagedEvents
from tiersim.sim.shootdowns import IN_PAGE, ShotEvents, drawn, flushed, switches
from tiersim.sim.translation import translate
from tiersim.sim.translation_loop import SHOOTDOWN

Shot = tuple[NDArray[np.int64], NDArray[np.int64]]
NOTHING: Shot = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def whole(events: PagedEvents) -> NDArray[np.int32]:
    return np.concatenate([*events.chunks(0, events.counts.events), np.zeros(0, np.int32)])


def some_shot(count: int, pages: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(st.integers(0, count), st.integers(0, pages - 1)), max_size=10)


# between references


@given(addresses=st.lists(st.integers(0, 9), min_size=1, max_size=30), data=st.data())
def test_shootdowns_stand_before_their_references(addresses: list[int], data: st.DataObject) -> None:
    events = loads([page * PAGE for page in addresses])
    shot = data.draw(some_shot(len(addresses), len(events.lines)))
    before, pages = (np.array(column, np.int64) for column in zip(*shot, strict=True)) if shot else NOTHING
    made = ShotEvents.of(events, (before, pages))
    expected: list[int] = []
    places = []
    for place, event in enumerate([*whole(events).tolist(), None]):
        places.append(len(expected))
        expected += [page << IN_PAGE | SHOOTDOWN for at, page in shot if at == place]
        expected += [] if event is None else [event]
    assert made.counts.events == len(expected)
    assert whole(made).tolist() == expected
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(expected))] * 2)))
    chunks = list(made.chunks(begin, end, data.draw(st.integers(1, 12))))
    assert np.concatenate([*chunks, np.zeros(0, np.int32)]).tolist() == expected[begin:end]
    assert made.place(np.arange(len(addresses) + 1)).tolist() == places


def test_windows_end_before_what_stands_at_their_end() -> None:
    events = loads([0] * 3000)
    assert events.marks.tolist() == [1000, 2000]
    made = ShotEvents.of(events, (np.array([5, 1000]), np.array([0, 0])))
    assert made.marks.tolist() == [1001, 2002]  # the second shootdown comes after the first window's end


@pytest.mark.parametrize(
    ("rate", "windows"), [(500, [2, 4, 6, 8]), (300, [4, 7]), (2000, [k // 2 for k in range(2, 20)])]
)
def test_shootdowns_are_drawn_at_their_rate(rate: int, windows: list[int]) -> None:
    events = loads([k % 7 * PAGE for k in range(9999)])  # one instruction each: nine windows end
    assert len(events.marks) == 9
    before, pages = drawn(events, rate, 1)
    assert before.tolist() == [1000 * window for window in windows]
    assert set(pages.tolist()) <= set(range(7))


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([1, 7, 1000]))
def test_only_pages_that_were_touched_are_drawn(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    pages = np.cumsum(rng.random(5500) < 0.01)
    events = loads((pages * PAGE).tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiersim.sim.shootdowns.CHUNK", size)
        before, shot = drawn(events, 4000, seed)
    assert len(before) == 20
    numbers = whole(events) >> IN_PAGE
    assert all(page <= numbers[: int(at)].max() for at, page in zip(before, shot, strict=True))


def test_pages_are_drawn_alike() -> None:
    events = loads([k % 8 * PAGE for k in range(200_500)])
    counts = Counter(drawn(events, 100_000, 3)[1].tolist())
    assert counts.total() == 20_000
    assert all(2300 < counts[page] < 2700 for page in range(8))
    other = Counter(drawn(events, 100_000, 4)[1].tolist())
    assert counts != other


def test_before_the_first_reference_there_is_nothing_to_take_away() -> None:
    events = loads([0] * 10)
    events.marks = np.array([0, 0, 3])
    assert drawn(events, 1000, 0)[0].tolist() == [3]


@given(spaces=st.lists(st.integers(0, 2), min_size=1, max_size=40), size=st.integers(1, 50), seed=st.integers(0, 99))
def test_a_switch_takes_all_that_was_touched_since_the_last(spaces: list[int], size: int, seed: int) -> None:
    pages = np.random.default_rng(seed).integers(0, 4, len(spaces))
    events = loads((pages * PAGE).tolist(), asid=spaces)
    numbers = (whole(events) >> IN_PAGE).tolist()
    stands = np.arange(len(events.lines), dtype=np.int32)[::-1].copy()
    expected, alike, at, touched = [], [], [], set[int]()
    for place, (number, space) in enumerate(zip(numbers, spaces, strict=True)):
        if place and space != spaces[place - 1]:
            at.append(place)
            expected += [(place, page) for page in sorted(touched)]
            alike += [(place, page) for page in sorted(touched | {int(stands[page]) for page in touched})]
            touched = set()
        touched.add(number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiersim.sim.shootdowns.CHUNK", size)
        assert switches(events).tolist() == at
        for shot, own in (
            (flushed(events, switches(events)), expected),
            (flushed(events, switches(events), stands), alike),
        ):
            assert shot[0].tolist() == [place for place, _ in own]
            assert sorted(zip(*map(np.ndarray.tolist, shot), strict=True)) == own


# against the model


def compare(config: Config, references: Sequence[Reference], rate: int, *, compiled: bool = False) -> Counter[str]:
    """Asserts that the engine does the same as the model; gives what happened."""
    machine = Machine(config, [reference for reference in references if reference[2] != "shootdown"])
    events = machine.events
    shot = [drawn(events, rate, 5)] if rate else [NOTHING]
    told = list(machine.references)
    for before, page in reversed(list(zip(*shot[0], strict=True))):
        address = (int(events.lines[page]) & (1 << NUMBER) - 1) * PAGE
        told.insert(int(before), (machine.spaces[int(events.lines[page]) >> NUMBER], address, "shootdown", 0))
    at = switches(events)
    if not config.asids:
        groups = machine.tables.groups
        shot.append(flushed(events, at, None if groups is None else groups.reshape(-1, 2)[:, 0]))
    machine.events, machine.references = ShotEvents.of(events, *shot), told
    made = translate(
        machine.loop, machine.sets, machine.events, machine.tables, machine.timing(),
        compiled=compiled, shootdowns=True, contents=True,
    )  # fmt: skip
    assert made.own["shootdowns"] == sum(len(before) for before, _ in shot)
    made.own["shootdowns"] = len(shot[0][0])  # the model counts no shootdowns at a switch
    run = Run(config, told)
    for reference in told:
        run.reference(*reference)
    equals(machine, made, run)
    removed = sum(made.structures[name]["removed"] for name in config.tlbs)
    return Counter(switches=len(at), drawn=len(shot[0][0]), removed=removed, beyond=beyond(run))


@settings(deadline=None, max_examples=200)
@given(config=variants(), references=translated(200), rate=st.sampled_from([0, 500, 3000]), asids=st.booleans())
def test_any_machine(config: Config, references: list[Reference], rate: int, asids: bool) -> None:
    assume(any(kind != "shootdown" for *_, kind, _ in references))
    config = replace(config, asids=asids, nested=config.nested if asids else None)
    compare(config, references, rate)


@pytest.mark.parametrize("name", FIXED)
def test_compiled(name: str) -> None:
    rng, total = random.Random(name), Counter[str]()
    for asids in (True, False) * 4:
        references = pages_of(rng, rng.randrange(300, 600), rng.choice([12, 60, 200]), 2)
        config = replace(FIXED[name], asids=asids or FIXED[name].nested is not None)
        total.update(compare(config, references, 1000, compiled=True))
    assert all(total[what] for what in ("switches", "drawn", "removed")), total


def test_without_asids_more_is_walked() -> None:
    rng = random.Random(1)
    references = [(k // 50 % 2, rng.randrange(4) * PAGE, "load", 1) for k in range(1000)]
    config = replace(FIXED["victima"], mechanism=None)
    tagged, untagged = (compare(replace(config, asids=asids), references, 0) for asids in (True, False))
    assert tagged["switches"] == untagged["switches"] == 19
    assert tagged["removed"] == 0 < untagged["removed"]
    assert untagged["beyond"] > tagged["beyond"]
