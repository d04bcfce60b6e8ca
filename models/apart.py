"""Requests whose prompts some instances compute, and which others decode: who comes when, and who takes it.

The order of events is specified in docs/explanation/serving-tiers.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import PolicyError, StudyError
from tiersim.models.routed import SAMPLE, TOLD, Look, Router, Turns, look
from tiersim.sim.serving import Engines
from tiersim.sim.serving_loop import NEVER

__all__ = ["Apart", "Course"]

Numbers = NDArray[np.int64]

COMES, BEGINS, IS_FREE = range(3)  # what happens to a request that moves, in the order of equal times


@dataclass(frozen=True)
class Course:
    """What became of the requests, a word for each; times are in picoseconds, and -1 where it never happened.

    ``instance`` computed the prompt and ``decoded_on`` decoded. The request ``begun`` to move then, the link was free
    and the memory given back when it had ``moved``, it ``came`` over, and was admitted there for the first time when it
    ``joined``. ``hit`` is the tokens that were cached when it was admitted first.
    """

    instance: Numbers
    decoded_on: Numbers
    admitted: Numbers
    first: Numbers
    begun: Numbers
    moved: Numbers
    came: Numbers
    joined: Numbers
    end: Numbers
    hit: Numbers
    preemptions: Numbers
    rejected: NDArray[np.bool_]
    refused: NDArray[np.bool_]


class Link:
    """What moves from one instance: who waits, in order, and from when it is free."""

    def __init__(self) -> None:
        self.waiting: deque[int] = deque()
        self.free = 0
        self.tokens = 0


class Apart:
    """Routes requests to engines that compute prompts, by `policy`, and from there to others that decode, by `onward`.

    Both have the same requests, and the first have ``hold`` set. Each instance of these has a link, on which a token
    takes `token` picoseconds; the request is there `latency` after the last. `loads` says how uneven the loads of the
    first were, now and then. Raises StudyError where the engines do not fit, PolicyError where a router names no
    instance.
    """

    def __init__(
        self,
        computing: Engines,
        decoding: Engines,
        policy: Any,
        onward: Any,
        *,
        token: int,
        latency: int,
        seed: int,
        progress: Callable[[int], None],
    ) -> None:
        _check(computing, decoding)
        self.computing, self.decoding, self.prompts, self.progress = computing, decoding, computing.prompts, progress
        self.router, self.onward = Router(computing, policy, seed), Router(decoding, onward, seed)
        self.token, self.latency = token, latency
        self.links = [Link() for _ in range(computing.count)]
        self.moving: list[tuple[int, int, int]] = []  # a heap of times, what happens then, and requests
        self.loads: list[Look] = []
        self.routed = 0
        prompt, answer = self.prompts.input, self.prompts.output
        self.sizes, self.single = prompt.tolist(), (answer == 1).tolist()
        never = _too_long(prompt, computing) | ((answer > 1) & _too_long(prompt + answer - 1, decoding))
        self.rejected = set(np.flatnonzero(never).tolist())
        self.ahead: list[tuple[int, bool] | None] = [None, None]  # the next event of each kind, as far as it is known
        self.computed_on, self.decoded_on = [-1] * len(prompt), [-1] * len(prompt)
        self.first, self.begun, self.moved, self.came = ([-1] * len(prompt) for _ in range(4))

    def as_recorded(self) -> Numbers:
        """All requests when the trace says; when that is."""
        self._drive(Turns(self.prompts, None, wait=False), self._prompt_ends)
        self.decoding.advance()
        return self.prompts.arrival

    def in_turn(self, think: int | None) -> Numbers:
        """Turns of a session one after the end of the other; when each came."""
        return self._drive(Turns(self.prompts, think), self._either_ends)

    @property
    def course(self) -> Course:
        """What became of the requests so far."""
        first, second = self.computing.served, self.decoding.served
        rejected = np.zeros(len(self.prompts), np.bool_)
        rejected[list(self.rejected)] = True
        begun, moved, came, on = (np.array(held) for held in (self.begun, self.moved, self.came, self.decoded_on))
        return Course(
            instance=first.instance,
            decoded_on=on,
            admitted=first.admitted,
            first=first.first,
            begun=begun,
            moved=moved,
            came=came,
            joined=second.admitted,
            end=np.where(self.prompts.output > 1, second.end, first.end),
            hit=first.hit,
            preemptions=second.preemptions,
            rejected=rejected,
            refused=first.refused,
        )

    def carried(self) -> dict[str, list[int]]:
        """For each instance that computes prompts, the tokens that its link has begun to move, and for how long."""
        tokens = [link.tokens for link in self.links]
        return {"tokens": tokens, "busy": [count * self.token for count in tokens]}

    def _drive(self, turns: Turns, ends: Callable[[int, Turns], int | None]) -> Numbers:
        """Everything in the order of time; `ends` goes on to the next end of a request before a time, if any."""
        arrival = self.prompts.arrival.copy()
        coming, moving, now = turns.coming, self.moving, -1
        while True:
            arrives = coming[0][0] if coming else NEVER
            until = min(arrives, moving[0][0]) if moving else arrives
            if until > now:
                ended = ends(until, turns)
                now = until if ended is None else ended
                if ended is not None:
                    continue
            if until == NEVER:
                break
            if arrives == until:
                _, number = heappop(coming)
                arrival[number] = until
                if not self._route(number, until):
                    turns.ended(number, until)
            else:
                self._move(*heappop(moving))
        self.progress(self.routed % TOLD)
        return arrival

    def _route(self, number: int, time: int) -> bool:
        """Whether an instance has taken a request that arrives."""
        self.routed += 1
        if self.routed % TOLD == 0:
            self.progress(TOLD)
        if number in self.rejected:
            return False
        chosen = self.router.choose(number, time)
        if self.computing.count > 1 and number % SAMPLE == 0:
            self.loads.append(look(number, self.router.view.pending))
        self.ahead[0] = None
        self.computed_on[number] = -1 if chosen is None else chosen
        return self.router.send(number, chosen, time)

    def _prompt_ends(self, until: int, turns: Turns) -> int | None:
        """Decodes go on only when somebody looks at them."""
        ended = self.computing.advance(until, until_end=True)
        if ended is not None:
            self._computed(ended, turns)
        return ended

    def _either_ends(self, until: int, turns: Turns) -> int | None:
        """Neither kind goes on before the other one's next event; at equal times ends come before plans."""
        both, ahead = (self.computing, self.decoding), self.ahead
        while True:
            for kind in (0, 1):
                if ahead[kind] is None:
                    ahead[kind] = both[kind].coming()
            one, two = ahead
            assert one is not None
            assert two is not None
            if one[0] >= until and two[0] >= until:
                if turns.coming and turns.coming[0][0] == until:
                    self.computing.advance(until)  # somebody looks at it
                return None
            if one <= two:  # what one kind plans is no matter to the other
                kind, bound, with_ends = 0, two[0] + two[1], not two[1]
            else:
                kind, bound, with_ends = 1, *one
            if bound >= until:
                bound, with_ends = until, False
            ended = both[kind].advance(bound, until_end=True, with_ends=with_ends)
            ahead[kind] = None
            if ended is None:
                continue
            if kind == 0:
                self._computed(ended, turns)
            else:
                self.onward.tell()
                for number in self.decoding.ended:
                    turns.ended(number, ended)
            return ended

    def _computed(self, now: int, turns: Turns) -> None:
        """Requests have their first tokens, and wait for their link, if there is more to come."""
        self.router.tell()
        for number in sorted(self.computing.ended):
            self.first[number] = now
            if self.single[number]:
                turns.ended(number, now)
                continue
            link = self.links[self.computed_on[number]]
            link.waiting.append(number)
            if len(link.waiting) == 1:
                heappush(self.moving, (max(now, link.free), BEGINS, number))

    def _move(self, now: int, what: int, number: int) -> None:
        if what == IS_FREE:
            self.computing.release(number, now)
            self.ahead[0] = None
            return
        self.decoding.advance(now)
        self.onward.tell()
        if what == COMES:
            self.ahead[1] = None
            self.decoding.computed(number, self.decoded_on[number], now, self.first[number])
            return
        chosen = self.onward.choose(number, now)
        if chosen is None:
            raise PolicyError(
                f"{type(self.onward.policy).__name__}.route refused request {number}, whose prompt is computed",
                None,
                "where prompts are computed apart, only the first router may refuse",
            )
        self.decoded_on[number] = chosen
        link = self.links[self.computed_on[number]]
        link.waiting.popleft()
        link.tokens += self.sizes[number]
        link.free = now + self.sizes[number] * self.token
        self.begun[number], self.moved[number], self.came[number] = now, link.free, link.free + self.latency
        heappush(self.moving, (link.free, IS_FREE, number))
        heappush(self.moving, (self.came[number], COMES, number))
        if link.waiting:
            heappush(self.moving, (link.free, BEGINS, link.waiting[0]))


def _too_long(tokens: Numbers, engines: Engines) -> NDArray[np.bool_]:
    """Which of these numbers of tokens no instance has memory for."""
    too_long: NDArray[np.bool_] = -(-tokens // engines.server.page) > engines.server.pages
    return too_long


def _check(computing: Engines, decoding: Engines) -> None:
    if not computing.server.hold:
        raise StudyError("instances that only compute prompts hold what they have computed", None, "set `hold`")
    if decoding.server.hold or decoding.server.prefix != "none":
        raise StudyError(
            "instances that only decode have no prefix cache and hold nothing",
            None,
            "leave the prefix cache to those that compute prompts",
        )
    if computing.prompts is not decoding.prompts and len(computing.prompts) != len(decoding.prompts):
        raise StudyError("both kinds of instances must serve the same requests")
