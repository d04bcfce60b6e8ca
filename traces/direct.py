"""A file in someone else's format, replayed as it stands: nothing is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tiersim._base.errors import TraceError
from tiersim._base.params import dump
from tiersim.traces.chunks import rechunk, window
from tiersim.traces.code import code_hash
from tiersim.traces.foreign import Foreign
from tiersim.traces.load import as_listed, located
from tiersim.traces.progress import Progress
from tiersim.traces.readers.contract import width_of
from tiersim.traces.schema import Chunk
from tiersim.traces.trace import CHUNK, Trace

__all__ = ["DirectTrace", "stream_trace"]


class DirectTrace:
    """The records of a file straight from its reader: what `Trace` offers, without a stored copy.

    ``records`` is None, ``kinds`` empty and ``instructions`` 0 until the file was read through once, because few
    formats tell; a file of records of one size that is not packed tells how many it holds.

    ``fingerprint`` hashes no content, which may be gigabytes: it is the sha256 of the absolute path, the size and the
    time of change (mtime in ns) of the file, the reader's name, options and code. A copy of the file has another one.
    """

    def __init__(
        self,
        path: Path,
        format: str | None,
        options: dict[str, Any],
        progress: Progress | None = None,
    ) -> None:
        self.path = path
        self.name = path.name
        self._found = Foreign(path, format, options)
        self._progress = progress
        reader = self._found.reader
        self.schema = self._found.schema.name
        self.provenance: dict[str, Any] = {
            "path": str(path.absolute()),
            "bytes": path.stat().st_size,
            "mtime_ns": path.stat().st_mtime_ns,
            "reader": self._found.chosen,
            "reader_version": code_hash(type(reader)),
            "options": dump(reader),
        }
        self.fingerprint = hashlib.sha256(json.dumps(self.provenance, sort_keys=True).encode()).hexdigest()
        width = 0 if self._found.packing else width_of(reader, self._found.head)
        self.records: int | None = self.provenance["bytes"] // width if width else None
        self.kinds: dict[str, int] = {}
        self.instructions = 0

    def chunks(self, records: int = CHUNK, skip: int = 0, limit: int | None = None) -> Iterator[Chunk]:
        """Columns, ``records`` rows at a time, from row ``skip`` on and at most ``limit`` of them, in bounded memory.

        What is skipped is read. Raises TraceError where the file departs from its format, and when it has changed since
        it was opened.
        """
        try:
            now = self.path.stat()
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.strerror}", None, "put it back") from None
        if (now.st_size, now.st_mtime_ns) != (self.provenance["bytes"], self.provenance["mtime_ns"]):
            raise TraceError(f"{self.path} has changed since it was opened", None, "open it again")
        made = self._found.records(self._progress)
        if skip == 0 and limit is None:
            made = self._counted(made)
        return rechunk(window(made, skip, limit), records)

    def _counted(self, made: Iterator[Chunk]) -> Iterator[Chunk]:
        schema = self._found.schema
        tally = schema.tally({})
        gaps = 0
        for chunk in made:
            tally = tally + schema.tally(chunk)
            gaps += int(chunk["gap"].sum(dtype="uint64")) if "gap" in chunk else 0
            yield chunk
        self.records = int(tally.sum())
        self.kinds = {name: int(count) for name, count in zip(schema.kinds, tally, strict=True)}
        self.instructions = gaps + self._found.tail

    def __repr__(self) -> str:
        records = "records not counted yet" if self.records is None else f"{self.records:,} records"
        return f"<{self.schema} trace {self.name}: {records}>"


def stream_trace(
    name_or_path: str | Path, *, format: str | None = None, progress: Progress | None = None, **options: Any
) -> Trace | DirectTrace:
    """The trace of a name or a file as `load_trace` finds it, but a foreign file is read each time and never stored.

    For a replay or two of a large file, and where the cache folder has no room. Raises as `load_trace` does, except
    that a fault further on in a file shows only when it is read.
    """
    format, options = as_listed(name_or_path, format, options)
    found = located(name_or_path, options, format)
    return DirectTrace(found, format, options, progress) if isinstance(found, Path) else found
