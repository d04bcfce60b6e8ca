"""The difference of two results, shared out among its causes so that the parts sum to it exactly.

Sums are of fractions: a float is one, and none is rounded before it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tiersim._base.registry import load
from tiersim.experiments.diff.causes import ABSENT, Cause
from tiersim.experiments.diff.changes import Changes, explain
from tiersim.experiments.diff.sides import Side, Source, match, metric_of, side_of
from tiersim.experiments.progress import aloud
from tiersim.experiments.results import Row
from tiersim.experiments.scenario import Addends, Metric, Parted

__all__ = ["ROUNDING", "Diff", "Part", "diff"]

ROUNDING = "rounding"  # the part that is left of a sum of floats
FOLDER = Path("results") / "diff"


@dataclass(frozen=True)
class Part:
    """One of the parts that a metric is the sum of, on both sides: means over the pairs."""

    name: str
    a: Fraction
    b: Fraction

    @property
    def step(self) -> Fraction:
        return self.b - self.a


@dataclass
class Diff:
    """How a metric differs between two sides, A and B, run by run and in the mean, and why.

    The `changes` sum to `difference` exactly, and so do the steps of the `parts`, where the metric has any.
    """

    a: Side
    b: Side
    metric: Metric
    pairs: list[tuple[Row, Row]]
    changes: Changes
    parts: list[Part] = field(default_factory=list)
    only_a: list[tuple[str, str]] = field(default_factory=list)
    only_b: list[tuple[str, str]] = field(default_factory=list)
    folder: Path | None = None

    @property
    def values(self) -> tuple[Fraction, Fraction]:
        """The mean of each side."""
        count = len(self.pairs)
        both = [sum((_value(pair[side], self.metric.name) for pair in self.pairs), Fraction()) for side in (0, 1)]
        return both[0] / count, both[1] / count

    @property
    def difference(self) -> Fraction:
        """What the steps of the changes sum to."""
        a, b = self.values
        return b - a

    def mark(self, step: Fraction) -> str:
        """``better`` or ``worse``, or nothing where the metric has no direction."""
        if not step or not self.metric.better:
            return ""
        return "better" if (step < 0) == (self.metric.better == "less") else "worse"

    def to_dict(self) -> dict[str, Any]:
        """The form of `tiersim diff --json`; steps have their fraction beside the float that is next to it."""
        a, b = self.values
        metric = self.metric
        return {
            "a": self.a.name,
            "b": self.b.name,
            "metric": {"name": metric.name, "unit": metric.unit, "doc": metric.doc, "better": metric.better},
            "value": {"a": float(a), "b": float(b), **self._step(b - a)},
            "differs": [_differs(cause) for cause in self.changes.causes],
            "by_part": [
                {"part": part.name, "a": float(part.a), "b": float(part.b), **self._step(part.step)}
                for part in self.parts
            ],
            "by_change": {
                "method": self.changes.method,
                "steps": [
                    {"cause": change.name, "keys": list(change.keys), **self._step(change.step)}
                    for change in self.changes.steps
                ],
                "mixtures": self.changes.mixtures,
                "simulated": self.changes.simulated,
                "folder": str(self.folder) if self.folder is not None and self.changes.simulated else None,
            },
            "runs": [self._pair(*pair) for pair in self.pairs],
            "only_a": [{"run": label, "why": why} for label, why in self.only_a],
            "only_b": [{"run": label, "why": why} for label, why in self.only_b],
            "notes": self.changes.notes,
        }

    def _step(self, step: Fraction) -> dict[str, Any]:
        return {"step": float(step), "exact": str(step), "mark": self.mark(step) or None}

    def _pair(self, a: Row, b: Row) -> dict[str, Any]:
        values = [_value(row, self.metric.name) for row in (a, b)]
        ends = [
            {"label": row.label, "factors": row.factors, "seed": row.seed, "value": float(value)}
            for row, value in zip((a, b), values, strict=True)
        ]
        return {"a": ends[0], "b": ends[1], "equal": a.key == b.key, **self._step(values[1] - values[0])}


def diff(
    a: Source,
    b: Source,
    metric: str | None = None,
    *,
    out: str | Path | None = None,
    workers: int = 1,
    quiet: bool = True,
    keep: bool = True,
) -> Diff:
    """The difference from A to B of a metric, and what makes it; see `tiersim diff`.

    Each side is the folder of a study, ``FOLDER:LABEL`` for one of its runs or variants, a result of `tiersim.run`, or
    such a result and a label. `metric` is the first one shown unless said. Runs between both are made on `workers`
    processes and kept in `out`, by default ``results/diff``; `keep=False` writes nothing. Raises StudyError for what is
    no study, label or metric, or where sides have nothing in common, and TraceError where a run is needed and its trace
    is not here.
    """
    one, other = side_of(a), side_of(b)
    name = metric_of(one, other, metric)
    found = match(one, other, name)
    folder = Path(out) if out is not None else FOLDER
    with aloud(not quiet):
        changes = explain(found.pairs, (one, other), name, folder if keep else None, workers=workers, quiet=quiet)
    described = one.result.metrics.get(name) or other.result.metrics.get(name) or Metric(name, "", "")
    parts = parts_of(one.result.scenario, found.pairs, name)
    return Diff(
        one, other, described, found.pairs, changes, parts, found.only_a, found.only_b, folder if keep else None
    )


def parts_of(scenario: str, pairs: Sequence[tuple[Row, Row]], metric: str) -> list[Part]:
    """The parts of a metric on both sides; empty where the scenario states none for each of the runs.

    What is left when they are taken from the metric is a part too: what the scenario calls it, or ``rounding``.
    """
    cls = load("scenario", scenario)
    if not isinstance(cls, Parted):
        return []
    stated: list[Addends] = [cls.parts(metric, row.metrics) for pair in pairs for row in pair]
    if not all(held.names for held in stated):
        return []
    names = list(dict.fromkeys(name for held in stated for name in held.names))
    sums = {name: [Fraction(), Fraction()] for name in names}
    rest = [Fraction(), Fraction()]
    for pair in pairs:
        for side, row in enumerate(pair):
            rest[side] += _value(row, metric)
            for name in names:
                if name in row.metrics:
                    sums[name][side] += _value(row, name)
                    rest[side] -= _value(row, name)
    called = next((held.rest for held in stated if held.rest), ROUNDING)
    count = len(pairs)
    parts = [Part(name, held[0] / count, held[1] / count) for name, held in sums.items() if any(held)]
    return parts + ([Part(called, rest[0] / count, rest[1] / count)] if any(rest) else [])


def _value(row: Row, name: str) -> Fraction:
    return Fraction(row.metrics[name])


def _differs(cause: Cause) -> dict[str, Any]:
    return {
        "key": cause.name,
        "a": None if cause.a is ABSENT else cause.a,
        "b": None if cause.b is ABSENT else cause.b,
    }
