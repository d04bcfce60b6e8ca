"""What a sensitivity found: indices for each variant and output, where the winner changes, what speed is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tiersim.experiments.results import as_csv, speed_up
from tiersim.experiments.scenario import Metric
from tiersim.experiments.sensitivity.answers import Answer, Answers
from tiersim.experiments.sensitivity.crossover import Course, Winners, course, winner, winners
from tiersim.experiments.sensitivity.methods import Estimate, Floats, Indices, analyse
from tiersim.experiments.sensitivity.ranks import LEADING, Ranks, rank
from tiersim.experiments.sensitivity.spec import Point, Sensitivity, Varied, read_factors, read_sensitivity
from tiersim.experiments.sensitivity.speedups import Faster, speedups
from tiersim.experiments.unfold import read_what_ifs
from tiersim.experiments.yaml_tree import Node, from_data, get, plain

if TYPE_CHECKING:
    from tiersim.experiments.results import Row
    from tiersim.experiments.sections import Section

__all__ = ["Found", "SensitivityResult", "restored"]


@dataclass(frozen=True)
class Found:
    """The indices of one output of one variant."""

    variant: str
    output: str
    indices: Indices

    def leading(self) -> list[tuple[str, Estimate]]:
        """Factors with the index that orders them, the greatest first."""
        held = self.indices.kinds.get(LEADING[self.indices.method], ())
        known = [(name, found) for name, found in zip(self.indices.names, held, strict=False) if found is not None]
        return sorted(known, key=lambda pair: -pair[1].value)


class SensitivityResult:
    """The sensitivity of a finished study. `rows` are its runs, which are no rows of the study.

    A point that is asked for twice, or is the same as another after rounding, is one row for each seed.
    """

    def __init__(
        self,
        spec: Sensitivity,
        rows: list[Row],
        metrics: dict[str, Metric],
        baseline: str = "base",
        confidence: float = 0.95,
    ) -> None:
        self.spec, self.rows, self.metrics = spec, rows, metrics
        self.baseline, self.confidence = baseline, confidence
        speed_up(rows, baseline)
        self.answers = Answers(rows)

    # what is asked

    @property
    def factors(self) -> tuple[Varied, ...]:
        """What varies."""
        return self.spec.factors or ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The metrics that are told of."""
        return self.spec.outputs or ()

    def missing(self) -> list[Point]:
        """The points that must be run before more can be told; none when all is there."""
        for at in self.spec.at:
            self.answers.all([*self.spec.points(at), Point(at)])
        _ = self.courses, self.map, self.speedups
        return list(self.answers.missing.values())

    # what came out

    @cached_property
    def samples(self) -> dict[str, list[Answer]]:
        """The answers at the samples of each variant that has all of them."""
        found = ((at, self.answers.all(self.spec.points(at))) for at in self.spec.at)
        return {at: held for at, held in found if held is not None}

    @cached_property
    def indices(self) -> list[Found]:
        """The indices for each variant and output; none of a variant whose samples are not all there."""
        asked = (self.spec.seed, self.spec.second_order, self.confidence, self.spec.failed)
        factors = [factor.factor() for factor in self.factors]
        return [
            Found(at, output, analyse(self.spec.method, factors, self.spec.shares, self._values(at, output), *asked))
            for at in self.samples
            for output in self.outputs
        ]

    def _values(self, at: str, output: str) -> Floats:
        return np.array([answer.value(output) for answer in self.samples[at]])

    @cached_property
    def ranks(self) -> dict[str, Ranks]:
        """How stable the order of the variants is on each output that has a direction; empty for one variant.

        Ratios are to the variant that is the best at the study's own point.
        """
        spec, out = self.spec, {}
        own = {at: self.answers.at(Point(at)) for at in spec.at}
        if len(self.samples) < len(spec.at) or None in own.values():
            return {}
        asked = (spec.seed, spec.second_order, self.confidence, spec.failed)
        factors = [factor.factor() for factor in self.factors]
        for output in self.outputs:
            better = self._better(output)
            values = {at: answer.value(output) for at, answer in own.items() if answer is not None}
            best = winner(list(values.values()), list(values), better) or spec.at[0]
            samples = {at: self._values(at, output) for at in spec.at}
            found = rank(spec.method, factors, spec.shares, samples, values, better, best, *asked)
            if found is not None:
                out[output] = found
        return out

    @cached_property
    def failures(self) -> list[tuple[str, str]]:
        """The points at which a run failed, or gave no finite value of an output: what and why."""
        out: dict[Any, tuple[str, str]] = {}
        for at, held in self.samples.items():
            for point, answer in zip(self.spec.points(at), held, strict=True):
                lacking = [name for name in self.outputs if not math.isfinite(answer.value(name))]
                if answer.why or lacking:
                    out[point.name] = answer.rows[0].label, answer.why or f"it has no {lacking[0]}"
        return list(out.values())

    def _better(self, output: str) -> str:
        found = self.metrics.get(output)
        return found.better if found else ""

    def _course(self, factor: Varied, output: str) -> Course | None:
        better = self._better(output)
        return course(self.spec.at, factor, output, better, self.answers) if better else None

    @cached_property
    def courses(self) -> list[Course]:
        """Each output that has a direction along each factor alone; of automatic factors, those that it hinges on."""
        asked = [
            (factor, output)
            for output in self.outputs
            for factor in self.factors
            if not self.spec.auto or (output in self.ranks and factor.key in self.ranks[output].decides.values())
        ]
        found = (self._course(factor, output) for factor, output in asked) if self.spec.crossover else ()
        return [held for held in found if held is not None]

    @cached_property
    def map(self) -> Winners | None:
        """Who wins on the first output with a direction over two factors; None where none is asked for or there yet."""
        output = next(filter(self._better, self.outputs), None)
        if not self.spec.map or output is None:
            return None
        keys = self.spec.map if isinstance(self.spec.map, tuple) else self._two()
        if len(keys) != 2:
            return None
        first, second = (next(factor for factor in self.factors if factor.key == key) for key in keys)
        return winners(self.spec.at, (first, second), output, self._better(output), self.answers)

    def _two(self) -> list[str]:
        """The two factors with the greatest part of the leading index, over variants and outputs."""
        if any(at not in self.samples for at in self.spec.at):
            return []
        parts = dict.fromkeys((factor.key for factor in self.factors), 0.0)
        for found in self.indices:
            leading = found.leading()
            whole = sum(max(held.value, 0.0) for _, held in leading)
            for name, held in leading if whole else ():
                parts[name] += max(held.value, 0.0) / whole
        return sorted(parts, key=lambda name: -parts[name])[:2] if any(parts.values()) else []

    @cached_property
    def speedups(self) -> list[Faster]:
        """What each factor that is a rate or a time is worth when it alone is faster."""
        return (speedups(self.spec, self.outputs, self.answers) or []) if self.spec.speedups else []

    # how it is told

    def public(self) -> dict[str, Any]:
        """The form of `tiersim run --json`; what is no finite number is null.

        The block with its defaults (``at``, ``method``, ``samples``, ``seed``, ``factors``, ``outputs``); ``runs``, how
        many there are; ``failures``; ``answers`` in sentences; ``indices``, for each variant and output the index of
        each factor with its interval by name, and ``second`` of pairs; with two variants or more ``ranks``,
        ``crossovers`` and ``map``; and ``speedups``, where they were asked for.
        """
        from tiersim.experiments.sensitivity.told import public

        return public(self)

    def sections(self) -> list[Section]:
        """What a report and the terminal show."""
        from tiersim.experiments.sensitivity.told import sections

        return sections(self)

    def csv(self) -> str:
        """The samples of each variant in the order of the method, a line for each seed, with all metrics."""
        lines: list[dict[str, Any]] = []
        for at, held in self.samples.items():
            for number, (point, answer) in enumerate(zip(self.spec.points(at), held, strict=True), 1):
                for row in answer.rows:
                    seeded = {"seed": row.seed} if "seed" in row.factors else {}
                    named = {"sample": number, "what_if": at, **seeded, "status": row.status}
                    lines.append({**named, **point.values, **row.metrics})
        return as_csv(lines)

    # how it is kept

    def stored(self) -> dict[str, Any]:
        """What a folder keeps of it beside the study and its runs: what the study does not say itself."""
        factors = {factor.key: plain(factor.node) for factor in self.factors}
        return {
            "at": list(self.spec.at),
            "factors": factors,
            "only": {factor.key: list(factor.only) for factor in self.factors if factor.only is not None},
            "outputs": list(self.outputs),
            "notes": list(self.spec.notes),
            "metrics": [vars(held) for held in self.metrics.values()],
        }


def restored(tree: Node, held: dict[str, Any], rows: list[Row], baseline: str, confidence: float) -> SensitivityResult:
    """The sensitivity of a study's tree again, of what `stored` kept and its runs.

    Raises KeyError, TypeError or another error of what is no such thing.
    """
    block = get(tree, ["sensitivity"])
    if block is None:
        raise KeyError("sensitivity")
    spec = read_sensitivity(block, read_what_ifs(get(tree, ["what_if"])), {}, 1)
    if spec.factors is None:
        found = read_factors(from_data(held["factors"], "factors"), {})
        only = {key: tuple(labels) for key, labels in held["only"].items()}
        spec = replace(spec, factors=tuple(replace(factor, only=only.get(factor.key)) for factor in found))
    at, several = tuple(held["at"]), len(held["at"]) > 1  # without those whose traces were not there
    spec = replace(spec, at=at, crossover=spec.crossover and several, map=spec.map if several else False)
    spec = replace(spec, outputs=tuple(held["outputs"]), notes=tuple(held["notes"]))
    metrics = [Metric(**metric) for metric in held["metrics"]]
    return SensitivityResult(spec, rows, {metric.name: metric for metric in metrics}, baseline, confidence)
