"""The variants of a study against its baseline, over seeds or over the parts of one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.experiments.statistics import (
    CONFIDENCE,
    FEWEST,
    Estimate,
    Longer,
    Needed,
    Paired,
    adjusted,
    estimate,
    longer,
    needed,
    paired,
    paired_ratios,
    ratio_of_sums,
)

if TYPE_CHECKING:
    from tiersim.experiments.results import Row

__all__ = ["Compared", "Summary", "compare", "point", "repeated"]

Floats = NDArray[np.float64]
BLOCKS = {"requests": "windows", "sessions": "sessions"}  # the tables of a run
NEAR = 1e-3  # of the run: windows of two runs that end this near each other are the same


@dataclass(frozen=True)
class Compared:
    """One metric of a variant, and how it differs from the baseline.

    `test` is None where nothing was tested: in the baseline, between two exact values, with one pair. `p_adjusted` is
    corrected for all tests of the study; `needed` and `longer` say what is missing until that correction leaves a
    difference: repeats, or length of the run.
    """

    value: Estimate
    difference: Estimate | None = None
    ratio: Estimate | None = None
    test: Paired | None = None
    p_adjusted: float = math.nan
    needed: Needed | None = None
    longer: Longer | None = None
    confidence: float = CONFIDENCE

    @property
    def told(self) -> bool:
        """Whether there is a difference, as far as these runs can tell."""
        if self.test is not None:
            return self.p_adjusted < 1 - self.confidence
        return self.difference is not None and self.difference.method == "exact" and self.difference.value != 0

    def public(self) -> dict[str, Any]:
        """The form of `tiersim run --json`; what is no finite number is null."""
        out: dict[str, Any] = {"estimate": _public(self.value)}
        if self.difference is not None:
            out["difference"] = _public(self.difference)
            out["ratio"] = _public(self.ratio) if self.ratio else None
        if self.test is not None:
            out |= {
                "test": self.test.test,
                "p": self.test.p,
                "p_adjusted": self.p_adjusted,
                "cohens_dz": _finite(self.test.effect),
                "superiority": _finite(self.test.superiority),
            }
        if self.needed is not None:
            out["repeats_needed"] = {"more": self.needed.more, "at_most": self.needed.at_most}
        if self.longer is not None:
            out["length_needed"] = {"times": self.longer.times, "at_most": self.longer.at_most}
        return out


@dataclass
class Summary:
    """A variant at one point of the sweep over its seeds; `seeds` is empty where none reached it.

    `status` is that of its runs: ``done`` where one or more are.
    """

    label: str
    factors: dict[str, Any]
    seeds: list[int]
    status: str = "done"
    failed: int = 0
    metrics: dict[str, Compared] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        """The form of `tiersim run --json`."""
        return {
            "label": self.label,
            "factors": self.factors,
            "seeds": self.seeds,
            "failed": self.failed,
            "metrics": {name: held.public() for name, held in self.metrics.items()},
        }


def repeated(rows: Iterable[Row]) -> bool:
    """Whether a study has runs that differ in their seed only."""
    return any("seed" in row.factors for row in rows)


def compare(
    rows: Sequence[Row],
    baseline: str,
    names: Sequence[str],
    correction: str = "holm",
    confidence: float = CONFIDENCE,
    blocks: str = "requests",
) -> list[Summary]:
    """One summary a variant and point of the sweep, in the order of the rows.

    Where `repeat` gave runs several seeds: seed k of a variant is paired with seed k of the baseline at the same point;
    where one of both is exact, with that one run. Else by the parts of the run, which `blocks` chooses: windows of
    ``requests``, or ``sessions``. What has neither is exact. p values are corrected for all variants, points and
    metrics together. `names` are the metrics. Raises StudyError where sessions are too few.
    """
    seeds = repeated(rows)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(point(row.factors), []).append(row)
    sides = {name: _Side(group, "" if seeds else BLOCKS[blocks]) for name, group in groups.items()}
    summaries = []
    for side in sides.values():
        first = side.rows[0]
        factors = {name: value for name, value in first.factors.items() if name != "seed"}
        done = [row for row in side.rows if row.status == "done"]
        summary = Summary(first.label, factors, [row.seed for row in done if "seed" in row.factors])
        summary.status, summary.failed = "done" if done else first.status, len(side.rows) - len(done)
        variant = factors.get("what_if", baseline)
        base = sides.get(point({**factors, "what_if": baseline})) if variant != baseline else None
        for name in names:
            if held := _compared(side, base, name, confidence):
                summary.metrics[name] = held
        summaries.append(summary)
    _correct(summaries, correction, confidence)
    return summaries


@dataclass
class _Side:
    """The runs of a variant at one point of the sweep; `parts` is the table that an interval is made of, or empty."""

    rows: list[Row]
    parts: str

    def values(self, name: str) -> dict[int | None, float]:
        """The finite values of a metric by seed, or by None where no seed reached the run."""
        return {
            row.seed if "seed" in row.factors else None: value
            for row in self.rows
            if row.status == "done" and (value := row.metrics.get(name)) is not None and math.isfinite(value)
        }

    @cached_property
    def table(self) -> dict[str, list[Any]]:
        """The parts of a run alone; empty where there are none."""
        row = self.rows[0]
        if not self.parts or len(self.rows) > 1 or row.status != "done":
            return {}
        table = row.table(self.parts)
        if self.parts == "sessions" and len(table.get("session", ())) < FEWEST:
            raise StudyError(
                f"{row.label} has fewer than {FEWEST} sessions, of which nothing can be told",
                None,
                "write `blocks: requests` in the report, or replay a trace of more tenants",
            )
        return table

    def sums(self, name: str) -> tuple[Floats, Floats] | None:
        """Numerators and denominators of a ratio by part, or None where there are none."""
        weights = np.array(self.table.get(f"{name}.weight", ()), float)
        if not weights.any():
            return None
        return np.where(weights > 0, np.array(self.table[name], float) * weights, 0.0), weights

    def matches(self, other: _Side) -> bool:
        """Whether the parts of both are the same part of the same trace, one by one."""
        if self.rows[0].config.get("trace") != other.rows[0].config.get("trace"):
            return False
        mine, theirs = (side.table.get("session") or side.table["end"] for side in (self, other))
        return len(mine) == len(theirs) and bool(np.allclose(mine, theirs, rtol=0, atol=NEAR))


def point(factors: dict[str, Any]) -> str:
    """What runs that differ in their seed only have in common."""
    return repr(sorted((name, str(value)) for name, value in factors.items() if name != "seed"))


def _compared(side: _Side, other: _Side | None, name: str, confidence: float) -> Compared | None:
    mine, theirs = side.values(name), other.values(name) if other else {}
    if not mine:
        return None
    if None not in mine:
        value = estimate(list(mine.values()), confidence=confidence)
    elif (sums := side.sums(name)) is None:
        value = Estimate.exact(mine[None])
    else:
        value = ratio_of_sums(*sums, side.parts, confidence=confidence)
        base = other.sums(name) if other else None
        if other is not None and base is not None and side.matches(other):
            return _tested(value, paired_ratios(sums, base, side.parts, confidence=confidence), confidence)
    if None in mine and None in theirs:
        ratio = Estimate.exact(mine[None] / theirs[None]) if theirs[None] else None
        return Compared(value, Estimate.exact(mine[None] - theirs[None]), ratio, confidence=confidence)
    # one exact run stands against every seed of the other side
    pairs = [
        (mine.get(None, mine.get(seed)), theirs.get(None, theirs.get(seed)))
        for seed in (theirs if None in mine else mine)
    ]
    kept = [(value, base) for value, base in pairs if value is not None and base is not None]
    if not kept:
        return Compared(value, confidence=confidence)
    return _tested(value, paired(*zip(*kept, strict=True), confidence=confidence), confidence)


def _tested(value: Estimate, found: Paired, confidence: float) -> Compared:
    ratio = found.ratio if math.isfinite(found.ratio.value) else None
    told = found.difference.n > 1 and not math.isnan(found.p)
    return Compared(value, found.difference, ratio, found if told else None, confidence=confidence)


def _correct(summaries: list[Summary], correction: str, confidence: float) -> None:
    tested = [
        (summary, name, held, held.test)
        for summary in summaries
        for name, held in summary.metrics.items()
        if held.test is not None
    ]
    corrected = adjusted([test.p for *_, test in tested], correction)
    # Holm's first step divides by the number of tests: what passes it passes the rest
    strictest = 1 - (1 - confidence) / max(1, len(tested))
    for (summary, name, held, test), p in zip(tested, corrected, strict=True):
        held = replace(held, p_adjusted=p)
        if p >= 1 - confidence and test.difference.value:
            if test.differences:
                held = replace(held, needed=needed(test.differences, confidence=strictest))
            else:
                held = replace(held, longer=longer(test.difference, test.degrees, confidence=strictest, had=confidence))
        summary.metrics[name] = held


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _public(held: Estimate) -> dict[str, Any]:
    out = {key: _finite(getattr(held, key)) for key in ("value", "low", "high")}
    return {**out, "n": held.n, "method": held.method}
