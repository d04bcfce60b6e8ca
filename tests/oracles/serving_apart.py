"""Prefill apart from decode, event by event, as docs/explanation/serving-tiers.md says it; slow and plain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.oracles.serving import Cluster
from tests.oracles.serving_instance import Job

__all__ = ["Apart", "Fate"]

# the instance that takes a request at a time, or None; it sees the instances and what they have cached
Router = Callable[[Job, int, list[dict[str, int]], list[int]], int | None]

ARRIVES, COMES, BEGINS, GIVEN_BACK, ENDS, PLANS = 0, 1, 2, 3, 4, 6  # of ends and plans those that compute prompts first


@dataclass(eq=False)
class Fate:
    """What becomes of a request: where its prompt is computed, its move, and where it goes on."""

    computing: Job
    came: int = -1
    begin: int = -1
    moved: int = -1
    there: int = -1
    end: int = -1
    rejected: bool = False
    refused: bool = False
    decoding: Job | None = None

    @property
    def tokens(self) -> list[int]:
        return self.computing.tokens + (self.decoding.tokens if self.decoding else [])


@dataclass
class Way:
    """The link of an instance that computes prompts, and who is to move over it."""

    queue: list[Fate] = field(default_factory=list)
    free: int = 0
    busy: int = 0
    tokens: int = 0


class Apart:
    """Two kinds of instances; ``token`` is the time of a token on the links between them, and ``latency`` theirs.

    ``following`` says who comes, and when, after a request that is over at a time.
    """

    def __init__(
        self,
        prefill: Cluster,
        decode: Cluster,
        token: int,
        latency: int,
        first: Router,
        second: Router,
        following: Callable[[int, int], list[tuple[int, int]]] = lambda number, now: [],
    ) -> None:
        self.prefill, self.decode = prefill, decode
        self.token, self.latency = token, latency
        self.first, self.second, self.following = first, second, following
        self.ways = [Way() for _ in prefill.instances]
        self.fates: list[Fate] = []
        self.events: list[tuple[int, int, int]] = []

    def serve(self, jobs: list[Job], arrivals: list[tuple[int, int]]) -> list[Fate]:
        """What becomes of requests; ``arrivals`` has times and numbers of those that follow nobody."""
        self.fates = [Fate(job) for job in jobs]
        self.events = [(time, ARRIVES, number) for time, number in arrivals]
        while coming := self.coming():
            now, what, number = min(coming)
            if what < BEGINS or what == GIVEN_BACK:
                self.events.remove((now, what, number))
            if what == ARRIVES:
                self.arrives(number, now)
            elif what == COMES:
                self.comes(number, now)
            elif what == BEGINS:
                self.begins(number, now)
            elif what == GIVEN_BACK:
                job = self.fates[number].computing
                self.prefill.instances[job.instance].release(job, now)
            elif what in (ENDS, PLANS):
                self.compute(now)
            else:
                for job in self.decode.step():
                    self.over(self.fates[job.number], now)
        return self.fates

    def coming(self) -> list[tuple[int, int, int]]:
        """All that is known to come."""
        coming = list(self.events)
        for way in self.ways:
            if way.queue:
                head = way.queue[0]
                coming.append((max(way.free, head.computing.end), BEGINS, head.computing.number))
        for place, cluster in enumerate((self.prefill, self.decode)):
            after = cluster.next()
            if after is not None:
                coming.append((after[0], (PLANS if after[1] else ENDS) + place, after[2]))
        return coming

    def arrives(self, number: int, now: int) -> None:
        fate = self.fates[number]
        job, fate.came = fate.computing, now
        compute, decode = self.prefill.instances[0], self.decode.instances[0]
        over = compute.pages_of(job.prompt) > compute.memory.pages
        if over or (job.answer > 1 and decode.pages_of(job.prompt + job.answer - 1) > decode.memory.pages):
            fate.rejected = True
        else:
            chosen = self.first(job, now, self.prefill.view(), self.prefill.cached(job))
            fate.refused = chosen is None or not self.prefill.submit(job, chosen, now)
            job.number = number
        if fate.rejected or fate.refused:
            self.follow(number, now)

    def compute(self, now: int) -> None:
        for job in sorted(self.prefill.step(), key=lambda job: job.number):
            fate = self.fates[job.number]
            if job.answer > 1:
                self.ways[job.instance].queue.append(fate)
            else:
                self.over(fate, now)

    def begins(self, number: int, now: int) -> None:
        fate = self.fates[number]
        job = fate.computing
        way = self.ways[job.instance]
        way.queue.remove(fate)
        chosen = self.second(job, now, self.decode.view(), self.decode.cached(job))
        assert chosen is not None
        took = job.prompt * self.token
        fate.begin, fate.moved, fate.there = now, now + took, now + took + self.latency
        way.free = fate.moved
        way.busy += took
        way.tokens += job.prompt
        fate.decoding = Job(number, job.arrival, job.prompt, job.answer, instance=chosen)
        self.events += [(fate.moved, GIVEN_BACK, number), (fate.there, COMES, number)]

    def comes(self, number: int, now: int) -> None:
        job = self.fates[number].decoding
        assert job is not None
        self.decode.computed(job, job.instance, now)

    def over(self, fate: Fate, now: int) -> None:
        fate.end = now
        self.follow(fate.computing.number, now)

    def follow(self, number: int, now: int) -> None:
        self.events += [(time, ARRIVES, after) for time, after in self.following(number, now)]
