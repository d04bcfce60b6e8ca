"""A bundle run again, and each run compared with what is expected of it."""

from __future__ import annotations

import json
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tiersim._base.errors import StudyError
from tiersim.experiments.paper.bundle import EXPECTED, FORMAT, STUDY, checksum, code_of, every_run
from tiersim.experiments.results import Row
from tiersim.experiments.store import write_bytes

__all__ = ["Difference", "Rerun", "Same", "rerun"]

SHOWN = 5  # metrics of a run, in lines


@dataclass(frozen=True)
class Difference:
    """A metric that came out otherwise; None where it is not there. `relative` is to what is expected."""

    metric: str
    expected: float | None
    found: float | None

    @property
    def relative(self) -> float | None:
        if self.expected is None or self.found is None or not self.expected:
            return None
        return self.found / self.expected - 1

    def __str__(self) -> str:
        relative = self.relative
        by = f" ({relative:+.3g} of it)" if relative is not None else ""
        return f"{self.metric}: {self.found} and not {self.expected}{by}"


@dataclass(frozen=True)
class Same:
    """One run: whether all that came out is equal, or what is not."""

    label: str
    seed: int
    equal: bool
    why: str = ""
    metrics: tuple[Difference, ...] = ()

    def public(self) -> dict[str, Any]:
        """The form of `tiersim rerun --json`."""
        metrics = [{**vars(held), "relative": held.relative} for held in self.metrics]
        return {
            "label": self.label,
            "seed": self.seed,
            "equal": self.equal,
            "why": self.why or None,
            "metrics": metrics,
        }


@dataclass
class Rerun:
    """A bundle that was run again: the runs, where they are, and what is different here."""

    study: str
    folder: Path
    runs: list[Same]
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return all(held.equal for held in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """The form of `tiersim rerun --json`."""
        return {
            "study": self.study,
            "equal": self.equal,
            "folder": str(self.folder),
            "notes": self.notes,
            "runs": [held.public() for held in self.runs],
        }

    def lines(self) -> list[str]:
        """What came of it, as a person reads it."""
        differing = [held for held in self.runs if not held.equal]
        lines = [f"note: {note}" for note in self.notes]
        for held in differing:
            lines.append(f"differs: {held.label}, seed {held.seed}: {held.why}")
            lines += [f"  {one}" for one in held.metrics[:SHOWN]]
            more = len(held.metrics) - SHOWN
            lines += [f"  and {more} more"] if more > 0 else []
        equal = len(self.runs) - len(differing)
        return [
            *lines,
            f"{self.study}: {equal} of {len(self.runs)} runs are equal in all that came out",
            f"results: {self.folder}",
        ]


def rerun(bundle: Path, out: Path | None = None, workers: int = 1, *, quiet: bool = True) -> Rerun:
    """Run a bundle again in the folder `out`, by default ``rerun/STUDY``, and compare.

    Code that is in the bundle is run. Raises StudyError for a file that is no bundle, and as `tiersim.run` does.
    """
    from tiersim.experiments.runner import run

    files = _unzipped(bundle)
    expected = _expected(bundle, files)
    told = out if out is not None else Path("rerun") / expected["study"]
    folder = told.absolute()
    for name, held in files.items():
        write_bytes(folder / "bundle" / name, held)
    notes = _notes(expected)
    with _in(folder / "bundle" / "study"):
        result = run(Path(STUDY).name, out=folder / "results", workers=workers, quiet=quiet)
    found = {_name(row.label, row.factors, row.seed): row for row in every_run(result)}
    runs = [
        _compared(held, found.get(_name(held["label"], held["factors"], held["seed"]))) for held in expected["runs"]
    ]
    skipped = [f"skipped: {item['what']}: {item['why']}" for item in result.skipped]
    return Rerun(expected["study"], told / "results", runs, notes + skipped)


def _unzipped(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            for name in names:
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
                    raise _no_bundle(path, f"{name!r} in it leads out of it")
            return {name: archive.read(name) for name in names}
    except FileNotFoundError:
        raise StudyError(f"there is no file {str(path)!r}", None, _MAKE) from None
    except IsADirectoryError:
        raise _no_bundle(path, "it is a folder") from None
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise _no_bundle(
            path, f"it is no zip file, or a damaged one ({error})", "copy it again, or make it anew: " + _MAKE
        ) from None


_MAKE = "`tiersim report DIR --bundle` makes one"


def _no_bundle(path: Path, why: str, remedy: str = _MAKE) -> StudyError:
    return StudyError(f"{path} is no bundle: {why}", None, remedy)


def _expected(path: Path, files: dict[str, bytes]) -> dict[str, Any]:
    for name in (STUDY, EXPECTED):
        if name not in files:
            raise _no_bundle(path, f"{name} is missing")
    try:
        expected: dict[str, Any] = json.loads(files[EXPECTED])
        if expected["format"] != FORMAT:
            raise _no_bundle(path, f"it is of another version (format {expected['format']}, not {FORMAT})")
        for held in expected["runs"]:
            _name(held["label"], held["factors"], held["seed"]), held["checksum"], held["metrics"].items()
        str(expected["study"]), expected["code"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_bundle(path, f"{EXPECTED} cannot be read ({type(error).__name__}: {error})") from None
    return expected


def _notes(expected: dict[str, Any]) -> list[str]:
    try:
        same = code_of(expected["scenario"]) == expected["code"]
    except StudyError:
        same = False
    told = f"the code here is not that of the bundle, which is of tiersim {expected['version']}: metrics are compared"
    return [] if same else [told]


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """Work in a folder whose modules are imported, and no others of their names that Python may know already."""
    before, names = (
        Path.cwd(),
        [".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")],
    )
    known = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        os.chdir(before)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(known)


def _name(label: str, factors: dict[str, Any], seed: int) -> str:
    return json.dumps([label, factors, seed], sort_keys=True)


def _compared(expected: dict[str, Any], row: Row | None) -> Same:
    label, seed = expected["label"], expected["seed"]
    if row is None or row.part is None:
        return Same(label, seed, False, "it was not run here")
    if checksum(row.part) == expected["checksum"]:
        return Same(label, seed, True)
    if row.status != expected["status"]:
        said = f": {row.error}" if row.error else ""
        return Same(label, seed, False, f"it is {row.status} and was {expected['status']}{said}")
    metrics = tuple(
        Difference(name, one, other)
        for name in dict.fromkeys([*expected["metrics"], *row.metrics])
        if (one := expected["metrics"].get(name)) != (other := row.metrics.get(name))
        and not (one != one and other != other)  # neither is a number
    )
    if metrics:
        return Same(label, seed, False, f"{len(metrics)} of {len(expected['metrics'])} metrics", metrics)
    return Same(label, seed, False, "its metrics are equal, and what is kept of its course, or its notes, are not")
