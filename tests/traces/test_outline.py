"""What a stored trace tells of its records before they are read, against counting them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim.traces import outline
from tiersim.traces.outline import outline_of
from tiersim.traces.schema import ACCESS, OBJECT, REQUEST

REQUESTS = st.lists(
    st.tuples(st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1)), st.integers(0, 99)), min_size=1, max_size=200
)
RECORDS = st.lists(
    st.tuples(st.integers(0, 2**64 - 70_000), st.integers(1, 65535), st.integers(0, 3)), min_size=1, max_size=60
)


def cut(columns: dict[str, Any], step: int) -> Iterator[dict[str, Any]]:
    for at in range(0, len(next(iter(columns.values()))), step):
        yield {name: values[at : at + step] for name, values in columns.items()}


@settings(deadline=None, max_examples=100)
@given(rows=REQUESTS, step=st.integers(1, 200), sized=st.booleans())
def test_objects_are_counted(rows: list[tuple[int, int]], step: int, sized: bool) -> None:
    columns = {"id": np.array([key for key, _ in rows], np.uint64)}
    if sized:
        columns["size"] = np.array([size for _, size in rows], np.int64)
    made = outline_of(OBJECT)
    for chunk in cut(columns, step):
        made.add(chunk)
    first: dict[int, int] = {}
    for key, size in rows:
        first.setdefault(key, size if sized else 1)
    sizes = [size for _, size in rows]
    ranges = {"size": [min(sizes), max(sizes)]} if sized else {}
    assert made.told() == {"objects": len(first), "footprint": sum(first.values()), "ranges": ranges}


def test_many_objects_make_the_table_grow() -> None:
    key = np.random.default_rng(1).permutation(300_000).astype(np.uint64)
    made = outline_of(OBJECT)
    for chunk in ({"id": key[:7]}, {"id": key}, {"id": key[::-1]}):
        made.add(chunk)
    assert made.told() == {"objects": 300_000, "footprint": 300_000, "ranges": {}}


def test_too_many_objects_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "MOST_OBJECTS", 5)
    for count, told in ((5, True), (6, False)):
        made = outline_of(OBJECT)
        for _ in range(2):
            made.add({"id": np.arange(count, dtype=np.uint64)})
        assert bool(made.told()) == told


@settings(deadline=None, max_examples=100)
@given(rows=RECORDS, step=st.integers(1, 60))
def test_references_are_counted(rows: list[tuple[int, int, int]], step: int) -> None:
    address, size, kind = (list(column) for column in zip(*rows, strict=True))
    columns = {
        "address": np.array(address, np.uint64),
        "size": np.array(size, np.uint16),
        "kind": np.array(kind, np.uint8),
    }
    made = outline_of(ACCESS)
    for chunk in cut(columns, step):
        made.add(chunk)
    told = made.told()["references"]
    assert list(told) == ["16", "32", "64", "128", "256", "512", "1024", "2048", "4096"]
    for text, found in told.items():
        line = int(text)
        touched = [(at + length - 1) // line - at // line + 1 for at, length, _ in rows]
        data = sum(count * (1 + (what == 2)) for count, what in zip(touched, kind, strict=True) if what != 3)
        assert found == [data, sum(count for count, what in zip(touched, kind, strict=True) if what == 3)]


def test_other_records_tell_nothing() -> None:
    made = outline_of(REQUEST)
    made.add({"time": np.zeros(3)})
    assert made.told() == {}
