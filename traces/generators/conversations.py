"""Conversations with a language model."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators import exact
from tiersim.traces.generators.counter import Words, mix
from tiersim.traces.generators.exact import compiled, exp, log, normal, part, real, root, word
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import Chunk

__all__ = ["Conversations"]

START, TURNS, SYSTEM, QUESTION, ANSWER, THINK = range(6)  # the random streams
MOST: Final = 1 << 12  # turns of a session
SECOND: Final = 10**9  # nanoseconds
RATE: Final = 10**9  # a rate counts events in so many seconds
PICO: Final = 1000  # picoseconds of a nanosecond
LARGE: Final = 1 << 20  # tokens
GEOMETRIC: Final = -1.0  # in place of a spread

Ints = NDArray[np.int64]


@register("conversations", family="generator")
class Conversations:
    """Requests of people who talk to a model: sessions begin by a Poisson process, and each turn has all before it.

    The number of turns is geometric; a question and an answer have lognormal or geometric lengths, and the time from a
    turn to the next is exponential. Every prompt begins with one of some system prompts, followed by the earlier turns
    of its session. A session ends before a prompt would be longer than `longest`. Blocks are known: those of system
    prompts are shared by sessions, the others by the turns of one.
    """

    schema: ClassVar[str] = "request"
    uses: ClassVar[tuple[str, ...]] = (exact.__name__,)

    requests: Annotated[int, Param("requests in all", unit="count", ge=1, le=1 << 27)] = 10_000
    rate: Annotated[int, Param("requests in a second, on average", unit="rate", ge=1)] = RATE
    turns: Annotated[float, Param("requests of a session, on average", ge=1, le=100)] = 4.0
    think: Annotated[int, Param("from one turn to the next, on average", unit="time", ge=0)] = 30 * SECOND * PICO
    systems: Annotated[int, Param("different system prompts, each as likely", unit="count", ge=1, le=1 << 20)] = 4
    system: Annotated[int, Param("tokens of a system prompt", unit="count", ge=0, le=LARGE)] = 512
    law: Annotated[
        Literal["lognormal", "geometric"],
        Param("of both lengths; geometric is the exponential law of whole numbers, and both lengths are its means"),
    ] = "lognormal"
    question: Annotated[int, Param("tokens of the middle question", unit="count", ge=1, le=LARGE)] = 120
    answer: Annotated[int, Param("tokens of the middle answer", unit="count", ge=1, le=LARGE)] = 150
    spread: Annotated[
        float, Param("lognormal: standard deviation of the logarithm of both lengths; 0 makes them equal", ge=0, le=4)
    ] = 0.8
    longest: Annotated[int, Param("tokens of the longest prompt", unit="count", ge=1, le=LARGE)] = 32 << 10
    block_size: Annotated[int, Param("tokens of a block", unit="count", ge=1, le=LARGE)] = 64
    seed: Annotated[int, Param("which of the possible traces", ge=0)] = 0

    @property
    def records(self) -> int:
        """How many requests there are."""
        return self.requests

    @cached_property
    def _rows(self) -> dict[str, Ints]:
        """All requests in the order of arrival: columns of the trace, and what their blocks follow from."""
        sessions = int(self.requests / self.turns * 1.1) + 16
        while True:
            made = self._drawn(sessions)
            order = np.argsort(made["arrival"], kind="stable")
            # later ones would come between these if there were more sessions
            whole = int(np.searchsorted(made["arrival"][order], made["begun"][-1], "right"))
            if whole >= self.requests:
                kept = order[: self.requests]
                return {name: held[kept] for name, held in made.items()}
            sessions *= 2

    def _drawn(self, sessions: int) -> dict[str, Ints]:
        """The requests of the first so many sessions, one session after the other."""
        start = np.empty(sessions, np.int64)
        turns = np.empty(sessions, np.int64)
        gap = self.turns * RATE / self.rate * SECOND
        key = root(self.seed)
        _begin(key, gap, 1.0 - 1.0 / self.turns, start, turns)
        count = int(turns.sum())
        names = ("session", "turn", "system", "arrival", "input", "output", "begun")
        made = {name: np.empty(count, np.int64) for name in names}
        lengths = (self.system, self.question, self.answer, self.longest)
        spread = self.spread if self.law == "lognormal" else GEOMETRIC
        done = _talk(key, start, turns, lengths, spread, self.think / PICO, self.systems, *made.values())
        return {name: held[:done] for name, held in made.items()}

    def block(self, start: int, count: int) -> Chunk:
        """The records from ``start`` on."""
        rows = {name: held[start : start + count] for name, held in self._rows.items()}
        return {
            "input": rows["input"].astype(np.uint32),
            "output": rows["output"].astype(np.uint32),
            "arrival": rows["arrival"] - self._rows["arrival"][0],
            "blocks": self._blocks(rows),
            "session": rows["session"].astype(np.uint64),
        }

    def _blocks(self, rows: dict[str, Ints]) -> Ragged:
        """The last block of a prompt, if it is not full, is that turn's alone: the next one fills it."""
        counts = -(-rows["input"] // self.block_size)
        owner = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        shared = (place + 1) * self.block_size <= self.system
        last = (place == counts[owner] - 1) & (rows["input"][owner] % self.block_size > 0)
        whose = np.where(shared, rows["system"][owner], rows["session"][owner] + self.systems)
        turn = np.where(last & ~shared, rows["turn"][owner] + 1, 0)
        return Ragged.counted(_names(whose, turn, place), counts)


def _names(whose: Ints, turn: Ints, place: Ints) -> Words:
    """A number for each block that no other has, all but surely."""
    made = mix(whose.astype(np.uint64) + np.uint64(1))
    inside: Words = np.left_shift(turn.astype(np.uint64), np.uint64(32)) + place.astype(np.uint64)
    return mix(made + inside)


@compiled
def _begin(key: np.uint64, gap: float, again: float, start: Ints, turns: Ints) -> None:
    """When each session begins, and how many turns it would have."""
    now = 0.0
    for s in range(len(start)):
        index = np.uint64(s)
        now += -log(1.0 - real(word(key, START, index))) * gap
        start[s] = np.int64(now)
        more = 0.0
        if again > 0.0:
            more = log(1.0 - real(word(key, TURNS, index))) / log(again)
        turns[s] = 1 + np.int64(min(more, MOST - 1.0))


@compiled
def _talk(
    key: np.uint64,
    start: Ints,
    turns: Ints,
    lengths: tuple[int, int, int, int],
    spread: float,
    think: float,
    systems: int,
    session: Ints,
    turn: Ints,
    system: Ints,
    arrival: Ints,
    asked: Ints,
    answered: Ints,
    begun: Ints,
) -> int:
    """Fills in the requests of all sessions; returns how many there are."""
    first, question, answer, longest = lengths
    done = 0
    for s in range(len(start)):
        now, held = start[s], first
        for t in range(turns[s]):
            index = np.uint64(s * MOST + t)
            if t:
                now += np.int64(-log(1.0 - real(word(key, THINK, index))) * think)
            held += _length(real(word(key, QUESTION, index)), question, spread)
            if held > longest and t:
                break
            session[done], turn[done], arrival[done], begun[done] = s, t, now, start[s]
            system[done] = part(word(key, SYSTEM, np.uint64(s)), systems)
            asked[done] = min(held, longest)
            answered[done] = _length(real(word(key, ANSWER, index)), answer, spread)
            held += answered[done]
            done += 1
    return done


@compiled
def _length(share: float, middle: int, spread: float) -> int:
    """A lognormal number of tokens, or with `GEOMETRIC` a geometric one; at least 1."""
    if spread == GEOMETRIC:
        more = log(1.0 - share) / log(1.0 - 1.0 / middle) if middle > 1 else 0.0
        return 1 + int(min(more, LARGE - 1.0))
    if spread == 0.0:
        return middle
    return int(min(max(middle * exp(spread * normal(share)), 1.0), float(LARGE)))
