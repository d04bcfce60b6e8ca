"""A cluster that changes, event by event, as docs/explanation/cluster.md says it; slow and plain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.oracles.serving import Cluster
from tests.oracles.serving_instance import Instance, Job
from tests.oracles.serving_tiers import Behind, Link, Tier

__all__ = ["Asked", "Changing", "Scale", "Seen"]

LOOKS, CHANGES, WEIGHS, ARRIVES = range(4)  # of one time, before ends of iterations
COLUMNS = ("waiting", "running", "prompts", "pending", "pages")


@dataclass
class Scale:
    """By load: how often, the bounds of pending tokens, how many are up, and how long one takes to come up."""

    interval: int
    high: int
    low: int
    least: int
    most: int
    start_up: int


@dataclass
class Asked:
    """A request as routers see it."""

    number: int
    time: int
    prompt: int


class Seen:
    """The instances as routers see them."""

    def __init__(self, held: Changing, now: int) -> None:
        self.held, self.time = held, now
        self.instances = [k for k, state in enumerate(held.states) if state == "up"]
        looked = held.looked if held.refresh else held.cluster.view()
        for name in COLUMNS:
            setattr(self, name, [looked[k][name] for k in self.instances])

    def hits(self, request: Any) -> list[int]:
        cached = self.held.cluster.cached(self.held.jobs[request.number])
        return [cached[k] for k in self.instances]


class Changing:
    """``router`` answers as those of the package do; ``fresh`` is the policy of an instance's prefix cache, and
    ``fresh_tier`` that of one of its tiers.

    ``following`` says who comes, and when, after a request that is over at a time.
    """

    def __init__(
        self,
        cluster: Cluster,
        fresh: Callable[[int], Any],
        fresh_tier: Callable[[int, int], Any],
        router: Any,
        *,
        up: list[int],
        changes: list[tuple[int, str, int]],
        failure: Literal["reroute", "lose"],
        scale: Scale | None,
        refresh: int,
        following: Callable[[int, int], list[tuple[int, int]]] = lambda number, now: [],
    ) -> None:
        self.cluster, self.fresh, self.fresh_tier = cluster, fresh, fresh_tier
        self.router, self.following = router, following
        self.states = ["up" if k in up else "down" for k in range(len(cluster.instances))]
        self.failure, self.scale, self.refresh = failure, scale, refresh
        self.holds = hasattr(router, "dispatch")
        self.jobs: list[Job] = []
        self.changes = list(changes)
        self.starting: list[int] = []
        self.weighs = scale.interval if scale else 0
        self.looked, self.next_look = cluster.view(), refresh
        self.door: list[int] = []
        self.held: list[int] = []
        self.waits_for_first: set[int] = set()
        self.lost: list[int] = []
        self.rerouted: list[int] = []
        self.up_time = [0] * len(self.states)
        self.now = 0
        router.start(len(up), 0)
        if up != list(range(len(up))):
            router.changed(list(up))

    def serve(self, jobs: list[Job], arrivals: list[tuple[int, int]]) -> None:
        """All that happens; ``arrivals`` has times and numbers of those that follow nobody."""
        self.jobs, self.arrivals = jobs, sorted(arrivals)
        while (now := self.next_time()) is not None:
            self.pass_to(now)
            if self.refresh and now == self.next_look:
                self.looked, self.next_look = self.cluster.view(), now + self.refresh
            self.change(now)
            if self.scale and now == self.weighs:
                self.weigh(now)
                self.change(now)
            self.arrive(now)
            self.end(now)
            # what follows at once arrives before plans
            if not any(time == now for time, _ in self.arrivals):
                self.plan(now)
        left = self.door + self.held
        while left:
            self.lost += left
            left = [after for number in left for _, after in self.following(number, self.now)]

    def busy(self) -> bool:
        return any(where.running or where.waiting for where in self.cluster.instances)

    def next_time(self) -> int | None:
        times = [time for time, _ in self.arrivals] + [time for time, _, _ in self.changes]
        coming = self.cluster.next()
        if coming is not None:
            times.append(coming[0])
        waits = self.door or (self.held and not self.up())
        if not times and not (self.scale and waits):
            return None
        if self.scale and (self.arrivals or self.changes or waits or self.busy()):
            times.append(self.weighs)
        if self.refresh:
            times.append(self.next_look)
        return min(times)

    def pass_to(self, now: int) -> None:
        for k, state in enumerate(self.states):
            self.up_time[k] += (now - self.now) * (state != "down")
        self.now = now

    # who is there

    def up(self) -> list[int]:
        return [k for k, state in enumerate(self.states) if state == "up"]

    def change(self, now: int) -> None:
        due = [change for change in self.changes if change[0] == now]
        if not due:
            return
        self.changes = [change for change in self.changes if change[0] != now]
        before, came = self.up(), False
        for _, what, k in due:
            if what == "start":
                self.starting = [other for other in self.starting if other != k]
                came |= self.states[k] != "up"
                self.states[k] = "up"
            elif what == "fail" and self.states[k] != "down":
                self.states[k] = "down"
                self.gone(self.empty(k, now), now, self.failure)
            elif what == "drain" and self.states[k] == "up":
                self.states[k] = "draining"
                where = self.cluster.instances[k]
                where.see(now)
                leave, where.waiting = where.waiting, []
                if not where.running:
                    where.ready = None
                self.gone(leave, now, "reroute")
                self.close(k, now)
        if came and self.refresh:
            self.looked = self.cluster.view()
        if self.up() != before:
            self.router.changed(self.up())
        self.dispatch(now)

    def empty(self, k: int, now: int) -> list[Job]:
        """An instance as it was at first, but for sums; who was there."""
        old = self.cluster.instances[k]
        old.see(now)
        new = Instance(old.memory, old.clock, self.fresh(k), self.behind(k))
        new.seen, new.sums = now, old.sums
        self.cluster.instances[k] = new
        return old.running + old.waiting

    def behind(self, k: int) -> Behind:
        """What an instance has behind its memory: its own is as it was at first, but for sums and counts."""
        links, tiers = [], []
        for held in self.cluster.links:
            if not held[0].said.shared:
                held[k] = Link(held[k].said, pages=held[k].pages, busy=held[k].busy)
            links.append(held[min(k, len(held) - 1)])
        for place, row in enumerate(self.cluster.tiers):
            if not row[0].said.shared:
                old, row[k] = row[k], Tier(row[k].said, self.fresh_tier(place, k))
                row[k].seen, row[k].sum, row[k].counts = old.seen, old.sum, old.counts
            tiers.append(row[min(k, len(row) - 1)])
        return Behind(tiers, links, self.cluster.instances[k].behind.pages)

    def close(self, k: int, now: int) -> None:
        where = self.cluster.instances[k]
        if self.states[k] == "draining" and not where.running and not where.waiting:
            self.states[k] = "down"
            self.empty(k, now)

    def gone(self, jobs: list[Job], now: int, failure: str) -> None:
        for job in jobs:
            job.own, job.pins, job.done, job.hit, job.complete = 0, [], 0, 0, False
            job.loading, job.swapped = False, 0
            self.waits_for_first.discard(job.number)
            if failure == "reroute":
                self.rerouted.append(job.number)
                self.door.append(job.number)
            else:
                self.lost.append(job.number)
                self.over(job.number, now)
        if failure == "lose" and jobs:
            self.router.ended([job.number for job in jobs])

    def weigh(self, now: int) -> None:
        scale, up = self.scale, self.up()
        assert scale is not None
        self.weighs = now + scale.interval
        held = sum(self.cluster.view()[k]["pending"] for k in up) + sum(self.jobs[number].whole for number in self.held)
        if not up or held / len(up) > scale.high:
            down = [k for k, state in enumerate(self.states) if state == "down" and k not in self.starting]
            if down and len(up) + len(self.starting) < scale.most:
                self.starting.append(down[0])
                self.changes.append((now + scale.start_up, "start", down[0]))
        elif held / len(up) < scale.low and len(up) > scale.least:
            self.changes.append((now, "drain", up[-1]))

    # requests

    def arrive(self, now: int) -> None:
        some = False
        while self.up() and self.door:
            self.come(self.door.pop(0), now)
            some = True
        while self.arrivals and self.arrivals[0][0] == now:
            _, number = self.arrivals.pop(0)
            if self.up():
                self.come(number, now)
                some = True
            else:
                self.door.append(number)
        if some:
            self.dispatch(now)

    def come(self, number: int, now: int) -> None:
        job, view = self.jobs[number], Seen(self, now)
        asked = Asked(number, now, job.whole)
        if self.holds:
            self.held.append(number)
            self.router.arrive(asked, view)
        elif not self.send(number, self.router.route(asked, view), view):
            self.router.ended([number])

    def dispatch(self, now: int) -> None:
        while self.holds and self.up():
            view, away = Seen(self, now), []
            for number, place in self.router.dispatch(view):
                self.held.remove(number)
                if not self.send(number, place, view):
                    away.append(number)
            if not away:
                return
            self.router.ended(away)

    def send(self, number: int, place: int | None, view: Seen) -> bool:
        job, taken = self.jobs[number], False
        if place is None:
            job.refused = True
        else:
            taken = self.cluster.submit(job, view.instances[place], view.time)
            job.number = number
        if taken:
            self.waits_for_first.add(number)
        else:
            self.over(number, view.time)
        return taken

    def over(self, number: int, now: int) -> None:
        self.arrivals = sorted(self.arrivals + self.following(number, now))

    def end(self, now: int) -> None:
        over: list[int] = []
        there = {number: len(self.jobs[number].tokens) for number in self.waits_for_first}
        while (coming := self.cluster.next()) is not None and coming[:2] == (now, 0):
            over += [job.number for job in self.cluster.step()]
        for k in range(len(self.states)):
            self.close(k, now)
        first = sorted(number for number, count in there.items() if len(self.jobs[number].tokens) > count)
        if first and hasattr(self.router, "first"):
            self.router.first(first)
            self.dispatch(now)
        self.waits_for_first -= set(first)
        if over:
            for number in sorted(over):
                self.over(number, now)
            self.router.ended(sorted(over))
            self.dispatch(now)

    def plan(self, now: int) -> None:
        while (coming := self.cluster.next()) is not None and coming[:2] == (now, 1):
            self.cluster.step()
