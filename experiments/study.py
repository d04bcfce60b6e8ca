"""The study file: what is asked, and the variants that it unfolds into.

Precedence is extends < file (edited by ``--set``) < what_if < sweep. It knows no scenario: what the keys mean is checked
when each variant is built.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiersim._base.errors import Place, StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.yaml_tree import Node, from_data, load, load_text, merge

__all__ = ["RESERVED", "Study", "Variant", "problem", "read_study"]

RESERVED = ("study", "scenario", "extends", "what_if", "sweep", "sensitivity", "repeat", "seed", "report", "claims")
BASE = "base"


@dataclass
class Variant:
    """One point of a study: the scenario's tree with all overrides in place."""

    label: str
    factors: dict[str, Any]
    seed: int
    tree: Node


@dataclass
class Study:
    """A study as read: its name, its question and its variants, what_if by what_if, swept points in file order."""

    name: str
    scenario: str
    question: str
    file: Path | None
    tree: Node
    report: Node | None
    claims: Node | None
    variants: list[Variant]
    seeds: list[int]


@dataclass(frozen=True)
class _Override:
    """One key to set, and who sets it."""

    path: tuple[str, ...]
    node: Node

    @property
    def key(self) -> str:
        return ".".join(self.path)


def problem(tree: Node, path: tuple[Any, ...], message: str) -> StudyError:
    """An error at a path of a tree: an unknown key points to the key, anything else to the value or the nearest above."""
    node = tree
    for step in path:
        inside = node.value
        if isinstance(inside, dict) and step in inside:
            node = inside[step]
        elif isinstance(inside, list) and isinstance(step, int) and step < len(inside):
            node = inside[step]
        else:
            break
    place = node.place
    if message.startswith("unknown key") and node.key_place is not None:
        place = node.key_place
    elif isinstance(node.value, dict) and node.key_place is not None:
        place = node.key_place
    return StudyError(message, place, _where(path))


def _where(path: tuple[Any, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    return f"`tiersim explain {path[0]}` tells what may stand in {text}" if path and isinstance(path[0], str) else ""


def read_study(source: Path | str | dict[str, Any], sets: Sequence[str] = ()) -> Study:
    """Read a study from a file, or from the same as a dict. Raises StudyError with the place of what is wrong."""
    file: Path | None = None
    question = ""
    if isinstance(source, dict):
        tree = from_data(source, "study")
    else:
        file = Path(source)
        tree = load(file)
        question = _question(file)
        tree = _extended(tree, file, (file.resolve(),))
    for text in sets:
        tree = _set(tree, text)
    known = tree.value
    name, scenario = (
        _text(tree, "study", "give it a name: `study: my-question`"),
        _text(
            tree, "scenario", "say what it is about, such as `scenario: memory-hierarchy`; see `tiersim list scenarios`"
        ),
    )
    if "/" in name or name in (".", ".."):
        raise StudyError("a study's name becomes a folder, so it has no slash", known["study"].place)
    body = Node({key: held for key, held in known.items() if key not in RESERVED}, tree.place, tree.key_place)
    if "sensitivity" in known:
        raise StudyError("sensitivity analysis is not part of this version", known["sensitivity"].key_place)
    if "claims" in known:
        raise StudyError("claims are not part of this version", known["claims"].key_place)
    seeds = _seeds(known.get("repeat"), known.get("seed"))
    what_ifs = _what_ifs(known.get("what_if"))
    points = _points(known.get("sweep"))
    _no_clash(what_ifs, points)
    variants = []
    for label, changes in what_ifs.items():
        for point in points:
            factors: dict[str, Any] = {"what_if": label} if len(what_ifs) > 1 else {}
            swept = {change.key: _shown(change.node) for change in point}
            shown = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in swept.items())
            full = (f"{label}, {shown}" if len(what_ifs) > 1 else shown) if shown else label
            applied = _apply(body, [*changes, *point])
            for seed in seeds:
                seeded = {"seed": seed} if len(seeds) > 1 else {}
                variants.append(Variant(full, factors | swept | seeded, seed, applied))
    return Study(name, scenario, question, file, tree, known.get("report"), known.get("claims"), variants, seeds)


def _question(file: Path) -> str:
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines)


def _text(tree: Node, key: str, remedy: str) -> str:
    node = tree.value.get(key)
    if node is None or node.value is None:
        raise StudyError(f"the key `{key}` is missing", node.key_place if node else Place(tree.place.file), remedy)
    if not isinstance(node.value, str):
        raise StudyError(f"`{key}` must be a name", node.place, remedy)
    return node.value


def _extended(tree: Node, file: Path, seen: tuple[Path, ...]) -> Node:
    said = tree.value.get("extends")
    if said is None:
        return tree
    if not isinstance(said.value, str):
        raise StudyError("`extends` names one study file", said.place)
    other = file.parent / said.value
    if other.resolve() in seen:
        raise StudyError(f"{said.value!r} extends this file in turn: a circle", said.place)
    try:
        under = _extended(load(other), other, (*seen, other.resolve()))
    except StudyError as error:
        if error.place is None:
            raise StudyError(error.message, said.place, error.remedy) from None
        raise
    rest = {key: held for key, held in tree.value.items() if key != "extends"}
    return merge(under, Node(rest, tree.place, tree.key_place))


def _set(tree: Node, text: str) -> Node:
    """Apply one ``--set a.b=value``; the place of what it sets is the argument itself."""
    shown = f"--set {text}"
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    key_place = Place("command line", 0, 7, shown, max(1, len(key)))
    if not equals or not all(path):
        raise StudyError("--set takes KEY=VALUE, such as system.line=128B", key_place)
    at = Place("command line", 0, 8 + len(key), shown, max(1, len(value)))
    try:
        inner = load_text(f"value: {value}", "command line").value["value"]
    except StudyError as error:
        raise StudyError(error.message, at) from None
    return _apply(tree, [_Override(path, _placed(inner, at, key_place))])


def _placed(node: Node, at: Place, key_place: Place) -> Node:
    inside = node.value
    if isinstance(inside, dict):
        inside = {key: _placed(held, at, at) for key, held in inside.items()}
    elif isinstance(inside, list):
        inside = [_placed(held, at, at) for held in inside]
    return Node(inside, at, key_place, node.text)


def _apply(tree: Node, overrides: Sequence[_Override]) -> Node:
    """Set keys, parents before what is inside them; of two on one key the later one counts."""
    for change in sorted(overrides, key=lambda change: len(change.path)):
        tree = _put(tree, change.path, change.node, ())
    return tree


def _put(tree: Node, path: tuple[str, ...], node: Node, above: tuple[str, ...]) -> Node:
    if not path:
        return node
    step, rest = path[0], path[1:]
    inside = tree.value
    if isinstance(inside, list):
        if not step.isdigit() or int(step) >= len(inside):
            raise StudyError(
                f"{'.'.join(above)} is a list of {len(inside)}: {step!r} is no place in it", node.key_place
            )
        items = list(inside)
        items[int(step)] = _put(items[int(step)], rest, node, (*above, step))
        return Node(items, tree.place, tree.key_place)
    if isinstance(inside, str):  # a bare name means {use: name}
        inside = {"use": Node(inside, tree.place, tree.key_place, tree.text)}
    elif inside is None:
        inside = {}
    elif not isinstance(inside, dict):
        raise StudyError(f"{'.'.join(above)} is {inside!r}, which has no key {step!r}", node.key_place)
    empty = Node({}, node.place, node.key_place)
    held = _put(inside.get(step, empty), rest, node, (*above, step))
    return Node({**inside, step: held}, tree.place, tree.key_place)


def _what_ifs(node: Node | None) -> dict[str, list[_Override]]:
    out: dict[str, list[_Override]] = {BASE: []}
    if node is None:
        return out
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError("`what_if` is a mapping of labels to the keys that they change", node.key_place or node.place)
    for label, changes in node.items():
        if label == BASE:
            raise StudyError(f"the label {BASE!r} is the study without changes", changes.key_place)
        if not isinstance(changes.value, dict) or not changes.value:
            raise StudyError(f"{label!r} changes nothing", changes.key_place, "write {key: value} behind it")
        out[label] = []
        for key, held in changes.items():
            path = _path(key, held)
            out[label].append(_Override(path, held))
    return out


def _path(key: str, node: Node) -> tuple[str, ...]:
    path = tuple(key.split("."))
    if not all(path):
        raise StudyError(f"{key!r} is no dotted key", node.key_place)
    if path[0] in RESERVED:
        raise StudyError(f"{path[0]!r} is of the study itself and cannot vary", node.key_place)
    return path


def _points(node: Node | None) -> list[list[_Override]]:
    """The points of a sweep: a product, with what stands under `zip` going in step."""
    if node is None:
        return [[]]
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError("a sweep without values", node.key_place or node.place, "write {key: [value, value]}")
    axes: list[list[list[_Override]]] = []
    for key, held in node.items():
        if key == "zip":
            if not isinstance(held.value, dict) or not held.value:
                raise StudyError("a zip without values", held.key_place, "write zip: {key: [...], key: [...]}")
            columns = [_axis(name, column) for name, column in held.items()]
            for (name, column), axis in zip(held.items(), columns, strict=True):
                if len(axis) != len(columns[0]):
                    raise StudyError(
                        f"{name} has {len(axis)} values and {next(iter(held.value))} has {len(columns[0])}: a zip goes in step",
                        column.place,
                        "give all lists of a zip the same length",
                    )
            axes.append([list(row) for row in zip(*columns, strict=True)])
        else:
            axes.append([[change] for change in _axis(key, held)])
    return [[change for part in point for change in part] for point in itertools.product(*axes)]


def _axis(key: str, node: Node) -> list[_Override]:
    path = _path(key, node)
    if not isinstance(node.value, list):
        raise StudyError(f"{key} must have a list of values", node.place, f"write {key}: [{node.text or '...'}, ...]")
    if not node.value:
        raise StudyError(f"a sweep without values: {key}", node.place, "write the values between the brackets")
    seen: dict[str, Node] = {}
    for held in node.value:
        if held.text and held.text in seen:
            raise StudyError(f"{key} has the value {held.text} twice", held.place)
        seen[held.text] = held
    return [_Override(path, Node(held.value, held.place, node.key_place, held.text)) for held in node.value]


def _no_clash(what_ifs: dict[str, list[_Override]], points: list[list[_Override]]) -> None:
    swept: dict[str, _Override] = {}
    for change in points[0]:
        if change.key in swept:
            raise StudyError(f"{change.key} is swept twice", change.node.key_place)
        swept[change.key] = change
    for label, changes in what_ifs.items():
        for change in changes:
            if change.key in swept:
                other = swept[change.key].node.key_place
                raise StudyError(
                    f"two of what_if and sweep set {change.key}: the what_if {label!r} here, and the sweep at {other}",
                    change.node.key_place,
                    "leave one of them out; a what_if may set what stands around a swept key, such as its parent",
                )


def _shown(node: Node) -> Any:
    """A swept value as it was written; a mapping by what it uses."""
    if isinstance(node.value, dict):
        inside = ", ".join(f"{key}: {_shown(held)}" for key, held in node.items() if key != "use")
        use = str(node.value["use"].value) if "use" in node.value else ""
        return f"{use} ({inside})" if use and inside else use or f"{{{inside}}}"
    if isinstance(node.value, list):
        return f"[{', '.join(str(_shown(held)) for held in node.value)}]"
    return node.value


def _seeds(repeat: Node | None, seed: Node | None) -> list[int]:
    root = 0
    if seed is not None:
        if isinstance(seed.value, bool) or not isinstance(seed.value, int) or seed.value < 0:
            raise StudyError("`seed` is a whole number, 0 or more", seed.place)
        root = seed.value
    if repeat is None:
        return [root]
    held = repeat.value.get("seeds") if isinstance(repeat.value, dict) else None
    wrong = [key for key in repeat.value if key != "seeds"] if isinstance(repeat.value, dict) else []
    if wrong:
        hint = nearest(wrong[0], ["seeds"]) or "known here: seeds"
        raise StudyError(f"unknown key {wrong[0]!r}; {hint}", repeat.value[wrong[0]].key_place)
    if held is None:
        raise StudyError("`repeat` says how often: {seeds: 5}", repeat.key_place or repeat.place)
    if isinstance(held.value, int) and not isinstance(held.value, bool) and held.value >= 1:
        return [root + step for step in range(held.value)]
    if isinstance(held.value, list) and held.value:
        for item in held.value:
            if isinstance(item.value, bool) or not isinstance(item.value, int) or item.value < 0:
                raise StudyError("a seed is a whole number, 0 or more", item.place)
        return [item.value for item in held.value]
    raise StudyError("`seeds` is how many, 1 or more, or a list of seeds", held.place)
