"""Studies on a real scheduler and real workers, each a process of its own, which die in the middle."""

from __future__ import annotations

import builtins
import functools
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tiersim
from tiersim._base.errors import DependencyError, StudyError
from tiersim.experiments.executors import Finished, cluster
from tiersim.experiments.executors.cluster import Cluster

pytest.importorskip("distributed")

STUDY = """\
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 200k, footprint: 256 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns, policy: "mine.py:Mine"}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
sweep:
  system.caches.l1.capacity: [4 KiB, 8 KiB, 16 KiB, 32 KiB, 64 KiB, 128 KiB]
"""
POLICY = """
import time

import numpy as np


class Mine:
    '''Evicts way 0, and is slow to begin with.'''

    @staticmethod
    def state(sets, ways, seed):
        time.sleep(0.3 if sets > 1 else 0)
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
DEADLY = """
        if sets == 64:  # of 16 KiB
            import os
            os.kill(os.getpid(), 9)
"""


class Dask:
    """A scheduler and workers on this machine."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, what: str, *arguments: str, folder: str = ".") -> subprocess.Popen[bytes]:
        run = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments, "--no-dashboard"]
        started = subprocess.Popen(run, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.running.append(started)
        return started

    def scheduler(self) -> subprocess.Popen[bytes]:
        return self.start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def worker(self, folder: str = ".", *, threads: int = 1, nanny: bool = False) -> subprocess.Popen[bytes]:
        kept = "--nanny" if nanny else "--no-nanny"
        own = (kept, "--nthreads", str(threads), "--local-directory", f"scratch-{len(self.running)}")
        return self.start("worker", self.address, *own, folder=folder)

    def study(self, *arguments: str) -> subprocess.Popen[str]:
        run = [sys.executable, "-m", "tiersim", "run", "s.yaml", "--dask", self.address, "--out", "there", *arguments]
        # a shell ignores interrupts in what it runs in the background, and so would its children
        heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(STUDY, encoding="utf-8")
    Path("mine.py").write_text(POLICY, encoding="utf-8")


@pytest.fixture
def dask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dask]:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    made = Dask()
    yield made
    for process in made.running:
        process.kill()
        process.wait()


def content(folder: str) -> dict[str, bytes]:
    """Every file under the byte contract."""
    found = [Path(folder, "runs.csv"), Path(folder, "resolved.yaml"), *Path(folder, "runs").iterdir()]
    return {path.name: path.read_bytes() for path in found}


def parts() -> int:
    return len(list(Path("there").glob("runs/*.parquet")))


def wait_for(what: str, true: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end, f"no {what} in time"
        time.sleep(0.01)


def undisturbed() -> dict[str, bytes]:
    tiersim.run("s.yaml", out="undisturbed")
    return content("undisturbed")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cluster_gives_the_same_bytes(dask: Dask, workers: int) -> None:
    dask.scheduler()
    for _ in range(workers):
        dask.worker()
    out, said = dask.study().communicate(timeout=120)
    assert "16 KiB" in out
    assert said.splitlines()[-1].startswith("small: 6 of 6 runs, ")
    assert all(line.startswith("small: ") for line in said.splitlines())
    assert content("there") == undisturbed()
    out, said = dask.study("--json").communicate(timeout=120)
    assert (json.loads(out)["complete"], said) == (True, "")  # nothing is left to run


def test_the_jobs_of_a_killed_worker_go_to_another(dask: Dask) -> None:
    dask.scheduler()
    first = dask.worker()
    running = dask.study("--quiet")
    wait_for("part", lambda: parts() > 0)
    dask.worker()
    first.kill()
    assert running.communicate(timeout=120)[1] == ""
    assert running.returncode == 0
    assert content("there") == undisturbed()


def test_a_scheduler_that_is_started_again_goes_on(dask: Dask) -> None:
    scheduler = dask.scheduler()
    dask.worker()
    running = dask.study()
    wait_for("part", lambda: parts() > 0)
    scheduler.kill()
    scheduler.wait()
    before = parts()
    assert before < 6
    dask.scheduler()
    dask.worker()
    said = running.communicate(timeout=120)[1]
    assert running.returncode == 0, said
    assert f"small: the scheduler at {dask.address} is gone, waiting 60 s for it" in said
    assert all(line.startswith("small: ") for line in said.splitlines())
    assert content("there") == undisturbed()


def test_a_scheduler_that_stays_away_is_one_message(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ABSENT", 1.0)
    scheduler = dask.scheduler()
    worker = dask.worker()
    wait_for("worker", lambda: subprocess.run(_asks(dask), capture_output=True).returncode == 0)

    def kill() -> None:
        wait_for("part", lambda: parts() > 0)
        scheduler.kill()

    threading.Thread(target=kill).start()
    with pytest.raises(StudyError, match=r"no scheduler answers at .* within 1 s: Connection refused") as caught:
        tiersim.run("s.yaml", dask=dask.address, out="there")
    assert re.search(
        r"run again: what is finished is kept\n  [1-5] of 6 runs are there; run again", caught.value.remedy
    )
    worker.kill()
    tiersim.run("s.yaml", out="there")
    assert content("there") == undisturbed()


def _asks(dask: Dask) -> list[str]:
    """A command that ends well once the scheduler has a worker."""
    code = f"import distributed as d; d.Client('{dask.address}', timeout=20).wait_for_workers(1, timeout=20)"
    return [sys.executable, "-c", code]


def test_an_interrupt_ends_at_once_and_tells_what_is_there(dask: Dask) -> None:
    Path("mine.py").write_text(POLICY.replace("sleep(0.3", "sleep(2"), encoding="utf-8")
    dask.scheduler()
    dask.worker()
    running = dask.study("--quiet")
    wait_for("part", lambda: parts() > 0)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 130, said
    assert said.strip() == f"interrupted; {parts()} of 6 runs are there; run again to go on"


@pytest.mark.parametrize("kept", [False, True], ids=["many", "one-that-is-started-again"])
def test_a_job_that_kills_its_workers_is_a_failed_run(dask: Dask, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # dask blames what waits at a dying worker too: with one worker that is all that is left
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION", "inf")
    dask.scheduler()
    Path("mine.py").write_text(POLICY.replace("        time.sleep", f"{DEADLY}        time.sleep"), encoding="utf-8")
    for _ in range(1 if kept else 5):  # two deaths among the others, two alone, and one is left
        dask.worker(nanny=kept)
    said = dask.study("--quiet").communicate(timeout=120)[1]
    assert said.startswith("error: 1 of 6 runs failed; the first: capacity 16 KiB: its worker died each time")
    assert "Traceback" not in said
    assert Path("there/runs.csv").read_text().count(",done,") == 5


def test_workers_with_other_code_or_another_trace_are_told(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    dask.scheduler()
    Path("elsewhere").mkdir()
    Path("elsewhere/mine.py").write_text(POLICY + "\nX = 1\n", encoding="utf-8")
    dask.worker("elsewhere")
    process = dask.study("--quiet")
    assert process.communicate(timeout=120)[1].startswith("error: a worker on ")
    assert not Path("there").exists()
    monkeypatch.chdir("elsewhere")
    Path("s.yaml").write_text(STUDY, encoding="utf-8")
    Path("mine.trace").write_text("".join(f" L {at:x},8\n" for at in range(0, 9999, 64)))
    monkeypatch.chdir("..")
    Path("elsewhere/mine.py").write_text(POLICY, encoding="utf-8")
    Path("mine.trace").write_text("".join(f" L {at:x},8\n" for at in range(0, 9999, 32)))
    said = dask.study("--quiet", "--set", "trace=mine.trace").communicate(timeout=120)[1]
    assert "has another trace of this name" in said
    assert len(said.splitlines()) == 2
    Path("elsewhere/mine.trace").unlink()
    said = dask.study("--quiet", "--set", "trace=mine.trace").communicate(timeout=120)[1]
    assert said.startswith("error: worker on ")
    assert "there is no trace" in said


def test_without_an_answer_there_is_one_message(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER", 0.3)
    monkeypatch.setattr(cluster, "ABSENT", 0.3)
    for address in ("hello", "foo://x:1", "", "tcp://10.0.0.1"):
        with pytest.raises(StudyError, match="is no address of a scheduler"):
            tiersim.run("s.yaml", dask=address)
    with pytest.raises(StudyError, match=r"no scheduler answers at .* within 0 s: Connection refused"):
        tiersim.run("s.yaml", dask=dask.address)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(StudyError, match="is no dask scheduler"):
            tiersim.run("s.yaml", dask=f"tcp://127.0.0.1:{other.getsockname()[1]}")
    assert sorted(path.name for path in Path().iterdir()) == ["mine.py", "s.yaml"]


def test_a_cluster_without_workers_is_told(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ABSENT", 0.3)
    dask.scheduler()
    with pytest.raises(StudyError, match="has had no workers for 0 s"):
        tiersim.run("s.yaml", dask=dask.address)


def test_without_dask_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *more: Any) -> Any:
        if name.startswith("distributed"):
            raise ImportError
        return found(name, *more)

    found = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match=r"needs dask\.distributed") as caught:
        Cluster("tcp://127.0.0.1:1")
    assert caught.value.remedy == "pip install 'tiersim[cluster]'"


def test_a_worker_runs_one_job_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = [0], [0]

    def attempt(job: Any, progress: Any) -> Finished:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        inside[0] -= 1
        return Finished()

    monkeypatch.setattr(cluster, "attempt", attempt)
    monkeypatch.setattr(cluster, "_wrong", lambda job: None)
    threads = [threading.Thread(target=cluster._simulate, args=(pickle.dumps("job"),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


SBATCH = """#!/bin/bash
# what the real one does, on this machine and at once: keeps the script, runs it, prints a number that scancel takes
cp "$1" "$FAKE/job-$$.sh"
setsid bash "$FAKE/job-$$.sh" > "$FAKE/job-$$.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do kill -- "-$job" && echo "$job" >> "$FAKE/cancelled"; done
"""


def test_the_script_for_slurm_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    page = (Path(__file__).parents[2] / "docs/how-to/run-on-a-cluster.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    fake = tmp_path / "slurm"
    fake.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(fake))
    Path("hot-rows.yaml").write_text(STUDY, encoding="utf-8")
    activate = "source ~/tiersim/bin/activate"
    assert activate in script
    script = script.replace(activate, "true").replace("jobs=16", "jobs=2")
    Path("script.py").write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(",done,") == 6
    jobs = sorted(path.read_text() for path in fake.glob("job-*.sh"))
    assert len(jobs) == 2
    for line in ("#SBATCH -p normal", "#SBATCH -t 04:00:00", "#SBATCH --mem=4G"):
        assert all(line in job for job in jobs)
    assert len((fake / "cancelled").read_text().split()) == 2  # nobody pays for workers that have nothing to do
    Path("there").symlink_to("results/small")
    assert content("there") == undisturbed()
