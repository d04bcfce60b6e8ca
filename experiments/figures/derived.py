"""What a figure shows that no run has measured: changes against a variant, and means over a factor."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tiersim._base.errors import StudyError
from tiersim.experiments.figures.series import Spec, done, factor, follows
from tiersim.experiments.figures.words import text_of, words
from tiersim.experiments.results import SPEEDUP, Row, StudyResult
from tiersim.experiments.scenario import Metric

__all__ = ["derived"]


def derived(result: StudyResult, spec: Spec) -> tuple[StudyResult, Spec]:
    """The result and the spec of a figure with its ``against``, ``mean`` and ``variants`` worked out.

    A change is the value divided by that of the variant ``against`` with the same other factors, less one. The mean
    over a factor is geometric where changes are shown; where the factor is x, it is one more x. Raises StudyError
    where no run has what is asked for.
    """
    against, mean, variants = (spec.get(key) for key in ("against", "mean", "variants"))
    if not (against or mean or variants):
        return result, spec
    name = spec["y"]
    rows = [row for row in done(result) if name in row.metrics]
    if against:
        shown = f"speedup over {against}" if name == SPEEDUP.name else f"change of {words(name)} against {against}"
        rows = _changes(result, rows, name, against, shown)
        metrics = {**result.metrics, shown: Metric(shown, "ratio", f"{name} against {against}")}
        result, spec, name = replace(result, metrics=metrics), {**spec, "y": shown}, shown
    if variants:
        rows = [row for row in rows if factor(result, row, "what_if") in variants]
    if mean:
        made = _means(result, rows, name, mean, geometric=bool(against))
        rows = [*rows, *made] if spec["x"] == mean else made
    if not rows:
        raise StudyError(
            f"no figure of {spec['y']} over {spec['x']}: no run that finished has it",
            None,
            "see the reasons of failed and skipped runs",
        )
    return replace(result, rows=rows), spec


def _changes(result: StudyResult, rows: Sequence[Row], name: str, against: str, shown: str) -> list[Row]:
    """Runs with their change; a variant that no seed reaches is that of every seed."""
    bases: dict[str, float] = {}
    for row in rows:
        if factor(result, row, "what_if") == against:
            bases[_point(row)] = bases[_point(row, seed=False)] = float(row.metrics[name])
    out = []
    for row in rows:
        base = bases.get(_point(row), bases.get(_point(row, seed=False)))
        if base:
            out.append(replace(row, metrics={shown: row.metrics[name] / base - 1}))
    return out


def _point(row: Row, *, seed: bool = True) -> str:
    rest = {key: held for key, held in row.factors.items() if key != "what_if" and (seed or key != "seed")}
    return json.dumps(rest, sort_keys=True, default=str)


def _means(result: StudyResult, rows: Sequence[Row], name: str, over: str, *, geometric: bool) -> list[Row]:
    """One run for all that differ only in a factor and in what goes with it."""
    gone = {over, *(other for other in _names(rows) if other != "what_if" and follows(result, rows, other, over))}
    groups: dict[str, list[Row]] = {}
    for row in rows:
        rest = {key: held for key, held in row.factors.items() if key not in gone}
        groups.setdefault(json.dumps(rest, default=str), []).append(row)
    label = "geometric mean" if geometric else "mean"
    taken: Callable[[Any], float] = _geometric if geometric else lambda values: float(np.mean(values))
    return [
        replace(
            held[0],
            factors={over: label, **{key: value for key, value in held[0].factors.items() if key not in gone}},
            metrics={name: taken([row.metrics[name] for row in held])},
        )
        for held in groups.values()
    ]


def _geometric(changes: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log1p(changes)))) - 1


def _names(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row.factors if name != "seed")
    return [name for name in names if len({text_of(row.factors.get(name)) for row in rows}) > 1]
