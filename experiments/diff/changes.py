"""The difference of pairs of runs by what was changed between them.

Causes are switched from A to B one by one, and what each does is what it changes in runs that nobody had asked for
before: mixtures of both. They are run by the engine that runs a study, with the code that is here now. Where a run at
an end was made with other code, or of a trace whose file holds something else now, it is made again, and the change
that this makes is a step of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError, TiersimError, TraceError
from tiersim._base.params import dump
from tiersim.experiments.diff.causes import SEED, Cause, causes_of, mixed
from tiersim.experiments.diff.shares import MOST, Mixture, mixtures, shares
from tiersim.experiments.diff.sides import Side
from tiersim.experiments.plan import Plan, Planned, ReportSpec, scenario_of
from tiersim.experiments.results import Row
from tiersim.experiments.runner import key_of, run_plan
from tiersim.experiments.scenario import Scenario
from tiersim.experiments.store import Parts
from tiersim.experiments.study import Study
from tiersim.experiments.yaml_tree import from_data

__all__ = ["Change", "Changes", "explain"]

Groups = list[tuple[int, ...]]  # causes that are switched together


@dataclass(frozen=True)
class Change:
    """A cause, or several that cannot be told apart, and its step from A to B: the mean over the pairs.

    `again` says that the step is not from A to B, but from a stored end to the same run as it is made now, or back.
    """

    name: str
    step: Fraction
    keys: tuple[str, ...] = ()
    again: bool = False


@dataclass
class Changes:
    """All changes; they sum to the difference exactly.

    `method` is ``none`` where nothing differs, ``one`` where one cause is the difference, ``shapley``, ``both-ways``,
    or ``runs`` where pairs differ by different causes and each run has its share. `causes` are all that differ, with
    the values of the first pair; `mixtures` counts the runs between A and B that were looked at, over all pairs, and
    `simulated` those that were stored nowhere, ends that were made again among them.
    """

    method: str
    steps: list[Change]
    causes: list[Cause] = field(default_factory=list)
    mixtures: int = 0
    simulated: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass
class _Pair:
    """Two runs, what differs between them, and once it is open their scenarios as this code makes them."""

    a: Row
    b: Row
    sides: tuple[Side, Side]
    causes: list[Cause] = field(default_factory=list)
    made: list[Scenario] = field(default_factory=list)
    seeds: tuple[int, int] = (0, 0)
    stale: tuple[bool, bool] = (False, False)
    """Whether an end is not what this code and the trace that is here would give."""

    def __post_init__(self) -> None:
        self.seeds = (self.a.seed, self.b.seed)
        self.causes = [] if self.equal else causes_of(self.a.config, self.b.config)

    @property
    def equal(self) -> bool:
        return self.a.key == self.b.key

    @property
    def simple(self) -> bool:
        """Whether one cause is all that differs, and is the difference without any run.

        That is so where one code made both, or where nothing else than code or trace can differ.
        """
        one, other = (side.result for side in self.sides)
        together = one is other or (
            one.folder is not None and other.folder is not None and one.folder.resolve() == other.folder.resolve()
        )
        exact = ("seed" in self.a.factors) != ("seed" in self.b.factors)  # no seed reaches one of them
        found = len(self.causes) + (self.a.seed != self.b.seed and not exact)
        return not found or (together and found == 1)

    def open(self) -> None:
        """Make the scenarios of both ends. Raises TraceError where a trace is not here any more."""
        try:
            self.made = [scenario_of(self.sides[0].result.scenario, row.config) for row in (self.a, self.b)]
        except TraceError as error:
            raise type(error)(
                f"what stands between {self.a.label!r} and {self.b.label!r} cannot be run: {error.message}",
                error.place,
                f"{error.remedy}\n  two runs of one study that differ by one cause need none".lstrip(),
            ) from None
        self.causes = causes_of(*map(dump, self.made))  # of keys that came since one was made both have the default
        random = [scenario.is_random() for scenario in self.made]
        if all(random) and self.a.seed != self.b.seed:
            self.causes.append(Cause(SEED, self.a.seed, self.b.seed))
        elif random[0] != random[1]:
            self.seeds = (self.seeds[random[1]],) * 2  # of the other run a seed says nothing
        now = [key_of(made, seed) for made, seed in zip(self.made, self.seeds, strict=True)]
        self.stale = now[0] != self.a.key, now[1] != self.b.key

    def mixture(self, switched: Mixture) -> tuple[Scenario, int]:
        """The scenario and the seed of a mixture. Raises TiersimError where there can be none."""
        seeds = [number for number, cause in enumerate(self.causes) if cause.path == SEED]
        seed = self.seeds[bool(switched.intersection(seeds))]
        if not self.causes or len(switched) in (0, len(self.causes)):
            made = self.made[bool(switched)]
        else:
            config = mixed(dump(self.made[0]), dump(self.made[1]), self.causes, switched)
            made = scenario_of(self.sides[0].result.scenario, config)
        if why := made.refuses():
            raise StudyError(why)
        return made, seed


def explain(
    runs: Sequence[tuple[Row, Row]],
    sides: tuple[Side, Side],
    metric: str,
    folder: Path | None,
    *,
    workers: int = 1,
    quiet: bool = True,
) -> Changes:
    """The mean difference of a metric over pairs of runs by what was changed between them.

    Mixtures are stored in the folder, if there is one. Raises TraceError where one is needed whose trace is not here.
    """
    pairs = [_Pair(a, b, sides) for a, b in runs]
    differing = [pair for pair in pairs if not pair.equal]
    if not differing:
        return Changes("none", [])
    if not _alike(differing):
        return _by_run(pairs, metric)
    if not all(pair.simple for pair in differing):
        for pair in differing:
            pair.open()
        if not _alike(differing):
            return _by_run(pairs, metric)
    first = max(differing, key=lambda pair: len(pair.causes))
    causes = first.causes
    if not causes and not first.made and first.a.seed != first.b.seed:
        causes = [Cause(SEED, first.a.seed, first.b.seed)]
    total = sum((_value(pair.b, metric) - _value(pair.a, metric) for pair in pairs), Fraction()) / len(pairs)
    if len(causes) < 2 and not (causes and any(map(any, (pair.stale for pair in differing)))):
        names = [cause.name for cause in causes] or [_what_changed(sides, first)]
        return Changes("one", [Change(names[0], total, tuple(cause.name for cause in causes))], causes)
    return _Mixing(differing, len(pairs), metric, folder, workers, quiet).changes(total)


def _alike(pairs: Iterable[_Pair]) -> bool:
    """Whether all differ by the same causes, as far as they differ by any."""
    return len({tuple(cause.path for cause in pair.causes) for pair in pairs if pair.causes}) < 2


def _by_run(pairs: Sequence[_Pair], metric: str) -> Changes:
    """Each run's share of the mean difference."""
    steps = [Change(_label(pair), (_value(pair.b, metric) - _value(pair.a, metric)) / len(pairs)) for pair in pairs]
    seen: dict[tuple[str, ...], Cause] = {}
    for pair in pairs:
        for cause in pair.causes:
            seen.setdefault(cause.path, cause)
    return Changes("runs", steps, list(seen.values()))


class _Mixing:
    """Runs between the ends of pairs that differ by the same causes."""

    def __init__(
        self, pairs: list[_Pair], count: int, metric: str, folder: Path | None, workers: int, quiet: bool
    ) -> None:
        self.pairs, self.count, self.metric = pairs, count, metric
        self.folder, self.workers, self.quiet = folder, workers, quiet
        self.causes = max((pair.causes for pair in pairs), key=len)
        self.groups: Groups = [(number,) for number in range(len(self.causes))]
        self.planned: dict[tuple[int, Mixture], tuple[str, Scenario, int]] = {}  # by pair and mixture: key and run
        rows = [row for side in pairs[0].sides for row in side.result.rows]
        self.known = {row.key: row for row in rows if _finite(row, metric)}
        self.bad: dict[Mixture, str] = {}
        self.notes: list[str] = []
        self.simulated = 0

    def changes(self, total: Fraction) -> Changes:
        while True:
            needed = self._needed()
            self._plan(needed)
            if not self._bad(needed):
                self._run(needed)
            wrong = self._bad(needed)
            if not wrong:
                break
            if {frozenset(), frozenset(range(len(self.causes)))} & wrong.keys():
                return self._together(total, next(iter(wrong.values())))
            self._merge(wrong)
        steps = self._steps()
        between = len(self.pairs) * max(0, len(needed) - 2)
        method = "one" if len(self.groups) < 2 else "shapley" if len(self.groups) <= MOST else "both-ways"
        return Changes(method, steps, self.causes, between, self.simulated, self.notes)

    def _needed(self) -> list[Mixture]:
        return [self._of(held) for held in mixtures(len(self.groups))]

    def _of(self, groups: Iterable[int]) -> Mixture:
        """The causes in these groups."""
        return frozenset(number for group in groups for number in self.groups[group])

    def _bad(self, needed: Iterable[Mixture]) -> dict[Mixture, str]:
        return {held: self.bad[held] for held in needed if held in self.bad}

    def _plan(self, needed: Iterable[Mixture]) -> None:
        for number, pair in enumerate(self.pairs):
            for held in needed:
                if (number, held) in self.planned or held in self.bad:
                    continue
                try:
                    scenario, seed = pair.mixture(held)
                except TiersimError as error:
                    self.bad[held] = error.message
                    continue
                self.planned[number, held] = key_of(scenario, seed), scenario, seed

    def _run(self, needed: Iterable[Mixture]) -> None:
        """Make the runs that are known of neither side."""
        todo: dict[str, tuple[Planned, Mixture]] = {}
        for held in needed:
            for number, pair in enumerate(self.pairs):
                key, scenario, seed = self.planned[number, held]
                if key not in self.known:
                    names = ", ".join(self.causes[at].name for at in sorted(held)) or "nothing"
                    factors = {"between": _label(pair), "switched": names}
                    todo.setdefault(key, (Planned(f"{_label(pair)}: {names}", factors, seed, scenario), held))
        if not todo:
            return
        if self.folder is not None:
            there = Parts(self.folder)
            self.simulated += sum(there.find(key) is None for key in todo)
        else:
            self.simulated += len(todo)
        result = run_plan(
            _plan_of([planned for planned, _ in todo.values()], self.pairs[0]),
            self.folder,
            workers=self.workers,
            quiet=self.quiet,
        )
        for row in result.rows:
            if _finite(row, self.metric):
                self.known[row.key] = row
            else:
                self.bad[todo[row.key][1]] = row.error or f"it has no {self.metric}"

    def _merge(self, wrong: dict[Mixture, str]) -> None:
        """Put two groups together, so that as few as can be of the mixtures that cannot be are left."""
        count = len(self.groups)
        ordered = count > MOST  # there only neighbours can be switched together
        pairs = [(i, j) for i in range(count) for j in range(i + 1, count) if not ordered or j == i + 1]
        before = self.groups
        tried: list[tuple[int, Groups]] = []
        for i, j in pairs:
            self.groups = [*before[:i], (*before[i], *before[j]), *before[i + 1 : j], *before[j + 1 :]]
            tried.append((len(self._bad(self._needed())), self.groups))
        at = min(range(len(tried)), key=lambda number: tried[number][0])
        self.groups = tried[at][1]
        i, j = pairs[at]
        named = next(held for held in wrong if bool(held & set(before[i])) != bool(held & set(before[j])))
        both = " and ".join(self._name(before[k]) for k in (i, j))
        alone = ", ".join(self.causes[number].name for number in sorted(named))
        self.notes.append(f"{both} are one cause: there is no run with {alone} alone of B ({wrong[named]})")

    def _together(self, total: Fraction, why: str) -> Changes:
        """One step, where an end cannot be made again."""
        name = "all of it, with what changed in the code"
        self.notes.append(f"causes cannot be told apart: a run that is stored cannot be made again ({why})")
        return Changes(
            "one", [Change(name, total, tuple(cause.name for cause in self.causes))], self.causes, 0, 0, self.notes
        )

    def _name(self, group: Sequence[int]) -> str:
        return " + ".join(self.causes[number].name for number in group)

    def _steps(self) -> list[Change]:
        sums = [Fraction()] * len(self.groups)
        again = [Fraction(), Fraction()]
        full = frozenset(range(len(self.causes)))
        for number, pair in enumerate(self.pairs):

            def value(held: Mixture, number: int = number) -> Fraction:
                return _value(self.known[self.planned[number, self._of(held)][0]], self.metric)

            sums = [one + more for one, more in zip(sums, shares(len(self.groups), value), strict=True)]
            first, last = (_value(self.known[self.planned[number, end][0]], self.metric) for end in (frozenset(), full))
            again = [again[0] + first - _value(pair.a, self.metric), again[1] + _value(pair.b, self.metric) - last]
        names = [(self._name(group), tuple(self.causes[at].name for at in group)) for group in self.groups]
        steps = [Change(name, step / self.count, keys) for (name, keys), step in zip(names, sums, strict=True)]
        for place, end in ((0, "A"), (1, "B")):
            stale = next((pair for pair in self.pairs if pair.stale[place]), None)
            if stale is not None:
                what = _what_aged(stale.sides[place], (stale.a, stale.b)[place], stale.made[place])
                steps.insert(
                    place * len(steps), Change(f"{what}: {end} run again", again[place] / self.count, (), True)
                )
        return steps


def _plan_of(runs: list[Planned], pair: _Pair) -> Plan:
    name = pair.sides[0].result.scenario
    between = " and ".join(side.name for side in pair.sides)
    tree = from_data({"study": "diff", "scenario": name}, "diff")
    study = Study(
        name="diff",
        scenario=name,
        question=f"What stands between {between}?",
        file=None,
        tree=tree,
        report=None,
        claims=None,
        variants=[],
        seeds=[],
        notes=[],
        drawn={},
        what_ifs={},
        swept=frozenset(),
    )
    return Plan(study, runs, [], [], ReportSpec())


def _what_changed(sides: tuple[Side, Side], pair: _Pair) -> str:
    """What differs where no key does."""
    known = [_content(side, row) for side, row in zip(sides, (pair.a, pair.b), strict=True)]
    return (
        "code or trace"
        if None in known
        else "code"
        if known[0] == known[1]
        else "trace (its file holds something else)"
    )


def _what_aged(side: Side, row: Row, made: Scenario) -> str:
    """What makes a stored run another one than would be made now."""
    known = _content(side, row)
    return "code or trace" if known is None else "code" if known == made.provenance().get("sha256") else "trace"


def _content(side: Side, row: Row) -> str | None:
    """The content of the trace that a run replayed, where its study tells."""
    first = next((other for other in side.result.rows if other.config), row)
    told = side.result.provenance.get("sha256")
    return str(told) if told and first.config.get("trace") == row.config.get("trace") else None


def _label(pair: _Pair) -> str:
    a, b = pair.a.label, pair.b.label
    seed = f", seed {pair.b.seed}" if "seed" in pair.b.factors else ""
    return f"{a}{seed}" if a == b else f"{a} to {b}{seed}"


def _value(row: Row, metric: str) -> Fraction:
    return Fraction(row.metrics[metric])


def _finite(row: Row, metric: str) -> bool:
    value: Any = row.metrics.get(metric)
    return row.status == "done" and value is not None and math.isfinite(value)
