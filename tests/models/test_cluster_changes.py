"""Clusters that change: nobody is lost or served twice, and all is as the plain model has it, whatever happens when."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import serving_cluster as plain
from tests.oracles.serving_instance import Job
from tests.sim.serving import System, engines, systems, tiered, told
from tests.sim.serving import cluster as plain_cluster
from tiersim.models.cluster import Change, Cluster, Scale
from tiersim.sim.serving import Server


class Router:
    """Sends wherever all that it sees comes to, and writes down all that it hears."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def __deepcopy__(self, memo: Any) -> Router:
        return self

    def start(self, instances: int, seed: int) -> None:
        self.log.append(("start", instances))

    def changed(self, instances: Any) -> None:
        self.log.append(("changed", *instances))

    def ended(self, requests: Any) -> None:
        self.log.append(("ended", *requests))

    def drawn(self, request: Any, view: Any) -> int:
        """A number that depends on everything."""
        columns = [view.instances, view.waiting, view.running, view.prompts, view.pending, view.pages]
        seen = (request.number, request.time, request.prompt, *map(tuple, [*columns, view.hits(request)]))
        self.log.append((view.time, *seen))
        return hash(seen)


class Deciding(Router):
    def route(self, request: Any, view: Any) -> int | None:
        drawn = self.drawn(request, view)
        return None if drawn % 31 == 0 else drawn % len(view.instances)


class Holding(Router):
    """Gives out at most two requests of an instance at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[Any] = []
        self.where: dict[int, int] = {}

    def arrive(self, request: Any, view: Any) -> None:
        self.where.pop(request.number, None)
        self.queue.insert(self.drawn(request, view) % (len(self.queue) + 1), request)

    def first(self, requests: Any) -> None:
        self.log.append(("first", *requests))

    def ended(self, requests: Any) -> None:
        super().ended(requests)
        for number in requests:
            self.where.pop(number, None)

    def dispatch(self, view: Any) -> list[tuple[int, int | None]]:
        self.log.append((view.time, "dispatch"))
        out: list[tuple[int, int | None]] = []
        for place, instance in enumerate(view.instances):
            while self.queue and list(self.where.values()).count(instance) < 2:
                request = self.queue.pop()
                self.drawn(request, view)
                refused = request.number % 31 == 7
                self.where[request.number] = instance
                out.append((request.number, None if refused else place))
        return out


class Schedule:
    """What happens to a cluster."""

    def __init__(self, system: System, seed: int) -> None:
        self.system = system
        rng = np.random.default_rng(seed)
        n, count = len(system.requests), system.count
        # about as long as the requests take
        work = sum(row[1] + row[2] for row in system.requests) * (1 + sum(system.rates[:8])) // 2
        span = max(1, int((system.requests[-1][0] + work) * rng.choice([0.1, 0.5, 1])))
        times = sorted(rng.integers(0, span, int(rng.integers(0, 9))).tolist())
        if rng.random() < 0.3:  # just when requests come
            times = sorted([*times, *(system.requests[int(k)][0] for k in rng.integers(0, n, 2))])
        what = rng.choice(["fail", "drain", "start"], len(times), p=[0.3, 0.25, 0.45]).tolist()
        self.changes = list(zip(times, what, rng.integers(0, count, len(times)).tolist(), strict=True))
        self.up = sorted(
            rng.choice(count, int(rng.integers(0 if self.changes else 1, count + 1)), replace=False).tolist()
        )
        if rng.random() < 0.5:
            self.up = list(range(count))
        self.failure: Any = rng.choice(["reroute", "reroute", "lose"])
        self.refresh = int(rng.choice([0, 0, 1, 7, 60, 1000]))
        self.scale: list[int] | None = None
        if rng.random() < 0.3:
            low = int(rng.integers(0, 20))
            least = int(rng.integers(1, count + 1))
            most = int(rng.integers(least, count + 1))
            self.scale = [
                max(span // 50, 1),
                low + int(rng.integers(0, 40)),
                low,
                least,
                most,
                int(rng.integers(0, 90)),
            ]
        self.think = int(rng.integers(0, 30)) if rng.random() < 0.4 else None
        self.sessions = rng.integers(-1, 4, n).tolist()
        self.holds = bool(rng.random() < 0.5)

    def router(self) -> Router:
        return Holding() if self.holds else Deciding()

    def simulated(self, **options: Any) -> tuple[Cluster, Router]:
        router = self.router()
        held = engines(self.system, **options)
        held.prompts.session[:] = self.sessions
        made = Cluster(
            held,
            router,
            0,
            lambda done: None,
            up=self.up,
            changes=[Change(*change) for change in self.changes],
            failure=self.failure,
            scale=Scale(*self.scale) if self.scale else None,
            refresh=self.refresh,
        )
        made.as_recorded() if self.think is None else made.in_turn(self.think)
        return made, router

    def modelled(self) -> tuple[plain.Changing, Router]:
        router, system = self.router(), self.system
        held = plain_cluster(system)
        kinds = [type(one.cache.policy) for one in held.instances]
        jobs = [Job(number, *row[:3], list(row[3])) for number, row in enumerate(system.requests)]
        coming = [(row[0], number) for number, row in enumerate(system.requests)]
        after: dict[int, int] = {}
        if self.think is not None:
            last: dict[int, int] = {}
            for number, session in enumerate(self.sessions):
                if session >= 0 and session in last:
                    after[last[session]] = number
                last[session] = number
            coming = [row for row in coming if row[1] not in after.values()]

        def following(number: int, now: int) -> list[tuple[int, int]]:
            return [(now + (self.think or 0), after[number])] if number in after else []

        made = plain.Changing(
            held,
            lambda k: None if kinds[k] is type(None) else kinds[k](),
            lambda tier, k: type(held.tiers[tier][0].policy)(),
            router,
            up=self.up,
            changes=self.changes,
            failure=self.failure,
            scale=plain.Scale(*self.scale) if self.scale else None,
            refresh=self.refresh,
            following=following,
        )
        made.serve(jobs, coming)
        return made, router


def same(schedule: Schedule, **options: Any) -> None:
    """The course of every request, all that the router saw and heard, and all sums."""
    made, heard = schedule.simulated(**options)
    model, expected = schedule.modelled()
    assert heard.log == expected.log
    served, log = made.engines.served, made.engines.iterations
    rows = zip(
        *(getattr(served, name).tolist() for name in ("instance", "admitted", "first", "end", "hit", "preemptions")),
        served.rejected.tolist(),
        served.refused.tolist(),
        made.lost.tolist(),
        made.rerouted.tolist(),
        strict=True,
    )
    again = Counter(model.rerouted)
    jobs = model.jobs
    assert [(*row, log.tokens(k)) for k, row in enumerate(rows)] == [
        (
            *(j.instance, j.admitted, j.first, j.end, j.hit_tokens, j.preemptions, j.rejected, j.refused),
            *(j.number in model.lost, again[j.number], j.tokens),
        )
        for j in jobs
    ]
    sums = made.engines.occupancy()
    assert [{name: sums[name][k] for name in sums} for k in range(made.engines.count)] == [
        {name: one.sums[name] for name in sums} for one in model.cluster.instances
    ]
    assert made.engines.moved() == model.cluster.moved()
    assert made.engines.tiers() == model.cluster.held()
    assert made.engines.swapped() == [one.sums["swapped"] for one in model.cluster.instances]
    assert made.members.there(model.now) == model.up_time
    for job in jobs:  # the books
        fates = [job.end >= 0, job.rejected, job.refused, job.number in model.lost]
        assert sum(fates) == 1
        assert len(job.tokens) == (job.answer if job.end >= 0 else min(len(job.tokens), job.answer - 1))
        assert all(early < late for early, late in pairwise(job.tokens))
    gaps, many = log.gaps()
    told: Counter[int] = Counter()
    for gap, count in zip(gaps.tolist(), many.tolist(), strict=True):
        told[gap] += count
    assert +told == Counter(late - early for job in jobs for early, late in pairwise(job.tokens))


def schedules(**said: Any) -> Any:
    return st.builds(Schedule, systems(**said), st.integers(0, 2**32 - 1))


@settings(max_examples=150)
@given(schedules())
def test_whatever_comes_and_goes_all_are_served_once(schedule: Schedule) -> None:
    same(schedule, compiled=False, audited=True)


def test_with_tiers_and_a_swap() -> None:
    for seed in range(120):
        with told(seed):
            same(Schedule(tiered(seed), seed), compiled=False, audited=True)


@pytest.mark.slow
@settings(max_examples=1000)
@given(schedules())
def test_a_thousand_schedules(schedule: Schedule) -> None:
    same(schedule, compiled=False)


def test_compiled_and_iteration_by_iteration() -> None:
    @settings(max_examples=60)
    @given(schedules(policies=("lru",)))
    def check(schedule: Schedule) -> None:
        same(schedule)
        same(schedule, fast=False)

    check()


def test_the_schedules_of_these_tests_do_what_is_to_be_tested() -> None:
    happened: Counter[str] = Counter()
    for seed in range(60):
        schedule = Schedule(tiered(seed), seed)
        made, _ = schedule.simulated(compiled=False)
        served = made.engines.served
        again = (made.rerouted > 0) & (served.end >= 0)
        happened["moved twice, with tokens"] += bool((again & (served.first >= 0)).any()) and made.rerouted.max() > 1
        happened["lost while it ran"] += bool((made.lost & (served.first >= 0)).any())
        happened["scaled"] += schedule.scale is not None and made.members._given > len(schedule.changes) + 3
        happened["refused"] += bool(served.refused.any())
    assert len(+happened) == 4, happened


def test_who_comes_back_admits_at_once_whoever_fits() -> None:
    """0 decodes for long, and 1, which does not fit beside it, is sent elsewhere at 405; 2 comes at 407, and fits."""

    class To(Router):
        def route(self, request: Any, view: Any) -> int:
            return 0  # the only one that is up, or the first

    server = Server(20, 4, 4, 100)
    requests: Any = [(0, 40, 30, [], 0), (10, 60, 1, [], 0), (407, 4, 1, [], 0)]
    system = System(server, 2, "lru", requests, 0, [0, 0, 10, 0, 0, 0, 1, 0, 0])
    for fast in (True, False):
        held = engines(system, compiled=False, audited=True, fast=fast)
        changes = [Change(405, "drain", 0), Change(406, "start", 0)]
        Cluster(held, To(), 0, lambda done: None, changes=changes).as_recorded()
        assert held.served.instance.tolist() == [0, 1, 0]
        assert held.served.admitted.tolist() == [0, 405, 407]
