"""Presets: hardware as data files, each number with its source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tiersim._base.errors import Place, StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.yaml_tree import Node, from_data, load, merge, plain

__all__ = ["Preset", "Value", "built", "expand", "find", "names", "still_there"]

T = TypeVar("T")

FOLDER = Path(__file__).parents[1] / "models" / "presets"
KIND = re.compile(r"^kind: *(\S+)", re.MULTILINE)
WRITTEN = "write {value: ..., source: ...}"


@dataclass(frozen=True)
class Value:
    """One number of a preset with where it is from; `place` is where it stands in its file."""

    key: str
    value: Any
    source: str
    uncertainty: str = ""
    place: Place | None = None


@dataclass(frozen=True)
class Preset:
    """One preset: the tree of its values, and each value with its source."""

    name: str
    kind: str
    tree: Node
    values: tuple[Value, ...]
    about: str


def names(kind: str) -> list[str]:
    """The presets of a kind, such as ``system``."""
    return sorted(name for name, its in _kinds().items() if its == kind)


@cache
def _kinds() -> dict[str, str]:
    """Each preset that comes along with its kind, which a line of its own says: no file is parsed for this."""
    return {path.stem: KIND.findall(path.read_text(encoding="utf-8"))[0] for path in FOLDER.glob("*.yaml")}


@cache
def find(name: str) -> Preset:
    """A preset by its name, or by the path of a file of one's own that ends in ``.yaml``.

    A file that ends in ``.json`` is the config.json of a transformer. Raises StudyError with the nearest right
    spelling, or the place of what is no preset in a file.
    """
    if name.endswith(".json"):
        return _shape(Path(name))
    own = name.endswith((".yaml", ".yml"))
    path = Path(name) if own else FOLDER / f"{name}.yaml"
    if not own and name not in _kinds():
        known = sorted(_kinds())
        raise StudyError(f"no preset is called {name!r}; {nearest(name, known) or 'there are: ' + ', '.join(known)}")
    document = load(path)
    for key, form in (("preset", str), ("kind", str), ("values", dict)):
        held = document.value.get(key)
        if held is None or not isinstance(held.value, form):
            place = document.place if held is None else held.place
            what = "a mapping" if form is dict else "a name"
            raise StudyError(f"a preset says `{key}`, {what}", place, "`tiersim presets new` writes one to look at")
    whole = plain(document)
    values: list[Value] = []
    tree = _strip(document.value["values"], "", values)
    lines = path.read_text(encoding="utf-8").splitlines()
    about = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return Preset(whole["preset"], whole["kind"], tree, tuple(values), " ".join(about))


def _shape(path: Path) -> Preset:
    """The preset that a config.json is."""
    from tiersim.experiments.transformer_preset import transformer_values

    found = transformer_values(path)
    values = tuple(Value(key, value, path.name) for key, value in found.values.items())
    return Preset(path.name, "transformer", from_data(found.values, str(path)), values, " ".join(found.notes))


def _strip(node: Node, path: str, values: list[Value]) -> Node:
    """The tree without sources; each leaf ``{value:, source:}`` becomes its value."""
    inside = node.value
    if isinstance(inside, dict) and "value" in inside:
        said = plain(node)
        if not isinstance(said.get("source"), str):
            raise StudyError(f"{path} has no source", node.place, "say where the value is from: source: ...")
        found: Node = inside["value"]
        values.append(Value(path, said["value"], said["source"], said.get("uncertainty", ""), found.place))
        return found
    if not isinstance(inside, dict):
        raise StudyError(f"{path} is {node.text!r}, and each value says its source", node.place, WRITTEN)
    kept = {key: _strip(held, f"{path}.{key}" if path else key, values) for key, held in inside.items()}
    return Node(kept, node.place, node.key_place)


def expand(tree: Node, cls: type, used: list[Preset] | None = None) -> Node:
    """Fill presets into a scenario's tree: what the study says goes before what the preset says.

    A key whose type is a plain config class that there are presets for (their kind is its name: ``pcie`` for Pcie),
    given as a name or with ``use``, names one of them; so does such a key inside what a preset says, or inside
    something that has a name of the user's own. To `used` those are added that are named.
    """
    hints = _hints(cls)
    out = dict(tree.value)
    for key, node in tree.value.items():
        inner, said = _config_of(hints.get(key)), node.value
        if inner is None:
            each = _config_of_each(hints.get(key))
            if each is not None and isinstance(said, dict):
                made = {
                    name: expand(held, each, used) if isinstance(held.value, dict) else held
                    for name, held in said.items()
                }
                out[key] = Node(made, node.place, node.key_place)
            continue
        use = node if isinstance(said, str) else said.get("use") if isinstance(said, dict) else None
        kind = inner.__name__.lower()
        if use is not None and kind in _kinds().values():
            try:
                preset = find(str(use.value))
                if preset.kind != kind:
                    raise StudyError(f"{preset.name!r} is a preset for {preset.kind}, not for {kind}")
            except StudyError as error:
                if error.place is not None:  # it is in the file of the preset
                    raise
                raise StudyError(error.message, use.place, "`tiersim list presets` shows them all") from None
            if used is not None:
                used.append(preset)
            rest = {k: v for k, v in said.items() if k != "use"} if isinstance(said, dict) else {}
            out[key] = merge(preset.tree, Node(rest, node.place, node.key_place))
        if isinstance(out[key].value, dict):
            out[key] = expand(out[key], inner, used)
    return Node(out, tree.place, tree.key_place)


def still_there(whole: Node, used: Iterable[Preset]) -> Iterator[tuple[str, Preset, Value]]:
    """The dotted keys of an expanded tree with a preset's value: nobody set what is where its file has it."""
    marks = {value.place: (preset, value) for preset in used for value in preset.values if value.place}
    return _marked(whole, marks, "")


def _marked(node: Node, marks: Mapping[Place, tuple[Preset, Value]], path: str) -> Iterator[tuple[str, Preset, Value]]:
    if path and node.place in marks:
        yield path, *marks[node.place]
    for step, held in enumerate(node.value) if isinstance(node.value, list) else node.items():
        yield from _marked(held, marks, f"{path}.{step}" if path else str(step))


def built(name: str, cls: type[T]) -> T:
    """What a preset for this class is. Raises StudyError as `find`, and for one of another kind."""
    from pydantic import TypeAdapter

    whole = expand(from_data({"preset": name}, "preset"), type("Holder", (), {"__annotations__": {"preset": cls}}))
    made: T = TypeAdapter(cls).validate_python(plain(whole)["preset"])
    return made


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def _config_of(hint: Any) -> type | None:
    """The plain config class that a key holds, whether it must be there or may."""
    for form in _forms(hint):
        if isinstance(form, type) and is_dataclass(form) and not hasattr(form, "to_data"):
            return form
    return None


def _config_of_each(hint: Any) -> type | None:
    """The plain config class of each thing that a key holds by name."""
    named = (get_args(form)[1] for form in _forms(hint) if get_origin(form) is dict)
    return next(filter(None, map(_config_of, named)), None)


def _forms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)
