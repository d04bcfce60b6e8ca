"""Whether a trace can be trusted, and what it is like: `tiersim traces check` and `info`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tiersim._base.errors import TraceError
from tiersim._base.params import forms, params
from tiersim.experiments.doctor import doctor_of
from tiersim.experiments.doctor.contract import Info
from tiersim.experiments.doctor.tally import Tally
from tiersim.experiments.progress import Bar, reading
from tiersim.traces.catalogue import bundled
from tiersim.traces.chunks import length
from tiersim.traces.compression import ByteFile
from tiersim.traces.foreign import Foreign
from tiersim.traces.generated import GeneratedTrace
from tiersim.traces.load import as_listed, located
from tiersim.traces.readers.contract import HEAD
from tiersim.traces.schema import SCHEMAS, Chunk, Schema
from tiersim.traces.store import StoredTrace, sha256_of

__all__ = ["Check", "Info", "Opened", "check_trace", "open_records", "trace_info"]

CHUNK: Final = 1 << 16
PICKLES: Final = tuple(bytes((0x80, version)) for version in range(2, 6))
BAD_ZIP: Final = (zipfile.BadZipFile, OSError, NotImplementedError, ValueError)
SUFFIXES: Final = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


@dataclass
class Opened:
    """A trace that is ready to be read: the reader's name, the schema, and what makes its chunks."""

    name: str
    format: str
    schema: Schema
    path: Path | None
    found: StoredTrace | GeneratedTrace | Foreign
    quiet: bool = True

    def chunks(self) -> Iterator[Chunk]:
        """Every record. Raises TraceError where the file is damaged; all records before are delivered."""
        if isinstance(self.found, Foreign):
            with reading(self.name) as progress:
                yield from self.found.records(None if self.quiet else progress)
            return
        with Bar(f"reading {self.name}", self.found.records, "records", quiet=self.quiet) as bar:
            for chunk in self.found.chunks(CHUNK):
                yield chunk
                bar.add(length(chunk))

    def tally(self) -> Tally:
        """What counts the records, and knows the options of the reader that mend a clock."""
        return Tally(
            self.name,
            self.format,
            self.schema,
            spread=self._offer("clock", "dequantised"),
            forward=self._offer("sessions", "in-turn"),
        )

    def _offer(self, option: str, value: str) -> str:
        """The option as it is written, where the reader has it and was not told so."""
        reader = self.found.reader if isinstance(self.found, Foreign) else None
        if reader is None or getattr(reader, option, value) == value:
            return ""
        known = {item.name: forms(kind) for item, kind, _ in params(type(reader))}
        return f"--option {option}={value}" if value in known[option] else ""


def open_records(trace: str | Path, format: str | None = None, quiet: bool = True, **options: Any) -> Opened:
    """The trace of a name or a path, read as it stands and never stored.

    Raises TraceError when it is missing, damaged, a pickle, or of no known format; StudyError for unknown options.
    """
    format, options = as_listed(trace, format, options)
    found = located(trace, options, format)
    if isinstance(found, Path):
        _refuse_pickles(found)
        foreign = Foreign(found, format, options)
        return Opened(found.name, foreign.chosen, foreign.schema, found, foreign, quiet)
    assert isinstance(found, (StoredTrace, GeneratedTrace))
    kind = "generated" if isinstance(found, GeneratedTrace) else "tiersim"
    return Opened(found.name, kind, SCHEMAS[found.schema], found.path, found, quiet)


def _refuse_pickles(path: Path) -> None:
    with ByteFile(path) as file:
        try:
            head = file.read(HEAD)
        except TraceError:
            return  # what reads it next tells more
    inside = ""
    if head.startswith(b"PK\x03\x04"):
        with suppress(*BAD_ZIP), zipfile.ZipFile(path) as held:
            inside = next((name for name in held.namelist() if name.endswith((".pkl", ".pickle"))), "")
    if head.startswith(PICKLES) or inside:
        raise TraceError(
            f"{path.name} {f'holds {inside}, which is' if inside else 'is'} a Python pickle, and to open one runs "
            "whatever code is in it",
            None,
            "tiersim opens none; have whoever made it write CSV, JSON lines or Parquet",
        )


# check


@dataclass
class Check:
    """What `check_trace` finds: errors mean that the trace cannot be used as it is, warnings that care is needed."""

    format: str | None = None
    records: int = 0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `tiersim traces check --json` prints."""
        return asdict(self)


def check_trace(trace: str | Path, *, format: str | None = None, quiet: bool = True, **options: Any) -> Check:
    """Read every record of a trace, and tell what is wrong and what is odd.

    ``errors`` holds what `load_trace` would raise: a trace that is missing, cut off, damaged, of no known format.
    Raises StudyError for options that are not known.
    """
    result = Check()
    try:
        opened = open_records(trace, format, quiet, **options)
        result.format = opened.format
        _check_file(opened, result)
        _check_records(opened, result)
    except TraceError as error:
        result.errors.append(" ".join(f"{error.message}. {error.remedy}".split()).removesuffix("."))
    return result


def _check_file(opened: Opened, result: Check) -> None:
    path = opened.path
    if path is None:
        return
    known = bundled().get(opened.name)
    if known is not None and sha256_of(path) != known.sha256:
        result.errors.append(
            f"{path} is not the file that tiersim came with: its sha256 differs. Install tiersim again"
        )
    if not isinstance(opened.found, Foreign):
        return
    packing, said = opened.found.packing, SUFFIXES.get(path.suffix.lower(), "")
    if packing != said:
        is_ = f"is packed with {packing}" if packing else "is not packed"
        name = f"its name ends in {path.suffix}" if said else "its name does not say so"
        result.warnings.append(f"{path.name} {is_}, and {name}: other tools may fail on it")
    text = opened.found.head
    if not packing and b"\n" in text and b"\0" not in text:
        with path.open("rb") as file:
            file.seek(-1, 2)
            if file.read() != b"\n":
                result.warnings.append(
                    f"{path.name} does not end in a line end: the last record may be cut short; compare its size with "
                    "that of the original"
                )


def _check_records(opened: Opened, result: Check) -> None:
    tally = opened.tally()
    fault: list[TraceError] = []

    def seen() -> Iterator[Chunk]:
        """The records; a fault ends them, and not the account of those before it."""
        try:
            yield from tally.over(opened.chunks())
        except TraceError as error:
            fault.append(error)

    chunks = seen()
    first = next(chunks, None)
    found = [] if first is None else list(doctor_of(opened.schema.name).traps(chain([first], chunks), tally))
    result.records = tally.records
    if isinstance(opened.found, StoredTrace):
        told = [opened.found.kinds[name] for name in opened.schema.kinds]
        if not fault and told != tally.kinds.tolist():
            result.errors.append(f"{opened.name} says that it holds other kinds of records than it does. Make it again")
        if isinstance(caution := opened.found.provenance.get("caution"), str):
            result.warnings.append(caution)
    result.warnings += tally.warnings() + found
    if fault:
        raise fault[0]


# info


def trace_info(trace: str | Path, *, format: str | None = None, quiet: bool = True, **options: Any) -> Info:
    """What a trace is like, from all of its records; the class of what is returned depends on their schema.

    Raises TraceError when it cannot be read to its end.
    """
    opened = open_records(trace, format, quiet, **options)
    tally = opened.tally()
    return doctor_of(opened.schema.name).fingerprint(tally.over(opened.chunks()), tally)
