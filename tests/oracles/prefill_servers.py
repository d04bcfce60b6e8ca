"""Servers that compute one prompt after the other, behind any router, holding or not; slow and plain.

The minimum model of DualMap's authors: a prompt takes so long for each token that is not cached, and a token of an
answer a picosecond. Events of one time happen in the order of docs/explanation/cluster.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.routing import Request

__all__ = ["Course", "Servers"]

PAGE = 16


@dataclass
class Course:
    """What became of a request."""

    place: int = -1
    routed: int = -1
    start: int = -1
    first: int = -1
    end: int = -1
    hit: int = 0


class Lru:
    """Whole blocks of prompts; one that leaves takes along what stands behind it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: OrderedDict[int, None] = OrderedDict()
        self.behind: dict[int, set[int]] = {}

    def hit(self, request: Request) -> int:
        """In blocks; the last token is always computed."""
        count = 0
        for block in request.blocks[: (request.prompt - 1) // request.block]:
            if block not in self.held:
                break
            count += 1
        return count

    def touch(self, blocks: Sequence[int]) -> None:
        for block in reversed(blocks):
            self.held.move_to_end(block)

    def enter(self, request: Request, hit: int) -> None:
        blocks = request.blocks[: request.prompt // request.block]
        for place in reversed(range(hit, len(blocks))):
            block = blocks[place]
            if block in self.held:
                self.held.move_to_end(block)
                continue
            if len(self.held) == self.capacity:
                self._leave(next(iter(self.held)))
            self.held[block] = None
            if place:
                self.behind.setdefault(blocks[place - 1], set()).add(block)

    def _leave(self, block: int) -> None:
        if block in self.held:
            del self.held[block]
            for other in self.behind.pop(block, ()):
                self._leave(other)


@dataclass
class Server:
    cache: Lru
    waiting: list[Request] = field(default_factory=list)
    running: Request | None = None
    routed: dict[int, int] = field(default_factory=dict)  # hits of those that wait, when they were routed


class Servers:
    """Some of them, and a router in front; `look` is called after everything that the router was told."""

    def __init__(
        self, count: int, router: Any, *, prefill: int, capacity: int = 1 << 30, look: Callable[[Any], None] = id
    ) -> None:
        self.router, self.prefill, self.look = router, prefill, look
        self.holds = hasattr(router, "arrive")
        self.servers = [Server(Lru(capacity)) for _ in range(count)]
        self.instances = list(range(count))
        self.time = 0
        self.courses: list[Course] = []

    # what routers see

    @property
    def waiting(self) -> list[int]:
        return [len(server.waiting) for server in self.servers]

    @property
    def running(self) -> list[int]:
        return [int(server.running is not None) for server in self.servers]

    def _prefills(self, server: Server) -> bool:
        return server.running is not None and self.time <= self.courses[server.running.number].first

    @property
    def prompts(self) -> list[int]:
        return [
            sum(ask.prompt for ask in server.waiting)
            + (server.running.prompt if server.running is not None and self._prefills(server) else 0)
            for server in self.servers
        ]

    @property
    def pending(self) -> list[int]:
        out = []
        for server in self.servers:
            left = sum(ask.prompt - server.routed[ask.number] for ask in server.waiting)
            if server.running is not None and self._prefills(server):
                left += server.running.prompt - self.courses[server.running.number].hit
            out.append(left)
        return out

    @property
    def pages(self) -> list[int]:
        return [0 if server.running is None else -(-server.running.prompt // PAGE) for server in self.servers]

    def hits(self, request: Any) -> list[int]:
        return [server.cache.hit(request) * request.block for server in self.servers]

    # what happens

    def serve(self, requests: Sequence[Request], answers: Sequence[int] | None = None) -> list[Course]:
        """What becomes of requests, in the order of arrival."""
        made = answers or [1] * len(requests)
        self.courses = [Course() for _ in requests]
        coming = list(requests)
        while True:
            times = [coming[0].time] if coming else []
            for server in self.servers:
                if server.running is not None:
                    course = self.courses[server.running.number]
                    times.append(course.first if self.time < course.first else course.end)
            if not times:
                break
            self.time = min(times)
            self._come(coming)
            self._start(made)
            self._end()
            self._start(made)
        assert all(course.end >= 0 for course in self.courses)
        return self.courses

    def _come(self, coming: list[Request]) -> None:
        some = False
        while coming and coming[0].time == self.time:
            ask, some = coming.pop(0), True
            if self.holds:
                self.router.arrive(ask, self)
                self.known = {**getattr(self, "known", {}), ask.number: ask}
                self.look(self.router)
            else:
                self._submit(ask, self.router.route(ask, self))
        if some:
            self._dispatch()

    def _dispatch(self) -> None:
        if self.holds:
            for number, place in self.router.dispatch(self):
                self._submit(self.known.pop(number), place)
            self.look(self.router)

    def _submit(self, ask: Request, place: int) -> None:
        course = self.courses[ask.number]
        assert course.place < 0
        course.place, course.routed = place, self.time
        server = self.servers[place]
        server.waiting.append(ask)
        server.routed[ask.number] = server.cache.hit(ask) * ask.block

    def _start(self, made: Sequence[int]) -> None:
        for server in self.servers:
            if server.running is None and server.waiting:
                ask = server.running = server.waiting.pop(0)
                course, blocks = self.courses[ask.number], server.cache.hit(ask)
                server.cache.touch(ask.blocks[:blocks])
                course.start, course.hit = self.time, blocks * ask.block
                course.first = self.time + (ask.prompt - course.hit) * self.prefill
                course.end = course.first + made[ask.number] - 1

    def _end(self) -> None:
        first: list[int] = []
        ended: list[int] = []
        for server in self.servers:
            ask = server.running
            if ask is None:
                continue
            course = self.courses[ask.number]
            if course.first == self.time:
                server.cache.enter(ask, course.hit // ask.block)
                first.append(ask.number)
            if course.end == self.time:
                server.running = None
                ended.append(ask.number)
        for verb, numbers in (("first", first), ("ended", ended)):
            if numbers and hasattr(self.router, verb):
                getattr(self.router, verb)(numbers)
                self.look(self.router)
                self._dispatch()
