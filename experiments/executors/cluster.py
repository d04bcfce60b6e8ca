"""On the workers of a dask.distributed cluster.

A worker that dies is the scheduler's to notice: it gives the job to another. After a few deaths it gives up the job,
and with it any that only waited at the same workers: each of these is tried once more, alone, which tells who kills. A
scheduler that dies takes with it what it knew: the jobs are handed in again once it is back at its address. Workers
import their own tiersim and open their own traces, so a job says what both must be.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import pickle
import platform
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from tiersim._base.errors import DependencyError, StudyError, TiersimError
from tiersim.experiments.code import code_hash
from tiersim.experiments.executors import LESS, Finished, Job, attempt, warm
from tiersim.experiments.progress import Bar

__all__ = ["Cluster"]

ANSWER = 10.0  # seconds in which a scheduler must answer
ABSENT = 60.0  # seconds that a scheduler may be gone, or all workers
LOOK = 1.0  # seconds between looks at whether there are workers
LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application")

Answer = Finished | TiersimError
Client = Any  # of distributed, which is imported where it is used


class _GoneError(Exception):
    """The scheduler is no more."""


class _DiedError(TiersimError):
    """The workers that a job was given to died, each of them."""


class Cluster:
    """The cluster whose scheduler is at an address such as ``tcp://10.0.0.1:8786``."""

    here = False

    def __init__(self, address: str) -> None:
        """Raises DependencyError without dask.distributed, and StudyError for what is no address."""
        self.address, self.workers = address, 0
        try:
            from distributed.comm.addressing import get_address_host_port
        except ImportError:
            raise DependencyError("a cluster needs dask.distributed", None, "pip install 'tiersim[cluster]'") from None
        for name in LOGGERS:  # what they tell in their own words, and with tracebacks, is told here in one line
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [logging.NullHandler()], False
        try:
            self.host, self.port = get_address_host_port(address)
        except (ValueError, TypeError) as error:
            raise StudyError(
                f"{address!r} is no address of a scheduler: {error}", None, "it is such as tcp://10.0.0.1:8786"
            ) from None

    def run(self, jobs: Sequence[Job], bar: Bar) -> Generator[tuple[Job, Finished]]:
        todo = {_key(job): job for job in jobs}
        first = {(job.scenario.preparation(), job.scenario.loop()): job for job in jobs}
        ready = {f"{_key(job)}-ready": job for job in first.values()}
        suspects: dict[str, Job] = {}
        client = self._connect(ANSWER)
        try:
            while todo or suspects:
                try:
                    bar.note("compiling")
                    for _ in self._hand_in(client, ready, _prepare):
                        pass
                    bar.note("")
                    for key, finished in self._hand_in(client, todo, _simulate):
                        job = todo.pop(key)
                        if isinstance(finished.error, _DiedError):
                            suspects[f"{key}-alone"] = job
                            continue
                        yield job, finished
                        bar.add(job.scenario.size())
                    for key, job in list(suspects.items()):
                        for _, finished in self._hand_in(client, {key: job}, _simulate):
                            del suspects[key]
                            yield job, finished
                            bar.add(job.scenario.size())
                except _GoneError:
                    _close(client)
                    bar.note(f"the scheduler at {self.address} is gone, waiting {ABSENT:.0f} s for it")
                    client = self._connect(ABSENT)
        finally:
            _close(client)

    def _connect(self, patience: float) -> Client:
        """A client with workers behind it. Raises StudyError when that lasts too long."""
        again = "look whether it runs and can be reached from here; run again: what is finished is kept"
        end = time.monotonic() + patience
        reason = self._listens(end)
        if reason:
            raise StudyError(f"no scheduler answers at {self.address} within {patience:.0f} s: {reason}", None, again)
        client = _client(self.address)
        if client is None:
            raise StudyError(f"what listens at {self.address} is no dask scheduler", None, again)
        try:
            client.wait_for_workers(1, timeout=ABSENT)
            self.workers = len(client.nthreads())
        except Exception as error:
            _close(client)
            if isinstance(error, TimeoutError):
                raise self._without_workers() from None
            return self._connect(max(end - time.monotonic(), 0))
        return client

    def _listens(self, end: float) -> str:
        """Why nobody listens, or an empty text when somebody does."""
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=ANSWER).close()
                return ""
            except (OSError, OverflowError) as error:
                if time.monotonic() > end or isinstance(error, OverflowError):
                    return getattr(error, "strerror", None) or str(error)
            time.sleep(0.2)

    def _without_workers(self) -> StudyError:
        return StudyError(
            f"the scheduler at {self.address} has had no workers for {ABSENT:.0f} s",
            None,
            f"start some with `dask worker {self.address}`, then run again: what is finished is kept",
        )

    def _hand_in(
        self, client: Client, jobs: dict[str, Job], work: Callable[[bytes], Answer]
    ) -> Generator[tuple[str, Finished]]:
        """Each job's key with what came of it. Raises _GoneError when the scheduler is gone."""
        done: SimpleQueue[Any] = SimpleQueue()
        futures = {}
        try:
            for key, job in jobs.items():
                futures[key] = client.submit(work, pickle.dumps(job), key=key)
                futures[key].add_done_callback(done.put)
        except Exception:
            raise _GoneError from None
        seen = time.monotonic()
        try:
            while futures:
                try:
                    future = done.get(timeout=LOOK)
                except Empty:
                    if _workers(client):
                        seen = time.monotonic()
                    elif time.monotonic() - seen > ABSENT:
                        raise self._without_workers() from None
                    continue
                yield future.key, self._answer(future)
                del futures[future.key]
        finally:
            with suppress(Exception):
                client.cancel(list(futures.values()))

    def _answer(self, future: Any) -> Finished:
        try:
            answer = future.result(timeout=ABSENT)
        except (Exception, asyncio.CancelledError) as error:
            if future.status == "error":
                return self._fault(error)
            raise _GoneError from None
        if isinstance(answer, TiersimError):
            raise answer
        made: Finished = answer
        return made

    def _fault(self, error: BaseException) -> Finished:
        """A job that dask gave up, or a worker that could not even begin."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            message = f"its worker died each time it was tried ({error.last_worker.address} last)"
            return Finished(error=_DiedError(f"{message}, perhaps for want of memory", None, LESS))
        raise TiersimError(
            f"a worker of {self.address} cannot run a job: {type(error).__name__}: {error}",
            None,
            "install the same version of tiersim on every worker, and start them again",
        )


def _client(address: str) -> Client | None:
    """A client of a scheduler, or None where something else listens: that it lets wait for ever, so another thread."""
    from distributed import Client as Known

    # one that never connected complains of being let go, and each of ours is closed anyway
    quiet = type("Client", (Known,), {"__del__": lambda self: None})
    made: SimpleQueue[Client | None] = SimpleQueue()

    def connect() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions of dask over there
            try:
                made.put(quiet(address, timeout=ANSWER, set_as_default=False))
            except Exception:
                made.put(None)

    threading.Thread(target=connect, daemon=True).start()
    with suppress(Empty):
        return made.get(timeout=ANSWER)
    return None


def _close(client: Client) -> None:
    with suppress(Exception):  # of a scheduler that is gone
        client.close(timeout=2)


def _workers(client: Client) -> int:
    try:
        return len(client.nthreads())
    except Exception:  # then the futures will tell that the scheduler is gone
        return 0


def _key(job: Job) -> str:
    """A name of the job's content: who asks for the same shares the answer."""
    return f"tiersim-{hashlib.sha256(' '.join(job.keys).encode()).hexdigest()[:20]}"


_turn = threading.Lock()  # one simulation at a time, whatever --nthreads says: each needs a core and its memory


def _prepare(packed: bytes) -> Answer:
    """Make and compile what simulations use, on the worker."""

    def prepare(job: Job) -> Finished:
        job.scenario.prepare(lambda steps: None)
        warm(job, lambda text: None)
        return Finished()

    return _on_worker(packed, prepare)


def _simulate(packed: bytes) -> Answer:
    """Run a job, on the worker."""
    return _on_worker(packed, lambda job: attempt(job, lambda steps: None))


def _on_worker(packed: bytes, work: Callable[[Job], Finished]) -> Answer:
    with _turn:
        try:
            job: Job = pickle.loads(packed)
            return _wrong(job) or work(job)
        except TiersimError as error:
            return type(error)(f"worker on {platform.node()}: {error.message}", error.place, error.remedy)


def _wrong(job: Job) -> StudyError | None:
    """Why this worker would answer otherwise than the machine that asks, if it would."""
    where = f"a worker on {platform.node()}"
    code, trace = code_hash(job.scenario.modules()), job.scenario.trace_fingerprint()
    if code != job.code:
        return StudyError(
            f"{where} has other code than this machine: another version of tiersim, or of a policy's file",
            None,
            "install the same on every worker, and start them again",
        )
    if trace != job.trace:
        return StudyError(
            f"{where} has another trace of this name: {trace[:12]}..., and here it is {job.trace[:12]}...",
            None,
            "give every machine the same file, in a folder that they share or by its name in the catalogue",
        )
    return None
