"""The fingerprint and the traps of routing: by hand, against brute force, and on public traces."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import StudyError
from tiersim.experiments.doctor.contract import QUANTILES, Spread
from tiersim.experiments.doctor.routing import Layer, RoutingInfo
from tiersim.experiments.trace_doctor import check_trace, trace_info
from tiersim.experiments.trace_figures import draw_info
from tiersim.traces import Writer
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import ROUTING


def info(path: Path) -> RoutingInfo:
    found = trace_info(path)
    assert isinstance(found, RoutingInfo)
    return found


def test_by_hand(stored: Any) -> None:
    # layer 0: 1 2, then 2 3 (one of two again), then 3 2 (both again); layer 4: 0 1 and 2 3 (none)
    path = stored(
        "routing",
        layer=[0, 4, 0, 4, 0, 9],
        token=[0, 0, 1, 1, 2, 0],
        experts=[[1, 2], [0, 1], [2, 3], [2, 3], [3, 2], [5, 5]],
        step=[0, 0, 1, 1, 2, 9],
        predicted=[[1, 7], [0, 1], [2], [], [2, 3], [5]],
        phase=[0, 0, 0, 0, 0, 1],
    )
    found = info(path)
    assert found.kinds == {"token": 5, "warm-up": 1}
    assert (found.sequences, found.steps, found.most_expert) == (None, 3, 3)
    assert found.layers == [
        Layer(layer=0, rows=3, experts=3, top_share=1.0, imbalance=3 * 3 / 6, reuse=3 / 4),
        Layer(layer=4, rows=2, experts=4, top_share=3 / 4, imbalance=1.0, reuse=0.0),
    ]
    assert (found.reuse, found.by_chance) == (3 / 6, (2 / 3 + 2 / 4) / 2)
    # of 10 chosen 1, 0 1, 2, none, 2 3 were named: 6; of 7 named all but the 7
    assert found.predictions is not None
    assert (found.predictions.recall, found.predictions.precision) == (6 / 10, 6 / 7)
    assert found.notes == ["1 rows of warm-up are left out of what is told"]
    assert len(found.panels) == 3


def test_the_token_before_is_of_the_same_sequence(stored: Any) -> None:
    columns = {"layer": [0] * 4, "token": [0, 0, 1, 1], "experts": [[1], [2], [1], [2]]}
    assert info(stored("routing", **columns)).reuse == 0
    assert info(stored("routing", "u.parquet", **columns, sequence=[7, 8, 7, 8])).reuse == 1


ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.sets(st.integers(0, 5), max_size=3)), min_size=1, max_size=30
)


@given(ROWS)
def test_reuse_against_sets(rows: list[tuple[int, int, set[int]]]) -> None:
    last: dict[tuple[int, int], set[int]] = {}
    again = chosen = 0
    for layer, sequence, experts in rows:
        if (before := last.get((layer, sequence))) is not None:
            again, chosen = again + len(experts & before), chosen + len(experts)
        last[layer, sequence] = experts
    with TemporaryDirectory() as folder:
        with Writer(Path(folder) / "t.parquet", schema=ROUTING) as out:
            out.append(
                {
                    "layer": np.array([row[0] for row in rows], np.uint16),
                    "token": np.zeros(len(rows), np.uint32),
                    "experts": Ragged.of([sorted(row[2]) for row in rows], "uint16"),
                    "sequence": np.array([row[1] for row in rows], np.uint64),
                }
            )
        found = info(Path(folder) / "t.parquet")
    assert found.reuse == (again / chosen if chosen else None)
    for held in found.layers:
        mine = [expert for layer, _, experts in rows if layer == held.layer for expert in experts]
        assert held.experts == len(set(mine))
        assert held.top_share == (
            sum(sorted((mine.count(one) for one in set(mine)), reverse=True)[:3]) / len(mine) if mine else 0
        )


def test_odd_rows(stored: Any, one: Any) -> None:
    path = stored(
        "routing",
        layer=[0, 0, 0, 1, 1],
        token=[0, 1, 2, 0, 1],
        experts=[[1, 2], [3, 3], [4], [1, 2], [2, 1]],
        predicted=[[1], [], [4], [], [1]],
    )
    said = check_trace(path).warnings
    assert one(said, "an expert twice").startswith("1 of 5 rows name an expert twice, first record 2:")
    assert one(said, "another number").startswith("1 of 5 rows have another number of experts than 2, first record 3:")
    assert one(said, "empty list").startswith("2 of 5 rows have an empty list of predictions, first record 2:")
    assert "3 in layer 0" in one(said, "unequal numbers")
    assert len(said) == 4


def test_weights(stored: Any, one: Any) -> None:
    columns: dict[str, Any] = {"layer": [0, 0, 0], "token": [0, 1, 2], "experts": [[1, 2], [2, 3], [3, 1]]}

    def said(name: str, weights: list[list[float]]) -> list[str]:
        return check_trace(stored("routing", name, **columns, weights=weights)).warnings

    assert said("a.parquet", [[0.75, 0.25], [0.5, 0.5], [1, 0]]) == []
    assert one(said("b.parquet", [[0.75, 0.25], [0.25, 0.75], [1, 0]]), "falling").startswith("1 of 3 rows")
    found = one(said("c.parquet", [[0.5, 0.25], [0.25, 0.125], [1, 0]]), "add up")
    assert found.startswith("2 of 3 rows have weights that add up to 0.375 to 0.75, not to 1, first record 1:")
    assert one(said("d.parquet", [[7, 1], [0.5, 0.5], [1, 0]]), "below 0 or above 1")
    assert one(said("e.parquet", [[0.75, 0.25], [1], [1, 0]]), "not one weight an expert").startswith("1 of 3 rows")


def test_warm_up(stored: Any, one: Any) -> None:
    rows = 100
    experts = [[at % 7, 7 + at % 5] for at in range(20)] + [[1, 9]] * rows
    columns: dict[str, Any] = {"layer": [0] * len(experts), "token": list(range(len(experts))), "experts": experts}
    said = one(check_trace(stored("routing", **columns)).warnings, "dummies")
    assert said.startswith("100 rows stand in runs of 64 or more with the same experts, the longest of 100:")
    marked = stored("routing", "u.parquet", **columns, phase=[0] * 20 + [1] * rows)
    (said,) = check_trace(marked).warnings
    assert said.startswith("100 of 120 rows are warm-up on dummies, first record 21:")
    none = stored("routing", "w.parquet", **{name: held[:20] for name, held in columns.items()}, phase=[0] * 20)
    assert not [warning for warning in check_trace(none).warnings if "phase" in warning]  # it says that there is none
    only = stored("routing", "v.parquet", **columns, phase=[1] * len(experts))
    found = info(only)
    assert (found.layers, found.reuse, found.experts_a_token, found.panels) == ([], None, None, [])
    assert found.rows() == [("layers", "0")]
    with pytest.raises(StudyError, match="nothing to draw"):
        draw_info(found)


# public traces

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


def needs(name: str) -> Path:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return MIRROR / name


@pytest.mark.parametrize(("layer", "share"), [(0, 0.0655), (8, 0.0745), (12, 0.0671), (18, 0.0646), (23, 0.0765)])
def test_public_layers(layer: int, share: float) -> None:
    found = info(needs(f"moe_qwen15_layer{layer:02}.jsonl.gz"))
    (held,) = found.layers
    assert (found.records, found.steps, held.layer, held.rows, held.experts) == (4357, 129, layer, 4357, 60)
    assert (round(held.top_share, 4), found.experts_a_token) == (
        share,
        Spread(4, 4, 4, dict.fromkeys(map(str, QUANTILES), 4)),
    )
