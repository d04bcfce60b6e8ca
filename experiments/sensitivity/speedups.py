"""What a factor alone is worth when it is faster: rates times 1 + p, times divided by 1 + p, at the study's own point.

The idea is that of causal profiling (Curtsinger and Berger, Coz, SOSP 2015, doi:10.1145/2815400.2815409), which a
simulation needs no trick for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tiersim._base import units
from tiersim._base.errors import UnitError
from tiersim.experiments.sensitivity.answers import Answers
from tiersim.experiments.sensitivity.spec import Point, Sensitivity, Varied
from tiersim.experiments.unfold import Setting
from tiersim.experiments.yaml_tree import Node

__all__ = ["Faster", "Step", "faster", "speedups"]

RATES = ("bandwidth", "frequency", "rate")
TIMES = ("time", "cycles", "time_per_item")


@dataclass(frozen=True)
class Step:
    """A factor so much faster: as asked for, and as it is after rounding to a whole number of base units."""

    asked: Fraction
    speed: float
    setting: str


@dataclass(frozen=True)
class Faster:
    """A variant whose factor is faster alone: for each step the outputs, as ratios to those of its own point.

    `own` is the factor's own value. Ratios are not-a-number where a run failed or the own value is 0.
    """

    at: str
    factor: str
    own: str
    steps: tuple[Step, ...]
    ratios: dict[str, tuple[float, ...]]

    def elasticity(self, output: str) -> float:
        """By how many per cent the output changes when the factor is a per cent faster, at the smallest step."""
        ratio, speed = self.ratios[output][0], self.steps[0].speed
        return math.log(ratio) / math.log(speed) if ratio > 0 else math.nan


def faster(text: Any, share: Fraction) -> tuple[str, float] | None:
    """A rate or a time so much faster, and how much it is after rounding; None for anything else, and for no change."""
    try:
        found = units.parse(text, *RATES, *TIMES)
    except UnitError:
        return None
    exact = found.amount * (1 + share) if found.dimension in RATES else found.amount / (1 + share)
    amount = math.floor(exact + Fraction(1, 2))
    if amount in (0, found.amount):
        return None
    speed = Fraction(amount, found.amount) if found.dimension in RATES else Fraction(found.amount, amount)
    return units.show(amount, found.dimension, found.item), float(speed)


def speedups(spec: Sensitivity, outputs: Sequence[str], answers: Answers) -> list[Faster] | None:
    """Every variant with every factor that can be faster; None while answers are missing."""
    out: list[Faster] = []
    whole = True
    for at in spec.at:
        own = answers.at(Point(at))
        if own is None or own.why:
            whole &= own is not None
            continue
        for factor in spec.factors or ():
            if not factor.of(at):
                continue
            text = _inside(own.config, factor.key)
            made = [(share, found) for share in spec.speedups if (found := faster(text, share)) is not None]
            points = [Point(at, (_setting(factor, value),)) for _, (value, _) in made]
            held = answers.all(points)
            whole &= held is not None
            if held:
                steps = tuple(Step(share, speed, value) for share, (value, speed) in made)
                before = {name: own.value(name) for name in outputs}
                ratios = {
                    name: tuple(answer.value(name) / before[name] if before[name] else math.nan for answer in held)
                    for name in outputs
                }
                out.append(Faster(at, factor.key, str(text), steps, ratios))
    return out if whole else None


def _setting(factor: Varied, value: str) -> Setting:
    return Setting(factor.key, Node(value, factor.node.place, factor.node.key_place, value), "the sensitivity")


def _inside(config: Mapping[str, Any], key: str) -> Any:
    """What stands at a dotted key of a config, or None."""
    held: Any = config
    for step in key.split("."):
        if isinstance(held, Mapping):
            held = held.get(step)
        elif isinstance(held, list) and step.isdigit() and int(step) < len(held):
            held = held[int(step)]
        else:
            return None
    return held
