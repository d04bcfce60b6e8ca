"""The one front door to traces: a catalogue name, a generator, a file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.params import dump, params
from tiersim._base.paths import cache_folder
from tiersim._base.registry import index, load, nearest, validate
from tiersim._base.units import Quantity
from tiersim.traces.catalogue import bundled, trace_names
from tiersim.traces.code import code_hash
from tiersim.traces.compression import BrokenStreamError, ByteFile
from tiersim.traces.generated import GeneratedTrace
from tiersim.traces.progress import Progress
from tiersim.traces.readers.contract import Reader, Records
from tiersim.traces.schema import ACCESS
from tiersim.traces.store import MAGIC, StoredTrace, Writer, sha256_of
from tiersim.traces.trace import Trace

__all__ = ["load_trace"]

HEAD = 1 << 16
GENERATED = "generated/"
SEE = "`tiersim list traces` shows the catalogue"


def load_trace(
    name_or_path: str | Path, *, format: str | None = None, progress: Progress | None = None, **options: Any
) -> Trace:
    """The trace of a catalogue name, of ``generated/NAME``, or of a file.

    A file is tiersim's own Parquet, or any format that a registered reader recognises by content, packed or not; it is
    read once into the cache folder and from there ever after. ``format`` names the reader instead; ``options`` are
    those of the generator or reader. A plain file name is also looked for in the folder that the environment variable
    TIERSIM_TRACE_MIRROR names. Raises TraceError when there is no such trace, or it is empty, damaged or of no known
    format, and StudyError for options that are not known.
    """
    name = str(name_or_path)
    if name in bundled():
        _no_options(name, options)
        return StoredTrace(bundled()[name].path, name=name)
    if name.startswith(GENERATED):
        return _generated(name, options)
    path = _find(name)
    if _starts(path) == MAGIC:
        _no_options(name, options)
        return StoredTrace(path)
    return _ingest(path, format, options, progress)


def _generated(name: str, options: dict[str, Any]) -> Trace:
    if name.removeprefix(GENERATED) not in index("generator"):
        raise _missing(name, [])
    return GeneratedTrace(name, _configured("generator", name.removeprefix(GENERATED), options))


def _find(name: str) -> Path:
    path = Path(name).expanduser()
    mirror = os.environ.get("TIERSIM_TRACE_MIRROR")
    try:
        if mirror and path.name == name and not path.exists() and (Path(mirror) / name).exists():
            path = Path(mirror) / name
        if path.is_file():
            return path
        if path.exists():
            what = "a folder" if path.is_dir() else "not a regular file"
            raise TraceError(f"{name} is {what}, and a trace is one file", None, f"name a file; {SEE}")
        beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    except OSError as error:
        raise TraceError(f"{name} cannot be read: {error.strerror}", None, SEE) from None
    raise _missing(name, [str(item) for item in beside])


def _missing(name: str, files: list[str]) -> TraceError:
    hint = nearest(name, [*trace_names(), *files])
    return TraceError(
        f"there is no trace {name!r}: the catalogue does not have it, and there is no such file",
        None,
        f"{hint} {SEE}".strip(),
    )


def _starts(path: Path) -> bytes:
    with ByteFile(path) as file:
        return b"" if file.packing else file.read(len(MAGIC))


def _no_options(name: str, options: dict[str, Any]) -> None:
    if options:
        raise StudyError(f"{name} is a stored trace and takes no option {next(iter(options))!r}")


def _configured(family: str, name: str, options: dict[str, Any]) -> Any:
    cls = load(family, name)
    units = {item.name: param.unit for item, _, param in params(cls) if param is not None}
    given = {  # in a study file a size must have its unit; in Python a whole number is a number of bytes
        key: Quantity(held, "bytes") if units.get(key) == "bytes" and type(held) is int else held
        for key, held in options.items()
    }
    problems, made = validate(cls, given)
    if problems:
        path, message = problems[0]
        raise StudyError(f"{name}: {'.'.join(map(str, path))}: {message}")
    return made


def _ingest(path: Path, format: str | None, options: dict[str, Any], progress: Progress | None) -> Trace:
    head = _head(path)
    if not head:
        raise TraceError(
            f"{path.name} is empty: not one byte where record 1 should be",
            None,
            "trace the program again, or fetch the file again",
        )
    chosen = format or _recognise(path, head)
    reader: Reader = _configured("reader", chosen, options)
    raw = sha256_of(path)
    said = {"sha256": raw, "reader": chosen, "reader_version": code_hash(type(reader)), "options": dump(reader)}
    key = hashlib.sha256(json.dumps([said, ACCESS.name, ACCESS.version], sort_keys=True).encode()).hexdigest()
    kept = cache_folder("traces") / f"{key}.parquet"
    about: dict[str, Any] = {"name": path.name, "fingerprint": raw}
    if kept.exists():
        try:
            return StoredTrace(kept, **about)
        except TraceError:
            kept.unlink()  # damaged by something else; it can be made again
    with ByteFile(path) as file, Writer(kept, provenance=said) as out:
        total = path.stat().st_size
        records = Records(reader.read(file, path.name))
        try:
            for chunk in records:
                out.append(chunk)
                if progress is not None:
                    progress(file.position, total, "bytes")
        except BrokenStreamError as error:
            raise _cut(error, out.records) from None
        if not out.records:
            raise TraceError(
                f"{path.name} reads as {chosen} and holds not one memory access in {file.offset:,} bytes",
                None,
                "with the option fetches=True instruction fetches count as accesses"
                if hasattr(reader, "fetches")
                else "trace the program again",
            )
        out.tail_instructions = records.tail
    return StoredTrace(kept, **about)


def _head(path: Path) -> bytes:
    with ByteFile(path) as file:
        try:
            return file.read(HEAD)
        except BrokenStreamError as error:
            raise _cut(error, 0) from None


def _cut(error: BrokenStreamError, records: int) -> TraceError:
    return TraceError(f"{error.message}, after record {records:,}", None, error.remedy)


def _recognise(path: Path, head: bytes) -> str:
    readers = sorted({entry.name for entry in index("reader").values()})
    found = [name for name in readers if load("reader", name).recognise(head, path.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise TraceError(
            f"{path.name} could be {' or '.join(found)}", None, f"say which, for example format={found[0]!r}"
        )
    raise TraceError(
        f"{path.name} is not a trace that tiersim can read: record 1 (byte 0) begins with {head[:24]!r}",
        None,
        f"expected tiersim's own Parquet or one of: {', '.join(readers)}; naming one, as in format={readers[0]!r}, "
        "shows where the file departs from it",
    )
