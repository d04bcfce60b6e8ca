"""The outcome of a study: rows in memory, Parquet parts on disk, one folder.

    results/STUDY/
        resolved.yaml       the study as it was run, every default shown
        runs/KEY.parquet    one row a run; KEY is the hash of all that the row depends on
        windows/KEY.parquet metrics over the run
        runs.csv            all rows of this study in order
        report.html, figures/
        log.json            wall times and host: not part of the byte contract

Everything but the log and the pictures is the same, byte for byte, whenever the same question is asked again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tiersim._base.errors import DependencyError, StudyError
from tiersim.experiments.comparison import Summary, compare, over_windows, repeated
from tiersim.experiments.scenario import Metric
from tiersim.experiments.statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Row", "StudyResult", "read_row", "write_bytes", "write_row"]


@dataclass
class Row:
    """One run: what was varied, and what came out."""

    label: str
    factors: dict[str, Any]
    seed: int
    key: str
    status: str = "done"
    error: str = ""
    metrics: dict[str, int | float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

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
    drawn: dict[str, str | list[Any]] = field(default_factory=dict)
    """How a design drew each of its factors: ``linear``, ``log``, or the list it was drawn from."""

    def to_dict(self) -> dict[str, Any]:
        """The form of `tiersim run --json`."""
        out: dict[str, Any] = {
            "study": self.study,
            "runs": [row.public() for row in self.rows],
            "skipped": self.skipped,
            "notes": self.notes,
        }
        if summaries := self.compare():
            out["variants"] = [held.public() for held in summaries]
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
        if row.factors.get("what_if", self.baseline) == self.baseline:
            return None
        rest = {key: held for key, held in row.factors.items() if key not in ("what_if", "seed")}
        for other in self.rows:
            theirs = dict(other.factors)
            seed = theirs.pop("seed", None)
            if theirs.pop("what_if", None) != self.baseline or theirs != rest:
                continue
            if seed is None or (other.seed == row.seed and "seed" in row.factors):
                return other
        return None

    def compare(self, correction: str = "holm") -> list[Summary]:
        """Each variant over its seeds, against the baseline; empty where `repeat` gave no run several seeds.

        `correction` of the p values for many comparisons is ``holm`` or ``benjamini-hochberg``.
        """
        return compare(self.rows, self.baseline, self.shown, correction) if repeated(self.rows) else []

    def over_windows(self, row: Row, metric: str, after: float = 0.0) -> Estimate:
        """A metric of one run, less that of its baseline where it has one, with an interval from windows of the run.

        Windows that end before the share `after` of the trace are left out: give the warm-up. Raises StudyError where
        the run has no windows of this metric.
        """
        try:
            return over_windows(row, self.base_of(row), metric, after)
        except KeyError:
            have = [name for name in row.windows if name != "end"]
            known = f"there are windows of {', '.join(have)}" if have else "the run has no windows"
            raise StudyError(f"{row.label} has no windows of {metric}", None, known) from None
        except ValueError as error:
            raise StudyError(str(error)) from None

    def csv(self) -> str:
        """All rows as text with named columns."""
        flat = [self._flat(row) for row in self.rows]
        names = list(dict.fromkeys(name for row in flat for name in row))
        out = io.StringIO()
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return out.getvalue()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises StudyError when it cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror}") from None


def _write_table(path: Path, columns: dict[str, Any]) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    write_bytes(path, sink.getvalue())


def write_row(folder: Path, row: Row) -> None:
    """Store one run under its key; its windows first, so that a run that is there is there whole."""
    if row.windows:
        _write_table(folder / "windows" / f"{row.key}.parquet", row.windows)
    _write_table(
        folder / "runs" / f"{row.key}.parquet",
        {
            "key": [row.key],
            "label": [row.label],
            "seed": [row.seed],
            "status": [row.status],
            "error": [row.error],
            "factors": [json.dumps(row.factors)],
            "config": [json.dumps(row.config)],
            "notes": [json.dumps(row.notes)],
            "windows": [bool(row.windows)],
            **{name: [held] for name, held in row.metrics.items()},
        },
    )


FIXED = {"key", "label", "seed", "status", "error", "factors", "config", "notes", "windows"}


def read_row(folder: Path, key: str) -> Row | None:
    """A run stored earlier, or None when there is none, or it is damaged and must be made again."""
    path = folder / "runs" / f"{key}.parquet"
    if not path.exists():
        return None
    try:
        (held,) = pq.read_table(path, page_checksum_verification=True).to_pylist()
        windows = folder / "windows" / f"{key}.parquet"
        columns = pq.read_table(windows, page_checksum_verification=True).to_pydict() if held["windows"] else {}
        return _row(key, held, columns)
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None


def _row(key: str, held: dict[str, Any], windows: dict[str, list[float]]) -> Row:
    return Row(
        held["label"],
        json.loads(held["factors"]),
        held["seed"],
        key,
        held["status"],
        held["error"],
        {name: value for name, value in held.items() if name not in FIXED},
        json.loads(held["config"]),
        windows,
        json.loads(held["notes"]),
    )


def as_lists(windows: dict[str, Any]) -> dict[str, list[float]]:
    """Columns as plain lists."""
    return {name: [float(value) for value in np.asarray(column)] for name, column in windows.items()}


def differing(rows: Iterable[Row]) -> list[str]:
    """The factors that take more than one value."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.factors.items():
            seen.setdefault(name, set()).add(str(value))
    return [name for name, values in seen.items() if len(values) > 1]
