"""What a scenario must offer, and what a metric is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.trace_use import TraceUse

if TYPE_CHECKING:
    from tiersim.sim.queued.timeline import Timeline

__all__ = [
    "Addends",
    "Measured",
    "Metric",
    "OfTrace",
    "Parted",
    "Scenario",
    "Sessioned",
    "Timed",
    "by_record",
    "of_totals",
]

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Metric:
    """What a column of results means. `better` says which direction is an improvement, if any."""

    name: str
    unit: str
    doc: str
    better: str = ""


@dataclass
class Measured:
    """What one run gave: metrics by dotted name, and tables over its parts (equally long columns).

    `windows` follow each other: ``end`` is where each ends, as a share of the whole. `sessions` have nothing to do with
    each other: ``session`` is a number of each. Either may have a column of a metric's name with its value in each part
    (not-a-number where it has none), and for a metric that is a ratio its denominator there, ``NAME.weight``, which is
    0 before the measured part begins: the metric is the mean of its values with these weights.

    `reuse` tells how often lines were hit before they left, in rows of ``least`` hits or more (up to the next row): a
    column of a metric's name counts those lines that the metric is a share of. `requests` has a row for each, `sizes`
    one for each size that a cache can have.
    """

    metrics: dict[str, int | float]
    windows: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sessions: dict[str, NDArray[Any]] = field(default_factory=dict)
    reuse: dict[str, NDArray[Any]] = field(default_factory=dict)
    requests: dict[str, NDArray[Any]] = field(default_factory=dict)
    sizes: dict[str, NDArray[Any]] = field(default_factory=dict)

    def tables(self) -> dict[str, dict[str, NDArray[Any]]]:
        """The tables that are there, by name: each is stored with the run."""
        names = ("windows", "sessions", "reuse", "requests", "sizes")
        return {name: table for name in names if (table := getattr(self, name))}


class Scenario(Protocol):
    """A question that a study can ask; its config fields are the keys of the study file.

    Runs that share `structure` share one simulation: `simulate` is called once for them and `measure` for each.
    """

    registered: Any
    records: str  # the schema of the traces that it replays
    steps: str  # what one simulation is counted in, as in "accesses"

    def check(self) -> None:
        """Raise StudyError with a ``path`` inside the config where values do not fit together."""

    def refuses(self) -> str:
        """Why this config cannot be run though it is well formed (with what to do), or an empty string."""

    def is_random(self) -> bool:
        """Whether a seed can change the outcome."""

    def trace_fingerprint(self) -> str:
        """The content that is replayed."""

    def provenance(self) -> Mapping[str, Any]:
        """Where that content is from."""

    def size(self) -> int:
        """Steps of one simulation, for progress and estimates."""

    def structure(self) -> Mapping[str, Any]:
        """All of the config that `simulate` depends on, as plain data."""

    def modules(self) -> list[str]:
        """The modules whose source decides the outcome; what they import is found from them."""

    def preparation(self) -> str:
        """What `prepare` makes; scenarios with the same text share it."""

    def prepare(self, progress: Progress) -> None:
        """Make the data that runs share, before any worker starts."""

    def streams(self) -> bool:
        """Whether `simulate` can make that data as it goes, so that one process need not wait for it."""

    def loop(self) -> str:
        """What `warm` compiles; scenarios with the same text share it."""

    def warm(self, note: Callable[[str], None]) -> None:
        """Compile what `simulate` will call, in any process."""

    def simulate(self, seed: int, progress: Progress) -> Any:
        """The part of a run that costs time; picklable."""

    def measure(self, simulated: Any) -> Measured:
        """Metrics out of a simulation."""

    def memory(self) -> int:
        """Bytes that one simulation needs, about."""

    def shown(self) -> list[str]:
        """The metrics of a table when the study names none."""

    @staticmethod
    def metrics() -> list[Metric]:
        """Every metric of the scenario, whatever the config; NAME stands for a user's own name."""

    def metric_names(self) -> list[str]:
        """Every metric that this config can give."""

    def describe(self, name: str) -> Metric | None:
        """What the metric of this dotted name means, or None if this scenario never has it."""


@runtime_checkable
class Timed(Protocol):
    """A scenario of which some configs keep time."""

    def keeps_time(self) -> bool:
        """Whether this one does."""

    def draw(self, timeline: Timeline, seed: int, progress: Progress) -> None:
        """Simulate, and put what happened into a timeline, as far as its budget goes."""


@runtime_checkable
class Sessioned(Protocol):
    """A scenario of which some configs have sessions."""

    def has_sessions(self) -> bool:
        """Whether this one has, be they few."""


@dataclass(frozen=True)
class Addends:
    """Metrics that another one is the sum of, by their names; none where it has no parts.

    `rest` is what is left of it beside them, in words; without it only the rounding of floats is.
    """

    names: tuple[str, ...] = ()
    rest: str = ""


@runtime_checkable
class Parted(Protocol):
    """A scenario of which some metrics are sums of others."""

    @staticmethod
    def parts(metric: str, names: Collection[str]) -> Addends:
        """The parts of a metric among those that a run has, which are the `names`."""


class OfTrace:
    """What scenarios that replay a trace say of it."""

    trace: TraceUse

    def trace_fingerprint(self) -> str:
        return self.trace.open().fingerprint

    def provenance(self) -> Mapping[str, Any]:
        trace = self.trace.open()
        return {"trace": trace.name, "records": trace.records, "sha256": trace.fingerprint, **trace.provenance}

    def size(self) -> int:
        return self.trace.length()


def of_totals(progress: Progress) -> Callable[[int, int], None]:
    """What is told how much is done of all, for a progress that counts what is new."""
    before = 0

    def step(done: int, _: int) -> None:
        nonlocal before
        progress(done - before)
        before = done

    return step


def by_record(records: int, references: int, progress: Progress) -> Progress:
    """Progress in records, of references: a record that crosses lines, or reads and writes, makes several."""
    done = told = 0

    def step(more: int) -> None:
        nonlocal done, told
        done += more
        now = done * records // max(references, 1)
        progress(now - told)
        told = now

    return step
