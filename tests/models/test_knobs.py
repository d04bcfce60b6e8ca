"""Every knob that is accepted changes something: each key of a study is turned, and a metric must move."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.models.test_dram import DRAM_KNOBS
from tiersim.experiments.catalogue import keys_of
from tiersim.experiments.scenarios.memory_hierarchy import MemoryHierarchy
from tiersim.traces.store import Writer

# plain Python: nothing is compiled, so that each turn costs milliseconds
POLICY = """
import numpy as np


class Plain:
    compiled = False

    @staticmethod
    def state(sets, ways, seed):
        return np.zeros((sets, ways + 1), np.int64)

    @staticmethod
    def hit(s, at, way, ways):
        s[at + ways] += 1
        s[at + way] = s[at + ways]

    @staticmethod
    def fill(s, at, way, ways):
        s[at + ways] += 1
        s[at + way] = s[at + ways]

    @staticmethod
    def victim(s, at, ways):
        best = 0
        for way in range(ways):
            if s[at + way] < s[at + best]:
                best = way
        return best


class Newest(Plain):
    @staticmethod
    def victim(s, at, ways):
        return 0
"""
RECORDS = 3000

# each knob with the keys to set; they are turned alone unless another must give way
TURNS: dict[str, dict[str, Any]] = {
    "trace.use": {"trace.use": "other.parquet"},
    "trace.skip": {"trace.skip": "100"},
    "trace.limit": {"trace.limit": "2000"},
    "trace.warm_up": {"trace.warm_up": "10 %"},
    "system.caches.NAME.capacity": {"system.caches.l2.capacity": "8 KiB"},
    "system.caches.NAME.ways": {"system.caches.l2.ways": "full"},
    "system.caches.NAME.latency": {"system.caches.l2.latency": "11 cycles"},
    "system.caches.NAME.policy": {"system.caches.l2.policy": "plain.py:Newest"},
    "system.caches.NAME.below": {"system.caches.l1i.below": "l3"},
    "system.caches.NAME.serves": {"system.caches.l1i.serves": "data", "system.caches.l1d.serves": "instructions"},
    "system.caches.NAME.write": {"system.caches.l1d.write": "through"},
    "system.caches.NAME.write_allocate": {"system.caches.l1d.write_allocate": False},
    "system.caches.NAME.inclusion": {"system.caches.l2.inclusion": "inclusive"},
    "system.memory.latency": {"system.memory.latency": "91 ns"},
    "system.core.frequency": {"system.core.frequency": "3 GHz"},
    "system.core.base_cpi": {"system.core.base_cpi": 0.75},
    "system.core.exposed": {"system.core.exposed": "99 %"},
    "system.line": {"system.line": "32 B"},
    "miss_kinds": {"miss_kinds": False},
}
TIMED = {"timing": "queued", "copies": 2}
# with queued time, two cores and the DRAM below; those of DRAM itself are turned in test_dram.py
QUEUED_TURNS: dict[str, dict[str, Any]] = {
    "timing": {"timing": "additive", "copies": 1},
    "copies": {"copies": 3},
    "beside.NAME.use": {"beside": {"noise": "other.parquet"}},
    "beside.NAME.skip": {"beside": {"noise": {"use": "other.parquet", "skip": "100"}}},
    "beside.NAME.limit": {"beside": {"noise": {"use": "other.parquet", "limit": "300"}}},
    "system.caches.NAME.shared": {"system.caches.l3.shared": True},
    "system.memory.page": {"system.memory.page": "0 B"},
    "system.core.outstanding": {"system.core.outstanding": 2},
    "system.core.window": {"system.core.window": 3},
    "system.memory.dram.controller.latency": {"system.memory.dram.controller.latency": "7 ns"},
    "system.memory.dram.frequency": {"system.memory.dram.frequency": "1.2 GHz"},
    "system.memory.dram.channels": {"system.memory.dram.channels": 1},
}
GROUPS = {"trace", "beside", "system", "system.caches", "system.memory", "system.core"}
GROUPS |= {f"system.memory.dram{part}" for part in ("", ".timing", ".controller")}
# formats are told apart by what they hold (test_object_knobs.py), the warm-up of a neighbour is refused (test_plan.py)
ELSEWHERE = {"trace.format", "beside.NAME.format", "beside.NAME.warm_up"}


def write_trace(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    near = rng.integers(0, 1 << 12, RECORDS)
    far = rng.integers(0, 1 << 16, RECORDS)
    kind = rng.integers(0, 4, RECORDS).astype(np.uint8)
    address = np.where(rng.random(RECORDS) < 0.5, near, far) + (kind == 3) * (1 << 20)
    with Writer(path) as out:
        out.append(
            {
                "address": address.astype(np.uint64),
                "size": np.full(RECORDS, 8, np.uint16),
                "kind": kind,
                "gap": rng.integers(1, 5, RECORDS).astype(np.uint32),
            }
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knobs")
    (folder / "plain.py").write_text(POLICY, encoding="utf-8")
    write_trace(folder / "one.parquet", 1)
    write_trace(folder / "other.parquet", 2)
    return folder


def metrics(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, int | float]:
    def cache(capacity: str, ways: int, latency: str, **more: Any) -> dict[str, Any]:
        return {"capacity": capacity, "ways": ways, "latency": latency, "policy": "plain.py:Plain", **more}

    monkeypatch.chdir(folder)
    study: dict[str, Any] = {
        "study": "knobs",
        "scenario": "memory-hierarchy",
        "trace": {"use": "one.parquet"},
        "system": {
            "caches": {
                "l1i": cache("1 KiB", 2, "1 cycle", serves="instructions", below="l2"),
                "l1d": cache("2 KiB", 2, "2 cycles", serves="data", below="l2"),
                "l2": cache("4 KiB", 4, "10 cycles"),
                "l3": cache("16 KiB", 8, "30 cycles"),
            },
            "memory": {"latency": "90 ns"},
            "core": {"frequency": "2 GHz", "base_cpi": 0.5},
        },
    }
    if changes:
        study["what_if"] = {"turned": changes}
    (*_, row) = tiersim.run(study, keep=False).rows
    assert row.status == "done", row.error
    return row.metrics


def test_every_knob_is_turned() -> None:
    keys = {key.key for key in keys_of(MemoryHierarchy)}
    of_dram = {f"system.memory.dram.{name}" for name in DRAM_KNOBS}
    assert keys == TURNS.keys() | QUEUED_TURNS.keys() | of_dram | GROUPS | ELSEWHERE


@pytest.mark.parametrize("knob", QUEUED_TURNS)
def test_a_turned_knob_of_queued_time_moves_a_metric(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = TIMED | {"trace.limit": 700, "system.memory.dram": "ddr4-3200"}
    if knob.startswith("beside.NAME.") and knob != "beside.NAME.use":
        timed |= QUEUED_TURNS["beside.NAME.use"]
    still = metrics(folder, monkeypatch, **timed)
    assert metrics(folder, monkeypatch, **(timed | QUEUED_TURNS[knob])) != still


@pytest.mark.parametrize("knob", TURNS)
def test_a_turned_knob_moves_a_metric(knob: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = metrics(folder, monkeypatch)
    assert metrics(folder, monkeypatch, **TURNS[knob]) != still


# further values of a knob that are neither its default nor the turn above
@pytest.mark.parametrize(
    "changes",
    [
        {"system.caches.l3.inclusion": "exclusive"},
        {"system.caches.l3.inclusion": "inclusive"},
        {"system.caches.l2.write": "through"},
        {"system.caches.l2.write_allocate": False},
        {"trace.warm_up": "100"},
        {"system.caches.l2.below": "memory", "system.caches.l1i.below": "l3"},
    ],
    ids=str,
)
def test_a_value_moves_a_metric(changes: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics(folder, monkeypatch, **changes) != metrics(folder, monkeypatch)
