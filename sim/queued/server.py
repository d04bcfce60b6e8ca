"""First come, first served, by one server or several."""

from __future__ import annotations

from collections import defaultdict, deque
from heapq import heappop, heappush, heapreplace

from simpy.events import Timeout

from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.station import Station, whole
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Server"]


class Server(Station):
    """``servers`` equal servers and one queue, whose jobs are served in the order in which they come.

    A job says how long it takes when it comes, so that its start and end are known at once: a server is a time until
    which it is busy, and a job costs no event but its end. Where two servers are free the one that has been for longer
    takes it. ``waited`` is the time that jobs wait, ``busy`` the time that servers give to them: sums over all that
    have come, counted when they come.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        servers: int = 1,
        *,
        timeline: Timeline | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        super().__init__(clock, name, timeline=timeline, blocked=blocked)
        self.servers = whole(servers, "servers", 1)
        self.waited = 0
        self.busy = 0
        self._free = [(clock.now, number) for number in range(self.servers)]  # when each server is, a heap
        self._inside: list[tuple[int, int]] = []  # when each job leaves, and when it came: a heap
        self._books = [_Book() for _ in range(self.servers)] if blocked is not None else []

    def serve(self, service: int, owner: str = "") -> Timeout:
        """An event at the end of a job that comes now and takes so long; its value is the time that it waited."""
        now = self.clock.now
        start, end = self.book(service, owner)
        return Timeout(self.clock, end - now, start - now)

    def book(self, service: int, owner: str = "") -> tuple[int, int]:
        """Start and end of a job that comes now and takes so long, for a model that makes its own events.

        Raises TypeError for a time that is no whole number, ValueError for a negative one.
        """
        service = whole(service, f"{self.name}: a service time")
        now = self.clock.now
        inside = self._inside
        if inside and inside[0][0] <= now:
            self.settle()
        free, number = self._free[0]
        start = free if free > now else now
        end = start + service
        heapreplace(self._free, (end, number))
        heappush(inside, (end, now))
        self._enter(now)
        self.waited += start - now
        self.busy += service
        if self.blocked is not None:
            self._books[number].wait(now, owner, self.name, self.blocked)
            self._books[number].promise(end, service, owner)
        if self.timeline is not None:
            track = f"{self.name} {number}" if self.servers > 1 else self.name
            self.timeline.slice(track, owner or "job", start, end)
        return start, end

    @property
    def free_at(self) -> int:
        """When a job that comes now would start."""
        return max(self._free[0][0], self.clock.now)

    def settle(self) -> None:
        """Let all jobs leave that have ended by now."""
        now = self.clock.now
        while self._inside and self._inside[0][0] <= now:
            end, came = heappop(self._inside)
            self._leave(came, end)


class _Book:
    """What one server is promised to: who holds it, one after the other."""

    def __init__(self) -> None:
        self.queue: deque[tuple[int, int, str]] = deque()  # end, service, owner
        self.held: defaultdict[str, int] = defaultdict(int)

    def wait(self, now: int, who: str, where: str, blocked: Blocked) -> None:
        while self.queue and self.queue[0][0] <= now:
            _, service, owner = self.queue.popleft()
            self.held[owner] -= service
        if not self.queue:
            return
        end, service, first = self.queue[0]
        served = now - (end - service)  # of the job that is being served
        for owner, time in self.held.items():
            blocked.add(who, owner, where, time - served if owner == first else time)

    def promise(self, end: int, service: int, owner: str) -> None:
        self.queue.append((end, service, owner))
        self.held[owner] += service
