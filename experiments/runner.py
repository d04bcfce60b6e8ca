"""Runs a study: checks it whole, simulates what is not there yet, on one process or several, and keeps the rows."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiersim._base.errors import AuditError, PolicyError, StudyError, TiersimError
from tiersim._base.params import dump
from tiersim._base.paths import cache_folder
from tiersim.experiments.code import code_hash
from tiersim.experiments.plan import Plan, make_plan
from tiersim.experiments.progress import Bar, aloud
from tiersim.experiments.results import Row, StudyResult, as_lists, read_row, write_bytes, write_row
from tiersim.experiments.scenario import Measured, Scenario

__all__ = ["Estimate", "estimate", "run"]

GUESS = 2e7  # steps a second, until this machine has been measured


@dataclass
class Job:
    """Runs that share one simulation."""

    scenario: Scenario
    seed: int
    members: list[tuple[Row, Scenario]] = field(default_factory=list)


@dataclass
class Estimate:
    """What a study would cost, for `--dry-run`."""

    study: str
    runs: int
    simulations: int
    stored: int
    steps: int
    of: str
    seconds: float
    measured: bool
    bytes: int
    skipped: list[dict[str, str]]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def run(
    source: str | Path | dict[str, Any],
    sets: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    workers: int = 1,
    fresh: bool = False,
    quiet: bool = True,
    keep: bool = True,
) -> StudyResult:
    """Run a study and give its rows; see `tiersim run`.

    `source` is a study file or the same as a dict; `sets` are ``a.b=c`` edits; `out` is the folder (by default
    ``results/STUDY``); finished runs in it are not run again unless `fresh`. `keep=False` writes nothing. Raises
    StudyError, TraceError and PolicyError before anything is written.
    """
    with aloud(not quiet):
        plan = make_plan(source, sets)
    folder = (Path(out) if out is not None else Path("results") / plan.study.name) if keep else None
    rows, jobs, steps = _jobs(plan, folder, fresh)
    begun = time.time()
    if folder is not None:
        _check_writable(folder)
    if jobs:
        _check_memory(jobs)
        workers = max(1, min(workers, len(jobs)))
        if workers > 1 or not _streams(jobs):
            _prepare(jobs, quiet)
        ready = time.time()
        with Bar(f"{plan.study.name}: {len(jobs)} simulations", steps, jobs[0].scenario.steps, quiet=quiet) as bar:
            if workers == 1:
                for job in _once_each(jobs):
                    job.scenario.warm(bar.note)
                for job in jobs:
                    _settle(job, _attempt(job, bar.add), folder)
            else:
                _in_parallel(jobs, workers, bar, folder)
        _remember_rate(steps / max(time.time() - ready, 1e-9) / workers)
    result = plan.result(rows)
    result.folder = folder
    if folder is not None:
        _write_folder(plan, result, folder, time.time() - begun, len(jobs))
    return result


def estimate(source: str | Path | dict[str, Any], sets: Sequence[str] = (), out: str | Path | None = None) -> Estimate:
    """Check a study whole and say what it would cost, without running it."""
    plan = make_plan(source, sets)
    folder = Path(out) if out is not None else Path("results") / plan.study.name
    rows, jobs, steps = _jobs(plan, folder, fresh=False)
    rate = _known_rate()
    needed = max((job.scenario.memory() for job in jobs), default=0)
    return Estimate(
        plan.study.name,
        len(rows),
        len(jobs),
        len(rows) - sum(len(job.members) for job in jobs),
        steps,
        plan.runs[0].scenario.steps,
        steps / (rate or GUESS),
        rate is not None,
        needed,
        plan.skipped,
        plan.notes,
    )


def _jobs(plan: Plan, folder: Path | None, fresh: bool) -> tuple[list[Row], list[Job], int]:
    rows: list[Row] = []
    jobs: dict[str, Job] = {}
    for item in plan.runs:
        scenario, seed = item.scenario, item.seed
        code = code_hash([__name__, *scenario.modules()])
        config = dump(scenario)
        asked = {
            "config": config,
            "trace": scenario.trace_fingerprint(),
            "code": code,
            "seed": seed if scenario.is_random() else None,
        }
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]
        row = read_row(folder, key) if folder is not None and not fresh else None
        if row is not None and row.status == "done":
            row.label, row.factors, row.seed = item.label, item.factors, seed
        else:
            row = Row(item.label, item.factors, seed, key, status="waiting", config=config)
            shared = {"structure": scenario.structure(), "trace": asked["trace"], "code": code, "seed": asked["seed"]}
            job = jobs.setdefault(json.dumps(shared, sort_keys=True), Job(scenario, seed))
            job.members.append((row, scenario))
        rows.append(row)
    return rows, list(jobs.values()), sum(job.scenario.size() for job in jobs.values())


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


def _once_each(jobs: list[Job]) -> list[Job]:
    """One job for each loop that must be compiled."""
    return list({job.scenario.loop(): job for job in jobs}.values())


def _attempt(job: Job, progress: Any) -> list[Measured] | TiersimError:
    try:
        simulated = job.scenario.simulate(job.seed, progress)
        return [scenario.measure(simulated) for _, scenario in job.members]
    except (AuditError, PolicyError) as error:
        return error
    except MemoryError:
        return TiersimError("there was not enough memory", None, "use fewer workers, or less of the trace with `limit`")


def _settle(job: Job, outcome: list[Measured] | TiersimError, folder: Path | None) -> None:
    """Put an outcome into the rows, and onto the disk at once: a crash later costs only what is in flight."""
    if isinstance(outcome, TiersimError):
        for row, _ in job.members:
            row.status, row.error = "failed", str(outcome)
    else:
        for (row, _), measured in zip(job.members, outcome, strict=True):
            row.status = "done"
            row.metrics, row.windows, row.notes = measured.metrics, as_lists(measured.windows), measured.notes
    if folder is not None:
        for row, _ in job.members:
            write_row(folder, row)


_counter: Any = None


def _start_worker(counter: Any) -> None:
    global _counter
    _counter = counter


def _warm(job: Job) -> None:
    job.scenario.warm(lambda text: None)


def _work(job: Job) -> list[Measured] | TiersimError:
    def progress(steps: int) -> None:
        with _counter.get_lock():
            _counter.value += steps

    return _attempt(job, progress)


def _in_parallel(jobs: list[Job], workers: int, bar: Bar, folder: Path | None) -> None:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(workers, context, _start_worker, (counter,)) as pool:
        try:
            bar.note("compiling")
            for warmed in [pool.submit(_warm, job) for job in _once_each(jobs)]:
                warmed.result()
            bar.note("")
            waiting: dict[Future[list[Measured] | TiersimError], Job] = {pool.submit(_work, job): job for job in jobs}
            while waiting:
                done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                bar.update(counter.value)
                for future in done:
                    _settle(waiting.pop(future), future.result(), folder)
        except BrokenProcessPool:
            raise TiersimError(
                "a worker process was killed, perhaps for want of memory",
                None,
                "run again: what is finished is kept; use fewer workers with --workers",
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_folder(plan: Plan, result: StudyResult, folder: Path, seconds: float, simulations: int) -> None:
    write_bytes(folder / "resolved.yaml", plan.resolved().encode())
    write_bytes(folder / "runs.csv", result.csv().encode())
    log = {
        "seconds": round(seconds, 3),
        "simulations": simulations,
        "host": platform.node(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    write_bytes(folder / "log.json", (json.dumps(log, indent=2) + "\n").encode())


def _rate_file() -> Path:
    return cache_folder() / "rate.json"


def _known_rate() -> float | None:
    try:
        return float(json.loads(_rate_file().read_text())["steps_per_second"])
    except (OSError, ValueError, KeyError):
        return None


def _remember_rate(rate: float) -> None:
    write_bytes(_rate_file(), json.dumps({"steps_per_second": rate}).encode())


def unfinished(result: StudyResult) -> StudyError | None:
    """The error to end with when runs of a study failed."""
    failed = [row for row in result.rows if row.status == "failed"]
    if not failed:
        return None
    many = f"{len(failed)} of {len(result.rows)} runs failed; the first: " if len(result.rows) > 1 else ""
    return StudyError(f"{many}{failed[0].label}: {failed[0].error}")
