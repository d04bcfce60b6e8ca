"""How a study names a trace: a catalogue name, a path or a generator, and which part of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from tiersim._base.errors import StudyError, TraceError
from tiersim._base.params import Param, config
from tiersim._base.registry import index, load, validate
from tiersim._base.units import Quantity
from tiersim.experiments.progress import reading
from tiersim.traces import Trace, load_trace

__all__ = ["TraceParam", "TraceUse"]


@config
class TraceUse:
    """A trace and the part of it to use."""

    use: Annotated[str, Param("a catalogue name, a path, or generated/NAME with that generator's parameters")]
    skip: Annotated[int, Param("records left out at the start", unit="count", ge=0)] = 0
    limit: Annotated[int | None, Param("records used after that", unit="count", ge=1)] = None
    warm_up: Annotated[
        Quantity | None, Param("first part that fills the caches without being measured", unit="count|ratio", ge=0)
    ] = None
    format: Annotated[
        str | None, Param("reader of the file, whose options may follow; unless said, found by content")
    ] = None
    options: dict[str, Any] = field(default_factory=dict, init=False)

    def to_data(self) -> dict[str, Any]:
        """What stands in a resolved study."""
        out = {"use": self.use, **({"format": self.format} if self.format else {}), **self.options}
        out["skip"] = str(self.skip)
        if self.limit is not None:
            out["limit"] = str(self.limit)
        if self.warm_up is not None:
            out["warm_up"] = str(self.warm_up)
        return out

    def open(self) -> Trace:
        """The trace. Raises TraceError when it is missing or damaged."""
        try:
            options = tuple((key, _hashable(held)) for key, held in sorted(self.options.items()))
            files = [self.use, *(held for held in self.options.values() if isinstance(held, str))]
            return _open(self.use, self.format, options, tuple(map(_stamp, files)))
        except TraceError as error:
            error.path = ("trace", "use")
            raise

    def demand(self, schema: str) -> None:
        """Raise StudyError unless the trace has the records that a scenario replays."""
        found = self.open()
        if found.schema != schema:
            fitting = [name for name in index("scenario") if load("scenario", name).records == found.schema]
            reader = found.provenance.get("reader")
            twins = [name for name in index("reader") if reader and getattr(load("reader", name), "twin", "") == reader]
            remedy = f"`format: {twins[0]}` reads it so" if twins else ""
            error = StudyError(
                f"{found.name} is a trace of {found.schema} records, and this scenario replays {schema} records",
                None,
                remedy or (f"use `scenario: {fitting[0]}`" if fitting else ""),
            )
            error.path = ("trace", "use")
            raise error

    def length(self) -> int:
        """Records that are replayed. Raises StudyError when none would be left, or none to measure."""
        records = self.open().records
        if self.skip >= records:
            raise _nothing_left("skip", f"nothing is left of a trace of {records:,} records")
        length = records - self.skip if self.limit is None else min(records - self.skip, self.limit)
        if (warm_up := self.warm_up_of(length)) >= length:
            raise _nothing_left("warm_up", f"a warm-up of {warm_up:,} records leaves nothing of {length:,}")
        return length

    def warm_up_records(self) -> int:
        """Records that are replayed and not measured. Raises StudyError as `length` does."""
        return self.warm_up_of(self.length())

    def warm_up_of(self, length: int) -> int:
        """The warm-up where so many records are replayed."""
        if self.warm_up is None:
            return 0
        if self.warm_up.dimension == "ratio":
            return length * int(self.warm_up.amount) // 10**9
        return int(self.warm_up.amount)


def _nothing_left(key: str, message: str) -> StudyError:
    error = StudyError(message)
    error.path = ("trace", key)
    return error


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _stamp(use: str) -> str:
    """What tells a file from another of its name: where it is looked for, and when it was changed."""
    path = os.path.abspath(use)  # pathlib takes ten times as long, and a study asks many times for each of its runs
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return f"{os.environ.get('TIERSIM_TRACE_MIRROR')}"
    return f"{path} {about.st_size} {about.st_mtime_ns}"


@cache
def _open(use: str, format: str | None, options: tuple[tuple[str, Any], ...], stamps: tuple[str, ...]) -> Trace:
    with reading(Path(use).name) as progress:
        return load_trace(use, format=format, progress=progress, **dict(options))


@dataclass(frozen=True)
class TraceParam(Param):
    """A Param that reads a trace's name or ``{use: name, ...}``.

    What is not of `form`, a kind of TraceUse, goes to the generator or the reader.
    """

    form: type[TraceUse] = TraceUse

    def read(self, value: Any) -> Any:
        given = {"use": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not isinstance(given.get("use"), str):
            raise StudyError("must be the name of a trace, or {use: name, ...}")
        own = {item.name for item in fields(self.form) if item.init}
        options: dict[str, Any] = {}
        family, key, name = "generator", "use", given["use"].removeprefix("generated/")
        if name == given["use"] and isinstance(given.get("format"), str):
            family, key, name = "reader", "format", given["format"]
        if name != given["use"]:
            options = {key: held for key, held in given.items() if key not in own}
            try:
                maker = load(family, name)
            except StudyError as error:
                self._fail([((key,), error.message)])
                raise
            problems, _ = validate(maker, options)
            self._fail(problems)
        problems, made = validate(self.form, {key: held for key, held in given.items() if key not in options})
        self._fail(problems)
        assert made is not None
        made.options.update(options)
        return made

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        lists = {item.name: ["array"] if "list[" in str(item.type) else [] for item in fields(self.form) if item.init}
        part = {
            key: {"type": ["string", "number", *more]} for key, more in lists.items() if key not in ("use", "format")
        }
        part["format"] = {"type": ["string"]}
        known = {"type": "object", "properties": {"use": {"type": "string"}, **part}, "required": ["use"]}
        return {"anyOf": [{"type": "string"}, known], "description": self.doc}

    @staticmethod
    def _fail(problems: list[tuple[tuple[Any, ...], str]]) -> None:
        if problems:
            error = StudyError(problems[0][1])
            error.detail = problems
            raise error
