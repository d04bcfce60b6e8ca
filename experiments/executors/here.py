"""In this process, one job after another."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from tiersim.experiments.executors import Finished, Job, attempt, once_each, warm
from tiersim.experiments.progress import Bar

__all__ = ["Here"]


class Here:
    """Needs no start, and can be stopped in a debugger."""

    workers = 1
    here = True

    def run(self, jobs: Sequence[Job], bar: Bar) -> Generator[tuple[Job, Finished]]:
        for job in once_each(jobs):
            warm(job, bar.note)
        for job in jobs:
            yield job, attempt(job, bar.add)
