"""Real processes that are killed in the middle of a study, and disks that are full: what is there afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import tiersim

STUDY = """\
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 300k, footprint: 256 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
sweep:
  system.caches.l1.capacity: [4 KiB, 8 KiB, 16 KiB, 32 KiB, 64 KiB, 128 KiB, 256 KiB, 512 KiB]
  system.memory.latency: [80 ns, 120 ns]
"""
POLICY = """
import multiprocessing, os, signal
from pathlib import Path

import numpy as np

class Deadly:
    '''Kills the worker that it is in while there is a file of its name.'''

    @staticmethod
    def state(sets, ways, seed):
        if sets > 1 and multiprocessing.parent_process() and Path("deadly").exists():
            if Path("deadly").read_text() == "once":
                Path("deadly").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s, at):
        return

    @staticmethod
    def fill(s, at):
        return

    @staticmethod
    def victim(s, at):
        return 0
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(STUDY, encoding="utf-8")
    Path("mine.py").write_text(POLICY, encoding="utf-8")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of the study under the byte contract, as one run leaves them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "s.yaml").write_text(STUDY, encoding="utf-8")
    subprocess.run(
        [*command("--out", "there", "--workers", "1"), "--quiet"], cwd=folder, check=True, capture_output=True
    )
    return content(folder / "there")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tiersim", "run", "s.yaml", *arguments]


def content(folder: str | Path) -> dict[str, bytes]:
    """Every file under the byte contract."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    return {
        name: held for name, held in found.items() if name not in ("log.json", "report.html") and "figures" not in name
    }


def parts(folder: str | Path) -> int:
    return len(list(Path(folder).glob("runs/*.parquet")))


def wait_for(what: str, true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"no {what} within a minute"
        time.sleep(0.005)


def killed_after(seconds: float, workers: str) -> None:
    """Run until there is a part more, and so much longer; then kill."""
    before = parts("there")
    running = subprocess.Popen(command("--out", "there", "--workers", workers, "--quiet"))
    wait_for("part", lambda: parts("there") > before)
    time.sleep(seconds)
    family = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert psutil.wait_procs(family, timeout=20)[1] == [], "workers outlive their parent"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_parent_costs_what_was_in_flight(workers: str, undisturbed: dict[str, bytes]) -> None:
    chance = random.Random(workers)
    for _ in range(2):
        killed_after(chance.uniform(0, 0.05), workers)
        assert not json.loads(Path("there/log.json").read_text())["complete"]
    assert parts("there") < 16
    tiersim.run("s.yaml", out="there", workers=int(workers))
    assert json.loads(Path("there/log.json").read_text())["complete"]
    assert content("there") == undisturbed


def test_a_killed_worker_costs_its_job(undisturbed: dict[str, bytes]) -> None:
    with subprocess.Popen(
        command("--out", "there", "--workers", "2", "--quiet"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        wait_for("part", lambda: parts("there") > 0)
        for child in psutil.Process(running.pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
                break
        _, said = running.communicate()
    assert (running.returncode, said) == (0, "")
    assert content("there") == undisturbed


@pytest.mark.parametrize("times", ["once", "always"])
def test_a_job_that_kills_its_worker_is_tried_once_more(times: str) -> None:
    Path("deadly").write_text(times)
    sets = [
        "trace.records=2k",
        "sweep.system.caches.l1.capacity=[4 KiB, 8 KiB]",
        "what_if={deadly: {system.caches.l1.policy: 'mine.py:Deadly'}}",
        "sweep.system.memory.latency=[80 ns]",
    ]
    result = tiersim.run("s.yaml", sets, workers=2, out="there")
    statuses = [row.status for row in result.rows]
    if times == "once":
        assert statuses == ["done"] * 4
    else:
        assert statuses == ["done", "done", "failed", "failed"]
        assert result.rows[2].error.startswith(
            "its worker process died 2 times (signal 9, Killed), perhaps for want of"
        )
        Path("deadly").unlink()
        assert {row.status for row in tiersim.run("s.yaml", sets, workers=2, out="there").rows} == {"done"}
    tiersim.run("s.yaml", sets, out="other")
    assert content("there") == content("other")


@pytest.fixture
def apart() -> list[str]:
    """What to put before a command that may mount file systems, which only it sees."""
    for options in (["-m"], ["-rm"]):  # as root, or as one's own root
        trial = ["unshare", *options, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if shutil.which("unshare") and subprocess.run(trial, capture_output=True).returncode == 0:
            return ["unshare", *options]
    pytest.skip("no file system can be mounted here, not even in a namespace")


SMALL_DISK = """
mkdir disk && mount -t tmpfs -o size=100k tmpfs disk || exit 99
"$@"
status=$?
cp -r disk/there there
exit $status
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_told_and_survived(workers: str, apart: list[str], undisturbed: dict[str, bytes]) -> None:
    run = command("--out", "disk/there", "--workers", workers, "--quiet")
    done = subprocess.run([*apart, "sh", "-c", SMALL_DISK, "sh", *run], capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be written: No space left on device" in done.stderr
    assert "of 16 runs are there; run again to go on" in done.stderr
    assert "Traceback" not in done.stderr
    assert 0 < parts("there") < 16
    assert not list(Path("there").rglob(".*"))  # no draft takes room
    tiersim.run("s.yaml", out="there", workers=int(workers))
    assert content("there") == undisturbed


def test_an_interrupt_tells_how_much_is_there(undisturbed: dict[str, bytes]) -> None:
    with subprocess.Popen(
        command("--out", "there", "--workers", "2", "--quiet"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        wait_for("part", lambda: parts("there") > 2)
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    there = parts("there")
    assert said.strip().splitlines() == [f"interrupted; {there} of 16 runs are there; run again to go on"]
    log = json.loads(Path("there/log.json").read_text())
    assert (log["complete"], log["done"], log["waiting"]) == (False, there, 16 - there)
    assert Path("there/runs.csv").read_text().count(",waiting,") == 16 - there
    tiersim.run("s.yaml", out="there")
    assert content("there") == undisturbed
