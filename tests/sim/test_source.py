"""What a policy borrows from other modules keeps apart."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tiersim._base.errors import PolicyError
from tiersim._base.registry import import_file
from tiersim.sim.source import borrow, load_module

ONE = """
STEP = 1


def step():
    return STEP
"""
POLICY = """
import of_a_test_one
from of_a_test_one import step as first
from of_a_test_two import step as second

STEP = 100


class Policy:
    @staticmethod
    def run():
        return first() + second() + STEP
"""


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "of_a_test_one.py").write_text(ONE)
    (tmp_path / "of_a_test_two.py").write_text(ONE.replace("STEP = 1", "STEP = 10"))
    (tmp_path / "policy.py").write_text(POLICY)
    yield import_file(tmp_path / "policy.py").Policy
    for name in ("of_a_test_one", "of_a_test_two"):
        sys.modules.pop(name, None)


def test_functions_and_numbers_of_one_name_stay_apart(policy: Any) -> None:
    module: ModuleType = load_module(borrow(policy, ("run",), "p").text, compiled=False)
    assert module.p_run() == 111


def test_modules_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for package, number in (("of_a_test_a", 1), ("of_a_test_b", 2)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "helpers.py").write_text(
            f"def step_{number}():\n    return inner()\n\n\ndef inner():\n    return {number}\n"
        )
    (tmp_path / "policy.py").write_text(
        "from of_a_test_a.helpers import step_1\nfrom of_a_test_b.helpers import step_2\n\n\nclass Policy:\n"
        "    @staticmethod\n    def run():\n        return step_1() + step_2()\n"
    )
    with pytest.raises(PolicyError, match="two functions 'inner'"):
        borrow(import_file(tmp_path / "policy.py").Policy, ("run",), "p")
