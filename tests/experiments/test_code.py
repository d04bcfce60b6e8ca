"""What a result's name depends on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import tiersim
from tiersim.experiments import code

SOURCE = code._source


def test_a_helper_beside_a_users_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "of_a_test_helper.py").write_text("STEP = 1\n")
    (tmp_path / "of_a_test_policy.py").write_text("import json, numpy\nfrom of_a_test_helper import STEP\n")
    _forget_all()
    first = code.code_hash(["of_a_test_policy"])
    _forget_all()
    assert code.code_hash(["of_a_test_policy"]) == first
    (tmp_path / "of_a_test_helper.py").write_text("STEP = 2\n")
    _forget_all()
    assert code.code_hash(["of_a_test_policy"]) != first


def test_what_is_installed_does_not_count() -> None:
    assert code.counts("tiersim.sim.replay")
    assert not code.counts("numpy")
    assert not code.counts("json")
    assert not code.counts("no_such_module_anywhere")
    assert not code.counts("numpy.no_such_name")


def _forget_all() -> None:
    for held in (SOURCE, code._imports, code._hash, code.counts):
        held.cache_clear()
    for name in ("of_a_test_helper", "of_a_test_policy"):
        sys.modules.pop(name, None)


STUDY = {
    "study": "policies",
    "scenario": "memory-hierarchy",
    "trace": {"use": "generated/zipf", "records": 2000, "footprint": "64 KiB"},
    "system": {
        "caches": {"l1": {"capacity": "4 KiB", "ways": 4, "latency": "1 ns"}},
        "memory": {"latency": "80 ns"},
        "core": {"frequency": "1 GHz"},
    },
    "sweep": {"system.caches.l1.policy": ["lru", "srrip", "tree-plru"]},
}
OBJECTS = {
    "study": "objects",
    "scenario": "object-cache",
    "trace": {"use": "generated/zipf-objects", "requests": 2000, "objects": 100},
    "cache": {"capacity": "20 objects"},
    "sweep": {"cache.policy": ["lru", "sieve"]},
}


@pytest.mark.parametrize(
    ("module", "again", "of_objects"),
    [
        ("tiersim.policies.way.srrip", ["srrip"], []),
        ("tiersim.policies.way.lru", ["lru"], []),
        ("tiersim.policies.object.sieve", [], ["sieve"]),
        ("tiersim.policies.object.lru", [], ["lru"]),
        ("tiersim.policies.way.contract", ["lru", "srrip", "tree-plru"], []),
        ("tiersim.sim.replay", ["lru", "srrip", "tree-plru"], []),
        ("tiersim.sim.object_replay", [], ["lru", "sieve"]),
        *((f"tiersim.experiments.{name}", [], []) for name in ("runner", "store", "results", "report", "table")),
        *((f"tiersim.experiments.{name}", [], []) for name in ("progress", "statistics", "comparison", "figures")),
        ("tiersim.experiments.executors", [], []),
        ("tiersim.experiments.executors.processes", [], []),
    ],
)
def test_changed_code_runs_again_what_used_it(
    module: str, again: list[str], of_objects: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for study, wanted in ((STUDY, again), (OBJECTS, of_objects)):
        before = [row.key for row in tiersim.run(study, out=tmp_path / str(study["study"])).rows]
        with monkeypatch.context() as patch:
            change(module, patch)
            after = tiersim.run(study, out=tmp_path / str(study["study"]))
        changed = [row.label.split()[-1] for row, key in zip(after.rows, before, strict=True) if row.key != key]
        assert changed == wanted
        assert json.loads((tmp_path / str(study["study"]) / "log.json").read_text())["simulations"] == len(wanted)
        _forget_all()


def change(module: str, patch: pytest.MonkeyPatch) -> None:
    """Let a module have another source for all that ask which code it is."""
    source = code._source

    def changed(asked: str) -> bytes | None:
        found = source(asked)
        return found + b"\n# changed\n" if found is not None and asked == module else found

    _forget_all()
    patch.setattr(code, "_source", changed)
