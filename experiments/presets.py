"""Presets: hardware as data files, each number with its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.yaml_tree import Node, load, merge, plain

__all__ = ["Preset", "Value", "expand", "find", "names"]

FOLDER = Path(__file__).parents[1] / "models" / "presets"


@dataclass(frozen=True)
class Value:
    """One number of a preset with where it is from."""

    key: str
    value: Any
    source: str
    uncertainty: str = ""


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
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if find(path.stem).kind == kind)


@cache
def find(name: str) -> Preset:
    """A preset by its name. Raises StudyError with the nearest right spelling."""
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        raise StudyError(f"no preset is called {name!r}; {nearest(name, known) or 'there are: ' + ', '.join(known)}")
    document = load(path)
    whole = plain(document)
    values: list[Value] = []
    tree = _strip(document.value["values"], "", values)
    about = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    return Preset(whole["preset"], whole["kind"], tree, tuple(values), " ".join(about))


def _strip(node: Node, path: str, values: list[Value]) -> Node:
    """The tree without sources; each leaf ``{value:, source:}`` becomes its value."""
    inside = node.value
    if isinstance(inside, dict) and "value" in inside:
        said = plain(node)
        values.append(Value(path, said["value"], said["source"], said.get("uncertainty", "")))
        found: Node = inside["value"]
        return found
    assert isinstance(inside, dict), path
    kept = {key: _strip(held, f"{path}.{key}" if path else key, values) for key, held in inside.items()}
    return Node(kept, node.place, node.key_place)


def expand(tree: Node, cls: type) -> Node:
    """Fill presets into a scenario's tree: what the study says goes before what the preset says.

    A key of the scenario whose type is a plain config class, given as a name or with ``use``, names a preset of the
    kind of that key.
    """
    from dataclasses import is_dataclass
    from typing import get_type_hints

    hints = get_type_hints(cls)
    out = dict(tree.value)
    for key, node in tree.value.items():
        if key not in hints or not is_dataclass(hints[key]) or hasattr(hints[key], "to_data"):
            continue
        said = node.value
        use = node if isinstance(said, str) else said.get("use") if isinstance(said, dict) else None
        if use is None:
            continue
        try:
            preset = find(str(use.value))
            if preset.kind != key:
                raise StudyError(f"{preset.name!r} is a preset for {preset.kind}, not for {key}")
        except StudyError as error:
            raise StudyError(error.message, use.place, "`tiersim list presets` shows them all") from None
        rest = {k: v for k, v in said.items() if k != "use"} if isinstance(said, dict) else {}
        out[key] = merge(preset.tree, Node(rest, node.place, node.key_place))
    return Node(out, tree.place, tree.key_place)
