"""Every schema has a fingerprint, traps and a figure, and says them on the command line."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tiersim.cli import main
from tiersim.experiments.doctor import doctor_of
from tiersim.experiments.doctor.contract import Spread, distribution, duration
from tiersim.experiments.trace_doctor import check_trace, trace_info
from tiersim.experiments.trace_figures import draw_info
from tiersim.traces.schema import SCHEMAS

COLUMNS: dict[str, dict[str, Any]] = {
    "access": {"address": [0, 64, 0], "size": [4, 4, 4], "kind": [0, 1, 0], "gap": [1, 2, 1]},
    "object": {"id": [1, 2, 1], "time": [0, 1, 2]},
    "request": {"input": [4, 6, 8], "output": [1, 2, 3], "arrival": [0, 5, 9], "blocks": [[1], [1, 2], [1, 2]]},
    "routing": {"layer": [0, 0, 1], "token": [0, 1, 0], "experts": [[1, 2], [2, 3], [0, 1]]},
    "tree": {"tree": [1, 1, 1], "node": [0, 1, 2], "parent": [-1, 0, 0], "step": [0, 1, 1]},
    "query": {"text": ["a", "bc", "a"]},
    "profile": {"operation": ["copy", "copy", "add"], "mean": [5.0, 9.0, 2.0], "size": [10, 20, 10]},
    "edge": {"source": [0, 1, 1], "target": [1, 2, 1]},
    "popularity": {
        "table": ["t", "t"],
        "above": [0, 1],
        "most": [1, 2**64 - 1],
        "rows": [0.75, 0.25],
        "accesses": [0.25, 0.75],
        "all_rows": [4, 4],
        "all_accesses": [12, 12],
    },
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_info_and_check(schema: str, stored: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(schema, **COLUMNS[schema])
    found = trace_info(path)
    records = len(next(iter(COLUMNS[schema].values())))
    assert (found.schema, found.format, found.records, sum(found.kinds.values())) == (
        schema,
        "tiersim",
        records,
        records,
    )
    assert draw_info(found).axes
    assert all(name and value for name, value in found.rows())
    assert check_trace(path).to_dict() | {"warnings": []} == {
        "format": "tiersim",
        "records": records,
        "errors": [],
        "warnings": [],
    }
    with pytest.raises(SystemExit) as ended:
        main(["traces", "info", str(path), "--json", "--quiet", "--plot", str(tmp_path / "f.svg")])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["notes"]) == (records, found.notes)
    assert "panels" not in told
    assert (tmp_path / "f.svg").stat().st_size > 1000
    with pytest.raises(SystemExit):
        main(["traces", "info", str(path), "--quiet"])
    assert all(value in capsys.readouterr().out for value in [f"{records:,} ("])


@pytest.mark.parametrize("schema", SCHEMAS)
def test_damage_is_told_with_what_came_before(schema: str, stored: Any) -> None:
    path = stored(schema, **COLUMNS[schema])
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    found = check_trace(path)
    assert found.records == 0
    assert "is damaged" in found.errors[0]
    assert doctor_of(schema).__doc__


def test_a_spread_by_hand() -> None:
    assert Spread.if_any(np.array([])) is None
    found = Spread.of(np.array([4, 1, 3, 2]))
    assert found == Spread(1, 2.5, 4, {"10": 1, "25": 1, "50": 2, "75": 3, "90": 4, "99": 4})
    assert found.told() == "2.5 on average, 1 to 4; 1 (10 %), 1 (25 %), 2 (50 %), 3 (75 %), 4 (90 %), 4 (99 %)"
    assert found.told("ns").startswith("2 ns on average, 1 ns to 4 ns")
    same = Spread.of(np.array([4, 4]))
    assert same.told() == "always 4"


def test_a_distribution_by_hand() -> None:
    (curve,) = distribution([("a", np.array([3, 1, 1, 2])), ("none", np.array([]))])
    assert curve.x.tolist() == [1, 1, 2, 3]
    assert curve.y.tolist() == [25, 50, 75, 100]


def test_durations() -> None:
    assert [duration(held) for held in (0, 999, 1500, 2_000_000, 10**9, 90 * 10**9, 5000 * 10**9)] == [
        "0 ns",
        "999 ns",
        "1.5 us",
        "2 ms",
        "1 s",
        "90 s",
        "5,000 s",
    ]
