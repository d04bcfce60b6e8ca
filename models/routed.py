"""Requests on their way to the instances of a cluster: who comes when, and who takes it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError
from tiersim.sim.prompts import Prompts
from tiersim.sim.serving import Engines
from tiersim.sim.serving_loop import VIEW

__all__ = ["SAMPLE", "Driver"]

Numbers = NDArray[np.int64]

SAMPLE = 10  # requests from one look at the loads to the next, as in DualMap's artifact
TOLD = 256  # requests between two reports of progress


@dataclass
class Asked:
    """A request as routers see it."""

    prompts: Prompts
    number: int = 0
    time: int = 0
    prompt: int = 0
    session: int = -1

    @property
    def block(self) -> int:
        return self.prompts.block

    @property
    def blocks(self) -> Sequence[int]:
        offsets = self.prompts.blocks.offsets
        found: list[int] = self.prompts.blocks.values[offsets[self.number] : offsets[self.number + 1]].tolist()
        return found


class View:
    """The instances as routers see them, looked up when something is asked for."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.seen: list[list[int]] | None = None

    def _column(self, name: str) -> list[int]:
        if self.seen is None:
            self.seen = self.engines.view()
        return self.seen[VIEW.index(name)]

    waiting = property(lambda self: self._column("waiting"))
    running = property(lambda self: self._column("running"))
    prompts = property(lambda self: self._column("prompts"))
    pending = property(lambda self: self._column("pending"))
    pages = property(lambda self: self._column("pages"))

    def hits(self, request: Asked) -> list[int]:
        return self.engines.hits(request.number)


class Driver:
    """Routes requests to engines when they arrive; `loads` says how uneven the loads were, now and then.

    `policy` is a router, of which a fresh copy is used. Raises PolicyError where it names no instance.
    """

    def __init__(self, engines: Engines, policy: Any, seed: int, progress: Callable[[int], None]) -> None:
        self.engines, self.prompts, self.progress = engines, engines.prompts, progress
        self.router = copy.deepcopy(policy)
        if hasattr(self.router, "start"):
            self.router.start(engines.count, seed)
        self.told = getattr(self.router, "ended", None) if engines.count > 1 else None
        self.loads: list[float] = []
        self.sizes, self.sessions = self.prompts.input.tolist(), self.prompts.session.tolist()
        server = engines.server
        pages = -(-(self.prompts.input + self.prompts.output - 1) // server.page)
        self.refused = set(np.flatnonzero(pages > server.pages).tolist())
        self.routed = 0

    def as_recorded(self) -> Numbers:
        """All requests when the trace says; when that is."""
        for number, time in enumerate(self.prompts.arrival.tolist()):
            self.engines.advance(time)
            self._tell()
            self._route(number, time)
        self.engines.advance()
        self.progress(len(self.prompts) % TOLD)
        return self.prompts.arrival

    def in_turn(self, think: int | None) -> Numbers:
        """Turns of a session one after the end of the other; when each came."""
        engines, recorded = self.engines, self.prompts.arrival.tolist()
        came = self.prompts.arrival.copy()
        following: dict[int, int] = {}
        last: dict[int, int] = {}
        waiting: list[tuple[int, int]] = []
        for number, session in enumerate(self.sessions):
            if session >= 0 and session in last:
                following[last[session]] = number
            else:
                heappush(waiting, (recorded[number], number))
            last[session] = number

        def next_of(number: int, now: int) -> None:
            after = following.get(number)
            if after is not None:
                pause = recorded[after] - recorded[number] if think is None else think
                heappush(waiting, (now + pause, after))

        while True:
            ended = engines.advance(waiting[0][0] if waiting else None, until_end=True)
            self._tell()
            if ended is not None:
                for number in engines.ended:
                    next_of(number, ended)
            elif waiting:
                time, number = heappop(waiting)
                came[number] = time
                self._route(number, time)
                if number in self.refused:
                    next_of(number, time)
            else:
                break
        self.progress(len(self.prompts) % TOLD)
        return came

    def _tell(self) -> None:
        if self.told is not None and (ended := self.engines.ended):
            self.told(ended)

    def _route(self, number: int, time: int) -> None:
        engines, count, chosen = self.engines, self.engines.count, 0
        if count > 1:
            view = View(engines)
            asked = Asked(self.prompts, number, time, self.sizes[number], self.sessions[number])
            chosen = self.router.route(asked, view)
            if type(chosen) is not int or not 0 <= chosen < count:
                raise PolicyError(
                    f"{type(self.router).__name__}.route gave {chosen!r}, which is none of {count} instances",
                    None,
                    f"it must give a whole number from 0 to {count - 1}",
                )
            if number % SAMPLE == 0:
                self.loads.append(_variation(view.pending))
        engines.submit(number, chosen, time)
        if self.told is not None and number in self.refused:
            self.told([number])
        self.routed += 1
        if self.routed % TOLD == 0:
            self.progress(TOLD)


def _variation(loads: Sequence[int]) -> float:
    held = np.array(loads, float)
    mean = held.mean()
    return float(held.std() / mean) if mean else 0.0
