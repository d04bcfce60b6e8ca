"""A preset of a transformer from its config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiersim._base.errors import Place, StudyError
from tiersim._base.params import params
from tiersim._base.registry import validate
from tiersim.experiments.preset_from import Made, check_name, written
from tiersim.models.llm.hugging_face import Found, read
from tiersim.models.llm.transformer import Transformer

__all__ = ["transformer_preset", "transformer_values"]

DEFAULT = {item.name: item.default for item, _, _ in params(Transformer)}


def transformer_values(path: Path) -> Found:
    """The shape that a config.json tells, without what is so unless said.

    Raises StudyError where there is none in it, or one that cannot be.
    """
    found = read(path)
    try:
        problems, _ = validate(Transformer, found.values)
    except StudyError as error:
        raise StudyError(error.message, Place(str(path))) from None
    if problems:
        raise StudyError(problems[0][1], Place(str(path)))
    said = ("weights", "cache")
    found.values = {key: value for key, value in found.values.items() if key in said or value != DEFAULT[key]}
    return found


def transformer_preset(name: str, path: Path, source: str = "") -> Made:
    """The text of a preset for the key ``model`` from a config.json, which each number names as its source.

    Raises StudyError for a name that cannot be, and a file that cannot be read.
    """
    check_name(name)
    found = transformer_values(path)
    held = {key: (_yaml(value), source or path.name, "") for key, value in _flat(found.values)}
    return Made(written(name, "transformer", f"A transformer, made from {path.name}.", held), path.name, found.notes)


def _flat(values: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    made = []
    for key, value in values.items():
        made += _flat(value, f"{path}{key}.") if isinstance(value, dict) else [(f"{path}{key}", value)]
    return made


def _yaml(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
