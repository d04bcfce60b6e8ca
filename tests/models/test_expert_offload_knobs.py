"""Every key of the scenario `expert-offload` changes something."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.experiments.expert_studies import MODEL, STUDY, write_trace
from tiersim._base.params import params
from tiersim.experiments.scenarios import expert_offload
from tiersim.experiments.scenarios.expert_offload import ExpertOffload, ExpertTrace
from tiersim.models.expert_queued import offload_queued
from tiersim.models.experts import ExpertSystem
from tiersim.sim.expert_offload import Machine

DRAWN = {"predictions": {"use": "accuracy", "right": "50 %"}}
ON_DRIVE = {"system.host_experts": 12}
RUNS_ON_CPU = {"policy": "fiddler"}

# the key, its other value, and what else is set in both runs
TURNED: list[tuple[str, Any, dict[str, Any]]] = [
    ("trace.use", "other.parquet", {}),
    ("trace.skip", "60", {}),
    ("trace.limit", "60", {}),
    ("trace.tokens", "20", {}),
    ("trace.warm_up", "10 %", {}),
    ("batch", 3, {}),
    ("prompt", 3, {}),
    ("learn", "40 %", {}),
    ("timing", "queued", {"system.kv_memory": "1 token", "batch": 3, "system.copy": "1 ms"}),
    ("system.kv_memory", "3 tokens", {"system.copy": "1 ms"}),
    ("predictions", "trace", {}),
    ("predictions.right", "90 %", DRAWN),
    ("policy", "perfect-prefetch", {}),
    ("policy.scope", "model", {"policy": {"use": "on-demand"}}),
    ("policy.replacement", "lfu", {"policy": {"use": "on-demand"}}),
    ("system.model", {**MODEL, "hidden": 512}, {}),
    ("system.accelerator", "l4", {}),
    ("system.gpus", 2, {}),
    ("system.expert_slots", "18", {}),
    (
        "system.share",
        "6 %",
        {"system.expert_slots": None, "system.model.hidden": 2048, "system.model.experts.size": 16384},
    ),
    ("system.link", "pcie-3-x16", {}),
    ("system.link.efficiency", "50 %", {}),
    ("system.copy", "1 us", {}),
    ("system.host.memory.bandwidth", "10 GB/s", {}),
    ("system.cpu", "1G", RUNS_ON_CPU),
    ("system.host_experts", 12, {}),
    ("system.storage", "ssd-pm9a3-7680gb", ON_DRIVE),
    ("system.low", "int8", {"policy": {"use": "hobbit"}}),
    ("system.overlap", False, {"batch": 2}),
    ("system.time_model", {"use": "roofline", "layer": "1 us/layer"}, {}),
]
OTHERS = {"trace.format"}  # a file's
NESTED = {"trace", "system", "system.host"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experts")
    write_trace(folder / "routing.parquet", 1)
    write_trace(folder / "other.parquet", 2)
    return folder


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Loops are not compiled: that takes longer than all that they do here."""
    monkeypatch.setattr(expert_offload, "Machine", partial(Machine, compiled=False))
    monkeypatch.setattr(expert_offload, "offload_queued", partial(offload_queued, compiled=False))
    monkeypatch.chdir(folder)


def outcome(keys: dict[str, Any]) -> Any:
    study = STUDY | {"what_if": {"turned": keys}} if keys else STUDY
    row = tiersim.run(study, keep=False).rows[-1]
    assert row.status == "done", row.error
    windows = {name: np.nan_to_num(np.array(held)).tolist() for name, held in row.windows.items()}
    return row.metrics, windows


@pytest.mark.parametrize(("key", "other", "beside"), TURNED, ids=[key for key, _, _ in TURNED])
def test_turning_it_changes_something(key: str, other: Any, beside: dict[str, Any]) -> None:
    assert outcome({**beside, key: other}) != outcome(beside)


def test_no_knob_is_left_out() -> None:
    held = {"": ExpertOffload, "trace.": ExpertTrace, "system.": ExpertSystem}
    keys = {prefix + item.name for prefix, cls in held.items() for item, _, _ in params(cls) if item.init}
    assert keys - {key for key, _, _ in TURNED} - OTHERS - NESTED == set()
