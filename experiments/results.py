"""The outcome of a study: rows in memory, Parquet parts on disk, one folder.

    results/STUDY/
        resolved.yaml       the study as it was run, every default shown
        study.json          what is needed beside the runs to open the folder again
        runs/KEY.DIGEST.parquet
                            a run each, with its course; KEY is the hash of all that it depends on
        runs.csv            all rows of this study in order
        report.html, figures/
        log.json            wall times and host: not part of the byte contract

Everything but the log and the pictures is the same, byte for byte, whenever the same question is asked again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiersim._base.errors import DependencyError
from tiersim.experiments.comparison import Summary, compare, point
from tiersim.experiments.scenario import Metric
from tiersim.experiments.statistics import CONFIDENCE
from tiersim.experiments.store import Outcome, Table, read_table

if TYPE_CHECKING:
    import pandas as pd

    from tiersim.experiments.claims.verdicts import Claims, Verdict
    from tiersim.experiments.sections import Section
    from tiersim.experiments.sensitivity.result import SensitivityResult
    from tiersim.experiments.yaml_tree import Node

__all__ = ["SPEEDUP", "TIME", "Row", "StudyResult", "as_csv", "bases", "differing", "speed_up"]

TIME = "cycles_per_instruction"  # the metric that speedups are made of
SPEEDUP = Metric(
    "speedup", "times", "cycles an instruction of the baseline, by those of this run; with `what_if`", "more"
)


@dataclass
class Row:
    """One run: what was varied, and what came out. `status` is ``waiting``, ``done`` or ``failed``."""

    label: str
    factors: dict[str, Any]
    seed: int
    key: str
    status: str = "done"
    error: str = ""
    metrics: dict[str, int | float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    part: Path | None = None

    def take(self, outcome: Outcome) -> None:
        """Make an outcome this run's."""
        self.status, self.error = outcome.status, outcome.error
        self.metrics, self.notes = outcome.metrics, outcome.notes
        self.tables, self.part = outcome.tables, outcome.path

    @property
    def outcome(self) -> Outcome:
        """What came out, for another row that asks the same."""
        return Outcome(self.status, self.error, self.metrics, self.notes, self.tables, self.part)

    def table(self, name: str) -> Table:
        """A table over the run, of equally long columns; read from the run's part whenever it is asked for.

        Empty when there is none. Raises StudyError when the part was damaged meanwhile.
        """
        return self.tables.get(name, {}) if self.part is None else read_table(self.part, name)

    @property
    def windows(self) -> Table:
        """Metrics of consecutive windows of the run; ``end`` is where each ends, as a share of the whole."""
        return self.table("windows")

    def public(self) -> dict[str, Any]:
        """The form of `tiersim run --json`."""
        return {
            "label": self.label,
            "factors": self.factors,
            "seed": self.seed,
            "status": self.status,
            "error": self.error or None,
            "metrics": self.metrics,
        }


@dataclass
class StudyResult:
    """A finished study. `folder` is None when it was run without one."""

    study: str
    question: str
    rows: list[Row]
    skipped: list[dict[str, str]]
    metrics: dict[str, Metric]
    shown: list[str]
    baseline: str
    figures: list[dict[str, Any]]
    provenance: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None
    scenario: str = ""
    correction: str = "holm"
    confidence: float = CONFIDENCE
    blocks: str = "requests"
    drawn: dict[str, str | list[Any]] = field(default_factory=dict)
    """How a design drew each of its factors: ``linear``, ``log``, or the list it was drawn from."""
    claims: Claims | None = field(default=None, repr=False)
    tree: Node | None = field(default=None, repr=False, compare=False)
    """The study as it was read, after `extends` and ``--set``."""
    sensitivity: SensitivityResult | None = field(default=None, repr=False)
    _compared: tuple[tuple[Any, ...], list[Summary]] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether every run has an outcome, be it a failure."""
        return all(row.status != "waiting" for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The form of `tiersim run --json`."""
        out: dict[str, Any] = {
            "study": self.study,
            "complete": self.complete,
            "runs": [row.public() for row in self.rows],
            "skipped": self.skipped,
            "notes": self.notes,
        }
        out["variants"] = [held.public() for held in self.compare()]
        if self.claims is not None:
            out["claims"] = [held.public() for held in self.verdicts()]
        if self.sensitivity is not None:
            out["sensitivity"] = self.sensitivity.public()
        if self.folder is not None:
            out["folder"] = str(self.folder)
        return out

    def to_pandas(self) -> pd.DataFrame:
        """One row a run: label, seed, status, factors and metrics as columns. Raises DependencyError without pandas."""
        try:
            import pandas
        except ImportError:
            raise DependencyError("to_pandas needs pandas", None, "pip install 'tiersim[pandas]'") from None
        return pandas.DataFrame([self._flat(row) for row in self.rows])

    def _flat(self, row: Row) -> dict[str, Any]:
        return {"label": row.label, "seed": row.seed, "status": row.status, **row.factors, **row.metrics}

    def base_of(self, row: Row) -> Row | None:
        """The baseline run with the same other factors, or None for the baseline itself.

        A baseline that no seed reaches is run once, and is that of every seed.
        """
        found = bases(self.rows, self.baseline).get(id(row))
        return None if found is row else found

    def compare(self) -> list[Summary]:
        """Each variant over its seeds, or over the parts of its run, against the baseline.

        How is said by `correction`, `confidence` and `blocks`, as in `report:` of a study. Raises StudyError where
        blocks are sessions and a run has too few.
        """
        asked = (self.baseline, tuple(self.shown), self.correction, self.confidence, self.blocks)
        if self._compared is None or self._compared[0] != asked:  # of many runs it takes a second
            self._compared = (asked, compare(self.rows, *asked))
        return self._compared[1]

    def verdicts(self) -> list[Verdict]:
        """The verdict on each of the study's claims, none where it makes none."""
        from tiersim.experiments.claims.verdicts import judge

        return judge(self.claims, self.rows) if self.claims else []

    def sections(self) -> list[Section]:
        """What analyses of the study add to its report."""
        return [] if self.sensitivity is None else self.sensitivity.sections()

    def csv(self) -> str:
        """All rows as text with named columns."""
        return as_csv([self._flat(row) for row in self.rows])


def as_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines as text with named columns, in the order in which names first occur; a line has some of them."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def bases(rows: Sequence[Row], baseline: str) -> dict[int, Row]:
    """The baseline run of each run of a variant, by its `id`: that with the same other factors, of its seed or of none.

    A baseline that no seed reaches is run once, and is that of every seed; a run of the baseline is its own.
    """
    found: dict[tuple[str, int | None], Row] = {}
    places = [
        (row, point({key: held for key, held in row.factors.items() if key != "what_if"}), "seed" in row.factors)
        for row in rows
        if "what_if" in row.factors
    ]
    for row, place, seeded in places:
        if row.factors["what_if"] == baseline:
            found.setdefault((place, row.seed if seeded else None), row)
    out = {}
    for row, place, seeded in places:
        base = (found.get((place, row.seed)) if seeded else None) or found.get((place, None))
        if base is not None:
            out[id(row)] = base
    return out


def speed_up(rows: Sequence[Row], baseline: str) -> None:
    """Give each run the metric `speedup` whose baseline is there and keeps time."""
    found = bases(rows, baseline)
    for row in rows:
        base = found.get(id(row))
        if base is not None and base.metrics.get(TIME) and row.metrics.get(TIME):
            row.metrics = {**row.metrics, SPEEDUP.name: base.metrics[TIME] / row.metrics[TIME]}


def differing(rows: Iterable[Row]) -> list[str]:
    """The factors that take more than one value."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.factors.items():
            seen.setdefault(name, set()).add(str(value))
    return [name for name, values in seen.items() if len(values) > 1]
