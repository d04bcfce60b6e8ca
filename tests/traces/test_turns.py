"""Processes that take turns: in which order their records come, whose they are, and what names the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim.traces import Trace, Writer, load_trace
from tiersim.traces.turns import Process, Turns

Record = tuple[int, int, int]  # address, instructions, address space


def write(path: Path, records: list[Record]) -> Trace:
    address, gap, asid = (np.array(column) for column in zip(*records, strict=True))
    ones = np.ones(len(records))
    with Writer(path) as out:
        out.append(
            {
                "address": address.astype(np.uint64),
                "size": ones.astype(np.uint16),
                "kind": np.zeros(len(records), np.uint8),
                "gap": gap.astype(np.uint32),
                **({"asid": asid.astype(np.uint16)} if asid.any() else {}),
            }
        )
    return load_trace(path)


def read(turns: Turns, *part: Any) -> list[Record]:
    chunks = list(turns.chunks(*part))
    address, gap, asid = (
        np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in ("address", "gap", "asid")
    )
    spaces = {held: place for place, held in enumerate(dict.fromkeys(asid))}  # which numbers they have means nothing
    return list(zip(address, gap, map(spaces.__getitem__, asid), strict=True))


def by_hand(processes: list[list[Record]], quantum: int) -> list[Record]:
    """One record after the other."""
    spaces: dict[tuple[int, int], int] = {}
    counted = [any(gap for _, gap, _ in records) for records in processes]
    waiting = [(place, list(records)) for place, records in enumerate(processes)]
    out = []
    while waiting:
        place, records = waiting.pop(0)
        executed = 0
        while records and executed < quantum:
            address, gap, asid = records.pop(0)
            gap = gap if counted[place] else 1
            out.append((address, gap, spaces.setdefault((place, asid), len(spaces))))
            executed += gap
        if records:
            waiting.append((place, records))
    return out


one = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(processes=st.lists(one, min_size=1, max_size=3), quantum=st.integers(1, 20), size=st.integers(1, 40))
def test_turns_are_those_of_a_loop_over_records(
    tmp_path_factory: pytest.TempPathFactory, processes: list[list[Record]], quantum: int, size: int
) -> None:
    folder = tmp_path_factory.mktemp("turns")
    traces = [write(folder / f"{place}.parquet", records) for place, records in enumerate(processes)]
    made = Turns([Process(trace) for trace in traces], quantum)
    expected = by_hand(processes, quantum)
    assert made.records == len(expected)
    assert read(made, size) == expected
    assert read(made, size, 0, size) == expected[:size]


def test_a_part_of_a_trace_takes_part(tmp_path: Path) -> None:
    first = write(tmp_path / "first.parquet", [(address, 10, 0) for address in range(6)])
    second = write(tmp_path / "second.parquet", [(address, 10, 0) for address in range(100, 103)])
    turns = Turns([Process(first, 1, 4), Process(second)], 20)
    assert [address for address, *_ in read(turns)] == [1, 2, 100, 101, 3, 4, 102]
    assert turns.records == 7
    assert turns.kinds["load"] == 9  # of the files; only whether there are fetches counts


def test_the_fingerprint_tells_parts_and_quantum_apart(tmp_path: Path) -> None:
    first = write(tmp_path / "first.parquet", [(1, 1, 0)] * 3)
    second = write(tmp_path / "second.parquet", [(2, 1, 0)] * 3)
    both = [Process(first), Process(second)]
    made = [Turns(both, 10), Turns(both, 11), Turns([both[0], Process(second, 1)], 10), Turns(both[::-1], 10)]
    assert len({turns.fingerprint for turns in made}) == len(made)
    again = write(tmp_path / "again.parquet", [(1, 1, 0)] * 3)
    assert Turns([Process(again), Process(second)], 10).fingerprint == made[0].fingerprint  # names are not content
