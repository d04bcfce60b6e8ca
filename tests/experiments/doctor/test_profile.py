"""The fingerprint and the traps of measured times, by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tiersim.experiments.doctor.profile import Operation, ProfileInfo
from tiersim.experiments.trace_doctor import check_trace, trace_info


def info(path: Path) -> ProfileInfo:
    found = trace_info(path)
    assert isinstance(found, ProfileInfo)
    return found


def test_by_hand(stored: Any) -> None:
    path = stored(
        "profile",
        operation=["copy", "copy", "copy", "add"],
        mean=[5.0, 9.0, 7.0, 2.0],
        size=[10, 20, 10, 10],
        workers=[2, 2, 2, 4],
        model=["m", "m", "m", "n"],
    )
    found = info(path)
    # the first and the third are of one configuration
    assert found.configurations == 3
    assert found.operations == [Operation("add", 1, 1, 2.0, 2.0), Operation("copy", 3, 2, 5.0, 9.0)]
    assert found.ranges == {"size": [10, 20], "workers": [2, 4], "model": ["m", "n"]}
    assert [curve.label for curve in found.panels[0].curves] == ["copy", "add"]
    assert ("model", "m, n") in found.rows()
    (said,) = check_trace(path).warnings
    assert said.startswith("1 of 4 measurements are of a configuration that was measured before, first record 3:")


def test_traps(stored: Any, one: Any) -> None:
    path = stored(
        "profile",
        operation=["a", "b", "c", "d", "e"],
        mean=[5.0, 0.0, 7.0, 2.0, 4.0],
        minimum=[5.0, 0.0, 8.0, 1.0, 3.0],
        median=[6.0, 0.0, 7.0, 2.0, 2.5],
        maximum=[6.0, 0.0, 9.0, 3.0, 5.0],
        deviation=[0.1, 0.0, 1.0, 1.5, float("nan")],
        power=[0.5, 0.5, 0.5, 1.0, 350.0],
    )
    said = check_trace(path).warnings
    assert one(said, "mean time of 0").startswith("1 of 5 measurements have a mean time of 0, first record 2:")
    assert one(said, "out of order").startswith("2 of 5 measurements have their minimum, median, mean, maximum out of")
    assert "first record 3:" in one(said, "out of order")
    assert one(said, "standard deviation").startswith("1 of 5 measurements")
    assert "first record 4:" in one(said, "standard deviation")
    assert "first record 5:" in one(said, "power above")
    assert len(said) == 4


def test_what_the_cache_holds_already_is_part_of_a_configuration(stored: Any) -> None:
    path = stored("profile", operation=["decode"] * 2, mean=[5.0, 9.0], tokens=[1, 1], context=[64, 128])
    assert info(path).configurations == 2
    assert not check_trace(path).warnings


# public traces

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


def needs(name: str) -> Path:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return MIRROR / name


def test_public_times() -> None:
    found = info(needs("splitwise_perf_model.csv.gz"))
    assert {one.operation for one in found.operations} == {"prompt", "token", "end-to-end"}
    assert found.ranges["batch"] == [1, 64]
    found = info(needs("vidur_a100_dgx_all_reduce.csv.gz"))
    assert [one.operation for one in found.operations] == ["all_reduce"]
    assert found.ranges["workers"] == [2, 16]
