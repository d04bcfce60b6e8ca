"""Requests in front of a cluster whose router may hold them, as docs/explanation/cluster.md specifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError
from tiersim.models.routed import SAMPLE, TOLD, Asked, Router, Turns, View, variation
from tiersim.sim.serving import Engines
from tiersim.sim.serving_loop import NEVER

__all__ = ["Cluster", "drives"]

Numbers = NDArray[np.int64]


def drives(policy: Any) -> bool:
    """Whether a router needs this driver: it holds requests, or would know of first tokens."""
    return hasattr(policy, "dispatch") or hasattr(policy, "first")


class Front(Router):
    """A router that may hold requests; ``held`` are the numbers of those that it does."""

    def __init__(self, engines: Engines, policy: Any, seed: int) -> None:
        super().__init__(engines, policy, seed)
        self.holds = hasattr(self.policy, "dispatch")
        self.first = getattr(self.policy, "first", None)
        self.held: set[int] = set()

    def ask(self, number: int, time: int) -> Asked:
        return Asked(self.prompts, number, time, self.sizes[number], self.sessions[number])

    def pending(self, view: View) -> Sequence[int]:
        """What instances have to compute; of a router that holds requests, with what waits for them there."""
        own = getattr(self.policy, "loads", None)
        return view.pending if own is None else own()  # type: ignore[no-any-return]

    def arrive(self, number: int, view: View) -> None:
        """A request is the router's to hold."""
        self.held.add(number)
        self.policy.arrive(self.ask(number, view.time), view)

    def route(self, number: int, view: View) -> int | None:
        """The instance that a request is sent to, None if it is refused."""
        return self._instance(self.policy.route(self.ask(number, view.time), view), view, "route")

    def dispatch(self, view: View) -> list[tuple[int, int | None]]:
        """Requests that are held no longer, and where each goes."""
        out = []
        for number, place in list(self.policy.dispatch(view)):
            if number not in self.held:
                raise PolicyError(
                    f"{type(self.policy).__name__}.dispatch gave request {number!r}, which it does not hold",
                    None,
                    "it must give each request once after `arrive`",
                )
            self.held.remove(number)
            out.append((number, self._instance(place, view, "dispatch")))
        return out

    def _instance(self, place: Any, view: View, verb: str) -> int | None:
        place = self.checked(place, len(view.instances), verb)
        return None if place is None else view.instances[place]

    def tell_ended(self, numbers: Sequence[int]) -> None:
        if self.told is not None and numbers:
            self.told(numbers)


class Cluster:
    """Routes requests to engines when they arrive, or when a router that holds them says; all in the order of time.

    `policy` is a router, of which a fresh copy is used. `loads` says how uneven the loads were, now and then. Raises
    PolicyError where the router names no instance, or keeps a request for ever.
    """

    def __init__(self, engines: Engines, policy: Any, seed: int, progress: Callable[[int], None]) -> None:
        self.engines, self.prompts, self.progress = engines, engines.prompts, progress
        self.router = Front(engines, policy, seed)
        self.loads: list[float] = []
        self.routed = 0

    def as_recorded(self) -> Numbers:
        """All requests when the trace says; when that is."""
        return self._drive(Turns(self.prompts, None, wait=False))

    def in_turn(self, think: int | None) -> Numbers:
        """Turns of a session one after the end of the other; when each came."""
        return self._drive(Turns(self.prompts, think))

    def _drive(self, turns: Turns) -> Numbers:
        self.turns, self.came = turns, self.prompts.arrival.copy()
        now = -1
        while True:
            until = turns.coming[0][0] if turns.coming else NEVER
            if until > now:
                ended = self._advance(until)
                now = until if ended is None else ended
                if ended is not None:
                    continue
            if until == NEVER:
                break
            self._arrivals(until)
        self.progress(self.routed % TOLD)
        if self.router.held:
            raise PolicyError(
                f"{type(self.router.policy).__name__} still holds {len(self.router.held)} requests, "
                f"{min(self.router.held)} among them, and nothing else is to come",
                None,
                "`dispatch` must give all of them at some time",
            )
        return self.came

    def _advance(self, until: int) -> int | None:
        """Up to the first time before another one at which requests have first tokens or end; all of these."""
        engines, router = self.engines, self.router
        hears = router.first is not None
        now = engines.advance(until, until_end=True, until_first=hears)
        if now is None:
            return None
        firsts, ended = engines.firsts, engines.ended
        while engines.advance(now, until_end=True, until_first=hears, with_ends=True) is not None:
            firsts += engines.firsts
            ended += engines.ended
        if firsts and router.first is not None:
            router.first(sorted(firsts))
            self._dispatch(now)
        if ended:
            ended.sort()
            for number in ended:
                self.turns.ended(number, now)
            router.tell_ended(ended)
            self._dispatch(now)
        return now

    def _arrivals(self, now: int) -> None:
        coming = self.turns.coming
        while coming and coming[0][0] == now:
            _, number = heappop(coming)
            self.came[number] = now
            self._arrive(number, now)
        self._dispatch(now)

    def _arrive(self, number: int, now: int) -> None:
        self.routed += 1
        if self.routed % TOLD == 0:
            self.progress(TOLD)
        view, router = View(self.engines, now), self.router
        if self.engines.count > 1 and number % SAMPLE == 0:
            self.loads.append(variation(router.pending(view)))
        if router.holds:
            router.arrive(number, view)
        elif not self._send(number, router.route(number, view), now):
            router.tell_ended([number])

    def _dispatch(self, now: int) -> None:
        """Ask the router for requests, and again where something that it gave was not taken."""
        while self.router.holds:
            given = self.router.dispatch(View(self.engines, now))
            away = [number for number, instance in given if not self._send(number, instance, now)]
            if not away:
                return
            self.router.tell_ended(away)

    def _send(self, number: int, instance: int | None, now: int) -> bool:
        """A request goes to an instance; whether it is taken there."""
        if instance is None:
            self.engines.refuse(number, now)
        elif self.engines.submit(number, instance, now):
            return True
        self.turns.ended(number, now)
        return False
