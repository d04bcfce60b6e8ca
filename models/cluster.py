"""Requests in front of a cluster that changes, or whose router holds them, as docs/explanation/cluster.md specifies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError
from tiersim.models.members import DOWN, DRAINING, UP, Change, Members, Scale
from tiersim.models.routed import SAMPLE, TOLD, Asked, Look, Router, Turns, View, look
from tiersim.sim.serving import Engines, Seen
from tiersim.sim.serving_loop import NEVER

__all__ = ["Change", "Cluster", "Scale", "drives"]

Numbers = NDArray[np.int64]


def drives(policy: Any) -> bool:
    """Whether a router needs this driver: it holds requests, or would know of first tokens."""
    return hasattr(policy, "dispatch") or hasattr(policy, "first")


class Sight(View):
    """The instances that are up, as a router sees them."""

    def __init__(self, engines: Engines, time: int, up: Sequence[int], seen: Seen | None) -> None:
        super().__init__(engines, time)
        self.up, self.seen = up, seen
        self.all = len(up) == engines.count

    @property
    def instances(self) -> Sequence[int]:
        return self.up

    def _column(self, name: str) -> list[int]:
        return self._of_up(super()._column(name))

    def hits(self, request: Asked) -> list[int]:
        return self._of_up(super().hits(request))

    def _of_up(self, values: list[int]) -> list[int]:
        return values if self.all else [values[instance] for instance in self.up]


class Front(Router):
    """A router that may hold requests; ``held`` are the numbers of those that it does."""

    def __init__(self, engines: Engines, policy: Any, seed: int, up: Sequence[int]) -> None:
        super().__init__(engines, policy, seed, len(up))
        self.changed = getattr(self.policy, "changed", None)
        if self.changed is not None and list(up) != list(range(len(up))):
            self.changed(list(up))
        self.holds = hasattr(self.policy, "dispatch")
        self.first = getattr(self.policy, "first", None)
        self.held: set[int] = set()

    def ask(self, number: int, time: int) -> Asked:
        made = self.engines.made(number)  # before it was routed anew
        return Asked(self.prompts, number, time, self.sizes[number] + made, self.sessions[number])

    def pending(self, view: View) -> Sequence[int]:
        """What instances have to compute; of a router that holds requests, with what waits for them there."""
        own = getattr(self.policy, "loads", None)
        loads: Sequence[int] = view.pending if own is None else own()
        return loads

    @property
    def waiting(self) -> int:
        """Tokens of the prompts that it holds."""
        return sum(self.sizes[number] + self.engines.made(number) for number in self.held)

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

    `policy` is a router, of which a fresh copy is used. With `refresh` it sees loads as they were at the last multiple
    of so many picoseconds. At first those of `up` are there, or all; `changes` and `scale` say who comes and goes. With
    `failure` "lose" requests at an instance that fails are ``lost``; all that were routed anew, and how often, are
    ``rerouted``. `loads` says how uneven the loads were, now and then. Raises PolicyError where the router names no
    instance, or keeps a request for ever.
    """

    def __init__(
        self,
        engines: Engines,
        policy: Any,
        seed: int,
        progress: Callable[[int], None],
        *,
        refresh: int = 0,
        up: Iterable[int] | None = None,
        changes: Sequence[Change] = (),
        failure: Literal["reroute", "lose"] = "reroute",
        scale: Scale | None = None,
    ) -> None:
        self.engines, self.prompts, self.progress, self.refresh = engines, engines.prompts, progress, refresh
        self.members = Members(engines.count, range(engines.count) if up is None else up, changes, scale)
        self.loses = failure == "lose"
        self.router = Front(engines, policy, seed, self.members.up)
        self.on = [-1] * len(self.prompts)  # which instance
        self.there: list[set[int]] = [set() for _ in range(engines.count)]  # requests at each
        self.door: deque[int] = deque()
        self.lost = np.zeros(len(self.prompts), np.bool_)
        self.rerouted = np.zeros(len(self.prompts), np.int64)
        self.looked, self.seen = -refresh, Seen([])  # when, and what was seen then
        self.loads: list[Look] = []
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
            until = self._coming()
            if until > now:
                ended = self._advance(until)
                now = until if ended is None else ended
                if ended is not None:
                    continue
            if until == NEVER:
                break
            if self.refresh and until >= self.looked + self.refresh:
                self._look(until)
            self._changes(until)
            if self.members.look == until:
                self.members.weigh(self.engines.view()["pending"], self.router.waiting, until)
                self._changes(until)
            self._arrivals(until)
        self.progress(self.routed % TOLD)
        self._close()
        return self.came

    def _close(self) -> None:
        """Nothing else is to come: who waits at the door, or at a router without instances, is lost."""
        left: list[int] = [*self.door, *(() if self.members.up else self.router.held)]
        for number in left:
            self.lost[number] = True
            if (after := self.turns.following.get(number)) is not None:
                left.append(after)
        if self.router.held and self.members.up:
            raise PolicyError(
                f"{type(self.router.policy).__name__} still holds {len(self.router.held)} requests, "
                f"{min(self.router.held)} among them, and nothing else is to come",
                None,
                "`dispatch` must give all of them at some time",
            )

    def _coming(self) -> int:
        """The time of the next event that is no end of an iteration: nobody is asked before, unless at such an end."""
        members = self.members
        coming = min(self.turns.coming[0][0] if self.turns.coming else NEVER, members.coming)
        waits = self.door or (self.router.held and not members.up)
        if members.scale is not None and (coming < NEVER or waits or any(self.there)):
            coming = min(coming, members.look)
        if not self.refresh:
            return coming
        soon = min(coming, self.engines.coming()[0])
        if soon == NEVER:
            return NEVER
        return min(coming, max(soon // self.refresh, self.looked // self.refresh + 1) * self.refresh)

    def _look(self, now: int) -> None:
        self.looked = now // self.refresh * self.refresh
        self.seen = self.engines.view()

    def _view(self, now: int) -> View:
        return Sight(self.engines, now, list(self.members.up), self.seen if self.refresh else None)

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
        for number in ended:
            self._leaves(number, now)
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

    def _leaves(self, number: int, now: int) -> None:
        """A request has ended; whoever drains and has no other is down."""
        instance = self.on[number]
        self.there[instance].remove(number)
        self._close_if_empty(instance, now)

    def _close_if_empty(self, instance: int, now: int) -> None:
        if self.members.states[instance] == DRAINING and not self.there[instance]:
            self.engines.fail(instance, now)
            self.members.become(instance, DOWN, now)

    def _changes(self, now: int) -> None:
        """Instances come and go; who was there goes to the door, from where `_arrivals` goes on."""
        members, before = self.members, list(self.members.up)
        changes = members.due(now)
        if not changes:
            return
        came = [self._change(change.what, change.instance, now) for change in changes]
        if self.refresh and any(came):
            self.seen = self.engines.view()
        if members.up != before and self.router.changed is not None:
            self.router.changed(list(members.up))
        self._dispatch(now)

    def _change(self, what: str, instance: int, now: int) -> bool:
        """Whether somebody comes up; what is so already does not change."""
        members, engines = self.members, self.engines
        state = members.states[instance]
        if what == "start":
            if state != UP:
                members.become(instance, UP, now)
            return state != UP
        if state == DOWN or (what == "drain" and state == DRAINING):
            return False
        leave = engines.fail(instance, now) if what == "fail" else engines.drain(instance, now)
        members.become(instance, DOWN if what == "fail" else DRAINING, now)
        self.there[instance] -= set(leave)
        if what == "fail" and self.loses:
            self._lose(leave, now)
        else:
            self.rerouted[leave] += 1
            self.door += leave
        self._close_if_empty(instance, now)
        return False

    def _lose(self, numbers: Sequence[int], now: int) -> None:
        self.lost[numbers] = True
        for number in numbers:
            self.turns.ended(number, now)
        self.router.tell_ended(numbers)

    def _arrivals(self, now: int) -> None:
        """Those at the door come first, if anybody is up, then those that come now."""
        coming, door, some = self.turns.coming, self.door, False
        while self.members.up and door:
            self._arrive(door.popleft(), now)
            some = True
        while coming and coming[0][0] == now:
            _, number = heappop(coming)
            self.came[number] = now
            self.routed += 1
            if self.routed % TOLD == 0:
                self.progress(TOLD)
            if not self.members.up:
                door.append(number)
                continue
            if len(self.members.up) > 1 and number % SAMPLE == 0:
                sight = Sight(self.engines, now, self.members.up, None)
                self.loads.append(look(number, self.router.pending(sight)))
            self._arrive(number, now)
            some = True
        if some:
            self._dispatch(now)

    def _arrive(self, number: int, now: int) -> None:
        view, router = self._view(now), self.router
        if router.holds:
            router.arrive(number, view)
        elif not self._send(number, router.route(number, view), now):
            router.tell_ended([number])

    def _dispatch(self, now: int) -> None:
        """Ask the router for requests, and again where something that it gave was not taken."""
        while self.router.holds and self.members.up:
            given = self.router.dispatch(self._view(now))
            away = [number for number, instance in given if not self._send(number, instance, now)]
            if not away:
                return
            self.router.tell_ended(away)

    def _send(self, number: int, instance: int | None, now: int) -> bool:
        """A request goes to an instance; whether it is taken there."""
        if instance is None:
            self.engines.refuse(number, now)
        elif self.engines.submit(number, instance, now):
            self.on[number] = instance
            self.there[instance].add(number)
            return True
        self.turns.ended(number, now)
        return False
