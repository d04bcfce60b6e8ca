"""The variants of a study against its baseline, over seeds and over the windows of one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tiersim.experiments.statistics import (
    CONFIDENCE,
    Estimate,
    Needed,
    Paired,
    adjusted,
    block_bootstrap,
    estimate,
    needed,
    paired,
)

if TYPE_CHECKING:
    from tiersim.experiments.results import Row

__all__ = ["Compared", "Summary", "compare", "over_windows", "repeated"]


@dataclass(frozen=True)
class Compared:
    """One metric of a variant, and how it differs from the baseline.

    `test` is None where nothing was tested: in the baseline, between two exact values, with one pair. `p_adjusted` is
    corrected for all tests of the study; `needed` says what is missing until that correction leaves a difference.
    """

    value: Estimate
    difference: Estimate | None = None
    ratio: Estimate | None = None
    test: Paired | None = None
    p_adjusted: float = math.nan
    needed: Needed | None = None

    @property
    def told(self) -> bool:
        """Whether there is a difference, as far as these runs can tell."""
        if self.test is not None:
            return self.p_adjusted < 1 - CONFIDENCE
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
                "superiority": self.test.superiority,
            }
        if self.needed is not None:
            out["repeats_needed"] = {"more": self.needed.more, "at_most": self.needed.at_most}
        return out


@dataclass
class Summary:
    """A variant at one point of the sweep over its seeds; `seeds` is empty where none reached it: one exact run."""

    label: str
    factors: dict[str, Any]
    seeds: list[int]
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


def compare(rows: Sequence[Row], baseline: str, names: Sequence[str], correction: str = "holm") -> list[Summary]:
    """One summary a variant and point of the sweep, in the order of the rows.

    Seed k of a variant is paired with seed k of the baseline at the same point; where one of both is exact, with that
    one run. p values are corrected for all variants, points and metrics together. `names` are the metrics.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_key(row.factors), []).append(row)
    summaries = []
    for group in groups.values():
        factors = _without(group[0].factors, "seed")
        done = [row for row in group if row.status == "done"]
        seeds = [row.seed for row in done if "seed" in row.factors]
        summary = Summary(group[0].label, factors, seeds, len(group) - len(done))
        variant = factors.get("what_if", baseline)
        base = groups.get(_key({**factors, "what_if": baseline}), []) if variant != baseline else []
        for name in names:
            if mine := _values(group, name):
                theirs = _values(base, name)
                summary.metrics[name] = _compared(mine, theirs)
        summaries.append(summary)
    _correct(summaries, correction)
    return summaries


def _key(factors: dict[str, Any]) -> str:
    return repr(sorted((name, str(value)) for name, value in factors.items() if name != "seed"))


def _without(factors: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: held for key, held in factors.items() if key != name}


def _values(rows: Iterable[Row], name: str) -> dict[int | None, float]:
    """The finite values of a metric by seed, or by None where no seed reached the run."""
    return {
        row.seed if "seed" in row.factors else None: value
        for row in rows
        if row.status == "done" and (value := row.metrics.get(name)) is not None and math.isfinite(value)
    }


def _compared(mine: dict[int | None, float], theirs: dict[int | None, float]) -> Compared:
    value = Estimate.exact(mine[None]) if None in mine else estimate(list(mine.values()))
    if None in mine and None in theirs:
        ratio = Estimate.exact(mine[None] / theirs[None]) if theirs[None] else None
        return Compared(value, Estimate.exact(mine[None] - theirs[None]), ratio)
    # one exact run stands against every seed of the other side
    pairs = [
        (mine.get(None, mine.get(seed)), theirs.get(None, theirs.get(seed)))
        for seed in (theirs if None in mine else mine)
    ]
    kept = [(value, base) for value, base in pairs if value is not None and base is not None]
    if not kept:
        return Compared(value)
    found = paired(*zip(*kept, strict=True))
    ratio = found.ratio if math.isfinite(found.ratio.value) else None
    return Compared(value, found.difference, ratio, found if len(kept) > 1 else None)


def _correct(summaries: list[Summary], correction: str) -> None:
    tested = [
        (summary, name, held, held.test)
        for summary in summaries
        for name, held in summary.metrics.items()
        if held.test is not None
    ]
    corrected = adjusted([test.p for *_, test in tested], correction)
    for (summary, name, held, test), p in zip(tested, corrected, strict=True):
        missing = None
        if p >= 1 - CONFIDENCE and any(test.differences):
            # Holm's first step divides by the number of tests: what passes it passes the rest
            missing = needed(test.differences, confidence=1 - (1 - CONFIDENCE) / len(tested))
        summary.metrics[name] = replace(held, p_adjusted=p, needed=missing)


def over_windows(row: Row, base: Row | None, name: str, after: float = 0.0) -> Estimate:
    """The mean of a metric over the windows of one run, less that of `base` window by window, with its interval.

    Windows are weighted by their share of the trace; those that end before the share `after`, such as the warm-up, are
    left out, and so are those without a value. Raises KeyError where the run has no windows of this metric.
    """
    ends = np.array(row.windows["end"])
    values = np.array(row.windows[name])
    if base is not None:
        if base.windows["end"] != row.windows["end"]:
            raise ValueError(f"{row.label} and {base.label} have other windows")
        values = values - np.array(base.windows[name])
    kept = (ends > after) & np.isfinite(values)
    if not kept.any():
        raise ValueError(f"{row.label} has no window of {name} with a value after {after:g} of the trace")
    return block_bootstrap(values[kept], np.diff(ends, prepend=0.0)[kept])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _public(held: Estimate) -> dict[str, Any]:
    out = {key: _finite(getattr(held, key)) for key in ("value", "low", "high")}
    return {**out, "n": held.n, "method": held.method}
