"""The two sides of a difference: a study, or one of its variants; and which runs of both belong together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.results import SPEEDUP, Row, StudyResult
from tiersim.experiments.unfold import BASE

__all__ = ["Matched", "Side", "Source", "match", "metric_of", "side_of"]

Source = str | Path | StudyResult | tuple[StudyResult, str]


@dataclass
class Side:
    """Runs of one study. `label` is that of a run or a variant, and empty for all of the study."""

    name: str
    result: StudyResult
    rows: list[Row]
    label: str = ""

    def place(self, row: Row) -> tuple[tuple[str, str], ...]:
        """Where a run stands among those of the side, whatever its seed."""
        left_out = {"seed", *(["what_if"] if self.label or row.factors.get("what_if") == BASE else [])}
        return tuple(sorted((key, str(held)) for key, held in row.factors.items() if key not in left_out))


@dataclass
class Matched:
    """Pairs of runs, and what found none: a label and why."""

    pairs: list[tuple[Row, Row]]
    only_a: list[tuple[str, str]] = field(default_factory=list)
    only_b: list[tuple[str, str]] = field(default_factory=list)


def side_of(source: Source) -> Side:
    """The runs that FOLDER, FOLDER:LABEL, a result, or a result and a label name.

    Raises StudyError for what is no folder of a study, and for a label that it does not have.
    """
    if isinstance(source, tuple):
        return _labelled(f"{source[0].study}:{source[1]}", source[0], source[1])
    if isinstance(source, StudyResult):
        return Side(source.study, source, source.rows)
    from tiersim.experiments.opened import open_result

    text = str(source)
    if Path(text).is_dir():
        result = open_result(text)
        return Side(text, result, result.rows)
    places = [at for at, letter in enumerate(text) if letter == ":" and Path(text[:at]).is_dir()]
    if not places:
        folder = text.partition(":")[0]
        there = [path.parent for path in Path(folder).parent.glob("*/resolved.yaml")]
        hint = nearest(folder, map(str, there)) or "it is what `tiersim run` writes, such as results/NAME"
        raise StudyError(f"{folder!r} is no folder of a study", None, hint)
    at = places[-1]  # a label has no slash more often than a folder has a colon
    return _labelled(text, open_result(text[:at]), text[at + 1 :])


def _labelled(name: str, result: StudyResult, label: str) -> Side:
    """The runs of a label, or all those of a what_if."""
    for rows in (
        [row for row in result.rows if row.label == label],
        [row for row in result.rows if str(row.factors.get("what_if", "")) == label],
    ):
        if rows:
            return Side(name, result, rows, label)
    known = dict.fromkeys(row.label for row in result.rows)
    known |= dict.fromkeys(str(row.factors["what_if"]) for row in result.rows if "what_if" in row.factors)
    some = ", ".join(list(known)[:8]) + (" ..." if len(known) > 8 else "")
    raise StudyError(
        f"no run of {result.study} is called {label!r}", None, nearest(label, known) or f"there are: {some}"
    )


def metric_of(a: Side, b: Side, asked: str | None) -> str:
    """The metric to compare: the one that is asked for, or the first that A shows and both have.

    Raises StudyError where not both have it.
    """
    if a.result.scenario != b.result.scenario:
        raise StudyError(
            f"{a.name} is of the scenario {a.result.scenario}, and {b.name} of {b.result.scenario}",
            None,
            "compare results of one scenario: the metrics of two mean different things",
        )
    mine, theirs = _metrics(a.rows), _metrics(b.rows)
    common = [name for name in mine if name in theirs and name != SPEEDUP.name]
    if asked == SPEEDUP.name:
        raise StudyError("a speedup is already a comparison of two runs", None, "take the metric that it is made of")
    if asked is not None and asked not in common:
        lacks = [side.name for side, held in ((a, mine), (b, theirs)) if asked not in held]
        hint = nearest(asked, common) or f"both have: {', '.join(common[:12])}{' ...' if len(common) > 12 else ''}"
        raise StudyError(f"no run of {' and of '.join(lacks)} has the metric {asked!r}", None, hint)
    if not common:
        raise StudyError(f"{a.name} and {b.name} have no metric in common", None, "compare runs that are finished")
    return asked or next((name for name in a.result.shown if name in common), common[0])


def _metrics(rows: Iterable[Row]) -> dict[str, None]:
    return dict.fromkeys(name for row in rows for name in row.metrics)


def match(a: Side, b: Side, metric: str) -> Matched:
    """The runs of both sides that belong together, by their factors and seeds.

    A run that no seed reaches stands against every seed of the other side. Raises StudyError where nothing matches.
    """
    out = Matched([])
    mine, theirs = _usable(a, metric, out.only_a), _usable(b, metric, out.only_b)
    if len(mine) == 1 and len(theirs) == 1:  # two runs belong together whatever they are called
        theirs = dict(zip(mine, theirs.values()))
    elif (len(mine) == 1 or len(theirs) == 1) and not set(mine) & set(theirs):
        one, many = (a, b) if len(mine) == 1 else (b, a)
        raise StudyError(
            f"{one.name} is one run, and {many.name} is {max(len(mine), len(theirs))}",
            None,
            f"name one of them: {many.name}:LABEL" if not many.label else "name one of them by its own label",
        )
    for place, held in mine.items():
        others = theirs.get(place, {})
        for seed, row in held.items():
            partners = [others.get(None, others.get(seed))] if seed is not None else list(others.values())
            out.pairs += [(row, partner) for partner in partners if partner is not None]
    paired = {id(row) for pair in out.pairs for row in pair}
    for groups, only, other in ((mine, out.only_a, b), (theirs, out.only_b, a)):
        lost = [row for held in groups.values() for row in held.values() if id(row) not in paired]
        only += [(_named(row), f"{other.name} has no such run") for row in lost]
    if not out.pairs:
        why = next((f": {label}: {reason}" for label, reason in (*out.only_a, *out.only_b)), "")
        raise StudyError(f"no run of {a.name} has its like in {b.name}{why}", None, "name two runs: FOLDER:LABEL")
    return out


def _usable(side: Side, metric: str, only: list[tuple[str, str]]) -> dict[Any, dict[int | None, Row]]:
    """The finished runs that have the metric, by their place and by seed (None where no seed reaches them)."""
    out: dict[Any, dict[int | None, Row]] = {}
    for row in side.rows:
        if row.status != "done":
            only.append((_named(row), f"it is {row.status}"))
        elif metric not in row.metrics or not math.isfinite(row.metrics[metric]):
            only.append((_named(row), f"it has no {metric}"))
        else:
            out.setdefault(side.place(row), {})[row.seed if "seed" in row.factors else None] = row
    return out


def _named(row: Row) -> str:
    return f"{row.label}, seed {row.seed}" if "seed" in row.factors else row.label
