"""Steps and rows of routed tokens, in plain Python from docs/explanation/expert-offloading.md alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Token:
    """What a token passes: by layer its experts, their weights if known, and what was predicted if known."""

    experts: list[list[int]]
    weights: list[list[float]] | None = None
    predicted: list[list[int]] | None = None


@dataclass
class Step:
    """A forward pass: tokens as (sequence, place in it), whether it is a prompt, and who begins with it."""

    tokens: list[tuple[int, int]]
    prefill: bool
    new: list[int]


@dataclass
class Places:
    """Sequences that take places, and how far each has come."""

    batch: int
    taken: dict[int, int] = field(default_factory=dict)
    done: dict[int, int] = field(default_factory=dict)

    def free(self) -> int | None:
        """The lowest place that is free."""
        return next((place for place in range(self.batch) if place not in self.taken), None)


def steps(lengths: list[int], batch: int, prompt: int) -> list[Step]:
    """All forward passes."""
    places, waiting, made = Places(batch), list(range(len(lengths))), []
    while waiting or places.taken:
        place = places.free()
        if place is not None and waiting:
            sequence = waiting.pop(0)
            places.taken[place] = sequence
            many = min(prompt, lengths[sequence])
            places.done[sequence] = many
            if many:
                made.append(Step([(sequence, token) for token in range(many)], True, [sequence]))
            continue
        tokens = [
            (sequence, places.done[sequence])
            for _, sequence in sorted(places.taken.items())
            if places.done[sequence] < lengths[sequence]
        ]
        if tokens:
            made.append(Step(tokens, False, [sequence for sequence, token in tokens if token == 0]))
        for sequence, _ in tokens:
            places.done[sequence] += 1
        places.taken = {
            place: sequence for place, sequence in places.taken.items() if places.done[sequence] < lengths[sequence]
        }
    return made


def needed(tokens: list[Token], layer: int) -> list[tuple[int, int, int, int]]:
    """What a row needs, by number: expert, tokens, best rank, largest weight in parts of 10**6."""
    found: dict[int, list[tuple[int, float]]] = {}
    for token in tokens:
        experts = token.experts[layer]
        weights = token.weights[layer] if token.weights else None
        order = list(range(len(experts)))
        if weights is not None:
            order.sort(key=lambda place: -weights[place])
        for rank, place in enumerate(order):
            part = 10**6 // len(experts) if weights is None else int(weights[place] * 10**6 + 0.5)
            found.setdefault(experts[place], []).append((rank, part))
    return [
        (expert, len(held), min(rank for rank, _ in held), max(part for _, part in held))
        for expert, held in sorted(found.items())
    ]


def predicted(tokens: list[Token], layer: int) -> list[int]:
    """What is predicted for a row."""
    count = Counter(expert for token in tokens if token.predicted for expert in token.predicted[layer])
    return sorted(count, key=lambda expert: (-count[expert], expert))


def rows(sequences: list[list[Token]], batch: int, prompt: int) -> dict[str, list[Any]]:
    """All that there is of each step and each row, as lists by name."""
    of_steps = ("size", "context", "pairs", "sampled", "begins", "prefill", "sequence")
    out: dict[str, list[Any]] = {name: [] for name in ("needed", "predicted", *of_steps)}
    for step in steps([len(held) for held in sequences], batch, prompt):
        held = [sequences[sequence][token] for sequence, token in step.tokens]
        for layer in range(len(held[0].experts)):
            out["needed"].append(needed(held, layer))
            out["predicted"].append(predicted(held, layer))
        seen = [token + 1 for _, token in step.tokens]
        out["size"].append(len(held))
        out["context"].append(len(held) if step.prefill else sum(seen))
        out["pairs"].append(sum(seen))
        out["sampled"].append(1 if step.prefill else len(held))
        out["begins"].append(int(bool(step.new)))
        out["prefill"].append(int(step.prefill))
        out["sequence"].append((step.new or [step.tokens[0][0]])[0])
    return out
