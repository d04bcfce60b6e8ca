"""A policy from a user's file that passes the trial run and fails later: one message, exit 2, nothing crashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STUDY = """
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 20k, footprint: 256 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns, policy: "mine.py:Mine"}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
sweep:
  system.line: [32 B, 64 B]
"""
POLICY = """
import numpy as np


class Mine:
    compiled = {compiled}

    @staticmethod
    def state(sets, ways, seed):
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s, at):
        return

    @staticmethod
    def fill(s, at):
        s[at] += 1

    @staticmethod
    def victim(s, at, ways):
        if s[at] > 50:
            {late}
        return 0
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("compiled", "late", "said"),
    [
        (True, "return 1 << 40", "Mine in l1 chose way 1099511627776 of 4 ways"),
        (False, "return -9", "Mine in l1 chose way -9 of 4 ways"),
        (False, "return {}[0]", "Mine.victim in l1 fails: KeyError: 0, in `return {}[0]`"),
    ],
)
def test_a_late_fault_is_one_message(tmp_path: Path, workers: str, compiled: bool, late: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    (tmp_path / "mine.py").write_text(POLICY.replace("{compiled}", str(compiled)).replace("{late}", late))
    command = [sys.executable, "-m", "tiersim", "run", "s.yaml", "--quiet", "--workers", workers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
