"""Worked examples of object policies, and of admissions in front of LRU: the engine's loop, one request at a time."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from tiersim._base.registry import build
from tiersim.experiments.worked.steps import Step, Worked, asked, hits, named
from tiersim.policies.object.contract import NEVER
from tiersim.sim.object_loop import HEADER, Shape, make_loop
from tiersim.sim.object_replay import state_of
from tiersim.sim.requests import Requests, requests_from

__all__ = ["SIZED", "TRACE", "admission", "capacity_of", "replacement", "requests_of"]

TRACE = "ABACDBECAFCGHGBA"
SIZES = {"A": 1, "B": 3, "C": 1, "D": 2, "E": 1, "F": 4, "G": 2, "H": 1}
SIZED = ("adaptsize", "belady-size", "gds", "gdsf", "lhd", "size-threshold")  # they are shown objects that differ
DEAR = 1e18  # what missing an object costs that no policy refuses


def requests_of(name: str) -> Requests:
    """The trace that the policy or admission of this name is shown with."""
    ids = [ord(letter) - ord("A") for letter in TRACE]
    return requests_from(ids, **({"size": [SIZES[letter] for letter in TRACE]} if name in SIZED else {}))


def capacity_of(name: str) -> int:
    """The capacity that it is shown with, in objects or bytes."""
    return 8 if name in SIZED else 4


def replacement(policy: Any) -> Worked:
    """A policy of the family ``object-replacement``."""
    return _worked("object-replacement", policy, None)


def admission(policy: Any) -> Worked:
    """A policy of the family ``admission``, in front of LRU."""
    return _worked("admission", build("object-replacement", "lru"), policy)


def _worked(family: str, policy: Any, gate: Any) -> Worked:
    name = type(policy if gate is None else gate).registered.name
    requests, capacity = requests_of(name), capacity_of(name)
    cache = _Cache(policy, gate, requests, capacity)
    sized = requests.size is not None
    text = [f"{named(int(key))}{f':{SIZES[named(int(key))]}' if sized else ''}" for key in requests.keys]
    places = getattr(policy, "places", ("out", "in the cache"))
    steps: list[Step] = []
    before: list[int] = []
    for number, x in enumerate(requests.ids.tolist()):
        hit = cache.ask(number)
        held = cache.held(number)
        others = [y for y in range(requests.objects) if y not in held]
        where = {y: cache.place(y) for y in (*held, *others)}
        outcome = "hit" if hit else "miss" if x in held else "miss, stays out"
        left = " ".join(text[y] for y in before if y not in held)
        holds = tuple(" ".join(text[y] for y, at in where.items() if at == k) for k in range(1, len(places)))
        steps.append(Step(text[x], outcome, left, holds))
        before = held
    room, letter = "four objects of one size", "A letter is an object."
    if sized:
        room, letter = "8 bytes", "A letter is an object, the number behind it its bytes."
    kind = "A cache" if gate is None else "An LRU cache"
    setting = f"{kind} with room for {room}. {letter} In each place who leaves first for a new object stands first."
    return Worked(family, name, setting, "request", tuple(places[1:]), tuple(steps), hits(steps))


class _Cache:
    """The engine's loop as plain Python, and the policy's arrays between two requests."""

    def __init__(self, policy: Any, gate: Any, requests: Requests, capacity: int) -> None:
        self.policy, self.requests, self.capacity = policy, requests, capacity
        unit = requests.size is None
        self.loop = make_loop(policy, Shape(unit=unit), gate, compiled=False)
        self.objects = requests.objects + 1  # one that is never asked for: it is asked whom it would push out
        given = {"objects": self.objects, "capacity": capacity, "most": min(self.objects - 1, capacity), "seed": 0}
        given |= {"requests": len(requests), "unit": unit}
        made = state_of(policy, given, self.loop.arrays)
        self.state: dict[str, Any] = {name: made[name].tolist() for name in self.loop.arrays}
        self.gate: list[Any] = []
        if gate is not None:
            its = state_of(gate, given | {"seed": 1}, self.loop.admission_arrays)
            self.gate = [its[name].tolist() for name in self.loop.admission_arrays]
        self.sizes = [int(unit)] * self.objects
        self.header = [0] * len(HEADER)
        self.whole = {name: requests.column(name) for name in self.loop.columns}

    def ask(self, number: int) -> bool:
        """Let the engine serve a request; whether it hits."""
        part = slice(number, number + 1)
        columns = [(held if name == "stream" else held[part]).tolist() for name, held in self.whole.items()]
        outcome = np.zeros(1, np.uint8)
        own = [] if self.requests.size is None else [self.sizes]
        given = (self.header, self.requests.ids[part].tolist(), outcome, *own, *columns)
        self.loop.module.run(number, 1, self.objects, self.capacity, -1, *given, *self.state.values(), *self.gate)
        return bool(outcome[0])

    def _given(self, state: dict[str, Any], number: int = 0, **more: Any) -> dict[str, Any]:
        known = {"objects": self.objects, "capacity": self.capacity, "used": self.header[0], "sizes": self.sizes}
        known |= {"now": number, "time": number, "size": 1, "cost": DEAR, "next_use": NEVER}
        return known | {"stream": self.requests.ids.tolist()} | state | more

    def place(self, x: int) -> int:
        """Where an object is, as a place of the policy's ``places``."""
        given = self._given(self.state, x=x)
        return int(asked(self.policy, "where", given, bool(asked(self.policy, "lookup", given))))

    def held(self, number: int) -> list[int]:
        """What the cache holds after a request, in the order in which a new object would push it out."""
        state, order = deepcopy(self.state), list[int]()
        given = self._given(state, number + 1, x=self.objects - 1)
        held = {x for x in range(self.objects) if asked(self.policy, "lookup", given | {"x": x})}
        asked(self.policy, "miss", given)
        while held:
            victim = int(asked(self.policy, "victim", given))
            order.append(victim)
            held.remove(victim)
            asked(self.policy, "evict" if hasattr(self.policy, "evict") else "remove", given | {"x": victim})
        return order
