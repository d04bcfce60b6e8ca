"""The configuration of a study, each value with where it is from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args

from tiersim._base.errors import TiersimError
from tiersim._base.params import Param, params
from tiersim._base.registry import load
from tiersim.experiments.figures.words import text_of
from tiersim.experiments.presets import Preset, Value, expand, still_there
from tiersim.experiments.results import StudyResult, differing
from tiersim.experiments.yaml_tree import Node, from_data, get, put

__all__ = ["Setting", "settings"]

Found = dict[str, tuple[Preset, Value]]

MOST = 8  # values of a key that are told one by one
ALTERNATIVES = 200  # values of factors that are looked at for presets


@dataclass(frozen=True)
class Setting:
    """One key of the configuration of the first run. `origin` is ``study``, ``default``, ``varies`` or a preset."""

    key: str
    value: str
    origin: str
    source: str = ""
    uncertainty: str = ""


def settings(result: StudyResult) -> list[Setting]:
    """The configuration of the first run, what varies with all its values, and the presets of what varies."""
    configs = [dict(_flat(row.config)) for row in result.rows if row.config]
    if not configs:
        return []
    tree = result.tree
    first = configs[0]
    same = _same(configs)
    numbers = _numbers(tree, result.scenario)
    scenario = load("scenario", result.scenario) if tree is not None else None
    found = []
    for key, value in first.items():
        if key == "use":
            continue
        if key not in same:
            values = list(dict.fromkeys(text_of(held[key]) for held in configs if key in held))
            shown = ", ".join(values[:MOST]) + (f" and {len(values) - MOST} more" if len(values) > MOST else "")
            found.append(Setting(key, shown, "varies", *_told(numbers.get(key))))
        elif tree is not None and _said(tree, key):
            found.append(Setting(key, text_of(value), "study"))
        elif key in numbers:
            found.append(Setting(key, text_of(value), numbers[key][0].name, *_told(numbers[key])))
        else:
            origin = "default" if tree is not None else ""
            found.append(Setting(key, text_of(value), origin, *_of_default(scenario, key)))
    known = {(held.origin, held.key) for held in found} | {(preset.name, key) for key, (preset, _) in numbers.items()}
    for key, (preset, value) in _alternatives(result, tree):
        if (preset.name, key) not in known:
            known.add((preset.name, key))
            found.append(Setting(key, text_of(value.value), preset.name, value.source, value.uncertainty))
    return found


def _told(held: tuple[Preset, Value] | None) -> tuple[str, str]:
    return (held[1].source, held[1].uncertainty) if held else ("", "")


def _same(configs: list[dict[str, Any]]) -> set[str]:
    """The keys that every run has with one value."""
    first = configs[0]
    return {key for key, value in first.items() if all(held.get(key) == value for held in configs)}


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, held in tree.items():
            yield from _flat(held, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def _said(tree: Node, key: str) -> bool:
    """Whether the study itself sets a key, or names what stands there."""
    steps = key.split(".")
    found = get(tree, steps)
    if found is None and steps[-1] == "use":
        found = get(tree, steps[:-1])
    above = (get(tree, steps[:length]) for length in range(1, len(steps)))
    return found is not None or any(is_dataclass(node.value) for node in above if node)  # made in Python: it says all


def _numbers(tree: Node | None, scenario: str) -> Found:
    """What presets say, by dotted key; nothing where a preset is no longer to be had."""
    if tree is None:
        return {}
    presets: list[Preset] = []
    try:
        whole = expand(tree, load("scenario", scenario), presets)
    except TiersimError:
        return {}
    return {key: (preset, value) for key, preset, value in still_there(whole, presets)}


def _of_default(cls: Any, key: str) -> tuple[str, str]:
    """Where the default of a key is from, and how sure it is, where the class of its configuration says so."""
    found: Param | None = None
    for step in key.split("."):
        held = {item.name: (hint, param) for item, hint, param in params(cls)} if is_dataclass(cls) else {}
        if step in held:
            hint, found = held[step]
            cls = next((form for form in _forms(hint) if is_dataclass(form)), hint)
        else:  # the name of one thing among several
            cls = next((form for form in _forms(cls) if is_dataclass(form)), None)
            found = None
    return (found.source, found.uncertainty) if found is not None else ("", "")


def _forms(hint: Any) -> Iterator[Any]:
    """The types inside a type, outermost first."""
    yield hint
    for inside in get_args(hint):
        yield from _forms(inside)


def _alternatives(result: StudyResult, tree: Node | None) -> Iterator[tuple[str, tuple[Preset, Value]]]:
    """What presets say that only some variants name."""
    if tree is None:
        return
    for key, node in _varied(result, tree):
        try:
            other = put(tree, key.split("."), node)
        except TiersimError:
            continue
        yield from _numbers(other, result.scenario).items()


def _varied(result: StudyResult, tree: Node) -> Iterator[tuple[str, Node]]:
    """Each what_if as a whole, and each different value of a swept key."""
    told = 0
    for _, held in (get(tree, ["what_if"]) or Node({}, tree.place)).items():
        yield from held.items()
    for name in differing(result.rows):
        if name in ("what_if", "seed") or name.split(".")[0] not in tree.value:
            continue
        for value in {text_of(row.factors.get(name)): row.factors.get(name) for row in result.rows}.values():
            if told < ALTERNATIVES and isinstance(value, str | dict):
                told += 1
                yield name, from_data(value, "sweep")
