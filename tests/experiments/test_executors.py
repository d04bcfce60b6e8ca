"""Where simulations run: each gives every job once, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import tiersim
from tiersim._base.errors import AuditError, TraceError
from tiersim.experiments.executors import Executor, Job, attempt
from tiersim.experiments.executors.here import Here
from tiersim.experiments.executors.processes import Processes
from tiersim.experiments.progress import Bar
from tiersim.experiments.rates import GUESS, Rates
from tiersim.experiments.runner import estimate
from tiersim.experiments.scenario import Measured


@dataclass
class Counting:
    """A scenario that does as its number says, in any process."""

    number: int
    does: str = ""

    def loop(self) -> str:
        return "the same"

    def warm(self, note: Callable[[str], None]) -> None:
        note("")

    def size(self) -> int:
        return 10

    def simulate(self, seed: int, progress: Callable[[int], None]) -> int:
        progress(self.size())
        if self.does == "wait":
            time.sleep(0.02)
        elif self.does == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.does == "audit":
            raise AuditError("the books do not balance")
        elif self.does == "trace":
            raise TraceError("a trace is damaged")
        elif self.does == "fault":
            return 1 // 0
        return os.getpid()

    def measure(self, simulated: int) -> Measured:
        return Measured({"number": self.number, "process": simulated})


def jobs(count: int, **does: str) -> list[Job]:
    """So many jobs; `n3="die"` says what the third does."""
    made: list[Any] = [Counting(number, does.get(f"n{number}", "wait")) for number in range(count)]
    return [Job(0, "code", "trace", [scenario], [str(scenario.number)]) for scenario in made]


def bar() -> Bar:
    return Bar("test", 0, "steps", quiet=True)


@pytest.mark.parametrize("executor", [Here(), Processes(1), Processes(2)])
def test_every_job_comes_back_once(executor: Executor) -> None:
    told = bar()
    made = [finished.measured[0].metrics for _, finished in executor.run(jobs(9), told)]
    assert sorted(metrics["number"] for metrics in made) == list(range(9))
    assert len({metrics["process"] for metrics in made}) == executor.workers
    assert (told.done, told.total) == (90, 0)


@pytest.mark.parametrize("executor", [Here(), Processes(2)])
def test_a_failure_is_an_outcome_and_a_damaged_trace_ends_all(executor: Executor) -> None:
    failed = {
        job.keys[0]: str(finished.error)
        for job, finished in executor.run(jobs(5, n1="audit", n3="fault"), bar())
        if finished.error is not None
    }
    assert failed.keys() == {"1", "3"}
    assert failed["1"] == "the books do not balance"
    assert "ZeroDivisionError" in failed["3"]
    assert "test_executors.py:" in failed["3"]
    with pytest.raises(TraceError, match="a trace is damaged"):
        list(executor.run(jobs(5, n1="trace"), bar()))
    assert not _workers()


def test_a_job_that_kills_its_worker_is_the_only_one_that_is_lost() -> None:
    made = {job.keys[0]: finished for job, finished in Processes(2).run(jobs(8, n2="die"), bar())}
    assert {key for key, finished in made.items() if finished.error} == {"2"}
    assert str(made["2"].error).startswith("its worker process died 2 times (signal 9, Killed)")
    assert len(made) == 8
    assert not _workers()


def test_a_run_that_is_given_up_leaves_no_process() -> None:
    running = Processes(2).run(jobs(8), bar())
    next(running)
    assert len(_workers()) == 2
    running.close()
    assert not _workers()


def test_a_process_that_cannot_be_started_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", start)
    with pytest.raises(tiersim.TiersimError, match="cannot be started: Resource temporarily unavailable"):
        list(Processes(2).run(jobs(2), bar()))


def test_an_attempt_takes_time_and_fails_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = jobs(1)
    assert attempt(job, lambda steps: None).seconds >= 0.02

    def measure(self: Counting, simulated: int) -> Measured:
        raise MemoryError

    monkeypatch.setattr(Counting, "measure", measure)
    assert str(attempt(job, lambda steps: None).error).startswith("there was not enough memory")


def _workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline()) and child.status() != "zombie"]


STUDY: dict[str, Any] = {
    "study": "rates",
    "scenario": "memory-hierarchy",
    "trace": {"use": "generated/zipf", "records": 20_000, "footprint": "64 KiB"},
    "system": {
        "caches": {"l1": {"capacity": "4 KiB", "ways": 4, "latency": "1 ns"}},
        "memory": {"latency": "80 ns"},
        "core": {"frequency": "1 GHz"},
    },
    "sweep": {"system.caches.l1.capacity": ["4 KiB", "8 KiB", "16 KiB", "32 KiB"]},
}


def test_rates_are_kept_for_each_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    fifo = {**STUDY, "sweep": {"system.caches.l1.policy": ["lru", "fifo"]}}
    cost = estimate(STUDY, out=tmp_path / "none")
    assert (cost.measured, cost.simulations, cost.seconds) == (0, 4, pytest.approx(80_000 / GUESS))
    tiersim.run(STUDY, keep=False)
    cost = estimate(STUDY, out=tmp_path / "none")
    assert (cost.measured, cost.simulations) == (4, 4)
    assert cost.seconds != pytest.approx(80_000 / GUESS)
    mixed = estimate(fifo, out=tmp_path / "none")
    assert (mixed.measured, mixed.simulations) == (1, 2)
    halved = estimate(STUDY, out=tmp_path / "none", workers=2)
    assert halved.seconds == pytest.approx(cost.seconds / 2)
    assert estimate(STUDY, out=tmp_path / "none", workers=99).seconds == pytest.approx(cost.seconds / 4)


KINDS = """
from tiersim.experiments.plan import make_plan

study = {"study": "s", "trace": "generated/stride", "system": "desktop-cpu"}
whole = {"capacity": "4 KiB", "ways": 1, "latency": "1 ns"}
small = {"caches": {"l1": whole}, "memory": {"latency": "1 ns"}, "core": {"frequency": "1 GHz"}}
table = {"entries": 4, "ways": 1, "latency": "1 ns"}
paged = {**small, "tlbs": {"tlb": {**table, "serves": "all"}}, "walker": {"caches": dict.fromkeys("abc", table)}}
for scenario, system in (("memory-hierarchy", small), ("translation", paged)):
    print(make_plan(study | {"scenario": scenario, "system": system}).runs[0].scenario.loop())
"""


def test_a_kind_is_the_same_in_every_process() -> None:
    """Sets of texts have another order in each."""
    made = {
        subprocess.run(
            [sys.executable, "-c", KINDS],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(made) == 1


def test_a_damaged_file_of_rates_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path))
    for text in ("", "[]", "{", '{"a": "b"}', '{"a": null}'):
        (tmp_path / "rates.json").write_text(text)
        assert Rates()._known == {}


def test_memory_of_the_parent_does_not_grow_with_runs(tmp_path: Path) -> None:
    records = {**STUDY, "trace": {**STUDY["trace"], "records": 500}}
    records["sweep"] = {"system.caches.l1.capacity": [f"{4 * (place + 1)} KiB" for place in range(300)]}
    held: list[int] = []

    def settled(self: Any, job: Any, finished: Any) -> None:
        whole(self, job, finished)
        held.append(psutil.Process().memory_info().rss)

    from tiersim.experiments import runner

    whole = runner._Run._settle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner._Run, "_settle", settled)
        result = tiersim.run(records, out=tmp_path / "there")
    assert len(held) == 300
    assert held[-1] - held[99] < 8 << 20  # the tables of 200 runs would be 15 MB as Python keeps them
    assert all(row.tables == {} for row in result.rows)


def test_two_variants_that_ask_the_same_are_one_run(tmp_path: Path) -> None:
    study = {**STUDY, "what_if": {"same": {"system.caches.l1.capacity": "4096 B"}}}
    study.pop("sweep")
    result = tiersim.run(study, out=tmp_path / "there")
    assert len({row.key for row in result.rows}) == 1
    assert len(list((tmp_path / "there/runs").iterdir())) == 1
    assert [row.label for row in result.rows] == ["base", "same"]
    assert result.rows[0].metrics == result.rows[1].metrics
