"""A file in a format of someone else's: which reader it needs, and its records as they stand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.params import params
from tiersim._base.registry import index, load, validate
from tiersim._base.units import Quantity
from tiersim.traces.compression import BrokenStreamError, ByteFile
from tiersim.traces.progress import Progress
from tiersim.traces.readers.contract import HEAD, Reader, Records, schema_of, suggestions
from tiersim.traces.schema import Chunk, Schema

__all__ = ["Foreign", "configured"]


def configured(family: str, name: str, options: dict[str, Any], source: str = "") -> Any:
    """A reader, of this file, or a generator with these options. Raises StudyError for one that does not fit."""
    cls = load(family, name)
    units = {item.name: param.unit for item, _, param in params(cls) if param is not None}
    given = {  # in a study file a size must have its unit; in Python a whole number is a number of bytes
        key: Quantity(held, "bytes") if units.get(key) == "bytes" and type(held) is int else held
        for key, held in options.items()
    }
    problems, made = validate(cls, given)
    if problems:
        path, message = problems[0]
        where = f"{source}: {name}" if source else name
        remedy = f"`tiersim explain {name}` tells what it takes"
        raise StudyError(f"{where}: {'.'.join(map(str, path))}: {message}", None, remedy)
    return made


class Foreign:
    """A file and the reader that it is read with: the named one, or the one that recognises it.

    ``chosen`` names the reader, ``schema`` is that of its chunks, ``head`` holds the first bytes, unpacked. After
    `records` was read through, ``tail`` is what the reader returned. Raises TraceError when the file is empty, damaged
    or of no known format, StudyError for options that are not known.
    """

    def __init__(self, path: Path, format: str | None, options: dict[str, Any]) -> None:
        self.path = path
        self.head, self.packing = self._begin()
        if not self.head:
            raise TraceError(
                f"{path.name} is empty: not one byte where record 1 should be",
                None,
                "trace the program again, or fetch the file again",
            )
        self.chosen = format or self._recognise()
        self.reader: Reader = configured("reader", self.chosen, options, path.name)
        self.schema: Schema = schema_of(self.reader)
        self.tail = 0

    def records(self, progress: Progress | None = None) -> Iterator[Chunk]:
        """The chunks as the reader makes them. Raises TraceError where the file departs from the format."""
        count = 0
        with ByteFile(self.path) as file:
            total = self.path.stat().st_size
            made = Records(self.reader.read(file, self.path.name))
            try:
                for chunk in made:
                    count += len(next(iter(chunk.values())))
                    yield chunk
                    if progress is not None:
                        progress(file.position, total, "bytes")
            except BrokenStreamError as error:
                raise _cut(error, count) from None
            if not count:
                raise TraceError(
                    f"{self.path.name} reads as {self.chosen} and holds not one {self.schema.record} in "
                    f"{file.offset:,} bytes",
                    None,
                    "with the option fetches=True instruction fetches count as accesses"
                    if hasattr(self.reader, "fetches")
                    else "trace the program again",
                )
            self.tail = made.tail

    def _begin(self) -> tuple[bytes, str]:
        with ByteFile(self.path) as file:
            try:
                return file.read(HEAD), file.packing
            except BrokenStreamError as error:
                raise _cut(error, 0) from None

    def _recognise(self) -> str:
        readers = _readers()
        found = [name for name, cls in readers.items() if cls.recognise(self.head, self.path.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise TraceError(
                f"{self.path.name} could be {' or '.join(found)}", None, f"say which, for example format={found[0]!r}"
            )
        more = "".join(f"; {text}" for text in suggestions([*readers.values()], self.head))
        raise TraceError(
            f"{self.path.name} is not a trace that tiersim can read: record 1 (byte 0) begins with {self.head[:24]!r}",
            None,
            f"expected tiersim's own Parquet or one of: {', '.join(readers)}; naming one, as in "
            f"format={next(iter(readers))!r}, shows where the file departs from it{more}",
        )


@cache
def _readers() -> dict[str, Any]:
    """Every reader by its name."""
    return {name: load("reader", name) for name in sorted({entry.name for entry in index("reader").values()})}


def _cut(error: BrokenStreamError, records: int) -> TraceError:
    return TraceError(f"{error.message}, after record {records:,}", None, error.remedy)
