"""The claims of a study: read and checked before anything runs, judged by what the runs gave.

A verdict is *holds*, *fails*, *skipped* (what it needs is absent, which is never counted as holding) or
*not-reproduced*: outside its range, and marked so in the study with the reason. A mark that is no longer true fails.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiersim._base.errors import StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.claims.expressions import Evaluator, Expression, Fold, Told, parse
from tiersim.experiments.claims.published import COUNTED, Published, published, read_figures, read_ranges, told, written
from tiersim.experiments.claims.tables import Runs, UnmeasuredError, estimated
from tiersim.experiments.results import Row
from tiersim.experiments.statistics import Estimate
from tiersim.experiments.yaml_tree import Node

__all__ = ["VERDICTS", "Claim", "Claims", "Verdict", "check", "judge", "read_claims", "skipped"]

VERDICTS = ("holds", "fails", "skipped", "not-reproduced")
MARK = "not-reproduced"
KEYS = ("measure", "and", MARK)
OWN_KEYS = ("what", "published", "figure", "range", "below", "source")
TRACE = "trace"
SHOWN = 3  # comparisons and reasons, in one line


@dataclass(frozen=True)
class Claim:
    """A published figure and how a study measures it; `mark` is why it is not reproduced, where the study says so."""

    figure: Published
    measure: Expression
    also: Expression | None
    mark: str
    node: Node


@dataclass
class Claims:
    """The claims of a study with what they need to be judged; see `Runs` for `skipped` and `chance`."""

    study: str
    claims: dict[str, Claim]
    skipped: list[Row] = field(default_factory=list)
    chance: set[str] = field(default_factory=set)
    metrics: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: the estimates that were measured, or the comparisons, and why it is so."""

    study: str
    figure: Published
    verdict: str
    why: str = ""
    estimates: tuple[Estimate, ...] = ()
    tolds: tuple[Told, ...] = ()

    def measured(self) -> str:
        """What was measured, as a person reads it."""
        if self.tolds:
            several = len(self.tolds) > SHOWN
            holding = f"{sum(one.holds for one in self.tolds)} of {len(self.tolds)} hold"
            return holding if several else ", ".join(one.text for one in self.tolds)
        return ", ".join(written(held.value, self.figure.unit) for held in self.estimates)

    def interval(self) -> str:
        """How sure that is, as a person reads it: of a comparison, the interval of the closest difference."""
        held = [self._closest().difference] if self.tolds else self.estimates
        unit = "" if self.tolds else self.figure.unit
        return ", ".join(_sure(one, unit) for one in held)

    def _closest(self) -> Told:
        return min(self.tolds, key=lambda one: one.difference.low if math.isfinite(one.difference.low) else -math.inf)

    def public(self) -> dict[str, Any]:
        """The form of `tiersim verify --json`."""
        figure = self.figure
        intervals = [_ends(one) for one in ([self._closest().difference] if self.tolds else self.estimates)]
        return {
            "study": self.study,
            "claim": figure.claim,
            "source": figure.source,
            "published": _one(figure.figures) if figure.figures else figure.published,
            "measured": self.measured() if self.tolds else _one([held.value for held in self.estimates]),
            "interval": _one(intervals),
            "tolerance": _one([held.public() for held in figure.ranges]) if figure.ranges else figure.tolerance,
            "verdict": self.verdict,
            "why": self.why,
        }


def _one(values: Sequence[Any]) -> Any:
    """The one value of a claim, all of a claim of several, or null."""
    return values[0] if len(values) == 1 else list(values) or None


def _ends(held: Estimate) -> list[float | None] | None:
    if math.isnan(held.low):
        return None
    return [end if math.isfinite(end) else None for end in (held.low, held.high)]


def _sure(held: Estimate, unit: str) -> str:
    if held.method == "exact":
        return "exact"
    if math.isnan(held.low):
        return "no interval"
    return f"{written(held.low, unit)} to {written(held.high, unit)}"


# reading


def read_claims(node: Node) -> dict[str, Claim]:
    """The claims of a study by id. Raises StudyError with the place of what is wrong."""
    remedy = "write claims: {V1: {measure: \"geomean(cycles['base'] / cycles['Victima']) - 1\"}}"
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError("`claims` without claims", node.place, remedy)
    found = {name: _claim(name, held) for name, held in node.items() if held.value is not None or not held.text}
    if not found:
        raise StudyError("`claims` without claims", node.place, remedy)
    return found


def _claim(name: str, node: Node) -> Claim:
    at = node.key_place or node.place
    known = published().get(name)
    if known is not None and known.calibration:
        why = f"{known.what}: {known.calibration}"
        raise StudyError(f"{name} was used for calibration and may not be claimed ({why})", at, "leave it out")
    if not isinstance(node.value, dict) or "measure" not in node.value:
        remedy = f"write {name}: {{measure: \"geomean(cycles['base'] / cycles['mine']) - 1\"}}"
        raise StudyError(f"the claim {name} does not say what it measures", at, remedy)
    for key, held in node.items():
        if known is not None and key in OWN_KEYS:
            raise StudyError(
                f"what {name} must be is published, and no study says it", held.key_place, f"`tiersim explain {name}`"
            )
        if key not in (*KEYS, *OWN_KEYS):
            keys = KEYS if known is not None else (*KEYS, *OWN_KEYS)
            hint = nearest(key, keys) or f"known here: {', '.join(keys)}"
            raise StudyError(
                f"unknown key {key!r}; {hint}",
                held.key_place,
                "`tiersim explain claims` tells what may stand here",
            )
    figure = known or _own(name, node)
    said, also = node.value.get(MARK), node.value.get("and")
    if figure.also and also is None:
        raise StudyError(f"{name} also asks: {figure.also}", at, "say how it is measured: `and: V8 < V1`")
    if said is not None and not _text(said):
        raise StudyError(f"`{MARK}` says why in a sentence", said.place, f"write {MARK}: our traces are shorter")
    return Claim(
        figure,
        parse(node.value["measure"]),
        None if also is None else parse(also),
        "" if said is None else _text(said),
        node,
    )


def _text(node: Node) -> str:
    return node.value.strip() if isinstance(node.value, str) else ""


def _own(name: str, node: Node) -> Published:
    """A claim that is of the study alone."""
    for key in ("published", "source"):
        if not (held := node.value.get(key)) or not held.text:
            hint = nearest(name, published())
            raise StudyError(
                f"{name!r} is no published claim, and does not say `{key}`" + (f"; {hint}" if hint else ""),
                node.key_place or node.place,
                "`tiersim list claims` shows the published ones; one of your own has published, range and source",
            )
    ranges, unit = read_ranges(node)
    what = node.value.get("what")
    return Published(
        name,
        what.text if what else "",
        node.value["published"].text,
        node.value["source"].text,
        told(node),
        read_figures(node),
        ranges,
        "" if ranges else "order",
        unit,
        node.value["and"].text if "and" in node.value else "",
    )


# checking


def check(
    study: str,
    claims: dict[str, Claim],
    planned: Sequence[Row],
    skipped: Sequence[Row],
    chance: Iterable[str],
    known: Callable[[str], bool],
    names: Iterable[str],
    seeds: int,
) -> Claims:
    """The claims, once every expression makes sense on the runs that are planned.

    `known` tells whether there is a metric of a name, `names` are those to suggest. Raises StudyError with the place of
    what is wrong.
    """
    out = Claims(study, claims, list(skipped), set(chance))
    runs = Runs(planned, skipped, out.chance, known=known, names=names, planned=True)
    measures = {name: claim.measure for name, claim in claims.items()}
    for claim in claims.values():
        evaluator = Evaluator(runs, measures)
        _check(claim, evaluator, seeds)
        out.metrics |= evaluator.used
    return out


def _check(claim: Claim, evaluator: Evaluator, seeds: int) -> None:
    figure, measure = claim.figure, claim.measure
    if _compares(measure.tree) != (not figure.ranges):
        if figure.ranges:
            raise measure.fault(measure.tree, f"{figure.claim} is a number, and this compares")
        raise measure.fault(
            measure.tree,
            f"{figure.claim} has no range, and this is a number",
            f"compare: {figure.what}" if figure.asks and figure.claim in published() else "say range: [low, high]",
        )
    if figure.ranges:
        count = len(evaluator.numbers(measure, figure.claim))
        if count != len(figure.ranges):
            what = "one number" if len(figure.ranges) == 1 else f"a list of {len(figure.ranges)} numbers"
            raise measure.fault(measure.tree, f"{figure.claim} is {what}, and this is {count}")
    else:
        evaluator.truth(measure, figure.claim)
    if not evaluator.used:
        raise measure.fault(measure.tree, f"{figure.claim} uses no metric: nothing is measured", "name a metric")
    for kind in COUNTED:
        if wanted := getattr(figure, kind):
            _check_points(claim, kind, wanted, [fold for fold in evaluator.folds if fold.kind == kind])
    if claim.also is not None:
        evaluator.truth(claim.also)
    if seeds < figure.seeds:
        place = claim.node.key_place or claim.node.place
        remedy = f"write repeat: {{seeds: {figure.seeds}}}"
        raise StudyError(
            f"{figure.claim} is claimed from {figure.seeds} seeds, and the study has {seeds}", place, remedy
        )


def _compares(tree: ast.expr) -> bool:
    called = tree.func.id if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else ""
    return isinstance(tree, ast.Compare | ast.BoolOp) or called in ("rises", "falls")


WORDS = {
    "average": ("an average over {} workloads", "averages", "take the mean or geomean of as many traces"),
    "monotone": ("a course of {} values", "compares", "sweep over as many"),
    "count": ("a count of {} points", "counts", "count(...) over as many"),
}


def _check_points(claim: Claim, kind: str, wanted: int, folds: list[Fold]) -> None:
    what, verb, remedy = WORDS[kind]
    text = f"{claim.figure.claim} is {what.format(wanted)}, and this {verb}"
    if not folds:
        raise claim.measure.fault(claim.measure.tree, f"{text} none", remedy)
    for fold in folds:
        if fold.points != wanted:
            raise claim.measure.fault(claim.measure.tree, f"{text} {fold.points}", remedy)
        if kind == "average" and not any(name == TRACE or name.startswith(f"{TRACE}.") for name in fold.factors):
            over = " and ".join(fold.factors)
            raise claim.measure.fault(claim.measure.tree, f"{text} over {over}, which are no workloads", remedy)


# judging


def judge(claims: Claims, rows: Sequence[Row]) -> list[Verdict]:
    """The verdict on each claim of a study, by its rows."""
    runs = Runs(rows, claims.skipped, claims.chance, known=claims.metrics.__contains__)
    measures = {name: claim.measure for name, claim in claims.claims.items()}
    return [_judge(claims.study, claim, runs, measures) for claim in claims.claims.values()]


def skipped(study: str, claims: Mapping[str, Claim], why: str) -> list[Verdict]:
    """The verdicts on a study that could not run for want of something."""
    return [Verdict(study, claim.figure, "skipped", why) for claim in claims.values()]


def _judge(study: str, claim: Claim, runs: Runs, measures: Mapping[str, Expression]) -> Verdict:
    figure, evaluator = claim.figure, Evaluator(runs, measures)
    estimates: tuple[Estimate, ...] = ()
    tolds: tuple[Told, ...] = ()
    also: list[Told] = []
    try:
        if figure.ranges:
            estimates = tuple(estimated(held) for held in evaluator.numbers(claim.measure, figure.claim))
        else:
            tolds = tuple(evaluator.truth(claim.measure, figure.claim))
        if claim.also is not None:
            also = evaluator.truth(claim.also)
    except UnmeasuredError as error:
        return Verdict(study, figure, "skipped" if error.refused else "fails", error.why)
    outside = [
        f"{written(held.value, figure.unit)} is {'above' if held.value >= allowed.high else 'below'} what is allowed"
        for held, allowed in zip(estimates, figure.ranges, strict=True)
        if not allowed.holds(held.value)
    ]
    wrong = [*outside, *(_denied(one) for one in (*tolds, *also) if not one.holds)]
    if wrong:
        verdict, why = (MARK, claim.mark) if claim.mark else ("fails", _listed(wrong))
    elif claim.mark:
        verdict, why = "fails", f"it is reproduced now: remove the mark `{MARK}`"
    else:
        verdict, why = "holds", f"and {', '.join(one.text for one in also)}" if also else ""
    return Verdict(study, figure, verdict, why, estimates, tolds)


def _listed(reasons: list[str]) -> str:
    more = len(reasons) - SHOWN
    return "; ".join([*reasons[:SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _denied(one: Told) -> str:
    """Why a comparison does not hold."""
    where = f" at {one.at}" if one.at else ""
    if not one.means:
        return f"not {one.text}{where}"
    if math.isnan(one.difference.low):
        return f"{one.text}{where} by one seed, which may be chance: repeat it"
    return f"{one.text}{where} may be chance: the difference is {one.difference}"
