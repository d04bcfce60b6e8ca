"""Requests on their way to the instances of a cluster: who comes when, and who takes it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError
from tiersim.sim.prompts import Prompts
from tiersim.sim.serving import Engines, Seen

__all__ = ["SAMPLE", "TOLD", "Driver", "Look", "Router", "Turns", "look"]

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

    def __init__(self, engines: Engines, time: int) -> None:
        self.engines, self.time = engines, time
        self.seen: Seen | None = None

    @property
    def instances(self) -> Sequence[int]:
        return range(self.engines.count)

    def _column(self, name: str) -> list[int]:
        if self.seen is None:
            self.seen = self.engines.view()
        return self.seen[name]

    waiting = property(lambda self: self._column("waiting"))
    running = property(lambda self: self._column("running"))
    prompts = property(lambda self: self._column("prompts"))
    pending = property(lambda self: self._column("pending"))
    pages = property(lambda self: self._column("pages"))

    def hits(self, request: Asked) -> list[int]:
        return self.engines.hits(request.number)


class Router:
    """A fresh copy of a routing policy in front of engines; ``view`` is what it saw last.

    Raises PolicyError where it names no instance.
    """

    def __init__(self, engines: Engines, policy: Any, seed: int, count: int | None = None) -> None:
        self.engines, self.count, self.prompts = engines, engines.count if count is None else count, engines.prompts
        self.policy = copy.deepcopy(policy)
        if hasattr(self.policy, "start"):
            self.policy.start(self.count, seed)
        self.sizes, self.sessions = self.prompts.input.tolist(), self.prompts.session.tolist()
        self.told = getattr(self.policy, "ended", None)
        self.view = View(engines, 0)

    def tell(self) -> None:
        """Which requests ended when the engines last advanced, if the policy would know."""
        if self.told is not None and (ended := self.engines.ended):
            self.told(ended)

    def choose(self, number: int, time: int) -> int | None:
        """The instance that a request is sent to, None if it is refused."""
        self.view = View(self.engines, time)
        asked = Asked(self.prompts, number, time, self.sizes[number], self.sessions[number])
        return self.checked(self.policy.route(asked, self.view), self.count)

    def checked(self, chosen: Any, count: int, verb: str = "route") -> int | None:
        """What a router has answered, if it is one of so many places."""
        if chosen is None or (type(chosen) is int and 0 <= chosen < count):
            return chosen
        raise PolicyError(
            f"{type(self.policy).__name__}.{verb} gave {chosen!r}, which is none of {count} instances",
            None,
            f"it must give a whole number from 0 to {count - 1}, or None to refuse the request",
        )

    def send(self, number: int, chosen: int | None, time: int) -> bool:
        """A request goes where it was sent; whether it was taken there."""
        if chosen is None:
            self.engines.refuse(number, time)
        elif self.engines.submit(number, chosen, time):
            return True
        if self.told is not None:
            self.told([number])
        return False


class Turns:
    """When requests come, if each turn of a session comes only after the end of the one before it.

    It comes ``think`` picoseconds later, or, without it, as much later as recorded. With ``wait`` unset all come as
    recorded.
    """

    def __init__(self, prompts: Prompts, think: int | None, *, wait: bool = True) -> None:
        self.recorded, self.think = prompts.arrival.tolist(), think
        self.following: dict[int, int] = {}
        self.coming: list[tuple[int, int]] = []  # a heap of times and requests
        last: dict[int, int] = {}
        for number, session in enumerate(prompts.session.tolist()):
            if wait and session >= 0 and session in last:
                self.following[last[session]] = number
            else:
                heappush(self.coming, (self.recorded[number], number))
            last[session] = number

    def ended(self, number: int, now: int) -> None:
        """A request has ended, or was sent away: the next turn comes."""
        after = self.following.get(number)
        if after is not None:
            pause = self.recorded[after] - self.recorded[number] if self.think is None else self.think
            heappush(self.coming, (now + pause, after))


class Driver:
    """Routes requests to engines when they arrive; `loads` says how uneven the loads were, now and then.

    `policy` is a router, of which a fresh copy is used. Raises PolicyError where it names no instance.
    """

    def __init__(self, engines: Engines, policy: Any, seed: int, progress: Callable[[int], None]) -> None:
        self.engines, self.prompts, self.progress = engines, engines.prompts, progress
        self.router = Router(engines, policy, seed)
        self.loads: list[Look] = []
        self.routed = 0

    def as_recorded(self) -> Numbers:
        """All requests when the trace says; when that is."""
        for number, time in enumerate(self.prompts.arrival.tolist()):
            self.engines.advance(time)
            self.router.tell()
            self._route(number, time)
        self.engines.advance()
        self.progress(len(self.prompts) % TOLD)
        return self.prompts.arrival

    def in_turn(self, think: int | None) -> Numbers:
        """Turns of a session one after the end of the other; when each came."""
        engines, turns = self.engines, Turns(self.prompts, think)
        came = self.prompts.arrival.copy()
        while True:
            ended = engines.advance(turns.coming[0][0] if turns.coming else None, until_end=True)
            self.router.tell()
            if ended is not None:
                for number in engines.ended:
                    turns.ended(number, ended)
            elif turns.coming:
                time, number = heappop(turns.coming)
                came[number] = time
                if not self._route(number, time):
                    turns.ended(number, time)
            else:
                break
        self.progress(len(self.prompts) % TOLD)
        return came

    def _route(self, number: int, time: int) -> bool:
        """Whether an instance has taken a request."""
        engines, router = self.engines, self.router
        chosen = router.choose(number, time)
        if engines.count > 1 and number % SAMPLE == 0:
            self.loads.append(look(number, router.view.pending))
        self.routed += 1
        if self.routed % TOLD == 0:
            self.progress(TOLD)
        return router.send(number, chosen, time)


class Look(NamedTuple):
    """How uneven the loads of instances are when a request comes, before it is sent; nothing where all are idle."""

    number: int
    """Of the request."""
    variation: float
    """The standard deviation, by the mean."""
    deviation: float
    """The largest less the mean, by the mean."""


def look(number: int, loads: Sequence[int]) -> Look:
    """A look at loads, whatever their unit is."""
    held = np.array(loads, float)
    mean = held.mean()
    return Look(number, float(held.std() / mean), float(held.max() / mean - 1)) if mean else Look(number, 0, 0)
