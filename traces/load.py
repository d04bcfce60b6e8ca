"""The one front door to traces: a catalogue name, a generator, a file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.params import dump
from tiersim._base.paths import cache_folder
from tiersim._base.registry import index, nearest
from tiersim.traces.catalogue import bundled, trace_names
from tiersim.traces.code import code_hash
from tiersim.traces.compression import ByteFile
from tiersim.traces.fetch import PREFIX, fetched, find_public, public
from tiersim.traces.foreign import Foreign, configured
from tiersim.traces.generated import GeneratedTrace
from tiersim.traces.progress import Progress
from tiersim.traces.store import MAGIC, StoredTrace, Writer, sha256_of
from tiersim.traces.trace import Trace

__all__ = ["as_listed", "load_trace", "located"]

GENERATED = "generated/"
SEE = "`tiersim list traces` shows the catalogue"


def load_trace(
    name_or_path: str | Path, *, format: str | None = None, progress: Progress | None = None, **options: Any
) -> Trace:
    """The trace of a catalogue name, of ``generated/NAME``, or of a file.

    A file is tiersim's own Parquet, or any format that a registered reader recognises by content, packed or not; it is
    read once into the cache folder and from there ever after. ``format`` names the reader instead; ``options`` are
    those of the generator or reader. ``public/NAME`` is a public trace that was fetched. A plain file name is also
    looked for in the folder that the environment variable TIERSIM_TRACE_MIRROR names. Raises TraceError when there is
    no such trace, or it is empty, damaged or of no known format, and StudyError for options that are not known.
    """
    format, options = as_listed(name_or_path, format, options)
    found = located(name_or_path, options, format)
    return _ingest(found, format, options, progress) if isinstance(found, Path) else found


def as_listed(
    name_or_path: str | Path, format: str | None, options: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """The format and options of a public trace that does not tell how it is to be read; what is given goes first."""
    item = public().get(str(name_or_path))
    if item is None or item.format is None or format not in (None, item.format):
        return format, options
    return item.format, {**item.options, **options}


def located(name_or_path: str | Path, options: dict[str, Any], format: str | None = None) -> Trace | Path:
    """The trace of a name or of our own Parquet, or the path of a file in someone else's format.

    Raises as `load_trace` does when there is no such trace.
    """
    name = str(name_or_path)
    if format is not None and (name in bundled() or name.startswith(GENERATED)):
        raise StudyError(
            f"{name} is no file that a reader could read, and takes no format", None, "leave the format out"
        )
    if name in bundled():
        _no_options(name, options)
        return StoredTrace(bundled()[name].path, name=name)
    if name.startswith(GENERATED):
        return _generated(name, options)
    path = fetched(find_public(name)) if name.startswith(PREFIX) else _find(name)
    if _starts(path) == MAGIC:
        if format is not None:
            raise StudyError(f"{name} is tiersim's own Parquet, and takes no format", None, "leave the format out")
        _no_options(name, options)
        return StoredTrace(path)
    return path


def _generated(name: str, options: dict[str, Any]) -> Trace:
    if name.removeprefix(GENERATED) not in index("generator"):
        raise _missing(name, [])
    return GeneratedTrace(name, configured("generator", name.removeprefix(GENERATED), options))


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
    hint = nearest(name, [*trace_names(), *public(), *files])
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
        raise StudyError(
            f"{name} is a stored trace and takes no option {next(iter(options))!r}", None, "leave the options out"
        )


def _ingest(path: Path, format: str | None, options: dict[str, Any], progress: Progress | None) -> Trace:
    found = Foreign(path, format, options)
    raw = sha256_of(path)
    reader = found.reader
    said = {"sha256": raw, "reader": found.chosen, "reader_version": code_hash(type(reader)), "options": dump(reader)}
    key = hashlib.sha256(
        json.dumps([said, found.schema.name, found.schema.version], sort_keys=True).encode()
    ).hexdigest()
    kept = cache_folder("traces") / f"{key}.parquet"
    # another reader, or another reading, of the same bytes is another trace
    about: dict[str, Any] = {"name": path.name, "fingerprint": key if format or options else raw}
    if kept.exists():
        try:
            return StoredTrace(kept, **about)
        except TraceError:
            kept.unlink()  # damaged by something else; it can be made again
    with Writer(kept, schema=found.schema, provenance=said) as out:
        for chunk in found.records(progress):
            out.append(chunk)
        out.tail_instructions = found.tail
    return StoredTrace(kept, **about)
