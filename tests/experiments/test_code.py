"""What a result's name depends on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tiersim.experiments import code


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
    for held in (code._source, code._imports, code._hash, code.counts):
        held.cache_clear()
    for name in ("of_a_test_helper", "of_a_test_policy"):
        sys.modules.pop(name, None)
