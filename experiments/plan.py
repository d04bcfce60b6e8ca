"""From a study file to the runs it asks for: presets filled in, every value checked, what cannot run said aloud."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from ruamel.yaml import YAML

from tiersim._base.errors import AbsentError, StudyError, TraceError
from tiersim._base.params import Param, config, dump, params
from tiersim._base.registry import index, inside, load, nearest, validate
from tiersim.experiments.claims.verdicts import Claims, check, read_claims
from tiersim.experiments.presets import expand
from tiersim.experiments.results import SPEEDUP, TIME, Row, StudyResult, speed_up
from tiersim.experiments.scenario import Metric, Scenario, Sessioned
from tiersim.experiments.sensitivity.auto import Uncertain, auto_factors, without_range
from tiersim.experiments.sensitivity.result import SensitivityResult
from tiersim.experiments.sensitivity.spec import Point, Sensitivity, read_factors
from tiersim.experiments.study import RESERVED, Study, problem, read_study
from tiersim.experiments.unfold import check_runs, short_names
from tiersim.experiments.yaml_tree import Node, from_data, plain

__all__ = ["FigureSpec", "Plan", "Planned", "ReportSpec", "make_plan", "scenario_of"]

WHOLE = 10**9  # parts per billion


@config
class FigureSpec:
    """One figure of a report."""

    x: Annotated[
        str,
        Param(
            "a factor (a swept key, `what_if`), `time` for the course of the run, or `reuse` for how often lines were "
            "hit before they left, where y is the share of those that were not"
        ),
    ]
    y: Annotated[str, Param("a metric")]
    by: Annotated[str | None, Param("a factor that makes the lines apart")] = None
    title: Annotated[str | None, Param("what stands over it")] = None
    variants: Annotated[list[str] | None, Param("the what_ifs that are shown; all unless said")] = None
    against: Annotated[str | None, Param("a what_if: y is shown as the change against it")] = None
    width: Annotated[
        Literal["column", "page"] | None,
        Param("of a paper: one column (3.5 inches), or the page (7); the course of a run takes the page unless said"),
    ] = None
    mean: Annotated[
        str | None,
        Param("a factor over which the mean is taken, of changes the geometric one; where it is x, one more bar"),
    ] = None


@config
class ReportSpec:
    """What a study shows."""

    baseline: Annotated[str, Param("the what_if that others are compared with")] = "base"
    metrics: Annotated[list[str] | None, Param("columns of the table")] = None
    figures: Annotated[list[FigureSpec] | None, Param("figures of the report")] = None
    confidence: Annotated[int, Param("of the intervals", unit="ratio", ge=WHOLE // 2, le=WHOLE - 1)] = 95 * WHOLE // 100
    correction: Annotated[
        Literal["holm", "benjamini-hochberg"],
        Param("of p for many comparisons: hardly one false difference, or few false ones among those found"),
    ] = "holm"
    blocks: Annotated[
        Literal["requests", "sessions"],
        Param("what is resampled where `repeat` gives no seeds: blocks of consecutive requests, or whole sessions"),
    ] = "requests"


@dataclass
class Planned:
    """One run to make."""

    label: str
    factors: dict[str, Any]
    seed: int
    scenario: Scenario
    refused: str = ""
    """Why a sample cannot be run, which makes it a failed one."""


@dataclass
class Plan:
    """A study that has been checked whole."""

    study: Study
    runs: list[Planned]
    skipped: list[dict[str, str]]
    notes: list[str]
    report: ReportSpec
    metrics: dict[str, Metric] = field(default_factory=dict)
    claims: Claims | None = None
    sensitivity: Sensitivity | None = None

    def more(self, rows: list[Row]) -> list[Planned]:
        """The runs that the sensitivity needs beside those of these rows; none when it has all, or there is none."""
        if self.sensitivity is None:
            return []
        points = self._sensitivity(self.sensitivity, rows).missing()
        return [made for point in points for made in self._sampled(point)]

    def _sensitivity(self, spec: Sensitivity, rows: list[Row]) -> SensitivityResult:
        described = {name: held for name in spec.outputs or () if (held := self._describe(name))}
        return SensitivityResult(spec, rows, described, self.report.baseline, self.report.confidence / WHOLE)

    def _sampled(self, point: Point) -> list[Planned]:
        """The runs of a point, one for each seed that reaches it."""
        study, values = self.study, point.values
        named = {"what_if": point.at} if len(study.what_ifs) > 1 else {}
        short = short_names([factor.key for factor in (self.sensitivity and self.sensitivity.factors) or ()])
        told = ", ".join(f"{short[key]} {held}" for key, held in values.items())
        label = ", ".join(filter(None, [point.at if named or not told else "", told]))
        cls = type(self.runs[0].scenario)
        try:
            scenario = _build(cls, expand(study.at(point), cls))
        except (StudyError, TraceError) as error:
            raise type(error)(f"{error.message} (sample {label})", error.place, error.remedy) from None
        factors, refused = {**named, **values}, scenario.refuses()
        if len(study.seeds) == 1 or not scenario.is_random():
            return [Planned(label, factors, study.seeds[0], scenario, refused)]
        return [Planned(label, {**factors, "seed": seed}, seed, scenario, refused) for seed in study.seeds]

    def result(self, rows: list[Row], samples: list[Row] | None = None) -> StudyResult:
        """A result that holds these rows, and these of the sensitivity."""
        speed_up(rows, self.report.baseline)
        names = {name for row in rows for name in row.metrics}
        notes = list(dict.fromkeys([*self.notes, *(note for row in rows for note in row.notes)]))
        metrics = {name: self._describe(name) for name in sorted(names)}
        shown = self.report.metrics or self.runs[0].scenario.shown()
        figures = [dump(figure) for figure in self.report.figures or ()]
        scenario = self.runs[0].scenario
        return StudyResult(
            self.study.name,
            self.study.question,
            rows,
            self.skipped,
            {name: held for name, held in metrics.items() if held is not None},
            list(shown),
            self.report.baseline,
            figures,
            dict(scenario.provenance()),
            notes,
            scenario=self.study.scenario,
            correction=self.report.correction,
            confidence=self.report.confidence / WHOLE,
            blocks=self.report.blocks,
            drawn=self.study.drawn,
            claims=self.claims,
            tree=self.study.tree,
            sensitivity=self._sensitivity(self.sensitivity, samples or []) if self.sensitivity else None,
        )

    def _describe(self, name: str) -> Metric | None:
        if name == SPEEDUP.name:
            return SPEEDUP
        return next((found for run in self.runs if (found := run.scenario.describe(name))), None)

    def resolved(self) -> str:
        """The study with every default shown: the first run in full, the others by what they change."""
        first = self.runs[0]
        out: dict[str, Any] = {
            "study": self.study.name,
            "scenario": self.study.scenario,
            **{key: held for key, held in dump(first.scenario).items() if key != "use"},
            "report": dump(self.report),
            **({"claims": plain(self.study.claims)} if self.study.claims else {}),
            **({"sensitivity": self.sensitivity.resolved()} if self.sensitivity else {}),
        }
        yaml = YAML()
        yaml.width = 120
        yaml.default_flow_style = False
        text = io.StringIO()
        yaml.dump(out, text)
        question = "".join(f"# {line}\n".replace("# \n", "#\n") for line in self.study.question.splitlines())
        return question + text.getvalue() + self._runs()

    def _runs(self) -> str:
        """A line a run, in JSON, which is YAML too: the emitter takes milliseconds for each."""
        first = _flat(dump(self.runs[0].scenario))
        lines = ["runs:"]
        for run in self.runs:
            own = {"label": run.label, "seed": run.seed, "factors": run.factors}
            own["set"] = changes(first, _flat(dump(run.scenario)))
            lines.append(f"- {json.dumps(own, ensure_ascii=False)}")
        return "\n".join(lines) + "\n"


def changes(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The dotted keys at which two flat configs differ, with the second's values."""
    return {key: other.get(key) for key in sorted({*first, *other}) if first.get(key) != other.get(key)}


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key, held in tree.items() for k, v in _flat(held, f"{path}.{key}" if path else key).items()}
    return {path: tree}


def make_plan(source: str | Path | dict[str, Any], sets: Sequence[str] = ()) -> Plan:
    """Read and check a study; variants whose trace the catalogue knows and that is not here are skipped.

    Raises StudyError (with the place in the file), AbsentError where no variant has its trace, or another TraceError.
    """
    study = read_study(source, sets)
    try:
        cls = load("scenario", study.scenario)
    except StudyError as error:
        raise problem(study.tree, ("scenario",), error.message) from None
    runs: list[Planned] = []
    skipped: list[dict[str, str]] = []
    refused: list[Row] = []
    absent: AbsentError | None = None  # the first trace that is not here
    still: set[str] = set()  # variants that seeds cannot change, run once
    for variant in study.variants:
        try:
            scenario = _build(cls, expand(variant.tree, cls))
        except AbsentError as error:
            absent = absent or error
            reason = f"{error.message}; {error.remedy}"
            skip = {"what": "a trace", "why": reason}
            skipped += [] if skip in skipped else [skip]  # once for all variants
            refused.append(Row(variant.label, variant.factors, variant.seed, "", "skipped", reason))
            continue
        except (StudyError, TraceError) as error:
            if not variant.values:
                raise
            message = f"{error.message} ({variant.label}: {variant.values})"
            raise type(error)(message, error.place, error.remedy) from None
        reason = scenario.refuses()
        if reason:
            skip = {"what": variant.label, "why": reason}
            skipped += [] if skip in skipped else [skip]  # once for all seeds
            refused.append(Row(variant.label, variant.factors, variant.seed, "", "skipped", reason))
            continue
        factors = dict(variant.factors)
        if not scenario.is_random() and len(study.seeds) > 1:
            factors.pop("seed", None)
            name = f"{variant.label} {factors}"
            if name in still:
                continue
            still.add(name)
        runs.append(Planned(variant.label, factors, variant.seed, scenario))
    notes = list(study.notes)
    if still:
        every = "nothing in this study is" if len(still) == len(runs) else f"{len(still)} of its variants are not"
        notes.append(f"repeat asks for {len(study.seeds)} seeds, but {every} random: run once")
    if not runs and absent:
        raise absent
    if not runs:
        raise StudyError(f"nothing is left to run: {skipped[0]['why']}")
    plan = Plan(study, runs, skipped, notes, ReportSpec())
    if study.report is not None:
        plan.report = _report(study, study.report, runs)
    if study.claims is not None:
        plan.claims = _claims(study, study.claims, runs, refused)
    if study.sensitivity is not None:
        plan.sensitivity = _sensitivity(study.sensitivity, plan)
    return plan


def scenario_of(name: str, config: dict[str, Any]) -> Scenario:
    """The scenario that a run's `config` describes.

    Raises StudyError where no such one can be, and TraceError where its trace cannot be read.
    """
    cls = load("scenario", name)
    tree = from_data({key: held for key, held in config.items() if key != "use"}, "study")
    made: Scenario = _build(cls, expand(tree, cls))
    return made


def _build(cls: type, tree: Node) -> Any:
    problems, made = validate(cls, plain(tree))
    if problems:
        problems.sort(key=lambda found: not found[1].startswith("unknown key"))  # a misspelt key is also a missing one
        path, message = problems[0]
        if len(path) == 1 and message.startswith("unknown key"):
            known = [*(item.name for item, _, _ in params(cls)), *RESERVED]
            hint = nearest(str(path[0]), known) or f"known here: {', '.join(known)}"
            message = f"unknown key {path[0]!r}; {hint}"
        error = _problem(tree, path, message, cls)
        others = [f"also: {problem(tree, other, text).place}: {text}" for other, text in problems[1:6]]
        raise StudyError(error.message, error.place, "\n  ".join([error.remedy, *others]))
    assert made is not None
    try:
        made.check()
        made.size()
    except (StudyError, TraceError) as error:
        if not error.path:
            raise
        found = _problem(tree, error.path, error.message, cls)
        raise type(error)(found.message, found.place, error.remedy or found.remedy) from None
    return made


def _problem(tree: Node, path: tuple[Any, ...], message: str, cls: Any, under: str = "") -> StudyError:
    """An error at a path of a tree that a config class reads, with the command that explains what may stand there."""
    known, hint = inside(cls, path)
    if known == path and path and hint == inside(cls, path[:-1])[1]:  # the last key is of no class here
        known = known[:-1]
    word = ".".join([*([under] if under else []), *(step for step in known if isinstance(step, str))])
    found = problem(tree, path, message)
    return StudyError(
        message, found.place, f"`tiersim explain {word or cls.registered.name}` tells what may stand here"
    )


def _report(study: Study, node: Node, runs: list[Planned]) -> ReportSpec:
    def wrong(path: tuple[Any, ...], message: str) -> StudyError:
        return _problem(node, path, message, ReportSpec, "report")

    problems, report = validate(ReportSpec, plain(node))
    if problems:
        raise wrong(*problems[0])
    assert report is not None
    labels = {str(variant.factors.get("what_if", "base")) for variant in study.variants}
    if report.baseline not in labels:
        hint = nearest(report.baseline, labels) or f"there are: {', '.join(sorted(labels))}"
        raise wrong(("baseline",), f"no variant is called {report.baseline!r}; {hint}")
    if report.blocks == "sessions" and (told := _no_sessions(runs)):
        raise wrong(("blocks",), told)
    known = _metrics_of(runs)
    for place, name in enumerate(report.metrics or ()):
        if told := _unknown_metric(name, known, runs):
            raise wrong(("metrics", place), told)
    factors = ["what_if", "time", "reuse", *{key for run in runs for key in run.factors}]
    for place, figure in enumerate(report.figures or ()):
        if told := _unknown_metric(figure.y, known, runs):
            raise wrong(("figures", place, "y"), told)
        for key in ("x", "by", "mean"):
            said = getattr(figure, key)
            if said is not None and said not in factors:
                hint = nearest(said, factors) or f"there are: {', '.join(dict.fromkeys(factors))}"
                raise wrong(("figures", place, key), f"nothing varies {said!r}; {hint}")
        for path, said in (
            (("against",), figure.against),
            *((("variants", spot), label) for spot, label in enumerate(figure.variants or ())),
        ):
            if said is not None and said not in labels:
                hint = nearest(said, labels) or f"there are: {', '.join(sorted(labels))}"
                raise wrong(("figures", place, *path), f"no variant is called {said!r}; {hint}")
    return report


def _claims(study: Study, node: Node, runs: list[Planned], refused: list[Row]) -> Claims:
    names = _metrics_of(runs)
    return check(
        study.name,
        read_claims(node),
        [Row(run.label, run.factors, run.seed, "", "waiting") for run in runs],
        refused,
        # one seed reaches these, and nothing tells what others would do
        [run.label for run in runs if len(study.seeds) == 1 and run.scenario.is_random()],
        lambda name: not _unknown_metric(name, names, runs),
        names,
        len(study.seeds),
    )


def _present(spec: Sensitivity, plan: Plan) -> Sensitivity:
    """Of the variants whose traces are here; that others are skipped is said where the study's are."""
    cls, kept = type(plan.runs[0].scenario), []
    absent: AbsentError | None = None
    for at in spec.at:
        try:
            _build(cls, expand(plan.study.at(Point(at)), cls))
        except AbsentError as error:
            absent = error
            continue
        kept.append(at)
    if absent is not None and not kept:
        raise absent
    several = len(kept) > 1
    return replace(spec, at=tuple(kept), crossover=spec.crossover and several, map=spec.map if several else False)


def _automatic(spec: Sensitivity, plan: Plan) -> Sensitivity:
    """With all factors that carry an uncertainty in one of its variants; a variant without one goes without it."""
    cls = type(plan.runs[0].scenario)
    found: dict[str, Uncertain] = {}
    only: dict[str, list[str]] = {}
    notes: list[str] = []
    for at in spec.at:
        tree = plan.study.at(Point(at))
        for one in auto_factors(cls, tree):
            first = found.setdefault(one.key, one)
            if one.range == first.range and one.key not in plan.study.swept:
                only.setdefault(one.key, []).append(at)
            elif one.range != first.range:
                notes.append(f"{one.key} is of another preset in {at}, and keeps its value there")
        notes += without_range(cls, tree)
    kept = {key: from_data(found[key].range, f"the uncertainty of {key}") for key in only}
    if not kept:
        remedy = "name factors: {key: {range: [low, high]}}"
        raise StudyError("nothing that this study uses carries an uncertainty", spec.place("factors"), remedy)
    factors = read_factors(Node(kept, spec.place("factors")), {})
    factors = tuple(
        factor if len(only[factor.key]) == len(spec.at) else replace(factor, only=tuple(only[factor.key]))
        for factor in factors
    )
    spec = replace(spec, factors=factors, notes=(*spec.notes, *dict.fromkeys(notes)))
    check_runs(spec.node, spec.runs * len(spec.at) * len(plan.study.seeds))
    return spec


def _sensitivity(spec: Sensitivity, plan: Plan) -> Sensitivity:
    """What is sampled, with the outputs that it is told of."""
    spec = _present(spec, plan)
    if spec.factors is None:
        spec = _automatic(spec, plan)
    known = _metrics_of(plan.runs)
    for place, name in enumerate(spec.outputs or ()):
        if told := _unknown_metric(name, known, plan.runs):
            raise StudyError(told, spec.output_place(place), "`tiersim list metrics` shows them all")
        if name == SPEEDUP.name and plan.report.baseline not in spec.at:
            remedy = f"sample it too: `at: [{plan.report.baseline}, ...]`, or `at: all`"
            raise StudyError("a speedup is against the baseline", spec.output_place(place), remedy)
    shown = plan.report.metrics or plan.runs[0].scenario.shown()
    shown = [name for name in shown if name != SPEEDUP.name or plan.report.baseline in spec.at]
    directed = [name for name in shown if (held := plan._describe(name)) and held.better]
    return replace(spec, outputs=spec.outputs or tuple(directed or shown))


def _metrics_of(runs: list[Planned]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.scenario.metric_names())
    compared = TIME in names and any("what_if" in run.factors for run in runs)
    return [*names, *([SPEEDUP.name] if compared else [])]


def _no_sessions(runs: list[Planned]) -> str:
    if any("seed" in run.factors for run in runs):
        return "with `repeat` intervals are those of seeds; leave out one of both"
    for run in runs:
        if not isinstance(run.scenario, Sessioned) or not run.scenario.has_sessions():
            return f"{run.label} has no sessions: these are the tenants of a trace of objects; write `blocks: requests`"
    return ""


def _unknown_metric(name: str, known: list[str], runs: list[Planned]) -> str:
    if name in known or any(run.scenario.describe(name) for run in runs):  # such as of a tenant that the trace has
        return ""
    return f"there is no metric {name!r}; {nearest(name, known) or 'see `tiersim list metrics`'}"


def scenarios() -> list[str]:
    """The names of all scenarios."""
    return sorted({item.name for item in index("scenario").values()})
