"""Runs a study: checks it whole, simulates what is not there yet, and keeps what came out, run by run."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError, TiersimError
from tiersim._base.params import dump
from tiersim.experiments.code import code_hash
from tiersim.experiments.executors import Executor, Finished, Job
from tiersim.experiments.executors.here import Here
from tiersim.experiments.executors.processes import Processes
from tiersim.experiments.opened import stored
from tiersim.experiments.plan import Plan, Planned, make_plan
from tiersim.experiments.progress import Bar, Counted, aloud
from tiersim.experiments.rates import Rates
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenario import Measured, Scenario
from tiersim.experiments.store import Outcome, Parts, as_lists, encode, write_bytes

__all__ = ["Estimate", "estimate", "key_of", "run", "run_plan", "unfinished"]


@dataclass
class Estimate:
    """What a study would cost, for `--dry-run`: `seconds` on so many `workers`."""

    study: str
    runs: int
    samples: int
    """Runs of the sensitivity among them; where it looks for crossovers it may ask for more once these are there."""
    simulations: int
    stored: int
    steps: int
    of: str
    seconds: float
    workers: int
    measured: int
    """Simulations of a kind whose rate was measured on this machine; for the others it is a guess."""
    bytes: int
    skipped: list[dict[str, str]]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class _Work:
    """The runs of a study, which of them are to be made, and by which jobs."""

    def __init__(self, plan: Plan, parts: Parts | None, fresh: bool) -> None:
        self.plan, self.parts, self.fresh = plan, parts, fresh
        self.rows: list[Row] = []
        self.samples: list[Row] = []  # of the sensitivity, which are no rows of the study
        self.waiting: dict[str, list[Row]] = {}  # by key of the run
        self.seeds: dict[str, int | None] = {}  # by key of the run; None where none reaches it
        self.before: dict[str, Path] = {}  # by key of the run: the part that is made again
        self._jobs: dict[str, Job] = {}  # that are not handed out yet, by what they share
        self._add(plan.runs, self.rows)
        self.jobs = self.more()
        """The first ones to make."""

    @property
    def everything(self) -> list[Row]:
        """All runs."""
        return [*self.rows, *self.samples]

    def more(self) -> list[Job]:
        """The jobs that the sensitivity asks for now that these runs are there, until it asks for none."""
        while asked := self.plan.more(self.samples):
            self._add(asked, self.samples)
            if any(row.status == "waiting" for row in self.samples):
                break  # what they tell decides what is asked for next
        jobs, self._jobs = list(self._jobs.values()), {}
        return jobs

    def _add(self, planned: Sequence[Planned], rows: list[Row]) -> None:
        for item in planned:
            scenario = item.scenario
            code, trace, config = code_hash(scenario.modules()), scenario.trace_fingerprint(), dump(scenario)
            seed = item.seed if scenario.is_random() else None
            key = _key(config, trace, code, seed)
            row = Row(item.label, item.factors, item.seed, key, status="waiting", config=config)
            rows.append(row)
            if item.refused:
                row.key, row.status, row.error = "", "failed", item.refused
                continue
            if key in self.seeds:  # another variant asks the same
                self.waiting[key].append(row)
                if (first := self.waiting[key][0]).status != "waiting":
                    row.take(first.outcome)
                continue
            self.seeds[key], self.waiting[key] = seed, [row]
            found = self.parts.find(key) if self.parts is not None else None
            if found is not None and found.path is not None:
                if not self.fresh:
                    row.take(found)
                    continue
                self.before[key] = found.path
            shared = _hash({"structure": scenario.structure(), "trace": trace, "code": code, "seed": seed})
            job = self._jobs.setdefault(shared, Job(item.seed, code, trace))
            job.scenarios.append(scenario)
            job.keys.append(key)


def run(
    source: str | Path | dict[str, Any],
    sets: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    workers: int = 1,
    fresh: bool = False,
    quiet: bool = True,
    plain: bool = False,
    dask: str | None = None,
    keep: bool = True,
) -> StudyResult:
    """Run a study and give its rows; see `tiersim run`.

    `source` is a study file or the same as a dict; `sets` are ``a.b=c`` edits; `out` is the folder (by default
    ``results/STUDY``); finished runs in it are not run again unless `fresh`. It runs on `workers` processes of this
    machine, or on the cluster whose scheduler is at `dask`, such as ``tcp://10.0.0.1:8786``. `keep=False` writes
    nothing. Progress goes to standard error unless `quiet`, in lines where that is no terminal or `plain`. Raises
    StudyError, TraceError and PolicyError before anything is written; whatever ends a study later leaves the runs that
    are finished, and the message says how many.
    """
    with aloud(not quiet, plain):
        plan = make_plan(source, sets)
        folder = (Path(out) if out is not None else Path("results") / plan.study.name) if keep else None
        return run_plan(plan, folder, workers=workers, fresh=fresh, quiet=quiet, dask=dask)


def run_plan(
    plan: Plan,
    folder: Path | None,
    *,
    workers: int = 1,
    fresh: bool = False,
    quiet: bool = True,
    dask: str | None = None,
) -> StudyResult:
    """Run what was planned, as `run` does; without a folder nothing is written."""
    parts = Parts(folder) if folder is not None else None
    work = _Work(plan, parts, fresh)
    return _Run(plan, work, parts, partial(_executor, workers, dask)).run(quiet)


def _executor(workers: int, dask: str | None, jobs: int) -> Executor:
    if dask is not None:
        from tiersim.experiments.executors.cluster import Cluster

        return Cluster(dask)
    return Here() if min(workers, jobs) <= 1 else Processes(min(workers, jobs))


def estimate(
    source: str | Path | dict[str, Any], sets: Sequence[str] = (), out: str | Path | None = None, workers: int = 1
) -> Estimate:
    """Check a study whole and say what it would cost on so many processes, without running it."""
    plan = make_plan(source, sets)
    parts = Parts(Path(out) if out is not None else Path("results") / plan.study.name)
    work = _Work(plan, parts, fresh=False)
    jobs, rates, rows = work.jobs, Rates(), work.everything
    spans = [job.scenario.size() / rates.of(job.scenario) for job in jobs]
    workers = max(1, min(workers, len(jobs)))
    return Estimate(
        plan.study.name,
        len(rows),
        len(work.samples),
        len(jobs),
        sum(row.status == "done" for row in rows),
        sum(job.scenario.size() for job in jobs),
        plan.runs[0].scenario.steps,
        max(sum(spans) / workers, max(spans, default=0.0)),
        workers,
        sum(rates.knows(job.scenario) for job in jobs),
        max((job.scenario.memory() for job in jobs), default=0),
        plan.skipped,
        [*plan.notes, *_damages(parts)],
    )


def key_of(scenario: Scenario, seed: int) -> str:
    """The key of the run of a scenario with this seed, as this code would make it."""
    code, trace, config = code_hash(scenario.modules()), scenario.trace_fingerprint(), dump(scenario)
    return _key(config, trace, code, seed if scenario.is_random() else None)


def _key(config: dict[str, Any], trace: str, code: str, seed: int | None) -> str:
    return _hash({"config": config, "trace": trace, "code": code, "seed": seed})


def _hash(question: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:20]


def _damages(parts: Parts | None) -> list[str]:
    if parts is None:
        return []
    return [f"{parts.folder / name} is damaged and made again: {why}" for name, why in parts.damaged.items()]


class _Run:
    """One study on its way into its folder, or nowhere."""

    def __init__(self, plan: Plan, work: _Work, parts: Parts | None, executor: Callable[[int], Executor]) -> None:
        self.plan, self.work, self.parts, self.executor = plan, work, parts, executor
        self.workers = 0
        self.begun = time.time()
        self.rates = Rates()
        self.made = 0  # simulations
        self.notes: list[str] = []

    def run(self, quiet: bool) -> StudyResult:
        """Make what is not there. What ends it early is raised with a word on what is there."""
        for damage in _damages(self.parts):
            self._say(damage)
        if self.parts is None:
            self._rounds(quiet)
            return self._result()
        _check_writable(self.parts.study)
        with self.parts.alone():
            log = self.parts.study / "log.json"
            before = log.read_bytes() if log.exists() else None
            try:
                self._log(complete=False)
                self._rounds(quiet)
                result = self._result()
                self._tables(result)
                self._log(complete=True)
            except BaseException as error:
                raise self._broken_off(error, log, before) from None
        return result

    def _rounds(self, quiet: bool) -> None:
        """Simulate, and again what the sensitivity asks for when it has seen what came out."""
        self._simulate(self.work.jobs, quiet)
        while jobs := self.work.more():
            self._simulate(jobs, quiet)

    def _simulate(self, jobs: list[Job], quiet: bool) -> None:
        executor = self.executor(len(jobs))
        self.workers = max(self.workers, executor.workers)
        if not jobs:
            return
        if executor.here:
            _check_memory(jobs)
            if executor.workers > 1 or not _streams(jobs):
                _prepare(jobs, quiet)
        rows, steps = self.work.everything, sum(job.scenario.size() for job in jobs)
        counted = Counted(len(rows), sum(row.status != "waiting" for row in rows))
        try:
            with (
                Bar(self.plan.study.name, steps, jobs[0].scenario.steps, quiet=quiet, runs=counted) as bar,
                closing(executor.run(jobs, bar)) as finished,
            ):
                for job, one in finished:
                    self._settle(job, one)
                    bar.count(sum(len(self.work.waiting[key]) for key in job.keys), failed=one.error is not None)
        finally:
            self.rates.save()

    def _settle(self, job: Job, finished: Finished) -> None:
        """Put what came out into the rows, and onto the disk at once: a crash later costs only what is in flight."""
        if finished.error is not None:
            outcomes = [Outcome("failed", str(finished.error)) for _ in job.keys]
        else:
            outcomes = [_outcome(measured) for measured in finished.measured]
            self.rates.add(job.scenario, finished.seconds)
        for key, outcome in zip(job.keys, outcomes, strict=True):
            rows = self.work.waiting[key]
            held = self._keep(rows[0], outcome) if self.parts is not None else outcome
            for row in rows:
                row.take(held)
        self.made += 1

    def _keep(self, row: Row, outcome: Outcome) -> Outcome:
        assert self.parts is not None, "there is a folder"
        content = encode(row.key, self.work.seeds[row.key], row.config, outcome)
        path = self.parts.put(row.key, content)
        before = self.work.before.get(row.key)
        if before is not None and outcome.status == "done" and before != path:
            self._say(f"{row.label} came out otherwise than before: the same question has another answer ({path})")
        return replace(outcome, tables={}, path=path)

    def _say(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)
        self.notes.append(text)

    def _result(self) -> StudyResult:
        result = self.plan.result(self.work.rows, self.work.samples)
        result.notes += self.notes
        result.folder = self.parts.study if self.parts is not None else None
        return result

    def _tables(self, result: StudyResult) -> None:
        assert self.parts is not None, "there is a folder"
        write_bytes(self.parts.study / "resolved.yaml", self.plan.resolved().encode())
        told = result.notes[: len(result.notes) - len(self.notes)]  # warnings are of this one run
        write_bytes(self.parts.study / "study.json", stored(replace(result, notes=told)))
        write_bytes(self.parts.study / "runs.csv", result.csv().encode())
        if result.sensitivity is not None:
            write_bytes(self.parts.study / "samples.csv", result.sensitivity.csv().encode())

    def _log(self, *, complete: bool) -> None:
        assert self.parts is not None, "there is a folder"
        statuses = [row.status for row in self.work.everything]
        log = {
            "complete": complete,
            "runs": len(statuses),
            **{status: statuses.count(status) for status in ("done", "failed", "waiting")},
            "simulations": self.made,
            "seconds": round(time.time() - self.begun, 3),
            "warnings": self.notes,
            "damaged": self.parts.damaged,
            "workers": self.workers,
            "host": platform.node(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        }
        write_bytes(self.parts.study / "log.json", (json.dumps(log, indent=2) + "\n").encode())

    def _broken_off(self, error: BaseException, log: Path, before: bytes | None) -> BaseException:
        """What to raise when a study ends early; its folder tells what is there, or is as it was if nothing is."""
        rows = self.work.everything
        there = sum(bool(row.key) and row.status != "waiting" for row in rows)
        with suppress(StudyError):  # the disk may be full
            if there:
                self._tables(self._result())
                self._log(complete=False)
            elif before is not None:
                write_bytes(log, before)
            else:
                log.unlink(missing_ok=True)
        if not there:
            return error
        told = f"{there} of {len(rows)} runs are there; run again to go on"
        if isinstance(error, KeyboardInterrupt):
            return KeyboardInterrupt(f"interrupted; {told}")
        if isinstance(error, TiersimError):
            return type(error)(error.message, error.place, f"{error.remedy}\n  {told}".lstrip())
        return error


def _outcome(measured: Measured) -> Outcome:
    tables = {name: as_lists(table) for name, table in measured.tables().items()}
    return Outcome("done", "", measured.metrics, measured.notes, tables)


def _check_writable(folder: Path) -> None:
    """Raise StudyError where results could not be written; the folder is made with the first of them."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "may not be written to" if there.is_dir() else "is a file"
        raise StudyError(f"the results cannot go into {folder}: {there} {why}", None, "name another folder with --out")


def _check_memory(jobs: list[Job]) -> None:
    needed = max(job.scenario.memory() for job in jobs)
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > here:
        raise StudyError(
            f"one simulation needs about {needed / 1e9:,.1f} GB of memory, and this machine has {here / 1e9:,.1f} GB",
            None,
            "make the caches smaller, or use less of the trace with `limit`",
        )


def _streams(jobs: list[Job]) -> bool:
    """Whether the first simulation can prepare what the others use; of several traces a damaged one is told at once."""
    return len({job.scenario.preparation() for job in jobs}) == 1 and jobs[0].scenario.streams()


def _prepare(jobs: list[Job], quiet: bool) -> None:
    traces = {job.scenario.preparation(): job for job in jobs}
    records = sum(job.scenario.size() for job in traces.values())
    with Bar("reading the trace", records, "records", quiet=quiet) as bar:
        for job in traces.values():
            job.scenario.prepare(bar.add)


def unfinished(result: StudyResult) -> StudyError | None:
    """The error to end with when runs of a study failed, or samples whose failures it refuses."""
    failed = [row for row in result.rows if row.status == "failed"]
    if failed:
        many = f"{len(failed)} of {len(result.rows)} runs failed; the first: " if len(result.rows) > 1 else ""
        return StudyError(f"{many}{failed[0].label}: {failed[0].error}")
    sensitivity = result.sensitivity
    if sensitivity is not None and sensitivity.failures and sensitivity.spec.failed == "refuse":
        label, why = sensitivity.failures[0]
        told = f"{len(sensitivity.failures)} of the sensitivity's samples failed; the first: {label}: {why}"
        remedy = "mend it, or say how they are handled: `failed: drop` or `failed: median`"
        return StudyError(told, sensitivity.spec.place("failed"), remedy)
    return None
