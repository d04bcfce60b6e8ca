"""Servers whose queue goes by priority, with or without pre-emption."""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush

from simpy.events import Event

from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.station import Station, whole
from tiersim.sim.queued.timeline import Timeline

__all__ = ["PriorityServer"]


class _Job:
    __slots__ = ("came", "done", "owner", "priority", "seen", "started", "turn", "work")

    def __init__(self, priority: int, turn: int, work: int, came: int, owner: str, done: Event) -> None:
        self.priority, self.turn, self.work, self.came, self.owner, self.done = priority, turn, work, came, owner, done
        self.started = came
        self.seen: dict[str, int] = {}  # what owners had been served when it began to wait

    def __lt__(self, other: _Job) -> bool:
        return (self.priority, self.turn) < (other.priority, other.turn)


class PriorityServer(Station):
    """``servers`` equal servers whose next job is that of the lowest priority number, and of these the first that came.

    ``preemptive``: a job of a lower number takes the server of the one with the highest, if that is higher; the other
    goes on later from where it stopped (preemptive resume). `queued` jobs wait in a heap: twenty thousand cost little
    more than two. Whose time a wait is: that of the jobs in service meanwhile, in equal shares.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        servers: int = 1,
        *,
        preemptive: bool = False,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        super().__init__(clock, name, timeline=timeline, blocked=blocked)
        self.servers = whole(servers, "servers", 1)
        self.preemptive = preemptive
        self.preemptions = 0
        self.busy = 0
        self._queue: list[_Job] = []
        self._running: dict[int, _Job] = {}  # by server
        self._idle = list(range(self.servers))  # a heap
        self._turn = 0
        self._exposed: defaultdict[str, int] = defaultdict(int)  # time in service by owner, over all servers
        self._ticked = clock.now

    @property
    def queued(self) -> int:
        """How many jobs wait."""
        return len(self._queue)

    def serve(self, service: int, priority: int = 0, owner: str = "") -> Event:
        """An event at the end of a job that comes now and takes so long; its value is how long it was here.

        Raises TypeError for a time that is no whole number, ValueError for a negative one.
        """
        service = whole(service, f"{self.name}: a service time")
        now = self.clock.now
        self._turn += 1
        job = _Job(priority, self._turn, service, now, owner, Event(self.clock))
        self._enter(now)
        self._wait(job)
        self._dispatch()
        return job.done

    def _dispatch(self) -> None:
        while self._queue:
            if self._idle:
                self._start(heappop(self._queue), heappop(self._idle))
                continue
            if not self.preemptive:
                return
            number, worst = max(self._running.items(), key=lambda item: (item[1].priority, item[1].turn))
            # one that ends at this instant is not stopped: its server is free in a moment
            if worst.priority <= self._queue[0].priority or worst.started + worst.work == self.clock.now:
                return
            job = heappop(self._queue)
            self._stop(number, worst)
            self._start(job, number)

    def _start(self, job: _Job, number: int) -> None:
        now = self.clock.now
        if self.blocked is not None:
            self._tick(now)
            for whom, time in self._exposed.items():
                lost = time - job.seen.get(whom, 0)
                self.blocked.add(job.owner, whom, self.name, lost if self.servers == 1 else lost / self.servers)
        job.started = now
        self._running[number] = job
        self.clock.after(job.work, self._ended, (number, job, now))

    def _stop(self, number: int, job: _Job) -> None:
        now = self.clock.now
        self._served(number, job, now)
        del self._running[number]
        job.work -= now - job.started
        self.preemptions += 1
        self._wait(job)

    def _wait(self, job: _Job) -> None:
        if self.blocked is not None:
            self._tick(self.clock.now)
            job.seen = dict(self._exposed)
        heappush(self._queue, job)

    def _served(self, number: int, job: _Job, now: int) -> None:
        self.busy += now - job.started
        if self.timeline is not None and now > job.started:
            track = f"{self.name} {number}" if self.servers > 1 else self.name
            self.timeline.slice(track, job.owner or "job", job.started, now)
        if self.blocked is not None:
            self._tick(now)

    def _tick(self, now: int) -> None:
        """While somebody waits all servers are busy: what each owner was served since is what a job waited for it."""
        if span := now - self._ticked:
            for job in self._running.values():
                self._exposed[job.owner] += span
            self._ticked = now

    def _ended(self, event: Event) -> None:
        job: _Job
        number, job, started = event._value
        if self._running.get(number) is not job or job.started != started:
            return  # it was stopped, and has another end
        now = self.clock.now
        self._served(number, job, now)
        del self._running[number]
        self._leave(job.came, now)
        heappush(self._idle, number)
        self._dispatch()
        job.done.succeed(now - job.came)
