"""What is told of work that takes long: on a terminal, in plain lines, or not at all."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import tiersim
from tiersim.experiments import progress
from tiersim.experiments.progress import Bar, Counted, aloud


def test_plain_lines_tell_runs_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with Bar("many", 4000, "accesses", runs=Counted(1200, 200)) as bar:
        for _ in range(3):
            bar.add(1000)
            bar.count(250, failed=bar.done == 2000)
    first, *lines, last = capsys.readouterr().err.splitlines()
    assert first == "many: 200 of 1,200 runs, 4,000 accesses"
    form = r"many: {} of 1,200 runs{}, {} %, [\d.]+ [kMG]? ?accesses/s, \d+ s left"
    wanted = [("200", "", 25), ("450", "", 25), ("450", "", 50), ("700", ", 250 failed", 50)]
    for line, said in zip(lines[:4], wanted, strict=True):
        assert re.fullmatch(form.format(*said), line), line
    assert last.startswith("many: 950 of 1,200 runs, 250 failed, ")


def test_plain_lines_on_a_terminal_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with aloud(True, plain=True), Bar("many", 10, "steps"):
        pass
    assert capsys.readouterr().err == "many: 10 steps\nmany: there already\n"
    with aloud(True), Bar("many", 10, "steps", runs=Counted(2)) as bar:
        bar.update(5)
        bar.count(1)
        assert bar._fields()["share"] == "1 of 2 runs, 50 %"
    assert "many: 10 steps" not in capsys.readouterr().err


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study = {
        "study": "quiet",
        "scenario": "object-cache",
        "trace": {"use": "generated/zipf-objects", "requests": 1000},
        "cache": {"capacity": "9 objects"},
    }
    tiersim.run(study, out=tmp_path / "a", quiet=True)
    assert capsys.readouterr() == ("", "")
    tiersim.run(study, out=tmp_path / "b", quiet=False)
    assert "quiet: 1 of 1 runs, " in capsys.readouterr().err
