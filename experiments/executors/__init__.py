"""Where simulations run: in this process, in several of this machine, or on a cluster.

The runner hands an executor its jobs and takes them back, each with what came out, as they finish. Only the runner
writes: an executor that is lost costs what is in flight.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from tiersim._base.errors import AuditError, PolicyError, TiersimError
from tiersim._base.paths import cache_folder
from tiersim.experiments.code import counts
from tiersim.experiments.progress import Bar
from tiersim.experiments.scenario import Measured, Scenario

__all__ = ["Executor", "Finished", "Job", "attempt", "once_each", "warm"]

LESS = "use fewer workers, or less of the trace with `limit`"


@dataclass
class Job:
    """Runs that share one simulation: a scenario and a key each, all of one structure.

    `code` and `trace` are the hashes of what decides the outcome, for workers that have their own of both.
    """

    seed: int
    code: str
    trace: str
    scenarios: list[Scenario] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def scenario(self) -> Scenario:
        """The one that simulates for all."""
        return self.scenarios[0]


@dataclass
class Finished:
    """What came of a job: a Measured for each of its scenarios, or why it failed; and how long it took."""

    measured: list[Measured] = field(default_factory=list)
    error: TiersimError | None = None
    seconds: float = 0.0


class Executor(Protocol):
    """Runs jobs, about `workers` at a time; `here` says whether they have this machine's memory and
    find what it prepared."""

    workers: int
    here: bool

    def run(self, jobs: Sequence[Job], bar: Bar) -> Generator[tuple[Job, Finished]]:
        """Each job with what came of it, as they finish, every job once.

        Raises TiersimError where going on is no use: a trace is damaged, the cluster is gone. Closing the iterator
        gives up what is in flight.
        """


def once_each(jobs: Sequence[Job]) -> list[Job]:
    """One job for each loop that must be compiled."""
    return list({job.scenario.loop(): job for job in jobs}.values())


def warm(job: Job, note: Callable[[str], None]) -> None:
    """Compile what a job calls. Raises TiersimError when a policy cannot be compiled."""
    try:
        job.scenario.warm(note)
    except TiersimError:
        raise
    except Exception:  # `attempt` meets it again, and tells
        note("")


def attempt(job: Job, progress: Callable[[int], None]) -> Finished:
    """Simulate and measure. Raises TraceError and StudyError, which concern the whole study."""
    begun = time.perf_counter()
    try:
        simulated = job.scenario.simulate(job.seed, progress)
        return Finished([one.measure(simulated) for one in job.scenarios], seconds=time.perf_counter() - begun)
    except (AuditError, PolicyError) as error:
        return Finished(error=error)
    except TiersimError:
        raise
    except MemoryError:
        return Finished(error=TiersimError("there was not enough memory", None, LESS))
    except Exception as error:
        return Finished(error=_unforeseen(error))


def _unforeseen(error: Exception) -> TiersimError:
    """An error that nobody planned for: the line that it came from, and whose that is."""
    frames = [(frame.f_globals.get("__name__", ""), frame.f_code.co_filename, line) for frame, line in _frames(error)]
    made = str(cache_folder())  # loops are written there out of tiersim's parts
    known = [held for held in frames if counts(held[0]) and not held[1].startswith(made)]
    module, file, line = (known or frames)[-1]
    what = f"{type(error).__name__}: {error} ({file}:{line})"
    if module.startswith("tiersim."):
        return TiersimError(f"a fault in tiersim: {what}", None, "please report it, with the study")
    return TiersimError(what, None, f"mend it in {Path(file).name}")


def _frames(error: Exception) -> Iterator[tuple[FrameType, int]]:
    return traceback.walk_tb(error.__traceback__)
