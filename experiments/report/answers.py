"""The answer of a study in a few words: what is best, by how much, and whether chance may explain it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tiersim.experiments.comparison import Compared, Summary, point, repeated
from tiersim.experiments.figures import text_of, words
from tiersim.experiments.results import StudyResult, differing
from tiersim.experiments.table import change, number

__all__ = ["Answer", "answers"]

MOST = 4


@dataclass(frozen=True)
class Answer:
    """What is best in one metric: `who`, and in `how` by how much."""

    metric: str
    wanted: str
    who: str
    how: str


def answers(result: StudyResult, summaries: list[Summary]) -> list[Answer]:
    """One for each metric that is shown and has a direction, at most four; none where there is nothing to compare."""
    if len(summaries) < 2:
        return []
    found = []
    for name in result.shown:
        metric = result.metrics.get(name)
        if metric is None or not metric.better:
            continue
        held = [summary for summary in summaries if name in summary.metrics]
        if len(held) > 1:
            compared = "what_if" in differing(result.rows)
            who, how = (_of_variants if compared else _of_points)(result, held, name, metric.unit, metric.better)
            found.append(Answer(words(name), f"{metric.better} is better", who, how))
    return found[:MOST]


def _of_variants(result: StudyResult, summaries: list[Summary], name: str, unit: str, better: str) -> tuple[str, str]:
    """The variant that is best at most points of the sweep, and how far it is from the baseline there."""
    points: dict[str, list[Summary]] = {}
    for held in summaries:
        rest = {key: value for key, value in held.factors.items() if key != "what_if"}
        points.setdefault(point(rest), []).append(held)
    wins: Counter[str] = Counter()
    best: dict[str, list[Compared]] = {}
    for group in points.values():
        top = _top(group, name, better)
        winners = [held for held in group if held.metrics[name].value.value == top]
        if len(winners) == len(group):
            wins["all are equal"] += 1
            continue
        who = " and ".join(text_of(held.factors.get("what_if", result.baseline)) for held in winners)
        wins[who] += 1
        best.setdefault(who, []).append(winners[0].metrics[name])
    (who, often), *_ = wins.most_common(1)
    several = len(points) > 1
    where = (
        f" at {often:,} of {len(points):,} points" if several and often < len(points) else " at every point" * several
    )
    changes = [held for held in best.get(who, ()) if held.difference is not None]
    if not changes:
        return who, f"{result.baseline} is not beaten{where}" if who == result.baseline else where.strip()
    ends = sorted(changes, key=_size)
    texts = list(dict.fromkeys(change(held, unit)[0] for held in (ends[0], ends[-1])))
    how = f"{' to '.join(texts)} against {result.baseline}{where}"
    unsure = sum(not held.told for held in changes)
    if unsure:
        how += "; chance may explain it" if unsure == len(changes) else f"; chance may explain it at {unsure:,} of them"
    return who, how


def _size(held: Compared) -> float:
    """How far a variant is from the baseline, as a ratio where there is one."""
    found = held.ratio or held.difference
    assert found is not None, "it was compared"
    return found.value


def _of_points(result: StudyResult, summaries: list[Summary], name: str, unit: str, better: str) -> tuple[str, str]:
    """The best point of a sweep, and the span of all."""
    top = _top(summaries, name, better)
    winners = [held for held in summaries if held.metrics[name].value.value == top]
    values = [held.metrics[name].value.value for held in summaries]
    span = f"{number(min(values), unit)} to {number(max(values), unit)} over {len(summaries):,} points"
    if repeated(result.rows):
        span += ", each the mean of its seeds"
    if len(winners) == len(summaries):
        return "all are equal", number(top, unit)
    more = f" and {len(winners) - 1:,} more" if len(winners) > 1 else ""
    return f"{winners[0].label}{more}", f"{number(top, unit)}; {span}"


def _top(group: list[Summary], name: str, better: str) -> float:
    values = [held.metrics[name].value.value for held in group]
    return min(values) if better == "less" else max(values)
