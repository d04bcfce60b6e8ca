"""Numbering of pages, page tables, windows of instructions."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TraceError
from tiersim.sim.pages import PagedEvents, paged_from, prepare_pages, tables_of

NUMBER = 45


def references(address: Any, **columns: Any) -> dict[str, NDArray[Any]]:
    count = len(address)
    held = {
        "address": np.asarray(address, np.uint64),
        "kind": np.asarray(columns.pop("kind", np.zeros(count)), np.uint8),
        "size": np.asarray(columns.pop("size", np.ones(count)), np.uint16),
        "gap": np.asarray(columns.pop("gap", np.ones(count)), np.uint32),
    }
    return held | {name: np.asarray(column, np.uint16) for name, column in columns.items()}


def lines(events: PagedEvents) -> list[tuple[int, int]]:
    """(address / 64, kind) of each reference."""
    held = next(events.chunks(0, events.counts.events))
    page = events.lines[held >> 8]
    return [(int(number) << 6 | int(event) >> 2 & 63, int(event) & 3) for number, event in zip(page, held, strict=True)]


def test_references_keep_their_addresses_and_pages_are_numbered_by_first_touch() -> None:
    events = paged_from(references([0x5000, 0x1040, 0x5FFF, 0x1FFE], size=[8, 8, 1, 4], kind=[0, 1, 2, 3]))
    # the modify is a load and a store, and the fetch crosses into page 2
    assert lines(events) == [(0x140, 0), (0x41, 1), (0x17F, 0), (0x17F, 1), (0x7F, 2), (0x80, 2)]
    assert events.lines.tolist() == [5, 1, 2]


def test_address_spaces_are_kept_apart() -> None:
    events = paged_from(references([0x1000, 0x1000, 0x1000], asid=[7, 3, 7]))
    assert len(events.lines) == 2
    assert (events.lines & ((1 << NUMBER) - 1)).tolist() == [1, 1]
    with pytest.raises(TraceError, match="more than 64 address spaces"):
        paged_from(references(np.zeros(65), asid=np.arange(65)))


@given(st.lists(st.integers(0, 2500), min_size=1, max_size=30), st.randoms())
def test_windows_end_before_the_reference_that_crosses(gaps: list[int], luck: Any) -> None:
    if not any(gaps):
        gaps[0] = 1
    kinds = [luck.choice([0, 3]) for _ in gaps]
    events = paged_from(references(np.zeros(len(gaps)), gap=gaps, kind=kinds), fetches=False)
    expected, executed, made = [], 0, 0
    for gap, kind in zip(gaps, kinds, strict=True):
        executed += gap
        while (len(expected) + 1) * 1000 < executed:
            expected.append(made)
        made += kind == 0
    assert events.marks.tolist() == expected


def test_a_trace_without_instructions_counts_its_records() -> None:
    events = paged_from(references(np.zeros(2500), gap=np.zeros(2500)))
    assert events.marks.tolist() == [1000, 2000]


@dataclass
class Long:
    """A trace that executes a window of instructions with each record."""

    records: int
    name: str = "long"

    @property
    def fingerprint(self) -> str:
        return f"long {self.records}"

    def chunks(self, records: int = 1000, skip: int = 0, limit: int | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        for _ in range(self.records // 1000):
            yield references(np.arange(1000) % 50 * 4096, gap=np.full(1000, 1000))


def test_ends_of_windows_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while a trace is prepared nor while it is replayed piece by piece."""
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))
    peaks = []
    for count in (1000, 20_000, 400_000):  # the first one also loads what is compiled
        tracemalloc.start()
        events = prepare_pages(Long(count), fetches=False)
        found = 0
        for begin in range(0, count, 10_000):
            ends = events.ends_between(begin, begin + 10_000)
            assert (np.diff(ends) == 1).all()
            assert ends[0] == (begin == 0)
            found += len(ends)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found == count - 1
        assert (events.ends() == np.arange(1, count)).all()
    assert peaks[2] - peaks[1] < 100_000


@given(st.sampled_from([4, 5]), st.integers(0, 2**32), st.integers(0, 3))
def test_tables_are_those_of_a_radix_walk(levels: int, seed: int, share: int) -> None:
    rng = np.random.default_rng(seed)
    count = 200
    number = rng.choice(rng.integers(0, 1 << 9 * levels, 8), count) // 512 * 512 + rng.integers(0, 512, count)
    pages = np.array(list(dict.fromkeys((rng.integers(0, 3, count) << NUMBER | number).tolist())))

    def large(region: NDArray[np.int64]) -> NDArray[np.bool_]:
        held: NDArray[np.bool_] = (region * 2654435761 >> 7) % 3 < share
        return held

    made = tables_of(pages, large, levels)
    frames: dict[tuple[int, int, int], int] = {}
    units: dict[tuple[int, int], int] = {}
    for page, key in enumerate(pages.tolist()):
        space, number_ = key >> NUMBER, key & ((1 << NUMBER) - 1)
        whole = bool(large(np.array([space << NUMBER | number_ >> 9]))[0])
        path = [
            frames.setdefault((space, level, number_ >> 9 * level), len(frames))
            for level in range(levels, int(whole), -1)
        ]
        for level, (above, below) in enumerate(zip(path[::-1][1:], path[::-1], strict=False), 1 + whole):
            assert made.parents[below] == above << 9 | number_ >> 9 * level & 511
        assert made.parents[path[0]] == -1
        unit = number_ >> 9 if whole else number_
        first = units.setdefault((space, number_ >> 9), page) if whole else page
        leaf = (len(pages) + path[-1]) << 6 | (unit & 511) >> 3
        assert made.rows[page].tolist() == [first, unit & 0x7FFFFFFF, leaf, whole]
        packed = first | whole << 24 | path[-1] << 25 | (unit & 511) << 46 | (number_ & 511) << 55
        assert int(made.packed[page]) & (1 << 64) - 1 == packed
        block = leaf + (made.tables << 6)
        assert made.numbers[block >> 6] << 6 | block & 63 == unit >> 3
        assert made.numbers[leaf >> 6] == path[-1]
        assert made.numbers[page] == number_
    assert made.tables == len(frames)


def test_too_many_pages_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiersim.sim.pages.TAKEN", 8)
    with pytest.raises(StudyError, match="more than can be numbered"):
        tables_of(np.arange(260), lambda region: np.zeros(len(region), bool), 4)
