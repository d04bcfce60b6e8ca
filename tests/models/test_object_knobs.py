"""Every knob of the scenario object-cache changes something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.oracles.object_requests import scans_and_favourites
from tiersim._base.errors import StudyError
from tiersim.experiments.catalogue import keys_of
from tiersim.experiments.scenarios.object_cache import ObjectCacheScenario
from tiersim.sim import object_loop
from tiersim.traces.schema import OBJECT
from tiersim.traces.store import Writer

TURNS: dict[str, dict[str, Any]] = {
    "trace.use": {"trace.use": "other.parquet"},
    "trace.skip": {"trace.skip": "100"},
    "trace.limit": {"trace.limit": "2000"},
    "trace.warm_up": {"trace.warm_up": "10 %"},
    "cache.capacity": {"cache.capacity": "4 %"},
    "cache.policy": {"cache.policy": "fifo"},
    "cache.admission": {"cache.admission": {"use": "probabilistic"}},
    "cache.sizes": {"cache.sizes": "one"},
    "cache.quotas": {"cache.quotas": "equal"},
    "regret": {"regret": True},
}
GROUPS = {"trace", "cache", "trace.format"}


def write_trace(path: Path, seed: int) -> None:
    ids = scans_and_favourites(4000, seed, objects=300)
    with Writer(path, schema=OBJECT) as out:
        out.append(
            {
                "id": ids,
                "size": (ids % np.uint64(9)).astype(np.int64) + 1,
                "tenant": (ids % np.uint64(2)).astype(np.uint32),
            }
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knobs")
    write_trace(folder / "one.parquet", 1)
    write_trace(folder / "other.parquet", 2)
    keys = np.repeat(scans_and_favourites(500, 3, objects=50), 3).astype("<u8")
    keys.tofile(folder / "keys.bin")
    return folder


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """All loops in the interpreter: each turn would compile one of its own."""
    made = object_loop.make_loop
    monkeypatch.setattr(
        object_loop,
        "make_loop",
        lambda policy, shape, admission=None, *, compiled=True: made(policy, shape, admission, compiled=False),
    )


def metrics(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trace: Any = "one.parquet", **changes: Any
) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    study: dict[str, Any] = {
        "study": "knobs",
        "scenario": "object-cache",
        "trace": trace if isinstance(trace, dict) else {"use": trace},
        "cache": {"capacity": "5 %", "policy": "lru"},
    }
    if changes:
        study["what_if"] = {"turned": changes}
    (*_, row) = tiersim.run(study, keep=False).rows
    assert row.status == "done", row.error
    return row.metrics


def test_every_knob_is_turned() -> None:
    assert {key.key for key in keys_of(ObjectCacheScenario)} == TURNS.keys() | GROUPS


@pytest.mark.parametrize("knob", TURNS)
def test_a_turned_knob_moves_a_metric(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics(folder, monkeypatch, **TURNS[knob]) != metrics(folder, monkeypatch)


def test_metrics_of_tenants_can_be_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    study = {"study": "s", "scenario": "object-cache", "trace": "one.parquet", "cache": {"capacity": "5 %"}}
    result = tiersim.run(study | {"report": {"metrics": ["tenants.1.miss_ratio"]}}, keep=False)
    assert 0 < result.rows[0].metrics["tenants.1.miss_ratio"] < 1
    with pytest.raises(StudyError, match="there is no metric"):
        tiersim.run(study | {"report": {"metrics": ["tenants.1.miss_ration"]}}, keep=False)


def test_a_format_and_its_options_decide_what_a_file_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(bits: int, order: str) -> int:
        trace = {"use": "keys.bin", "format": "key-binary", "bits": bits, "order": order}
        return int(metrics(folder, monkeypatch, trace)["requests"])

    assert read(64, "little") == 1500
    assert read(32, "little") == 3000
    trace = {"use": "keys.bin", "format": "key-binary", "bits": 64, "order": "little"}
    other = {**trace, "order": "big"}
    # the same bytes in the other order are other keys, but the same pattern
    assert metrics(folder, monkeypatch, trace)["misses"] == metrics(folder, monkeypatch, other)["misses"]
    with pytest.raises(StudyError, match="takes no format"):
        metrics(folder, monkeypatch, {"use": "one.parquet", "format": "lirs"})
    with pytest.raises(StudyError, match="takes no format"):
        metrics(folder, monkeypatch, {"use": "generated/zipf-objects", "format": "lirs"})
    with pytest.raises(StudyError, match="bits"):
        metrics(folder, monkeypatch, {"use": "keys.bin", "format": "key-binary", "bots": 3})
