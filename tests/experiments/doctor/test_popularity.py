"""The fingerprint and the traps of statistics of popularity, by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tiersim.experiments.doctor.popularity import PopularityInfo, Table
from tiersim.experiments.trace_doctor import check_trace, trace_info

ANY = 2**64 - 1
COLUMNS: dict[str, Any] = {
    "table": ["big", "small", "big", "big"],
    "above": [0, 0, 10, 1],
    "most": [1, ANY, ANY, 10],
    "rows": [0.5, 1.0, 0.125, 0.375],
    "accesses": [0.0625, 1.0, 0.75, 0.1875],
    "all_rows": [80, 3, 80, 80],
    "all_accesses": [640, 5, 640, 640],
}


def info(path: Path) -> PopularityInfo:
    found = trace_info(path)
    assert isinstance(found, PopularityInfo)
    return found


def test_by_hand(stored: Any) -> None:
    path = stored("popularity", **COLUMNS)
    found = info(path)
    assert found.tables == [
        Table("big", 3, 80, 640, [[0.125, 0.75], [0.5, 0.9375], [1.0, 1.0]]),
        Table("small", 1, 3, 5, [[1.0, 1.0]]),
    ]
    assert "12.50 % of the rows have 75.00 % of the accesses" in dict(found.rows())["big"]
    assert found.panels[0].curves[0].x.tolist() == [0, 12.5, 50, 100]
    assert check_trace(path).warnings == []


def test_traps(stored: Any, one: Any) -> None:
    def said(name: str, **changed: Any) -> list[str]:
        return check_trace(stored("popularity", name, **COLUMNS | changed)).warnings

    (text,) = said("a.parquet", above=[0, 0, 5, 1])
    assert text.startswith("1 of 2 tables (big) have classes that overlap")
    assert one(said("b.parquet", above=[0, 0, 12, 1]), "leave out numbers of accesses")
    assert one(said("c.parquet", above=[1, 0, 10, 1], most=[1, ANY, ANY, 10]), "overlap")
    assert one(said("d.parquet", rows=[0.5, 1.0, 0.1, 0.3]), "shares of rows that do not add up to 1")
    assert one(said("e.parquet", accesses=[0.5, 0.5, 0.5, 0.5]), "2 of 2 tables (big, small) have shares of accesses")
    assert one(said("f.parquet", all_rows=[80, 3, 80, 81]), "totals that differ")
    assert one(said("g.parquet", all_rows=[80, 9, 80, 80]), "fewer accesses than rows")


# public traces

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


def needs(name: str) -> Path:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return MIRROR / name


def test_public_statistics() -> None:
    found = info(needs("dlrm_datasets_2021_locality_stats.txt.gz"))
    first = found.tables[0]
    assert (len(found.tables), first.rows, first.accesses) == (17, 128_435_723, 887_017_990)
    # the last class holds all
    assert first.coverage[-1] == pytest.approx([1, 1], abs=0.01)
    assert check_trace(needs("dlrm_datasets_2021_locality_stats.txt.gz")).warnings == []
