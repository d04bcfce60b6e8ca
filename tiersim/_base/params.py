"""What a parameter means, written beside its type: documentation, unit, range, source.

    @config
    class Cache:
        capacity: Annotated[int, Param("bytes it holds", unit="bytes", ge=1)]
        policy: Annotated[object, Param("who leaves", family="way-replacement")] = "lru"

The same note gives the check at the edge (through pydantic), the JSON schema, `tiersim explain` and the docs page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from tiersim._base import units
from tiersim._base.errors import StudyError

__all__ = ["Param", "config", "dump", "forms", "param_of", "params"]

T = TypeVar("T")

PLURAL = {"a mapping": "mappings", "a number": "numbers", "a whole number": "whole numbers"}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Make a class a frozen keyword-only dataclass that refuses unknown keys.

    What keeps its state in itself, a plain policy with ``on_access`` or a router, is not frozen.
    """
    stateful = any(hasattr(cls, verb) for verb in ("on_access", "route", "arrive"))
    made = dataclass(frozen=not stateful, kw_only=True)(cls)
    made.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return made


@dataclass(frozen=True)
class Param:
    """The meaning of one field.

    ``unit`` names a dimension of `tiersim._base.units`: the value in YAML carries a unit and the field holds the
    integer of the base unit (bytes, picoseconds, parts per billion ...). Several dimensions, ``"time|cycles"``, keep
    the `units.Quantity`. ``family`` names a registry family: the value in YAML is a name or ``{use: name, ...}`` and
    the field holds an instance of that class. ``ge`` and ``le`` bound the number in the base unit. ``uncertainty`` says
    of a default what else it could be, as in a preset: ``3 to 20 us: why``.
    """

    doc: str
    unit: str | None = None
    ge: float | None = None
    le: float | None = None
    family: str | None = None
    source: str = ""
    uncertainty: str = ""
    reads_all: bool = False  # `read` takes whatever stands in YAML: the type of the field is not checked first

    def read(self, value: Any) -> Any:
        """The value of the field from what stands in YAML. Raises StudyError (UnitError for quantities)."""
        if self.family is not None:
            from tiersim._base.registry import build

            return build(self.family, value)
        if self.unit is not None:
            dimensions = tuple(self.unit.split("|"))
            quantity = value if isinstance(value, units.Quantity) else units.parse(value, *dimensions)
            self._check(quantity.amount)
            return quantity if len(dimensions) > 1 else quantity.amount
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check(value)
        return value

    def _check(self, amount: float) -> None:
        unit = self.unit.split("|")[0] if self.unit else None
        for bound, broken, word in (
            (self.ge, self.ge is not None and amount < self.ge, "at least"),
            (self.le, self.le is not None and amount > self.le, "at most"),
        ):
            if broken and bound is not None:
                shown = units.show(int(bound), unit) if unit else f"{bound:g}"
                raise StudyError(f"must be {word} {shown}")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import PydanticCustomError, core_schema

        def told(read: Callable[[Any], Any], value: Any) -> Any:
            try:
                return read(value)
            except StudyError as error:
                detail = error.detail
                raise PydanticCustomError(
                    "tiersim", "{message}", {"message": error.message, "detail": detail}
                ) from None

        optional = self.unit is not None and NoneType in get_args(source)

        def check(value: Any) -> Any:
            if value is None and optional:  # takes back what a study says that it extends
                return None
            return told(self.read, value)

        if self.reads_all or self.family is not None or self.unit is not None:
            return core_schema.no_info_plain_validator_function(check)

        def number(value: Any, inner: Any) -> Any:
            made = told(inner, value)  # a config class may refuse values that do not go together
            # pydantic takes true for 1, and "nan" for a number that no bound refuses
            if isinstance(value, bool) > isinstance(made, bool) or (
                isinstance(made, float) and not math.isfinite(made)
            ):
                raise PydanticCustomError("not_a_number", "no number")
            return check(made)

        return core_schema.no_info_wrap_validator_function(number, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        if self.family is not None:
            from tiersim._base.registry import index

            names = sorted(name for name, found in index(self.family).items() if name == found.name)
            pick = {"type": "object", "properties": {"use": {"enum": names}}, "required": ["use"]}
            file = {"type": "string", "pattern": r"\.py:\w+$"}
            return {"anyOf": [{"enum": names}, file, pick], "description": self.doc}
        if self.unit is not None:
            text = f"{self.doc} ({units.describe(*self.unit.split('|'))})"
            return {"type": ["string", "number"], "description": text}
        made: dict[str, Any] = dict(handler(schema["schema"] if schema["type"] == "function-wrap" else schema))
        made["description"] = self.doc
        if self.ge is not None:
            made["minimum"] = self.ge
        if self.le is not None:
            made["maximum"] = self.le
        return made


def param_of(hint: Any) -> Param | None:
    """The Param inside an ``Annotated`` type, if there is one."""
    return next((note for note in getattr(hint, "__metadata__", ()) if isinstance(note, Param)), None)


def params(cls: Any) -> tuple[tuple[Field[Any], Any, Param | None], ...]:
    """Each field of a config class with its type and its Param."""
    return _params(cls)


@cache  # a study asks for each of its runs
def _params(cls: Any) -> tuple[tuple[Field[Any], Any, Param | None], ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple((item, hints[item.name], param_of(hints[item.name])) for item in fields(cls))


def forms(hint: Any) -> list[str]:
    """What may stand in YAML for a type, in words: each alternative."""
    arguments, origin = get_args(hint), get_origin(hint)
    if origin is Annotated:
        return forms(arguments[0])
    if origin is Literal:
        return [str(value) for value in arguments]
    if origin is dict:
        return ["a mapping of names"]
    if origin is list:
        return [f"a list of {' or '.join(PLURAL.get(form, form) for form in forms(arguments[0]))}"]
    if arguments:
        return [form for arg in arguments if arg is not type(None) for form in forms(arg)]
    if is_dataclass(hint):
        return ["a mapping"]
    simple = {int: ["a whole number"], float: ["a number"], str: ["text"], bool: ["true", "false"]}
    return simple.get(hint, ["a value"])


def default(item: Field[Any]) -> Any:
    """The default of a field, or MISSING."""
    return item.default_factory() if item.default_factory is not MISSING else item.default


def dump(value: Any) -> Any:
    """A config object as plain data with units written out: what a resolved study shows."""
    if hasattr(value, "to_data"):
        return value.to_data()
    if is_dataclass(value) and not isinstance(value, type | units.Quantity):
        out: dict[str, Any] = {}
        info = getattr(type(value), "registered", None)
        if info is not None:
            out["use"] = info.name
        for item, _, param in params(type(value)):
            held = getattr(value, item.name)
            if held is None:
                continue
            if param is not None and param.unit and isinstance(held, int):
                out[item.name] = units.show(held, param.unit)
            else:
                out[item.name] = dump(held)
        return out
    if isinstance(value, units.Quantity):
        return str(value)
    if isinstance(value, dict):
        return {key: dump(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [dump(held) for held in value]
    return value
