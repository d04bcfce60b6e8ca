"""In several processes of this machine.

Each worker has a pipe of its own and one job at a time, so that a worker that dies is known with the job that it had.
It keeps compiled loops and mapped traces from one job to the next.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from tiersim._base.errors import TiersimError
from tiersim.experiments.executors import LESS, Finished, Job, attempt, once_each, warm
from tiersim.experiments.progress import Bar

__all__ = ["Processes"]

TRIES = 2  # of a job whose worker dies: once may be somebody else's fault
LOOK = 0.2  # seconds between looks at how far the workers are


class Processes:
    """So many processes, each started afresh, with nothing of this one's memory."""

    here = True

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, jobs: Sequence[Job], bar: Bar) -> Generator[tuple[Job, Finished]]:
        team = [_Worker() for _ in range(min(self.workers, len(jobs)))]
        try:
            bar.note("compiling")
            for _ in _share(once_each(jobs), team, _warm, bar):
                pass
            bar.note("")
            yield from _share(jobs, team, _attempt, bar)
        finally:
            for worker in team:
                worker.end()


Work = Callable[[Job, Any], Finished]


def _share(jobs: Sequence[Job], team: list[_Worker], work: Work, bar: Bar) -> Iterator[tuple[Job, Finished]]:
    """Each job with what came of it; whoever is free has the next one."""
    waiting = deque(jobs)
    died: Counter[str] = Counter()
    while waiting or any(worker.job for worker in team):
        for worker in team:
            if waiting and worker.job is None:
                worker.give(waiting.popleft(), work)
        busy = [worker for worker in team if worker.job is not None]
        ready = wait([worker.pipe for worker in busy], LOOK)
        bar.update(sum(worker.steps() for worker in team))
        for worker in busy:
            if worker.pipe not in ready:
                continue
            job, answer = worker.take()
            if waiting and answer is not None:  # first of all the worker goes on
                worker.give(waiting.popleft(), work)
            if isinstance(answer, TiersimError):
                raise answer
            if answer is not None:
                yield job, answer
                continue
            died[job.keys[0]] += 1
            if died[job.keys[0]] < TRIES:
                waiting.appendleft(job)
            else:
                yield job, Finished(error=_killed(worker.fate))
            worker.start()


def _killed(fate: str) -> TiersimError:
    return TiersimError(f"its worker process died {TRIES} times ({fate}), perhaps for want of memory", None, LESS)


class _Worker:
    """A process, the pipe to it, and the job that it has."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.counter = self.context.RawValue("q", 0)  # of one writer: a lock would be lost with a worker that dies
        self.before = 0  # steps of workers that this one replaced
        self.job: Job | None = None
        self.fate = ""
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        self.before, self.counter.value = self.steps(), 0
        self.pipe, theirs = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(theirs, self.counter), daemon=True)
        resource_tracker.ensure_running()  # else started below, where it would lift the mask
        # Ctrl-C reaches all processes of a terminal: it is the parent's to end its workers, which inherit the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        except OSError as error:
            raise TiersimError(f"a worker process cannot be started: {error.strerror}", None, LESS) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def steps(self) -> int:
        """How many were simulated."""
        return self.before + int(self.counter.value)

    def give(self, job: Job, work: Work) -> None:
        self.job = job
        with suppress(OSError):  # it is dead: `take` will tell
            self.pipe.send((work, job))

    def take(self) -> tuple[Job, Finished | TiersimError | None]:
        """The job, and the answer, or None where the process died."""
        job, self.job = self.job, None
        assert job is not None, "asked for an answer without a question"
        try:
            answer: Finished | TiersimError = self.pipe.recv()
        except (EOFError, OSError):
            self.pipe.close()
            self.process.join()
            code = self.process.exitcode or 0
            self.fate = f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit status {code}"
            return job, None
        return job, answer

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, counter: Any) -> None:
    """What a worker does until its parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            work, job = pipe.recv()
            answer = work(job, counter)
        except (EOFError, ConnectionError):
            return
        except TiersimError as error:
            answer = error
        except Exception as error:
            answer = TiersimError(f"a worker process could not take its job: {type(error).__name__}: {error}")
        with suppress(ConnectionError):
            pipe.send(answer)


def _end_with_parent() -> None:
    """A parent that was killed could not say good-bye, and nobody needs what is still in flight."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    wait([parent.sentinel])
    os._exit(1)


def _warm(job: Job, counter: Any) -> Finished:
    warm(job, lambda text: None)
    return Finished()


def _attempt(job: Job, counter: Any) -> Finished:
    def progress(steps: int) -> None:
        counter.value += steps

    return attempt(job, progress)
