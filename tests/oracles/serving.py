"""Servers of language models, one event at a time, as docs/explanation/serving.md says it; slow and plain."""

from __future__ import annotations

from collections.abc import Callable

from tests.oracles.serving_cache import Fifo, Lfu, Lru, Policy, Verbs
from tests.oracles.serving_instance import Clock, Instance, Job, Memory
from tests.oracles.serving_tiers import Behind, Link, LinkSaid, Tier, TierSaid

__all__ = ["Cluster", "Fifo", "Job", "Lfu", "LinkSaid", "Lru", "Memory", "Policy", "TierSaid", "Verbs"]


class Cluster:
    """Some instances; ``advance`` lets all that happens before a time happen, in the order of time.

    ``tier_policy`` makes the policy of a tier of an instance, or of the first one where it is shared.
    """

    def __init__(
        self,
        memory: Memory,
        count: int,
        clock: Clock,
        policy: Callable[[int], Policy | None],
        tier_policy: Callable[[int, int], Policy] = lambda tier, instance: Lru(),
    ) -> None:
        self.links: list[list[Link]] = [
            [Link(said)] if said.shared else [Link(said) for _ in range(count)] for said in memory.links
        ]
        self.tiers: list[list[Tier]] = [
            [Tier(said, tier_policy(place, k)) for k in range(1 if said.shared else count)]
            for place, said in enumerate(memory.tiers)
        ]
        pages = memory.block // memory.page if memory.tiers else 0
        self.instances = []
        for k in range(count):
            tiers, links = ([each[min(k, len(each) - 1)] for each in held] for held in (self.tiers, self.links))
            self.instances.append(Instance(memory, clock, policy(k), Behind(tiers, links, pages)))
        self.jobs: list[Job] = []

    def submit(self, job: Job, instance: int, now: int) -> bool:
        """Route a request; whether it is taken."""
        where = self.instances[instance]
        job.instance, job.routed, job.number = instance, now, len(self.jobs)
        self.jobs.append(job)
        most = job.prompt + (1 if where.memory.hold else job.answer) - 1
        if where.pages_of(most) > where.memory.pages:
            job.rejected = True
        elif 0 < where.memory.max_waiting <= where.view()["waiting"]:
            job.refused = True
        if job.rejected or job.refused:
            return False
        job.routed_hit = where.hit_of(job)[1] * where.memory.block
        where.see(now)
        where.waiting.append(job)
        where.wake(now)
        return True

    def computed(self, job: Job, instance: int, now: int) -> None:
        """A request comes over whose prompt was computed elsewhere."""
        where = self.instances[instance]
        job.instance, job.routed, job.made = instance, now, 1
        where.see(now)
        where.moved.append(job)
        where.wake(now)

    def cached(self, job: Job) -> list[int]:
        """How many tokens of a request each instance has cached."""
        return [where.hit_of(job)[1] * where.memory.block for where in self.instances]

    def next(self) -> tuple[int, int, int] | None:
        """When something happens next, whether it is a plan rather than an end, and where."""
        coming: list[tuple[int, int, int]] = []
        for k, where in enumerate(self.instances):
            if where.busy is not None:
                coming.append((where.busy[1], 0, k))
            elif where.ready is not None:
                coming.append((where.ready, 1, k))
        return min(coming, default=None)

    def step(self) -> list[Job]:
        """The next thing happens; returns the requests that are finished."""
        coming = self.next()
        assert coming is not None
        now, plans, k = coming
        if plans:
            self.instances[k].plan(now)
            return []
        return self.instances[k].finish()

    def advance(self, until: int | None, until_end: bool = False) -> int | None:
        """All that happens before a time (None: all); or up to the first end of a request, which is returned."""
        while True:
            coming = self.next()
            if coming is None or (until is not None and coming[0] >= until):
                return None
            if self.step() and until_end:
                return coming[0]

    def view(self) -> list[dict[str, int]]:
        return [where.view() for where in self.instances]

    def moved(self) -> list[dict[str, list[int]]]:
        """For each link what it has moved, and how long that took."""
        return [
            {
                "loaded": [link.pages["load"] for link in links],
                "stored": [link.pages["store"] for link in links],
                "load_busy": [link.busy["load"] for link in links],
                "store_busy": [link.busy["store"] for link in links],
            }
            for links in self.links
        ]

    def held(self) -> list[dict[str, list[int]]]:
        """For each tier what it holds, its sum over time, and what came and went."""
        return [
            {"blocks": [tier.sum for tier in tiers], "held": [len(tier.come) for tier in tiers]}
            | {name: [tier.counts[name] for tier in tiers] for name in ("fetched", "put", "left")}
            for tiers in self.tiers
        ]
