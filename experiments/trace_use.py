"""How a study names a trace: a catalogue name, a path or a generator, and which part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config
from tiersim._base.registry import load, validate
from tiersim._base.units import Quantity
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
    options: dict[str, Any] = field(default_factory=dict, init=False)

    def to_data(self) -> dict[str, Any]:
        """What stands in a resolved study."""
        out = {"use": self.use, **self.options, "skip": str(self.skip)}
        if self.limit is not None:
            out["limit"] = str(self.limit)
        if self.warm_up is not None:
            out["warm_up"] = str(self.warm_up)
        return out

    def open(self) -> Trace:
        """The trace. Raises TraceError when it is missing or damaged."""
        return _open(self.use, tuple(sorted(self.options.items())))

    def length(self) -> int:
        """Records that are replayed."""
        left = max(0, self.open().records - self.skip)
        return left if self.limit is None else min(left, self.limit)

    def warm_up_records(self) -> int:
        """Records that are replayed and not measured. Raises StudyError when none would be left."""
        if self.warm_up is None:
            return 0
        length = self.length()
        records = (
            length * int(self.warm_up.amount) // 10**9
            if self.warm_up.dimension == "ratio"
            else int(self.warm_up.amount)
        )
        if records >= length:
            error = StudyError(f"a warm-up of {records:,} records leaves nothing of {length:,}")
            error.path = ("trace", "warm_up")  # type: ignore[attr-defined]
            raise error
        return records


@cache
def _open(use: str, options: tuple[tuple[str, Any], ...]) -> Trace:
    return load_trace(use, **dict(options))


@dataclass(frozen=True)
class TraceParam(Param):
    """A Param that reads a trace's name or ``{use: name, ...}``; keys that are not of `TraceUse` go to the generator."""

    schema: str = "access"

    def read(self, value: Any) -> Any:
        given = {"use": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not isinstance(given.get("use"), str):
            raise StudyError("must be the name of a trace, or {use: name, ...}")
        own = {"use", "skip", "limit", "warm_up"}
        options: dict[str, Any] = {}
        if given["use"].startswith("generated/"):
            options = {key: held for key, held in given.items() if key not in own}
            problems, _ = validate(load("generator", given["use"].removeprefix("generated/")), options)
            self._fail(problems)
        problems, made = validate(TraceUse, {key: held for key, held in given.items() if key not in options})
        self._fail(problems)
        assert made is not None
        made.options.update(options)
        return made

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        part = {key: {"type": ["string", "number"]} for key in ("skip", "limit", "warm_up")}
        known = {"type": "object", "properties": {"use": {"type": "string"}, **part}, "required": ["use"]}
        return {"anyOf": [{"type": "string"}, known], "description": self.doc}

    @staticmethod
    def _fail(problems: list[tuple[tuple[Any, ...], str]]) -> None:
        if problems:
            error = StudyError(problems[0][1])
            error.detail = problems  # type: ignore[attr-defined]
            raise error
