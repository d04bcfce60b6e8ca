"""Caches of experts one size at a time, and SRP by enumeration: slow, plain, written from the papers' rules.

Nothing here is shared with the engine but the numbers that random replacement draws.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from tiersim.policies.way.random_ import LOW, mix

Token = list[int]  # experts of all layers, x = layer * experts + e, in the order in which they are used


class Past:
    """All uses of a run, and how far it has come: what any rule of replacement may look at."""

    def __init__(self, tokens: list[Token], experts: int, objects: int, ahead: int, period: int, seed: int) -> None:
        self.uses = [(i, x) for i, token in enumerate(tokens) for x in token]
        self.experts, self.objects = experts, objects
        self.ahead, self.period, self.seed = ahead, period, seed
        self.now = 0  # the use that is served

    def lru(self, x: int) -> int:
        return max(at for at in range(self.now) if self.uses[at][1] == x)

    def lfu(self, x: int) -> tuple[int, int]:
        return sum(self.uses[at][1] == x for at in range(self.now)), self.lru(x)

    def lfu_aged(self, x: int) -> tuple[int, int]:
        count = 0
        for at in range(self.now + 1):
            if at and at % (self.period * self.objects) == 0:
                count //= 2
            if at < self.now:
                count += self.uses[at][1] == x
        return count, self.lru(x)

    def belady(self, x: int) -> float:
        return -next((at for at in range(self.now + 1, len(self.uses)) if self.uses[at][1] == x), float("inf"))

    def sch(self, x: int) -> tuple[int, int]:
        token = self.uses[self.now][0]
        window = self.uses[self.now + 1 :]
        return sum(y == x and i < token + self.ahead for i, y in window), self.lru(x)

    def least_stale(self, x: int) -> tuple[bool, int]:
        return x // self.experts >= self.uses[self.now][1] // self.experts, self.lru(x)

    def random(self, x: int) -> int:
        return mix(mix(self.seed ^ mix(self.now & LOW)) ^ mix(x & LOW))


def run_hits(
    tokens: list[Token],
    size: int,
    policy: str,
    *,
    experts: int,
    objects: int,
    by_layer: bool = False,
    cold: bool = False,
    ahead: int = 16,
    period: int = 4,
    seed: int = 0,
    popular: list[int] | None = None,
) -> list[int]:
    """Hits of each token of a run in caches of this size, which are empty at its start.

    One cache, or one for each layer. Hits are judged before the token; an empty slot that it fills is a hit too, unless
    `cold`. Then experts enter one by one, and who leaves may be of the same token.
    """
    if policy == "static":
        assert popular is not None
        return _static_hits(tokens, size, experts, by_layer, cold, popular)
    past = Past(tokens, experts, objects, ahead, period, seed)
    worth: Callable[[int], tuple[int, ...]] = getattr(past, policy.replace("-", "_"))
    caches: dict[int, set[int]] = {}
    out = []
    for token in tokens:
        hits = 0
        before = {name: set(held) for name, held in caches.items()}
        free = {name: size - len(held) for name, held in caches.items()}
        for x in token:
            cache = x // experts if by_layer else 0
            if x in before.get(cache, ()):
                hits += 1
            elif free.setdefault(cache, size) > 0:
                free[cache] -= 1
                hits += not cold
        for x in token:
            held = caches.setdefault(x // experts if by_layer else 0, set())
            if x not in held:
                if len(held) == size:
                    held.remove(min(held, key=lambda y: (worth(y), y)))
                held.add(x)
            past.now += 1
        out.append(hits)
    return out


def _static_hits(
    tokens: list[Token], size: int, experts: int, by_layer: bool, cold: bool, popular: list[int]
) -> list[int]:
    """The most popular are there from the start; `cold` they are loaded at their first use."""
    held: set[int] = set()
    everyone = range(len(popular))
    for group in [range(at, at + experts) for at in range(0, len(popular), experts)] if by_layer else [everyone]:
        held |= set(sorted(group, key=lambda x: (popular[x], x), reverse=True)[:size])
    out, loaded = [], set() if cold else set(held)
    for token in tokens:
        out.append(sum(x in held and x in loaded for x in token))
        loaded |= set(token)
    return out


def fewest_misses(tokens: list[Token], size: int) -> int:
    """The fewest misses of any cache that starts empty and loads on demand, by trying every victim at every eviction.

    Misses are judged before the token and fills are none; experts enter one by one.
    """
    states = {frozenset[int](): 0}
    for token in tokens:
        after: dict[tuple[frozenset[int], frozenset[int]], int] = {}
        # where a token begins, what its cache was then goes along
        for held, misses in states.items():
            free, more = size - len(held), 0
            for x in token:
                if x not in held:
                    more, free = (more, free - 1) if free > 0 else (more + 1, free)
            key = (held, held)
            after[key] = min(after.get(key, misses + more), misses + more)
        flow = {pair[1]: cost for pair, cost in after.items()}
        for x in token:
            step: dict[frozenset[int], int] = {}
            for held, misses in flow.items():
                if x in held or len(held) < size:
                    options = [held | {x}]
                else:
                    options = [held - {y} | {x} for y in held]
                for option in options:
                    step[option] = min(step.get(option, misses), misses)
            flow = step
        states = flow
    return min(states.values())


def best_f1(counts: list[int], length: int) -> float:
    """The best F1 of any choice of windows to serve, where an expert is used so often in each: by trying all."""
    best = 0.0
    for chosen in product((0, 1), repeat=len(counts)):
        hit = sum(f for f, on in zip(counts, chosen, strict=True) if on)
        said = length * sum(chosen)
        if said + sum(counts):
            best = max(best, 2 * hit / (said + sum(counts)))
    return best


def window_counts(tokens: list[Token], x: int, length: int) -> list[int]:
    """How many of each `length` tokens that follow each other use an expert."""
    return [sum(x in token for token in tokens[at : at + length]) for at in range(len(tokens) - length + 1)]
